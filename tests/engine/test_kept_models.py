"""Promises about models that stay loaded: they are back at once, and go when their memory is needed."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import psutil
import pytest
import pytest_asyncio
from support.engines import ask, load, loaded, signal_worker
from support.tiny_models import write_chain

from chatterm.address import RemoteModel
from chatterm.engine.either import EitherEngine
from chatterm.engine.kept import KeptModels
from chatterm.engine.local import LocalEngine
from chatterm.engine.scripted import ScriptedEngine
from chatterm.events import Loaded, Loading
from chatterm.settings import LoadOptions

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return write_chain(tmp_path / "one.gguf", ["one"])


@pytest.fixture
def two(tmp_path: Path) -> Path:
    return write_chain(tmp_path / "two.gguf", ["two"])


@pytest_asyncio.fixture(loop_scope="module")
async def pids(own_engine: LocalEngine) -> AsyncIterator[set[int]]:
    """Collects processes; none of them may be left when the engine is closed."""
    seen: set[int] = set()
    yield seen
    await own_engine.close()
    assert not any(map(is_alive, seen)), "nothing outlives the engine"


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def change_to(engine: LocalEngine, path: Path, pids: set[int], **options: object) -> int:
    """Load, and the process that has the model."""
    await loaded(engine, path, **options)
    assert engine.pid is not None
    pids.add(engine.pid)
    return engine.pid


async def test_a_model_that_stays_is_back_at_once_and_remembers(
    own_engine: LocalEngine, one: Path, two: Path, pids: set[int]
) -> None:
    first = await change_to(own_engine, one, pids, keep_loaded=True)
    assert (await ask(own_engine, "Say it, please.")).text == "one"
    second = await change_to(own_engine, two, pids)
    assert second != first
    assert is_alive(first)
    assert (await ask(own_engine, "Say it, please.")).text == "two"
    events = await load(own_engine, one, keep_loaded=True)
    assert [type(event) for event in events] == [Loading, Loaded], "nothing was read"
    assert own_engine.pid == first
    assert not is_alive(second), "the other one was not to stay"
    reply = await ask(own_engine, "Say it, please.")
    assert (reply.text, reply.prompted.n_reused > 0) == ("one", True)
    worker = own_engine._worker
    assert worker
    signal_worker(own_engine, signal.SIGKILL)
    await worker.ended.wait()
    assert own_engine.model is None, "its end is noticed as that of any other"


async def test_without_the_wish_nothing_stays(own_engine: LocalEngine, one: Path, two: Path, pids: set[int]) -> None:
    first = await change_to(own_engine, one, pids)
    assert await change_to(own_engine, two, pids) == first, "the same process, which has freed the other model"


async def test_several_stay(own_engine: LocalEngine, one: Path, two: Path, pids: set[int]) -> None:
    first = await change_to(own_engine, one, pids, keep_loaded=True)
    second = await change_to(own_engine, two, pids, keep_loaded=True)
    assert await change_to(own_engine, one, pids, keep_loaded=True) == first
    assert await change_to(own_engine, two, pids, keep_loaded=True) == second


async def test_one_that_is_wanted_otherwise_or_has_changed_is_loaded_anew(
    own_engine: LocalEngine, one: Path, two: Path, pids: set[int]
) -> None:
    first = await change_to(own_engine, one, pids, keep_loaded=True)
    await change_to(own_engine, two, pids)
    again = await change_to(own_engine, one, pids, keep_loaded=True, n_ctx=256)
    assert again != first
    assert not is_alive(first)
    await change_to(own_engine, two, pids)
    write_chain(one, ["new"])
    os.utime(one, (1, 1))
    await change_to(own_engine, one, pids, keep_loaded=True, n_ctx=256)
    assert (await ask(own_engine, "Say it.")).text == "new"


async def test_one_whose_process_has_died_is_loaded_anew(
    own_engine: LocalEngine, one: Path, two: Path, pids: set[int]
) -> None:
    first = await change_to(own_engine, one, pids, keep_loaded=True)
    worker = own_engine._worker
    assert worker
    await change_to(own_engine, two, pids)
    os.kill(first, signal.SIGKILL)
    await worker.ended.wait()
    assert (await ask(own_engine, "Say it.")).text == "two", "nobody else notices"
    await change_to(own_engine, one, pids, keep_loaded=True)
    assert (await ask(own_engine, "Say it.")).text == "one"


async def test_one_that_answers_can_die_and_the_other_one_is_still_there(
    own_engine: LocalEngine, one: Path, two: Path, pids: set[int]
) -> None:
    first = await change_to(own_engine, one, pids, keep_loaded=True)
    await change_to(own_engine, two, pids)
    worker = own_engine._worker
    assert worker
    signal_worker(own_engine, signal.SIGKILL)
    await worker.ended.wait()
    assert await change_to(own_engine, one, pids, keep_loaded=True) == first
    assert (await ask(own_engine, "Say it.")).text == "one"


async def test_a_model_stays_while_a_server_answers(own_engine: LocalEngine, one: Path, pids: set[int]) -> None:
    engine, options = (
        EitherEngine(own_engine, ScriptedEngine("Hi.")),
        LoadOptions(n_ctx=512, n_threads=1, keep_loaded=True),
    )

    async def change(address: Path | RemoteModel) -> None:
        async for _ in engine.load(address, options):
            pass

    await change(one)
    first = own_engine.pid
    assert first
    pids.add(first)
    await change(RemoteModel("there", "large"))
    assert engine.model
    assert engine.model.name == "there:large"
    assert is_alive(first)
    await change(one)
    assert own_engine.pid == first


async def test_they_go_oldest_first_when_memory_is_needed(own_engine: LocalEngine, one: Path) -> None:
    """Each of them is said to hold a billion bytes, and the next model needs a billion and a half."""
    kept = KeptModels(free=lambda: 3_000_000_000 - 1_000_000_000 * len(kept.names))
    await loaded(own_engine, one)
    model, worker = own_engine.model, own_engine._worker
    assert model
    assert worker
    for name in ("oldest", "newest"):
        kept.keep(one, LoadOptions(), msgspec.structs.replace(model, name=name), worker)
    large = one.with_name("large.gguf")
    with large.open("wb") as file:
        file.truncate(900_000_000)
    assert await kept.make_room(large)
    assert kept.names == ["newest"]
    assert not await KeptModels(free=lambda: 1_000_000_000).make_room(large)


async def test_all_parts_of_a_model_are_counted(tmp_path: Path) -> None:
    for i in (1, 2):
        with (tmp_path / f"large-0000{i}-of-00002.gguf").open("wb") as file:
            file.truncate(1_000_000_000)
    first = tmp_path / "large-00001-of-00002.gguf"
    assert await KeptModels(free=lambda: 3_000_000_000).make_room(first)
    assert not await KeptModels(free=lambda: 2_500_000_000).make_room(first)
