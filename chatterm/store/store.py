"""The store as the rest of chatterm sees it: conversations, turns, and the app's own memory.

All methods are asynchronous and run on the store's own thread, in the order in which they are
called. It knows no engine; what cannot be saved now is `journal`'s concern.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from chatterm.conversation import Conversation, ModelUse, ReplyRecord, Turn, TurnState
from chatterm.errors import StoreError
from chatterm.store import conversations, turns, usage
from chatterm.store.database import TIMEOUT_SECONDS, Database
from chatterm.store.migrations import MIGRATIONS, Migration
from chatterm.store.owners import Owner


class Store:
    """Conversations in one SQLite file, which other chatterms may have open, too.

    Every method raises a `StoreError` where the file fails: `StoreReadOnly`, `StoreLocked`,
    `StoreFull`, `StoreDamaged`, and `NotFound` for what another chatterm has deleted.
    """

    def __init__(self, database: Database, owner: Owner) -> None:
        self._database = database
        self._owner = owner
        self._is_closed = False

    @classmethod
    async def open(
        cls, path: Path, *, timeout_seconds: float = TIMEOUT_SECONDS, migrations: Sequence[Migration] = MIGRATIONS
    ) -> Self:
        """The store in a file, made where there is none; read only where nothing can be written.

        Args:
            timeout_seconds: How long a write waits for another program's write.

        Raises:
            StoreLocked: another program keeps all others out.
            StoreDamaged: the file cannot be used; it was not touched.
        """
        database = Database(path, timeout_seconds)
        await database.open(migrations)
        store = cls(database, Owner(path))
        try:
            if not store.read_only_reason:
                store._owner.take()
                store._owner.sweep()
            await store._interrupt_the_dead()
        except BaseException:
            store._owner.release()
            await database.close()
            raise
        return store

    @property
    def path(self) -> Path:
        """The database file."""
        return self._database.path

    @property
    def read_only_reason(self) -> str:
        """Why nothing can be saved, as a sentence; empty when all is well."""
        return self._database.read_only_reason

    async def close(self) -> None:
        """Purge what was deleted, and close the file; the store is not used afterwards."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if not self.read_only_reason:
                with contextlib.suppress(StoreError):  # it stays hidden, and goes the next time
                    await self._purge()
        finally:
            self._owner.release()
            await self._database.close()

    async def conversations(self, limit: int = 200, offset: int = 0, title_contains: str = "") -> list[Conversation]:
        """Conversations whose title contains a text, whatever its case; newest first."""
        return await self._database.read(conversations.listed, limit, offset, title_contains)

    async def conversation(self, id: int) -> Conversation:
        """One conversation."""
        return await self._database.read(conversations.one, id)

    async def latest(self) -> Conversation | None:
        """The conversation in which something was said last; None before the first one."""
        return next(iter(await self.conversations(limit=1)), None)

    async def create(self, title: str = "", overrides: Mapping[str, Any] | None = None) -> Conversation:
        """A new conversation; without a title it takes one from its first question."""
        return await self._database.write(conversations.add, title, overrides or {})

    async def start(self, text: str, overrides: Mapping[str, Any] | None = None) -> tuple[Conversation, Turn]:
        """A new conversation and its first question, in one step."""
        return await self._database.write(turns.start, text, overrides or {})

    async def rename(self, id: int, title: str) -> Conversation:
        """The conversation under another title; an empty one goes back to the first question's."""
        return await self._database.write(conversations.rename, id, title)

    async def delete(self, id: int) -> None:
        """Hide a conversation; it is gone for good when this store is closed."""
        await self._database.write(conversations.delete, id, self._owner.name)

    async def restore(self, id: int) -> Conversation:
        """Take a deletion back."""
        return await self._database.write(conversations.restore, id)

    async def set_overrides(self, id: int, overrides: Mapping[str, Any]) -> Conversation:
        """The conversation with these settings of its own, instead of those that it had."""
        return await self._database.write(conversations.override, id, overrides)

    async def set_head(self, id: int, turn_id: int | None) -> None:
        """Open the branch that ends in a turn."""
        await self._database.write(conversations.set_head, id, turn_id)

    async def turns(self, conversation_id: int) -> list[Turn]:
        """All turns of a conversation, the whole tree, oldest first."""
        return await self._database.read(turns.tree, conversation_id, self._owner.is_alive)

    async def branch(self, leaf_id: int | None) -> list[Turn]:
        """The turns from the root to a leaf, oldest first."""
        return await self._database.read(turns.branch, leaf_id, self._owner.is_alive)

    async def siblings(self, turn_id: int) -> list[Turn]:
        """All answers to the same question, or all wordings of it, oldest first."""
        return await self._database.read(turns.siblings, turn_id, self._owner.is_alive)

    async def newest_leaf(self, turn_id: int) -> int:
        """Id of the turn that was added last below a turn, or its own."""
        return await self._database.read(turns.newest_leaf, turn_id)

    async def add_question(self, conversation_id: int, parent_id: int | None, text: str) -> Turn:
        """A question below a turn; the conversation moves to the top and opens there."""
        return await self._database.write(turns.add_question, conversation_id, parent_id, text)

    async def begin_reply(self, conversation_id: int, parent_id: int, record: ReplyRecord) -> Turn:
        """An empty reply below a question, which this process is about to write."""
        return await self._database.write(turns.begin_reply, conversation_id, parent_id, record, self._owner.name)

    async def reopen_reply(self, turn_id: int) -> Turn:
        """A reply that had ended, which this process is about to write on."""
        return await self._database.write(turns.reopen_reply, turn_id, self._owner.name)

    async def write_reply(self, turn_id: int, text: str, reasoning: str, record: ReplyRecord | None = None) -> None:
        """Keep what a reply is so far; the whole of it, not what is new."""
        await self._database.write(turns.write_reply, turn_id, text, reasoning, record, self._owner.name)

    async def finish_reply(
        self, turn_id: int, state: TurnState, text: str, reasoning: str, record: ReplyRecord, error: str = ""
    ) -> Turn:
        """The reply as it ended."""
        return await self._database.write(turns.finish_reply, turn_id, state, text, reasoning, record, error)

    async def drop(self, turn_id: int) -> Turn:
        """Take an answer out of its conversation; gives it, so that it can be put back.

        Raises:
            TurnKept: the conversation goes on behind it, or it is being written.
        """
        return await self._database.write(turns.drop, turn_id)

    async def put_back(self, turn: Turn) -> None:
        """Undo `drop`."""
        await self._database.write(turns.put_back, turn)

    async def prompts(self, limit: int = 500) -> list[str]:
        """What was asked in all conversations, newest first, without repeats."""
        return await self._database.read(turns.prompts, limit)

    async def model_use(self, path: str, hash: str = "", limit: int = 50) -> ModelUse:
        """How quick a model was here so far, and which conversations used it, the latest ones first.

        Args:
            path: Its file, or SERVER:MODEL, as replies record it.
            hash: As replies record it, so that a file that was moved is known; empty where it is not known.
            limit: Of conversations.
        """
        return await self._database.read(usage.of_model, path, hash, limit)

    async def recall(self, key: str) -> Any | None:
        """What the app remembered under a key; None for nothing."""
        return await self._database.read(conversations.recall, key)

    async def remember(self, key: str, value: Any) -> None:
        """Keep something over restarts: anything that JSON can say."""
        await self._database.write(conversations.remember, key, value)

    async def _interrupt_the_dead(self) -> None:
        """Settle the replies that nobody writes any more; where that fails they are only shown so."""
        dead = [owner for owner in await self._database.read(turns.writers) if not self._owner.is_alive(owner)]
        if dead:
            with contextlib.suppress(StoreError):
                await self._database.write(turns.interrupt, dead)

    async def _purge(self) -> None:
        """Remove what this process has deleted, or one that ended before it could."""
        deleters = await self._database.read(conversations.deleters)
        gone = [owner for owner in deleters if owner == self._owner.name or not self._owner.is_alive(owner)]
        if gone:
            await self._database.write(conversations.purge, gone)
        writing = await self._database.read(turns.writers)
        if self._owner.name in writing:
            await self._database.write(turns.interrupt, [self._owner.name])
