"""Whatever kills a process, the next one finds all that was saved, and knows what was cut."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from chatterm.conversation import ReplyRecord, Turn, TurnState
from chatterm.store import Store

ROOT = Path(__file__).resolve().parents[2]

WRITER = """
import asyncio, pathlib, sys
from chatterm.chat import Chat, TurnAdded
from chatterm.conversation import Role
from chatterm.engine.scripted import ScriptedEngine
from chatterm.events import ModelInfo
from chatterm.settings import Settings
from chatterm.store import Store

class TellingStore(Store):
    async def write_reply(self, turn_id, text, *rest):
        await super().write_reply(turn_id, text, *rest)
        print("saved", turn_id, len(text), flush=True)

async def main():
    store = await TellingStore.open(pathlib.Path(sys.argv[1]))
    engine = ScriptedEngine(" ".join(map(str, range(200))), model=ModelInfo("m.gguf", "m"), tokens_per_second=2000)
    for number in range(1000):
        chat = Chat(store, engine, Settings(), flush_seconds=0)
        async for event in chat.reply(f"question {number}"):
            if isinstance(event, TurnAdded):
                print("asked" if event.turn.role is Role.USER else "begun", event.turn.id, 0, flush=True)

asyncio.run(main())
"""
WHOLE_REPLY = " ".join(map(str, range(200)))


def write_until_killed(path: Path, n_lines: int) -> list[tuple[str, int, int]]:
    """What a process says that it has saved, until it is killed after so many lines."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(n_lines)]
    process.send_signal(signal.SIGKILL)
    lines += process.stdout.readlines()  # what was said between the last line and the end
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL, lines
    complete = [line.split() for line in lines if line.endswith("\n")]
    return [(what, int(turn_id), int(length)) for what, turn_id, length in complete]


async def all_turns(store: Store) -> dict[int, Turn]:
    conversations = await store.conversations(limit=10_000)
    return {turn.id: turn for c in conversations for turn in await store.turns(c.id)}


@pytest.mark.parametrize("seed", range(8))
async def test_a_killed_process_loses_nothing_that_was_saved(path: Path, seed: int) -> None:
    said = write_until_killed(path, random.Random(seed).randrange(1, 120))
    store = await Store.open(path)
    turns = await all_turns(store)
    for what, turn_id, length in said:
        assert turn_id in turns, what
        assert len(turns[turn_id].text) >= length
    for turn in turns.values():
        assert turn.state is not TurnState.WRITING
        if turn.record is not None:
            assert WHOLE_REPLY.startswith(turn.text)
            assert turn.record.model_name == "m"
            assert turn.state is TurnState.INTERRUPTED or turn.text == WHOLE_REPLY
    assert sum(turn.state is TurnState.INTERRUPTED for turn in turns.values()) <= 1
    await store.close()
    assert list(path.parent.iterdir()) == [path]  # also the lock of the dead is gone
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT count(*) FROM turns WHERE owner IS NOT NULL OR state = 'writing'").fetchone() == (
            0,
        )


async def test_a_reply_of_a_living_process_is_left_alone(path: Path) -> None:
    mine = await Store.open(path)
    conversation, question = await mine.start("Still there?")
    reply = await mine.begin_reply(conversation.id, question.id, ReplyRecord())

    theirs = await Store.open(path)
    assert (await theirs.turns(conversation.id))[-1].state is TurnState.WRITING
    await mine.write_reply(reply.id, "Yes", "")
    assert (await theirs.branch(reply.id))[-1].text == "Yes"
    await mine.finish_reply(reply.id, TurnState.FINISHED, "Yes.", "", ReplyRecord())
    assert (await theirs.branch(reply.id))[-1].state is TurnState.FINISHED
    await theirs.close()
    await mine.close()


async def test_a_process_that_dies_meanwhile_is_noticed_when_its_conversation_is_opened(path: Path) -> None:
    code = (
        "import asyncio, pathlib, sys\n"
        "from chatterm.conversation import ReplyRecord\n"
        "from chatterm.store import Store\n"
        "async def main():\n"
        "    store = await Store.open(pathlib.Path(sys.argv[1]))\n"
        "    conversation, question = await store.start('q')\n"
        "    reply = await store.begin_reply(conversation.id, question.id, ReplyRecord())\n"
        "    await store.write_reply(reply.id, 'so far', '')\n"
        "    print(conversation.id, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    conversation_id = int(process.stdout.readline())
    store = await Store.open(path)
    assert (await store.turns(conversation_id))[-1].state is TurnState.WRITING
    process.kill()
    process.wait()
    process.stdout.close()
    reply = (await store.turns(conversation_id))[-1]
    assert (reply.state, reply.text) == (TurnState.INTERRUPTED, "so far")
    await store.close()


async def test_a_store_that_is_closed_too_early_leaves_no_reply_open(path: Path) -> None:
    store = await Store.open(path)
    conversation, question = await store.start("q")
    await store.begin_reply(conversation.id, question.id, ReplyRecord())
    await store.close()
    store = await Store.open(path)
    assert (await store.turns(conversation.id))[-1].state is TurnState.INTERRUPTED
    await store.close()


async def test_what_a_killed_process_had_deleted_is_purged_by_the_next_one(path: Path) -> None:
    code = (
        "import asyncio, os, pathlib, sys\n"
        "from chatterm.store import Store\n"
        "async def main():\n"
        "    store = await Store.open(pathlib.Path(sys.argv[1]))\n"
        "    conversation, _ = await store.start('secret words')\n"
        "    await store.delete(conversation.id)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False, cwd=ROOT).returncode == -9
    store = await Store.open(path)
    assert await store.conversations() == []
    await store.close()
    store = await Store.open(path)
    assert await store.turns(1) == []
    await store.close()


WRITES_MUCH = """
import asyncio, pathlib, sys
from chatterm.conversation import ReplyRecord, TurnState
from chatterm.store import Store

async def main():
    store = await Store.open(pathlib.Path(sys.argv[1]))
    for number in range(25):
        conversation, question = await store.start(f"{sys.argv[2]} asks {number}")
        reply = await store.begin_reply(conversation.id, question.id, ReplyRecord())
        await store.write_reply(reply.id, "half", "")
        await store.finish_reply(reply.id, TurnState.FINISHED, "whole", "", ReplyRecord())
    await store.close()

asyncio.run(main())
"""


async def test_two_processes_write_to_one_new_store_at_the_same_time(path: Path) -> None:
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", WRITES_MUCH, str(path), name, cwd=ROOT)
        for name in ("one", "two", "three")
    ]
    assert [await process.wait() for process in processes] == [0, 0, 0]
    store = await Store.open(path)
    turns = (await all_turns(store)).values()
    for name in ("one", "two", "three"):
        questions = [turn.text for turn in turns if turn.text.startswith(name)]
        assert questions == [f"{name} asks {number}" for number in reversed(range(25))]
    assert sum((turn.text, turn.state) == ("whole", TurnState.FINISHED) for turn in turns) == 75
    await store.close()
    assert os.listdir(path.parent) == [path.name]  # noqa: PTH208
