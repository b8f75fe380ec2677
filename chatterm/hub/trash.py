"""Files that were deleted and can still be brought back: they stay where they are, under a name that no list shows.

A journal in the data folder tells which ones these are. Its writer holds a lock beside it; so what a process that was
killed had put aside is found, and brought back: nothing is lost that could still have been wanted.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from chatterm import paths
from chatterm.hub import lock

SUFFIX = ".chatterm-aside"
"""Ends the name of a file that was put aside."""


class Trash:
    """What this process has put aside."""

    def __init__(self, folder: Path | None = None) -> None:
        """Nothing is put aside, and nothing is written yet."""
        self._folder = folder or paths.aside_folder()
        self._name = secrets.token_hex(8)
        self._held: lock.Held | None = None
        self._aside: list[Path] = []

    def put(self, files: Iterable[Path]) -> None:
        """Put files aside, all of them or none.

        Raises:
            OSError: that cannot be done; they are where they were.
        """
        done: list[Path] = []
        try:
            files = list(files)
            self._note([*self._aside, *(aside(file) for file in files)])
            for file in files:
                file.rename(aside(file))
                done.append(file)
        except OSError:
            for file in done:
                aside(file).rename(file)
            with suppress(OSError):
                self._note(self._aside)
            raise

    def bring_back(self, files: Iterable[Path]) -> None:
        """Give files their names back, all of them or none.

        Raises:
            OSError: that cannot be done, such as when something else has taken the place of one of them.
        """
        files = list(files)
        for file in files:
            if _is_there(file) and not _is_the_same(file, aside(file)):
                raise FileExistsError(errno.EEXIST, "something else is there now", str(file))
        for file in files:
            _give_back(file)
        self.forget(files)

    def forget(self, files: Iterable[Path]) -> None:
        """Note that files are put aside no longer: brought back, or removed."""
        gone = {aside(file) for file in files}
        with suppress(OSError):  # then it is noticed later that they are not there
            self._note([path for path in self._aside if path not in gone])

    def _note(self, aside: list[Path]) -> None:
        """Write the journal anew, before what it tells of is done."""
        if self._held is None:
            paths.ensure(self._folder)
            self._held = lock.take(self._folder / f"{self._name}.lock")
        journal = self._folder / f"{self._name}.json"
        if aside:
            paths.replace(journal, msgspec.json.encode([os.fsencode(path) for path in aside]).decode())
        else:
            journal.unlink(missing_ok=True)
            if self._held is not None:
                self._held.release()
            self._held = None
        self._aside = aside


def bring_back_left(folder: Path | None = None) -> int:
    """Bring back what processes that are gone had put aside; gives how many files that were.

    Where something else has taken a place, the person who deleted the file has filled it since: it goes.
    """
    n_files = 0
    try:
        journals = sorted((folder or paths.aside_folder()).glob("*.json"))
    except OSError:  # a folder that may not be entered: nothing can be brought back from there
        journals = []
    for journal in journals:
        held = lock.take(journal.with_suffix(".lock"))
        if held is None:
            continue
        with held:
            files = _read(journal)
            n_files += sum(_bring_one_back(path) for path in files)
            if not any(map(_is_there, files)):  # else it is tried again at the next start
                with suppress(OSError):
                    journal.unlink(missing_ok=True)
    return n_files


def aside(file: Path) -> Path:
    """Where a file is while it is put aside."""
    return file.with_name(file.name + SUFFIX)


def _bring_one_back(path: Path) -> bool:
    """Bring back one file that a journal names; gives whether it was there."""
    if not _is_there(path):
        return False
    with suppress(OSError):
        file = path.with_name(path.name.removesuffix(SUFFIX))
        if _is_there(file):
            path.unlink()
        else:
            path.rename(file)
            return True
    return False


def _give_back(file: Path) -> None:
    """Give one file its name back; if it was fetched again meanwhile, it has it already."""
    if _is_there(file):
        aside(file).unlink(missing_ok=True)
    else:
        aside(file).rename(file)


def _read(journal: Path) -> list[Path]:
    """What a journal names; nothing when it is damaged."""
    try:
        named = msgspec.json.decode(journal.read_bytes(), type=list[bytes])  # a file's name need not be UTF-8
    except (OSError, msgspec.MsgspecError, ValueError):
        return []
    found = [Path(os.fsdecode(name)) for name in named if b"\0" not in name]
    return [path for path in found if path.is_absolute() and path.suffix == SUFFIX]


def _is_there(path: Path) -> bool:
    """Whether there is a file or a link of that name, even one that leads nowhere."""
    return path.is_symlink() or path.exists()


def _is_the_same(file: Path, other: Path) -> bool:
    """Whether two names lead to the same bytes."""
    try:
        return file.samefile(other)
    except OSError:
        return False
