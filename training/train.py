"""Trains the network; it can be interrupted at any time and goes on from its last checkpoint.

Matrices learn by Muon (Jordan et al. 2024), everything else by AdamW. Beside predicting tokens, the network learns to
name what the answer will be about: from the last token before it, and from the mean of the question's vectors at the
beginning and after the first two layers, so that words and phrases of one subject come to lie near each other. That
teaches what a question means more directly, and what names subjects is thrown away at the end. What is exported is a
moving average of the weights, which knows more than they do.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training import conversations, tokenizer
from training.corpus import read
from training.dataset import N_BATCH, UNNAMED, Batch, Examples, load
from training.earlier import take_over
from training.model import Network, Shape
from training.places import CHECKPOINT, N_TOKENS, N_VOCAB, SEED, WEIGHTS

MUON_RATE, ADAM_RATE = 0.02, 0.003
AGAIN = 0.5
"""Share of these rates for a network that begins with an earlier one's weights, so that they are not swept away."""
WARM_UP = 0.01
"""Share of the training in which the rates rise."""
CONSTANT = 0.1
"""Share after which they fall to nothing."""
SMOOTHING = 0.01
NAMING = {0.0: 1.0, 0.7: 0.7}
"""How much naming subjects counts beside predicting tokens, from which share of the training on."""
BY_WORDS = {0: 1.0, 1: 0.5, 2: 0.5}
"""How much naming counts from the mean of the question's vectors after so many layers, beside naming from the last."""
NAMING_SMOOTHING = 0.05
AVERAGED = 0.997
"""How much of the average stays at each step."""
SECONDS_BETWEEN_CHECKPOINTS = 120.0
BATCHES = {"cpu": N_BATCH, "cuda": 16 * N_BATCH}
"""Tokens of a batch, padding included."""
STEPS_BETWEEN_REPORTS = 50
STEPS_BETWEEN_CHECKS = 300


Placed = tuple[tuple[int, int], Batch]
"""A batch, and which pass and how many batches of it are over after it."""


class Pupil(nn.Module):
    """The network, and what names subject and part of an answer while it learns."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        n_subjects = len(conversations.subjects(read()))
        self.network = Network(shape)
        self.subject = nn.Linear(shape.n_embd, n_subjects)
        self.part = nn.Linear(shape.n_embd, len(conversations.PARTS))
        self.by_words = nn.ModuleList(nn.Linear(shape.n_embd, n_subjects) for _ in BY_WORDS)

    def forward(self, batch: Batch, naming: float) -> Tensor:
        """The loss.

        Args:
            batch: What is learned from.
            naming: How much naming counts beside predicting tokens.
        """
        ids = batch.ids[:, :-1]  # (B, T)
        with torch.autocast(ids.device.type, torch.bfloat16):
            streams = self.network.streams(ids)
            hidden = self.network.normed(streams[-1]).flatten(0, 1)  # (B * T, n_embd)
            logits = F.linear(hidden[batch.chosen], self.network.token_embd.weight)  # (K, V)
            before = hidden[batch.answers]  # (A, n_embd)
            subjects, parts = self.subject(before), self.part(before)
            first = hidden[torch.arange(len(ids), device=ids.device) * ids.shape[1] + batch.ends]  # (B, n_embd)
            guessed = self.subject(first)
            means = [mean_of_words(streams[i], ids, batch.ends) for i in BY_WORDS]
            by_words = [head(mean) for head, mean in zip(self.by_words, means, strict=True)]
        losses = F.cross_entropy(logits.float(), batch.targets, reduction="none", label_smoothing=SMOOTHING)
        loss = (losses * batch.weights).sum() / batch.weights.sum()
        named = _guessing(guessed, batch) + _naming(subjects, batch.subjects) + 0.25 * _naming(parts, batch.parts)
        named = named + sum(w * _guessing(said, batch) for w, said in zip(BY_WORDS.values(), by_words, strict=True))
        return loss + naming * named


def mean_of_words(x: Tensor, ids: Tensor, ends: Tensor) -> Tensor:
    """The mean vector of each example up to its first answer, normed: (B, n_embd).

    Args:
        x: (B, T, n_embd).
        ids: (B, T).
        ends: (B,), where the last token before the answer stands.
    """
    is_word = (torch.arange(ids.shape[1], device=ids.device) <= ends[:, None]) & (
        ids >= len(tokenizer.SPECIAL)
    )  # (B, T)
    mean = (x * is_word[:, :, None]).sum(1) / is_word.sum(1, keepdim=True).clamp(min=1)
    return F.rms_norm(mean, (mean.shape[-1],))


def _naming(scores: Tensor, wanted: Tensor) -> Tensor:
    """The loss of naming, where there is something to name."""
    loss = F.cross_entropy(scores.float(), wanted, ignore_index=UNNAMED, label_smoothing=SMOOTHING, reduction="sum")
    return loss / (wanted != UNNAMED).sum().clamp(min=1)


def _guessing(scores: Tensor, batch: Batch) -> Tensor:
    """The loss of saying how likely each subject is for the first answer, where there is one: scores (B, subjects)."""
    all_surprises = -scores.float().log_softmax(-1)  # (B, subjects)
    surprise = (all_surprises.gather(1, batch.guesses) * batch.shares).sum(1)  # (B,)
    smoothed = torch.lerp(surprise, all_surprises.mean(1) * batch.shares.sum(1), NAMING_SMOOTHING)
    return smoothed.sum() / batch.shares.sum().clamp(min=1)


class Run:
    """One training from its beginning to its end."""

    def __init__(
        self,
        shape: Shape,
        n_tokens: int,
        checkpoint: Path = CHECKPOINT,
        earlier: Path | None = None,
        minutes: float = math.inf,
        device: str = "cpu",
    ) -> None:
        """At its beginning.

        Args:
            shape: Of the network.
            n_tokens: After so many it ends.
            checkpoint: Where it is kept, and goes on from.
            earlier: An exported file whose weights it begins with, instead of fresh ones.
            minutes: After so many it ends, too.
            device: "cpu" or "cuda".
        """
        torch.manual_seed(SEED)
        self.n_tokens, self.checkpoint, self.minutes = n_tokens, checkpoint, minutes
        self.device = device
        self.pupil = Pupil(shape)
        if earlier is not None:
            take_over(self.pupil.network, earlier)
        self.pupil.to(device)
        self.average = {name: weight.detach().clone() for name, weight in self.pupil.named_parameters()}
        matrices = {name: p for name, p in self.pupil.named_parameters() if "layers" in name and p.dim() == 2}
        self.others = [p for name, p in self.pupil.named_parameters() if name not in matrices]
        self.share_of_rates = AGAIN if earlier else 1.0
        self.optimizers: list[tuple[torch.optim.Optimizer, float]] = [
            (torch.optim.Muon(list(matrices.values()), momentum=0.95, weight_decay=0.02), MUON_RATE),
            (torch.optim.AdamW(self.others, betas=(0.9, 0.95), weight_decay=0.0, fused=True), ADAM_RATE),
        ]
        self.step = self.n_seen = self.epoch = self.n_in_epoch = 0
        self.seconds = 0.0
        """How long it has learned so far."""

    @property
    def done(self) -> float:
        """The share that is behind it, by tokens or by time, whichever is more."""
        return max(self.n_seen / self.n_tokens, self.seconds / 60 / self.minutes)

    def rate(self) -> float:
        """The share of the full learning rate that counts now."""
        done = self.done
        return min(1.0, (done + 1e-4) / WARM_UP, (1 - done) / (1 - CONSTANT)) if done < 1 else 0.0

    def naming(self) -> float:
        """How much naming counts now."""
        return next(weight for since, weight in reversed(NAMING.items()) if self.done >= since)

    def learn(self, batch: Batch) -> Tensor:
        """One step; gives the loss, which may still be on its way."""
        rate = self.share_of_rates * self.rate()
        for optimizer, full in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = full * rate
        loss: Tensor = self.pupil(batch, self.naming())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.others, 1.0)
        for optimizer, _ in self.optimizers:
            optimizer.step()
        self.pupil.zero_grad(set_to_none=True)
        kept = min(AVERAGED, self.step / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.pupil.parameters()), 1 - kept)
        self.step += 1
        self.n_seen += batch.n_tokens
        return loss.detach()

    def save(self) -> None:
        """Write a checkpoint; an interrupted write leaves the one before."""
        state: dict[str, Any] = {
            "pupil": self.pupil.state_dict(),
            "average": self.average,
            "optimizers": [optimizer.state_dict() for optimizer, _ in self.optimizers],
            "share_of_rates": self.share_of_rates,  # so that it goes on as it began, whatever the command says now
            "at": (self.step, self.n_seen, self.epoch, self.n_in_epoch, self.seconds),
            "rng": torch.get_rng_state(),
        }
        beside = self.checkpoint.with_suffix(".new")
        torch.save(state, beside)
        beside.replace(self.checkpoint)

    def resume(self) -> None:
        """Go on from the checkpoint, where there is one."""
        if not self.checkpoint.is_file():
            return
        state = torch.load(self.checkpoint, map_location=self.device)
        self.pupil.load_state_dict(state["pupil"])
        self.average, self.share_of_rates = state["average"], state["share_of_rates"]
        for (optimizer, _), saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.n_seen, self.epoch, self.n_in_epoch, self.seconds = state["at"]
        torch.set_rng_state(state["rng"].cpu())

    def keep_weights(self) -> None:
        """Write the averaged weights of the network, without what names subjects."""
        weights = {n.removeprefix("network."): w.cpu() for n, w in self.average.items() if n.startswith("network.")}
        torch.save({"shape": self.pupil.network.shape.__dict__, "weights": weights}, WEIGHTS)

    def batches(self) -> Iterator[Batch]:
        """The batches that come now, pass after pass, each through the examples that were drawn last."""
        for place, batch in ahead(self._batches(self.epoch, self.n_in_epoch)):
            self.epoch, self.n_in_epoch = place
            yield batch

    def _batches(self, epoch: int, n_done: int) -> Iterator[Placed]:
        """The same from some place on, each with the place after it."""
        while True:
            examples = load("train")
            for i, (rows, length) in enumerate(examples.batches(SEED + epoch, BATCHES[self.device])):
                if i >= n_done:
                    yield (epoch, i + 1), examples.batch(rows, length).to(self.device)
            epoch, n_done = epoch + 1, 0


def ahead(batches: Iterator[Placed], n: int = 24) -> Iterator[Placed]:
    """Batches without end, each made some time before it is wanted, by another thread."""
    with ThreadPoolExecutor(1) as maker:
        coming = deque(maker.submit(next, batches) for _ in range(n))
        while True:
            yield coming.popleft().result()
            coming.append(maker.submit(next, batches))


def train(
    n_tokens: int = N_TOKENS,
    *,
    earlier: Path | None = None,
    minutes: float = math.inf,
    is_compiled: bool = False,
    n_threads: int = 0,
) -> None:
    """Train until so many tokens were seen or so many minutes are over, and write the averaged weights."""
    if n_threads:
        torch.set_num_threads(n_threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    run = Run(Shape(n_vocab=N_VOCAB), n_tokens, earlier=earlier, minutes=minutes, device=device)
    run.resume()
    held_out = load("held_out")
    print(f"{sum(p.numel() for p in run.pupil.network.parameters()):,} parameters")
    if is_compiled:
        for layer in run.pupil.network.layers:
            layer.compile(dynamic=True)
    began, saved, n_before, before, recent = time.monotonic(), time.monotonic(), run.n_seen, run.seconds, None
    for batch in run.batches():
        run.seconds = before + time.monotonic() - began
        if run.done >= 1:
            break
        loss = run.learn(batch)
        recent = loss if recent is None else torch.lerp(recent, loss, 0.02)
        if run.step % STEPS_BETWEEN_REPORTS == 0:
            speed = (run.n_seen - n_before) / (time.monotonic() - began)
            print(
                f"step {run.step} pass {run.epoch} seen {run.n_seen / 1e6:.2f}M loss {float(recent):.4f} "
                f"rate {run.rate():.3f} {speed:.0f} tokens/s",
                flush=True,
            )
        if run.step % STEPS_BETWEEN_CHECKS == 0:
            print(f"  held out: {check(run, held_out)}", flush=True)
        if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
            run.save()
            saved = time.monotonic()
    run.save()
    run.keep_weights()
    print(f"end: {run.step} steps, {run.n_seen:,} tokens, held out: {check(run, held_out)}", flush=True)


@torch.no_grad()
def check(run: Run, examples: Examples, n: int = 800) -> str:
    """The averaged network on wordings it has never seen: how often it names the subject, and the loss of tokens."""
    rng = torch.get_rng_state()
    pupil = Pupil(run.pupil.network.shape).to(run.device)
    pupil.load_state_dict(run.average, strict=False)
    pupil.eval()
    kinds = [_kind(subject) for subject in conversations.subjects(read())]
    is_right: dict[str, list[bool]] = {}
    losses = []
    sizes = np.diff(examples.starts)[:n]
    for rows in np.array_split(sizes.argsort(), n // 40):
        batch = examples.batch(rows, int(sizes[rows].max())).to(run.device)
        with torch.autocast(run.device, torch.bfloat16):
            hidden = pupil.network.hidden(batch.ids[:, :-1]).flatten(0, 1)
            logits = F.linear(hidden[batch.chosen], pupil.network.token_embd.weight)
            first = torch.arange(len(rows), device=run.device) * (batch.ids.shape[1] - 1) + batch.ends
            named = pupil.subject(hidden[first]).argmax(-1)
        losses.append(float(F.cross_entropy(logits.float(), batch.targets)))
        for said, wanted in zip(named.tolist(), batch.guesses[:, 0].tolist(), strict=True):
            is_right.setdefault(kinds[wanted], []).append(said == wanted)
    torch.set_rng_state(rng)
    shares = ", ".join(f"{kind} {np.mean(right):.1%}" for kind, right in sorted(is_right.items()))
    total = np.mean([right for some in is_right.values() for right in some])
    return f"{total:.1%} of first subjects named ({shares}), loss {np.mean(losses):.4f}"


def _kind(subject: str) -> str:
    """Which sort of first message has such a subject."""
    if subject in read().topics:
        return "topics"
    return "talk" if subject in read().small_talk else "others"
