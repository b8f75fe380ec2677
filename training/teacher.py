"""Says what a message is about by its words and letters: a linear classifier, which the network learns from.

A linear classifier of n-grams understands messages that it has never seen better than a small network that was trained
on the same ones. So it names the subjects of messages that nobody wrote, made of pieces of written ones, and the
network is trained on them, too (as Tang et al. 2019 do with a BERT model for a teacher).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import Pipeline, make_pipeline, make_union

from training.conversations import Writer
from training.corpus import Corpus
from training.places import SEED

_ALPHA = 2e-6
"""How strongly weights are kept small; not tuned."""
_N_PASSES = 10
LEAST = 0.4
"""How sure the teacher must be of a message that nobody wrote."""
N_GUESSES = 4
"""How many subjects of such a message are told."""
_N_FRAMES = 3
"""How often each name of a topic is put into a frame."""
_N_TRAPS = 25
"""How many traps are made of each frame."""


def taught(corpus: Corpus) -> Pipeline:
    """The classifier, trained on all written messages; `predict_proba` takes a list of them."""
    messages, subjects = zip(*_named(corpus), strict=True)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+|[^\w\s]")
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2)
    classifier = SGDClassifier(
        loss="log_loss", alpha=_ALPHA, max_iter=_N_PASSES, tol=None, random_state=SEED, n_jobs=-1
    )
    return make_pipeline(make_union(words, letters), classifier).fit(messages, subjects)


def _named(corpus: Corpus) -> Iterator[tuple[str, str]]:
    """Every written message, and what it is about."""
    writer = Writer(corpus, random.Random(SEED))

    def framed(name: str) -> str:
        return writer.in_frame(writer.rng.choice(("define", "define", "why", "example", "simple", "more")), name)

    for topic in corpus.topics.values():
        yield from ((message, topic.id) for message in topic.wordings)
        yield from ((message, topic.id) for messages, _ in topic.asked for message in messages)
        for name in topic.names:
            yield from ((message, topic.id) for message in (name, *(framed(name) for _ in range(_N_FRAMES))))
    for kind, (messages, _) in corpus.small_talk.items():
        yield from ((message, kind) for message in messages)
    yield from ((message, "refusal: out_of_scope") for message in (*corpus.out_of_scope, *corpus.traps))
    yield from ((message, "refusal: advanced") for message in corpus.advanced)
    yield from ((framed(noun), "refusal: out_of_scope") for noun in corpus.nouns)
    for frame in corpus.trap_frames * _N_TRAPS:
        yield writer.chosen(frame), "refusal: out_of_scope"


def mixed(message: str, other: str, rng: random.Random) -> str:
    """A message as nobody would write it: with words left out, taken from another one, or ending as another one.

    Example: "what is a token", "how hot is it" -> "what is it"
    """
    words, others = message.split(), other.split()
    dice = rng.random()
    if dice < 0.4:
        words = [word for word in words if rng.random() > 0.25] or words
    elif dice < 0.7:
        for _ in range(rng.choice((1, 1, 2))):
            words[rng.randrange(len(words))] = rng.choice(others)
    else:
        words = words[: rng.randint(1, len(words))] + others[rng.randint(0, len(others) - 1) :]
    return " ".join(words)


class Teacher(Protocol):
    """What says how likely a message is about each of several subjects."""

    classes_: Sequence[str]

    def predict_proba(self, messages: Sequence[str]) -> np.ndarray:
        """For each message how likely each of `classes_` is: (N, classes)."""


def understood(
    teacher: Teacher, messages: Sequence[str], least: float = LEAST
) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """Those messages of which the teacher is sure enough, and what they may be about, the likeliest first."""
    probabilities = teacher.predict_proba(messages)
    best = (-probabilities).argsort(1)[:, :N_GUESSES]
    for message, row, numbers in zip(messages, probabilities, best, strict=True):
        if row[numbers[0]] >= least:
            yield message, [(str(teacher.classes_[number]), float(row[number])) for number in numbers]
