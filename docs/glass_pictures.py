"""Draws the pictures of the glass box: the real app, and the real tutor with a fixed seed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from textual.pilot import Pilot

    Picture = Callable[..., Awaitable[str]]

QUESTION = "What is a token?"
SEED = 3
ALONE, BESIDE = (96, 30), (150, 38)


class View(NamedTuple):
    """A picture of a view."""

    name: str
    """Empty for a step on the way to the next one."""
    keys: tuple[str, ...]
    words: str
    """What stands on the screen as soon as all is there."""


VIEWS = (
    View("tokens", ("1",), "other spellings"),
    View("next", ("2",), "random point"),
    View("reshape", ("s", "end"), "temperature"),
    View("context", ("escape", "3"), "free"),
    View("attention", ("4",), "heads"),
    View("map", ("v",), "before"),
    View("layers", ("5",), "bars follow"),
    View("vectors", ("6",), "most similar"),
    View("plane", ("v",), "this plane"),
    View("drift", ("v",), "drifts apart"),
    View("", ("2", "enter", "down"), "drawn"),
    View("", ("enter",), "tok/s"),
    View("branches", ("7",), "2 answers"),
    View("temperatures", ("2", "c"), "1.5"),
    View("tour", ("escape", "g"), "goes on"),
)


async def draw_glass(folder: Path, store: Path, picture: Picture) -> None:
    """Every view by itself, then one beside the conversation.

    Args:
        folder: Where the pictures go.
        store: Where the conversations of the pictures lie.
        picture: Gives the screen as SVG, as soon as some words stand on it.
    """
    async with asked(store / "glass.db", ALONE, picture) as pilot:
        for view in VIEWS:
            await pilot.press(*view.keys)
            await pilot.pause(0.5)  # until the cursor has rested
            drawn = await picture(pilot, *view.words.split())
            if view.name:
                (folder / f"glass-{view.name}.svg").write_text(drawn, encoding="utf-8")
    async with asked(store / "beside.db", BESIDE, picture) as pilot:
        await pilot.press("4")
        await pilot.pause(0.5)
        (folder / "glass.svg").write_text(await picture(pilot, "heads", "tok/s"), encoding="utf-8")


@asynccontextmanager
async def asked(store: Path, size: tuple[int, int], picture: Picture) -> AsyncIterator[Pilot[None]]:
    """The app with the glass box open on the word of the tutor's answer at which it was most undecided."""
    from chatterm import tutor
    from chatterm.engine.local import LocalEngine
    from chatterm.library import Library
    from chatterm.settings import LoadOptions, Sampling, Settings
    from chatterm.store import Store
    from chatterm.ui.app import ChatApp
    from chatterm.ui.background import Asked
    from chatterm.ui.glass.tour import undecided

    chosen = Settings(sampling=Sampling(seed=SEED, temperature=0.7), load=LoadOptions(n_threads=1))
    engine = LocalEngine()

    async def open_store() -> Store:
        return await Store.open(store)

    app = ChatApp(
        open_store,
        lambda: engine,
        lambda: Library(chosen),
        chosen,
        model=str(tutor.FILE),
        terminal=Asked(is_dark=True),
    )
    async with app.run_test(size=size) as pilot:
        await picture(pilot, "ready")
        await pilot.press("f12")
        await picture(pilot, "Nothing")
        await pilot.press("tab", *QUESTION, "enter")
        await picture(pilot, "tok/s")
        await pilot.press("f12")
        await picture(pilot, "vocabulary")
        glass = app.chat_screen.transcript.glass
        assert glass is not None
        glass.token_view.go_to(undecided(glass.tokens))
        yield pilot
