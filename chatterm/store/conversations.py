"""What is asked of the tables of conversations, as functions over a connection.

Each runs inside a transaction that its caller has opened.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from chatterm.conversation import Conversation
from chatterm.errors import NotFound
from chatterm.store.rows import CONVERSATION, clean, conversation_from, json_of, one_line, title_of

if TYPE_CHECKING:
    from sqlite3 import Connection


def listed(connection: Connection, limit: int, offset: int, title_contains: str) -> list[Conversation]:
    """Conversations that are not deleted, newest first."""
    where, values = "deleted_at IS NULL", []
    if needle := clean(title_contains).casefold().strip():
        where, values = f"{where} AND instr(casefold(title), ?)", [needle]
    rows = connection.execute(
        f"SELECT {CONVERSATION} FROM conversations WHERE {where} ORDER BY updated_at DESC, id DESC LIMIT ? OFFSET ?",
        (*values, limit, offset),
    )
    return [conversation_from(row) for row in rows]


def one(connection: Connection, id: int) -> Conversation:
    """A conversation, also one that is deleted but not yet purged."""
    row = connection.execute(f"SELECT {CONVERSATION} FROM conversations WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise NotFound("The conversation is gone.", "Perhaps another chatterm has deleted it.")
    return conversation_from(row)


def add(connection: Connection, title: str, overrides: Mapping[str, Any]) -> Conversation:
    """A new conversation."""
    now = time.time()
    cursor = connection.execute(
        "INSERT INTO conversations (title, created_at, updated_at, overrides) VALUES (?, ?, ?, ?)",
        (one_line(title), now, now, json_of(overrides)),
    )
    assert cursor.lastrowid is not None
    return one(connection, cursor.lastrowid)


def rename(connection: Connection, id: int, title: str) -> Conversation:
    """A conversation under another title; an empty one is derived from the first question again."""
    title = one_line(title)
    if not title:
        first = connection.execute(
            "SELECT text FROM turns WHERE conversation_id = ? AND role = 'user' ORDER BY id LIMIT 1", (id,)
        ).fetchone()
        title = title_of(first[0]) if first else ""
    return _updated(connection, id, "title", title)


def override(connection: Connection, id: int, overrides: Mapping[str, Any]) -> Conversation:
    """A conversation with other settings of its own."""
    return _updated(connection, id, "overrides", json_of(overrides))


def set_head(connection: Connection, id: int, turn_id: int | None) -> None:
    """Open another branch."""
    _updated(connection, id, "head_id", turn_id)


def delete(connection: Connection, id: int, owner: str) -> None:
    """Hide a conversation until it is restored, or purged when its owner closes."""
    connection.execute(
        "UPDATE conversations SET deleted_at = ?, deleted_by = ? WHERE id = ? AND deleted_at IS NULL",
        (time.time(), owner, id),
    )


def restore(connection: Connection, id: int) -> Conversation:
    """Take a deletion back."""
    connection.execute("UPDATE conversations SET deleted_at = NULL, deleted_by = NULL WHERE id = ?", (id,))
    return one(connection, id)


def deleters(connection: Connection) -> list[str]:
    """Owners that have deleted something which is not purged yet."""
    return [
        owner
        for (owner,) in connection.execute("SELECT DISTINCT deleted_by FROM conversations WHERE deleted_by IS NOT NULL")
    ]


def purge(connection: Connection, owners: Iterable[str]) -> None:
    """Remove for good what these owners have deleted."""
    connection.executemany("DELETE FROM conversations WHERE deleted_by = ?", [(owner,) for owner in owners])


def recall(connection: Connection, key: str) -> Any:
    """What was remembered under a key; None for nothing."""
    row = connection.execute("SELECT value FROM memory WHERE key = ?", (clean(key),)).fetchone()
    return msgspec.json.decode(row[0]) if row else None


def remember(connection: Connection, key: str, value: Any) -> None:
    """Keep a value under a key."""
    connection.execute("INSERT OR REPLACE INTO memory VALUES (?, ?)", (clean(key), json_of(value)))


def _updated(connection: Connection, id: int, column: str, value: Any) -> Conversation:
    connection.execute(f"UPDATE conversations SET {column} = ? WHERE id = ?", (value, id))
    return one(connection, id)
