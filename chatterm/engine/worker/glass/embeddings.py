"""The table in which the model looks up a vector for each token: pictures, neighbours, similarities.

Shapes: V vocabulary, D width, W words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from chatterm.engine.worker.glass.ggml import FloatArray
from chatterm.engine.worker.glass.lens import best
from chatterm.engine.worker.glass.weights import Matrix
from chatterm.engine.worker.vocabulary import Vocabulary
from chatterm.errors import LoadCancelled
from chatterm.glass import PICTURE_CELLS, Neighbours, Piece, Similarity

_LEAST_LENGTH = 0.1
"""Vectors that are so much shorter than usual were never trained, as a share of the usual length."""


class Table:
    """The vectors of all tokens."""

    def __init__(self, matrix: Matrix, vocabulary: Vocabulary) -> None:
        self._matrix = matrix
        self._vocabulary = vocabulary
        self._lengths: FloatArray | None = None
        self._usable: NDArray[np.bool_] | None = None

    @property
    def n_tokens(self) -> int:
        """Rows of the table; some files have more than tokens."""
        return min(self._matrix.n_rows, self._vocabulary.n_tokens)

    def vector(self, token: int) -> FloatArray:
        """A token's row, shape (D,)."""
        return self._matrix.row(token)

    def neighbours(self, token: int, n: int, is_stopped: Callable[[], bool]) -> Neighbours:
        """A token as numbers, with the tokens whose vectors point most nearly the same way."""
        vector = self.vector(token)
        length = float(np.linalg.norm(vector))
        cosines = self._cosines(vector, is_stopped)
        cosines[~self._real] = -2
        cosines[token] = -2
        near = [int(each) for each in best(cosines, n) if cosines[each] >= -1]
        return Neighbours(
            token=self._piece(token, length),
            n_dimensions=vector.size,
            picture=picture(vector),
            neighbours=tuple(self._piece(each, float(cosines[each])) for each in near),
        )

    def similarity(self, words: Sequence[str]) -> Similarity:
        """How similar words are, by the mean of the vectors of their tokens."""
        tokens = [self._vocabulary.word(word) for word in words]
        vectors = np.stack([np.mean([self.vector(token) for token in each], axis=0) for each in tokens])  # (W, D)
        points, shown = on_a_plane(vectors)
        return Similarity(tuple(words), tuple(map(len, tokens)), cosines_between(vectors), points, shown)

    def _cosines(self, vector: FloatArray, is_stopped: Callable[[], bool]) -> FloatArray:
        """Of one vector with all tokens, shape (V,)."""
        products = np.zeros(self._matrix.n_rows, np.float32)
        lengths = np.zeros_like(products) if self._lengths is None else self._lengths
        for start, rows in self._matrix.chunks():
            if is_stopped():
                raise LoadCancelled("Looking for neighbours was stopped.")
            products[start : start + len(rows)] = rows @ vector
            if self._lengths is None:
                lengths[start : start + len(rows)] = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        self._lengths = lengths
        length = np.float32(np.linalg.norm(vector))
        cosines: FloatArray = (products / np.maximum(lengths * length, np.float32(1e-20)))[: self.n_tokens]
        return cosines

    @property
    def _real(self) -> NDArray[np.bool_]:
        """Which tokens are text, and were trained; known once the lengths are."""
        assert self._lengths is not None
        if self._usable is None:
            lengths = self._lengths[: self.n_tokens]
            is_text = np.fromiter((self._vocabulary.is_text(token) for token in range(self.n_tokens)), np.bool_)
            self._usable = is_text & (lengths > _LEAST_LENGTH * np.median(lengths))
        return self._usable

    def _piece(self, token: int, value: float) -> Piece:
        return Piece(token, self._vocabulary.piece(token, special=True), value)


def picture(vector: FloatArray) -> tuple[float, ...]:
    """A vector in few numbers: of each stretch the one that is furthest from 0."""
    stretches = np.array_split(vector, min(PICTURE_CELLS, vector.size))
    return tuple(float(each[np.abs(each).argmax()]) for each in stretches)


def cosine(a: FloatArray, b: FloatArray) -> float:
    """How nearly two vectors point the same way: 1 is exactly, 0 not at all."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-20))


def cosines_between(vectors: FloatArray) -> tuple[tuple[float, ...], ...]:
    """Of each with each, (W, D) -> W rows of W."""
    return tuple(tuple(cosine(a, b) for b in vectors) for a in vectors)


def on_a_plane(vectors: FloatArray) -> tuple[tuple[tuple[float, float], ...], float]:
    """Points on the plane that shows most of the differences, within -1 and 1, and the share that it shows.

    The first two principal components of the vectors' directions.
    """
    directions = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-20)
    centred = directions - directions.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    flat = np.zeros((len(vectors), 2))
    n = min(2, sizes.size)
    flat[:, :n] = left[:, :n] * sizes[:n]
    total = float((sizes**2).sum())
    shown = float((sizes[:2] ** 2).sum()) / total if total > 1e-12 else 1.0
    flat /= max(float(np.abs(flat).max()), 1e-12)
    return tuple((float(x), float(y)) for x, y in flat), shown
