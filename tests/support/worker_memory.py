"""What the process that runs a model takes, as the system counts it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import psutil

from chatterm.engine.base import Prompt
from chatterm.engine.local import LocalEngine
from chatterm.gguf import read_header
from chatterm.need import MemoryNeed, memory_needed
from chatterm.settings import LoadOptions, Sampling

_PROMPT = "the cat and the dog were at the water and had no time for other people " * 36
"""Longer than the 512 tokens that are evaluated at once, so that working memory is used as it will be."""


class Measured(NamedTuple):
    """A model that was loaded and answered once."""

    need: MemoryNeed
    """As it was estimated."""
    resident_bytes: int
    """RSS of the process: with the mapped file as far as its pages are in memory, used or not."""
    used_file_bytes: int
    """Pages of the mapped file that the answer took; Linux alone tells."""

    @property
    def error(self) -> float:
        """How far the estimate is off; positive where it is too much."""
        return self.need.resident_bytes / self.resident_bytes - 1


async def measure(path: Path, n_ctx: int) -> Measured:
    """Load a model into a process of its own with the usual options, let it answer, and look at the process."""
    engine = LocalEngine()
    try:
        system_info = (await engine.report()).system_info
        async for _ in engine.load(path, LoadOptions(n_ctx=n_ctx)):
            pass
        assert engine.pid is not None
        references = Path(f"/proc/{engine.pid}/clear_refs")
        if references.exists():
            references.write_text("1")  # from now on the system marks the pages that are used
        async for _ in engine.reply(Prompt(raw=_PROMPT), Sampling(temperature=0, max_tokens=8)):
            pass
        need = memory_needed(read_header(path), n_ctx, system_info=system_info)
        return Measured(need, psutil.Process(engine.pid).memory_info().rss, _used(engine.pid, path))
    finally:
        await engine.close()


def _used(pid: int, path: Path) -> int:
    """What was used of a file's mapping since the marks were cleared, in bytes."""
    try:
        maps = Path(f"/proc/{pid}/smaps").read_text()
    except OSError:
        return 0
    parts = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", maps, flags=re.MULTILINE)
    marks = (re.search(r"^Referenced: +(\d+) kB", part, re.MULTILINE) for part in parts if path.name in part)
    return sum(int(mark[1]) for mark in marks if mark) * 1024
