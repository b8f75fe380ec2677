"""Says how open the next token is while the tutor answers, at several temperatures: steady, free, falling apart.

The written answers are read to the network token by token; where its favourite has less than `SURE` there is a choice.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from training import tokenizer
from training.compare import opened
from training.conversations import Message, Writer
from training.corpus import read

TEMPERATURES = (0.2, 1.0, 2.0)
SURE = 0.9
N_ANSWERS = 130
N_BEGINNING = 12
"""Tokens of an answer that count as its beginning."""


def choices(model: Path) -> None:
    """Print the favourite's share and the entropy where there is a choice, and how often that is."""
    llama, rng, corpus = opened(model), random.Random(8), read()
    rows: list[np.ndarray] = []
    for i in range(N_ANSWERS):
        writer = Writer(corpus, rng)
        topic = list(corpus.topics.values())[i % len(corpus.topics)]
        talk = [Message("user", f"What is {topic.names[0]}?"), Message("assistant", writer.definition(topic))]
        ids = tokenizer.encode(talk).ids
        start = len(tokenizer.encode(talk[:1]).ids) + 1 + len(tokenizer.ids_of("assistant\n"))
        llama.reset()
        llama.eval(ids)
        rows.append(np.array(llama.scores[start - 1 : start - 1 + N_BEGINNING]))
    logits = np.concatenate(rows)  # (positions, V)
    is_open = _shares(logits, 1.0).max(-1) < SURE
    print(f"{len(logits)} tokens at the beginning of {N_ANSWERS} answers, a choice at {is_open.mean():.0%}; there:")
    for temperature in TEMPERATURES:
        shares = _shares(logits[is_open], temperature)
        entropy = -(shares * np.log2(np.maximum(shares, 1e-30))).sum(-1)
        print(
            f"  temperature {temperature}: the favourite has {shares.max(-1).mean():.0%}, entropy {entropy.mean():.2f} bits"
        )


def _shares(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities at a temperature: (N, V) to the same."""
    scaled = logits.astype(np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(-1, keepdims=True))
    shares: np.ndarray = exponentials / exponentials.sum(-1, keepdims=True)
    return shares
