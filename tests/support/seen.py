"""What a person sees of a whole app in a test, and a click on what is read there."""

from __future__ import annotations

import re
from typing import Any

from support.waiting import wait_for
from textual.app import App
from textual.pilot import Pilot


def seen(app: App[Any]) -> str:
    """The screen on top, line by line."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)


async def sees(pilot: Pilot[Any], pattern: str, seconds: float = 30.0) -> str:
    """Let the app run until a pattern stands on the screen; the screen then."""
    found = re.compile(pattern)
    try:
        await wait_for(pilot, lambda: found.search(seen(pilot.app)), seconds=seconds)
    except AssertionError:
        raise AssertionError(f"never seen: {pattern}\n{seen(pilot.app)}") from None
    return seen(pilot.app)


async def click_on(pilot: Pilot[Any], text: str) -> None:
    """Click in the middle of the first place where a text stands."""
    await sees(pilot, re.escape(text))
    for y, line in enumerate(seen(pilot.app).splitlines()):
        if (x := line.find(text)) >= 0:
            await pilot.click(offset=(x + len(text) // 2, y))
            return
