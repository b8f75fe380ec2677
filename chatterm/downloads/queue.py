"""The queue as the app has it: says what is wanted, shows at once what will come of it, waits for nothing.

One thread reads and writes the records, one more fetches each download (`turns`).
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from chatterm.downloads import record as records
from chatterm.downloads.fetch import FIRST_RETRY_SECONDS
from chatterm.downloads.ledger import Ledger, Wish
from chatterm.downloads.record import Download, DownloadState
from chatterm.downloads.turns import ACTIVE, ENDED, Turns, show_wish

if TYPE_CHECKING:
    from chatterm.hub.download import Patience

_LOOK_SECONDS = 0.5
"""How often the folder is looked at."""
_IDLE_SECONDS = 2.0
"""And how often while nothing is to be fetched."""
_CHANGE_SECONDS = 0.1
"""Changes are told no more often than this."""
_CLOSE_SECONDS = 1.0
"""How long `close` waits; a silent connection ends later, by itself."""
_KEPT_SECONDS = 24 * 3600.0
"""How long one that is done is listed."""


_Change: TypeAlias = Callable[[dict[str, Download]], None]
"""Changes what is shown to what it will be."""


class Downloads:
    """The queue. Its methods return at once; what they bring about is told by `changes`."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        n_at_once: int = 1,
        patience: Patience | None = None,
        first_retry_seconds: float = FIRST_RETRY_SECONDS,
    ) -> None:
        """Nothing is read or fetched before `start`.

        Args:
            folder: Where the records lie; `paths.downloads_folder()` by default.
            n_at_once: How many are fetched at the same time, by all chatterms together.
            patience: How failures of the network are waited out.
            first_retry_seconds: How long after that it is tried again, the first time.
        """
        self._ledger = Ledger(folder)
        self._poke = threading.Event()
        self._turns = Turns(self._ledger, n_at_once, self._tell, self._poke.set, patience, first_retry_seconds)
        self._asked: queue.SimpleQueue[tuple[Callable[[], None], _Change]] = queue.SimpleQueue()
        """What the thread is to do, in the order in which it was asked for."""
        self._pending: list[_Change] = []
        """How what was asked for and not done yet changes what is shown."""
        self._guard = threading.RLock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._listeners: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._shown: tuple[Download, ...] = ()

    @property
    def all(self) -> tuple[Download, ...]:
        """All downloads, in the order of their turn; those that are done last, in the order in which they ended."""
        with self._guard:
            shown = self._turns.shown()
            for change in self._pending:
                change(shown)
            return tuple(shown.values())

    @property
    def complaints(self) -> tuple[str, ...]:
        """What is wrong with the records on the disk, a sentence each; it hinders nothing else."""
        return tuple(self._ledger.complaints)

    async def start(self) -> None:
        """Go on with what an earlier run left running or waiting, and look at what other chatterms do."""
        assert self._thread is None, "a queue starts once"
        self._thread = threading.Thread(target=self._tend, name="downloads", daemon=True)
        await asyncio.to_thread(self._first_look)
        self._thread.start()

    def add(self, repo: str, file: str = "", revision: str = "") -> Download:
        """Put a model at the end of the queue; if it is listed already, go on with that one.

        Raises:
            RepoNotFound: this names no repository.
        """
        new = records.new(repo, file, revision, time.time())
        key = new.id

        def show(shown: dict[str, Download]) -> None:
            if key not in shown or shown[key].state is not DownloadState.RUNNING:
                done = shown.get(key, new.download)
                shown[key] = msgspec.structs.replace(done, state=DownloadState.WAITING, problem="", problem_title="")

        self._ask(lambda: self._turns.add(new), show)
        return next((download for download in self.all if download.id == key), new.download)

    def pause(self, id: str) -> None:
        """Stop it and keep what arrived, until it is resumed."""
        self._ask(lambda: self._turns.wish(id, Wish.PAUSE), lambda shown: show_wish(shown, id, Wish.PAUSE))

    def resume(self, id: str) -> None:
        """Go on with one that was paused or has failed, or try again now."""
        self._ask(lambda: self._turns.wish(id, Wish.RESUME), lambda shown: show_wish(shown, id, Wish.RESUME))

    def cancel(self, id: str) -> None:
        """Stop it, take it out of the list, and remove what arrived of it; what is done stays on the disk."""
        self._ask(lambda: self._turns.wish(id, Wish.CANCEL), lambda shown: show_wish(shown, id, Wish.CANCEL))

    def forget(self, id: str) -> None:
        """Take one that is done or failed out of the list; the files stay."""

        def show(shown: dict[str, Download]) -> None:
            if id in shown and shown[id].state in ENDED:
                del shown[id]

        self._ask(lambda: self._turns.forget(id), show)

    async def changes(self) -> AsyncGenerator[tuple[Download, ...], None]:
        """All downloads, now and each time that something changed; at most ten times a second."""
        changed = asyncio.Event()
        self._listeners[changed] = asyncio.get_running_loop()
        try:
            while True:
                changed.clear()
                yield self.all
                await changed.wait()
                await asyncio.sleep(_CHANGE_SECONDS)
        finally:
            del self._listeners[changed]

    async def close(self) -> None:
        """Stop fetching, keep what arrived and the queue; the next start goes on."""
        self._closing.set()
        self._poke.set()
        if self._thread is not None and self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, 2 * _CLOSE_SECONDS)

    def _ask(self, work: Callable[[], None], show: _Change) -> None:
        """Let the thread do something, and show at once what will come of it."""
        with self._guard:
            self._pending.append(show)
        self._asked.put((work, show))
        self._poke.set()
        self._tell()

    def _tell(self) -> None:
        """Wake who listens, if there is news."""
        shown = self.all
        with self._guard:
            if shown == self._shown:
                return
            self._shown = shown
        for changed, loop in list(self._listeners.items()):
            with suppress(RuntimeError):  # that loop is closed
                loop.call_soon_threadsafe(changed.set)

    def _first_look(self) -> None:
        self._ledger.sweep(_KEPT_SECONDS)
        self._turns.look()

    def _tend(self) -> None:
        """What the thread does until the queue is closed."""
        while not self._closing.is_set():
            self._poke.clear()
            self._work()
            self._turns.begin()
            self._tell()
            is_idle = not any(download.state in ACTIVE for download in self.all)
            self._poke.wait(_IDLE_SECONDS if is_idle else _LOOK_SECONDS)
        self._work()
        self._turns.stop(_CLOSE_SECONDS)

    def _work(self) -> None:
        """Do what was asked for, and see what the records say now."""
        done = []
        while not self._asked.empty():
            work, change = self._asked.get()
            work()
            done.append(change)
        self._turns.look()
        with self._guard:
            for change in done:
                self._pending.remove(change)
