"""What is asked of the table of turns, as functions over a connection.

Each runs inside a transaction that its caller has opened. A reply that is being written has an
owner; one whose owner is dead was interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from chatterm.conversation import Conversation, ReplyRecord, Role, Turn, TurnState
from chatterm.errors import NotFound, TurnKept
from chatterm.store import conversations
from chatterm.store.rows import TURN, clean, json_of, title_of, turn_from

if TYPE_CHECKING:
    from sqlite3 import Connection

IsAlive = Callable[[str], bool]
"""Whether the owner of a name still writes."""

# The path from a leaf to its root, found one parent at a time; UNION ends it should it ever be a ring.
_BRANCH = f"""
    WITH RECURSIVE path (id, parent_id) AS (
        SELECT id, parent_id FROM turns WHERE id = ?
        UNION
        SELECT turns.id, turns.parent_id FROM turns JOIN path ON turns.id = path.parent_id
    )
    SELECT {TURN} FROM turns WHERE id IN (SELECT id FROM path) ORDER BY id
"""

_NEWEST_LEAF = """
    WITH RECURSIVE below (id) AS (
        SELECT ?
        UNION
        SELECT turns.id FROM turns JOIN below ON turns.parent_id = below.id WHERE turns.conversation_id = ?
    )
    SELECT max(id) FROM below
"""


def tree(connection: Connection, conversation_id: int, is_alive: IsAlive) -> list[Turn]:
    """All turns of a conversation, oldest first."""
    rows = connection.execute(f"SELECT {TURN} FROM turns WHERE conversation_id = ? ORDER BY id", (conversation_id,))
    return _as_they_are(rows, is_alive)


def branch(connection: Connection, leaf_id: int | None, is_alive: IsAlive) -> list[Turn]:
    """The turns from the root to a leaf; a parent is always older than its children."""
    if leaf_id is None:
        return []
    return _as_they_are(connection.execute(_BRANCH, (leaf_id,)), is_alive)


def siblings(connection: Connection, id: int, is_alive: IsAlive) -> list[Turn]:
    """All answers to the same question (or wordings of it), oldest first, with the turn itself."""
    turn = one(connection, id)
    rows = connection.execute(
        f"SELECT {TURN} FROM turns WHERE conversation_id = ? AND parent_id IS ? AND role = ? ORDER BY id",
        (turn.conversation_id, turn.parent_id, turn.role.value),
    )
    return _as_they_are(rows, is_alive)


def newest_leaf(connection: Connection, id: int) -> int:
    """The leaf that was added last of all that hang on a turn."""
    turn = one(connection, id)
    return int(connection.execute(_NEWEST_LEAF, (id, turn.conversation_id)).fetchone()[0])


def one(connection: Connection, id: int) -> Turn:
    """A turn as it is stored."""
    row = connection.execute(f"SELECT {TURN} FROM turns WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise NotFound("The turn is gone.", "Perhaps another chatterm has deleted its conversation.")
    return turn_from(row)


def start(connection: Connection, text: str, overrides: Mapping[str, Any]) -> tuple[Conversation, Turn]:
    """A new conversation and its first question."""
    conversation = conversations.add(connection, "", overrides)
    turn = add_question(connection, conversation.id, None, text)
    return conversations.one(connection, conversation.id), turn


def add_question(connection: Connection, conversation_id: int, parent_id: int | None, text: str) -> Turn:
    """A question at the end of a branch, which becomes the open one; the first one gives the title."""
    turn = _add(connection, conversation_id, parent_id, Role.USER, clean(text), TurnState.FINISHED, None, None)
    if parent_id is None:
        connection.execute(
            "UPDATE conversations SET title = ? WHERE id = ? AND title = ''", (title_of(text), conversation_id)
        )
    return turn


def begin_reply(connection: Connection, conversation_id: int, parent_id: int, record: ReplyRecord, owner: str) -> Turn:
    """An empty reply that its owner is about to write."""
    return _add(connection, conversation_id, parent_id, Role.ASSISTANT, "", TurnState.WRITING, record, owner)


def reopen_reply(connection: Connection, id: int, owner: str) -> Turn:
    """A reply that ended, to be written on."""
    connection.execute("UPDATE turns SET state = 'writing', error = '', owner = ? WHERE id = ?", (owner, id))
    return one(connection, id)


def write_reply(
    connection: Connection, id: int, text: str, reasoning: str, record: ReplyRecord | None, owner: str
) -> None:
    """What a reply is so far."""
    _found(
        connection.execute(
            "UPDATE turns SET text = ?, reasoning = ?, record = coalesce(?, record), state = 'writing', owner = ?"
            " WHERE id = ?",
            (clean(text), clean(reasoning), json_of(record) if record else None, owner, id),
        ).rowcount
    )


def finish_reply(
    connection: Connection, id: int, state: TurnState, text: str, reasoning: str, record: ReplyRecord, error: str
) -> Turn:
    """What a reply is in the end; nobody writes it any more."""
    connection.execute(
        "UPDATE turns SET state = ?, text = ?, reasoning = ?, record = ?, error = ?, owner = NULL WHERE id = ?",
        (state.value, clean(text), clean(reasoning), json_of(record), clean(error), id),
    )
    return one(connection, id)


def drop(connection: Connection, id: int) -> Turn:
    """Take out an answer behind which nothing follows; where its branch was open, that ends before it now."""
    turn = one(connection, id)
    if turn.state is TurnState.WRITING:
        raise TurnKept("This answer is being written.", "Wait for its end, or stop it.")
    where = turn.conversation_id, id
    if connection.execute("SELECT 1 FROM turns WHERE conversation_id = ? AND parent_id = ?", where).fetchone():
        raise TurnKept("The conversation goes on behind this answer.", "Only an answer at its end can be dropped.")
    connection.execute(
        "UPDATE conversations SET head_id = CASE head_id WHEN ? THEN ? ELSE head_id END, n_turns = n_turns - 1"
        " WHERE id = ?",
        (id, turn.parent_id, turn.conversation_id),
    )
    connection.execute("DELETE FROM turns WHERE id = ?", (id,))
    return turn


def put_back(connection: Connection, turn: Turn) -> None:
    """Undo `drop`; where it is back already, nothing is done."""
    conversations.one(connection, turn.conversation_id)
    if turn.parent_id is not None:
        one(connection, turn.parent_id)
    n_new = connection.execute(
        "INSERT OR IGNORE INTO turns (id, conversation_id, parent_id, role, text, reasoning, state, error, created_at, record)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            turn.id,
            turn.conversation_id,
            turn.parent_id,
            turn.role.value,
            turn.text,
            turn.reasoning,
            turn.state.value,
            turn.error,
            turn.created_at,
            json_of(turn.record) if turn.record else None,
        ),
    ).rowcount
    if n_new:
        connection.execute(
            "UPDATE conversations SET head_id = CASE head_id WHEN ? THEN ? ELSE head_id END, n_turns = n_turns + 1"
            " WHERE id = ?",
            (turn.parent_id, turn.id, turn.conversation_id),
        )


def writers(connection: Connection) -> list[str]:
    """Owners of replies that are being written."""
    return [owner for (owner,) in connection.execute("SELECT DISTINCT owner FROM turns WHERE owner IS NOT NULL")]


def interrupt(connection: Connection, owners: Iterable[str]) -> None:
    """Settle what these owners were writing when they died."""
    connection.executemany(
        "UPDATE turns SET state = 'interrupted', owner = NULL WHERE owner = ?", [(owner,) for owner in owners]
    )


def prompts(connection: Connection, limit: int) -> list[str]:
    """Questions over all conversations, newest first, each text once."""
    rows = connection.execute(
        "SELECT text FROM turns WHERE role = 'user'"
        " AND NOT EXISTS (SELECT 1 FROM conversations WHERE id = conversation_id AND deleted_at IS NOT NULL)"
        " ORDER BY turns.id DESC"
    )
    texts: dict[str, None] = {}
    for (text,) in rows:
        if len(texts) == limit:
            break
        texts.setdefault(text)
    return list(texts)


def _add(
    connection: Connection,
    conversation_id: int,
    parent_id: int | None,
    role: Role,
    text: str,
    state: TurnState,
    record: ReplyRecord | None,
    owner: str | None,
) -> Turn:
    now = time.time()
    cursor = connection.execute(
        "INSERT INTO turns (conversation_id, parent_id, role, text, state, created_at, record, owner)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (conversation_id, parent_id, role.value, text, state.value, now, json_of(record) if record else None, owner),
    )
    assert cursor.lastrowid is not None
    _found(
        connection.execute(
            "UPDATE conversations SET head_id = ?, updated_at = ?, n_turns = n_turns + 1 WHERE id = ?",
            (cursor.lastrowid, now, conversation_id),
        ).rowcount
    )
    return one(connection, cursor.lastrowid)


def _found(n_rows: int) -> None:
    if not n_rows:
        raise NotFound("The conversation is gone.", "Another chatterm has deleted it.")


def _as_they_are(rows: Iterable[tuple[object, ...]], is_alive: IsAlive) -> list[Turn]:
    """Turns, those of dead owners as interrupted."""
    turns = []
    for row in rows:
        turn, owner = turn_from(row), row[-1]
        if isinstance(owner, str) and not is_alive(owner):
            turn = msgspec.structs.replace(turn, state=TurnState.INTERRUPTED)
        turns.append(turn)
    return turns
