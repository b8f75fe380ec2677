"""Each kind of server: what it is asked with, and what becomes of a stream in the shape that it documents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from support.engines import ask, user
from support.fake_server import Answer, FakeServer
from support.remote import engine_for, load_remote

from chatterm.engine.servers import PRESETS, address, find, known, offered
from chatterm.events import FinishReason, Loaded
from chatterm.settings import PRESET_NAMES, Sampling, ServerSettings

KEY = "sk-of-this-preset"


class Shape(NamedTuple):
    """A stream as a kind of server sends it, and what it says."""

    stream: str
    text: str
    reasoning: str
    counts: tuple[int, int, int]
    """n_prompt, n_reused, n_generated."""
    models: Any
    n_ctx: int = 0


def _lines(*chunks: Any, done: bool = True, comment: str = "") -> str:
    """Chunks as an event stream."""
    events = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return (f": {comment}\n\n" if comment else "") + "".join(events) + ("data: [DONE]\n\n" if done else "")


def _delta(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {
        "id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
    }  # fmt: skip


def _usage(n_prompt: int, n_generated: int, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": n_prompt, "completion_tokens": n_generated, "total_tokens": n_prompt + n_generated, **more}


ROLE = _delta(role="assistant", content="")
IDS = {"object": "list", "data": [{"id": "tiny", "object": "model", "created": 1, "owned_by": "them"}]}

SHAPES: dict[str, Shape] = {
    "llama-server": Shape(
        _lines(
            _delta(role="assistant", content=None),
            {**_delta(), "choices": [], "prompt_progress": {"total": 20, "cache": 8, "processed": 20, "time_ms": 3}},
            _delta(reasoning_content="Hm."),
            _delta(content="Yes"),
            _delta(content="."),
            _delta("stop"),
            {
                "choices": [],
                "usage": _usage(20, 5, prompt_tokens_details={"cached_tokens": 8}),
                "timings": {"cache_n": 8, "prompt_n": 12, "prompt_ms": 30.5, "predicted_n": 5, "predicted_ms": 100.0},
            },
            comment="ping",
        ),
        "Yes.", "Hm.", (20, 8, 5),
        {"object": "list", "data": [{"id": "tiny", "meta": {"n_ctx_train": 8192, "n_params": 10, "size": 20}}],
         "models": [{"name": "tiny"}]},
    ),
    "vllm": Shape(
        _lines(
            ROLE,
            _delta(reasoning="Hm."),
            _delta(content="Yes."),
            _delta("stop", content=""),
            {"choices": [], "usage": _usage(20, 5)},
        ),
        "Yes.", "Hm.", (20, 0, 5),
        {"data": [{"id": "tiny", "object": "model", "owned_by": "vllm", "root": "o/tiny", "max_model_len": 4096}]}, 4096,
    ),
    "ollama": Shape(
        _lines(
            _delta(role="assistant", content="", reasoning="Hm"),
            _delta(role="assistant", content="", reasoning="."),
            _delta(role="assistant", content="Yes"),
            _delta(role="assistant", content="."),
            _delta("stop", role="assistant", content=""),
            {"choices": [], "usage": _usage(20, 5)},
        ),
        "Yes.", "Hm.", (20, 0, 5), {"object": "list", "data": [{"id": "tiny:latest", "owned_by": "library"}]},
    ),
    "lmstudio": Shape(
        _lines(
            _delta(role="assistant", reasoning_content="Hm."),
            _delta(role="assistant", content="Yes."),
            _delta("stop"),
            {"choices": [], "usage": _usage(20, 5)},
        ),
        "Yes.", "Hm.", (20, 0, 5), IDS,
    ),
    "openai": Shape(
        _lines(
            {**ROLE, "usage": None},
            {**_delta(content="Yes."), "usage": None, "obfuscation": "x7Yq"},
            {**_delta("stop"), "usage": None},
            {
                "choices": [],
                "usage": _usage(
                    20, 5, prompt_tokens_details={"cached_tokens": 16}, completion_tokens_details={"reasoning_tokens": 3}
                ),
            },
        ),
        "Yes.", "", (20, 16, 5), {"object": "list", "data": [*IDS["data"], {"id": "text-embedding-3-small"}]},
    ),
    "gemini": Shape(
        _lines(
            _delta(role="assistant", content="<thought>Hm", extra_content={"google": {"thought": True}}),
            _delta(role="assistant", content=".", extra_content={"google": {"thought": True}}),
            _delta(role="assistant", content="</thought>Yes"),
            {
                **_delta("stop", role="assistant", content=".", extra_content={"google": {"thought_signature": "Ab="}}),
                "usage": _usage(20, 5),
            },
        ),
        "Yes.", "Hm.", (20, 0, 5), {"object": "list", "data": [{"id": "models/tiny", "display_name": "Tiny"}]},
    ),
    "anthropic": Shape(
        _lines(
            _delta(role="assistant"),
            _delta(content="Yes"),
            _delta(content="."),
            _delta("stop"),
            {"choices": [], "usage": _usage(20, 5)},
        ),
        "Yes.", "", (20, 0, 5),
        {"data": [{"type": "model", "id": "tiny", "display_name": "Tiny"}], "has_more": False, "first_id": "tiny"},
    ),
    "mistral": Shape(
        _lines(
            _delta(role="assistant", content=""),
            _delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]),
            _delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "."}], "closed": True}]),
            _delta(content=[{"type": "text", "text": "Yes"}]),
            {**_delta("stop", content="."), "usage": _usage(20, 5)},
        ),
        "Yes.", "Hm.", (20, 0, 5),
        {"data": [
            {"id": "tiny", "capabilities": {"completion_chat": True}, "max_context_length": 32768, "type": "base"},
            {"id": "other", "capabilities": {"completion_chat": False}},
        ]}, 32768,
    ),
    "xai": Shape(
        _lines(
            _delta(role="assistant", content="", reasoning_content="Hm."),
            _delta(content="Yes."),
            _delta("stop", content=""),
            {"choices": [], "usage": _usage(20, 5, completion_tokens_details={"reasoning_tokens": 40})},
        ),
        "Yes.", "Hm.", (20, 0, 5), IDS,
    ),
    "groq": Shape(
        _lines(
            {**_delta(role="assistant", content=""), "x_groq": {"id": "req"}},
            _delta(reasoning="Hm.", channel="analysis"),
            _delta(content="Yes."),
            {**_delta("stop"), "x_groq": {"id": "req", "usage": {"queue_time": 0.1, **_usage(20, 5)}}},
        ),
        "Yes.", "Hm.", (20, 0, 5),
        {"data": [{"id": "tiny", "active": True, "context_window": 131072}, {"id": "whisper-large-v3"}]}, 131072,
    ),
    "together": Shape(
        _lines(
            {**_delta(role="assistant", content="<think>\n"), "usage": None},
            _delta(content="Hm."),
            _delta(content="\n</think>\n\nYes"),
            {**_delta("stop", content="."), "usage": _usage(20, 5)},
        ),
        "Yes.", "Hm.\n", (20, 0, 5),
        [{"id": "tiny", "type": "chat", "context_length": 8192}, {"id": "pic", "type": "image"}], 8192,
    ),
    "openrouter": Shape(
        _lines(
            _delta(role="assistant", content="", reasoning="Hm.", reasoning_details=[{"type": "reasoning.text", "text": "Hm."}]),
            _delta(role="assistant", content="Yes."),
            {**_delta("stop", role="assistant", content=""), "provider": "Them"},
            {**_delta(role="assistant", content=""), "usage": _usage(20, 5, cost=0.1)},
            comment="OPENROUTER PROCESSING",
        ),
        "Yes.", "Hm.", (20, 0, 5), {"data": [{"id": "tiny", "context_length": 65536, "pricing": {}}]}, 65536,
    ),
}  # fmt: skip


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        yield fake


def test_there_is_a_shape_for_each_preset():
    assert tuple(PRESETS) == PRESET_NAMES == tuple(SHAPES)


@pytest.mark.parametrize("name", PRESET_NAMES)
async def test_a_stream_in_its_documented_shape_is_understood(
    name: str, server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    shape = SHAPES[name]
    monkeypatch.setenv("THIS_KEY", KEY)
    server.models = shape.models
    server.answers.append(Answer([shape.stream.encode()]))
    engine = engine_for(server, preset=name, key_env="THIS_KEY")
    loaded = (await load_remote(engine))[-1]
    assert isinstance(loaded, Loaded)
    assert (loaded.notes, loaded.model.n_ctx) == ((), shape.n_ctx)
    reply = await ask(engine, "hello", Sampling(max_tokens=9))
    finished = reply.finished
    assert (reply.text, reply.reasoning) == (shape.text, shape.reasoning)
    assert (finished.n_prompt, finished.n_reused, finished.n_generated) == shape.counts
    assert finished.reason is FinishReason.END
    assert reply.prompted.notes == ()
    preset, body = PRESETS[name], server.questions[0].body  # type: ignore[index]
    assert body[preset.longest] == 9
    assert ("stream_options" in body) == (preset.usage == "asked")
    assert server.questions[0].headers["authorization"] == f"Bearer {KEY}"
    await engine.close()


@pytest.mark.parametrize("name", PRESET_NAMES)
async def test_only_settings_that_it_knows_are_sent(name: str, server: FakeServer):
    engine = engine_for(server, preset=name)
    await load_remote(engine)
    chosen = Sampling(
        temperature=0.1, top_p=0.2, top_k=3, min_p=0.4, typical_p=0.5, repeat_penalty=1.1, repeat_last_n=7,
        frequency_penalty=0.8, presence_penalty=0.9, seed=10, stop=("END",), order=("temperature",),
    )  # fmt: skip
    reply = await ask(engine, "hello", chosen)
    body, takes = server.questions[0].body, PRESETS[name].takes  # type: ignore[index]
    others = {"model", "messages", "stream", "stream_options", *PRESETS[name].extra}  # type: ignore[index]
    assert body.keys() - others == {takes[field] for field in takes if field != "template_variables"}
    (note,) = reply.prompted.notes
    for field in Sampling.__struct_fields__:
        assert (field in note.split("know ")[1].replace(",", "").split()) == (
            field not in takes and field != "max_tokens"
        )
    await engine.close()


async def test_its_models_are_asked_for_with_the_header_that_it_wants(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("THIS_KEY", KEY)
    engine = engine_for(server, preset="anthropic", key_env="THIS_KEY")
    await load_remote(engine)
    listed = server.seen[0].headers
    assert (listed["x-api-key"], listed["anthropic-version"]) == (KEY, "2023-06-01")
    assert "authorization" not in listed
    await engine.close()


@pytest.mark.parametrize(
    ("name", "body", "turn"),
    [
        ("llama-server", {}, {}),
        ("vllm", {"continue_final_message": True, "add_generation_prompt": False}, {}),
        ("mistral", {}, {"prefix": True}),
    ],
)
async def test_a_reply_is_gone_on_with_where_that_is_possible(
    name: str, body: dict[str, Any], turn: dict[str, Any], server: FakeServer
):
    engine = engine_for(server, preset=name)
    await load_remote(engine)
    reply = await ask(engine, user("count", "one two", continues=True))
    sent = server.questions[0].body
    assert sent["messages"][-1] == {"role": "assistant", "content": "one two"} | turn
    assert body.items() <= sent.items()
    assert reply.prompted.notes == ()
    await engine.close()


async def test_variables_of_the_template_go_where_they_are_known(server: FakeServer):
    for name, is_known in (("vllm", True), ("openai", False)):
        engine = engine_for(server, preset=name)
        await load_remote(engine)
        reply = await ask(engine, user("hello", template_variables={"enable_thinking": False}))
        assert ("chat_template_kwargs" in server.questions[-1].body) == is_known
        assert any("template_variables" in note for note in reply.prompted.notes) != is_known
        await engine.close()


async def test_what_is_only_asked_for_to_see_more_is_given_up_where_it_is_refused(server: FakeServer):
    refusal = Answer(status=400, body=b'[{"error": {"code": 400, "message": "Thinking is not available."}}]')
    server.answers.append(refusal)
    engine = engine_for(server, preset="gemini")
    await load_remote(engine)
    reply = await ask(engine, "hello")
    assert reply.text == "Hello there"
    assert ["extra_body" in seen.body for seen in server.questions] == [True, False]
    assert reply.prompted.notes == ()
    await engine.close()


def test_a_model_is_named_by_server_and_name():
    chosen = {"mine": ServerSettings(base_url="http://127.0.0.1:9000")}
    assert str(address("ollama:qwen3:4b", chosen)) == "ollama:qwen3:4b"
    assert str(address(" mine:a/b ", chosen)) == "mine:a/b"
    for text in ("owner/name:Q4_K_M", "nosuch:x", "openai:", "openai", ":x", ""):
        assert address(text, chosen) is None


def test_a_server_of_the_settings_takes_the_place_of_the_preset_of_its_name():
    chosen = {"ollama": ServerSettings(base_url="http://10.0.0.5:11434/v1"), "mine": ServerSettings(preset="vllm")}
    assert [server.name for server in known(chosen)] == [
        "ollama",
        "mine",
        *(name for name in PRESETS if name != "ollama"),
    ]
    ollama = find("ollama", chosen)
    assert ollama
    assert (ollama.host, ollama.preset, ollama.is_here) == ("10.0.0.5:11434", PRESETS["ollama"], False)


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1"),
        ("https://a.test/api/v3/", "https://a.test/api/v3"),
        ("https://a.test/v1/chat/completions", "https://a.test/v1"),
    ],
)
def test_an_address_is_completed(given: str, asked: str):
    server = find("mine", {"mine": ServerSettings(base_url=given)})
    assert server
    assert server.base_url == asked


def test_the_usual_key_does_not_go_to_another_host():
    elsewhere = {"openai": ServerSettings(base_url="https://openai.evil.test/v1")}
    plain = {"openai": ServerSettings(base_url="http://api.openai.com/v1")}
    named = {"openai": ServerSettings(base_url="https://proxy.test/v1", key_env="OPENAI_API_KEY")}
    there = {"mine": ServerSettings(preset="openai")}
    found = [
        find(name, chosen)
        for name, chosen in (("openai", elsewhere), ("openai", plain), ("openai", named), ("mine", there))
    ]
    assert [server.key_env if server else None for server in found] == ["", "", "OPENAI_API_KEY", "OPENAI_API_KEY"]


def test_servers_of_the_settings_and_presets_with_a_key_are_offered(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GEMINI_API_KEY", "x")
    monkeypatch.setenv("VLLM_API_KEY", "x")
    monkeypatch.setenv("OPENAI_API_KEY", " ")
    names = [server.name for server in offered({"mine": ServerSettings(preset="ollama")})]
    assert names == ["mine", "gemini"]
