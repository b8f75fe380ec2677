"""How much memory this machine has to spare.

The app asks before a model is fetched or loaded, the worker process while it loads one, so that both
say the same. Knows neither models nor llama.cpp.
"""

from __future__ import annotations

import re
from pathlib import Path

_RESERVE_BYTES = 300 * 1024 * 1024
"""Left to everything else on the machine."""


def free_bytes() -> int:
    """Memory that can be used without pushing anything out, less a reserve; respects a container's limit."""
    import psutil  # late: not needed for the first paint

    free = int(psutil.virtual_memory().available)
    limit = _container_free()
    return max(0, (free if limit is None else min(free, limit)) - _RESERVE_BYTES)


def held_by_models() -> int:
    """Memory that this app's own processes hold for the model that is loaded; it is free once another one is."""
    import psutil  # late: not needed for the first paint

    held = 0
    for process in psutil.Process().children(recursive=True):
        try:
            memory = process.memory_info()
        except psutil.Error:  # it ended
            continue
        held += max(0, memory.rss - getattr(memory, "shared", 0))  # pages of mapped files count as free anyway
    return held


def _container_free(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What is left of the container's memory, its file cache counted as free; None without a limit."""
    try:
        limit = int((root / "memory.max").read_text())
        used = int((root / "memory.current").read_text())
        cached = re.search(r"^inactive_file (\d+)$", (root / "memory.stat").read_text(), re.MULTILINE)
    except (OSError, ValueError):  # no such file, or "max"
        return None
    return limit - used + (int(cached[1]) if cached else 0)
