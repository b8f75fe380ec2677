"""A file while it is fetched: its bytes on the disk, in the hash, and whether there is room for the rest.

Knows no network; `download` brings the bytes.
"""

from __future__ import annotations

import errno
import hashlib
import os
import queue
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from chatterm.errors import DiskFull, HashMismatch, HubError
from chatterm.hub import cache
from chatterm.text import amount, line

_READ_BYTES = 1 << 20
_N_BEHIND = 16
"""Pieces that can wait to be written; the network brings no more than 64 kB at once."""


class Job(NamedTuple):
    """One file to fetch."""

    slot: cache.Slot
    url: str
    etag: str
    size_bytes: int
    hash: str
    """What its bytes must hash to; empty where the Hub does not tell, as some mirrors do not."""
    is_git: bool
    """Whether that is Git's hash and not SHA-256."""


class Partial:
    """The bytes of a file that are here so far.

    A thread of its own writes and hashes them while the next ones arrive; it is never far behind.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.n_done = 0
        """Bytes that were taken, which is where the next one belongs."""
        self._digest = self._new_digest()
        self._behind: queue.Queue[memoryview | None] = queue.Queue(_N_BEHIND)
        self._error: BaseException | None = None
        """Why something could not be written; what comes after it is dropped."""
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Partial:
        descriptor = os.open(self.job.slot.partial, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        self._file = os.fdopen(descriptor, "r+b", buffering=0)  # a killed process leaves nearly all that it took
        self.n_there = os.fstat(descriptor).st_size
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._behind.put(None)
            self._thread.join()
        self._file.close()

    def reread(self) -> Iterator[int]:
        """Hash what an earlier run left; gives how many bytes are through."""
        if self.n_there > self.job.size_bytes:
            self.restart()
        while chunk := self._file.read(_READ_BYTES):
            self._digest.update(chunk)
            self.n_done += len(chunk)
            yield self.n_done

    def write(self, chunk: bytes) -> int:
        """Add bytes that arrived, none beyond the end of the file; gives how many that were.

        Raises:
            OSError: bytes that were added earlier could not be written.
        """
        new = memoryview(chunk)[: self.job.size_bytes - self.n_done]
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_behind, name="write", daemon=True)
            self._thread.start()
        self._check()
        self._behind.put(new)
        self.n_done += len(new)
        return len(new)

    def _write_behind(self) -> None:
        """What the thread does."""
        while (rest := self._behind.get()) is not None:
            try:
                while rest and self._error is None:
                    n_written = self._file.write(rest) or 0  # a disk that fills up takes a part of it first
                    self._digest.update(rest[:n_written])
                    rest = rest[n_written:]
            except BaseException as error:
                self._error = error
            self._behind.task_done()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _settle(self) -> None:
        """Wait until all that was taken is written."""
        self._behind.join()
        self._check()

    def restart(self) -> None:
        """Forget all bytes."""
        self._settle()
        self._file.seek(0)
        self._file.truncate()
        self._digest, self.n_done, self.n_there = self._new_digest(), 0, 0

    def finish(self) -> None:
        """Give the file its name, when it is what was announced.

        Raises:
            HashMismatch: it is not, and was set aside.
        """
        slot = self.job.slot
        self._settle()
        os.fsync(self._file.fileno())
        if self.job.hash and self._digest.hexdigest() != self.job.hash:
            slot.partial.replace(slot.damaged)
            raise HashMismatch(
                f"What arrived is not {line(slot.file)} as the Hub announced it: its hash differs.",
                f"It is not used and lies at {slot.damaged}. Try again to fetch it anew; if that happens "
                "twice, something on the way (a proxy, the memory, the disk) alters data.",
            )
        slot.partial.replace(slot.blob)
        slot.damaged.unlink(missing_ok=True)

    def _new_digest(self) -> hashlib._Hash:
        """The hash by which the Hub names the file: SHA-256 for large ones, Git's for small ones."""
        if self.job.is_git:
            return hashlib.sha1(b"blob %d\0" % self.job.size_bytes, usedforsecurity=False)
        return hashlib.sha256()


def n_missing_of(job: Job) -> int:
    """Bytes of a file that are not on this disk."""
    slot = job.slot
    if is_whole(slot.pointer, job) or is_whole(slot.blob, job):
        return 0
    try:
        return max(0, job.size_bytes - slot.partial.stat().st_size)
    except OSError:
        return job.size_bytes


def is_whole(path: Path, job: Job) -> bool:
    """Whether a file of the right size is there; nothing gets its name before its hash was right."""
    try:
        return path.stat().st_size == job.size_bytes
    except OSError:
        return False


def check_space(n_missing: int, n_kept: int = 0) -> None:
    """Refuse what does not fit, before any more of it is fetched.

    Args:
        n_missing: Bytes that are still to come.
        n_kept: Bytes that came already.

    Raises:
        DiskFull: it does not.
    """
    place = next(path for path in (cache.folder(), *cache.folder().absolute().parents) if path.exists())
    n_free = shutil.disk_usage(place).free
    if n_missing > n_free:
        raise DiskFull(
            f"Needs {amount(n_missing)}{' more' if n_kept else ''}, {amount(n_free)} are free in {place}."
            + (" What arrived is kept." if n_kept else ""),
            "Free some space (`chatterm models rm`), name a smaller file, or set HF_HOME to another disk.",
        )


def disk_error(error: OSError) -> HubError:
    """Our error for one of the disk's."""
    place = cache.folder()
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFull(
            f"The disk with {place} is full. What arrived is kept.",
            "Free some space (`chatterm models rm`) and try again; it goes on where it stopped.",
        )
    return HubError(
        f"The cache in {place} cannot be used: {line(str(error))}.",
        "Make it writable, or set HF_HOME to a folder that is.",
    )
