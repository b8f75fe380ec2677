"""Promises of the first minute: the tutor is there, questions can be picked, and a bigger model is one key away."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.app import make_app, model_file
from support.waiting import wait_for

from chatterm import tutor
from chatterm.engine.scripted import ScriptedEngine
from chatterm.events import ModelInfo
from chatterm.settings import ModelsSettings, Settings
from chatterm.ui.app import ChatApp
from chatterm.ui.screens.models.screen import ModelsScreen

TUTOR = ModelInfo(path=str(tutor.FILE), name="Tutor", quantization="Q8_0", n_ctx=1024)


def with_tutor(*script: str) -> ChatApp:
    engine = ScriptedEngine(*script)
    engine.model = TUTOR
    return make_app(engine=engine)


async def shown(app: ChatApp, pilot) -> None:
    await wait_for(pilot, lambda: app.chat_screen.suggestions.is_shown, "the suggestions are shown")


def asked(app: ChatApp) -> list[str]:
    return [turn.text for turn in app.chat_screen.state.turns]


async def test_without_another_model_the_tutor_is_loaded(tmp_path: Path):
    built_in = model_file(tmp_path / "chatterm" / "tutor", tutor.FILE.name)
    app = make_app("Hello.", with_model=False, built_in=built_in)
    async with app.run_test(size=(120, 36)) as pilot:
        await shown(app, pilot)
        assert app.chat_screen.chat.model is not None
        assert app.chat_screen.chat.model.path == str(built_in)


async def test_the_only_other_model_is_loaded_instead(tmp_path: Path):
    built_in = model_file(tmp_path / "chatterm" / "tutor", tutor.FILE.name)
    other = model_file(tmp_path / "models")
    settings = Settings(models=ModelsSettings(folders=(str(other.parent),)))
    app = make_app(with_model=False, built_in=built_in, settings=settings)
    async with app.run_test(size=(120, 36)) as pilot:
        await wait_for(pilot, lambda: app.chat_screen.state.has_model)
        assert app.chat_screen.chat.model is not None
        assert app.chat_screen.chat.model.path == str(other)
        assert not app.chat_screen.suggestions.is_shown


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 50)])
async def test_all_suggestions_can_be_read(size: tuple[int, int]):
    app = with_tutor()
    async with app.run_test(size=size) as pilot:
        await shown(app, pilot)
        await pilot.pause()
        region = app.chat_screen.suggestions.region
        assert region.height >= len(tutor.QUESTIONS) + 3
        assert region.bottom <= app.chat_screen.prompt.region.y
        assert app.chat_screen.transcript.region.height >= 6


async def test_a_number_asks_its_question():
    app = with_tutor("A token is a piece of text.")
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, pilot)
        await pilot.press("tab", "1")
        await wait_for(pilot, lambda: len(asked(app)) == 2)
        assert asked(app) == [tutor.QUESTIONS[0], "A token is a piece of text."]
        await wait_for(pilot, lambda: not app.chat_screen.suggestions.is_shown)
        assert app.chat_screen.prompt.has_focus


async def test_arrows_and_enter_ask_too():
    app = with_tutor("It reshapes.")
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, pilot)
        await pilot.press("tab", "down", "down", "enter")
        await wait_for(pilot, lambda: asked(app)[:1] == [tutor.QUESTIONS[2]])


async def test_a_click_asks():
    app = with_tutor("They guess.")
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, pilot)
        await pilot.click(app.chat_screen.suggestions, offset=(6, 4))
        await wait_for(pilot, lambda: asked(app)[:1] == [tutor.QUESTIONS[3]])


async def test_what_is_typed_stays_when_a_suggestion_is_taken():
    app = with_tutor("A piece.")
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, pilot)
        await pilot.press(*"half", "tab", "1")
        await wait_for(pilot, lambda: len(asked(app)) == 2)
        assert app.chat_screen.prompt.text == "half"


async def test_letters_typed_in_the_list_go_to_the_prompt():
    app = with_tutor()
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, pilot)
        await pilot.press("tab", *"why 2")
        assert app.chat_screen.prompt.text == "why 2"
        assert app.chat_screen.prompt.has_focus


async def test_tab_and_escape_lead_back_to_the_prompt():
    app = with_tutor()
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, pilot)
        for back in ("tab", "escape"):
            await pilot.press("tab")
            assert app.chat_screen.suggestions.has_focus
            await pilot.press(back)
            assert app.chat_screen.prompt.has_focus


async def test_a_new_chat_suggests_again():
    app = with_tutor("A piece.")
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, pilot)
        await pilot.press("tab", "1")
        await wait_for(pilot, lambda: len(asked(app)) == 2 and app.chat_screen.state.is_idle)
        await pilot.press("ctrl+n")
        await shown(app, pilot)


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_the_last_suggestion_shows_models_to_begin_with(size: tuple[int, int]):
    app = with_tutor()
    async with app.run_test(size=size) as pilot:
        await shown(app, pilot)
        await pilot.press("tab", "5")
        await wait_for(pilot, lambda: isinstance(app.screen, ModelsScreen) and app.screen.page == "recommended")
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is app.chat_screen)
