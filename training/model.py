"""The tutor's network: a small Transformer of the llama architecture, written so that it exports to GGUF unchanged.

Knows nothing of text or of training.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LONG = 256
"""Tokens above which attention is left to PyTorch's own function, on a CPU."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """How large the network is; the names are those of the GGUF header."""

    n_vocab: int = 4096
    n_embd: int = 256
    n_layer: int = 6
    n_head: int = 8
    n_head_kv: int = 4
    n_ff: int = 640
    n_ctx: int = 1024
    rope_base: float = 10000.0
    norm_epsilon: float = 1e-5

    @property
    def n_embd_head(self) -> int:
        """The width of one head."""
        return self.n_embd // self.n_head


def rotations(shape: Shape, n_positions: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of RoPE, each (T, n_embd_head / 2).

    Source: Su et al. (2021), RoFormer.
    """
    half = torch.arange(0, shape.n_embd_head, 2).float() / shape.n_embd_head
    angles = torch.outer(torch.arange(n_positions).float(), 1 / shape.rope_base**half)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns neighbouring pairs of numbers by their position's angle, as llama.cpp does for this architecture.

    Args:
        x: (B, H, T, n_embd_head).
    """
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


def attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention with grouped queries.

    PyTorch's own function needs several times as long for short sequences on a CPU, so there they are multiplied out.

    Args:
        q: (B, H, T, D).
        k: (B, H_kv, T, D).
        v: The same.
    """
    B, H, T, D = q.shape
    H_kv = k.shape[1]
    if q.is_cuda or T > LONG:
        k, v = (x.repeat_interleave(H // H_kv, 1) for x in (k, v))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    scores = (q.reshape(B, H_kv, -1, D) @ k.transpose(-1, -2)).view(B, H, T, T) * D**-0.5
    later = torch.ones(T, T, dtype=torch.bool, device=q.device).triu(1)
    weights = scores.masked_fill(later, -torch.inf).softmax(-1).to(v.dtype)
    return (weights.view(B, H_kv, -1, T) @ v).view(B, H, T, D)


class Layer(nn.Module):
    """Self-attention, then a gated feed-forward network, each added to what came in."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width_kv = shape.n_head_kv * shape.n_embd_head
        self.attn_norm = nn.Parameter(torch.ones(shape.n_embd))
        self.ffn_norm = nn.Parameter(torch.ones(shape.n_embd))
        self.attn_qkv = nn.Linear(shape.n_embd, shape.n_embd + 2 * width_kv, bias=False)
        self.attn_output = nn.Linear(shape.n_embd, shape.n_embd, bias=False)
        self.ffn_gate_up = nn.Linear(shape.n_embd, 2 * shape.n_ff, bias=False)
        self.ffn_down = nn.Linear(shape.n_ff, shape.n_embd, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """From (B, T, n_embd) to the same."""
        x = x + self.attend(self.normed(x, self.attn_norm), cos, sin)
        gate, up = self.ffn_gate_up(self.normed(x, self.ffn_norm)).chunk(2, -1)
        return x + self.ffn_down(F.silu(gate) * up)

    def normed(self, x: Tensor, weight: Tensor) -> Tensor:
        """RMS norm over the last axis."""
        return F.rms_norm(x, (self.shape.n_embd,), weight, self.shape.norm_epsilon)

    def attend(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Causal self-attention with grouped queries: (B, T, n_embd) to the same."""
        shape = self.shape
        B, T, _ = x.shape
        width_kv = shape.n_head_kv * shape.n_embd_head
        q, k, v = self.attn_qkv(x).split([shape.n_embd, width_kv, width_kv], -1)
        q = rotate(q.view(B, T, shape.n_head, shape.n_embd_head).transpose(1, 2), cos, sin)  # (B, H, T, D)
        k = rotate(k.view(B, T, shape.n_head_kv, shape.n_embd_head).transpose(1, 2), cos, sin)
        v = v.view(B, T, shape.n_head_kv, shape.n_embd_head).transpose(1, 2)
        y = attended(q.to(v.dtype), k.to(v.dtype), v)
        return self.attn_output(y.transpose(1, 2).reshape(B, T, shape.n_embd))


class Network(nn.Module):
    """The whole: embeddings, layers, norm, and the embeddings once more to score the next token."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.n_vocab, shape.n_embd)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.n_layer))
        self.output_norm = nn.Parameter(torch.ones(shape.n_embd))
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=_spread(name, shape))
        cos, sin = rotations(shape, shape.n_ctx)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def streams(self, ids: Tensor) -> list[Tensor]:
        """The embeddings, then what comes out of each layer: ids (B, T) to n_layer + 1 times (B, T, n_embd)."""
        T = ids.shape[1]
        streams = [self.token_embd(ids)]
        for layer in self.layers:
            streams.append(layer(streams[-1], self.cos[:T], self.sin[:T]))
        return streams

    def normed(self, x: Tensor) -> Tensor:
        """What the last layer gives, ready to score tokens: (B, T, n_embd) to the same."""
        return F.rms_norm(x, (self.shape.n_embd,), self.output_norm, self.shape.norm_epsilon)

    def hidden(self, ids: Tensor) -> Tensor:
        """The last layer's vectors, normed: ids (B, T) to (B, T, n_embd)."""
        return self.normed(self.streams(ids)[-1])

    def forward(self, ids: Tensor) -> Tensor:
        """Logits for each position: ids (B, T) to (B, T, n_vocab)."""
        return F.linear(self.hidden(ids), self.token_embd.weight)


def _spread(name: str, shape: Shape) -> float:
    """The standard deviation of a matrix at the start; what writes into the stream begins small."""
    if "token_embd" in name:
        return 0.02
    return shape.n_embd**-0.5 * (0.3 if name.endswith(("attn_output.weight", "ffn_down.weight")) else 1.0)
