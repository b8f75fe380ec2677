"""Attention weights from what llama.cpp computed, and the few numbers by which heads are told apart.

Without flash attention the weights are a tensor of their own. With it they are never written down, and
are computed here once more from the queries, keys and mask that it was given. Arithmetic alone.

Shapes: H heads, Q tokens that look, N tokens that are looked at.
"""

from __future__ import annotations

import numpy as np

from chatterm.engine.worker.glass.ggml import FloatArray, Ggml, TensorStruct

_EPSILON = 1e-30
_QUERY, _KEY, _MASK, _SINKS = 0, 1, 3, 4
"""What flash attention is given, by its place."""


def flash_weights(ggml: Ggml, address: int) -> FloatArray:
    """The weights behind a node of flash attention, shape (H, Q, N).

    Raises:
        ValueError: it was given something that is not understood here.
    """
    node = TensorStruct.from_address(address)
    scale, bias, cap = np.frombuffer(bytes(node.op_params)[:12], np.float32)
    if bias != 0 or not node.src[_MASK]:
        raise ValueError("a kind of flash attention that is not known")
    queries, keys = (
        ggml.values(node.src[_QUERY])[0],
        ggml.values(node.src[_KEY])[0],
    )  # (H, Q, width), (groups, N, width)
    mask = ggml.values(node.src[_MASK])[0, 0, : queries.shape[1]]  # (Q, N)
    sinks = ggml.values(node.src[_SINKS]).reshape(-1) if node.src[_SINKS] else None
    return softmax(_scores(queries, keys, scale, cap) + mask, sinks)


def _scores(queries: FloatArray, keys: FloatArray, scale: float, cap: float) -> FloatArray:
    """How well each query fits each key; several heads share the keys of a group."""
    n_heads, n_queries, width = queries.shape
    grouped = queries.reshape(len(keys), -1, width)  # (groups, heads of a group * Q, width)
    scores: FloatArray = (grouped @ keys.transpose(0, 2, 1)).reshape(n_heads, n_queries, -1) * np.float32(scale)
    if cap:
        scores = np.float32(cap) * np.tanh(scores / np.float32(cap))
    return scores


def softmax(scores: FloatArray, sinks: FloatArray | None = None) -> FloatArray:
    """Scores as weights that add up to 1, or to less where a sink takes its share.

    Args:
        scores: Shape (H, Q, N); minus infinity where nothing may be looked at.
        sinks: Shape (H,): the score of a place that is not a token.
    """
    highest = scores.max(axis=-1, keepdims=True)
    if sinks is not None:
        highest = np.maximum(highest, sinks[:, None, None])
    weights: FloatArray = np.exp(scores - highest)
    total = weights.sum(axis=-1, keepdims=True)
    if sinks is not None:
        total = total + np.exp(sinks[:, None, None] - highest)
    weights /= total
    return weights


def entropies(rows: FloatArray) -> FloatArray:
    """How spread out each row is, in bits; (..., N) -> (...)."""
    found: FloatArray = -(rows * np.log2(np.maximum(rows, _EPSILON))).sum(axis=-1)
    return np.maximum(found, np.float32(0))


def strongest(rows: FloatArray) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    """Where each row has the most weight, the first token left out where there is another; (..., N) -> (...)."""
    return rows[..., 1:].argmax(axis=-1) + 1 if rows.shape[-1] > 1 else np.zeros(rows.shape[:-1], np.intp)


def is_attention(weights: FloatArray, n_before: int) -> bool:
    """Whether numbers can be attention: nothing below 0, rows add up to 1 or less, nobody looks ahead.

    Args:
        weights: Shape (H, Q, N), of all places that the cache has.
        n_before: Tokens before the first one that looks.
    """
    n_queries, n_places = weights.shape[-2:]
    sums = weights.sum(axis=-1)
    ahead = np.arange(n_places)[None] > n_before + np.arange(n_queries)[:, None]  # (Q, N)
    is_sound = np.isfinite(weights).all() and weights.min() >= 0 and sums.min() > 0 and sums.max() < 1 + 1e-3
    return bool(is_sound and not (weights * ahead).any())
