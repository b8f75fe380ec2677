"""Promises of replies that are begun with given tokens: steps, branches and the way back cost one token each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from support.engines import GREEDY, Reply, ask, load, user
from support.tiny_models import write_model, write_recurrent

from chatterm import lens
from chatterm.engine.base import Prompt
from chatterm.engine.local import LocalEngine
from chatterm.errors import EngineError
from chatterm.events import FinishReason, Measured, Token
from chatterm.settings import Sampling

pytestmark = pytest.mark.asyncio(loop_scope="module")
QUESTION = user("what is it like?", system="be brief")
SAMPLING = Sampling(temperature=1.3, seed=8, max_tokens=40)
EXACT: dict[str, Any] = {"flash_attention": "off", "cache_type_k": "f32", "cache_type_v": "f32", "n_ctx": 512}


@pytest_asyncio.fixture(loop_scope="module")
async def chatty(engine: LocalEngine, rambler: Path) -> LocalEngine:
    """An engine with random weights, and nothing in its cache."""
    await load(engine, rambler, **EXACT)
    return engine


async def begun(
    engine: LocalEngine, ids: Sequence[int], sampling: Sampling = SAMPLING, prompt: Prompt = QUESTION
) -> Reply:
    """A measured reply that begins with some tokens."""
    return Reply([event async for event in engine.reply(prompt, sampling, measure=True, begins_with=ids)])


def n_evaluated(reply: Reply) -> int:
    """Tokens that were evaluated before the first one was drawn."""
    return reply.prompted.n_prompt - reply.prompted.n_reused


def logits(measured: Measured) -> np.ndarray:
    """The highest logits, by id, as one list."""
    order = np.argsort(lens.kept_ids(measured.kept))
    return np.array(lens.kept_logits(measured.kept))[order]


@pytest.mark.parametrize("place", [0, 1, 17, 39])
async def test_a_branch_evaluates_one_token_and_is_as_if_written_afresh(
    chatty: LocalEngine, rambler: Path, place: int
) -> None:
    answer = await begun(chatty, ())
    likely = lens.kept_ids(answer.of(Measured)[place].kept)
    other = next(token for token in likely if token != answer.ids[place])
    ids = [*answer.ids[:place], other]
    branch = await begun(chatty, ids)
    assert n_evaluated(branch) == 1
    await load(chatty, rambler, **EXACT)
    fresh = await begun(chatty, ids)
    assert n_evaluated(fresh) == fresh.prompted.n_prompt > 20
    assert fresh.prompted.token_ids == branch.prompted.token_ids
    for ours, theirs in zip(branch.of(Measured), fresh.of(Measured), strict=True):
        np.testing.assert_allclose(logits(ours), logits(theirs), atol=1e-5)
    assert branch.ids == fresh.ids
    assert branch.text == fresh.text


async def test_what_is_begun_with_is_told_and_counted(chatty: LocalEngine) -> None:
    answer = await begun(chatty, ())
    again = await begun(chatty, answer.ids[:15], Sampling(temperature=1.3, seed=8, max_tokens=25))
    assert again.text == answer.text
    assert again.ids == answer.ids[15:], "the random numbers go on where they were"
    assert [each.index for each in again.of(Measured)] == list(range(15, 40))
    assert [(each.start, each.end) for each in again.of(Measured)] == [
        (each.start, each.end) for each in answer.of(Measured)
    ][15:]
    assert again.prompted.n_prompt == answer.prompted.n_prompt + 15
    assert again.finished.n_generated == 25


@pytest.mark.parametrize(
    "changes",
    [{}, {"repeat_penalty": 1.3, "repeat_last_n": 20}, {"top_k": 0, "typical_p": 0.8}, {"temperature": 0.0}],
    ids=str,
)
async def test_step_by_step_is_the_reply_at_once(chatty: LocalEngine, changes: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"temperature": 1.3, "seed": 8, **changes}
    whole = await begun(chatty, (), Sampling(**settings, max_tokens=20))
    ids: list[int] = []
    for number in range(20):
        step = await begun(chatty, ids, Sampling(**settings, max_tokens=1))
        assert n_evaluated(step) <= 1 or number == 0
        assert step.finished.reason is FinishReason.LENGTH
        ids += step.ids
        seen, expected = step.of(Measured)[0], whole.of(Measured)[number]
        np.testing.assert_allclose(logits(seen), logits(expected), atol=1e-5)
        assert (seen.id, seen.point, seen.stages) == (expected.id, expected.point, expected.stages)
    assert ids == whole.ids
    assert step.text == whole.text


async def test_back_and_on_again_is_the_same_and_another_seed_draws_anew(chatty: LocalEngine) -> None:
    answer = await begun(chatty, ())
    back = await begun(chatty, answer.ids[:9], Sampling(temperature=1.3, seed=8, max_tokens=1))
    assert n_evaluated(back) == 1
    assert back.ids == answer.ids[9:10]
    others = [
        (await begun(chatty, answer.ids[:9], Sampling(temperature=1.3, seed=seed, max_tokens=1))).ids[0]
        for seed in range(20, 30)
    ]
    assert len(set(others)) > 3


async def test_a_reply_that_was_closed_goes_on_at_the_cost_of_one_token(chatty: LocalEngine) -> None:
    whole = await begun(chatty, (), Sampling(temperature=1.3, seed=8, max_tokens=60))
    ids: list[int] = []
    async with aclosing(chatty.reply(QUESTION, Sampling(temperature=1.3, seed=8), measure=True)) as events:
        async for event in events:
            if isinstance(event, Token) and event.id is not None:
                ids.append(event.id)
            if len(ids) == 25:
                break
    rest = await begun(chatty, ids, Sampling(temperature=1.3, seed=8, max_tokens=35))
    assert n_evaluated(rest) == 1
    assert ids + rest.ids == whole.ids
    assert rest.text == whole.text


async def test_tokens_take_the_place_of_the_reply_that_a_prompt_ends_with(chatty: LocalEngine) -> None:
    answer = await begun(chatty, ())
    prompt = user("what is it like?", answer.text, system="be brief", continues=True)
    branch = await begun(chatty, answer.ids[:5], prompt=prompt)
    assert branch.prompted.token_ids == (*answer.prompted.token_ids, *answer.ids[:5])
    assert n_evaluated(branch) == 1
    assert branch.text == answer.text + branch.text[len(answer.text) :]


async def test_the_end_can_be_chosen(engine: LocalEngine, says: Callable[..., Path]) -> None:
    await load(engine, says(b" one", b" two", b" three"))
    answer = Reply([event async for event in engine.reply(user("?"), GREEDY, measure=True)])
    end = answer.of(Measured)[-1]
    assert end.is_end
    short = await begun(engine, [answer.ids[0], end.id], GREEDY, user("?"))
    assert short.text == " one"
    assert (short.finished.reason, short.finished.n_generated) == (FinishReason.END, 0)
    assert (await begun(engine, answer.ids[:1], GREEDY, user("?"))).text == " one two three"


async def test_a_stop_string_in_what_is_begun_with_ends_it(engine: LocalEngine, says: Callable[..., Path]) -> None:
    await load(engine, says(b" one", b" two", b" three"))
    answer = await begun(engine, (), GREEDY, user("?"))
    stopped = await begun(engine, answer.ids, Sampling(temperature=0, stop=(" two",)), user("?"))
    assert stopped.text == " one"
    assert stopped.finished.reason is FinishReason.STOP


async def test_half_a_character_is_completed(engine: LocalEngine, says: Callable[..., Path]) -> None:
    await load(engine, says(b"caf", b"\xc3", b"\xa9", b"!"))
    answer = await begun(engine, (), GREEDY, user("?"))
    branch = await begun(engine, answer.ids[:2], GREEDY, user("?"))
    assert branch.text == answer.text == "café!"


@pytest.mark.parametrize("token", [-1, 10_000_000])
async def test_tokens_that_there_are_none_of_are_refused(chatty: LocalEngine, token: int) -> None:
    with pytest.raises(EngineError, match="does not have"):
        await begun(chatty, [token])
    assert (await ask(chatty, QUESTION, SAMPLING)).ids


async def test_a_branch_keeps_the_prompt_that_the_answer_had(chatty: LocalEngine) -> None:
    """The prompt nearly fills the window: with an answer behind it, it would be cut anew."""
    turns = [text for number in range(40) for text in (f"word number {number}?", "the same way")]
    prompt = user(*turns[:21], system="be brief")
    while await chatty.count(prompt) < 512 - 140:
        turns = turns[2:] + turns[:2]
        prompt = user(*[turn.text for turn in prompt.turns[1:]], *turns[1:3], system="be brief")
    sampling = Sampling(temperature=1.3, seed=8, max_tokens=100)
    answer = await begun(chatty, (), sampling, prompt)
    assert not answer.trimmed
    branch = await begun(chatty, answer.ids[:80], sampling, prompt)
    assert n_evaluated(branch) == 1
    assert branch.ids[:20] == answer.ids[80:]


async def test_a_step_keeps_the_prompt_that_the_answer_had(chatty: LocalEngine) -> None:
    """A step needs room for one token alone, so that more turns would fit."""
    texts = [f"word number {number}?" for number in range(9)]
    while await chatty.count(prompt := user(*texts, system="be brief")) < 512 - 60:
        texts += ["the same way", "and now?"]
    answer = await begun(chatty, (), Sampling(temperature=1.3, seed=8, max_tokens=30), prompt)
    long = await begun(chatty, (), Sampling(temperature=1.3, seed=8, max_tokens=100), prompt)
    assert long.trimmed
    assert not answer.trimmed
    step = await begun(chatty, long.ids[:10], Sampling(temperature=1.3, seed=8, max_tokens=1), prompt)
    assert n_evaluated(step) == 1
    assert step.ids == long.ids[10:11]


async def test_a_model_that_cannot_go_back_reads_again_and_says_the_same(engine: LocalEngine, tmp_path: Path) -> None:
    await load(engine, write_recurrent(tmp_path / "mamba.gguf"), n_ctx=512)
    answer = await begun(engine, ())
    branch = await begun(engine, answer.ids[:10], Sampling(temperature=1.3, seed=8, max_tokens=30))
    assert n_evaluated(branch) == branch.prompted.n_prompt
    assert branch.text == answer.text
    step = await begun(engine, [*answer.ids[:10], *branch.ids], Sampling(temperature=1.3, seed=8, max_tokens=1))
    assert n_evaluated(step) == 1, "onwards costs one token there, too"


@pytest.mark.parametrize("arch", ["qwen2", "gemma3", "phi3"])
async def test_branches_are_the_same_in_other_architectures(engine: LocalEngine, tmp_path: Path, arch: str) -> None:
    model = write_model(tmp_path / "model.gguf", arch)
    await load(engine, model, **EXACT)
    answer = await begun(engine, ())
    branch = await begun(engine, answer.ids[:20], Sampling(temperature=1.3, seed=8, max_tokens=20))
    assert n_evaluated(branch) == 1
    assert branch.ids == answer.ids[20:]
    for ours, theirs in zip(branch.of(Measured), answer.of(Measured)[20:], strict=True):
        np.testing.assert_allclose(logits(ours), logits(theirs), atol=1e-5)
