"""Promises about the distribution that tokens are drawn from: the one that a NumPy computation gives.

The model gives the same logits after any token, so a reply of many tokens is as many draws.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from support.definitions import shares, stage
from support.engines import ask, load
from support.tiny_models import write_distribution

from chatterm.engine.base import Prompt
from chatterm.engine.local import LocalEngine
from chatterm.settings import Sampling

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOGITS = np.array([3.03, 2.61, 2.27, 1.74, 1.11, 0.43, -0.19, -0.91, -1.63, -2.52], np.float64)
N_DRAWS = 1500
NEUTRAL: dict[str, Any] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "max_tokens": N_DRAWS}
PROMPT = Prompt(raw="x")


@pytest_asyncio.fixture(loop_scope="module")
async def die(engine: LocalEngine, tmp_path_factory: pytest.TempPathFactory) -> LocalEngine:
    """An engine with the model that always has these logits."""
    if engine.model is None or engine.model.name != "die":
        path = write_distribution(tmp_path_factory.mktemp("models") / "die.gguf", LOGITS.tolist())
        await load(engine, path, n_ctx=4096)
    return engine


CASES: list[list[tuple[str, float]]] = [
    [("temperature", 0.5)],
    [("temperature", 2.0)],
    [("top_k", 3)],
    [("top_p", 0.6)],
    [("top_p", 0.95)],
    [("min_p", 0.2)],
    [("typical", 0.5)],
    [("typical", 0.9)],
    [("temperature", 3.0), ("top_p", 0.6)],
    [("top_p", 0.6), ("temperature", 3.0)],
    [("temperature", 0.5), ("min_p", 0.2)],
    [("min_p", 0.2), ("temperature", 0.5)],
    [("top_k", 4), ("typical", 0.7), ("top_p", 0.9), ("min_p", 0.1), ("temperature", 1.5)],
]


@pytest.mark.parametrize("stages", CASES, ids=lambda stages: "-".join(f"{name}_{value}" for name, value in stages))
async def test_tokens_are_drawn_from_the_distribution_that_the_stages_define(
    die: LocalEngine, stages: list[tuple[str, float]]
) -> None:
    logits = LOGITS
    for name, value in stages:
        logits = stage(name, logits, value)
    expected = shares(logits)
    values: dict[str, Any] = {"typical_p" if name == "typical" else name: value for name, value in stages}
    values = {name: int(value) if name == "top_k" else value for name, value in values.items()}
    order: Any = tuple(name for name, _ in stages)
    counts: Counter[int] = Counter()
    for seed in range(2):
        counts.update((await ask(die, PROMPT, Sampling(**{**NEUTRAL, **values, "order": order, "seed": seed}))).ids)
    n = counts.total()
    assert n == 2 * N_DRAWS
    drawn = np.array([counts[i] for i in range(len(LOGITS))])
    assert set(counts) <= set(np.flatnonzero(expected > 0).tolist()), "a token that a stage drops was drawn"
    margin = 5 * np.sqrt(n * expected * (1 - expected)) + 1
    assert np.all(np.abs(drawn - n * expected) <= margin), (drawn / n, expected)


@pytest.mark.parametrize(
    "values",
    [
        {"repeat_penalty": 1.5},
        {"repeat_penalty": 0.7},
        {"frequency_penalty": 0.37},
        {"presence_penalty": 0.8},
        {"repeat_penalty": 1.2, "frequency_penalty": 0.2, "presence_penalty": 0.4},
        {"frequency_penalty": 0.37, "repeat_last_n": 5},
    ],
    ids=str,
)
async def test_penalties_make_the_reply_that_their_definition_gives(die: LocalEngine, values: dict[str, Any]) -> None:
    window = values.get("repeat_last_n", 64)
    expected: list[int] = []
    for _ in range(80):
        logits = LOGITS.copy()
        for token, n in Counter(expected[-window:]).items():
            penalty = values.get("repeat_penalty", 1.0)
            logits[token] = logits[token] * penalty if logits[token] <= 0 else logits[token] / penalty
            logits[token] -= n * values.get("frequency_penalty", 0.0) + values.get("presence_penalty", 0.0)
        expected.append(int(np.argmax(logits)))
    reply = await ask(die, PROMPT, Sampling(**{**NEUTRAL, "temperature": 0.0, "max_tokens": 80, **values}))
    ours = reply.ids
    assert ours == expected
    assert len(set(ours)) > 1 or values == {"repeat_penalty": 0.7}
