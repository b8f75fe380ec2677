"""What the screens remember by themselves over restarts; what the user chose is in the settings."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from chatterm.address import Address, restored, stored
from chatterm.errors import StoreError
from chatterm.store import Store

_DRAFT, _QUEUE, _LIST_WANTED, _LAST_MODEL = "draft", "queue", "list wanted", "last model"


class Remembered(msgspec.Struct, frozen=True):
    """How the screen was left."""

    draft: str = ""
    """What was typed and not sent."""
    waiting: tuple[str, ...] = ()
    """Messages that were queued, the next one first."""
    list_wanted: bool = True
    """Whether the list of conversations was shown."""


class Memory:
    """Reads and writes it; where nothing can be saved, it is forgotten at the end without a word."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def recall(self) -> Remembered:
        """How the screen was left the last time.

        Raises:
            StoreError: it cannot be read.
        """
        draft, waiting = await self._store.recall(_DRAFT), await self._store.recall(_QUEUE)
        return Remembered(
            draft if isinstance(draft, str) else "",
            tuple(map(str, waiting)) if isinstance(waiting, list) else (),
            await self._store.recall(_LIST_WANTED) is not False,
        )

    async def last_model(self) -> Address | None:
        """The model that was picked last and loaded; None if there never was one.

        Raises:
            StoreError: it cannot be read.
        """
        return restored(await self._store.recall(_LAST_MODEL))

    async def keep_draft(self, draft: str, waiting: Sequence[str]) -> None:
        """What is typed, and what waits."""
        await self._keep(_DRAFT, draft)
        await self._keep(_QUEUE, list(waiting))

    async def keep_list_wanted(self, is_wanted: bool) -> None:
        """Whether the list is shown."""
        await self._keep(_LIST_WANTED, is_wanted)

    async def keep_last_model(self, address: Address) -> None:
        """The model that was picked and loaded."""
        await self._keep(_LAST_MODEL, stored(address))

    async def _keep(self, key: str, value: Any) -> None:
        with suppress(StoreError):  # it is on the screen still, and the next try is near
            await self._store.remember(key, value)
