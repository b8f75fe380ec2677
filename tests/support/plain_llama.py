"""A llama's forward pass in NumPy, written from its formulas and read from the file: what numbers are compared with.

In double precision, with no cache and no batches. Nothing here knows chatterm or llama.cpp.
Shapes: T tokens, H heads, D width, L layers, V vocabulary.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import gguf
import numpy as np


class Pass(NamedTuple):
    """All that a forward pass computes."""

    attention: np.ndarray
    """(L, H, T, T); what looks, then what is looked at."""
    start: np.ndarray
    """(T, D)"""
    states: np.ndarray
    """(L, T, D): behind each layer."""
    lens: np.ndarray
    """(L, T, V): scores from each layer; the last one is the model's own."""


class PlainLlama:
    """The weights of a file, and the pass."""

    def __init__(self, path: Path) -> None:
        reader = gguf.GGUFReader(path)
        self._weights = {
            tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float64)
            for tensor in reader.tensors
        }

        def number(key: str) -> float:
            return float(reader.fields[f"llama.{key}"].parts[-1][0])

        self.n_layers = int(number("block_count"))
        self.n_heads = int(number("attention.head_count"))
        self._n_groups = int(number("attention.head_count_kv"))
        self._epsilon = number("attention.layer_norm_rms_epsilon")
        self._rope_base = number("rope.freq_base")

    @property
    def table(self) -> np.ndarray:
        """The embeddings, (V, D)."""
        return self._weights["token_embd.weight"]

    def __call__(self, tokens: list[int], halves: bool = False) -> Pass:
        """The pass over a text.

        Args:
            halves: Keep keys and values in 16 bits, as flash attention does whatever the cache has.
        """
        self._kept_as = np.float16 if halves else np.float64
        stream = self.table[tokens]
        attention, states = [], []
        for layer in range(self.n_layers):
            block = f"blk.{layer}."
            weights, mixed = self._attend(block, self._norm(stream, block + "attn_norm.weight"))
            attention.append(weights)
            stream = stream + mixed
            stream = stream + self._feed_forward(block, self._norm(stream, block + "ffn_norm.weight"))
            states.append(stream)
        lens = [self._times(self._norm(state, "output_norm.weight"), "output.weight") for state in states]
        return Pass(np.stack(attention), self.table[tokens], np.stack(states), np.stack(lens))

    def _times(self, vectors: np.ndarray, name: str) -> np.ndarray:
        return vectors @ self._weights[name].T

    def _norm(self, vectors: np.ndarray, name: str) -> np.ndarray:
        size = np.sqrt((vectors**2).mean(axis=-1, keepdims=True) + self._epsilon)
        return vectors / size * self._weights[name]

    def _attend(self, block: str, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n_tokens, heads, groups = len(vectors), self.n_heads, self._n_groups
        queries = self._turned(self._times(vectors, block + "attn_q.weight").reshape(n_tokens, heads, -1))
        keys = self._turned(self._times(vectors, block + "attn_k.weight").reshape(n_tokens, groups, -1))
        values = self._times(vectors, block + "attn_v.weight").reshape(n_tokens, groups, -1)
        keys, values = (each.astype(self._kept_as).astype(np.float64) for each in (keys, values))
        keys, values = (np.repeat(each, heads // groups, axis=1) for each in (keys, values))
        scores = np.einsum("qhd,khd->hqk", queries, keys) / np.sqrt(queries.shape[-1])
        scores = np.where(np.tril(np.ones((n_tokens, n_tokens), bool)), scores, -np.inf)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", weights, values).reshape(n_tokens, -1)
        return weights, self._times(mixed, block + "attn_output.weight")

    def _turned(self, vectors: np.ndarray) -> np.ndarray:
        """Rotary positions on neighbouring pairs; (T, heads, width of a head)."""
        width = vectors.shape[-1]
        angles = np.arange(len(vectors))[:, None] * self._rope_base ** (-np.arange(0, width, 2) / width)
        cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
        even, odd = vectors[..., 0::2], vectors[..., 1::2]
        turned = np.empty_like(vectors)
        turned[..., 0::2], turned[..., 1::2] = even * cosine - odd * sine, even * sine + odd * cosine
        return turned

    def _feed_forward(self, block: str, vectors: np.ndarray) -> np.ndarray:
        gate = self._times(vectors, block + "ffn_gate.weight")
        return self._times(
            gate / (1 + np.exp(-gate)) * self._times(vectors, block + "ffn_up.weight"), block + "ffn_down.weight"
        )
