"""Keys that are pressed while the store is busy: what was wanted last is shown, and nothing breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.app import make_app
from support.held_store import HeldStore
from support.waiting import wait_for
from textual.pilot import Pilot

from chatterm import paths
from chatterm.engine.scripted import ScriptedEngine
from chatterm.ui.screens.chat import ChatScreen


@asynccontextmanager
async def answered(*script: str, n_answers: int) -> AsyncIterator[tuple[Pilot[Any], ChatScreen, HeldStore]]:
    """The app with a question that was answered so often."""
    app = make_app(*script)
    app._open_store = lambda: HeldStore.open(paths.store_file())
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await wait_for(pilot, lambda: app.chat_screen.state.has_model and app.chat_screen.prompt.has_focus)
        screen = app.chat_screen
        screen.prompt.put("Number?")
        await pilot.press("enter")
        for n in range(1, n_answers + 1):
            await wait_for(pilot, lambda n=n: screen.state.answers[1] == n and screen.state.is_idle)
            if n < n_answers:
                await pilot.press("ctrl+r")
        store = screen.chat.store
        assert isinstance(store, HeldStore)
        yield pilot, screen, store


def said(screen: ChatScreen) -> list[str]:
    """The texts that the transcript shows."""
    return [getattr(view, "text", view.turn.text) for view in screen.transcript.pages.views]


def is_flipping(screen: ChatScreen) -> bool:
    """Whether another answer is being fetched."""
    return any(worker.group == "flip" for worker in screen.workers)


async def test_thoughts_of_an_answer_that_is_not_shown_yet_cannot_be_unfolded() -> None:
    async with answered("One.", "Two.", n_answers=1) as (pilot, screen, store):
        store.hold("begin_reply")
        await pilot.press("ctrl+r")
        await wait_for(pilot, lambda: screen.state.has_reply and store.waits.is_set())
        assert said(screen) == ["Number?"]
        await pilot.press("ctrl+t")
        store.let_go()
        await wait_for(pilot, lambda: said(screen) == ["Number?", "Two."] and screen.state.is_idle)


async def test_a_new_conversation_begins_while_another_answer_is_fetched() -> None:
    async with answered("One.", "Two.", n_answers=2) as (pilot, screen, store):
        store.hold("siblings")
        await pilot.press("alt+left")
        await wait_for(pilot, store.waits.is_set)
        await pilot.press("ctrl+n")
        store.let_go()
        await wait_for(pilot, lambda: not is_flipping(screen))
        assert (said(screen), screen.chat.turns) == ([], [])


@pytest.mark.parametrize("place", ["siblings", "branch", "set_head"])
async def test_the_question_is_answered_again_while_another_answer_is_fetched(place: str) -> None:
    async with answered("One.", "Two.", "Three four.", n_answers=2) as (pilot, screen, store):
        assert isinstance(screen.chat.engine, ScriptedEngine)
        screen.chat.engine.gate = gate = asyncio.Event()
        store.hold(place)
        await pilot.press("alt+left")
        await wait_for(pilot, store.waits.is_set)
        await pilot.press("ctrl+r")
        await wait_for(pilot, lambda: screen.state.replying)
        store.let_go()
        await wait_for(pilot, lambda: not is_flipping(screen) and said(screen) == ["Number?", "Three"])
        gate.set()
        await wait_for(pilot, lambda: screen.state.answers == (2, 3) and screen.state.is_idle)
        assert said(screen) == ["Number?", "Three four."]
