"""Training examples as arrays, and the order in which the network sees them."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import random
from collections.abc import Iterator
from multiprocessing.pool import Pool
from pathlib import Path

import numpy as np
import torch
from sklearn.pipeline import Pipeline
from torch import Tensor

from training import conversations, tokenizer
from training.conversations import Message, Writer, n_exchanges
from training.corpus import Corpus, read
from training.elder import Elder
from training.places import BUILD, LONGEST, N_EXAMPLES, SEED
from training.teacher import N_GUESSES, mixed, taught, understood

LENGTHS = (24, 28, 32, 40, 48, 64, 96, 128, 192, 256, 384, 512, 768, LONGEST)
"""Examples are padded to the next of these."""
N_BATCH = 4096
"""Tokens of a batch, padding included."""
LONG, ONE_LONG_IN = 384, 3
"""Of batches as long as this, one in so many is learned from: they take three times as long and teach little more."""
N_ROUTING = 5
"""Tokens of the answer in an example that teaches which topic a question means, and nothing more."""
MIXED = 0.5
"""Share of such examples whose question nobody wrote."""
PLAIN = 0.02
"""Share of plain text in all other examples."""
ROUTING = 0.9
"""Share of such examples in them; what is left is whole conversations."""
NOISES = (0.3, 1.0)
"""How carelessly people type: half of them less so."""
_PARTS = 40

NOTHING = 255
UNNAMED = -100
"""In a batch, for what has no subject."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """Some examples, padded to one length. K: tokens that something is learned from; A: answers."""

    ids: Tensor  # (B, T)
    chosen: Tensor  # (K,), positions in the flattened (B, T - 1)
    targets: Tensor  # (K,), the tokens that follow there
    weights: Tensor  # (K,)
    answers: Tensor  # (A,), positions in the flattened (B, T - 1) of the last token before each answer
    subjects: Tensor  # (A,), numbers of `conversations.subjects`, but for the first answers
    parts: Tensor  # (A,), numbers of `conversations.PARTS`
    ends: Tensor  # (B,), the position of the last token before the first answer of each example
    guesses: Tensor  # (B, N_GUESSES), what that answer may be about, numbers of `conversations.subjects`
    shares: Tensor  # (B, N_GUESSES), how likely that is; all 0 where there is no answer
    n_tokens: int
    """Without padding."""

    def to(self, device: str) -> Batch:
        """The same on another device; it may still be on its way."""
        if device == "cpu":
            return self
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        moved = {name: tensor.pin_memory().to(device, non_blocking=True) for name, tensor in tensors.items()}
        return dataclasses.replace(self, **moved)


@dataclasses.dataclass(frozen=True)
class Examples:
    """Many examples behind each other."""

    ids: np.ndarray  # (N,) uint16
    weights: np.ndarray  # (N,) uint8, tenths
    subjects: np.ndarray  # (N,) uint8, NOTHING but at the last token before an answer
    parts: np.ndarray  # (N,) uint8, the same
    starts: np.ndarray  # (E + 1,), where each example begins, and the end
    guesses: np.ndarray  # (E, N_GUESSES) uint8, what the first answer may be about
    shares: np.ndarray  # (E, N_GUESSES) uint8, how likely that is, in 255ths

    def __len__(self) -> int:
        return len(self.starts) - 1

    def batch(self, rows: np.ndarray, length: int) -> Batch:
        """Some examples, padded to a length."""
        at = self.starts[rows, None] + np.arange(length)  # (B, T)
        is_inside = at < self.starts[rows + 1, None]
        at = np.minimum(at, len(self.ids) - 1)
        ids = np.where(is_inside, self.ids[at], tokenizer.PAD).astype(np.int64)
        weights = np.where(is_inside, self.weights[at], 0)[:, 1:].ravel() / np.float32(10)
        chosen = np.flatnonzero(weights)
        subjects = np.where(is_inside, self.subjects[at], NOTHING)[:, :-1].astype(np.int64)
        parts = np.where(is_inside, self.parts[at], NOTHING)[:, :-1].astype(np.int64).ravel()
        ends = (subjects != NOTHING).argmax(1)
        answers = np.flatnonzero(subjects != NOTHING)
        later = subjects.copy()
        later[np.arange(len(rows)), ends] = NOTHING  # the first answer's subject is among the guesses
        named = [np.where(numbers == NOTHING, UNNAMED, numbers) for numbers in (later.ravel()[answers], parts[answers])]
        targets = ids[:, 1:].ravel()[chosen]
        shares = self.shares[rows].astype(np.float32)
        shares /= np.maximum(shares.sum(1, keepdims=True), 1)
        guesses = self.guesses[rows].astype(np.int64)
        arrays = (ids, chosen, targets, weights[chosen], answers, *named, ends, guesses, shares)
        return Batch(*map(torch.from_numpy, arrays), n_tokens=int(is_inside.sum()))

    def batches(self, seed: int, n_tokens: int = N_BATCH) -> Iterator[tuple[np.ndarray, int]]:
        """Batches of one pass, of one padded length each, in an order that only the seed decides.

        Args:
            seed: Decides the order.
            n_tokens: Tokens of a batch, padding included.
        """
        rng = np.random.default_rng(seed)
        sizes = np.diff(self.starts)
        batches = []
        for shorter, length in zip((0, *LENGTHS[:-1]), LENGTHS, strict=True):
            fitting = rng.permutation(np.flatnonzero((sizes > shorter) & (sizes <= length)))
            n = max(1, n_tokens // length)
            every = ONE_LONG_IN if length >= LONG else 1
            batches += [(fitting[i : i + n], length) for i in range(0, len(fitting) - n + 1, n * every)]
        for i in rng.permutation(len(batches)):
            yield batches[i]


def make(n_examples: int = N_EXAMPLES, elder: Path | None = None) -> None:
    """Writes the examples for training, and those made of messages that training never sees.

    Args:
        n_examples: For training.
        elder: A folder with an earlier training's `checkpoint.pt` and `tokenizer.json`, whose network is asked, too.
    """
    for drawn in BUILD.glob("train-*.npz"):  # of an earlier text
        drawn.unlink()
    with _taught_pool(elder) as pool:
        _save("train", pool.map(_part, [("train", part, n_examples // _PARTS) for part in range(_PARTS)]))
        _save("held_out", pool.map(_part, [("held_out", 0, 3000)]))


def draw(n_times: int, n_examples: int = N_EXAMPLES, elder: Path | None = None) -> None:
    """Writes the examples for training anew so many times, with other slips, mixtures, words and orders each time.

    For a training that is so fast that it would see the same ones dozens of times: it goes on with the newest.
    """
    with _taught_pool(elder) as pool:
        for time in range(1, n_times + 1):
            kind = f"train-{time:03}"
            _save(kind, pool.map(_part, [(kind, part, n_examples // _PARTS) for part in range(_PARTS)]))


def _taught_pool(elder: Path | None) -> Pool:
    """Processes that know the classifier; where there are many cores, two are left to others."""
    n_cores = os.cpu_count() or 1
    teacher = taught(read())
    return multiprocessing.Pool(max(n_cores - 2, min(n_cores, 2)), initializer=_learn_from, initargs=(teacher, elder))


_teachers: list[Pipeline | Elder] = []
"""Of this process, where it has one."""


def _learn_from(teacher: Pipeline, elder: Path | None) -> None:
    torch.set_num_threads(1)
    _teachers[:] = [Elder(teacher, elder) if elder else teacher]


def _part(wanted: tuple[str, int, int]) -> list[tokenizer.Encoded]:
    """One part of the examples; each part has a random generator of its own, so that it can be made anywhere."""
    kind, part, n_examples = wanted
    is_held_out = kind == "held_out"
    corpus, rng = read(is_held_out=is_held_out), random.Random(f"{SEED} {kind} {part}")
    n_mixed = 0 if is_held_out else round(n_examples * MIXED)
    made = list(_mixed(corpus, rng, n_mixed)) if n_mixed else []
    while len(made) < n_examples:
        writer = Writer(corpus, rng, noise=rng.choice(NOISES))
        dice = rng.random()
        if is_held_out:
            example = tokenizer.encode(writer.conversation(rng.randint(1, 3)))
        elif dice < PLAIN:
            example = tokenizer.encode(writer.document(), rng)
        elif dice < PLAIN + ROUTING:
            example = tokenizer.encode(writer.conversation(1), rng, n_answer=N_ROUTING)
        else:
            example = tokenizer.encode(writer.conversation(n_exchanges(rng)), rng)
        if len(example.ids) <= LONGEST:
            made.append(example)
    return made


def _mixed(corpus: Corpus, rng: random.Random, n: int) -> Iterator[tokenizer.Encoded]:
    """Examples of messages that nobody wrote, with the subjects that the teacher gives them."""
    questions = [Writer(corpus, rng, noise=rng.choice(NOISES)).first()[0] for _ in range(n)]
    messages = [mixed(question, rng.choice(questions), rng) for question in questions]
    for message, guesses in understood(_teachers[0], messages):
        writer = Writer(corpus, rng)
        talk = [Message("user", message), Message("assistant", writer.about(guesses[0][0]), writer.subject)]
        example = tokenizer.encode(talk, rng, n_answer=N_ROUTING)
        example.guesses = guesses
        yield example


def _save(name: str, made: list[list[tokenizer.Encoded]]) -> None:
    examples = [example for part in made for example in part]
    starts = np.cumsum([0, *(len(example.ids) for example in examples)])
    numbers = {subject: i for i, subject in enumerate(conversations.subjects(read()))}
    subjects, parts = (np.full(starts[-1], NOTHING, np.uint8) for _ in range(2))
    guesses, shares = (np.zeros((len(examples), N_GUESSES), np.uint8) for _ in range(2))
    for i, (start, example) in enumerate(zip(starts, examples, strict=False)):
        for position, subject, part in example.answers:
            subjects[start + position] = numbers[subject]
            parts[start + position] = conversations.PARTS.index(part)
        certain = [(subject, 1.0) for _, subject, _ in example.answers[:1]]
        for k, (subject, share) in enumerate(example.guesses or certain):
            guesses[i, k], shares[i, k] = numbers[subject], round(255 * share)
    beside = BUILD / f"{name}.part"
    with beside.open("wb") as file:
        np.savez(
            file,
            ids=np.concatenate([np.array(example.ids, np.uint16) for example in examples]),
            weights=np.concatenate([np.array(example.weights, np.uint8) for example in examples]),
            subjects=subjects,
            parts=parts,
            starts=starts,
            guesses=guesses,
            shares=shares,
        )
    beside.replace(BUILD / f"{name}.npz")


def load(name: str) -> Examples:
    """The examples that were made, "train" or "held_out"; of those for training the ones that were drawn last."""
    path = max(BUILD.glob(f"{name}-*.npz"), default=BUILD / f"{name}.npz")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: make it with `python -m training corpus`.")
    with np.load(path) as arrays:
        return Examples(*(arrays[field.name] for field in dataclasses.fields(Examples)))
