"""Promises about what servers tell of probabilities: it is asked for, shown as far as it goes, and its lack is told."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.engines import Reply, load, user
from support.fake_server import Answer, FakeServer, chunk, event, refused, said
from support.llama_server import llama_server
from support.remote import engine_for, load_remote
from support.tiny_models import write_model

from chatterm import lens
from chatterm.engine.base import Prompt
from chatterm.engine.local import LocalEngine
from chatterm.engine.remote import RemoteEngine
from chatterm.errors import ServerError
from chatterm.events import Measured, Token
from chatterm.settings import Sampling, ServerSettings

SAMPLING = Sampling(temperature=0.7, max_tokens=3)


@pytest.fixture
def server() -> Any:
    with FakeServer() as fake:
        yield fake


@pytest_asyncio.fixture
async def engine(server: FakeServer) -> AsyncIterator[RemoteEngine]:
    """An engine that has the server's model."""
    engine = engine_for(server)
    await load_remote(engine)
    yield engine
    await engine.close()


async def measured(engine: RemoteEngine, prompt: Prompt | None = None) -> Reply:
    """A whole reply with its measures."""
    return Reply([each async for each in engine.reply(prompt or user("count"), SAMPLING, measure=True)])


def told(*tokens: tuple[bytes, float], top: list[tuple[bytes, float]] = (), **delta: Any) -> dict[str, Any]:  # type: ignore[assignment]
    """A chunk with tokens and their probabilities, in the shape of `/chat/completions`."""

    def entry(piece: bytes, p: float) -> dict[str, Any]:
        return {"token": piece.decode("utf-8", "replace"), "bytes": list(piece), "logprob": math.log(p)}

    content = [{**entry(*token), "top_logprobs": [entry(*each) for each in top]} for token in tokens]
    text = b"".join(piece for piece, _ in tokens).decode("utf-8", "ignore")
    made = chunk(text, **delta)
    made["choices"][0]["logprobs"] = {"content": content}
    return made


def answer(*chunks: dict[str, Any]) -> Answer:
    return Answer([*(event(each) for each in chunks), event(chunk(finish="stop")), event("[DONE]")])


async def test_probabilities_are_asked_for_only_while_measuring(engine: RemoteEngine, server: FakeServer) -> None:
    plain = Reply([each async for each in engine.reply(user("count"), SAMPLING)])
    assert not plain.of(Measured)
    assert not {"logprobs", "top_logprobs"} & server.seen[-1].body.keys()
    await measured(engine)
    assert (server.seen[-1].body["logprobs"], server.seen[-1].body["top_logprobs"]) == (True, 20)


async def test_what_a_server_tells_is_measured_and_the_rest_left_open(engine: RemoteEngine, server: FakeServer) -> None:
    top = [(b" two", 0.2), (b" one", 0.5), (b" zwei", 0.1)]
    server.answers.append(answer(told((b" one", 0.5), top=top), told((b" zwei", 0.1), top=top)))
    reply = await measured(engine)
    first, second = reply.of(Measured)
    assert reply.text == " one zwei"
    assert first.probability == pytest.approx(0.5)
    assert first.surprise == pytest.approx(1)
    assert (first.rank, second.rank) == (1, 3)
    assert (first.index, first.start, first.end, second.start, second.end) == (0, 0, 4, 4, 9)
    assert [token.start for token in reply.of(Token)] == [0, 4]
    assert (first.entropy, first.stages, first.shares, first.point) == (None, (), (), None)
    shown = lens.candidates(first)
    assert [(each.id, each.piece, round(each.probability, 6)) for each in shown] == [
        (None, b" one", 0.5),
        (None, b" two", 0.2),
        (None, b" zwei", 0.1),
    ]
    raw = lens.stages(first.kept, SAMPLING)[0]
    assert raw.rest == pytest.approx(0.2, abs=1e-6)


async def test_several_tokens_in_a_chunk_and_half_characters_keep_their_places(
    engine: RemoteEngine, server: FakeServer
) -> None:
    server.answers.append(answer(told((b"caf", 0.9), (b"\xc3", 0.8), (b"\xa9", 0.99), (b"!", 0.5))))
    reply = await measured(engine)
    assert reply.text == "café!"
    assert [(each.start, each.end) for each in reply.of(Measured)] == [(0, 3), (3, 3), (3, 4), (4, 5)]
    assert [token.start for token in reply.of(Token)] == [0]
    assert reply.of(Measured)[0].kept is None


async def test_text_that_is_not_that_of_the_tokens_has_no_place(engine: RemoteEngine, server: FakeServer) -> None:
    odd = told((b"<think>", 0.9), (b"Hm", 0.9))
    odd["choices"][0]["delta"] = {"reasoning_content": "Hm"}
    server.answers.append(answer(odd, told((b"Yes", 0.5))))
    reply = await measured(engine)
    assert (reply.reasoning, reply.text) == ("Hm", "Yes")
    assert [token.start for token in reply.of(Token)] == [None, 9]


async def test_the_older_shape_is_read_too(engine: RemoteEngine, server: FakeServer) -> None:
    old = {"choices": [{"index": 0, "text": " one two", "finish_reason": None}]}
    old["choices"][0]["logprobs"] = {
        "tokens": [" one", " two"],
        "token_logprobs": [math.log(0.5), math.log(0.25)],
        "top_logprobs": [{" one": math.log(0.5), " no": math.log(0.3)}, {" two": math.log(0.25)}],
        "text_offset": [0, 4],
    }
    server.answers.append(answer(old))
    reply = await measured(engine, Prompt(raw="zero"))
    assert server.seen[-1].body["logprobs"] == 5
    assert [round(each.probability or 0, 6) for each in reply.of(Measured)] == [0.5, 0.25]
    assert reply.of(Measured)[0].pieces == (b" one", b" no")


@pytest.mark.parametrize(
    "odd",
    [
        None,
        7,
        {"content": None},
        {"content": [None, 3, {}, {"token": 1, "logprob": "x"}]},
        {"content": [{"token": "a", "logprob": -9999, "bytes": ["x"], "top_logprobs": [{"token": None}]}]},
        {"content": [{"token": "a", "logprob": 5.0, "bytes": [300], "id": "x", "top_logprobs": 3}]},
        {"tokens": ["a"], "token_logprobs": [None], "top_logprobs": [None]},
    ],
    ids=str,
)
async def test_odd_probabilities_do_no_harm(engine: RemoteEngine, server: FakeServer, odd: Any) -> None:
    made = chunk("a")
    made["choices"][0]["logprobs"] = odd
    server.answers.append(answer(made))
    reply = await measured(engine)
    assert reply.text == "a"
    for each in reply.of(Measured):
        assert 0 <= (each.probability or 0) <= 1
        lens.candidates(each)


@pytest.mark.parametrize(
    "failure",
    [
        refused(400, "logprobs is not supported by this model", param="logprobs"),
        refused(422, "Extra inputs are not permitted"),
        refused(500, "logprobs is not supported for models created with logits_all=False"),
        Answer([]),
    ],
    ids=["named", "unnamed", "broken", "ended"],
)
async def test_a_server_that_refuses_them_answers_all_the_same_and_it_is_said(
    engine: RemoteEngine, server: FakeServer, failure: Answer
) -> None:
    assert engine.capabilities.why_not("probabilities") == ""
    server.answers += [failure] * 2 if failure.status == 400 else [failure]
    server.answers += [said("one", " two")]
    reply = await measured(engine)
    assert reply.text == "one two"
    assert not reply.of(Measured)
    assert "refused" in engine.capabilities.why_not("probabilities")
    asked = len(server.seen)
    await measured(engine)
    assert len(server.seen) == asked + 1, "it is not asked for again"
    assert "logprobs" not in server.seen[-1].body


async def test_a_failure_that_has_another_reason_is_not_laid_on_them(engine: RemoteEngine, server: FakeServer) -> None:
    server.answers += [refused(500, "out of order")] * 5
    with pytest.raises(ServerError, match="out of order"):
        await measured(engine)
    assert engine.capabilities.why_not("probabilities") == ""


async def test_what_no_server_tells_is_missing_with_a_reason(engine: RemoteEngine) -> None:
    for measure in ("stages", "prompt", "window", "branches", "inside"):
        assert engine.capabilities.why_not(measure).endswith("."), measure  # type: ignore[arg-type]
    with pytest.raises(ServerError, match="cuts text"):
        await engine.tokenize_prompt(user("?"))
    with pytest.raises(ServerError, match="context window"):
        await engine.window()
    with pytest.raises(ServerError, match="given tokens"):
        _ = [each async for each in engine.reply(user("?"), SAMPLING, begins_with=(1,))]


async def test_a_kind_of_server_without_them_is_not_asked(server: FakeServer) -> None:
    engine = engine_for(server, preset="groq", key_env="NO_SUCH_KEY")
    await load_remote(engine)
    assert "probabilities" in engine.capabilities.why_not("probabilities")
    await measured(engine)
    assert "logprobs" not in server.seen[-1].body
    await engine.close()


async def test_a_real_server_tells_the_probabilities_that_the_model_has_here(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model.gguf", vocabulary="spm", n_ctx=512)
    greedy = Sampling(temperature=0, max_tokens=8)
    here = LocalEngine()
    await load(here, model)
    ours = Reply([each async for each in here.reply(Prompt(raw="the cat"), greedy, measure=True)]).of(Measured)
    await here.close()
    with llama_server(model, tmp_path / "server.log") as url:
        there = RemoteEngine({"mine": ServerSettings(base_url=url)})
        await load_remote(there, server="mine")
        theirs = Reply([each async for each in there.reply(Prompt(raw="the cat"), greedy, measure=True)]).of(Measured)
        await there.close()
    assert len(ours) == len(theirs) == 8
    for one, other in zip(ours, theirs, strict=True):
        assert other.probability == pytest.approx(one.probability, rel=0.02)
        assert other.rank == one.rank == 1
        known = {each.piece: each.probability for each in lens.candidates(one)}
        shared = [each for each in lens.candidates(other) if each.piece in known]
        assert len(shared) >= 2
        assert all(each.probability == pytest.approx(known[each.piece], rel=0.02) for each in shared)
