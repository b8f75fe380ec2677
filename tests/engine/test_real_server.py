"""The remote engine against a real server, and both engines as one in the middle of a conversation."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.command import run
from support.engines import GREEDY, ask, ask_until, first, user
from support.llama_server import llama_server
from support.tiny_models import write_chain, write_model

from chatterm import paths
from chatterm.address import Address, RemoteModel
from chatterm.chat import Chat
from chatterm.engine.either import EitherEngine
from chatterm.engine.local import LocalEngine
from chatterm.engine.remote import RemoteEngine
from chatterm.errors import ModelNotFound, ModelUnreadable, ServerError, ServerUnreachable
from chatterm.events import FinishReason, Loaded, Token
from chatterm.settings import LoadOptions, Sampling, ServerSettings, Settings, save
from chatterm.store import Store

WORDS = [b" one", b" two", b" three"]
REMOTE = RemoteModel("mine", "tiny")


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server whose model says the same words each time."""
    folder = tmp_path_factory.mktemp("server")
    with llama_server(write_chain(folder / "chain.gguf", WORDS), folder / "log") as url:
        yield url


@pytest.fixture(scope="module")
def rambler_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server whose model writes until it is stopped."""
    folder = tmp_path_factory.mktemp("rambler")
    with llama_server(write_model(folder / "m.gguf", n_ctx=4096), folder / "log", n_ctx=4096) as url:
        yield url


@pytest_asyncio.fixture
async def engine(speaker: str) -> AsyncIterator[EitherEngine]:
    """Both engines as one."""
    engine = EitherEngine(LocalEngine(), RemoteEngine({"mine": ServerSettings(base_url=speaker)}))
    yield engine
    await engine.close()


async def load(engine: EitherEngine, address: Address) -> Loaded:
    """The end of a load."""
    events = [event async for event in engine.load(address, LoadOptions(n_ctx=512, n_threads=1))]
    assert isinstance(events[-1], Loaded)
    return events[-1]


async def test_a_real_server_answers(engine: EitherEngine):
    loaded = await load(engine, REMOTE)
    assert (loaded.model.name, loaded.notes) == ("mine:tiny", ())
    reply = await ask(engine, "count", GREEDY)
    assert reply.text == " one two three"
    assert (reply.finished.reason, reply.finished.n_generated) == (FinishReason.END, 3)
    assert (await ask(engine, "count", Sampling(temperature=0, max_tokens=2))).finished.reason is FinishReason.LENGTH


async def test_a_real_server_stops_when_nobody_listens(rambler_url: str):
    engine = RemoteEngine({"mine": ServerSettings(base_url=rambler_url)})
    assert [event async for event in engine.load(REMOTE, LoadOptions())]
    for _ in range(2):
        reply = await ask_until(engine, user("go on"), Sampling(temperature=0), lambda event: isinstance(event, Token))
        assert len(reply.of(Token)) == 1
    assert (await ask(engine, "go on", Sampling(temperature=0, max_tokens=3))).finished.n_generated <= 3
    await engine.close()


async def test_a_real_server_that_fails_without_a_word_is_an_error(engine: EitherEngine):
    await load(engine, REMOTE)
    with pytest.raises(ServerError, match=r"before it had begun.*too long"):  # it says nothing of the reason
        await ask(engine, "the cat and the dog " * 200, GREEDY)
    assert (await ask(engine, "count", GREEDY)).text == " one two three"


async def test_the_model_can_be_changed_between_here_and_a_server_in_a_conversation(
    engine: EitherEngine, tmp_path: Path
):
    here = write_chain(tmp_path / "here.gguf", [b" here"], name="here")
    store = await Store.open(paths.store_file())
    chat = Chat(store, engine, Settings().merged({"sampling": {"temperature": 0}}))
    for address in (here, REMOTE, here):
        _ = [event async for event in chat.load(address)]
        _ = [event async for event in chat.reply("Who?")]
    replies = [turn for turn in chat.turns if turn.record]
    assert [turn.text for turn in replies] == [" here", " one two three", " here"]
    records = [turn.record for turn in replies if turn.record]
    assert [record.model_name for record in records] == ["here", "mine:tiny", "here"]
    assert [record.model_path for record in records] == [str(here), "", str(here)]
    assert records[1].n_generated == 3
    await store.close()


async def test_only_one_of_both_holds_a_model(engine: EitherEngine, tmp_path: Path):
    here = write_chain(tmp_path / "here.gguf", [b" here"], name="here")
    local = engine._local
    assert isinstance(local, LocalEngine)
    await load(engine, here)
    assert engine.capabilities.is_local
    assert local.pid
    with pytest.raises(ModelNotFound):
        await load(engine, RemoteModel("nosuch", "tiny"))
    assert engine.model
    assert engine.model.name == "here", "nothing is given up for a server that does not answer"
    await load(engine, REMOTE)
    assert not engine.capabilities.is_local
    assert local.pid is None, "its memory is free"
    (tmp_path / "bad.gguf").write_text("no model")
    with pytest.raises(ModelUnreadable):
        await load(engine, tmp_path / "bad.gguf")
    assert engine.model is None, "what was meant for a model here must not go to a server instead"
    assert "llama-cpp-python" in (await engine.report()).library_version


async def test_a_load_of_a_server_that_is_gone_keeps_the_model_that_is_here(tmp_path: Path):
    here = write_chain(tmp_path / "here.gguf", [b" here"], name="here")
    engine = EitherEngine(LocalEngine(), RemoteEngine({"mine": ServerSettings(base_url="http://127.0.0.1:9")}))
    await load(engine, here)
    with pytest.raises(ServerUnreachable):
        await first(engine.load(REMOTE, LoadOptions()), lambda _: False)
    assert (await ask(engine, "who?", GREEDY)).text == " here"
    await engine.close()


def ask_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run("ask", "count", "--temperature", "0", *arguments)


def test_ask_takes_a_model_of_a_server(speaker: str):
    save(paths.settings_file(), {"servers": {"mine": {"base_url": speaker}}})
    done = ask_command("--model", "mine:tiny")
    assert (done.returncode, done.stdout, done.stderr) == (0, " one two three", "")
    save(paths.settings_file(), {"chat": {"model": "mine:tiny"}})
    assert ask_command().stdout == " one two three"
    assert ask_command("--model", "mine:other").returncode == 0, "a server may know more than it lists"
