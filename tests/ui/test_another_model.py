"""The same question to a second model: both answers stay, and each says whose it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from support.app import make_app, model_file
from support.waiting import wait_for
from textual.pilot import Pilot

from chatterm.engine.scripted import ScriptedEngine
from chatterm.errors import OutOfMemory
from chatterm.settings import ModelsSettings, Settings
from chatterm.ui.screens.chat import ChatScreen
from chatterm.ui.screens.model_picker import ModelPicker


@asynccontextmanager
async def answered(engine: ScriptedEngine, file: Path) -> AsyncIterator[tuple[Pilot[Any], ChatScreen]]:
    """The app after one question and answer, with another model at hand."""
    app = make_app(engine=engine, settings=Settings(models=ModelsSettings(folders=(str(file.parent),))))
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await wait_for(pilot, lambda: app.chat_screen.state.is_open, "the store opens")
        await ask(pilot, app.chat_screen, "Why?")
        yield pilot, app.chat_screen


async def ask(pilot: Pilot[Any], screen: ChatScreen, text: str) -> None:
    n = len(screen.state.turns)
    screen.prompt.put(text)
    await pilot.press("enter")
    await wait_for(pilot, lambda: len(screen.state.turns) == n + 2 and screen.state.is_idle, f"a reply to {text}")


async def pick(pilot: Pilot[Any], screen: ChatScreen) -> None:
    """Open the picker by its key, and take the only other model."""
    await pilot.press("alt+r")
    await wait_for(pilot, lambda: isinstance(screen.app.screen, ModelPicker) and screen.app.screen.found)
    await pilot.press("enter")


def shown(screen: ChatScreen) -> list[tuple[str, str]]:
    """Who said what, in the transcript."""
    return [(turn.record.model_name if turn.record else "You", turn.text) for turn in screen.transcript.turns]


async def test_another_model_answers_the_same_question_and_both_answers_stay(tmp_path: Path) -> None:
    file, engine = model_file(tmp_path / "models"), ScriptedEngine("One.", "Two.", "Three.")
    async with answered(engine, file) as (pilot, screen):
        await pick(pilot, screen)
        await wait_for(pilot, lambda: screen.state.answers == (1, 2), "the second answer")
        assert shown(screen) == [("You", "Why?"), (file.stem, "Two.")]
        assert engine.prompts[0].turns == engine.prompts[1].turns
        await pilot.press("alt+left")
        await wait_for(pilot, lambda: screen.state.answers == (0, 2), "the first answer")
        assert shown(screen) == [("You", "Why?"), ("Tiny 4B Instruct", "One.")]
        await ask(pilot, screen, "And now?")
        assert shown(screen)[-1] == (file.stem, "Three."), "the other model goes on"


async def test_a_question_is_not_answered_again_in_a_conversation_that_was_opened_meanwhile(tmp_path: Path) -> None:
    file, engine = model_file(tmp_path / "models"), ScriptedEngine("One.", "Two.", tokens_per_second=3.0)
    async with answered(engine, file) as (pilot, screen):
        await pick(pilot, screen)
        await wait_for(pilot, lambda: screen.state.loading_model, "the other model is on its way")
        await pilot.press("ctrl+n")
        await wait_for(pilot, lambda: screen.status.told.model == file.stem and screen.state.is_idle)
        assert shown(screen) == []
        assert len(engine.prompts) == 1


async def test_a_model_that_cannot_be_loaded_leaves_the_answer_as_it_is(tmp_path: Path) -> None:
    file, engine = model_file(tmp_path / "models"), ScriptedEngine("One.", "Two.")
    async with answered(engine, file) as (pilot, screen):
        engine.load_error = OutOfMemory("Needs 9 GB, 6 GB are free.", "Try a smaller file.")
        await pick(pilot, screen)
        await wait_for(pilot, lambda: screen.models.display and not screen.state.loading_model, "the failure is said")
        assert shown(screen) == [("You", "Why?"), ("Tiny 4B Instruct", "One.")]
        engine.load_error = None
        await pilot.press("f5")
        await wait_for(pilot, lambda: screen.state.has_model and screen.state.is_idle)
        assert len(engine.prompts) == 1, "the wish ended with the failure"
