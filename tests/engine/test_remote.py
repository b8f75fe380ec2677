"""Promises of the remote engine: those of every engine, then what only a server can do to it."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.engines import ask, ask_until, first, user
from support.fake_server import DEADLINE_SECONDS, Answer, FakeServer, chunk, event, refused, said, usage
from support.remote import Waits, engine_for, load_remote

from chatterm.address import RemoteModel
from chatterm.engine.base import Prompt
from chatterm.engine.remote import RemoteEngine
from chatterm.errors import (
    KeyRefused,
    KeyUnusable,
    ModelNotFound,
    PromptTooLong,
    ReplyCut,
    ServerBusy,
    ServerError,
    ServerUnreachable,
)
from chatterm.events import (
    Finished,
    FinishReason,
    Loaded,
    Loading,
    LoadStage,
    Prefilling,
    Prompted,
    ReplyEvent,
    Token,
    Trimmed,
)
from chatterm.settings import LoadOptions, Sampling, ServerSettings

KEY = "sk-very-secret-4711"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        yield fake


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest_asyncio.fixture
async def engine(server: FakeServer, waits: Waits) -> AsyncIterator[RemoteEngine]:
    """An engine that has the server's model."""
    engine = engine_for(server, waits)
    await load_remote(engine)
    yield engine
    await engine.close()


def is_written(event: object) -> bool:
    return isinstance(event, Token)


def held(before: int = 2, *words: str) -> Answer:
    """An answer that stops and waits after a word or two."""
    answer = said(*(words or ("one", " two", " three")))
    answer.hold_before = before
    return answer


async def collect(engine: RemoteEngine, arrived: list[ReplyEvent]) -> None:
    """A reply, as far as it comes."""
    async for each in engine.reply(user("count"), Sampling()):
        arrived += [each]


# What every engine promises.


async def test_a_load_tells_its_stages_and_what_was_loaded(server: FakeServer):
    server.models = {"data": [{"id": "other"}, {"id": "tiny", "max_model_len": 4096}]}
    engine = engine_for(server)
    events = await load_remote(engine)
    assert events[0] == Loading(LoadStage.CONNECTING)
    assert isinstance(events[-1], Loaded)
    model = events[-1].model
    assert engine.model == model
    assert (model.name, model.path, model.address, model.host) == ("fake:tiny", "", "fake:tiny", server.host)
    assert (model.n_ctx, model.n_layers, model.quantization, model.is_elsewhere) == (4096, 0, "", False)
    assert events[-1].notes == ()
    await engine.close()
    assert engine.model is None


async def test_a_reply_is_told_in_order(engine: RemoteEngine, server: FakeServer):
    server.answers.append(said("one", " two", " three", counts=(12, 3)))
    reply = await ask(engine, "count")
    kinds = [type(event) for event in reply.events]
    assert kinds == [Prompted, *[Token] * 3, Finished]
    assert reply.text == "one two three"
    finished = reply.finished
    assert (finished.reason, finished.n_prompt, finished.n_generated, finished.n_used) == (FinishReason.END, 12, 3, 15)
    assert finished.first_token_seconds > 0
    assert finished.decode_seconds >= 0


async def test_without_a_model_there_is_no_reply(server: FakeServer):
    engine = engine_for(server)
    with pytest.raises(ModelNotFound):
        await ask(engine, "hello")
    await load_remote(engine)
    await engine.unload()
    assert engine.model is None
    with pytest.raises(ModelNotFound):
        await ask(engine, "hello")
    assert server.questions == []


async def test_closing_the_iterator_closes_the_connection_and_the_next_reply_works(
    engine: RemoteEngine, server: FakeServer
):
    answer = held()
    server.answers.append(answer)
    stopped = await ask_until(engine, user("count"), Sampling(), is_written)
    assert stopped.text == "one"
    assert await asyncio.to_thread(answer.left.wait, DEADLINE_SECONDS), "the server sees that nobody listens"
    assert (await ask(engine, "hello")).text == "Hello there"


async def test_a_cancelled_task_stops_its_reply_also_before_it_has_begun(engine: RemoteEngine, server: FakeServer):
    answer = held(before=0)
    server.answers.append(answer)
    task = asyncio.create_task(ask(engine, "hello"))
    assert await asyncio.to_thread(answer.reached.wait, DEADLINE_SECONDS)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(answer.left.wait, DEADLINE_SECONDS)
    assert (await ask(engine, "hello")).text == "Hello there"


async def test_closing_the_engine_ends_a_reply_that_is_running(engine: RemoteEngine, server: FakeServer):
    server.answers.append(held())
    replying = engine.reply(user("go on"), Sampling())
    await first(replying, is_written)
    await engine.close()
    with pytest.raises(ServerError):
        await first(replying, lambda event: isinstance(event, Finished))


async def test_one_thing_at_a_time(engine: RemoteEngine, server: FakeServer):
    answer = held()
    server.answers.append(answer)
    replying = engine.reply(user("go on"), Sampling())
    await first(replying, is_written)
    second = asyncio.create_task(ask(engine, "hello"))
    answer.release.set()
    rest = [event async for event in replying]
    assert isinstance(rest[-1], Finished)
    assert (await second).text == "Hello there"
    assert len(server.questions) == 2


async def test_a_load_can_be_stopped(server: FakeServer):
    engine = engine_for(server)
    async with aclosing(engine.load(RemoteModel("fake", "tiny"), LoadOptions())) as events:
        await first(events, lambda event: isinstance(event, Loading))
    assert engine.model is None
    await load_remote(engine)
    assert engine.model is not None
    await engine.close()


async def test_a_change_of_model_is_a_load(engine: RemoteEngine, server: FakeServer):
    server.models = {"data": [{"id": "one"}, {"id": "two"}]}
    for name in ("one", "two"):
        await load_remote(engine, name)
        assert engine.model is not None
        assert engine.model.name == f"fake:{name}"
        await ask(engine, "who?")
        assert server.questions[-1].body["model"] == name


def test_an_engine_can_be_made_before_there_is_a_loop_and_loads_nothing_heavy(server: FakeServer):
    code = (
        "import asyncio, sys\n"
        "from chatterm.address import RemoteModel\n"
        "from chatterm.engine.remote import RemoteEngine\n"
        "from chatterm.settings import LoadOptions, ServerSettings\n"
        "engine = RemoteEngine({'fake': ServerSettings(base_url=sys.argv[1])})\n"
        "assert not {'httpx2', 'keyring', 'llama_cpp', 'ssl'} & set(sys.modules) - {'ssl'}\n"
        "async def main():\n"
        "    print([type(e).__name__ async for e in engine.load(RemoteModel('fake', 'tiny'), LoadOptions())][-1])\n"
        "    await engine.close()\n"
        "asyncio.run(main())\n"
        "assert not {'llama_cpp', 'numpy', 'jinja2', 'huggingface_hub'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, server.url], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("Loaded\n", "")


async def test_what_only_llama_can_tell_is_refused_in_words(engine: RemoteEngine):
    with pytest.raises(ServerError, match="into tokens"):
        await engine.tokenize("hello")
    with pytest.raises(ServerError, match="into tokens"):
        await engine.count(user("hello"))
    assert not engine.capabilities.is_local


# What is asked.


async def test_the_conversation_is_sent_as_it_is(engine: RemoteEngine, server: FakeServer):
    await ask(engine, user("hello", "hi", "and now?", system="be brief"))
    body = server.questions[0].body
    assert body == {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "hi"},
            {"role": "user", "content": "and now?"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.0,
    }


async def test_settings_that_were_left_as_they_are_are_not_sent(engine: RemoteEngine, server: FakeServer):
    await ask(engine, "hello", Sampling())
    assert set(server.questions[0].body) == {"model", "messages", "stream", "stream_options"}


async def test_settings_that_were_chosen_are_sent_and_others_named(engine: RemoteEngine, server: FakeServer):
    chosen = Sampling(temperature=0.1, top_p=0.5, seed=3, stop=("END",), max_tokens=9, min_p=0.2, top_k=7)
    reply = await ask(engine, "hello", chosen)
    body = server.questions[0].body
    assert (body["temperature"], body["top_p"], body["seed"], body["stop"], body["max_tokens"]) == (
        0.1, 0.5, 3, ["END"], 9,
    )  # fmt: skip
    assert not {"min_p", "top_k"} & body.keys()
    assert "does not know top_k and min_p" in reply.prompted.notes[0]
    assert reply.prompted.seed == reply.finished.seed == 3


async def test_a_default_that_is_stated_is_sent_unless_it_leaves_all_to_the_server(
    engine: RemoteEngine, server: FakeServer
):
    stated = {"temperature", "seed", "stop", "max_tokens", "top_k"}
    reply = await ask(engine, "hello", Sampling(), stated=stated)
    body = server.questions[0].body
    assert set(body) == {"model", "messages", "stream", "stream_options", "temperature"}
    assert body["temperature"] == 0.8
    assert reply.prompted.notes == ("fake does not know top_k, so your choice does not count.",)


async def test_turns_of_one_role_in_a_row_are_sent_as_one(engine: RemoteEngine, server: FakeServer):
    prompt = user("hello", "", "anyone?")
    prompt = Prompt((prompt.turns[0], prompt.turns[2]))
    await ask(engine, prompt)
    assert server.questions[0].body["messages"] == [{"role": "user", "content": "hello\n\nanyone?"}]


async def test_text_without_a_template_is_continued(engine: RemoteEngine, server: FakeServer):
    server.answers.append(Answer([event({"choices": [{"text": " a time", "finish_reason": "stop"}]})]))
    reply = await ask(engine, Prompt(raw="Once upon"))
    assert reply.text == " a time"
    assert server.questions[0].path == "/v1/completions"
    assert server.questions[0].body["prompt"] == "Once upon"


async def test_text_that_is_no_utf8_is_sent_all_the_same(engine: RemoteEngine, server: FakeServer):
    await ask(engine, "a\udcffb")
    assert server.questions[0].body["messages"][0]["content"] == "a?b"


async def test_a_reply_that_cannot_be_gone_on_with_is_asked_for_its_rest(engine: RemoteEngine, server: FakeServer):
    reply = await ask(engine, user("count", "one two", continues=True))
    messages = server.questions[0].body["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert "Go on exactly" in messages[-1]["content"]
    assert "cannot go on inside" in reply.prompted.notes[0]


# What comes back.


async def test_a_thought_is_told_as_reasoning(engine: RemoteEngine, server: FakeServer):
    server.answers.append(
        Answer([event(chunk(reasoning="hm ")), event(chunk(reasoning="so")), event(chunk("Yes.", "stop"))])
    )
    reply = await ask(engine, "hello")
    assert (reply.reasoning, reply.text) == ("hm so", "Yes.")


async def test_without_usage_the_chunks_are_counted(engine: RemoteEngine, server: FakeServer):
    server.answers.append(said("one", " two", counts=None))
    finished = (await ask(engine, "hello")).finished
    assert (finished.n_prompt, finished.n_generated, finished.n_used) == (0, 2, 0)


async def test_a_hidden_thought_counts_as_time_of_writing(engine: RemoteEngine, server: FakeServer):
    counted = usage(5, 100, completion_tokens_details={"reasoning_tokens": 99})
    server.answers.append(Answer([event(chunk("Yes.", "stop")), event(counted)]))
    finished = (await ask(engine, "hello")).finished
    assert finished.n_generated == 100
    assert finished.decode_seconds >= finished.first_token_seconds > 0


async def test_progress_with_the_prompt_is_told(engine: RemoteEngine, server: FakeServer):
    progress = chunk() | {"prompt_progress": {"total": 8, "cache": 2, "processed": 4}}
    server.answers.append(Answer([event(progress), event(chunk("Yes.", "stop"))]))
    reply = await ask(engine, "hello")
    assert reply.prefilling == [Prefilling(4, 8, 2)]
    assert [type(event) for event in reply.events] == [Prompted, Prefilling, Token, Finished]


async def test_a_length_without_a_limit_is_a_full_context(server: FakeServer):
    server.models = {"data": [{"id": "tiny", "context_length": 10}]}
    engine = engine_for(server)
    await load_remote(engine)
    server.answers += [said("a", finish="length", counts=(7, 3)), said("a", finish="length", counts=(2, 3))]
    assert (await ask(engine, "hello")).finished.reason is FinishReason.CONTEXT
    assert (await ask(engine, "hello")).finished.reason is FinishReason.LENGTH
    await engine.close()


@pytest.mark.parametrize(
    "stream",
    [
        [event(chunk("Yes."))],
        [event(chunk("Yes.")), event("[DONE]")],
        [b": ping\n\n", event(chunk("Yes.", "stop")).rstrip(b"\n")],
        [event(chunk("Yes.", "stop")), event("[DONE]"), b"data: rubbish\n\n"],
    ],
)
async def test_an_end_that_is_not_said_is_an_end(engine: RemoteEngine, server: FakeServer, stream: list[bytes]):
    server.answers.append(Answer(stream))
    reply = await ask(engine, "hello")
    assert (reply.text, reply.finished.reason) == ("Yes.", FinishReason.END)


async def test_an_answer_of_nothing_is_an_answer(engine: RemoteEngine, server: FakeServer):
    server.answers.append(said())
    reply = await ask(engine, "hello")
    assert [type(event) for event in reply.events] == [Prompted, Finished]


async def test_a_server_that_does_not_stream_is_understood(engine: RemoteEngine, server: FakeServer):
    whole = {"choices": [{"message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}]} | {
        "usage": {"prompt_tokens": 4, "completion_tokens": 2}
    }
    server.answers.append(Answer(body=json.dumps(whole).encode(), headers={"Content-Type": "application/json"}))
    reply = await ask(engine, "hello")
    assert (reply.text, reply.finished.n_prompt) == ("Yes.", 4)


# What goes wrong.


@pytest.mark.parametrize("is_chunked", [True, False])
async def test_a_stream_that_is_cut_keeps_what_arrived_and_says_so(
    engine: RemoteEngine, server: FakeServer, waits: Waits, is_chunked: bool
):
    server.answers.append(Answer([event(chunk("one")), event(chunk(" two"))], is_cut=True, is_chunked=is_chunked))
    arrived: list[ReplyEvent] = []
    with pytest.raises(ReplyCut, match="what arrived is kept"):
        await collect(engine, arrived)
    assert "".join(each.text for each in arrived if isinstance(each, Token)) == "one two"
    assert (waits, len(server.questions)) == ([], 1), "what has begun is not asked again"


async def test_a_stream_that_is_cut_after_its_end_is_whole(engine: RemoteEngine, server: FakeServer):
    server.answers.append(Answer([event(chunk("one", "stop"))], is_cut=True))
    assert (await ask(engine, "count")).text == "one"


@pytest.mark.parametrize(
    "failure",
    [
        Answer(status=503, body=b"<html>Bad gateway</html>", headers={"Content-Type": "text/html"}),
        refused(500, "Internal error"),
        Answer([], is_cut=True),
        Answer([event(chunk("", role="assistant"))], is_cut=True),
        Answer([event({"error": {"message": "Overloaded", "type": "overloaded_error"}})]),
        Answer([event({"error": {"message": "try later", "code": 503}})]),
        refused(429, "Slow down"),
    ],
)
async def test_a_failure_before_the_first_token_is_waited_out(
    engine: RemoteEngine, server: FakeServer, waits: Waits, failure: Answer
):
    server.answers += [failure, failure]
    reply = await ask(engine, "hello")
    assert reply.text == "Hello there"
    assert [type(event) for event in reply.events].count(Prompted) == 1
    assert waits == [1.0, 2.0]


async def test_a_server_that_stays_busy_is_given_up(engine: RemoteEngine, server: FakeServer, waits: Waits):
    server.answers += [refused(500, "Internal error")] * 5
    with pytest.raises(ServerBusy, match="Internal error"):
        await ask(engine, "hello")
    assert len(server.questions) == 3
    assert engine.model is not None


async def test_retry_after_is_obeyed_up_to_a_bound(engine: RemoteEngine, server: FakeServer, waits: Waits):
    server.answers.append(refused(429, "Slow down", headers={"Retry-After": "7"}))
    assert (await ask(engine, "hello")).text == "Hello there"
    assert waits == [7]
    server.answers.append(refused(429, "Slow down", headers={"Retry-After": "3600"}))
    with pytest.raises(ServerBusy, match="wait 3600 seconds") as busy:
        await ask(engine, "hello")
    assert busy.value.retry_after_seconds == 3600
    assert waits == [7]


async def test_waiting_can_be_stopped(server: FakeServer):
    begun = asyncio.Event()

    class Never(Waits):
        async def wait(self, seconds: float) -> None:
            begun.set()
            await asyncio.Event().wait()

    engine = engine_for(server, Never())
    await load_remote(engine)
    server.answers.append(refused(500, "Internal error"))
    task = asyncio.create_task(ask(engine, "hello"))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await engine.close()


async def test_an_error_in_the_middle_of_a_stream_keeps_what_arrived(engine: RemoteEngine, server: FakeServer):
    server.answers.append(Answer([event(chunk("one")), event({"error": {"message": "GPU lost", "code": 500}})]))
    arrived: list[ReplyEvent] = []
    with pytest.raises(ServerBusy, match="GPU lost"):
        await collect(engine, arrived)
    assert isinstance(arrived[-1], Token)
    assert len(server.questions) == 1


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (refused(401, "Incorrect API key provided"), KeyRefused, "wants a key.*keyring.*chatterm models key fake"),
        (refused(403, "Not allowed in your region"), KeyRefused, "chatterm models key fake"),
        (refused(400, "API key not valid. Please pass a valid API key."), KeyRefused, "wants a key"),
        (refused(404, "The model `tiny` does not exist", code="model_not_found"), ModelNotFound, "no model “tiny”"),
        (refused(400, "Invalid model: tiny"), ModelNotFound, "models list --remote"),
        (Answer(status=404, body=b'{"detail":"Not Found"}'), ServerError, "nothing of the kind.*base_url"),
        (refused(402, "Insufficient credits"), ServerError, "wants to be paid"),
        (refused(429, "You exceeded your quota", code="insufficient_quota"), ServerError, "wants to be paid"),
        (refused(418, "I am a teapot"), ServerError, "HTTP 418.*I am a teapot"),
        (refused(400, "bad\x1b[31m words\nhere"), ServerError, "bad�.31m words here"),
        (Answer(status=400, body=b"x" * 5000), ServerError, "x{300}…"),
        (Answer(status=400, body=b'[{"error": {"message": "as a list"}}]'), ServerError, "as a list"),
        (Answer(status=422, body=b'{"detail": [{"loc": ["body", "n"], "msg": "odd"}]}'), ServerError, "n: odd"),
        (Answer(status=200, body=b"<!DOCTYPE html>", headers={"Content-Type": "text/html"}), ServerError, "web page"),
        (Answer(status=404, body=b"<html>", headers={"Content-Type": "text/html"}), ServerError, "web page"),
        (Answer(status=200, body=b"hello", headers={"Content-Type": "text/plain"}), ServerError, "no answer: hello"),
        (Answer([b": ping\n\n"]), ServerError, "before it had begun"),
        (Answer([event("rubbish")]), ServerError, "no answer: rubbish"),
        (Answer([event("[" * 100_000)]), ServerError, "no answer"),
        (Answer([event({"error": "broken"})]), ServerError, "broken"),
        (Answer([event({"object": "error", "message": "broken", "code": 400})]), ServerError, "broken"),
        (Answer(status=302, body=b"", headers={"Location": "https://else.test/x?key=1"}), ServerError, "else.test/x[^?]"),
    ],
)  # fmt: skip
async def test_a_refusal_is_told_in_our_words(
    engine: RemoteEngine, server: FakeServer, waits: Waits, answer: Answer, kind: type[ServerError], words: str
):
    server.answers += [answer, answer]
    with pytest.raises(kind, match=words) as error:
        await ask(engine, "hello")
    assert error.value.remedy
    assert waits == []
    assert engine.model is not None
    server.answers.clear()
    assert (await ask(engine, "hello")).text == "Hello there"


async def test_a_server_that_is_gone_is_named(engine: RemoteEngine, server: FakeServer, waits: Waits):
    server.__exit__()
    with pytest.raises(ServerUnreachable, match=f"Nothing answers at {server.host}"):
        await ask(engine, "hello")
    assert waits == [1.0, 2.0]


@pytest.mark.parametrize(
    "message",
    [
        "Unsupported value: 'temperature' does not support 0.2 with this model.",
        "Validation: body.temperature: extra inputs are not permitted",
        {"param": "temperature"},
    ],
)
async def test_a_setting_that_is_refused_is_left_out_remembered_and_said(
    engine: RemoteEngine, server: FakeServer, message: Any
):
    given = {"message": message} if isinstance(message, str) else {"message": "No.", **message}
    server.answers.append(refused(400, given.pop("message"), **given))
    chosen = Sampling(temperature=0.2, top_p=0.5)
    reply = await ask(engine, "hello", chosen)
    assert reply.text == "Hello there"
    assert "refused temperature" in reply.prompted.notes[0]
    again = await ask(engine, "hello", chosen)
    assert "refused temperature" in again.prompted.notes[0]
    assert ["temperature" in seen.body for seen in server.questions] == [True, False, False]
    assert all(seen.body["top_p"] == 0.5 for seen in server.questions)
    assert (await ask(engine, "hello", Sampling())).prompted.notes == ()


async def test_the_longest_reply_is_named_as_the_server_wants_it(engine: RemoteEngine, server: FakeServer):
    server.answers.append(
        refused(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", param="max_tokens")
    )
    reply = await ask(engine, "hello", Sampling(max_tokens=5))
    assert server.questions[1].body["max_completion_tokens"] == 5
    assert "max_tokens" not in server.questions[1].body
    assert reply.prompted.notes == ()


async def test_a_server_that_refuses_without_a_reason_is_asked_without_what_is_ours(
    engine: RemoteEngine, server: FakeServer
):
    server.answers.append(refused(400, "Bad request"))
    await ask(engine, "hello", Sampling(temperature=0.2))
    assert "stream_options" not in server.questions[1].body
    assert server.questions[1].body["temperature"] == 0.2
    await ask(engine, "hello")
    assert "stream_options" not in server.questions[2].body


async def test_what_did_not_help_is_not_remembered(engine: RemoteEngine, server: FakeServer):
    server.answers += [refused(400, "Bad request")] * 2
    with pytest.raises(ServerError, match="Bad request"):
        await ask(engine, "hello")
    await ask(engine, "hello")
    assert "stream_options" in server.questions[2].body


TOO_LONG = [
    "This model's maximum context length is 512 tokens. However, your messages resulted in 900 tokens.",
    "prompt is too long: 210000 tokens > 200000 maximum",
    "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).",
    "the request exceeds the available context size, try increasing it",
    "Please reduce the length of the messages or completion.",
    "Prompt contains 99 tokens, too large for model with 32 maximum context length",
]


@pytest.mark.parametrize("message", TOO_LONG)
async def test_of_a_conversation_that_is_too_long_the_older_part_is_left_out(
    engine: RemoteEngine, server: FakeServer, message: str
):
    server.answers += [refused(400, message)] * 2
    said_before = [text for number in range(8) for text in (f"question {number}", f"answer {number}")]
    reply = await ask(engine, user(*said_before, "four", system="be brief"))
    assert reply.text == "Hello there"
    assert [type(each) for each in reply.events[:2]] == [Trimmed, Prompted]
    dropped = reply.trimmed[0].dropped
    assert dropped
    assert dropped == tuple(range(1, len(dropped) + 1))
    sent = server.questions[-1].body["messages"]
    assert sent[0] == {"role": "system", "content": "be brief"}
    assert sent[1]["role"] == "user"
    assert sent[-1]["content"] == "four"
    assert len(sent) == 18 - len(dropped)
    assert len(sent) > 2, "no more than needed"


async def test_a_question_that_is_too_long_alone_is_an_error(engine: RemoteEngine, server: FakeServer):
    server.answers += [refused(400, TOO_LONG[0], code="context_length_exceeded", param="messages")] * 5
    with pytest.raises(PromptTooLong, match="cannot take in so long"):
        await ask(engine, user("one", "1", "two"))
    assert len(server.questions) == 2


async def test_a_limit_that_is_too_high_is_left_out_instead(engine: RemoteEngine, server: FakeServer):
    server.answers.append(refused(400, "max_tokens is too large: 9000. The maximum context length is 4096 tokens."))
    reply = await ask(engine, user("one", "1", "two"), Sampling(max_tokens=9000))
    assert reply.trimmed == []
    assert "refused max_tokens" in reply.prompted.notes[0]


# Loading.


async def test_a_server_that_is_not_there_is_an_error_with_the_command_that_starts_it(server: FakeServer):
    server.__exit__()
    engine = engine_for(server, preset="ollama")
    with pytest.raises(ServerUnreachable, match="ollama serve"):
        await load_remote(engine)
    assert engine.model is None


async def test_a_server_on_this_machine_is_not_asked_through_a_proxy(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    engine = engine_for(server)
    await load_remote(engine)
    assert (await ask(engine, "hello")).text == "Hello there"
    await engine.close()


async def test_an_unknown_server_and_a_file_are_refused(server: FakeServer):
    engine = engine_for(server)
    with pytest.raises(ModelNotFound, match=r"nosuch:tiny.*models servers"):
        await load_remote(engine, server="nosuch")
    with pytest.raises(ModelNotFound):
        await first(engine.load(Path("/m/tiny.gguf"), LoadOptions()), lambda _: False)


async def test_a_model_that_is_not_listed_is_taken_with_a_note(engine: RemoteEngine, server: FakeServer):
    server.models = {"data": [{"id": "gpt-5"}, {"id": "gpt-5-mini"}, {"id": "whisper-1"}]}
    loaded = (await load_remote(engine, "gpt-5x"))[-1]
    assert isinstance(loaded, Loaded)
    assert "does not list “gpt-5x”" in loaded.notes[0]
    assert "gpt-5" in loaded.notes[0].partition("It has")[2]


@pytest.mark.parametrize("listed", ["tiny:latest", "models/tiny"])
async def test_a_model_is_known_by_its_short_name(engine: RemoteEngine, server: FakeServer, listed: str):
    server.models = {"data": [{"id": listed}]}
    loaded = (await load_remote(engine))[-1]
    assert isinstance(loaded, Loaded)
    assert loaded.notes == ()


async def test_a_server_that_lists_no_models_is_taken_as_it_is(engine: RemoteEngine, server: FakeServer):
    server.models_answer = Answer(status=404, body=b"{}")
    assert isinstance((await load_remote(engine))[-1], Loaded)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (refused(401, "Missing key"), KeyRefused, "wants a key"),
        (refused(503, "Loading model"), ServerBusy, "Loading model"),
        (Answer(body=b"<html>", headers={"Content-Type": "text/html"}), ServerError, "web page"),
        (Answer(status=301, body=b"", headers={"Location": "https://b.test/v1/models"}), ServerError, "b.test"),
    ],
)
async def test_a_load_that_fails_leaves_no_model(
    engine: RemoteEngine, server: FakeServer, answer: Answer, kind: type[ServerError], words: str
):
    server.models_answer = answer
    with pytest.raises(kind, match=words):
        await load_remote(engine, "other")
    assert engine.model is None, "what waits must not go to a host that was not chosen"


async def test_what_leaves_the_machine_is_said(server: FakeServer):
    from chatterm.engine.remote import _warnings
    from chatterm.engine.servers import find

    chosen = {
        "lan": ServerSettings(base_url="http://10.1.2.3:8000/v1"),
        "evil": ServerSettings(base_url="http://127.evil.test"),
    }
    cloud, lan, evil, here = (find(name, chosen) for name in ("openai", "lan", "evil", "ollama"))
    assert cloud
    assert lan
    assert evil
    assert here
    assert _warnings(here) == []
    assert "is sent to api.openai.com" in _warnings(cloud)[0]
    assert ["not encrypted" in warning for warning in _warnings(lan)] == [False, True]
    assert "is sent to 127.evil.test" in _warnings(evil)[0]


# Keys.


async def test_the_key_is_sent_and_stands_nowhere_else(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(0)
    monkeypatch.setenv("FAKE_KEY", KEY)
    engine = engine_for(server, key_env="FAKE_KEY")
    events = await load_remote(engine)
    reply = await ask(engine, "hello")
    assert {seen.headers["authorization"] for seen in server.seen} == {f"Bearer {KEY}"}
    assert KEY not in caplog.text
    shown = [repr(events), repr(reply.events), repr(vars(engine)), repr(vars(engine._connection))]  # type: ignore[arg-type]
    for answer in (
        refused(401, f"Key {KEY} is wrong"),
        refused(400, f"You sent Bearer {KEY}"),
        Answer(status=302, body=b"", headers={"Location": f"https://b.test/{KEY}"}),
        Answer([event({"error": {"message": KEY, "code": 400}})]),
    ):
        server.answers += [answer, answer]
        with pytest.raises(ServerError) as error:
            await ask(engine, "hello")
        server.answers.clear()
        shown += [str(error.value), repr(error.value), error.value.remedy, repr(error.value.__cause__)]
    assert KEY not in "\n".join(shown)
    await engine.close()


async def test_a_redirect_takes_the_key_nowhere(server: FakeServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FAKE_KEY", KEY)
    with FakeServer() as other:
        engine = engine_for(server, key_env="FAKE_KEY")
        await load_remote(engine)
        for status in (301, 302, 303, 307, 308):
            server.answers.append(
                Answer(status=status, body=b"", headers={"Location": f"{other.url}/chat/completions"})
            )
            with pytest.raises(ServerError, match=f"sends on to .*{other.host}"):
                await ask(engine, "hello")
        assert other.seen == []
        await engine.close()


async def test_a_service_that_takes_nobody_without_a_key_is_not_even_asked():
    engine = RemoteEngine()
    with pytest.raises(KeyRefused, match=r"openai wants a key, and OPENAI_API_KEY is not set.*models key openai"):
        await load_remote(engine, server="openai")


async def test_a_key_that_no_key_can_be_is_not_sent(server: FakeServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FAKE_KEY", f"{KEY}\r\nX-Evil: 1")
    engine = engine_for(server, key_env="FAKE_KEY")
    with pytest.raises(KeyUnusable, match="FAKE_KEY holds characters") as error:
        await load_remote(engine)
    assert KEY not in str(error.value)
    assert server.seen == []


async def test_nothing_is_left_open(server: FakeServer, recwarn: pytest.WarningsRecorder):
    engine = engine_for(server)
    for _ in range(2):
        await load_remote(engine)
        server.answers.append(held())
        await ask_until(engine, user("count"), Sampling(), is_written)
    await engine.close()
    gc.collect()
    assert [str(warning.message) for warning in recwarn if warning.category is ResourceWarning] == []
