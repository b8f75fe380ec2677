"""Promises about settings of one model in the whole app: kept in the file, counting in every conversation."""

from __future__ import annotations

import tomllib
from pathlib import Path

from support.app import MODEL, make_app, model_file
from support.waiting import wait_for
from textual.pilot import Pilot
from textual.widgets import TabbedContent

from chatterm import paths, settings
from chatterm.engine.scripted import ScriptedEngine
from chatterm.settings import Settings
from chatterm.ui.screens.settings import SettingsScreen
from chatterm.ui.widgets.field_row import FieldRow

KEY = Path(MODEL.path).name


async def open_settings(
    pilot: Pilot[None], page: str = "Sampling", first: str = "sampling-temperature"
) -> SettingsScreen:
    """The settings for this model; `first` is the page's first field."""
    await wait_for(pilot, lambda: pilot.app.chat_screen.state.is_open)  # type: ignore[attr-defined]
    await pilot.press("f2")
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, SettingsScreen) and pilot.app.screen.query(FieldRow))
    panel = pilot.app.screen
    assert isinstance(panel, SettingsScreen)
    while panel.query_one(TabbedContent).active != page.lower():
        await pilot.press("ctrl+pagedown")
        await pilot.pause()
    await wait_for(pilot, lambda: panel.query_one(f"#{first}", FieldRow).control.has_focus, f"the focus is on {first}")
    scope = panel.query_one("#scope")
    scope.focus()
    await wait_for(pilot, lambda: scope.has_focus, "the focus is on the scope")
    await pilot.press("right")
    await wait_for(pilot, lambda: panel.draft.scope == "model", "changes are for this model")
    return panel


async def change(pilot: Pilot[None], panel: SettingsScreen, row: str, *keys: str) -> None:
    """Change a field by keys, and apply it."""
    await wait_for(pilot, lambda: panel.query(f"#{row}"))
    control = panel.query_one(f"#{row}", FieldRow).control
    control.focus()
    await wait_for(pilot, lambda: control.has_focus, f"the focus is on {row}")
    await pilot.press(*keys, "ctrl+s")
    await wait_for(pilot, lambda: pilot.app.screen is not panel)


async def test_a_setting_for_this_model_is_in_the_file_and_counts_in_every_conversation():
    app = make_app("Hi.")
    async with app.run_test(size=(100, 40)) as pilot:
        panel = await open_settings(pilot)
        await change(pilot, panel, "sampling-temperature", *"0.3", "enter")
        chat = app.chat_screen.chat
        await wait_for(pilot, lambda: chat.effective.sampling.temperature == 0.3)
        assert chat.overrides == {}
        assert tomllib.loads(paths.settings_file().read_text()) == {
            "for_model": {KEY: {"sampling": {"temperature": 0.3}}}
        }
        await pilot.press("ctrl+n")
        await wait_for(pilot, lambda: app.chat_screen.prompt.has_focus)
        await pilot.press(*"Hello", "enter")
        engine = chat.engine
        assert isinstance(engine, ScriptedEngine)
        await wait_for(pilot, lambda: engine.samplings)
        assert engine.samplings[0].temperature == 0.3


async def test_a_setting_for_loading_loads_this_model_again_and_no_other_one(tmp_path: Path):
    first, second = model_file(tmp_path / "m", "first-q8_0.gguf"), model_file(tmp_path / "m", "second-q8_0.gguf")
    app = make_app(
        settings=Settings().merged({"models": {"folders": [str(tmp_path / "m")]}}), with_model=False, model=str(first)
    )
    async with app.run_test(size=(100, 40)) as pilot:
        await wait_for(pilot, lambda: app.chat_screen.state.is_open and app.chat_screen.chat.model)
        panel = await open_settings(pilot, "Loading", "load-n_ctx")
        await change(pilot, panel, "load-n_ctx", *"1024", "enter")
        chat = app.chat_screen.chat
        await wait_for(pilot, lambda: chat.model and chat.model.n_ctx == 1024)
        app.chat_screen.models.load(second)
        await wait_for(pilot, lambda: chat.model and chat.model.path == str(second))
        assert chat.model
        assert chat.model.n_ctx == 4096
        app.chat_screen.models.load(first)
        await wait_for(pilot, lambda: chat.model and chat.model.path == str(first))
        assert chat.model.n_ctx == 1024
    assert settings.load(paths.settings_file()).for_model == {"first-q8_0.gguf": {"load": {"n_ctx": 1024}}}
