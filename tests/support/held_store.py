"""A store whose thread can be busy when a test wants it to be."""

from __future__ import annotations

import asyncio
from typing import Any

from chatterm.conversation import ReplyRecord, Turn
from chatterm.store import Store


class HeldStore(Store):
    """A real store in which one kind of call waits until it is let go."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.held = ""
        """The call that waits, by its name; empty for none."""
        self.waits = asyncio.Event()
        """Set while a call waits."""
        self._go = asyncio.Event()

    def hold(self, name: str) -> None:
        """Let the next call of a name wait."""
        self.held = name
        self.waits.clear()
        self._go.clear()

    def let_go(self) -> None:
        """What waits goes on."""
        self._go.set()

    async def _pass(self, name: str) -> None:
        if name == self.held:
            self.held = ""
            self.waits.set()
            await self._go.wait()

    async def siblings(self, turn_id: int) -> list[Turn]:
        """As in the store."""
        await self._pass("siblings")
        return await super().siblings(turn_id)

    async def newest_leaf(self, turn_id: int) -> int:
        """As in the store."""
        await self._pass("newest_leaf")
        return await super().newest_leaf(turn_id)

    async def branch(self, leaf_id: int | None) -> list[Turn]:
        """As in the store."""
        await self._pass("branch")
        return await super().branch(leaf_id)

    async def begin_reply(self, conversation_id: int, parent_id: int, record: ReplyRecord) -> Turn:
        """As in the store."""
        await self._pass("begin_reply")
        return await super().begin_reply(conversation_id, parent_id, record)

    async def set_head(self, id: int, turn_id: int | None) -> None:
        """As in the store."""
        await self._pass("set_head")
        await super().set_head(id, turn_id)
