"""The app with the glass box open, asked something: for tests of what it shows and of what its keys do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from support.app import make_app
from support.waiting import wait_for
from textual.pilot import Pilot
from textual.widgets import Static

from chatterm.engine.scripted import ScriptedEngine
from chatterm.ui.screens.chat import ChatScreen
from chatterm.ui.screens.glass_dock import GlassDock


@asynccontextmanager
async def looking(
    *script: str, size: tuple[int, int] = (160, 44), engine: ScriptedEngine | None = None
) -> AsyncIterator[tuple[Pilot[Any], ChatScreen, GlassDock]]:
    """The app with the glass box open."""
    app = make_app(*script, engine=engine)
    async with app.run_test(size=size, notifications=True) as pilot:
        await wait_for(pilot, lambda: app.chat_screen.state.has_model and app.chat_screen.prompt.has_focus)
        await pilot.press("f12")
        await wait_for(pilot, lambda: app.chat_screen.transcript.glass is not None)
        glass = app.chat_screen.transcript.glass
        assert glass is not None
        await wait_for(pilot, lambda: glass.token_view.has_focus, "the glass box is open")
        yield pilot, app.chat_screen, glass


async def ask(pilot: Pilot[Any], screen: ChatScreen, text: str) -> None:
    """Go back to the prompt, ask, and wait for the whole reply and its tokens."""
    glass, n = screen.transcript.glass, len(screen.state.turns)
    assert glass is not None
    await pilot.press("tab")
    await wait_for(pilot, lambda: screen.prompt.has_focus)
    screen.prompt.put(text)
    await pilot.press("enter")
    await wait_for(pilot, lambda: len(screen.state.turns) == n + 2 and screen.state.is_idle, f"a reply to {text}")
    await pilot.press("f12")
    await wait_for(pilot, lambda: glass.token_view.has_focus)
    await wait_for(pilot, lambda: any(token.measured for token in glass.tokens), "its tokens are shown")


def body(glass: GlassDock) -> str:
    """What the view says."""
    return str(glass.query_one("#body", Static).content)
