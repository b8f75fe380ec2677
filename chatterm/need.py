"""What a model takes while it runs, told from its header before it is loaded.

Pure arithmetic over what llama.cpp allocates on a processor; what is free, and whether that is enough,
is told in `fit`. The constants were measured (`python -m benchmarks.fit` does it again).

Weights are mapped from the file. Some processors compute faster on a copy of them in another layout,
which llama.cpp makes while it loads; the mapped pages of those weights are not looked at again. So the
weights are needed once (`total_bytes`), although the system shows both for the process until it wants
the pages back (`resident_bytes`).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from chatterm.gguf import GgufHeader, Tensor
from chatterm.quantizations import BYTES_PER_VALUE

_PROCESS_BYTES = 58_000_000
"""Python, numpy and llama.cpp."""
_TOKEN_BYTES, _MERGE_BYTES = 160, 120
"""An entry of the vocabulary, and of the list of its merges, with the tables to find them."""
_MAX_UBATCH = 512
_CELLS = 256
"""llama.cpp makes KV caches in multiples of this many cells."""
_REPACKED_X86 = frozenset({"Q4_0", "Q4_K", "IQ4_NL", "MXFP4"})
_REPACKED_ARM = frozenset({"Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "IQ4_NL", "MXFP4"})
"""Types that llama.cpp has a faster layout for."""


class MemoryNeed(msgspec.Struct, frozen=True):
    """What a model takes while it runs, estimated."""

    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int
    """llama.cpp's working memory for one batch."""
    process_bytes: int = 0
    """The worker process itself, with the vocabulary."""
    copied_bytes: int = 0
    """Weights that are there a second time, in the file's mapping: they look like memory in use, but can be had back."""

    @property
    def total_bytes(self) -> int:
        """All that is needed."""
        return self.weights_bytes + self.kv_cache_bytes + self.compute_bytes + self.process_bytes

    @property
    def resident_bytes(self) -> int:
        """What the system shows for the process (RSS) while nothing else wants the memory."""
        return self.total_bytes + self.copied_bytes


def memory_needed(
    header: GgufHeader,
    n_ctx: int,
    type_k: str = "f16",
    type_v: str = "f16",
    n_batch: int = _MAX_UBATCH,
    flash_attention: bool = True,
    size_bytes: int = 0,
    system_info: str = "",
) -> MemoryNeed:
    """How much memory a model takes, before it is loaded.

    Args:
        header: Of its file, or of the first part of a split model.
        n_ctx: Tokens of the context window.
        type_k: Type of the keys, as `LoadOptions.cache_type_k` has it.
        type_v: Type of the values.
        n_batch: Most tokens that are evaluated at once.
        flash_attention: Whether it is on.
        size_bytes: Of all its files, where it is split: the header knows the weights of one part only.
        system_info: llama.cpp's line about its instruction sets (`EngineReport.system_info`), which decides on
            `copied_bytes`; without it none are reckoned.
    """
    weights = max(header.size_bytes, size_bytes - header.data_offset)
    copied = sum(tensor.size_bytes for tensor in _copied(header, system_info))
    if header.size_bytes:
        copied = copied * weights // header.size_bytes  # the other parts are made as this one is
    return MemoryNeed(
        weights,
        kv_cache_bytes(header, n_ctx, type_k, type_v),
        compute_bytes(header, n_ctx, n_batch, flash_attention),
        _PROCESS_BYTES + _TOKEN_BYTES * header.n_vocab + _MERGE_BYTES * header.length("tokenizer.ggml.merges"),
        copied,
    )


def kv_cache_bytes(header: GgufHeader, n_ctx: int, type_k: str = "f16", type_v: str = "f16") -> int:
    """What the KV cache takes for a context window, and the states of recurrent layers beside it.

    Layers that look back on a sliding window only are counted with the whole one: llama.cpp keeps it
    for them, too, so that a conversation can go back.

    Args:
        header: Of the model.
        n_ctx: Tokens; llama.cpp rounds them up to a multiple of 256.
        type_k: Type of the keys, as `LoadOptions.cache_type_k` has it.
        type_v: Type of the values.

    Example: Llama 3.1 8B (32 layers, 8 KV heads of 128) at 8,192 tokens in f16 -> 1 GiB
    """
    n_cells = -(-n_ctx // _CELLS) * _CELLS
    heads = _cached_heads(header)
    value_length = 0 if header.number("attention.value_length_mla") else header.value_length  # a part of the key
    bytes_per_head = header.key_length * BYTES_PER_VALUE[type_k] + value_length * BYTES_PER_VALUE[type_v]
    n_states = max(0, header.n_layers - len([n for n in heads if n])) if header.number("ssm.state_size") else 0
    return round(n_cells * sum(heads) * bytes_per_head) + n_states * _state_bytes(header)


def _cached_heads(header: GgufHeader) -> tuple[int, ...]:
    """Heads of the layers whose keys and values are kept."""
    heads = header.n_kv_heads[: max(0, header.n_layers - header.number("attention.shared_kv_layers"))]
    interval = header.number("full_attention_interval")
    return heads[interval - 1 :: interval] if interval > 0 else heads  # the layers between have a state instead


def _state_bytes(header: GgufHeader) -> int:
    """What a recurrent layer remembers (Mamba and its kin), whatever the window."""
    inner, state = header.number("ssm.inner_size"), header.number("ssm.state_size")
    convolved = inner + 2 * header.number("ssm.group_count") * state
    return 4 * (inner * state + max(0, header.number("ssm.conv_kernel") - 1) * convolved)


def compute_bytes(header: GgufHeader, n_ctx: int, n_batch: int = _MAX_UBATCH, flash_attention: bool = True) -> int:
    """llama.cpp's working memory, for the largest batch that it evaluates at once.

    It is reused from layer to layer, so the greediest step decides: attention, the feed-forward part
    or the experts. Beside it lie the mask over the window, and the logits of one token.
    """
    n_rows = max(0, min(n_batch, n_ctx, _MAX_UBATCH))
    width, n_ff = header.n_embedding, header.number("feed_forward_length")
    queries = header.n_heads * header.key_length
    keys = max(header.n_kv_heads, default=0) * header.key_length
    attention = 2 * queries + 3 * keys + 2 * width + (0 if flash_attention else header.n_heads * n_ctx)
    n_used = max(1, header.number("expert_used_count")) if header.n_experts else 0
    n_expert_ff = n_used * (header.number("expert_feed_forward_length") or n_ff)
    experts = max(3 * n_expert_ff + 4 * width, 2 * n_used * width + 2 * n_expert_ff) if n_used else 0
    greediest = max(attention, experts, 3 * n_ff + 4 * width)
    n_masks = 2 if header.number("attention.sliding_window") else 1
    mask_bytes = n_masks * n_ctx * (2 if flash_attention else 4)
    return n_rows * (4 * greediest + mask_bytes) + 4 * header.n_vocab


def _copied(header: GgufHeader, system_info: str) -> Iterator[Tensor]:
    """The matrices that llama.cpp lays out anew for this processor."""
    has = {
        name for name, _, value in (each.partition(" = ") for each in system_info.split("|")) if value.strip() == "1"
    }
    has = {name.rpartition(":")[2].strip() for name in has}
    if "REPACK" not in has or "AMX_INT8" in has:
        return
    types = _REPACKED_ARM if has & {"MATMUL_INT8", "DOTPROD"} else _REPACKED_X86 if "AVX2" in has else frozenset()
    if "AVX512" in has:
        types |= {"Q2_K"}
    is_tied = not any(tensor.name == "output.weight" for tensor in header.tensors)
    for tensor in header.tensors:
        is_multiplied = tensor.name != "token_embd.weight" or is_tied
        if tensor.type in types and is_multiplied and len(tensor.shape) > 1 and tensor.shape[1] % 8 == 0:
            yield tensor
