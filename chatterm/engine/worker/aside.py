"""A thread beside the one that answers: it measures a token while llama.cpp computes the next one.

One thing at a time, and waited for before anything else is said; so nothing needs a lock. Where no
core is free for it, it costs what it would cost without.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Aside:
    """Does one thing after the other, beside."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "aside")
        self._doing: Future[None] | None = None

    def do(self, work: Callable[[], None]) -> None:
        """Begin with something, once what was begun before is done."""
        self.wait()
        self._doing = self._thread.submit(work)

    def wait(self) -> None:
        """Return when nothing is left to be done; raises what the work has raised."""
        doing, self._doing = self._doing, None
        if doing is not None:
            doing.result()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()
