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

from training import tokenizer
from training.conversations import Writer, n_exchanges
from training.corpus import read
from training.places import BUILD, LONGEST, N_EXAMPLES, SEED

LENGTHS = (32, 40, 48, 64, 96, 128, 192, 256, 384, 512, LONGEST)
"""Examples are padded to the next of these."""
N_BATCH = 4096
"""Tokens of a batch, padding included."""
N_ROUTING = 12
"""Tokens of the answer in an example that teaches which topic a question means, and nothing more."""
_PARTS = 40


@dataclasses.dataclass(frozen=True)
class Examples:
    """Many examples behind each other."""

    ids: np.ndarray  # (N,) uint16
    weights: np.ndarray  # (N,) uint8, tenths
    starts: np.ndarray  # (number of examples + 1,)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def batch(self, chosen: np.ndarray, length: int) -> tuple[Tensor, Tensor]:
        """Some examples: ids (B, length) and weights (B, length), padded."""
        ids = np.full((len(chosen), length), tokenizer.PAD, np.int64)
        weights = np.zeros((len(chosen), length), np.float32)
        for row, i in enumerate(chosen):
            a, b = self.starts[i], self.starts[i + 1]
            ids[row, : b - a], weights[row, : b - a] = self.ids[a:b], self.weights[a:b] / 10
        return torch.from_numpy(ids), torch.from_numpy(weights)

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


def make(n_examples: int = N_EXAMPLES) -> None:
    """Writes the examples for training, and those made of wordings that training never sees."""
    with multiprocessing.Pool() as pool:
        parts = pool.map(_part, [(part, n_examples // _PARTS, False) for part in range(_PARTS)])
        held_out = pool.map(_part, [(1000, 3000, True)])
    _save("train", parts)
    _save("held_out", held_out)


def _part(wanted: tuple[int, int, bool]) -> list[tuple[list[int], list[int]]]:
    """One part of the examples; each part has a random generator of its own, so that it can be made anywhere."""
    part, n_examples, is_held_out = wanted
    corpus, rng = read(), random.Random(f"{SEED} {part}")
    made = []
    while len(made) < n_examples:
        writer = Writer(corpus, rng, is_held_out=is_held_out)
        dice = rng.random()
        if is_held_out:
            example = tokenizer.encode(writer.conversation(rng.randint(1, 3)))
        elif dice < 0.02:
            example = tokenizer.encode(writer.document(), rng)
        elif dice < 0.66:
            example = tokenizer.encode(writer.conversation(1), rng, answers=N_ROUTING)
        else:
            example = tokenizer.encode(writer.conversation(n_exchanges(rng)), rng)
        if len(example[0]) <= LONGEST:
            made.append(example)
    return made


def _save(name: str, parts: list[list[tuple[list[int], list[int]]]]) -> None:
    examples = [example for part in parts for example in part]
    np.savez(
        BUILD / f"{name}.npz",
        ids=np.concatenate([np.array(ids, np.uint16) for ids, _ in examples]),
        weights=np.concatenate([np.array(weights, np.uint8) for _, weights in examples]),
        starts=np.cumsum([0, *(len(ids) for ids, _ in examples)]),
    )


def load(name: str) -> Examples:
    """The examples that were made: "train" or "held_out"."""
    path = BUILD / f"{name}.npz"
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is missing: make it with `python -m training corpus`.")
    with np.load(path) as arrays:
        return Examples(arrays["ids"], arrays["weights"], arrays["starts"])
