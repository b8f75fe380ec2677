"""Promises about what is measured while a reply is sampled: it changes no token, and every number is right."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import pytest_asyncio
from support.definitions import shares, stage
from support.engines import GREEDY, Reply, ask, load, user
from support.tiny_models import write_distribution, write_model

from chatterm import lens
from chatterm.engine.base import Prompt
from chatterm.engine.local import LocalEngine
from chatterm.events import Measured, Prompted, Token, Trimmed
from chatterm.settings import Sampling

pytestmark = pytest.mark.asyncio(loop_scope="module")
PROMPT = Prompt(raw="the cat and the dog")
REFERENCE = Path(__file__).parent.parent / "support" / "all_logits.py"
EXACT: dict[str, Any] = {"flash_attention": "off", "cache_type_k": "f32", "cache_type_v": "f32", "n_ctx": 2048}
"""Without the losses of a smaller KV cache."""


async def measured(
    engine: LocalEngine, prompt: Prompt | str, sampling: Sampling, begins_with: Sequence[int] = ()
) -> Reply:
    """A whole reply with its measures."""
    asked = Prompt(raw=prompt) if isinstance(prompt, str) else prompt
    return Reply([event async for event in engine.reply(asked, sampling, measure=True, begins_with=begins_with)])


@pytest_asyncio.fixture(loop_scope="module")
async def chatty(engine: LocalEngine, rambler: Path) -> LocalEngine:
    """An engine with random weights of 699 tokens, more than are kept of a distribution."""
    if engine.model is None or engine.model.path != str(rambler):
        await load(engine, rambler, **EXACT)
    return engine


def logits_after(model: Path, *texts: Sequence[int]) -> list[np.ndarray]:
    """All logits after each of some lists of tokens, computed elsewhere."""
    done = subprocess.run(
        [sys.executable, str(REFERENCE), str(model)],
        input="\n".join(json.dumps(list(ids)) for ids in texts),
        capture_output=True,
        text=True,
        check=True,
    )
    return [np.array(json.loads(line)) for line in done.stdout.splitlines()]


SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 1.6, "top_k": 0, "top_p": 1.0, "min_p": 0.0},
    {"temperature": 1.2, "repeat_penalty": 1.3, "frequency_penalty": 0.3, "presence_penalty": 0.2, "repeat_last_n": 40},
    {"temperature": 1.4, "top_k": 90, "typical_p": 0.7, "min_p": 0.01},
    {
        "temperature": 2.5,
        "top_k": 0,
        "top_p": 0.5,
        "order": ("temperature", "top_p", "penalties"),
        "repeat_penalty": 0.8,
    },
    {"temperature": 0.0, "repeat_penalty": 1.4},
]


@pytest.mark.parametrize("changes", SETTINGS, ids=str)
async def test_a_thousand_tokens_are_the_same_with_and_without_measuring(
    chatty: LocalEngine, changes: dict[str, Any]
) -> None:
    sampling = Sampling(**{"seed": 11, "max_tokens": 1000, **changes})
    plain = await ask(chatty, PROMPT, sampling)
    reply = await measured(chatty, PROMPT, sampling)
    assert len(plain.ids) == 1000
    assert reply.ids == plain.ids
    assert reply.text == plain.text
    assert [each.id for each in reply.of(Measured)] == plain.ids
    assert not plain.of(Measured)
    if sampling.temperature:
        assert len(set(plain.ids)) > 50, "there was something to draw from"
        assert all(each.point is not None for each in reply.of(Measured)), "the random numbers are known"


@pytest.mark.parametrize("changes", SETTINGS, ids=str)
async def test_every_draw_is_explained_by_its_own_settings_and_not_by_others(
    chatty: LocalEngine, changes: dict[str, Any]
) -> None:
    sampling = Sampling(**{"seed": 11, "max_tokens": 100, **changes})
    drawn = (await measured(chatty, PROMPT, sampling)).of(Measured)
    assert all(lens.explains(sampling, each) for each in drawn)
    assert not any(lens.explains(Sampling(temperature=0.4, top_k=7), each) for each in drawn)


@pytest.mark.parametrize("arch", ["llama", "qwen2", "gemma3"])
async def test_the_models_distribution_is_the_one_of_another_computation(
    engine: LocalEngine, tmp_path: Path, arch: str
) -> None:
    model = write_model(tmp_path / "model.gguf", arch, n_ctx=2048, can_end=True)
    await load(engine, model, **EXACT)
    reply = await measured(engine, PROMPT, Sampling(temperature=1.5, top_k=0, top_p=1, min_p=0, seed=2, max_tokens=12))
    prompt = list(reply.prompted.token_ids)
    expected = logits_after(model, *(prompt + reply.ids[:i] for i in range(len(reply.of(Measured)))))
    for one, logits in zip(reply.of(Measured), expected, strict=True):
        p = shares(logits)
        descending = np.argsort(-logits, kind="stable")
        ids, kept = lens.kept_ids(one.kept), lens.kept_logits(one.kept)
        assert len(ids) == 256
        np.testing.assert_allclose(kept, logits[list(ids)], atol=1e-5)
        np.testing.assert_allclose(kept, logits[descending[:256]], atol=1e-5)
        assert one.probability == pytest.approx(p[one.id], abs=1e-6)
        assert one.surprise == pytest.approx(-math.log2(p[one.id]), abs=1e-4)
        assert one.entropy == pytest.approx(-np.sum(p * np.log2(p)), abs=1e-4)
        assert one.log_partition == pytest.approx(np.log(np.exp(logits).sum()), abs=1e-4)
        assert one.rank == 1 + np.sum(logits > logits[one.id] + 1e-6)
        assert one.kept.n_vocab == len(logits) > 256
        shown = lens.candidates(one)
        assert [each.id for each in shown] == list(ids[:20])
        np.testing.assert_allclose([each.probability for each in shown], p[list(ids[:20])], atol=1e-6)
        for temperature in (0.1, 0.5, 1.0, 2.0):
            settings = Sampling(temperature=temperature, top_k=0, top_p=1, min_p=0)
            view = lens.stages(one.kept, settings)[-1]
            np.testing.assert_allclose(view.shares, shares(logits / temperature)[list(ids)], atol=0.005)


@pytest.mark.parametrize("changes", SETTINGS, ids=str)
async def test_each_stage_is_told_as_the_lens_computes_it_anew(chatty: LocalEngine, changes: dict[str, Any]) -> None:
    sampling = Sampling(**{"seed": 3, "max_tokens": 60, **changes})
    for one in (await measured(chatty, PROMPT, sampling)).of(Measured):
        views = lens.stages(one.kept, sampling)[1:]
        assert [each.stage for each in one.stages] == [view.stage for view in views]
        for told, view in zip(one.stages, views, strict=True):
            if view.is_exact:
                assert abs(told.n_left - view.n_left) <= 0.02 * view.n_left
                assert told.cut == tuple(place for place in view.cut if place < 20)
        if views[-1].is_exact:
            np.testing.assert_allclose(one.shares, views[-1].shares[:20], atol=0.005)
            drawn = lens.kept_ids(one.kept).index(one.id) if one.id in lens.kept_ids(one.kept) else None
            assert drawn is None or one.share == pytest.approx(views[-1].shares[drawn], abs=0.005)


LOGITS = [3.03, 2.61, 2.27, 1.74, 1.11, 0.43, -0.19, -0.91, -1.63, -2.52]
CASES: list[list[tuple[str, float]]] = [
    [("temperature", 0.5)],
    [("top_k", 3)],
    [("top_p", 0.6)],
    [("min_p", 0.2)],
    [("typical", 0.5)],
    [("temperature", 3.0), ("top_p", 0.6)],
    [("top_k", 7), ("typical", 0.9), ("top_p", 0.9), ("min_p", 0.1), ("temperature", 1.5)],
]


@pytest.mark.parametrize("stages", CASES, ids=str)
async def test_what_each_stage_leaves_follows_from_its_definition(
    engine: LocalEngine, tmp_path: Path, stages: list[tuple[str, float]]
) -> None:
    await load(engine, write_distribution(tmp_path / "die.gguf", LOGITS), n_ctx=512)
    neutral: dict[str, Any] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "max_tokens": 40, "seed": 1}
    values = {"typical_p" if name == "typical" else name: value for name, value in stages}
    values |= {"top_k": int(values["top_k"])} if "top_k" in values else {}
    sampling = Sampling(**{**neutral, **values, "order": tuple(name for name, _ in stages)})
    reply = await measured(engine, "x", sampling)
    for one in reply.of(Measured):
        left, gone = np.array(LOGITS), set[int]()
        assert lens.kept_ids(one.kept)[: len(LOGITS)] == tuple(range(len(LOGITS)))
        for (name, value), told in zip(stages, one.stages, strict=True):
            left = stage(name, left, value)
            dropped = set(np.flatnonzero(np.isinf(left)).tolist())
            n_out_of_reach = told.n_left - (len(LOGITS) - len(dropped))
            assert told.stage == name
            assert n_out_of_reach in ({0} if dropped or name == "top_k" else {0, one.kept.n_vocab - len(LOGITS)})
            assert {place for place in told.cut if place < len(LOGITS)} == dropped - gone
            gone = dropped
        np.testing.assert_allclose(one.shares[: len(LOGITS)], shares(left), atol=1e-5)
        assert one.share == pytest.approx(shares(left)[one.id], abs=1e-5)


async def test_the_random_point_fell_on_what_was_drawn(chatty: LocalEngine) -> None:
    sampling = Sampling(temperature=1.5, top_k=0, top_p=1, min_p=0, seed=4, max_tokens=400)
    points = []
    for one in (await measured(chatty, PROMPT, sampling)).of(Measured):
        low, high = one.segment
        assert low - 1e-5 <= one.point <= high + 1e-5
        assert high - low == pytest.approx(one.share, abs=1e-6)
        points.append(one.point)
    assert 0.4 < np.mean(points) < 0.6
    assert 0.25 < np.std(points) < 0.33, "evenly from 0 to 1"
    again = await measured(chatty, PROMPT, msgspec.structs.replace(sampling, temperature=0.7, max_tokens=20))
    assert [one.point for one in again.of(Measured)] == points[:20], "the seed alone makes them"


async def test_at_temperature_zero_one_is_left_and_nothing_is_drawn(chatty: LocalEngine) -> None:
    for one in (await measured(chatty, PROMPT, Sampling(temperature=0, max_tokens=8))).of(Measured):
        assert [(each.stage, each.n_left, each.cut) for each in one.stages] == [("temperature", 1, tuple(range(1, 20)))]
        assert (one.rank, one.share, one.point, one.segment) == (1, 1.0, None, None)
        assert one.shares == (1.0, *[0.0] * 19)


async def test_penalised_tokens_are_kept_with_how_often_they_were_used(chatty: LocalEngine) -> None:
    sampling = Sampling(temperature=1.8, top_k=0, frequency_penalty=0.5, repeat_last_n=30, seed=6, max_tokens=80)
    reply = await measured(chatty, PROMPT, sampling)
    beyond = 0
    for i, one in enumerate(reply.of(Measured)):
        used = Counter(reply.ids[max(0, i - 30) : i])
        counts = np.frombuffer(one.kept.counts, "<u2").tolist()
        told = dict(zip(lens.kept_ids(one.kept), counts, strict=True))
        assert {token: count for token, count in told.items() if count} == used
        assert one.kept.n_top == 256
        beyond += len(counts) > 256
    assert beyond, "also those that are not among the highest"


async def test_the_end_of_a_reply_is_measured_too(engine: LocalEngine, says: Callable[..., Path]) -> None:
    await load(engine, says(b" one", b" two"))
    reply = await measured(engine, "x", GREEDY)
    *words, end = reply.of(Measured)
    assert [word.piece for word in words] == [b" one", b" two"]
    assert not any(word.is_end for word in words)
    assert end.is_end
    assert end.index == 2
    assert (end.start, end.end) == (8, 8)
    assert end.piece == b"<|im_end|>", "control tokens are spelled"
    assert reply.text == " one two"


async def test_each_token_tells_its_place_in_the_text(engine: LocalEngine, says: Callable[..., Path]) -> None:
    pieces = [
        b"<think>",
        b"\n",
        b"Hm",
        b"</think>",
        b"\n\n",
        b"caf",
        b"\xc3",
        b"\xa9",
        b" <the",
        b"m> \xf0",
        b"\x9f\x99\x82",
    ]
    await load(engine, says(*pieces))
    reply = await measured(engine, "x", GREEDY)
    whole = b"".join(pieces).decode()
    assert (reply.reasoning, reply.text) == ("Hm", "café <them> 🙂")
    for token in reply.of(Token):
        assert token.start is None or whole[token.start :].startswith(token.text)
        assert token.start is not None or not token.text
    ends = 0
    for one, piece in zip(reply.of(Measured), pieces, strict=False):
        assert one.piece == piece
        assert one.start == ends
        ends = one.end
        assert whole[one.start : one.end] in piece.decode("utf-8", "ignore") or not one.start < one.end - 2
    assert ends == len(whole)
    by_index = {one.index: one for one in reply.of(Measured)}
    assert (by_index[6].start, by_index[6].end) == (len("<think>\nHm</think>\n\ncaf"),) * 2, "half a character is none"
    assert by_index[7].end == by_index[7].start + 1


async def test_what_is_kept_for_a_token_is_short(chatty: LocalEngine) -> None:
    reply = await measured(chatty, PROMPT, Sampling(seed=1, max_tokens=50))
    for one in reply.of(Measured):
        without = msgspec.structs.replace(one, kept=None)
        assert len(msgspec.msgpack.encode(one.kept)) < 2_200
        assert len(msgspec.msgpack.encode(without)) < 900


def without_measures(reply: Reply) -> list[Any]:
    """The events that are the same each time, as they would be without measuring."""
    kinds = (Trimmed, Prompted, Token)
    return [
        msgspec.structs.replace(event, start=None)
        if isinstance(event, Token)
        else msgspec.structs.replace(event, n_reused=0)
        if isinstance(event, Prompted)
        else event
        for event in reply.events
        if isinstance(event, kinds)
    ]


@pytest.mark.parametrize("n_ctx", [256, 2048])
async def test_measures_come_between_the_events_that_there_are_anyway(
    engine: LocalEngine, rambler: Path, n_ctx: int
) -> None:
    await load(engine, rambler, n_ctx=n_ctx)
    prompt = user(*[f"the cat and the dog number {number}" for number in range(9)])
    sampling = Sampling(temperature=1.2, seed=5, max_tokens=300)
    plain = await ask(engine, prompt, sampling)
    reply = Reply([event async for event in engine.reply(prompt, sampling, measure=True)])
    assert without_measures(reply) == without_measures(plain)
    assert bool(plain.trimmed) == (n_ctx == 256)
    measured = None
    for event in reply.events:
        if isinstance(event, Measured):
            assert event.index == (0 if measured is None else measured.index + 1)
            measured = event
        elif isinstance(event, Token) and event.id is not None:
            assert measured is not None
            assert event.id == measured.id, "a token comes right behind its measure"
    assert reply.events[-1] == reply.finished


@pytest.mark.parametrize("n", [1, 2, 30])
async def test_a_stop_leaves_no_half_of_a_token(chatty: LocalEngine, n: int) -> None:
    seen = 0

    def enough(event: object) -> bool:
        nonlocal seen
        seen += isinstance(event, Measured)
        return seen == n

    events = []
    async with aclosing(chatty.reply(PROMPT, Sampling(seed=1), measure=True)) as replying:
        async for event in replying:
            events.append(event)
            if enough(event):
                break
    assert await chatty.count(PROMPT) > 0, "nothing that came later is taken for another answer"
    again = await measured(chatty, PROMPT, Sampling(seed=1, max_tokens=n))
    assert [event for event in events if isinstance(event, Measured)] == again.of(Measured)
