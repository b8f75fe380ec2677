"""The tables, as an ordered list of steps; `PRAGMA user_version` counts the steps that were taken.

A step that was released is never edited: what changes is a new step at the end. Texts live in an
ordinary table with a whole-number key, so that a full-text index can be laid over it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from sqlite3 import Connection

APPLICATION_ID = 0x6368746D
"""Marks the file as ours, so that another program's database is never taken for one of our own."""

Migration = tuple[str, ...]
"""The statements of one step; they are taken together or not at all."""

# A parent is not removed with ON DELETE CASCADE: SQLite follows such a chain one level of recursion
# a turn and gives up after 1,000. Conversations take their turns along, all at once.
MIGRATIONS: tuple[Migration, ...] = (
    (
        """
        CREATE TABLE conversations (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            title TEXT NOT NULL DEFAULT '',
            created_at REAL NOT NULL,
            updated_at REAL NOT NULL,
            head_id INTEGER REFERENCES turns (id) DEFERRABLE INITIALLY DEFERRED,
            overrides TEXT NOT NULL DEFAULT '{}',
            n_turns INTEGER NOT NULL DEFAULT 0,
            deleted_at REAL,
            deleted_by TEXT
        )
        """,
        """
        CREATE TABLE turns (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
            parent_id INTEGER,
            role TEXT NOT NULL,
            text TEXT NOT NULL DEFAULT '',
            reasoning TEXT NOT NULL DEFAULT '',
            state TEXT NOT NULL,
            error TEXT NOT NULL DEFAULT '',
            created_at REAL NOT NULL,
            record TEXT,
            owner TEXT,
            UNIQUE (conversation_id, id),
            FOREIGN KEY (conversation_id, parent_id) REFERENCES turns (conversation_id, id)
                DEFERRABLE INITIALLY DEFERRED
        )
        """,
        "CREATE TABLE memory (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        "CREATE INDEX turns_by_parent ON turns (conversation_id, parent_id)",
        "CREATE INDEX turns_being_written ON turns (owner) WHERE owner IS NOT NULL",
        "CREATE INDEX questions ON turns (id) WHERE role = 'user'",
        "CREATE INDEX conversations_by_head ON conversations (head_id)",
        "CREATE INDEX conversations_by_age ON conversations (updated_at DESC, id DESC) WHERE deleted_at IS NULL",
        f"PRAGMA application_id = {APPLICATION_ID}",
    ),
)


def version_of(connection: Connection) -> int:
    """How many steps this file has taken."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def is_foreign(connection: Connection) -> bool:
    """Whether the file is a database, but not one of chatterm's."""
    if connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID:
        return False
    return version_of(connection) > 0 or connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None


def migrate(connection: Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Take the steps that the file has not taken yet, all of them or none.

    Two processes may come at once: the second one waits at BEGIN and finds nothing left to do.
    """
    if version_of(connection) == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in migrations[version_of(connection) :]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
