"""Fetches models from the Hub into the ordinary Hugging Face cache, and survives what happens on the way.

huggingface_hub starts from zero after its process was killed, and accepts a flipped byte; so the
bytes are fetched here: each partial file is continued by any later run, and no file gets its name
before its hash is right. Other tools find what was fetched, and share the lock while it is.
What to fetch is asked by `client` and chosen by `repository`.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple, TypeVar

import httpx2

from chatterm.errors import DownloadStopped, HubBusy, HubError, NoNetwork
from chatterm.hub import cache
from chatterm.hub.bodies import Body, body, client, refused
from chatterm.hub.client import Hub, is_offline
from chatterm.hub.partial import Job, Partial, check_space, disk_error, is_whole, n_missing_of
from chatterm.hub.progress import Downloaded, Downloading, Planned, Pulled, PullEvent, Verifying, Waiting
from chatterm.hub.repository import RemoteFile, choose, parse

T = TypeVar("T")

_MAX_CHANGES = 3
"""How often a file may change under our hands before we give up."""
_MAX_UNREACHED = 3
"""How often a question is asked that nobody answers: who has no network wants to hear of it soon."""
_EVENT_SECONDS = 0.1
_RATE_SECONDS = 5.0


class Patience:
    """How often, and how long each time, a failure is waited out."""

    def __init__(
        self,
        n_failures: int = 6,
        first_wait_seconds: float = 0.5,
        longest_wait_seconds: float = 15.0,
        longest_asked_seconds: float = 120.0,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        """Args:
        n_failures: In a row, without a new byte between them, after which it is given up.
        first_wait_seconds: After the first failure; doubled with each.
        longest_wait_seconds: What doubling stops at.
        longest_asked_seconds: The longest `Retry-After` that is obeyed; a longer one is an error.
        wait: Does the waiting; by default it ends early when the download is stopped.
        """
        self.n_failures = n_failures
        self.first_wait_seconds = first_wait_seconds
        self.longest_wait_seconds = longest_wait_seconds
        self.longest_asked_seconds = longest_asked_seconds
        self.wait = wait

    def seconds_after(self, n_failed: int, error: HubError) -> float | None:
        """How long to wait after so many failures in a row; None when it is enough."""
        if n_failed >= self.n_failures:
            return None
        if isinstance(error, HubBusy) and error.retry_after_seconds is not None:
            asked = error.retry_after_seconds
            return asked if asked <= self.longest_asked_seconds else None
        return min(self.first_wait_seconds * 2.0 ** (n_failed - 1), self.longest_wait_seconds)


def pull(
    repo: str,
    file: str = "",
    revision: str = "",
    *,
    cancel: threading.Event | None = None,
    patience: Patience | None = None,
) -> Generator[PullEvent, None, None]:
    """Fetch a model, as events; blocks between them. Closing the iterator stops it and keeps what arrived.

    Args:
        repo: `owner/name`, `owner/name:QUANTIZATION`, or the address of a repository or a file.
        file: A path in it, a file name or a quantization; empty takes the obvious one. A split
            model is fetched whole.
        revision: A branch, tag or commit; empty takes the address's, or `main`.
        cancel: Stops it when set, at the next bytes or within the read time-out.
        patience: How failures are waited out.

    Raises:
        RepoNotFound, GatedRepo, TokenRefused: the Hub does not give it.
        FileNotChosen: several files could be meant; the error carries them.
        NoNetwork, HubBusy: it could not be had, even after waiting.
        DiskFull: it does not fit; found before anything is fetched, or as soon as others fill the disk.
        HashMismatch: what arrived is not what was announced; it was set aside.
        DownloadStopped: `cancel` was set.
        HubError: the cache cannot be written, or the Hub's answer cannot be used.
    """
    with ExitStack() as stack:
        running = _Pull(repo, file, revision, cancel or threading.Event(), patience or Patience())
        stack.callback(running.client.close)
        try:
            yield from running.run()
        except OSError as error:
            raise disk_error(error) from error


class _Changed(Exception):
    """The file is another one than the Hub had described."""


class _Pull:
    """One run of `pull`: what its steps share."""

    def __init__(self, repo: str, wanted: str, revision: str, cancel: threading.Event, patience: Patience) -> None:
        wish = parse(repo)
        self.repo = wish.repo
        self.wanted = wanted or wish.file
        self.revision = revision or wish.revision or "main"
        self.cancel = cancel
        self.patience = patience
        self.hub = Hub()
        self.client = client(self.hub.timeout_seconds)
        self.headers: dict[str, str] = {}
        self.meter = _Meter()
        self.asked_again: set[str] = set()
        """Files that were sent under another name than they were announced."""
        self.n_finished = 0
        """Bytes of the files of this pull that are whole."""
        self.n_total = 0
        self.n_fetched = 0

    def run(self) -> Iterator[PullEvent]:
        """All of it; once more from the start when the repository changes meanwhile."""
        for _ in range(_MAX_CHANGES):
            try:
                yield from self._run()
            except _Changed:
                continue
            return
        raise HubError(f"{self.repo} changes while it is fetched.", "Try again later.")

    def _run(self) -> Iterator[PullEvent]:
        repository = yield from self._patiently(lambda: self.hub.repository(self.repo, self.revision))
        self.headers = yield from self._patiently(self.hub.headers)
        jobs: list[Job] = []
        for file in choose(repository, self.wanted):
            jobs.append((yield from self._job(repository.commit, file)))  # noqa: PERF401 comprehensions cannot yield
        self.n_finished, self.n_total = 0, sum(job.size_bytes for job in jobs)
        n_missing = sum(n_missing_of(job) for job in jobs)
        check_space(n_missing)
        files, blobs = tuple(job.slot.file for job in jobs), tuple(job.slot.blob.name for job in jobs)
        yield Planned(self.repo, repository.commit, files, self.n_total, n_missing, blobs)
        for job in jobs:
            yield from self._fetch(job)
        cache.point(self.repo, self.revision, repository.commit)
        yield Pulled(jobs[0].slot.pointer, self.n_fetched)

    def _job(self, commit: str, file: RemoteFile) -> Generator[PullEvent, None, Job]:
        """What there is to know about a file before its bytes are asked for."""
        facts = yield from self._patiently(lambda: self.hub.facts(self.repo, commit, file.path), file.path)
        etag = facts.etag or file.sha256
        size_bytes = file.size_bytes if facts.size_bytes is None else facts.size_bytes
        if not etag or not size_bytes:
            raise self.hub.not_a_hub()
        is_hash = re.fullmatch(r"[0-9a-f]{64}", etag)
        slot = cache.Slot(self.repo, commit, file.path, etag)
        sha256 = file.sha256 or (etag if is_hash else "")
        return Job(slot, facts.url, etag, size_bytes, sha256 or file.git_hash, is_git=not sha256)

    def _fetch(self, job: Job) -> Iterator[PullEvent]:
        """Have one file in its place, whoever brings it there."""
        slot, n_before = job.slot, self.n_fetched
        with ExitStack() as stack:
            if not is_whole(slot.pointer, job):
                slot.make_folders()
                yield from self._lock(slot, stack)
            if not is_whole(slot.pointer, job):  # nor did another program bring it while we waited
                if not is_whole(slot.blob, job):
                    yield from self._fill(job)
                slot.link()
        self.n_finished += job.size_bytes
        yield Downloaded(slot.file, slot.pointer, self.n_fetched - n_before)

    def _lock(self, slot: cache.Slot, stack: ExitStack) -> Iterator[PullEvent]:
        """Take the lock that all Hub clients share for these bytes; the stack gives it back."""
        from filelock import Timeout
        from huggingface_hub.utils._fixes import WeakFileLock

        while True:
            try:
                stack.enter_context(WeakFileLock(slot.lock, timeout=0.5))
            except Timeout:
                self._check_stop()
                yield Waiting(slot.file, "Another program is fetching this file.", 0.5)
            else:
                return

    def _fill(self, job: Job) -> Iterator[PullEvent]:
        """Fetch what is missing of a file, check all of it, and give it its name."""
        with Partial(job) as bytes_here:
            for n_read in bytes_here.reread():
                self._check_stop()
                if self.meter.is_due():
                    yield Verifying(job.slot.file, n_read, bytes_here.n_there)
            most, n_failed = bytes_here.n_done, 0
            yield self._progress(job, bytes_here)
            while bytes_here.n_done < job.size_bytes:
                try:
                    yield from self._stream(job, bytes_here)
                except (NoNetwork, HubBusy) as error:
                    n_failed = 1 if bytes_here.n_done > most else n_failed + 1
                    yield from self._pause(error, n_failed, job.slot.file)
                most = max(most, bytes_here.n_done)
            yield self._progress(job, bytes_here)
            bytes_here.finish()

    def _stream(self, job: Job, bytes_here: Partial) -> Iterator[PullEvent]:
        """Bytes of one connection; returns when the file is complete, raises when it is not."""
        with self.hub.translated(self.repo, job.slot.commit, job.slot.file), self._body(job, bytes_here.n_done) as body:
            if body.start != bytes_here.n_done:
                bytes_here.restart()
            for chunk in body.response.iter_raw():
                n_new = bytes_here.write(chunk)
                self.n_fetched += n_new
                self.meter.count(n_new)
                self._check_stop()
                if self.meter.is_due():
                    check_space(job.size_bytes - bytes_here.n_done, n_kept=bytes_here.n_done)
                    yield self._progress(job, bytes_here)
                if bytes_here.n_done >= job.size_bytes:
                    return
        raise NoNetwork("The connection ended before all had come.", "Try again; it goes on where it stopped.")

    @contextmanager
    def _body(self, job: Job, start: int) -> Iterator[_Body]:
        """The response with a file's bytes from `start` on, or from zero where the server cannot do that."""
        headers = self.headers | ({"Range": f"bytes={start}-"} if start else {})
        with body(self.hub, self.client, job.url, headers, partial(self._check_unchanged, job)) as sent:
            yield _Body(sent.response, self._start_of(sent, job, start))

    def _start_of(self, sent: Body, job: Job, start: int) -> int:
        """Where in the file a response's bytes begin.

        Raises:
            HubError: there are no such bytes in this response.
        """
        response = sent.response
        match response.status_code:
            case 206:
                found = re.match(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
                if not found or int(found[1]) != start:
                    raise NoNetwork("The server sent another part of the file than was asked for.", _AGAIN)
                if found[2] not in {"*", str(job.size_bytes)}:
                    raise _Changed
                return start
            case 200:
                n_sent = response.headers.get("Content-Length")
                if n_sent and int(n_sent) != job.size_bytes:
                    raise NoNetwork(
                        f"The server sent {n_sent} bytes where {job.size_bytes} were announced.",
                        "Check whether this network asks for a login in a browser first. " + _AGAIN,
                    )
                return 0
            case 416 if start:
                job.slot.partial.unlink(missing_ok=True)
                raise _Changed
        raise refused(self.hub, sent, self.repo, _AGAIN)

    def _check_unchanged(self, job: Job, response: httpx2.Response) -> None:
        """Compare a response of the Hub with what it had said of the file.

        A mirror may name the same bytes differently when it sends them; so a name that is still
        another one after asking again counts for nothing, and the hash decides.

        Raises:
            _Changed: it may be another file now, ask again.
        """
        etag = response.headers.get("X-Linked-ETag") or response.headers.get("ETag")
        if etag and etag.removeprefix("W/").strip('"') != job.etag and job.etag not in self.asked_again:
            self.asked_again.add(job.etag)
            raise _Changed

    def _patiently(self, ask: Callable[[], T], file: str = "") -> Generator[PullEvent, None, T]:
        """What a question to the Hub gives, asked again while that makes sense."""
        n_failed = 0
        while True:
            self._check_stop()
            try:
                return ask()
            except NoNetwork as error:
                n_failed += 1
                if n_failed >= _MAX_UNREACHED:
                    raise
                yield from self._pause(error, n_failed, file)
            except HubBusy as error:
                n_failed += 1
                yield from self._pause(error, n_failed, file)

    def _pause(self, error: HubError, n_failed: int, file: str) -> Iterator[PullEvent]:
        """Wait a failure out, or raise it when that has been done often enough."""
        seconds = self.patience.seconds_after(n_failed, error)
        if seconds is None or is_offline():
            raise error
        yield Waiting(file, error.message, seconds)
        (self.patience.wait or self.cancel.wait)(seconds)
        self._check_stop()

    def _progress(self, job: Job, bytes_here: Partial) -> Downloading:
        n_done = self.n_finished + bytes_here.n_done
        return Downloading(job.slot.file, n_done, self.n_total, self.meter.bytes_per_second())

    def _check_stop(self) -> None:
        if self.cancel.is_set():
            raise DownloadStopped(
                "The download was stopped; what arrived is kept.", "Try again to go on where it stopped."
            )


_AGAIN = "Try again; it goes on where it stopped."


class _Body(NamedTuple):
    """A response that carries bytes of a file."""

    response: httpx2.Response
    start: int
    """Where in the file its first byte belongs."""


class _Meter:
    """How fast bytes come, over the last seconds; and when it is time to tell."""

    def __init__(self) -> None:
        self._arrived: deque[tuple[float, int]] = deque()
        self._told = 0.0

    def count(self, n_bytes: int) -> None:
        """Note bytes that came just now; those of one tenth of a second are kept as one."""
        now = time.monotonic()
        if self._arrived and now - self._arrived[-1][0] < _EVENT_SECONDS:
            started, n_before = self._arrived.pop()
            self._arrived.append((started, n_before + n_bytes))
        else:
            self._arrived.append((now, n_bytes))
        while now - self._arrived[0][0] > _RATE_SECONDS:
            self._arrived.popleft()

    def bytes_per_second(self) -> float:
        """The rate; 0 before there is half a second to tell it from."""
        elapsed = time.monotonic() - self._arrived[0][0] if self._arrived else 0.0
        return sum(n_bytes for _, n_bytes in self._arrived) / elapsed if elapsed > 0.5 else 0.0

    def is_due(self) -> bool:
        """Whether somebody should hear of it; True ten times a second."""
        now = time.monotonic()
        if now - self._told < _EVENT_SECONDS:
            return False
        self._told = now
        return True
