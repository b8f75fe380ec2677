"""Which chatterm writes a reply, and whether it is still alive.

Each open store holds a lock on a small file of its own beside the database. The system frees the
lock when the process ends, however it ends, and a process id that is given out again means
nothing to it. What is asked here is only: does the owner of that name still hold its lock?
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable
from pathlib import Path


class Owner:
    """The lock of one open store."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.name = ""
        """Marks what belongs to this owner in the database."""
        self._handle: int | None = None

    def take(self) -> None:
        """Choose a name and lock its file.

        Where that is impossible (no space, no locks on this file system), others will take this
        owner for dead and show its replies as interrupted; what it writes later puts that right.
        """
        while self._handle is None:
            self.name = secrets.token_hex(8)
            path = _lock_file(self.database, self.name)
            with contextlib.suppress(OSError):
                self._handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
                fcntl.flock(self._handle, fcntl.LOCK_EX)
            if self._handle is None or path.exists():
                return
            os.close(self._handle)  # another one found the file before it was locked, and swept it away
            self._handle = None

    def release(self) -> None:
        """Give the name up and remove the file."""
        if self._handle is None:
            return
        with contextlib.suppress(OSError):
            _lock_file(self.database, self.name).unlink(missing_ok=True)
        os.close(self._handle)
        self._handle = None

    def is_alive(self, name: str) -> bool:
        """Whether the owner of that name, this one or another, still has its store open."""
        return name == self.name or not _is_free(_lock_file(self.database, name), fcntl.LOCK_SH)

    def sweep(self) -> None:
        """Remove the lock files of owners that are dead."""
        prefix = _lock_file(self.database, "").name
        for path in self.database.parent.iterdir():
            if path.name.startswith(prefix) and path.name != prefix + self.name:
                _is_free(path, fcntl.LOCK_EX, lambda path: path.unlink(missing_ok=True))


def _is_free(path: Path, kind: int, then: Callable[[Path], object] = lambda _: None) -> bool:
    """Whether nobody holds the lock of a file; if so, something is done while it is held here."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:
        return False  # cannot be told: what is another's is left alone
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
        then(path)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks
    finally:
        os.close(handle)
    return True


def _lock_file(database: Path, name: str) -> Path:
    """Where the owner of a name keeps its lock."""
    return database.with_name(f"{database.name}-owner-{name}")
