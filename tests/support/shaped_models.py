"""GGUF files with the shape and size of real models, and random weights: for what memory they take.

Written a matrix at a time from a small pool of random bytes, so that gigabytes are made in seconds
and without holding them. They compute finite nonsense. Nothing here knows chatterm.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from support.tiny_models import CHATML, Words, bpe, write_vocabulary

_FILE_TYPES = {Type.F16: 1, Type.Q4_0: 2, Type.Q8_0: 7, Type.Q4_K: 15, Type.Q6_K: 18}
_POOL_BLOCKS = 1 << 15


class Shape(NamedTuple):
    """What a model is made of."""

    arch: str
    n_layers: int
    width: int
    n_heads: int
    n_kv_heads: int
    n_ff: int
    n_vocab: int
    head: int = 0
    """Width of a head; 0 is width / n_heads."""
    matrices: Type = Type.Q4_0
    some: Type | None = None
    """Type of the values and of what leads down, which most mixtures of quantizations keep in more bits."""
    embeddings: Type = Type.Q8_0
    output: Type | None = None
    """None: the embeddings are the output, too."""
    n_experts: int = 0
    n_experts_used: int = 0
    sliding_window: int = 0
    n_ctx: int = 131_072


class _Tensor(NamedTuple):
    name: str
    shape: tuple[int, ...]
    """Outermost dimension first, as numpy has it."""
    type: Type


def write_shaped(path: Path, shape: Shape) -> Path:
    """A model of a shape."""
    writer = gguf.GGUFWriter(path, shape.arch)
    writer.add_name(path.stem)
    writer.add_file_type(_FILE_TYPES[shape.matrices])
    writer.add_context_length(shape.n_ctx)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.n_layers)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_heads)
    writer.add_head_count_kv(shape.n_kv_heads)
    head = shape.head or shape.width // shape.n_heads
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    if shape.sliding_window:
        writer.add_sliding_window(shape.sliding_window)
    if shape.n_experts:
        writer.add_expert_count(shape.n_experts)
        writer.add_expert_used_count(shape.n_experts_used)
        writer.add_expert_feed_forward_length(shape.n_ff)
    write_vocabulary(writer, _words(shape.n_vocab), add_bos=None, add_space_prefix=None)
    writer.add_chat_template(CHATML)
    tensors = list(_tensors(shape, head))
    for tensor in tensors:
        size = int(np.prod(tensor.shape)) // gguf.GGML_QUANT_SIZES[tensor.type][0]
        size *= gguf.GGML_QUANT_SIZES[tensor.type][1]
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), size, raw_dtype=tensor.type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    pools: dict[Type, np.ndarray] = {}
    for tensor in tensors:
        writer.write_tensor_data(_weights(tensor, pools))
    writer.close()
    return path


def _tensors(shape: Shape, head: int) -> Iterator[_Tensor]:
    """All tensors, in the order of real files."""
    width, n_ff, arch = shape.width, shape.n_ff, shape.arch
    matrices, some = shape.matrices, shape.some or shape.matrices
    if shape.output is not None:
        yield _Tensor("output.weight", (shape.n_vocab, width), shape.output)
    yield _Tensor("token_embd.weight", (shape.n_vocab, width), shape.embeddings)
    yield _Tensor("output_norm.weight", (width,), Type.F32)
    for i in range(shape.n_layers):
        block = f"blk.{i}."
        yield _Tensor(block + "attn_norm.weight", (width,), Type.F32)
        yield _Tensor(block + "ffn_norm.weight", (width,), Type.F32)
        yield _Tensor(block + "attn_q.weight", (shape.n_heads * head, width), matrices)
        yield _Tensor(block + "attn_k.weight", (shape.n_kv_heads * head, width), matrices)
        yield _Tensor(block + "attn_v.weight", (shape.n_kv_heads * head, width), some)
        yield _Tensor(block + "attn_output.weight", (width, shape.n_heads * head), matrices)
        if arch == "qwen2":
            yield _Tensor(block + "attn_q.bias", (shape.n_heads * head,), Type.F32)
            yield _Tensor(block + "attn_k.bias", (shape.n_kv_heads * head,), Type.F32)
            yield _Tensor(block + "attn_v.bias", (shape.n_kv_heads * head,), Type.F32)
        if arch in ("qwen3", "qwen3moe", "gemma3"):
            yield _Tensor(block + "attn_q_norm.weight", (head,), Type.F32)
            yield _Tensor(block + "attn_k_norm.weight", (head,), Type.F32)
        if arch == "gemma3":
            yield _Tensor(block + "post_attention_norm.weight", (width,), Type.F32)
            yield _Tensor(block + "post_ffw_norm.weight", (width,), Type.F32)
        if shape.n_experts:
            yield _Tensor(block + "ffn_gate_inp.weight", (shape.n_experts, width), Type.F32)
        experts = (shape.n_experts,) if shape.n_experts else ()
        kind = "_exps" if shape.n_experts else ""
        yield _Tensor(f"{block}ffn_gate{kind}.weight", (*experts, n_ff, width), matrices)
        yield _Tensor(f"{block}ffn_up{kind}.weight", (*experts, n_ff, width), matrices)
        yield _Tensor(f"{block}ffn_down{kind}.weight", (*experts, width, n_ff), some)


def _words(n_tokens: int) -> Words:
    """A vocabulary of a size: letters, pairs of them, and what follows from joining two of those."""
    words = bpe()
    for name in ("<|endoftext|>", "<|im_start|>", "<|im_end|>"):
        words.add(name.encode(), 3, 0.0)
    letters = [text.decode() for text in words.texts[:256]]
    known = set(words.texts)
    for first in _joined(letters):
        for second in letters:
            merged = (first + second).encode()
            if len(words.texts) == n_tokens:
                return words
            if merged not in known:
                known.add(merged)
                words.texts.append(merged)
                words.types.append(1)
                words.scores.append(0.0)
                words.merges.append(f"{first} {second}")
    raise ValueError(f"{n_tokens:,} tokens are too many")


def _joined(letters: list[str]) -> Iterator[str]:
    """Letters, then pairs of them."""
    yield from letters
    for first in letters:
        for second in letters:
            yield first + second


def _weights(tensor: _Tensor, pools: dict[Type, np.ndarray]) -> np.ndarray:
    """The bytes of a tensor: norms are 1, matrices repeat a pool of random blocks."""
    if len(tensor.shape) == 1:
        return np.full(tensor.shape, 0.0 if tensor.name.endswith("bias") else 1.0, np.float32)
    pool = pools.setdefault(tensor.type, _pool(tensor.type))
    n_values, size = gguf.GGML_QUANT_SIZES[tensor.type]
    return np.resize(pool, int(np.prod(tensor.shape)) // n_values * size)


def _pool(type: Type) -> np.ndarray:
    """Random blocks of a type, as bytes, that stand for numbers of about 0.02."""
    rng = np.random.default_rng(0)
    if type in (Type.F32, Type.F16):
        numbers = 0.02 * rng.standard_normal(32 * _POOL_BLOCKS)
        return numbers.astype(np.float32 if type == Type.F32 else np.float16).view(np.uint8)
    blocks = rng.integers(0, 256, (_POOL_BLOCKS, gguf.GGML_QUANT_SIZES[type][1]), dtype=np.uint8)
    scale, places = {
        Type.Q8_0: (0.02 / 73, (0,)),
        Type.Q4_0: (0.02 / 4.6, (0,)),
        Type.Q4_K: (0.02 / 300, (0, 2)),
        Type.Q6_K: (0.02 / 1400, (208,)),
    }[type]
    for place in places:
        blocks[:, place : place + 2] = np.frombuffer(np.float16(scale).tobytes(), np.uint8)
    return blocks.reshape(-1)
