"""What a model takes while it runs, told from its header before it is loaded.

Pure arithmetic; what is free, and whether that is enough, is told in `fit`.
"""

from __future__ import annotations

import msgspec

from chatterm.gguf import GgufHeader
from chatterm.quantizations import BYTES_PER_VALUE

_PROCESS_BYTES = 100_000_000


class MemoryNeed(msgspec.Struct, frozen=True):
    """What a model takes while it runs, estimated."""

    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int
    """llama.cpp's working memory for one batch."""

    @property
    def total_bytes(self) -> int:
        """All together, with the process itself."""
        return self.weights_bytes + self.kv_cache_bytes + self.compute_bytes + _PROCESS_BYTES


def kv_cache_bytes(header: GgufHeader, n_ctx: int, type_k: str = "f16", type_v: str = "f16") -> int:
    """What the KV cache takes for a context window.

    Every layer is counted with the whole window, also those that look back on a sliding one.

    Args:
        header: Of the model.
        n_ctx: Tokens; llama.cpp rounds them up to a multiple of 256.
        type_k: Type of the keys, as `LoadOptions.cache_type_k` has it.
        type_v: Type of the values.

    Example: Llama 3.1 8B (32 layers, 8 KV heads of 128) at 8,192 tokens in f16 -> 1 GiB
    """
    n_cells = -(-n_ctx // 256) * 256
    n_own = max(0, header.n_layers - header.number("attention.shared_kv_layers"))
    n_heads = sum(header.n_kv_heads[:n_own])
    bytes_per_head = header.key_length * BYTES_PER_VALUE[type_k] + header.value_length * BYTES_PER_VALUE[type_v]
    return round(n_cells * n_heads * bytes_per_head)


def memory_needed(
    header: GgufHeader,
    n_ctx: int,
    type_k: str = "f16",
    type_v: str = "f16",
    n_batch: int = 512,
    flash_attention: bool = True,
    size_bytes: int = 0,
) -> MemoryNeed:
    """How much memory a model takes, before it is loaded.

    The working memory is that of the logits of one batch, which dominate it, and without flash
    attention the attention matrix beside them.

    Args:
        header: Of its file, or of the first part of a split model.
        n_ctx: Tokens of the context window.
        type_k: Type of the keys, as `LoadOptions.cache_type_k` has it.
        type_v: Type of the values.
        n_batch: Most tokens that are evaluated at once.
        flash_attention: Whether it is on.
        size_bytes: Of all its files, where it is split: the header knows the weights of one part only.
    """
    n_rows = min(n_batch, n_ctx)
    compute = n_rows * (header.n_vocab + 2 * header.n_embedding) * 4
    if not flash_attention:
        compute += header.n_heads * n_ctx * n_rows * 4
    return MemoryNeed(
        max(header.size_bytes, size_bytes - header.data_offset), kv_cache_bytes(header, n_ctx, type_k, type_v), compute
    )
