"""What fetching a model is made of: small frozen facts, in the order in which they happen.

A pull is `Planned`, then for each file `Verifying`*, `Downloading`*, `Downloaded`, and at last
`Pulled`; `Waiting` can come anywhere. Failures are exceptions (`errors`), never events.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from chatterm.events import Event


class Planned(Event, frozen=True):
    """It is known what will be fetched, and it fits on the disk."""

    repo: str
    commit: str
    files: tuple[str, ...]
    """Paths inside the repository: one, or all parts of a split model."""
    n_total: int
    """Bytes of all files."""
    n_missing: int
    """Bytes that are not on this disk yet."""
    blobs: tuple[str, ...] = ()
    """What the cache calls the bytes of each file."""


class Waiting(Event, frozen=True):
    """Nothing moves for a moment: the connection broke, the Hub is busy, or another program has the file."""

    file: str
    reason: str
    """A sentence for the person at the keyboard."""
    seconds: float
    """How long it is waited before the next try."""


class Verifying(Event, frozen=True):
    """What an earlier run left is read again, so that the whole file can be checked."""

    file: str
    n_done: int
    """Bytes of this file that were read."""
    n_total: int
    """Bytes of this file that are there."""


class Downloading(Event, frozen=True):
    """Bytes arrive; about ten times a second."""

    file: str
    n_done: int
    """Bytes of all files of this pull that are here."""
    n_total: int
    """Bytes of all files of this pull."""
    bytes_per_second: float = 0.0
    """Over the last seconds, of what arrived now; 0 while it is not known."""

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at this rate; None while there is no rate."""
        return (self.n_total - self.n_done) / self.bytes_per_second if self.bytes_per_second > 0 else None


class Downloaded(Event, frozen=True):
    """A file is whole, checked, and in the cache."""

    file: str
    path: Path
    n_fetched: int
    """Bytes that came over the network in this run."""


class Pulled(Event, frozen=True):
    """All is here."""

    path: Path
    """The file to load: a split model's first part."""
    n_fetched: int


PullEvent: TypeAlias = Planned | Waiting | Verifying | Downloading | Downloaded | Pulled
