"""The records of downloads on the disk, the wishes of others beside them, and who fetches what.

`<id>.json` is a record, `<id>.lock` is held by who fetches it, `<id>.wish` is what another process wants of it.
What cannot be written stays in memory, so that a full disk stops no download that fits on another one.
"""

from __future__ import annotations

import re
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

import msgspec

from chatterm import paths
from chatterm.downloads.record import VERSION, DownloadState, Record
from chatterm.errors import HubError
from chatterm.hub import lock, repository
from chatterm.text import expressible, line

_ID = re.compile(r"[0-9a-f]{20}")
_MAX_BYTES = 1_000_000
"""No record is larger."""
_LEFTOVER_SECONDS = 3600.0
"""Age at which a half-written file is nobody's any more."""


class Wish(StrEnum):
    """What somebody wants of a download that another may be fetching."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"


class Ledger:
    """The folder of records; may be used from several threads."""

    def __init__(self, folder: Path | None = None) -> None:
        """Nothing is read yet."""
        self.folder = folder or paths.downloads_folder()
        self.complaints: list[str] = []
        """What is wrong with the files in the folder, a sentence each; each said once."""
        self._unsaved: dict[str, Record] = {}
        self._unsaved_wishes: dict[str, Wish] = {}
        """What could not be written."""
        self._read: dict[str, tuple[tuple[int, int, int], Record]] = {}
        """What was read, and by which signs it is known whether the file is still the same."""
        self._guard = threading.RLock()

    def records(self) -> dict[str, Record]:
        """All records, by their download's key."""
        with self._guard:
            found = {key: record for key in self._ids(".json") if (record := self.record(key)) is not None}
            self._read = {key: known for key, known in self._read.items() if key in found}
            return found | self._unsaved

    def record(self, key: str) -> Record | None:
        """The record of one download; None when there is none that can be used."""
        with self._guard:
            return self._unsaved.get(key) or self._from_disk(key)

    def write(self, record: Record, *, is_durable: bool = True) -> None:
        """Note a record.

        Args:
            record: Only who holds its lock may do that.
            is_durable: Whether it must outlive a loss of power; mere progress need not.
        """
        key = record.id
        try:
            content = msgspec.json.encode(record).decode()
        except UnicodeEncodeError:  # a folder whose name is no UTF-8
            content = msgspec.json.encode(expressible(msgspec.to_builtins(record))).decode()
        with self._guard:
            try:
                paths.replace(self._file(key, "json"), content, is_durable=is_durable)
            except OSError as error:
                self._unsaved[key] = record
                self._complain(f"The list of downloads cannot be saved in {self.folder}: {line(error.strerror or '')}.")
            else:
                self._unsaved.pop(key, None)

    def save_again(self) -> None:
        """Try to write what could not be written before."""
        for record in list(self._unsaved.values()):
            self.write(record)

    def remove(self, key: str) -> None:
        """Forget a record and what was wished of it; for who holds its lock."""
        with self._guard:
            self._unsaved.pop(key, None)
            self._unsaved_wishes.pop(key, None)
            for kind in ("json", "wish"):
                with suppress(OSError):
                    self._file(key, kind).unlink(missing_ok=True)

    def lock(self, key: str) -> lock.Held | None:
        """The right to fetch one download and to write its record; None while somebody has it."""
        with suppress(OSError):
            paths.ensure(self.folder)
        return lock.take(self._file(key, "lock"))

    def is_held(self, key: str) -> bool:
        """Whether somebody fetches it."""
        return lock.is_held(self._file(key, "lock"))

    def wish(self, key: str, wish: Wish) -> None:
        """Tell who fetches a download what is wanted of it."""
        try:
            paths.replace(self._file(key, "wish"), wish.value, is_durable=False)
            self._unsaved_wishes.pop(key, None)
        except OSError as error:  # then at least this process knows
            self._unsaved_wishes[key] = wish
            self._complain(f"The list of downloads cannot be saved in {self.folder}: {line(error.strerror or '')}.")

    def wished(self, key: str) -> Wish | None:
        """What is wanted of a download, if anything."""
        if key in self._unsaved_wishes:
            return self._unsaved_wishes[key]
        try:
            return Wish(self._file(key, "wish").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def claim(self, key: str) -> Wish | None:
        """What is wanted of a download, to be done now; for who holds its lock. What is wished from now on stays."""
        unsaved = self._unsaved_wishes.pop(key, None)
        claimed = self._file(key, "claimed")
        try:
            self._file(key, "wish").replace(claimed)
            wish = Wish(claimed.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            wish = None
        with suppress(OSError):
            claimed.unlink(missing_ok=True)
        return unsaved or wish

    def sweep(self, kept_seconds: float) -> None:
        """Remove what killed processes left half written, and the records of what was done longer ago than that."""
        now = time.time()
        with suppress(OSError):
            for path in self.folder.glob("*.new"):
                with suppress(OSError):
                    if now - path.stat().st_mtime > _LEFTOVER_SECONDS:
                        path.unlink()
        for key, record in self.records().items():
            if record.download.state is DownloadState.DONE and now - record.ended > kept_seconds:
                held = self.lock(key)
                if held is not None:
                    with held:
                        self.remove(key)
        for key in set(self._ids(".wish")) - set(self._ids(".json")):
            self.claim(key)

    def _from_disk(self, key: str) -> Record | None:
        """A record as its file has it now; a file that is none is set aside."""
        path = self._file(key, "json")
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES:
                raise ValueError(key)  # noqa: TRY301 - as any other file that is no record
            signs = (status.st_mtime_ns, status.st_size, status.st_ino)
            if key not in self._read or self._read[key][0] != signs:
                self._read[key] = signs, _decoded(key, path.read_bytes())
        except FileNotFoundError:
            return None
        except _Newer:
            self._complain(f"{path} was written by a newer chatterm; it is left as it is.")
            return None
        except (msgspec.MsgspecError, HubError, ValueError):
            self._complain(f"{path} is damaged; it was set aside, and the download is no longer listed.")
            with suppress(OSError):
                path.replace(path.with_suffix(".damaged"))
            return None
        except OSError as error:
            self._complain(f"{path} cannot be read: {line(error.strerror or '')}.")
            return None
        return self._read[key][1]

    def _complain(self, sentence: str) -> None:
        if sentence not in self.complaints:
            self.complaints.append(sentence)

    def _ids(self, suffix: str) -> Iterator[str]:
        """The ids that files of one kind are named after; what else lies in the folder is left alone."""
        try:
            files = list(self.folder.iterdir())
        except OSError:
            return
        for file in files:
            if file.suffix == suffix and _ID.fullmatch(file.stem):
                yield file.stem

    def _file(self, key: str, kind: str) -> Path:
        assert _ID.fullmatch(key), key
        return self.folder / f"{key}.{kind}"


class _Newer(Exception):
    """A record whose form is not known yet."""


class _Form(msgspec.Struct):
    """As much of a record as tells its form."""

    version: int


def _decoded(key: str, content: bytes) -> Record:
    """A record from the bytes of its file."""
    if msgspec.json.decode(content, type=_Form).version > VERSION:
        raise _Newer
    record = msgspec.json.decode(content, type=Record)
    download = record.download
    if download.id != key or repository.parse(download.repo).repo != download.repo:
        raise ValueError(key)
    return record
