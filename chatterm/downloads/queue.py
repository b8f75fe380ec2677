"""The queue in a running chatterm: takes the next one when its turn has come, and shows what all chatterms do.

One thread reads and writes the records, one more fetches each download; the caller's loop waits for neither.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from chatterm.downloads import record as records
from chatterm.downloads.fetch import FIRST_RETRY_SECONDS, Fetch, obey
from chatterm.downloads.ledger import Ledger, Wish
from chatterm.downloads.record import Download, DownloadState, Record
from chatterm.errors import ChattermError

if TYPE_CHECKING:
    from chatterm.hub.download import Patience

_LOOK_SECONDS = 0.5
"""How often the folder is looked at."""
_CHANGE_SECONDS = 0.1
"""Changes are told no more often than this."""
_IDLE_SECONDS = 2.0
"""And how often while nothing is to be fetched."""
_CLOSE_SECONDS = 2.0
"""How long `close` waits; a silent connection ends later, by itself."""
_KEPT_SECONDS = 24 * 3600.0
"""How long one that is done is listed."""


_ACTIVE = {DownloadState.WAITING, DownloadState.RUNNING}
_ENDED = {DownloadState.DONE, DownloadState.FAILED}
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
        self._patience = patience
        self._first_retry_seconds = first_retry_seconds
        self.n_at_once = n_at_once
        self._ledger = Ledger(folder)
        self._records: dict[str, Record] = {}
        self._elsewhere: set[str] = set()
        """Those that another process fetches."""
        self._wishes: dict[str, Wish] = {}
        """What was wished and is not done yet."""
        self._fetches: dict[str, tuple[Fetch, threading.Thread]] = {}
        self._asked: queue.SimpleQueue[tuple[Callable[[], None], _Change]] = queue.SimpleQueue()
        """What the thread is to do, in the order in which it was asked for."""
        self._settled: dict[str, Record | None] = {}
        """How fetches ended since the folder was last looked at."""
        self._pending: list[_Change] = []
        """How what was asked for and not done yet changes what is shown."""
        self._guard = threading.RLock()
        self._poke = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._listeners: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._shown: tuple[Download, ...] = ()
        self._started = 0.0

    @property
    def all(self) -> tuple[Download, ...]:
        """All downloads, in the order of their turn; those that are done last, in the order in which they ended."""
        with self._guard:
            newest = self._records | {key: fetch.record for key, (fetch, _) in self._fetches.items()}
            shown = {key: self._download(key, record) for key, record in _in_order(newest.items())}
            for key, wish in self._wishes.items():
                _show_wish(shown, key, wish)
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
        self._started = time.time()
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

        self._ask(lambda: self._add(new), show)
        return next((download for download in self.all if download.id == key), new.download)

    def pause(self, id: str) -> None:
        """Stop it and keep what arrived, until it is resumed."""
        self._ask(lambda: self._wish(id, Wish.PAUSE), lambda shown: _show_wish(shown, id, Wish.PAUSE))

    def resume(self, id: str) -> None:
        """Go on with one that was paused or has failed, or try again now."""
        self._ask(lambda: self._wish(id, Wish.RESUME), lambda shown: _show_wish(shown, id, Wish.RESUME))

    def cancel(self, id: str) -> None:
        """Stop it, take it out of the list, and remove what arrived of it; what is done stays on the disk."""
        self._ask(lambda: self._wish(id, Wish.CANCEL), lambda shown: _show_wish(shown, id, Wish.CANCEL))

    def forget(self, id: str) -> None:
        """Take one that is done or failed out of the list; the files stay."""

        def show(shown: dict[str, Download]) -> None:
            if id in shown and shown[id].state in _ENDED:
                del shown[id]

        self._ask(lambda: self._forget(id), show)

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
        self._look()

    def _tend(self) -> None:
        """What the thread does until the queue is closed."""
        while not self._closing.is_set():
            self._poke.clear()
            self._work()
            self._begin()
            self._tell()
            is_idle = not any(download.state in _ACTIVE for download in self.all)
            self._poke.wait(_IDLE_SECONDS if is_idle else _LOOK_SECONDS)
        with self._guard:
            fetches = list(self._fetches.values())
        for fetch, _ in fetches:
            fetch.stop.set()
        self._work()
        deadline = time.monotonic() + _CLOSE_SECONDS
        for _, thread in fetches:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        """Do what was asked for, and see what the records say now."""
        done = []
        while not self._asked.empty():
            work, change = self._asked.get()
            work()
            done.append(change)
        self._look()
        with self._guard:
            for change in done:
                self._pending.remove(change)

    def _look(self) -> None:
        """See what the records say now, who fetches what, and do what was wished of those that nobody fetches."""
        with self._guard:
            self._settled.clear()
        self._ledger.save_again()
        wishes = {key: wish for key in self._ledger.records() if (wish := self._ledger.wished(key)) is not None}
        wishes = {key: wish for key, wish in wishes.items() if not self._obey(key, wish)}
        found = self._ledger.records()
        elsewhere = {
            key
            for key, record in found.items()
            if record.download.state is DownloadState.RUNNING and key not in self._fetches and self._ledger.is_held(key)
        }
        with self._guard:
            for key, record in self._settled.items():  # while we looked
                wishes.pop(key, None)
                elsewhere.discard(key)
                found.pop(key, None)
                if record is not None:
                    found[key] = record
            self._records, self._elsewhere, self._wishes = found, elsewhere, wishes

    def _obey(self, key: str, wish: Wish) -> bool:
        """Do what is wished of a download, unless somebody fetches it; gives whether that is so."""
        held = None if key in self._fetches else self._ledger.lock(key)
        if held is None:
            return False
        with held:
            if (record := self._ledger.record(key)) is not None:
                obey(self._ledger, record, wish)
        return True

    def _add(self, new: Record) -> None:
        """Note a new download, or go on with the same one."""
        key = new.id
        known = self._ledger.record(key)
        if known is not None:
            if known.download.state is not DownloadState.RUNNING or self._ledger.wished(key) is not None:
                self._wish(key, Wish.RESUME)
            return
        held = self._ledger.lock(key)
        if held is not None:  # else another process adds the same one just now
            with held:
                self._ledger.write(new)

    def _wish(self, key: str, wish: Wish) -> None:
        """Wish something of a download, whoever fetches it."""
        if self._ledger.record(key) is None or self._obey(key, wish):
            return
        fetch = self._fetches.get(key)
        if fetch is not None and wish is not Wish.RESUME:
            fetch[0].stop.set()
        self._ledger.wish(key, wish)

    def _forget(self, key: str) -> None:
        """Remove the record of a download that has ended."""
        record = self._ledger.record(key)
        if record is None or record.download.state not in _ENDED:
            return
        held = self._ledger.lock(key)
        if held is not None:
            with held:
                self._ledger.remove(key)

    def _begin(self) -> None:
        """Fetch what is next, as long as there is room for more at once."""
        for key, record in _in_order(self._records.items()):
            if len(self._fetches) + len(self._elsewhere) >= self.n_at_once:
                return
            if key not in self._fetches and key not in self._elsewhere and self._is_due(record):
                self._fetch(key)

    def _is_due(self, record: Record) -> bool:
        """Whether a download can begin now: its turn has come, or the process that fetched it is gone."""
        if record.download.state is DownloadState.RUNNING:
            return True
        is_later = record.tried >= self._started and 0 < record.retry - time.time() < 3600  # clocks are set, too
        return record.download.state is DownloadState.WAITING and not is_later

    def _fetch(self, key: str) -> None:
        """Begin with a download, if no other process did so meanwhile."""
        held = self._ledger.lock(key)
        if held is None:
            return
        record = self._ledger.record(key)
        if record is None or not self._is_due(record):
            held.release()
            return
        fetch = Fetch(self._ledger, record, held, self._patience, self._first_retry_seconds)
        thread = threading.Thread(target=self._run, args=(fetch,), name="download", daemon=True)
        with self._guard:
            self._fetches[key] = fetch, thread
        thread.start()

    def _run(self, fetch: Fetch) -> None:
        """What the thread of a download does."""
        try:
            for _ in fetch.run():
                self._tell()
        except ChattermError:
            pass  # its record says it
        finally:
            record = self._ledger.record(fetch.id)
            with self._guard:
                del self._fetches[fetch.id]
                self._wishes.pop(fetch.id, None)
                self._records.pop(fetch.id, None)
                self._settled[fetch.id] = record
                if record is not None:
                    self._records[fetch.id] = record
            self._tell()
            self._poke.set()

    def _download(self, key: str, record: Record) -> Download:
        """A download as it is shown."""
        if key in self._fetches:
            return record.download
        if key in self._elsewhere:
            return msgspec.structs.replace(record.download, is_elsewhere=True)
        if record.download.state is DownloadState.RUNNING:  # of a process that is gone
            return record.waiting().download
        return record.download


def _show_wish(shown: dict[str, Download], key: str, wish: Wish) -> None:
    """Change what is shown to what it will be when a wish has been obeyed."""
    if key not in shown:
        return
    download = shown[key]
    still: dict[str, Any] = {"bytes_per_second": 0.0, "note": "", "problem": "", "problem_title": ""}
    match wish:
        case Wish.CANCEL:
            del shown[key]
        case Wish.PAUSE if download.state in _ACTIVE:
            shown[key] = msgspec.structs.replace(download, state=DownloadState.PAUSED, **still)
        case Wish.RESUME if download.state is not DownloadState.RUNNING:
            shown[key] = msgspec.structs.replace(download, state=DownloadState.WAITING, **still)


def _in_order(found: Iterable[tuple[str, Record]]) -> list[tuple[str, Record]]:
    """Records in the order of their turn; those that are done last."""

    def place(each: tuple[str, Record]) -> tuple[float, float, str]:
        key, record = each
        return (record.ended if record.download.state is DownloadState.DONE else 0.0), record.added, key

    return sorted(found, key=place)
