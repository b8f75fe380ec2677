"""Trains the network; it can be interrupted at any time and goes on from its last checkpoint.

Matrices learn by Muon (Jordan et al. 2024), everything else by AdamW. What is exported is a moving average of the
weights, which knows more than the weights themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training.dataset import Examples, load
from training.model import Network, Shape
from training.places import CHECKPOINT, N_TOKENS, N_VOCAB, SEED, WEIGHTS

MUON_RATE, ADAM_RATE = 0.02, 0.003
WARM_UP = 0.01
"""Share of the training in which the rates rise."""
CONSTANT = 0.45
"""Share after which they fall to nothing."""
DROPOUT = 0.05
SMOOTHING = 0.01
AVERAGED = 0.997
"""How much of the average stays at each step."""
SECONDS_BETWEEN_CHECKPOINTS = 120.0
STEPS_BETWEEN_REPORTS = 50
STEPS_BETWEEN_CHECKS = 500


class Run:
    """One training from its beginning to its end."""

    def __init__(self, shape: Shape, n_tokens: int) -> None:
        torch.manual_seed(SEED)
        self.n_tokens = n_tokens
        self.network = Network(shape)
        self.network.dropout = DROPOUT
        self.average = {name: weight.detach().clone() for name, weight in self.network.named_parameters()}
        matrices = [p for name, p in self.network.named_parameters() if p.dim() == 2 and "token_embd" not in name]
        others = [p for name, p in self.network.named_parameters() if p.dim() != 2 or "token_embd" in name]
        self.others = others
        self.optimizers: list[tuple[torch.optim.Optimizer, float]] = [
            (torch.optim.Muon(matrices, lr=MUON_RATE, momentum=0.95, weight_decay=0.02), MUON_RATE),
            (torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0), ADAM_RATE),
        ]
        self.step = self.n_seen = self.epoch = self.n_in_epoch = 0

    def rate(self) -> float:
        """The share of the full learning rate that counts now."""
        done = self.n_seen / self.n_tokens
        return min(1.0, (done + 1e-4) / WARM_UP, (1 - done) / (1 - CONSTANT)) if done < 1 else 0.0

    def learn(self, loss_of: Callable[[Tensor, Tensor], Tensor], ids: Tensor, weights: Tensor) -> float:
        """One step; gives the loss."""
        rate = self.rate()
        for optimizer, full in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = full * rate
        loss = loss_of(ids, weights)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.others, 1.0)
        for optimizer, _ in self.optimizers:
            optimizer.step()
        self.network.zero_grad(set_to_none=True)
        kept = min(AVERAGED, self.step / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.network.parameters()), 1 - kept)
        self.step += 1
        self.n_seen += int((ids != 3).sum())
        return float(loss.detach())

    def save(self) -> None:
        """Write a checkpoint; an interrupted write leaves the one before."""
        state: dict[str, Any] = {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizers": [optimizer.state_dict() for optimizer, _ in self.optimizers],
            "at": (self.step, self.n_seen, self.epoch, self.n_in_epoch),
            "rng": torch.get_rng_state(),
        }
        beside = CHECKPOINT.with_suffix(".new")
        torch.save(state, beside)
        beside.replace(CHECKPOINT)

    def resume(self) -> None:
        """Go on from the checkpoint, where there is one."""
        if not CHECKPOINT.is_file():
            return
        state = torch.load(CHECKPOINT)
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        for (optimizer, _), saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.n_seen, self.epoch, self.n_in_epoch = state["at"]
        torch.set_rng_state(state["rng"])

    def batches(self, examples: Examples) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches that come now, pass after pass."""
        while True:
            for i, (chosen, length) in enumerate(examples.batches(SEED + self.epoch)):
                if i >= self.n_in_epoch:
                    yield examples.batch(chosen, length)
                    self.n_in_epoch = i + 1
            self.epoch, self.n_in_epoch = self.epoch + 1, 0


def train(
    n_tokens: int = N_TOKENS, shape: Shape | None = None, *, is_compiled: bool = True, n_threads: int = 0
) -> None:
    """Train until so many tokens were seen, and write the averaged weights."""
    if n_threads:
        torch.set_num_threads(n_threads)
    run = Run(shape or Shape(n_vocab=N_VOCAB), n_tokens)
    run.resume()
    examples, held_out = load("train"), load("held_out")
    print(f"{sum(p.numel() for p in run.network.parameters()):,} parameters, {len(examples):,} examples", flush=True)

    def loss_of(ids: Tensor, weights: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            logits = run.network(ids[:, :-1])
        losses = F.cross_entropy(
            logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none", label_smoothing=SMOOTHING
        )
        weights = weights[:, 1:].flatten()
        return (losses * weights).sum() / weights.sum().clamp(min=1.0)

    compiled = torch.compile(loss_of, dynamic=True) if is_compiled else loss_of
    began, saved, n_before, recent = time.monotonic(), time.monotonic(), run.n_seen, 0.0
    for ids, weights in run.batches(examples):
        if run.n_seen >= n_tokens:
            break
        loss = run.learn(compiled, ids, weights)
        recent = loss if not recent else 0.98 * recent + 0.02 * loss
        if run.step % STEPS_BETWEEN_REPORTS == 0:
            speed = (run.n_seen - n_before) / (time.monotonic() - began)
            print(
                f"step {run.step} pass {run.epoch} seen {run.n_seen / 1e6:.2f}M loss {recent:.4f} "
                f"rate {run.rate():.3f} {speed:.0f} tokens/s",
                flush=True,
            )
        if run.step % STEPS_BETWEEN_CHECKS == 0:
            print(f"  held out: {check(run, held_out)}", flush=True)
        if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
            run.save()
            saved = time.monotonic()
    run.save()
    print(f"end: {run.step} steps, {run.n_seen:,} tokens, held out: {check(run, held_out)}", flush=True)
    torch.save({"shape": run.network.shape.__dict__, "weights": run.average}, WEIGHTS)


@torch.no_grad()
def check(run: Run, examples: Examples, n: int = 320) -> str:
    """The averaged network on wordings it has never seen: loss of the first tokens of answers, and of the others."""
    network = Network(run.network.shape)
    network.load_state_dict(run.average, strict=False)
    network.eval()
    sums = np.zeros(4)
    rng = torch.get_rng_state()
    for i in range(0, n, 8):
        sizes = np.diff(examples.starts)[i : i + 8]
        ids, weights = examples.batch(np.arange(i, i + 8), int(sizes.max()))
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(ids[:, :-1])
        losses = F.cross_entropy(logits.float().transpose(1, 2), ids[:, 1:], reduction="none")
        for k, weight in enumerate((3.0, 1.0)):
            chosen = (weights[:, 1:] - weight).abs() < 0.01
            sums[2 * k : 2 * k + 2] += float(losses[chosen].sum()), int(chosen.sum())
    torch.set_rng_state(rng)
    return f"first tokens {sums[0] / sums[1]:.4f}, the rest {sums[2] / sums[3]:.4f}"
