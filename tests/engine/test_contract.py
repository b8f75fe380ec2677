"""What every engine promises, held by each of them: the local one, the one for servers on a real server, the scripted one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio
from support.engines import GREEDY, ask, ask_until, user
from support.llama_server import llama_server
from support.tiny_models import write_chain

from chatterm.address import Address, RemoteModel
from chatterm.engine.base import Engine
from chatterm.engine.local import LocalEngine
from chatterm.engine.remote import RemoteEngine
from chatterm.engine.scripted import ScriptedEngine
from chatterm.errors import ModelNotFound
from chatterm.events import Finished, FinishReason, Loaded, Measured, Prompted, Token
from chatterm.settings import LoadOptions, Sampling, ServerSettings

WORDS = [b" one", b" two", b" three", b" four"]
SAID = " one two three four"
Kind = Literal["local", "remote", "scripted"]
KINDS: tuple[Kind, ...] = ("local", "remote", "scripted")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that says the same words each time."""
    return write_chain(tmp_path_factory.mktemp("contract") / "chain.gguf", WORDS)


@pytest.fixture(scope="module")
def server(chain: Path) -> Iterator[str]:
    """The same model on a real server."""
    with llama_server(chain, chain.with_name("log")) as url:
        yield url


@pytest_asyncio.fixture(params=KINDS)
async def pair(request: pytest.FixtureRequest, chain: Path) -> AsyncIterator[tuple[Engine, Address]]:
    """An engine with nothing loaded, and the address of the model."""
    engine: Engine
    address: Address = chain
    match request.param:
        case "local":
            engine = LocalEngine()
        case "remote":
            engine = RemoteEngine({"mine": ServerSettings(base_url=request.getfixturevalue("server"))})
            address = RemoteModel("mine", "tiny")
        case _:
            engine = ScriptedEngine(SAID)
    yield engine, address
    await engine.close()


@pytest_asyncio.fixture
async def engine(pair: tuple[Engine, Address]) -> Engine:
    """An engine that has the model."""
    await load(*pair)
    return pair[0]


async def load(engine: Engine, address: Address) -> Loaded:
    events = [event async for event in engine.load(address, LoadOptions(n_ctx=512, n_threads=1))]
    assert isinstance(events[-1], Loaded)
    return events[-1]


async def test_nothing_is_answered_before_a_model_is_loaded(pair: tuple[Engine, Address]):
    assert pair[0].model is None
    with pytest.raises(ModelNotFound):
        await ask(pair[0], "count")


async def test_a_load_ends_with_what_was_loaded(pair: tuple[Engine, Address]):
    loaded = await load(*pair)
    assert pair[0].model == loaded.model
    assert str(pair[1]) in (loaded.model.address, loaded.model.path)
    await pair[0].unload()
    assert pair[0].model is None


async def test_a_reply_is_told_in_order_and_ends_once(engine: Engine):
    reply = await ask(engine, "count")
    assert reply.text == SAID
    kinds = [type(event) for event in reply.events]
    assert kinds.index(Prompted) < kinds.index(Token)
    assert kinds[-1] is Finished
    assert kinds.count(Finished) == kinds.count(Prompted) == 1
    assert reply.finished.reason is FinishReason.END
    assert reply.finished.n_generated >= len(WORDS)


async def test_the_longest_reply_is_kept_to(engine: Engine):
    if isinstance(engine, ScriptedEngine):
        pytest.skip("a script is said whole")
    reply = await ask(engine, "count", Sampling(temperature=0, max_tokens=2))
    assert (reply.text, reply.finished.reason) == (" one two", FinishReason.LENGTH)


async def test_a_stop_string_ends_the_reply_before_it(engine: Engine):
    if isinstance(engine, ScriptedEngine):
        pytest.skip("a script is said whole")
    reply = await ask(engine, "count", Sampling(temperature=0, stop=(" three",)))
    assert reply.text.rstrip() == " one two"
    assert reply.finished.reason in (FinishReason.STOP, FinishReason.END)  # servers call both the same


async def test_closing_the_iterator_stops_and_the_next_question_is_answered(engine: Engine):
    for _ in range(3):
        reply = await ask_until(engine, user("count"), GREEDY, lambda event: isinstance(event, Token))
        assert len(reply.of(Token)) == 1
        assert not reply.of(Finished)
    assert (await ask(engine, "again")).text == SAID


async def test_a_conversation_goes_on(engine: Engine):
    assert (await ask(engine, user("count", SAID, "again", system="Be brief."))).text == SAID


async def test_measuring_changes_no_token_and_tells_no_more_than_is_known(engine: Engine):
    plain = await ask(engine, "count")
    async with aclosing(engine.reply(user("count"), GREEDY, measure=True)) as events:
        measured = [event async for event in events]
    assert "".join(event.text for event in measured if isinstance(event, Token)) == plain.text
    found = [event for event in measured if isinstance(event, Measured)]
    if not engine.capabilities.why_not("probabilities"):
        assert len(found) >= len(WORDS)
        assert all(event.probability is None or 0 <= event.probability <= 1 for event in found)


async def test_what_an_engine_cannot_tell_it_says_in_a_sentence(engine: Engine):
    for measure, why in engine.capabilities.missing.items():
        assert why.endswith("."), measure
        assert engine.capabilities.why_not(measure) == why


async def test_an_engine_can_be_closed_twice(engine: Engine):
    await engine.close()
    await engine.close()
