"""What is remembered of a download, and what is shown of it: data without files."""

from __future__ import annotations

import hashlib
from enum import StrEnum

import msgspec

from chatterm.hub import names, repository

VERSION = 1
"""Of the records' form; one that is higher comes from a newer chatterm."""


class DownloadState(StrEnum):
    """How far a download is."""

    WAITING = "waiting"
    """Its turn has not come, or it is tried again later."""
    RUNNING = "running"
    PAUSED = "paused"
    FAILED = "failed"
    """Only somebody who does something about it can help; then it is resumed."""
    DONE = "done"


class Download(msgspec.Struct, frozen=True):
    """A model that is fetched, or was, or will be."""

    id: str
    repo: str
    file: str = ""
    """A path in the repository or a quantization, as `hub.download.pull` takes it; empty for the obvious one."""
    revision: str = ""
    state: DownloadState = DownloadState.WAITING
    n_done: int = 0
    n_total: int = 0
    """Bytes of all its files; 0 while that is not known."""
    bytes_per_second: float = 0.0
    note: str = ""
    """What it waits for, or does besides fetching, as a sentence; empty while bytes come."""
    problem: str = ""
    """Why it failed, and what to do about it; also while it waits for the next try."""
    problem_title: str = ""
    path: str = ""
    """The file to load, once all is here."""
    files: tuple[str, ...] = ()
    """Paths in the repository of what is fetched, the file to load first; empty while that is not known. Untrusted."""
    is_elsewhere: bool = False
    """Whether another chatterm fetches it."""

    @property
    def name(self) -> str:
        """What people call it: the model file's name, or what was asked for while that is not known. Untrusted."""
        if self.files:
            return names.title(self.files[0])
        return f"{self.repo}:{self.file}" if self.file else self.repo

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at this rate; None while there is no rate."""
        return (self.n_total - self.n_done) / self.bytes_per_second if self.bytes_per_second > 0 else None


class Record(msgspec.Struct, frozen=True):
    """What is written down about a download."""

    download: Download
    added: float
    """When it was asked for, in seconds since 1970; tells the order of the queue."""
    ended: float = 0.0
    """When it was done."""
    n_failed: int = 0
    """Tries in a row that the network or the Hub have spoilt."""
    tried: float = 0.0
    """When the last of these ended."""
    retry: float = 0.0
    """When the next one may begin."""
    commit: str = ""
    """The revision of the repository that is fetched."""
    blobs: tuple[str, ...] = ()
    """What the cache calls the bytes of its files."""
    fetched: tuple[tuple[str, str], ...] = ()
    """Files that are whole because of this download, each with its revision."""
    version: int = VERSION

    @property
    def id(self) -> str:
        """Of the download."""
        return self.download.id

    def but(self, **changes: object) -> Record:
        """The same record with some of it changed; what is no field of a record is one of the download."""
        own = {name: value for name, value in changes.items() if name in self.__struct_fields__}
        others = {name: value for name, value in changes.items() if name not in own}
        download = msgspec.structs.replace(self.download, **others) if others else self.download
        return msgspec.structs.replace(self, **{"download": download, **own})

    def waiting(self) -> Record:
        """The record of a download that may begin at once, its failures forgotten."""
        again = {"note": "", "problem": "", "problem_title": "", "path": "", "bytes_per_second": 0.0}
        return self.but(state=DownloadState.WAITING, ended=0.0, n_failed=0, retry=0.0, **again)


def new(repo: str, file: str, revision: str, now: float) -> Record:
    """The record of a download that was just asked for; the same for all ways to say the same.

    Raises:
        RepoNotFound: this names no repository.
    """
    wish = repository.parse(repo)
    file = (file or wish.file).strip()
    if not file.lower().endswith(".gguf"):
        file = file.upper()  # a quantization
    revision = (revision or wish.revision).strip()
    asked = "\0".join((wish.repo, revision or "main", file))
    name = hashlib.sha256(asked.encode("utf-8", "replace")).hexdigest()[:20]
    return Record(Download(name, wish.repo, file, revision), added=now)
