"""The tutor's tokenizer: byte-level byte pair encoding with GPT-2's way of cutting words, trained on our text.

Also turns conversations into token ids with a weight for each: how much the network learns from predicting it.
"""

from __future__ import annotations

import dataclasses
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from training.conversations import Message, Writer, n_exchanges
from training.corpus import read
from training.places import N_VOCAB, SEED, TOKENIZER
from training.typing_noise import as_read

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>")
BOS, START, END, PAD = range(4)

N_FIRST = 7
"""Tokens at the beginning of an answer that decide what it is about."""
FIRST, REST, ASKED, PLAIN = 30, 10, 2, 5
"""Weights, in tenths: the beginning of an answer, the rest of it, a question, plain text."""


def train() -> Tokenizer:
    """Learns the merges on sample conversations and writes `tokenizer.json`.

    A word counts as the square root of how often it stands there, so that merges are made of what many words share
    (stems and endings), too, and not only of the few words that are everywhere.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=N_VOCAB,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    cut = tokenizer.pre_tokenizer.pre_tokenize_str
    words = Counter(word for text in _sample() for word, _ in cut(text))
    as_text = tokenizer.decoder.decode
    repeated = (as_text([word]) for word, n in words.items() for _ in range(round(n**0.5)))
    tokenizer.train_from_iterator(repeated, trainer)
    TOKENIZER.parent.mkdir(exist_ok=True)
    tokenizer.save(str(TOKENIZER))
    return tokenizer


def _sample() -> Iterator[str]:
    """What the merges are learned from: conversations, plain text, and enough of the names of the roles."""
    rng = random.Random(SEED)
    corpus = read()
    for _ in range(30_000):
        for message in Writer(corpus, rng).conversation(n_exchanges(rng)):
            yield f"{message.role}\n{as_read(message.text) if message.role == 'user' else message.text}"
    for _ in range(3_000):
        yield Writer(corpus, rng).document()[0].text
    for beginning, choices in corpus.completions * 30:  # ordinary words as whole tokens
        yield re.sub(r"[\[\]|:\d]+", " ", f"{beginning} {choices}")


@cache
def load() -> Tokenizer:
    """The tokenizer that was trained."""
    return Tokenizer.from_file(str(TOKENIZER))


def of_text(trained: Tokenizer) -> Tokenizer:
    """A tokenizer without its control tokens."""
    tokenizer = Tokenizer(trained.model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return tokenizer


@cache
def _of_text() -> Tokenizer:
    """The one that was trained, without control tokens."""
    return of_text(load())


def ids_of(text: str) -> list[int]:
    """Token ids of a text; a control token's name in it is cut like any other text.

    Example: "<|im_end|>" gives several ids, none of them END.
    """
    return list(_of_text().encode(text, add_special_tokens=False).ids)


def prompt(question: str, cut: Callable[[str], list[int]] = ids_of) -> list[int]:
    """Token ids of a conversation that is one question, up to where the answer begins.

    Args:
        question: As it was typed.
        cut: Gives the token ids of a text without control tokens.
    """
    return [BOS, START, *cut("user\n"), *cut(as_read(question)), END, *cut("\n"), START, *cut("assistant\n")]


@dataclasses.dataclass
class Encoded:
    """A conversation or text as the network reads it."""

    ids: list[int]
    weights: list[int]
    """For each token, in tenths, how much is learned from predicting it."""
    answers: list[tuple[int, str, str]] = dataclasses.field(default_factory=list)
    """For each answer, the position of the last token before it, what it is about, and which part of that."""
    guesses: list[tuple[str, float]] = dataclasses.field(default_factory=list)
    """What the first answer may be about, each with its probability, where that is not certain."""


def encode(messages: Sequence[Message], rng: random.Random | None = None, *, n_answer: int = 0) -> Encoded:
    """Token ids of a conversation or text, and their weights.

    Args:
        messages: In turn; or one plain text.
        rng: Where given, some words of questions are cut in unusual places, so that misspelt ones are no surprise.
        n_answer: Where not 0, the last answer ends after so many tokens, and nothing is learned from questions.
    """
    made = Encoded([BOS], [0])
    asked = 0 if n_answer else ASKED
    for i, message in enumerate(messages):
        if message.role == "text":
            body = [*ids_of(message.text), BOS]
            return Encoded([BOS, *body], [0, *[PLAIN] * len(body)])
        header = [START, *ids_of(f"{message.role}\n")]
        made.ids += header
        made.weights += [0] * len(header)
        if message.role == "user":
            question = as_read(message.text)
            body = [*(_cut(question, rng) if rng else ids_of(question)), END]
            weights = [asked] * len(body)
        else:
            made.answers.append((len(made.ids) - 1, *message.about))
            body = [*ids_of(message.text), END]
            weights = [FIRST if k < N_FIRST else REST for k in range(len(body))]
            if n_answer and i == len(messages) - 1:
                return Encoded(made.ids + body[:n_answer], made.weights + weights[:n_answer], made.answers)
        made.ids += [*body, *ids_of("\n")]
        made.weights += [*weights, 0]
    return made


def _cut(text: str, rng: random.Random) -> list[int]:
    """Token ids of a question, one word in twenty cut where no token ends."""
    inside = [i for i in range(1, len(text)) if text[i - 1].isalpha() and text[i].isalpha() and rng.random() < 0.012]
    return [i for a, b in zip([0, *inside], [*inside, len(text)], strict=True) for i in ids_of(text[a:b])]
