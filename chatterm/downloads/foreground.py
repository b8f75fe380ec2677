"""A download of the queue that a command waits for: fetched by it, or by another chatterm that has begun already."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

from chatterm.downloads import record as records
from chatterm.downloads.fetch import Fetch, discard
from chatterm.downloads.ledger import Ledger
from chatterm.downloads.record import Download, DownloadState, Record
from chatterm.errors import DownloadStopped, HubError
from chatterm.hub.progress import Downloading, Pulled, PullEvent, Waiting

_LOOK_SECONDS = 0.25


def pull(repo: str, file: str = "", revision: str = "") -> Iterator[PullEvent]:
    """Fetch a model by way of the queue, as events; the arguments and errors are those of `hub.download.pull`.

    Closing the iterator pauses it; so does an interrupt from the keyboard. What failed before anything had come
    does not stay in the queue: who typed the command has seen why.
    """
    ledger, new = Ledger(), records.new(repo, file, revision, time.time())
    while True:
        held = ledger.lock(new.id)
        if held is None:
            is_done = yield from _followed(ledger, new)
            if is_done:
                return
            continue
        ledger.claim(new.id)
        fetch = Fetch(ledger, (ledger.record(new.id) or new).waiting(), held)
        try:
            with closing(fetch.run()) as events:
                yield from events
        except DownloadStopped:
            if ledger.record(new.id) is None:
                raise _cancelled() from None
            raise
        except HubError:
            if not fetch.record.download.n_done:
                _forget(ledger, new.id)
            raise
        return


def listed() -> tuple[list[Download], tuple[str, ...]]:
    """All downloads in the order in which they were asked for, and what is wrong with their records."""
    ledger = Ledger()
    found = sorted(ledger.records().values(), key=lambda record: record.added)
    return [_seen(ledger, record) for record in found], tuple(ledger.complaints)


def discard_unfinished() -> int:
    """Remove the downloads that did not end, with what arrived of them, unless somebody fetches them; gives the bytes."""
    ledger, n_freed = Ledger(), 0
    for record in ledger.records().values():
        if record.download.state is DownloadState.DONE or not record.download.n_done:
            continue
        held = ledger.lock(record.id)
        if held is not None:
            with held:
                n_freed += discard(ledger, record)
    return n_freed


def _seen(ledger: Ledger, record: Record) -> Download:
    """A download as one sees it who fetches none."""
    is_elsewhere = record.download.state is DownloadState.RUNNING and ledger.is_held(record.id)
    if record.download.state is DownloadState.RUNNING and not is_elsewhere:
        return record.waiting().download
    return record.but(is_elsewhere=is_elsewhere).download


def _followed(ledger: Ledger, new: Record) -> Generator[PullEvent, None, bool]:
    """What another chatterm does with a download, as events; gives whether it is done, or else to be done here.

    Raises:
        DownloadStopped: it was stopped there.
        HubError: it failed there.
    """
    was_running = False
    while True:
        is_held, record = ledger.is_held(new.id), ledger.record(new.id)
        if not is_held:
            return was_running and (yield from _ended(record))
        if record is not None and record.download.state is DownloadState.RUNNING:
            if not was_running:
                yield Waiting("", "Another chatterm is fetching it; this is how far it is.", 0.0)
            was_running = True
            yield _told(record.download)
        try:
            time.sleep(_LOOK_SECONDS)
        except KeyboardInterrupt:
            raise DownloadStopped("The other chatterm goes on with it.") from None


def _told(download: Download) -> PullEvent:
    """The event that tells what a record does."""
    if download.note or not download.n_total:
        return Waiting("", download.note or "Asking the Hub.", 0.0)
    file = download.files[0] if download.files else ""
    return Downloading(file, download.n_done, download.n_total, download.bytes_per_second)


def _ended(record: Record | None) -> Generator[PullEvent, None, bool]:
    """The end of a download that another chatterm had; gives whether it is done."""
    match record and record.download.state:
        case None:
            raise _cancelled()
        case DownloadState.PAUSED:
            raise DownloadStopped("The download was paused in another chatterm.", "Run it again to go on.")
        case DownloadState.FAILED:
            assert record is not None
            raise HubError(record.download.problem)
        case DownloadState.DONE:
            assert record is not None
            yield Pulled(Path(record.download.path), 0)
            return True
    return False  # nobody has it any more: it is ours


def _cancelled() -> DownloadStopped:
    return DownloadStopped("The download was cancelled in another chatterm.", "Run it again to begin anew.")


def _forget(ledger: Ledger, key: str) -> None:
    held = ledger.lock(key)
    if held is not None:
        with held:
            ledger.remove(key)
