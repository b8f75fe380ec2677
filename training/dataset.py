"""Training examples as arrays, and the order in which the network sees them."""

from __future__ import annotations

import dataclasses
import multiprocessing
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training import conversations, tokenizer
from training.conversations import Writer, n_exchanges
from training.corpus import read
from training.places import BUILD, LONGEST, N_EXAMPLES, N_REFINING, SEED

LENGTHS = (24, 28, 32, 36, 40, 48, 56, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, 768, LONGEST)
"""Examples are padded to the next of these."""
N_BATCH = 4096
"""Tokens of a batch, padding included."""
N_ROUTING = 8
"""Tokens of the answer in an example that teaches which topic a question means, and nothing more."""
_PARTS = 40


NOTHING = 255


@dataclasses.dataclass(frozen=True)
class Batch:
    """Some examples, padded to one length. K: tokens that something is learned from; A: answers."""

    ids: Tensor  # (B, T)
    chosen: Tensor  # (K,), positions in the flattened (B, T - 1)
    targets: Tensor  # (K,), the tokens that follow there
    weights: Tensor  # (K,)
    answers: Tensor  # (A,), positions in the flattened (B, T - 1) of the last token before each answer
    subjects: Tensor  # (A,), numbers of `conversations.subjects`
    parts: Tensor  # (A,), numbers of `conversations.PARTS`


@dataclasses.dataclass(frozen=True)
class Examples:
    """Many examples behind each other."""

    ids: np.ndarray  # (N,) uint16
    weights: np.ndarray  # (N,) uint8, tenths
    subjects: np.ndarray  # (N,) uint8, NOTHING but at the last token before an answer
    parts: np.ndarray  # (N,) uint8, the same
    starts: np.ndarray  # (number of examples + 1,)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def batch(self, rows: np.ndarray, length: int) -> Batch:
        """Some examples, padded to a length."""
        padded = {
            "ids": np.full((len(rows), length), tokenizer.PAD, np.int64),
            "weights": np.zeros((len(rows), length), np.float32),
            "subjects": np.full((len(rows), length), NOTHING, np.int64),
            "parts": np.full((len(rows), length), NOTHING, np.int64),
        }
        for row, i in enumerate(rows):
            a, b = self.starts[i], self.starts[i + 1]
            for name, array in padded.items():
                array[row, : b - a] = getattr(self, name)[a:b]
        weights = padded["weights"][:, 1:].ravel() / 10
        subjects = padded["subjects"][:, :-1].ravel()
        chosen, answers = np.flatnonzero(weights), np.flatnonzero(subjects != NOTHING)
        return Batch(
            *map(
                torch.from_numpy,
                (
                    padded["ids"],
                    chosen,
                    padded["ids"][:, 1:].ravel()[chosen],
                    weights[chosen],
                    answers,
                    subjects[answers],
                    padded["parts"][:, :-1].ravel()[answers],
                ),
            )
        )

    def batches(self, seed: int) -> Iterator[tuple[np.ndarray, int]]:
        """Batches of one pass, of one padded length each, in an order that only the seed decides."""
        rng = np.random.default_rng(seed)
        sizes = np.diff(self.starts)
        batches = []
        for shorter, length in zip((0, *LENGTHS[:-1]), LENGTHS, strict=True):
            fitting = rng.permutation(np.flatnonzero((sizes > shorter) & (sizes <= length)))
            n = max(1, N_BATCH // length)
            batches += [(fitting[i : i + n], length) for i in range(0, len(fitting) - n + 1, n)]
        for i in rng.permutation(len(batches)):
            yield batches[i]


def make(n_examples: int = N_EXAMPLES, n_refining: int = N_REFINING) -> None:
    """Writes the examples for training, those for its end, and those made of wordings that training never sees.

    At the end nearly all are single questions in which people type with more care, since by then the network tells
    the answers well, but does not yet know which one is meant.
    """
    with multiprocessing.Pool() as pool:
        _save("train", pool.map(_part, [("train", part, n_examples // _PARTS) for part in range(_PARTS)]))
        _save("refine", pool.map(_part, [("refine", part, n_refining // _PARTS) for part in range(_PARTS)]))
        _save("held_out", pool.map(_part, [("held_out", 0, 3000)]))


def _part(wanted: tuple[str, int, int]) -> list[tokenizer.Encoded]:
    """One part of the examples; each part has a random generator of its own, so that it can be made anywhere."""
    kind, part, n_examples = wanted
    is_held_out, noise = kind == "held_out", 0.4 if kind == "refine" else 1.0
    corpus, rng = read(), random.Random(f"{SEED} {kind} {part}")
    made = []
    while len(made) < n_examples:
        writer = Writer(corpus, rng, is_held_out=is_held_out, noise=noise)
        dice = rng.random()
        if is_held_out:
            example = tokenizer.encode(writer.conversation(rng.randint(1, 3)))
        elif dice < 0.015:
            example = tokenizer.encode(writer.document(), rng)
        elif dice < (0.92 if kind == "refine" else 0.82):
            example = tokenizer.encode(writer.conversation(1), rng, n_answer=N_ROUTING)
        else:
            example = tokenizer.encode(writer.conversation(n_exchanges(rng)), rng)
        if len(example.ids) <= LONGEST:
            made.append(example)
    return made


def _save(name: str, made: list[list[tokenizer.Encoded]]) -> None:
    examples = [example for part in made for example in part]
    starts = np.cumsum([0, *(len(example.ids) for example in examples)])
    numbers = {subject: i for i, subject in enumerate(conversations.subjects(read()))}
    subjects, parts = (np.full(starts[-1], NOTHING, np.uint8) for _ in range(2))
    for start, example in zip(starts, examples, strict=False):
        for position, subject, part in example.answers:
            subjects[start + position] = numbers[subject]
            parts[start + position] = conversations.PARTS.index(part)
    np.savez(
        BUILD / f"{name}.npz",
        ids=np.concatenate([np.array(example.ids, np.uint16) for example in examples]),
        weights=np.concatenate([np.array(example.weights, np.uint8) for example in examples]),
        subjects=subjects,
        parts=parts,
        starts=starts,
    )


def load(name: str) -> Examples:
    """The examples that were made: "train" or "held_out"."""
    path = BUILD / f"{name}.npz"
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is missing: make it with `python -m training corpus`.")
    with np.load(path) as arrays:
        return Examples(*(arrays[field.name] for field in dataclasses.fields(Examples)))
