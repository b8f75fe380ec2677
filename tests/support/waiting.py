"""Waiting for a condition, never for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from textual.pilot import Pilot


async def wait_for(pilot: Pilot[Any], condition: Callable[[], Any], what: str = "", seconds: float = 20.0) -> None:
    """Let the app run until the condition holds; fails with `what` (or the condition's name) after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except LookupError:  # nothing there yet to ask (NoMatches, an empty list)
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"never came true: {what or getattr(condition, '__name__', condition)}")
        await asyncio.sleep(0.01)
        await pilot.pause(0)
