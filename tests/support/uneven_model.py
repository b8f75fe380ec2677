"""A small model whose layers have different numbers of heads, as those that were pruned layer by layer have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
from support.tiny_models import CHATML, bpe, write_vocabulary

WIDTH, HEAD, FF = 64, 16, 128


def write_uneven(path: Path, n_heads: Sequence[int]) -> Path:
    """Random weights; a layer for each number of heads, all of which share one key."""
    writer = gguf.GGUFWriter(path, "deci")
    words = bpe()
    for name in ("<|endoftext|>", "<|im_start|>", "<|im_end|>"):
        words.add(name.encode(), 3, 0.0)
    writer.add_name("uneven")
    writer.add_context_length(4096)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(len(n_heads))
    writer.add_feed_forward_length(FF)
    writer.add_head_count([*n_heads])
    writer.add_head_count_kv([1] * len(n_heads))
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_rope_dimension_count(HEAD)
    writer.add_rope_freq_base(1e4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(0)
    writer.add_vocab_size(len(words.texts))
    write_vocabulary(writer, words, None, None)
    writer.add_chat_template(CHATML)
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd": (len(words.texts), WIDTH),
        "output": (len(words.texts), WIDTH),
        "output_norm": (WIDTH,),
    }
    for i, n in enumerate(n_heads):
        shapes |= {f"blk.{i}.{name}": shape for name, shape in _layer(n).items()}
    rng = np.random.default_rng(0)
    for name, shape in shapes.items():
        scale = np.float32(2 / np.sqrt(shape[-1]))
        values = np.ones(shape, np.float32) if name.endswith("norm") else rng.standard_normal(shape, np.float32) * scale
        writer.add_tensor(f"{name}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _layer(n_heads: int) -> dict[str, tuple[int, ...]]:
    """The tensors of a layer, outermost dimension first."""
    return {
        "attn_norm": (WIDTH,),
        "ffn_norm": (WIDTH,),
        "attn_q": (n_heads * HEAD, WIDTH),
        "attn_k": (HEAD, WIDTH),
        "attn_v": (HEAD, WIDTH),
        "attn_output": (WIDTH, n_heads * HEAD),
        "ffn_gate": (FF, WIDTH),
        "ffn_up": (FF, WIDTH),
        "ffn_down": (WIDTH, FF),
    }
