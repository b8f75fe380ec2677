"""Whose turn it is: what the records say, what this chatterm fetches of it, what others do and wish.

Its methods wait for the disk, so one thread calls them; what is shown can be asked for from any.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from chatterm.downloads.fetch import FIRST_RETRY_SECONDS, LONGEST_ASKED_SECONDS, Fetch, obey
from chatterm.downloads.ledger import Ledger, Wish
from chatterm.downloads.record import Download, DownloadState, Record
from chatterm.errors import ChattermError

if TYPE_CHECKING:
    from chatterm.hub.download import Patience

ACTIVE = frozenset({DownloadState.WAITING, DownloadState.RUNNING})
ENDED = frozenset({DownloadState.DONE, DownloadState.FAILED})


class Turns:
    """The downloads as this process knows them."""

    def __init__(
        self,
        ledger: Ledger,
        n_at_once: int,
        tell: Callable[[], None],
        ended: Callable[[], None],
        patience: Patience | None = None,
        first_retry_seconds: float = FIRST_RETRY_SECONDS,
    ) -> None:
        """Nothing is looked at yet.

        Args:
            ledger: Where the records are.
            n_at_once: How many are fetched at the same time, by all chatterms together.
            tell: Called by any thread when something is new.
            ended: Called by any thread when a fetch has ended, so that the next can begin.
            patience: How failures of the network are waited out.
            first_retry_seconds: How long after that it is tried again, the first time.
        """
        self._ledger = ledger
        self._n_at_once = n_at_once
        self._tell, self._ended = tell, ended
        self._patience = patience
        self._first_retry_seconds = first_retry_seconds
        self._started = time.time()
        self._records: dict[str, Record] = {}
        self._elsewhere: set[str] = set()
        """Those that another process fetches."""
        self._wishes: dict[str, Wish] = {}
        """What was wished and is not done yet."""
        self._fetches: dict[str, tuple[Fetch, threading.Thread]] = {}
        self._settled: dict[str, Record | None] = {}
        """How fetches ended since the folder was last looked at."""
        self._guard = threading.RLock()

    def shown(self) -> dict[str, Download]:
        """All downloads by their ids, in the order of their turn, as they are or will be when wishes have been obeyed."""
        with self._guard:
            newest = self._records | {key: fetch.record for key, (fetch, _) in self._fetches.items()}
            shown = {key: self._download(key, record) for key, record in _in_order(newest.items())}
            for key, wish in self._wishes.items():
                show_wish(shown, key, wish)
            return shown

    def stop(self, seconds: float) -> None:
        """Stop fetching, and wait for that, but no longer than this."""
        with self._guard:
            fetches = list(self._fetches.values())
        for fetch, _ in fetches:
            fetch.stop.set()
        deadline = time.monotonic() + seconds
        for _, thread in fetches:
            thread.join(max(0.0, deadline - time.monotonic()))

    def look(self) -> None:
        """See what the records say now, who fetches what, and do what was wished of those that nobody fetches."""
        with self._guard:
            self._settled.clear()
        self._ledger.save_again()
        wishes = {key: wish for key in self._ledger.records() if (wish := self._ledger.wished(key)) is not None}
        wishes = {key: wish for key, wish in wishes.items() if not self._obey(key)}
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

    def _obey(self, key: str, newest: Wish | None = None) -> bool:
        """Do what is wished of a download, unless somebody fetches it; gives whether that is so."""
        held = None if key in self._fetches else self._ledger.lock(key)
        if held is None:
            return False
        with held:
            claimed, record = self._ledger.claim(key), self._ledger.record(key)
            wish = newest or claimed
            if record is not None and wish is not None:
                obey(self._ledger, record, wish)
        return True

    def add(self, new: Record) -> None:
        """Note a new download, or go on with the same one."""
        key = new.id
        known = self._ledger.record(key)
        if known is not None:
            if known.download.state is not DownloadState.RUNNING or self._ledger.wished(key) is not None:
                self.wish(key, Wish.RESUME)
            return
        held = self._ledger.lock(key)
        if held is not None:  # else another process adds the same one just now
            with held:
                self._ledger.write(new)

    def wish(self, key: str, wish: Wish) -> None:
        """Wish something of a download, whoever fetches it."""
        record = self._ledger.record(key)
        if record is None or self._obey(key, wish):
            return
        fetch, _ = self._fetches.get(key, (None, None))
        if fetch is not None and wish is not Wish.RESUME:
            fetch.stop.set()
        is_stopping = self._ledger.wished(key) is not None or (fetch is not None and fetch.stop.is_set())
        is_running = (fetch.record if fetch else record).download.state is DownloadState.RUNNING
        if wish is not Wish.RESUME or is_stopping or not is_running:
            self._ledger.wish(key, wish)

    def forget(self, key: str) -> None:
        """Remove the record of a download that has ended."""
        record = self._ledger.record(key)
        if record is None or record.download.state not in ENDED:
            return
        held = self._ledger.lock(key)
        if held is not None:
            with held:
                self._ledger.remove(key)

    def begin(self) -> None:
        """Fetch what is next, as long as there is room for more at once."""
        for key, record in _in_order(self._records.items()):
            if len(self._fetches) + len(self._elsewhere) >= self._n_at_once:
                return
            if key not in self._fetches and key not in self._elsewhere and self._is_due(record):
                self._fetch(key)

    def _is_due(self, record: Record) -> bool:
        """Whether a download can begin now: its turn has come, or the process that fetched it is gone."""
        if record.download.state is DownloadState.RUNNING:
            return True
        n_seconds = record.retry - time.time()  # far away is none: clocks are set, too
        is_later = record.tried >= self._started and 0 < n_seconds <= LONGEST_ASKED_SECONDS
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
            self._ended()

    def _download(self, key: str, record: Record) -> Download:
        """A download as it is shown."""
        if key in self._fetches:
            return record.download
        if key in self._elsewhere:
            return msgspec.structs.replace(record.download, is_elsewhere=True)
        if record.download.state is DownloadState.RUNNING:  # of a process that is gone
            return record.waiting().download
        return record.download


def show_wish(shown: dict[str, Download], key: str, wish: Wish) -> None:
    """Change what is shown to what it will be when a wish has been obeyed."""
    if key not in shown:
        return
    download = shown[key]
    still: dict[str, Any] = {"bytes_per_second": 0.0, "note": "", "problem": "", "problem_title": ""}
    match wish:
        case Wish.CANCEL:
            del shown[key]
        case Wish.PAUSE if download.state in ACTIVE:
            shown[key] = msgspec.structs.replace(download, state=DownloadState.PAUSED, **still)
        case Wish.RESUME if download.state is not DownloadState.RUNNING:
            shown[key] = msgspec.structs.replace(download, state=DownloadState.WAITING, **still)


def _in_order(found: Iterable[tuple[str, Record]]) -> list[tuple[str, Record]]:
    """Records in the order of their turn; those that are done last."""

    def place(each: tuple[str, Record]) -> tuple[float, float, str]:
        key, record = each
        return (record.ended if record.download.state is DownloadState.DONE else 0.0), record.added, key

    return sorted(found, key=place)
