"""Who is alive is told by locks, which the system frees however a process ends."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from chatterm.store.owners import Owner


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "conversations.db"


def test_an_owner_is_alive_until_it_is_released(database: Path) -> None:
    mine, other = Owner(database), Owner(database)
    mine.take()
    other.take()
    assert mine.name != other.name
    assert mine.is_alive(mine.name)
    assert other.is_alive(mine.name)
    mine.release()
    assert not other.is_alive(mine.name)
    other.release()
    assert list(database.parent.iterdir()) == []


def test_a_file_without_its_lock_is_a_dead_owners(database: Path) -> None:
    left_behind = database.with_name("conversations.db-owner-0123456789abcdef")
    left_behind.touch()
    unrelated = database.with_name("conversations.db-wal")
    unrelated.touch()
    mine = Owner(database)
    mine.take()
    assert not mine.is_alive("0123456789abcdef")
    mine.sweep()
    assert not left_behind.exists()
    assert unrelated.exists()
    assert mine.is_alive(mine.name)
    mine.release()


def test_an_owner_that_is_swept_away_before_it_is_locked_takes_another_name(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, swept = fcntl.flock, []

    def swept_first(handle: int, kind: int) -> None:
        if not swept:
            swept.extend(database.parent.iterdir())
            swept[0].unlink()
        lock(handle, kind)

    monkeypatch.setattr("fcntl.flock", swept_first)
    mine, other = Owner(database), Owner(database)
    mine.take()
    assert not swept[0].exists()
    assert other.is_alive(mine.name)
    mine.release()


def test_an_owner_that_cannot_have_a_lock_goes_on_without(tmp_path: Path) -> None:
    mine = Owner(tmp_path / "not there" / "conversations.db")
    mine.take()
    assert mine.is_alive(mine.name)
    mine.release()
