"""Models that stay in memory, each with its process, although another one answers now.

They are given up, the one first that was put aside first, as soon as what is loaded next needs their
memory. Knows processes and how much memory is free; it does not know llama.cpp.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from glob import escape
from pathlib import Path

import msgspec

from chatterm.engine.process import WorkerProcess
from chatterm.events import ModelInfo
from chatterm.memory import free_bytes
from chatterm.settings import LoadOptions

_PART = re.compile(r"(.+)-\d{5}-of-(\d{5})\.gguf$", re.IGNORECASE)
_SHARE = 1.2
"""Memory that a model takes beside its file: a part of it laid out anew."""
_REST_BYTES = 500_000_000
"""And its context window and process, roughly."""


class Kept(msgspec.Struct, frozen=True):
    """A model that was put aside."""

    path: Path
    options: LoadOptions
    changed_ns: int
    """When its file was changed last."""
    model: ModelInfo
    worker: WorkerProcess


class KeptModels:
    """The models that were put aside, oldest first."""

    def __init__(self, free: Callable[[], int] = free_bytes) -> None:
        """None yet.

        Args:
            free: Tells how many bytes of memory are to be had.
        """
        self._free = free
        self._kept: list[Kept] = []

    @property
    def names(self) -> list[str]:
        """What they are called."""
        return [kept.model.name for kept in self._kept]

    def keep(self, path: Path, options: LoadOptions, model: ModelInfo, worker: WorkerProcess) -> None:
        """Put a model aside, with its process."""
        worker.on_end = self._forget
        self._kept.append(Kept(path, options, _changed_ns(path), model, worker))

    async def take(self, path: Path, options: LoadOptions) -> Kept | None:
        """The model of a file, if it was put aside as it is wanted now; else it is given up, and there is none."""
        for kept in [kept for kept in self._kept if kept.path == path]:
            self._kept.remove(kept)
            if (kept.options, kept.changed_ns) == (options, _changed_ns(path)) and kept.worker.is_running:
                return kept
            await _end(kept)
        return None

    async def make_room(self, path: Path) -> bool:
        """Give models up until the one of a file can be loaded beside them; False where it could not even then."""
        needed = int(_file_bytes(path) * _SHARE) + _REST_BYTES
        while self._free() < needed and self._kept:
            await _end(self._kept.pop(0))
        return self._free() >= needed

    async def end(self) -> None:
        """Give all of them up."""
        kept, self._kept = self._kept, []
        await asyncio.gather(*map(_end, kept))

    def _forget(self, worker: WorkerProcess) -> None:
        """A process has ended by itself: that is no news, its model is loaded again when it is wanted."""
        self._kept = [kept for kept in self._kept if kept.worker is not worker]


def _file_bytes(path: Path) -> int:
    """The size of a model file, all its parts together."""
    parts = (
        path.parent.glob(f"{escape(first[1])}-*-of-{first[2]}.gguf") if (first := _PART.match(path.name)) else [path]
    )
    return sum(part.stat().st_size for part in parts)


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


async def _end(kept: Kept) -> None:
    kept.worker.on_end = lambda _: None
    await kept.worker.end()
