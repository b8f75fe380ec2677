"""Promises about drawing tokens: each setting does what it says, and the same settings draw the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.engines import GREEDY, ask, load, user
from support.tiny_models import write_model

from chatterm.engine.base import Prompt
from chatterm.engine.local import LocalEngine
from chatterm.settings import Sampling

pytestmark = pytest.mark.asyncio(loop_scope="module")
PROMPT = Prompt(raw="the cat and the dog")
WILD = Sampling(temperature=2.0, top_k=0, top_p=1.0, min_p=0.0, max_tokens=24)


def wild(**changes: Any) -> Sampling:
    return Sampling(
        **{"temperature": 2.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "max_tokens": 24, "seed": 5, **changes}
    )


@pytest_asyncio.fixture(loop_scope="module")
async def draw(engine: LocalEngine, rambler: Path) -> Callable[..., Any]:
    """Token ids of a reply with some sampling settings."""
    if engine.model is None or engine.model.path != str(rambler):
        await load(engine, rambler)

    async def ids(**changes: Any) -> list[int]:
        return (await ask(engine, PROMPT, wild(**changes))).ids

    return ids


async def test_the_same_seed_draws_the_same_tokens(draw: Callable[..., Any], rambler: Path) -> None:
    first = await draw()
    assert await draw() == first
    assert await draw(seed=6) != first
    other_process = LocalEngine()
    await load(other_process, rambler)
    assert (await ask(other_process, PROMPT, wild())).ids == first
    await other_process.close()


async def test_without_a_seed_each_reply_takes_its_own_and_tells_it(
    draw: Callable[..., Any], engine: LocalEngine, rambler: Path
) -> None:
    replies = [await ask(engine, PROMPT, WILD) for _ in range(2)]
    other_process = LocalEngine()
    await load(other_process, rambler)
    replies.append(await ask(other_process, PROMPT, WILD))
    await other_process.close()
    seeds = [reply.prompted.seed for reply in replies]
    assert len(set(seeds)) == 3
    assert len({tuple(reply.ids) for reply in replies}) == 3
    assert [reply.finished.seed for reply in replies] == seeds
    assert await draw(seed=seeds[0]) == replies[0].ids, "the seed that was told makes the reply again"


@pytest.mark.parametrize(
    "changes", [{"temperature": 0.0}, {"top_k": 1}, {"top_p": 0.0}, {"min_p": 1.0}, {"temperature": 0.0001}]
)
async def test_a_stage_that_leaves_one_token_is_greedy(draw: Callable[..., Any], changes: dict[str, Any]) -> None:
    assert await draw(**changes) == await draw(temperature=0.0)
    assert await draw() != await draw(temperature=0.0)


@pytest.mark.parametrize(
    ("stage", "changes"),
    [
        ("temperature", {"temperature": 0.0001}),
        ("top_k", {"top_k": 1}),
        ("top_p", {"top_p": 0.0}),
        ("min_p", {"min_p": 1.0}),
        ("typical", {"typical_p": 0.0}),
        ("penalties", {"presence_penalty": 2.0, "frequency_penalty": 2.0, "temperature": 1.0}),
    ],
)
async def test_a_stage_that_is_not_in_the_order_is_off(
    draw: Callable[..., Any], stage: str, changes: dict[str, Any]
) -> None:
    order = tuple(name for name in Sampling().order if name != stage)
    neutral = {"temperature": 1.0} if stage in ("temperature", "penalties") else {}
    assert await draw(**changes, order=order) == await draw(**neutral)
    assert await draw(**changes) != await draw(**neutral)


async def test_the_order_of_stages_counts(draw: Callable[..., Any]) -> None:
    before = await draw(temperature=3.0, top_p=0.5, order=("temperature", "top_p"))
    after = await draw(temperature=3.0, top_p=0.5, order=("top_p", "temperature"))
    assert before != after


async def test_greedy_needs_no_stage_in_the_order(draw: Callable[..., Any]) -> None:
    assert await draw(temperature=0.0, order=()) == await draw(temperature=0.0)


@pytest.mark.parametrize("changes", [{"repeat_penalty": 2.0}, {"frequency_penalty": 2.0}, {"presence_penalty": 2.0}])
async def test_penalties_end_repetition(engine: LocalEngine, tmp_path: Path, changes: dict[str, float]) -> None:
    await load(engine, write_model(tmp_path / "model.gguf", n_layers=1, width=32))
    plain = (await ask(engine, PROMPT, Sampling(temperature=0, max_tokens=120))).ids
    penalised = (await ask(engine, PROMPT, Sampling(temperature=0, max_tokens=120, **changes))).ids
    off = (await ask(engine, PROMPT, Sampling(temperature=0, max_tokens=120, repeat_last_n=0, **changes))).ids
    assert off == plain
    assert len(set(penalised)) > len(set(plain))


async def test_penalties_look_at_the_reply_alone(engine: LocalEngine, says: Callable[..., Path]) -> None:
    await load(engine, says(b" one", b" two", b" three"))
    sampling = Sampling(temperature=0, frequency_penalty=2.0, repeat_penalty=2.0, repeat_last_n=8192)
    question = user(" one two three" * 20)
    assert (await ask(engine, question, sampling)).text == " one two three"
    assert (await ask(engine, question, sampling)).text == " one two three"
    assert (await ask(engine, question, GREEDY)).text == " one two three"


@pytest.mark.parametrize("n", [1, 2, 7])
async def test_the_longest_reply_is_exact(engine: LocalEngine, rambler: Path, n: int) -> None:
    await load(engine, rambler)
    reply = await ask(engine, PROMPT, Sampling(max_tokens=n))
    assert len(reply.ids) == reply.finished.n_generated == n
    assert reply.finished.reason == "length"
