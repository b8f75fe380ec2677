"""Writes the trained network as a GGUF file that llama.cpp reads.

The network turns neighbouring pairs in RoPE, as llama.cpp does for `llama`, so queries and keys need no permutation.
Scores are made with the embeddings, so the file has no `output.weight`. Rows are multiples of 32, as Q8_0 needs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType

from chatterm.tutor import TEMPERATURE
from training.model import Shape
from training.places import SHARPNESS, TOKENIZER, WEIGHTS
from training.tokenizer import BOS, END, PAD, SPECIAL

Kind = Literal["f32", "q8_0"]
EMBEDDINGS = "token_embd.weight"
N_LAYERS_EXACT = 2
"""Of a Q8_0 file, embeddings and so many last layers stay F16: rounding them costs more equal answers than the rest."""
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] != 'system' %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'user' %}"
    "{{ ' ' + (message['content'] | lower | replace('\u2019', \"'\")).split() | join(' ') }}"
    "{% else %}{{ message['content'] }}{% endif %}{{ '<|im_end|>\\n' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""ChatML; questions as `as_read` has them; a system prompt is left out, the tutor was never taught to follow one."""


def trained(weights: Path = WEIGHTS) -> tuple[Shape, dict[str, torch.Tensor]]:
    """What `train` wrote, with scores as sharp as they shall be."""
    written = torch.load(weights)
    made: dict[str, torch.Tensor] = written["weights"]
    made["output_norm"] = made["output_norm"] * SHARPNESS
    return Shape(**written["shape"]), made


def export(path: Path, kind: Kind = "q8_0", weights: Path = WEIGHTS) -> None:
    """Write the file.

    Args:
        path: Where to.
        kind: "f32" for comparing logits, "q8_0" to be shipped, with some tensors in F16; norms are F32 in both.
        weights: What `train` wrote.
    """
    shape, made = trained(weights)
    exact = (EMBEDDINGS, *(f"blk.{i}." for i in range(shape.n_layer - N_LAYERS_EXACT, shape.n_layer)))
    writer = GGUFWriter(path, "llama")
    _describe(writer, shape, kind)
    _add_vocabulary(writer, shape)
    for name, values in _tensors(made, shape).items():
        if values.ndim == 1 or kind == "f32":
            writer.add_tensor(name, values)
        elif name.startswith(exact):
            writer.add_tensor(name, values.astype(np.float16))
        else:
            quantized = gguf.quants.quantize(values, GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, quantized, raw_dtype=GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: GGUFWriter, shape: Shape, kind: Kind) -> None:
    writer.add_type("model")
    writer.add_name("Tutor")
    writer.add_organization("chatterm")
    writer.add_license("MIT")
    writer.add_description("chatterm's built-in model: tiny, and only knows how language models work.")
    writer.add_languages(["en"])
    writer.add_size_label("5M")
    writer.add_context_length(shape.n_ctx)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_head_kv)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_dimension_count(shape.n_embd_head)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_vocab_size(shape.n_vocab)
    writer.add_sampling_temp(TEMPERATURE)
    writer.add_file_type(LlamaFileType.ALL_F32 if kind == "f32" else LlamaFileType.MOSTLY_Q8_0)
    if kind == "q8_0":
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _add_vocabulary(writer: GGUFWriter, shape: Shape) -> None:
    vocabulary: dict[str, Any] = json.loads(TOKENIZER.read_text("utf-8"))["model"]
    tokens = sorted(vocabulary["vocab"], key=vocabulary["vocab"].__getitem__)
    tokens += [f"[unused{i}]" for i in range(shape.n_vocab - len(tokens))]
    is_control = [token in SPECIAL for token in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if control else gguf.TokenType.NORMAL for control in is_control])
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in vocabulary["merges"]])
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(END)
    writer.add_eot_token_id(END)
    writer.add_pad_token_id(PAD)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_chat_template(TEMPLATE)


def _tensors(weights: dict[str, torch.Tensor], shape: Shape) -> dict[str, np.ndarray]:
    """The weights under the names of llama.cpp."""
    width_kv = shape.n_head_kv * shape.n_embd_head
    tensors = {EMBEDDINGS: weights[EMBEDDINGS], "output_norm.weight": weights["output_norm"]}
    for i in range(shape.n_layer):
        layer = {name.removeprefix(f"layers.{i}."): w for name, w in weights.items() if name.startswith(f"layers.{i}.")}
        q, k, v = layer["attn_qkv.weight"].split([shape.n_embd, width_kv, width_kv])
        gate, up = layer["ffn_gate_up.weight"].chunk(2)
        named = {
            "attn_norm": layer["attn_norm"], "attn_q": q, "attn_k": k, "attn_v": v,
            "attn_output": layer["attn_output.weight"], "ffn_norm": layer["ffn_norm"],
            "ffn_gate": gate, "ffn_up": up, "ffn_down": layer["ffn_down.weight"],
        }  # fmt: skip
        tensors |= {f"blk.{i}.{name}.weight": weight for name, weight in named.items()}
    return {name: tensor.detach().float().contiguous().numpy() for name, tensor in tensors.items()}
