"""The logit lens: the model's own last step applied to the residual stream behind each layer.

What comes out is what the model would say if it ended there. It is raw: early layers keep their thoughts
in other directions than the last one, so that their words are often nonsense. Whether the last step is
understood is checked on the last layer, which must give the model's own logits.

Shapes: L layers, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chatterm.engine.worker.glass.ggml import FloatArray
from chatterm.engine.worker.glass.weights import Weights

_TOLERANCE = 0.02
"""How far the last layer may be from the model's logits, as a share of their range: other kernels round differently."""
_N_SAME = 5
"""The likeliest tokens, which must be the same."""


class Head:
    """The last step of a model: a norm, and the matrix that scores all tokens."""

    def __init__(self, weights: Weights, n_threads: int) -> None:
        """Find it in the file.

        Raises:
            ValueError: the file has no such matrix, or one that cannot be read.
        """
        matrix = weights.find("output.weight", "token_embd.weight")
        if matrix is None:
            raise ValueError("its file has no matrix that scores tokens")
        self._matrix = matrix
        self._n_threads = n_threads
        norm, shift, bias = (
            weights.find("output_norm.weight", "token_embd_norm.weight"),
            weights.find("output_norm.bias"),
            weights.find("output.bias"),
        )
        self._norm = norm.row(0) if norm else np.ones(matrix.width, np.float32)
        self._shift = shift.row(0) if shift else None
        self._bias = bias.row(0) if bias else None
        names = ("attention.layer_norm_epsilon", "attention.layer_norm_rms_epsilon")
        self._epsilon = weights.number(names[0 if shift else 1]) or 1e-5
        self._scale = weights.number("logit_scale") or 1.0
        self._cap = weights.number("final_logit_softcapping") or 0.0

    def logits(self, states: FloatArray) -> FloatArray:
        """Scores of all tokens, (L, D) -> (L, V)."""
        logits = self._matrix.times(self._normed(states), self._n_threads)
        if self._bias is not None:
            logits += self._bias
        if self._scale != 1:
            logits *= np.float32(self._scale)
        if self._cap:
            logits = np.float32(self._cap) * np.tanh(logits / np.float32(self._cap))
        return logits

    def _normed(self, states: FloatArray) -> FloatArray:
        """The norm before the matrix: RMSNorm, or LayerNorm where the file has its bias."""
        exact = states.astype(np.float64)
        if self._shift is not None:
            exact -= exact.mean(axis=-1, keepdims=True)
        scale = 1 / np.sqrt((exact**2).mean(axis=-1, keepdims=True) + self._epsilon)
        normed: FloatArray = exact.astype(np.float32) * scale.astype(np.float32) * self._norm
        return normed if self._shift is None else normed + self._shift


class Distribution:
    """What logits say about the next token."""

    def __init__(self, logits: FloatArray) -> None:
        """Take the logits of one place, shape (V,)."""
        self._logits = logits
        exact = logits.astype(np.float64)
        highest = exact.max()
        self._log_total = highest + np.log(np.exp(exact - highest).sum())
        self._logs = exact - self._log_total

    def probability(self, token: int) -> float:
        """Of one token."""
        return float(np.exp(self._logs[token]))

    def rank(self, token: int) -> int:
        """How many tokens are likelier, and one."""
        return int((self._logits > self._logits[token]).sum()) + 1

    @property
    def bits(self) -> float:
        """Entropy: how many yes-or-no questions would settle which token comes."""
        found = -(np.exp(self._logs) * np.maximum(self._logs, -1e9)).sum() / np.log(2)
        return max(0.0, float(found))

    def best(self, n: int) -> list[int]:
        """The likeliest tokens, the likeliest first."""
        return [int(token) for token in best(self._logits, n)]


def best(values: NDArray[np.floating], n: int) -> NDArray[np.intp]:
    """Where the largest values are, the largest first."""
    n = min(n, values.size)
    found = np.argpartition(-values, n - 1)[:n] if n else np.empty(0, np.intp)
    return found[np.argsort(-values[found], kind="stable")]


def difference(lens: FloatArray, logits: FloatArray) -> float:
    """The largest difference between two lots of logits."""
    return float(np.abs(lens - logits).max())


def is_right(lens: FloatArray, logits: FloatArray) -> bool:
    """Whether the lens on the last layer gives what the model gives."""
    if lens.shape != logits.shape or not np.isfinite(lens).all():
        return False
    close = difference(lens, logits) <= _TOLERANCE * float(np.ptp(logits))
    return close and _are_close(best(lens, _N_SAME), best(logits, _N_SAME), logits)


def _are_close(found: Sequence[int] | NDArray[np.intp], wanted: NDArray[np.intp], logits: FloatArray) -> bool:
    """Whether the likeliest tokens are the same, but for such as are nearly as likely as each other."""
    slack = _TOLERANCE * float(np.ptp(logits))
    return bool((np.abs(logits[np.asarray(found)] - logits[wanted]) <= slack).all())
