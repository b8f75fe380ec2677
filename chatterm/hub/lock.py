"""Locks on small files, which the system takes back however the process that holds them ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path


class Held:
    """A lock that this process holds, until it is given back."""

    def __init__(self, path: Path, handle: int | None) -> None:
        self._path = path
        self._handle = handle
        """None where locks are impossible; the Hub's own lock on the bytes has to do then."""

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Give it back."""
        if self._handle is None:
            return
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        os.close(self._handle)
        self._handle = None


def take(path: Path) -> Held | None:
    """The lock, or None while another process, or somebody else in this one, holds it."""
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return Held(path, None)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(handle, path):
                return Held(path, handle)
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError:  # a file system without locks
            os.close(handle)
            return Held(path, None)
        os.close(handle)  # its last holder removed the file before we had it


def is_held(path: Path) -> bool:
    """Whether anybody holds it; a look that takes it for no longer than the look."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        there, ours = path.stat(), os.fstat(handle)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
