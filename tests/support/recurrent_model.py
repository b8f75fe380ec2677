"""A small Mamba model: one whose memory is a state, which cannot go back by a few tokens."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from support.tiny_models import CHATML, bpe

N_LAYERS, WIDTH, INNER, STATE, RANK, KERNEL = 2, 64, 128, 16, 8, 4


def write_mamba(path: Path, seed: int = 0) -> Path:
    """Random weights, the vocabulary of the other small models."""
    rng = np.random.default_rng(seed)
    words = bpe()
    for token in (b"<|endoftext|>", b"<|im_start|>", b"<|im_end|>"):
        words.add(token, 3, 0.0)

    def random(*shape: int, scale: float = 0.2) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)

    writer = gguf.GGUFWriter(path, "mamba")
    writer.add_name("mamba")
    writer.add_context_length(4096)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(N_LAYERS)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(0)
    writer.add_ssm_conv_kernel(KERNEL)
    writer.add_ssm_inner_size(INNER)
    writer.add_ssm_state_size(STATE)
    writer.add_ssm_time_step_rank(RANK)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(words.texts)
    writer.add_token_types(words.types)
    writer.add_token_merges(words.merges)
    writer.add_eos_token_id(words.texts.index(b"<|im_end|>"))
    writer.add_bos_token_id(words.texts.index(b"<|endoftext|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)
    writer.add_tensor("token_embd.weight", random(len(words.texts), WIDTH, scale=1.0))
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for layer in range(N_LAYERS):
        block = f"blk.{layer}."
        writer.add_tensor(block + "attn_norm.weight", np.ones(WIDTH, np.float32))
        writer.add_tensor(block + "ssm_in.weight", random(2 * INNER, WIDTH))
        writer.add_tensor(block + "ssm_conv1d.weight", random(INNER, KERNEL))
        writer.add_tensor(block + "ssm_conv1d.bias", random(INNER))
        writer.add_tensor(block + "ssm_x.weight", random(RANK + 2 * STATE, INNER))
        writer.add_tensor(block + "ssm_dt.weight", random(INNER, RANK))
        writer.add_tensor(block + "ssm_dt.bias", random(INNER))
        writer.add_tensor(block + "ssm_a", -np.abs(random(INNER, STATE)))
        writer.add_tensor(block + "ssm_d", np.ones(INNER, np.float32))
        writer.add_tensor(block + "ssm_out.weight", random(WIDTH, INNER))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
