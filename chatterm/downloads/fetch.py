"""One download while this process fetches it: events out, its record kept in step, the wishes of others obeyed."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from chatterm.downloads.ledger import Ledger, Wish
from chatterm.downloads.record import DownloadState, Record
from chatterm.errors import ChattermError, DownloadStopped, FileNotChosen, HubBusy, NoNetwork
from chatterm.hub import cache, names
from chatterm.hub.lock import Held
from chatterm.hub.progress import Downloaded, Downloading, Planned, Pulled, PullEvent, Verifying, Waiting
from chatterm.text import amount, line

if TYPE_CHECKING:
    from chatterm.hub.download import Patience

_WRITE_SECONDS = 1.0
"""Progress is written down no more often than this."""
_LOOK_SECONDS = 0.25
"""How often it is looked for wishes."""
FIRST_RETRY_SECONDS = 5.0
_LONGEST_RETRY_SECONDS = 120.0
LONGEST_ASKED_SECONDS = 3600.0
"""The longest wait that the Hub can ask for and get."""


class Fetch:
    """Fetches one download; whoever makes one holds its lock, which `run` gives back."""

    def __init__(
        self,
        ledger: Ledger,
        record: Record,
        held: Held,
        patience: Patience | None = None,
        first_retry_seconds: float = FIRST_RETRY_SECONDS,
    ) -> None:
        """Nothing is fetched yet.

        Args:
            ledger: Where its record is kept.
            record: As it is there.
            held: Its lock.
            patience: How failures are waited out before it counts as failed.
            first_retry_seconds: How long it is waited after that, the first time; doubled with each.
        """
        self.record = record
        """As it is now; newer than the one on the disk."""
        self.stop = threading.Event()
        """Stops it when set; a wish says what is to become of it, else it goes on at the next start."""
        self._ledger = ledger
        self._held = held
        self._patience = patience
        self._first_retry_seconds = first_retry_seconds
        self._written = 0.0

    @property
    def id(self) -> str:
        """Of its download."""
        return self.record.id

    def run(self) -> Generator[PullEvent, None, None]:
        """Fetch it, as `hub.download.pull` does and with its errors; closing the iterator pauses it."""
        from chatterm.hub import download  # late: it brings the network's packages

        wanted = self.record.download
        with self._held, self._watched():
            try:
                n_failed = self.record.n_failed
                begun = {"state": DownloadState.RUNNING, "note": "Asking the Hub.", "n_failed": n_failed}
                self._note(self.record.waiting().but(**begun))
                events = download.pull(
                    wanted.repo, wanted.file, wanted.revision, cancel=self.stop, patience=self._patience
                )
                with closing(events):
                    for event in events:
                        self._follow(event)
                        yield event
            except DownloadStopped:
                self._note(self.record.waiting())
                raise
            except ChattermError as error:
                self._fail(error)
                raise
            except BaseException as error:
                is_stopped = isinstance(error, GeneratorExit | KeyboardInterrupt)
                self._note(
                    paused(self.record) if is_stopped else failed(self.record, f"{error!r}", "Something went wrong")
                )
                raise
            finally:
                self._end()

    def _follow(self, event: PullEvent) -> None:
        """Bring the record up to date with an event."""
        record = self.record
        match event:
            case Planned():
                remove_stale(self._ledger, record, event.blobs)
                self._note(
                    record.but(
                        files=event.files,
                        commit=event.commit,
                        blobs=event.blobs,
                        n_total=event.n_total,
                        n_done=event.n_total - event.n_missing,
                        note="",
                    )
                )
            case Waiting(seconds=seconds):
                again = f" Trying again in {seconds:.0f} s." if seconds >= 1 else ""
                self._progress(record.but(note=event.reason + again, bytes_per_second=0.0))
            case Verifying():
                tenths = event.n_done * 10 // max(event.n_total, 1)
                self._progress(
                    record.but(note=f"Checking what is here already: {tenths * 10} %.", bytes_per_second=0.0)
                )
            case Downloading():
                self._progress(
                    record.but(
                        n_done=event.n_done, n_total=event.n_total, bytes_per_second=event.bytes_per_second, note=""
                    )
                )
            case Downloaded():
                if event.n_fetched:
                    self._note(record.but(fetched=(*record.fetched, (record.commit, event.file))))
            case Pulled():
                self._note(
                    record.but(
                        state=DownloadState.DONE,
                        n_done=record.download.n_total,
                        path=str(event.path),
                        ended=time.time(),
                        bytes_per_second=0.0,
                        note="",
                    )
                )

    def _fail(self, error: ChattermError) -> None:
        """Note why it failed, and when it is tried again if time alone can help."""
        if not isinstance(error, NoNetwork | HubBusy):
            self._note(failed(self.record, _told(error), error.title))
            return
        n_failed = self.record.n_failed + 1
        asked = getattr(error, "retry_after_seconds", None) or 0.0
        own = min(self._first_retry_seconds * 2.0 ** (n_failed - 1), _LONGEST_RETRY_SECONDS)
        seconds = min(max(asked, own), LONGEST_ASKED_SECONDS)
        now = time.time()
        at = time.strftime("%H:%M:%S", time.localtime(now + seconds))
        self._note(
            failed(self.record, str(error), error.title).but(
                state=DownloadState.WAITING,
                note=f"{error.title}. Trying again at {at}.",
                n_failed=n_failed,
                tried=now,
                retry=now + seconds,
            )
        )

    def _end(self) -> None:
        """Do what was wished meanwhile."""
        wish = self._ledger.claim(self.id)
        if wish is not None and (wish is not Wish.RESUME or self.record.download.state is not DownloadState.DONE):
            obey(self._ledger, self.record, wish)

    def _progress(self, record: Record) -> None:
        """Take over a record that differs little; it is written now and then."""
        if record.download.n_done > self.record.download.n_done:
            record = record.but(n_failed=0)
        self.record = record
        if time.monotonic() - self._written >= _WRITE_SECONDS:
            self._written = time.monotonic()
            self._ledger.write(record, is_durable=False)

    def _note(self, record: Record) -> None:
        """Take over a record that must not be lost."""
        self.record = record
        self._written = time.monotonic()
        self._ledger.write(record)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Looks for wishes meanwhile, also while nothing arrives."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(_LOOK_SECONDS):
                if self._ledger.wished(self.id) in {Wish.PAUSE, Wish.CANCEL}:
                    self.stop.set()
                    return

        threading.Thread(target=watch, name="download wishes", daemon=True).start()
        try:
            yield
        finally:
            ended.set()


def paused(record: Record) -> Record:
    """The record of a download that somebody stopped for now."""
    return record.waiting().but(state=DownloadState.PAUSED)


def failed(record: Record, problem: str, title: str) -> Record:
    """The record of a download that cannot go on."""
    return record.but(state=DownloadState.FAILED, problem=problem, problem_title=title, note="", bytes_per_second=0.0)


def _told(error: ChattermError) -> str:
    """What an error says, with what there is to choose from."""
    if not isinstance(error, FileNotChosen):
        return line(str(error))
    return f"{error} It holds: {', '.join(f'{line(file)} ({amount(size)})' for file, size in error.candidates)}."


def remove_stale(ledger: Ledger, record: Record, blobs: tuple[str, ...]) -> None:
    """Remove what arrived of a file that has changed on the Hub since, if nobody else wants it."""
    stale = set(record.blobs) - set(blobs)
    with suppress(OSError):
        cache.remove_partials(record.download.repo, stale - _wanted_by_others(ledger, record))


def _wanted_by_others(ledger: Ledger, record: Record) -> set[str]:
    """What the cache calls the bytes that other downloads are about."""
    return {blob for other in ledger.records().values() if other.id != record.id for blob in other.blobs}


def discard(ledger: Ledger, record: Record) -> int:
    """Remove a download and what arrived of it, for who holds its lock; gives the bytes that were freed.

    What is whole stays: a model that is done, and what another download or program also wants.
    """
    n_freed = 0
    if record.download.state is not DownloadState.DONE:
        others = _wanted_by_others(ledger, record)
        with suppress(OSError):  # such as a disk that is read only now; `models rm --unfinished` still finds it
            n_freed += cache.remove_partials(record.download.repo, set(record.blobs) - others)
            if not others & set(record.blobs):
                n_freed += _remove_parts(record)
    ledger.remove(record.id)
    return n_freed


def _remove_parts(record: Record) -> int:
    """Remove the parts of a split model that this download brought: they are of no use without the rest."""
    files = {file for _, file in record.fetched if names.is_safe(file)}
    commits = {commit for commit, _ in record.fetched} | {record.commit}
    return sum(cache.remove(record.download.repo, files, commit) for commit in commits if commit) if files else 0


def obey(ledger: Ledger, record: Record, wish: Wish) -> None:
    """Do what is wished of a download that nobody fetches, for who holds its lock."""
    state = record.download.state
    match wish:
        case Wish.CANCEL:
            discard(ledger, record)
        case Wish.PAUSE if state in {DownloadState.WAITING, DownloadState.RUNNING}:
            ledger.write(paused(record))
        case Wish.RESUME:
            ledger.write(record.waiting())
