"""One SQLite connection on one thread: opening it, running work on it, and telling what went wrong.

It knows files, locks and transactions, and nothing of conversations. `sqlite3` is imported when a
database is opened, so that importing the store costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from chatterm import paths
from chatterm.errors import NotFound, StoreDamaged, StoreError, StoreFull, StoreLocked, StoreReadOnly
from chatterm.store.migrations import MIGRATIONS, Migration, is_foreign, migrate, version_of

if TYPE_CHECKING:
    import sqlite3
    import tempfile

P = ParamSpec("P")
T = TypeVar("T")

TIMEOUT_SECONDS = 10.0
"""How long a write waits for another program that is writing."""
NEARLY_NOTHING = 256 * 1024
"""Less free space than this, in bytes, explains why a file could not be written."""
LOG_PAGES = 256
"""After so many pages (of 4 kB) the log is written back into the file; a full disk should not be our doing."""


class Database:
    """A connection and the thread that it lives on."""

    def __init__(self, path: Path, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.path = path
        self.timeout_seconds = timeout_seconds
        self.read_only_reason = ""
        """Why nothing can be written; empty when all is well."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._connection: sqlite3.Connection | None = None
        self._copy: tempfile.TemporaryDirectory[str] | None = None

    async def open(self, migrations: Sequence[Migration] = MIGRATIONS) -> None:
        """Connect and bring the tables up to date; read only where writing is impossible.

        Raises:
            StoreLocked: another program keeps all others out.
            StoreDamaged: the file cannot be used; it was not touched.
        """
        try:
            await self._run(lambda: self._open(migrations))
        except BaseException:
            self._thread.shutdown(wait=False)
            raise

    async def read(self, job: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What a job finds, in one consistent view of the file.

        Raises:
            StoreError: as `translated` tells.
        """
        return await self._run(lambda: self._transaction("BEGIN", lambda c: job(c, *args, **kwargs)))

    async def write(self, job: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What a job returns; all that it changed is kept, or nothing where it fails.

        Once begun it goes on to its end, also when the caller is cancelled.

        Raises:
            StoreReadOnly, StoreLocked, StoreFull, StoreDamaged: as `translated` tells.
        """
        if self.read_only_reason:
            raise StoreReadOnly(self.read_only_reason, "What is said now will not be there at the next start.")
        return await self._run(lambda: self._transaction("BEGIN IMMEDIATE", lambda c: job(c, *args, **kwargs)))

    async def close(self) -> None:
        """Close the file; the database is not used afterwards."""
        try:
            await self._run(self._close)
        finally:
            self._thread.shutdown(wait=False)

    async def _run(self, job: Callable[[], T]) -> T:
        """Run something on the thread; a cancelled caller does not take back what is queued."""
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, job))

    def _transaction(self, begin: str, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job inside a transaction; on a full disk once more, after the log has made room."""
        assert self._connection is not None, "the store is closed"
        try:
            return self._attempt(self._connection, begin, job)
        except StoreFull:
            with translated(self.path):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return self._attempt(self._connection, begin, job)

    def _attempt(self, connection: sqlite3.Connection, begin: str, job: Callable[[sqlite3.Connection], T]) -> T:
        with translated(self.path):
            connection.execute(begin)
            try:
                result = job(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return result

    def _open(self, migrations: Sequence[Migration]) -> None:
        try:
            self._connection = self._writable(migrations)
        except (StoreReadOnly, StoreFull) as error:
            self.read_only_reason = error.message
            try:
                with translated(self.path):
                    self._connection = self._readable(migrations)
            except StoreReadOnly as unreadable:
                raise StoreError(f"{self.path} cannot be read.", "Give yourself the right to read it.") from unreadable
            self._connection.execute("PRAGMA query_only = ON")
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.create_function("casefold", 1, str.casefold, deterministic=True)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with translated(self.path):
            connection.close()
        if self._copy:
            self._copy.cleanup()

    def _writable(self, migrations: Sequence[Migration]) -> sqlite3.Connection:
        """A connection that can write."""
        if self.path.is_dir():
            raise StoreDamaged(f"{self.path} is a folder, not a file of conversations.", "Move it out of the way.")
        with translated(self.path):
            paths.ensure(self.path.parent)
            if not self.path.exists():
                self.path.touch(mode=0o600)  # SQLite would let others read it; its side files follow this one
            for place in (self.path, self.path.parent):
                if not os.access(place, os.W_OK):
                    raise PermissionError(errno.EACCES, "no permission to write", str(place))
            connection = self._connect(self.path.absolute().as_uri())
            try:
                self._check(connection, migrations)
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
                migrate(connection, migrations)
            except BaseException:
                connection.close()
                raise
            return connection

    def _readable(self, migrations: Sequence[Migration]) -> sqlite3.Connection:
        """A connection to what is there, where nothing can be written.

        SQLite reads a write-ahead log only if it can make an index beside it. Where it cannot, the
        file is read as it lies, or a copy of both where a crash has left something in the log.
        """
        if not self.path.exists() or self.path.stat().st_size == 0:
            connection = self._connect(":memory:")
            migrate(connection, migrations)
            return connection
        log = self.path.with_name(f"{self.path.name}-wal")
        uri = self.path.absolute().as_uri()
        with contextlib.suppress(StoreReadOnly, StoreFull), translated(self.path):
            return self._current(f"{uri}?mode=ro", migrations)
        if not (log.exists() and log.stat().st_size):
            with contextlib.suppress(StoreReadOnly), translated(self.path):
                return self._current(f"{uri}?immutable=1", migrations)
        import tempfile  # late: only a read-only disk needs it

        self._copy = tempfile.TemporaryDirectory(prefix="chatterm-")
        copy = Path(self._copy.name) / self.path.name
        shutil.copy(self.path, copy)
        if log.exists():
            shutil.copy(log, copy.with_name(log.name))
        connection = self._connect(copy.as_uri())
        self._check(connection, migrations)
        migrate(connection, migrations)
        return connection

    def _current(self, uri: str, migrations: Sequence[Migration]) -> sqlite3.Connection:
        """A connection that only reads, to a file that needs no migration."""
        connection = self._connect(uri)
        try:
            self._check(connection, migrations, needs_current=True)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self, uri: str) -> sqlite3.Connection:
        import sqlite3

        return sqlite3.connect(uri, timeout=self.timeout_seconds, isolation_level=None, uri=True)

    def _check(
        self, connection: sqlite3.Connection, migrations: Sequence[Migration], needs_current: bool = False
    ) -> None:
        """Refuse a file that is not ours, before anything in it is changed."""
        connection.execute("BEGIN")  # one view of it: another chatterm may be making it right now
        is_another_programs, version = is_foreign(connection), version_of(connection)
        connection.execute("COMMIT")
        if is_another_programs:
            raise StoreDamaged(f"{self.path} is another program's database.", "Move it out of the way.")
        if version > len(migrations):
            raise StoreDamaged(
                f"{self.path} was written by a newer chatterm (its version is {version}, this one knows "
                f"{len(migrations)}).",
                "Install the newer chatterm again, or move the file out of the way to start afresh.",
            )
        if needs_current and version < len(migrations):
            raise StoreReadOnly(f"{self.path} was written by an older chatterm, and cannot be brought up to date.")


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system raise about a file into our errors; the one place for it.

    Raises:
        StoreLocked, StoreReadOnly, StoreFull, StoreDamaged, NotFound, StoreError.
    """
    import sqlite3

    try:
        yield
    except sqlite3.Error as error:
        if ours := _from_sqlite(path, error):
            raise ours from error
        raise  # a mistake in this package
    except OSError as error:
        raise _from_system(path, error) from error


def _from_sqlite(path: Path, error: sqlite3.Error) -> StoreError | None:
    """Our error for one of SQLite's; None for what says nothing about the file."""
    import sqlite3

    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
        return NotFound("The conversation is gone.", "Another chatterm has deleted it.")
    match code & 0xFF:  # without the detail
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
            return StoreLocked(
                f"Another program keeps {path} locked.", "Close it, or wait until it is done; then try again."
            )
        case sqlite3.SQLITE_FULL:
            return _full(path)
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_AUTH:
            return _read_only(path)
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StoreDamaged(
                f"{path} is damaged: {error}.",
                "It was left as it is. Restore it from a backup, or move it out of the way to start afresh.",
            )
        case sqlite3.SQLITE_IOERR if _is_full(path):
            return _full(path)
        case sqlite3.SQLITE_IOERR:
            return StoreError(f"{path} cannot be used: {error}.", "Check the disk that it is on.")
    return None


def _from_system(path: Path, error: OSError) -> StoreError:
    match error.errno:
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return _read_only(path)
        case errno.ENOSPC | errno.EDQUOT:
            return _full(path)
    return StoreError(f"{path} cannot be used: {error.strerror or error}.", "Check the disk that it is on.")


def _read_only(path: Path) -> StoreReadOnly:
    return StoreReadOnly(
        f"{path} or its folder cannot be written.", f"Give yourself the right to write in {path.parent}."
    )


def _full(path: Path) -> StoreFull:
    return StoreFull(f"The disk that holds {path} is full.", "Free some space; what is open is saved then.")


def _is_full(path: Path) -> bool:
    """Whether so little space is left that it explains a failed write."""
    try:
        return shutil.disk_usage(path.parent).free < NEARLY_NOTHING
    except OSError:
        return False
