"""A store of any older version opens as one of today's, with all that is in it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from support.small_disk import mounted

from chatterm.conversation import Role, TurnState
from chatterm.errors import StoreReadOnly
from chatterm.store import Store
from chatterm.store.migrations import MIGRATIONS

SAMPLES = Path(__file__).parent / "samples"

ADD_STARS = ("ALTER TABLE conversations ADD COLUMN stars INTEGER NOT NULL DEFAULT 0",)
ADD_TAGS = ("CREATE TABLE tags (name TEXT)", "INSERT INTO tags VALUES ('first')")


def build(path: Path, version: int) -> Path:
    """A store as that version of chatterm left it, from a script that is never changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript((SAMPLES / f"version_{version}.sql").read_text(encoding="utf-8"))
    connection.close()
    return path


def ask(path: Path, question: str) -> object:
    connection = sqlite3.connect(path)
    answer = connection.execute(question).fetchone()
    connection.close()
    return answer


def structure(path: Path) -> list[tuple[str, str, str]]:
    """All tables and indexes, with their statements single-spaced."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master").fetchall()
    connection.close()
    return sorted((kind, name, " ".join(sql.split())) for kind, name, sql in rows if "stat" not in name)


async def test_there_is_a_sample_of_every_version() -> None:
    assert [(SAMPLES / f"version_{n + 1}.sql").exists() for n in range(len(MIGRATIONS))] == [True] * len(MIGRATIONS)


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
async def test_an_old_store_opens_with_all_that_is_in_it(path: Path, version: int) -> None:
    store = await Store.open(build(path, version))
    newest, older = await store.conversations()
    assert (newest.title, newest.overrides) == ("Zweite", {"sampling": {"temperature": 0.5}})
    branch = await store.branch(older.head_id)
    assert [(turn.role, turn.text) for turn in branch] == [(Role.USER, "First?"), (Role.ASSISTANT, "Answer two.")]
    assert branch[-1].record is not None
    assert (branch[-1].record.model_name, branch[-1].record.seed) == ("Tiny", 42)
    assert (await store.turns(newest.id))[-1].state is TurnState.INTERRUPTED
    assert await store.recall("sidebar") == {"width": 30}
    await store.add_question(older.id, older.head_id, "And on it goes")
    await store.close()
    assert ask(path, "PRAGMA user_version") == (len(MIGRATIONS),)
    assert ask(path, "PRAGMA integrity_check") == ("ok",)


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
async def test_an_old_store_becomes_the_same_as_a_new_one(tmp_path: Path, version: int) -> None:
    new, old = tmp_path / "new.db", build(tmp_path / "old.db", version)
    for path in (new, old):
        await (await Store.open(path)).close()
    assert structure(old) == structure(new)


async def test_steps_are_taken_in_order_and_once(path: Path) -> None:
    build(path, 1)
    for migrations in (
        [*MIGRATIONS, ADD_STARS],
        [*MIGRATIONS, ADD_STARS, ADD_TAGS],
        [*MIGRATIONS, ADD_STARS, ADD_TAGS],
    ):
        store = await Store.open(path, migrations=migrations)
        assert len(await store.conversations()) == 2
        await store.close()
        assert ask(path, "PRAGMA user_version") == (len(migrations),)
    assert ask(path, "SELECT count(*) FROM tags") == (1,)


async def test_a_step_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    build(path, 1)
    with pytest.raises(sqlite3.OperationalError):
        await Store.open(path, migrations=[*MIGRATIONS, ADD_STARS, ("CREATE TABLE half (x)", "not SQL")])
    assert ask(path, "PRAGMA user_version") == (1,)
    assert ask(path, "SELECT count(*) FROM sqlite_master WHERE name = 'half'") == (0,)
    store = await Store.open(path)
    assert len(await store.conversations()) == 2
    await store.close()


async def test_an_old_store_on_a_read_only_disk_is_read_all_the_same(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 2000) as disk:
        path = build(disk.folder / "conversations.db", 1)
        with disk.read_only():
            store = await Store.open(path, migrations=[*MIGRATIONS, ADD_STARS])
            assert [c.title for c in await store.conversations()] == ["Zweite", "First?"]
            with pytest.raises(StoreReadOnly):
                await store.start("new")
            await store.close()
