"""One open conversation in memory, and its way into the store.

The store may fail at any time (locked, full, read only); the conversation goes on all the same.
What cannot be saved now stays here, with negative ids, and is saved with the next thing that can
be. It knows no engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, TypeVar

import msgspec

from chatterm.conversation import Conversation, ReplyRecord, Role, Turn, TurnState
from chatterm.errors import NotFound, StoreError
from chatterm.store.rows import clean, json_of, title_of
from chatterm.store.store import Store

T = TypeVar("T")


class Journal:
    """A conversation whose open branch is in memory, always complete, and in the store as far as that works."""

    _unsaved_ids: ClassVar = itertools.count(-1, -1)

    def __init__(self, store: Store) -> None:
        self.store = store
        self.conversation: Conversation | None = None
        """None until the first question."""
        self.turns: list[Turn] = []
        """The open branch, oldest first."""
        self.overrides: dict[str, Any] = {}
        """Settings for this conversation only; saved with it."""
        self.error: StoreError | None = None
        """Why the last attempt to save failed; None when all is saved."""
        self._first_id = 0
        """What the conversation was called before it was saved; 0 for one that was read."""
        self._is_discarded = False
        """Whether it was deleted before anything of it was saved: nothing of it is saved any more."""
        self._given_out: dict[int, int] = {}  # negative ids that callers know: the ids that took their place
        self._stale: set[int] = set()
        self._overrides_are_stale = False
        self._lock = asyncio.Lock()
        self._saving: set[asyncio.Task[None]] = set()

    @property
    def is_saved(self) -> bool:
        """Whether nothing is only in memory."""
        return self._is_discarded or not (self._stale or self._overrides_are_stale)

    @property
    def may_be_saved_later(self) -> bool:
        """Whether something is only in memory, and its conversation was not deleted meanwhile."""
        return not self.is_saved and not isinstance(self.error, NotFound)

    def is_of(self, conversation_id: int) -> bool:
        """Whether it is that conversation's, also by the id from before it was saved."""
        return self.conversation is not None and conversation_id in {self.conversation.id, self._first_id}

    async def read(self, conversation_id: int) -> None:
        """Take a conversation and its open branch from the store.

        Raises:
            NotFound, StoreError
        """
        async with self._lock:
            conversation = await self.store.conversation(conversation_id)
            self.turns = await self.store.branch(conversation.head_id)
            self.conversation, self.overrides = conversation, conversation.overrides

    async def override(self, overrides: Mapping[str, Any]) -> None:
        """Take these settings of its own, instead of those that it had."""
        self.overrides = msgspec.json.decode(json_of(overrides))  # as they are read again later
        if self.conversation is None:
            return
        self.conversation = msgspec.structs.replace(self.conversation, overrides=self.overrides)
        self._overrides_are_stale = True
        await self.save()

    async def switch(self, turn_id: int, is_wanted: Callable[[], bool]) -> bool:
        """Open the branch that goes through a turn, to its newest end; gives whether that was done.

        Args:
            turn_id: The turn.
            is_wanted: Asked as soon as the branch is read, which may take long; where it says no, nothing is changed.

        Raises:
            StoreError: what is only in memory could not be saved, and would be lost.
        """
        await self.save()
        if not self.is_saved and self.error is not None:
            raise self.error
        async with self._lock:
            assert self.conversation is not None
            leaf_id = await self.store.newest_leaf(self._given_out.get(turn_id, turn_id))
            turns = await self.store.branch(leaf_id)
            if not is_wanted():
                return False
            self.turns = turns
            self.conversation = msgspec.structs.replace(self.conversation, head_id=leaf_id)
            with contextlib.suppress(StoreError):  # it is shown; that it is not remembered does no harm
                await self.store.set_head(self.conversation.id, leaf_id)
        return True

    async def rewind(self, n_turns: int) -> None:
        """Leave only so many turns of the branch; in the store the others stay where they are.

        Raises:
            StoreError: one of them is in the store, but what it became could not be saved, and would be lost.
        """
        if not self.is_saved:
            await self.save()
        async with self._lock:
            is_half_saved = any(turn.id > 0 and turn.id in self._stale for turn in self.turns[n_turns:])
            if is_half_saved and self.may_be_saved_later and self.error is not None:
                raise self.error
            self._stale.difference_update(turn.id for turn in self.turns[n_turns:])
            del self.turns[n_turns:]

    async def saved_id(self) -> int:
        """The conversation's id in the store, where it is put first if it is only here.

        Raises:
            StoreError: it cannot be saved.
        """
        assert self.conversation is not None
        if self.conversation.id < 0:
            await self.save()
            if self.conversation.id < 0:
                raise self.error or NotFound("The conversation is gone.", "It was deleted before it could be saved.")
        return self.conversation.id

    async def discard(self) -> int | None:
        """Save nothing of it any more; gives its id where something of it was saved meanwhile, and keeps it then."""
        async with self._lock:
            if self.conversation is not None and self.conversation.id > 0:
                return self.conversation.id
            self._is_discarded, self.error = True, None
        return None

    async def ask(self, text: str) -> Turn:
        """A question at the end of the branch."""
        if self.conversation is None:
            now, self._first_id = time.time(), next(self._unsaved_ids)
            self.conversation = Conversation(self._first_id, title_of(text), now, now, overrides=self.overrides)
        return await self._append(Role.USER, clean(text), TurnState.FINISHED, None)

    async def begin(self, record: ReplyRecord) -> None:
        """An empty reply at the end of the branch, which is written from now on."""
        await self._append(Role.ASSISTANT, "", TurnState.WRITING, record)

    async def reopen(self) -> None:
        """The reply at the end of the branch is written on."""
        self._change(-1, state=TurnState.WRITING, error="")
        await self.save()

    def show(self, text: str, reasoning: str, record: ReplyRecord) -> None:
        """What the reply at the end of the branch is so far; in memory alone."""
        self._change(-1, text=text, reasoning=reasoning, record=record)

    async def write(self, text: str, reasoning: str, record: ReplyRecord) -> None:
        """What the reply at the end of the branch is so far."""
        self.show(text, reasoning, record)
        await self.save()

    async def settle(self, state: TurnState, text: str, reasoning: str, record: ReplyRecord, error: str) -> None:
        """What the reply at the end of the branch is in the end."""
        self._change(-1, state=state, text=text, reasoning=reasoning, record=record, error=error)
        await self.save()

    def take_renumbered(self) -> list[tuple[int, Turn]]:
        """Turns that were given out under an id which they no longer have, with that id; each once."""
        turns = {turn.id: turn for turn in self.turns}
        taken = [(old, turns[new]) for old, new in self._given_out.items() if new > 0 and new in turns]
        self._given_out = {old: new for old, new in self._given_out.items() if new < 0}
        return taken

    async def save(self) -> None:
        """Bring the store up to date, as far as it lets us; `error` says what was in the way.

        A cancelled caller does not stop it: otherwise a reply could be begun in the store and be
        unknown here.
        """
        task = asyncio.ensure_future(self._save())
        self._saving.add(task)  # the loop itself keeps no hold of its tasks
        task.add_done_callback(self._saving.discard)
        await asyncio.shield(task)

    async def _append(self, role: Role, text: str, state: TurnState, record: ReplyRecord | None) -> Turn:
        assert self.conversation is not None
        parent_id = self.turns[-1].id if self.turns else None
        now = time.time()
        turn = Turn(
            next(self._unsaved_ids),
            self.conversation.id,
            parent_id,
            role,
            text,
            state=state,
            created_at=now,
            record=record,
        )
        self.turns.append(turn)
        self._stale.add(turn.id)
        place = len(self.turns) - 1
        if self.error is None:  # else it was tried a moment ago, perhaps at length
            await self.save()
        if (given := self.turns[place].id) < 0:
            self._given_out[given] = given
        return self.turns[place]

    def _change(self, place: int, **changes: Any) -> None:
        self.turns[place] = msgspec.structs.replace(self.turns[place], **changes)
        self._stale.add(self.turns[place].id)

    async def _save(self) -> None:
        async with self._lock:
            if self._is_discarded:
                return
            try:
                for place in range(len(self.turns)):
                    if self.turns[place].id in self._stale:
                        await self._save_turn(place)
                await self._save_overrides()
            except StoreError as error:
                self.error = error
            else:
                self.error = None

    async def _save_overrides(self) -> None:
        if self._overrides_are_stale and self.conversation is not None:
            self.conversation = await self.store.set_overrides(self.conversation.id, self.overrides)
            self._overrides_are_stale = self.conversation.overrides != self.overrides

    async def _save_turn(self, place: int) -> None:
        if self.turns[place].id < 0:
            await self._insert(place)
        turn = self.turns[place]
        if turn.role is Role.USER or turn.id not in self._stale:
            return
        self._stale.discard(turn.id)  # before it is written: what changes meanwhile is stale again
        try:
            await self._with_back(turn, self._update, turn)
        except StoreError:
            self._stale.add(turn.id)
            raise

    async def _update(self, turn: Turn) -> None:
        """Put what became of a reply into the store."""
        assert turn.record is not None
        if turn.state is TurnState.WRITING:
            await self.store.write_reply(turn.id, turn.text, turn.reasoning, turn.record)
        else:
            await self.store.finish_reply(turn.id, turn.state, turn.text, turn.reasoning, turn.record, turn.error)

    async def _with_back(self, needed: Turn | None, write: Callable[[Turn], Awaitable[T]], turn: Turn) -> T:
        """What a write gives; where another chatterm has dropped the answer that it needs, that is put back first.

        Here the conversation goes on with it, and an answer behind which it goes on cannot be dropped.
        """
        try:
            return await write(turn)
        except NotFound:
            if needed is None:
                raise
            await self.store.put_back(needed)  # which also finds out whether the conversation is there
            return await write(turn)

    async def _insert(self, place: int) -> None:
        """Give a turn its place in the store, and its number."""
        turn, conversation = self.turns[place], self.conversation
        assert conversation is not None
        if conversation.id < 0:
            self.conversation, saved = await self.store.start(turn.text, self.overrides)
            self._overrides_are_stale = False
        else:
            saved = await self._with_back(self.turns[place - 1] if place else None, self._add, turn)
        self._renumber(place, saved)
        conversation = await self.store.conversation(saved.conversation_id)
        self.conversation = msgspec.structs.replace(conversation, overrides=self.overrides)

    async def _add(self, turn: Turn) -> Turn:
        """Put a turn into a conversation that the store has."""
        if turn.role is Role.USER:
            return await self.store.add_question(turn.conversation_id, turn.parent_id, turn.text)
        assert turn.parent_id is not None
        assert turn.record is not None
        return await self.store.begin_reply(turn.conversation_id, turn.parent_id, turn.record)

    def _renumber(self, first: int, saved: Turn) -> None:
        """Take the number that the store gave to a turn, there and in those that come after it."""
        old = self.turns[first].id
        for place in range(first, len(self.turns)):
            turn = self.turns[place]
            self.turns[place] = msgspec.structs.replace(
                turn,
                id=saved.id if turn.id == old else turn.id,
                parent_id=saved.id if turn.parent_id == old else turn.parent_id,
                conversation_id=saved.conversation_id,
                created_at=saved.created_at if turn.id == old else turn.created_at,
            )
        if old in self._given_out:
            self._given_out[old] = saved.id
        self._stale.discard(old)
        turn = self.turns[first]
        if (turn.text, turn.reasoning, turn.state) != (saved.text, saved.reasoning, saved.state):
            self._stale.add(saved.id)  # it has grown since it was begun
