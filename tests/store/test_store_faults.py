"""What the store says, and what it still does, when its file fails."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.small_disk import mounted

from chatterm.conversation import ReplyRecord, TurnState
from chatterm.errors import StoreDamaged, StoreFull, StoreLocked, StoreReadOnly
from chatterm.store import Store

SHORT = 0.05


@contextmanager
def locked(path: Path, statement: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """Another program writes, and does not end."""
    other = sqlite3.connect(path, isolation_level=None)
    if statement == "exclusive":
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE conversations SET title = title")
        other.execute("COMMIT")
    else:
        other.execute(statement)
    yield
    other.close()


def crashed_while_open(path: Path) -> None:
    """Leave a store behind as a killed process does: what it said last is only in the log."""
    code = (
        "import asyncio, os, sys, pathlib\n"
        "from chatterm.store import Store\n"
        "async def main():\n"
        "    store = await Store.open(pathlib.Path(sys.argv[1]))\n"
        "    await store.start('said last')\n"
        "    os._exit(9)\n"
        "asyncio.run(main())"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 9


async def titles(store: Store) -> list[str]:
    return [conversation.title for conversation in await store.conversations()]


async def test_a_locked_store_can_be_read_and_says_what_keeps_it_from_writing(path: Path) -> None:
    store = await Store.open(path, timeout_seconds=SHORT)
    conversation, _ = await store.start("before")
    with locked(path):
        with pytest.raises(StoreLocked, match=r"conversations\.db locked"):
            await store.start("meanwhile")
        assert await titles(store) == ["before"]
    await store.rename(conversation.id, "after")
    assert await titles(store) == ["after"]
    await store.close()


async def test_a_store_opens_while_another_program_writes(path: Path) -> None:
    store = await Store.open(path)
    await store.start("before")
    await store.close()
    with locked(path):
        store = await Store.open(path, timeout_seconds=SHORT)
        assert await titles(store) == ["before"]
        assert not store.read_only_reason
    await store.start("after")
    await store.close()


async def test_a_store_that_shuts_all_others_out_is_said_to_be_locked(path: Path) -> None:
    await (await Store.open(path)).close()
    with locked(path, "exclusive"), pytest.raises(StoreLocked):
        await Store.open(path, timeout_seconds=SHORT)
    await (await Store.open(path)).close()


async def refuses_to_save(store: Store) -> None:
    for attempt in (store.start("new"), store.rename(1, "x"), store.delete(1), store.remember("a", 1)):
        with pytest.raises(StoreReadOnly):
            await attempt


async def test_a_read_only_disk_leaves_all_to_be_read(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 2000) as disk:
        path = disk.folder / "conversations.db"
        store = await Store.open(path)
        await store.start("old")
        await store.close()
        with disk.read_only():
            store = await Store.open(path)
            assert "cannot be written" in store.read_only_reason
            assert await titles(store) == ["old"]
            await refuses_to_save(store)
            await store.close()
        store = await Store.open(path)
        assert store.read_only_reason == ""
        await store.start("new")
        await store.close()


@pytest.mark.parametrize("index_is_left", [True, False])
async def test_a_read_only_disk_leaves_what_a_crash_left_in_the_log_to_be_read(
    tmp_path: Path, index_is_left: bool
) -> None:
    with mounted(tmp_path / "disk", 2000) as disk:
        path = disk.folder / "conversations.db"
        await (await Store.open(path)).close()
        crashed_while_open(path)
        if not index_is_left:
            path.with_name("conversations.db-shm").unlink()
        before = path.read_bytes()
        with disk.read_only():
            store = await Store.open(path)
            assert await titles(store) == ["said last"]
            await refuses_to_save(store)
            await store.close()
        assert path.read_bytes() == before


async def test_a_read_only_disk_without_a_store_gives_an_empty_one(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 300) as disk, disk.read_only():
        store = await Store.open(disk.folder / "deeper" / "conversations.db")
        assert store.read_only_reason
        assert await titles(store) == []
        await refuses_to_save(store)
        await store.close()


async def test_a_file_without_the_right_to_write_leaves_all_to_be_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await Store.open(path)
    await store.start("old")
    await store.close()
    if os.geteuid() == 0:  # root may write whatever the bits say
        monkeypatch.setattr("os.access", lambda place, mode: False)
    else:
        path.chmod(0o400)
    store = await Store.open(path)
    assert await titles(store) == ["old"]
    await refuses_to_save(store)
    await store.close()


async def test_a_full_disk_loses_nothing_that_was_saved_and_goes_on_when_there_is_space(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 400) as disk:
        path = disk.folder / "conversations.db"
        store = await Store.open(path)
        conversation, question = await store.start("before")
        reply = await store.begin_reply(conversation.id, question.id, ReplyRecord())
        disk.fill()
        with pytest.raises(StoreFull, match="is full"):
            await store.write_reply(reply.id, "x" * 50_000, "")
        assert await titles(store) == ["before"]
        disk.clear()
        await store.finish_reply(reply.id, TurnState.FINISHED, "x" * 50_000, "", ReplyRecord())
        await store.close()
        store = await Store.open(path)
        assert [turn.text for turn in await store.turns(conversation.id)] == ["before", "x" * 50_000]
        await store.close()


async def test_a_log_on_a_full_disk_is_written_back_to_make_room(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 1000) as disk:
        path = disk.folder / "conversations.db"
        store = await Store.open(path)
        conversation, question = await store.start("long")
        reply = await store.begin_reply(conversation.id, question.id, ReplyRecord())
        await store.write_reply(reply.id, "a" * 100_000, "")
        await store.close()
        store = await Store.open(path)
        await store.write_reply(reply.id, "b" * 100_000, "")
        disk.fill()
        await store.write_reply(reply.id, "c" * 90_000, "")
        assert (await store.turns(conversation.id))[1].text == "c" * 90_000
        await store.close()


async def test_the_log_does_not_grow_without_end(store: Store) -> None:
    conversation, question = await store.start("long")
    reply = await store.begin_reply(conversation.id, question.id, ReplyRecord())
    for n in range(100):
        await store.write_reply(reply.id, f"{n:02}" * 20_000, "")
    log = store.path.with_name(f"{store.path.name}-wal")
    assert log.stat().st_size < 2_000_000


async def test_a_store_on_a_full_disk_opens_to_be_read(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 400) as disk:
        path = disk.folder / "conversations.db"
        store = await Store.open(path)
        await store.start("old")
        await store.close()
        disk.fill()
        store = await Store.open(path)
        assert "full" in store.read_only_reason
        assert await titles(store) == ["old"]
        await store.close()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"This is not a database. " * 100, "damaged"),
        (b"SQLite format 3\0" + bytes(range(256)) * 40, "damaged"),
    ],
)
async def test_a_damaged_file_is_named_and_left_alone(path: Path, content: bytes, reason: str) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StoreDamaged, match=reason) as caught:
        await Store.open(path)
    assert str(path) in str(caught.value)
    assert "move it out of the way" in caught.value.remedy
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


async def test_damage_in_the_middle_is_said_when_it_is_met(path: Path) -> None:
    store = await Store.open(path)
    conversation, _ = await store.start("x" * 200_000)
    await store.close()
    content = bytearray(path.read_bytes())
    for page in range(len(content) // 8192 * 4096, len(content), 4096):  # the long text, not the tables
        content[page : page + 100] = b"\xff" * 100
    path.write_bytes(content)
    store = await Store.open(path)
    with pytest.raises(StoreDamaged):
        await store.turns(conversation.id)
    await store.close()
    assert path.read_bytes() == bytes(content)


async def test_another_programs_database_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE bookmarks (url TEXT)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreDamaged, match="another program"):
        await Store.open(path)
    assert path.read_bytes() == before


async def test_a_newer_chatterms_store_is_left_alone(path: Path) -> None:
    await (await Store.open(path)).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 1000")
    newer.close()
    before = path.read_bytes()
    with pytest.raises(StoreDamaged, match="newer chatterm"):
        await Store.open(path)
    assert path.read_bytes() == before


async def test_a_folder_in_the_place_of_the_file_is_named(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StoreDamaged, match="is a folder"):
        await Store.open(path)
