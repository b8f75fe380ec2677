"""Takes over what an earlier tutor knows, so that a new one with another tokenizer need not begin from nothing.

The other way round from `export`: reads the GGUF file; knows nothing of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gguf
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

from training.model import Network
from training.places import SHARPNESS
from training.tokenizer import SPECIAL, load


def take_over(network: Network, path: Path) -> None:
    """Set a network's weights to those of an exported file of the same shape.

    The embedding of a token that the earlier vocabulary lacks is the mean of those of its pieces there.

    Raises:
        RuntimeError: the shapes differ.
    """
    reader = gguf.GGUFReader(path)
    found = {
        tensor.name.removesuffix(".weight"): torch.tensor(gguf.quants.dequantize(tensor.data, tensor.tensor_type))
        for tensor in reader.tensors
    }
    weights = {"output_norm": found["output_norm"] / SHARPNESS}
    for i in range(network.shape.n_layer):
        parts = {
            "attn_norm": ("attn_norm",), "ffn_norm": ("ffn_norm",),
            "attn_qkv.weight": ("attn_q", "attn_k", "attn_v"), "attn_output.weight": ("attn_output",),
            "ffn_gate_up.weight": ("ffn_gate", "ffn_up"), "ffn_down.weight": ("ffn_down",),
        }  # fmt: skip
        for name, names in parts.items():
            weights[f"layers.{i}.{name}"] = torch.cat([found[f"blk.{i}.{part}"] for part in names])
    weights["token_embd.weight"] = _translated(found["token_embd"], _tokenizer(reader))
    network.load_state_dict(weights)


def _tokenizer(reader: gguf.GGUFReader) -> Tokenizer:
    """The tokenizer of an exported file."""
    tokens: Sequence[str] = reader.fields["tokenizer.ggml.tokens"].contents()
    merges: Sequence[str] = reader.fields["tokenizer.ggml.merges"].contents()
    pairs = [(first, second) for first, _, second in (merge.partition(" ") for merge in merges)]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _translated(embeddings: Tensor, earlier: Tokenizer) -> Tensor:
    """Embeddings of an earlier vocabulary as the present one's: (V, n_embd) to the same."""
    translated = embeddings.clone()
    known = earlier.get_vocab()
    for token, i in load().get_vocab().items():
        if token in known:
            translated[i] = embeddings[known[token]]
        elif token not in SPECIAL:
            pieces = [known[piece] for piece in _pieces(token, earlier)]
            translated[i] = embeddings[pieces].mean(0)
    return translated


def _pieces(token: str, earlier: Tokenizer) -> list[str]:
    """The tokens of an earlier vocabulary that make up a token, which is written in stand-ins for bytes."""
    return [piece.value for piece in earlier.model.tokenize(token)]
