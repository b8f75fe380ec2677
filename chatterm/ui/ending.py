"""How the app ends: when the system says so, and one thing closed after the other, whatever hangs.

Knows nothing of Textual, nor of what is closed.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial

from chatterm.errors import ChattermError


def end_on(reactions: Mapping[str, Callable[[], object]], deadline_seconds: float) -> None:
    """React to signals in the loop that runs now.

    Args:
        reactions: What ends the app in good order, by the signal's name; a name that this system lacks is passed over.
        deadline_seconds: How long that may take, before the process is ended all the same.
    """
    loop = asyncio.get_running_loop()
    for name, react in reactions.items():
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), partial(_end_soon, loop, react, deadline_seconds))


def _end_soon(
    loop: asyncio.AbstractEventLoop, react: Callable[[], object], deadline_seconds: float, *_: object
) -> None:
    signal.setitimer(signal.ITIMER_REAL, deadline_seconds)  # its default action needs no thread that still runs
    loop.call_soon_threadsafe(react)


async def close_all(steps: Iterable[Callable[[], Awaitable[object]]], seconds_each: float) -> None:
    """Take one step of closing after the other; one that fails or takes too long does not keep the next ones."""
    for step in steps:
        with suppress(TimeoutError, ChattermError):
            await asyncio.wait_for(step(), seconds_each)
