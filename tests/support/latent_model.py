"""A small model with latent attention, as DeepSeek's have it: it keeps one compressed key for all heads, and no values."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from support.tiny_models import bpe, write_vocabulary

WIDTH, HEADS, LAYERS, FF = 256, 4, 3, 512
LATENT, ROPE, PLAIN, VALUE, QUERY = 128, 32, 64, 64, 96
EXPERTS, USED, EXPERT_FF = 4, 2, 128


def write_latent(path: Path) -> Path:
    """All weights are zero: it says nothing, but takes what others of its kind take."""
    writer = gguf.GGUFWriter(path, "deepseek2")
    words = bpe()
    words.add(b"<|endoftext|>", 3, 0.0)
    writer.add_name("latent")
    writer.add_context_length(4096)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FF)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(1)
    writer.add_key_length(LATENT + ROPE)
    writer.add_value_length(LATENT)
    writer.add_key_length_mla(PLAIN + ROPE)
    writer.add_value_length_mla(VALUE)
    writer.add_q_lora_rank(QUERY)
    writer.add_kv_lora_rank(LATENT)
    writer.add_rope_dimension_count(ROPE)
    writer.add_rope_freq_base(1e4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_leading_dense_block_count(1)
    writer.add_expert_count(EXPERTS)
    writer.add_expert_used_count(USED)
    writer.add_expert_feed_forward_length(EXPERT_FF)
    writer.add_expert_shared_count(1)
    writer.add_expert_weights_scale(1.0)
    writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SOFTMAX)
    writer.add_vocab_size(len(words.texts))
    writer.add_file_type(0)
    write_vocabulary(writer, words, None, None)
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd": (len(words.texts), WIDTH),
        "output": (len(words.texts), WIDTH),
        "output_norm": (WIDTH,),
    }
    for i in range(LAYERS):
        shapes |= {f"blk.{i}.{name}": shape for name, shape in _layer(is_dense=i == 0).items()}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _layer(is_dense: bool) -> dict[str, tuple[int, ...]]:
    """The tensors of a layer, outermost dimension first."""
    shapes: dict[str, tuple[int, ...]] = {
        "attn_norm": (WIDTH,),
        "ffn_norm": (WIDTH,),
        "attn_q_a": (QUERY, WIDTH),
        "attn_q_a_norm": (QUERY,),
        "attn_q_b": (HEADS * (PLAIN + ROPE), QUERY),
        "attn_kv_a_mqa": (LATENT + ROPE, WIDTH),
        "attn_kv_a_norm": (LATENT,),
        "attn_k_b": (HEADS, LATENT, PLAIN),
        "attn_v_b": (HEADS, VALUE, LATENT),
        "attn_output": (WIDTH, HEADS * VALUE),
    }
    if is_dense:
        return shapes | {"ffn_gate": (FF, WIDTH), "ffn_up": (FF, WIDTH), "ffn_down": (WIDTH, FF)}
    shapes["ffn_gate_inp"] = (EXPERTS, WIDTH)
    for name, shape in {"gate": (EXPERT_FF, WIDTH), "up": (EXPERT_FF, WIDTH), "down": (WIDTH, EXPERT_FF)}.items():
        shapes |= {f"ffn_{name}_exps": (EXPERTS, *shape), f"ffn_{name}_shexp": shape}
    return shapes
