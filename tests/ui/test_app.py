"""Promises of the app: start and end, settings, looks, clipboard."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.app import MODEL, make_app, model_file
from support.waiting import wait_for

from chatterm import paths, settings
from chatterm.address import Address
from chatterm.engine.base import Device, EngineReport
from chatterm.engine.scripted import ScriptedEngine
from chatterm.errors import SettingsError, StoreDamaged, WorkerDied
from chatterm.library import Library
from chatterm.settings import LookSettings, Settings, fields_of
from chatterm.store import Store
from chatterm.ui.app import ChatApp
from chatterm.ui.background import Asked
from chatterm.ui.form import SettingsResult
from chatterm.ui.screens.settings import SettingsScreen

HEAVY = ("huggingface_hub", "llama_cpp", "numpy", "tomlkit", "pygments", "httpx", "jinja2", "psutil")


def test_nothing_heavy_is_imported_for_the_first_paint() -> None:
    code = f"import sys, chatterm.ui.app; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_the_screen_is_there_before_the_store_is_open() -> None:
    gate = asyncio.Event()
    app = make_app("Yes.")
    open_store = app._open_store

    async def wait() -> Store:
        await gate.wait()
        return await open_store()

    app._open_store = wait
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*"Hi", "enter")
        await wait_for(pilot, lambda: app.chat_screen.queue.waiting == ("Hi",))
        gate.set()
        await wait_for(pilot, lambda: len(app.chat_screen.state.turns) == 2 and app.chat_screen.state.is_idle)


async def test_a_store_that_cannot_be_opened_is_a_notice_that_can_be_retried() -> None:
    app = make_app("Yes.")
    open_store = app._open_store
    attempts = []

    async def fail_once() -> Store:
        attempts.append(1)
        if len(attempts) == 1:
            raise StoreDamaged("conversations.db is not a database.", "Move it away, then try again.")
        return await open_store()

    app._open_store = fail_once
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: app.chat_screen)
        banner = app.chat_screen.models
        await wait_for(pilot, lambda: banner.has_class("-shown") and banner.query("Action").first().size.width > 0)
        assert "is not a database" in str(banner.query_one(".banner--text").visual)
        await pilot.click(banner.query("Action").first())
        await wait_for(pilot, lambda: app.chat_screen.state.is_open)
        assert not banner.has_class("-shown")


async def test_a_broken_settings_file_is_named() -> None:
    problem = SettingsError("settings.toml: sampling.temperature: expected a number.", "Mend the file.")

    app = ChatApp(
        lambda: Store.open(paths.store_file()),
        lambda: ScriptedEngine(model=MODEL),
        lambda: Library(Settings()),
        problem=problem,
    )
    async with app.run_test(notifications=True) as pilot:
        await wait_for(pilot, lambda: any("sampling.temperature" in n.message for n in app._notifications))


@pytest.mark.parametrize(("is_dark", "theme"), [(True, "midnight"), (False, "paper"), (None, "midnight")])
async def test_without_a_chosen_theme_the_terminal_decides(is_dark: bool | None, theme: str) -> None:
    app = ChatApp(make_app()._open_store, ScriptedEngine, lambda: Library(Settings()), terminal=Asked(is_dark))
    async with app.run_test():
        assert app.theme == theme


async def test_an_unknown_theme_is_named_and_replaced() -> None:
    app = make_app(settings=Settings(look=LookSettings(theme="no such")))
    async with app.run_test(notifications=True) as pilot:
        await wait_for(pilot, lambda: any("no such" in n.message for n in app._notifications))
        assert app.theme == "midnight"


async def test_a_theme_of_ones_own_is_taken_over_when_it_is_saved() -> None:
    folder = paths.ensure(paths.user_themes_folder())
    app = make_app()
    async with app.run_test() as pilot:
        await wait_for(pilot, lambda: app.chat_screen.state.is_open)
        (folder / "mine.toml").write_text('primary = "#ff8800"\n')
        await wait_for(pilot, lambda: "mine" in app.available_themes)


async def test_a_default_that_is_changed_is_saved_and_counts_at_once() -> None:
    app = make_app("Yes.")
    async with app.run_test() as pilot:
        await wait_for(pilot, lambda: app.chat_screen.state.is_open)
        chat = app.chat_screen.chat
        await app.apply(chat, SettingsResult({"sampling": {"temperature": 0.2}, "look": {"theme": "paper"}}, "default"))
        assert app.theme == "paper"
        assert app.chat_screen.status.told.temperature == 0.2
        assert chat.effective.sampling.temperature == 0.2
    assert settings.load(paths.settings_file()).sampling.temperature == 0.2


async def test_a_change_for_one_conversation_leaves_the_others_alone() -> None:
    app = make_app("Yes.")
    async with app.run_test() as pilot:
        await wait_for(pilot, lambda: app.chat_screen)
        screen = app.chat_screen
        await wait_for(pilot, lambda: screen.state.is_open)
        await app.apply(screen.chat, SettingsResult({"sampling": {"temperature": 1.5}}, "conversation"))
        assert screen.status.told.temperature == 1.5
        await pilot.press("ctrl+n")
        await wait_for(pilot, lambda: screen.status.told.temperature == 0.8)
    assert not paths.settings_file().exists()


async def test_a_change_of_the_context_window_loads_the_model_again(tmp_path: Path) -> None:
    file = model_file(tmp_path / "models")
    app = make_app("Yes.", with_model=False, model=str(file))
    async with app.run_test() as pilot:
        await wait_for(pilot, lambda: app.chat_screen)
        screen = app.chat_screen
        await wait_for(pilot, lambda: screen.status.told.activity == "ready")
        await app.apply(screen.chat, SettingsResult({"load": {"n_ctx": 2048}}, "default"))
        await wait_for(pilot, lambda: screen.status.told.n_ctx == 2048 and screen.state.is_idle)


async def test_a_change_of_the_context_window_loads_the_picked_model_and_not_the_default_one(tmp_path: Path) -> None:
    default, picked = model_file(tmp_path / "models", "default.gguf"), model_file(tmp_path / "models", "picked.gguf")
    chosen = Settings().merged({"chat": {"model": str(default)}})
    app = make_app("Yes.", with_model=False, model=str(picked), settings=chosen)
    async with app.run_test() as pilot:
        await wait_for(pilot, lambda: app.chat_screen)
        screen = app.chat_screen
        await wait_for(pilot, lambda: screen.status.told.activity == "ready")
        await app.apply(screen.chat, SettingsResult({"load": {"n_ctx": 2048}}, "default"))
        await wait_for(pilot, lambda: screen.status.told.n_ctx == 2048 and screen.state.is_idle)
        assert screen.chat.model
        assert screen.chat.model.path == str(picked)


async def test_the_settings_show_the_picked_model_and_can_go_back_to_the_default_one(tmp_path: Path) -> None:
    default, picked = model_file(tmp_path / "models", "default.gguf"), model_file(tmp_path / "models", "picked.gguf")
    chosen = Settings().merged({"chat": {"model": str(default)}})
    app = make_app("Yes.", with_model=False, model=str(picked), settings=chosen)
    async with app.run_test() as pilot:
        await wait_for(pilot, lambda: app.chat_screen)
        screen = app.chat_screen
        await wait_for(pilot, lambda: screen.status.told.activity == "ready")
        await pilot.press("f2")
        await wait_for(pilot, lambda: isinstance(app.screen, SettingsScreen))
        assert isinstance(app.screen, SettingsScreen)
        (field,) = [field for field in fields_of("chat") if field.name == "model"]
        assert app.screen.draft.value(field) == str(picked)
        app.screen.draft.edit(field, str(default))
        await pilot.press("ctrl+s")
        await wait_for(pilot, lambda: screen.chat.model is not None and screen.chat.model.path == str(default))


async def test_a_model_that_is_not_here_is_named() -> None:
    app = make_app(with_model=False, model="no-such-model")
    async with app.run_test() as pilot:
        await wait_for(pilot, lambda: app.chat_screen)
        banner = app.chat_screen.models
        await wait_for(pilot, lambda: banner.has_class("-shown"))
        assert "no-such-model" in str(banner.query_one(".banner--text").visual)


async def test_quitting_does_not_wait_for_an_engine_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatterm.ui.app.SECONDS_TO_CLOSE", 0.2)
    engine = ScriptedEngine()

    async def hang() -> None:
        await asyncio.Event().wait()

    engine.close = hang  # type: ignore[method-assign]
    app = make_app(engine=engine)
    async with app.run_test() as pilot:
        await wait_for(pilot, lambda: app.chat_screen.state.is_open)
        await pilot.press("ctrl+q")
        await wait_for(pilot, lambda: not app.is_running)


async def test_quitting_while_the_first_model_is_looked_for_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatterm.ui.app.SECONDS_TO_CLOSE", 0.5)
    looking, found, engine = threading.Event(), threading.Event(), ScriptedEngine()

    async def find_it_and_hang() -> None:
        found.set()
        await asyncio.Event().wait()

    engine.close = find_it_and_hang  # type: ignore[method-assign]
    app = make_app(engine=engine, with_model=False)
    make_library = app._make_library

    def slow() -> Library:
        library = make_library()
        first = library.first

        def look(*names: str) -> Address | None:
            looking.set()
            found.wait()
            return first(*names)

        monkeypatch.setattr(library, "first", look)
        return library

    app._make_library = slow
    async with app.run_test() as pilot:
        await wait_for(pilot, looking.is_set)
        await pilot.press("ctrl+q")
        await wait_for(pilot, lambda: not app.is_running)


async def start_ends(app: ChatApp) -> None:
    """Let all that the start began come to its end."""
    while any(worker.group in ("open", "start") for worker in app.workers):
        await asyncio.sleep(0)


async def test_quitting_during_the_start_begins_nothing_new() -> None:
    engine = ScriptedEngine()
    app = make_app(engine=engine)
    make_library = app._make_library

    def make_library_and_quit() -> Library:
        app.run_worker(app.action_quit())  # between two steps of the start, which a key might miss
        return make_library()

    engine.close = lambda: start_ends(app)  # type: ignore[method-assign]
    app._make_library = make_library_and_quit
    async with app.run_test() as pilot:
        await wait_for(pilot, lambda: not app.is_running)


async def test_trying_again_while_chatterm_closes_begins_nothing_new() -> None:
    engine = ScriptedEngine()
    app = make_app(engine=engine)

    async def fail() -> Store:
        raise StoreDamaged("conversations.db is not a database.", "Move it away, then try again.")

    async def try_again() -> None:
        app.action_retry()
        await start_ends(app)

    engine.close = try_again  # type: ignore[method-assign]
    app._open_store = fail
    async with app.run_test() as pilot:
        await wait_for(pilot, lambda: app.chat_screen.models.has_class("-shown"))
        await pilot.press("ctrl+q")
        await wait_for(pilot, lambda: not app.is_running)


async def test_a_copy_goes_to_the_systems_own_tool_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    got = tmp_path / "got"
    tool = tmp_path / "xclip"
    tool.write_text(f"#!/bin/sh\ncat > {got}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    app = make_app()
    async with app.run_test() as pilot:
        app.copy_to_clipboard("grüße")
        await wait_for(pilot, lambda: got.exists() and got.read_text() == "grüße")


async def test_a_theme_is_chosen_in_the_palette_and_kept() -> None:
    app = make_app()
    async with app.run_test() as pilot:
        await wait_for(pilot, lambda: app.chat_screen.state.is_open)
        app.action_choose_theme()
        await wait_for(pilot, lambda: app.screen is not app.chat_screen)
        await pilot.press(*"paper")
        await wait_for(pilot, lambda: app.screen.query_one("OptionList").option_count == 1)  # type: ignore[attr-defined]
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.theme == "paper" and paths.settings_file().exists())
    assert settings.load(paths.settings_file()).look.theme == "paper"


async def test_the_engine_is_started_while_the_store_is_opened() -> None:
    gate = asyncio.Event()
    engine = ScriptedEngine()
    app = make_app(engine=engine)
    open_store = app._open_store

    async def wait() -> Store:
        await gate.wait()
        return await open_store()

    app._open_store = wait
    async with app.run_test() as pilot:
        await wait_for(pilot, lambda: engine.n_starts == 1)
        assert app._chat is None
        gate.set()
        await wait_for(pilot, lambda: app.chat_screen.state.is_open)


async def test_an_engine_that_does_not_start_is_said_by_the_load_alone(tmp_path: Path) -> None:
    engine = ScriptedEngine(load_error=WorkerDied("It ended.", "Start it again."))

    async def fail() -> None:
        raise WorkerDied("It could not be started.", "Close other programs.")

    engine.start = fail  # type: ignore[method-assign]
    app = make_app(engine=engine, with_model=False, model=str(model_file(tmp_path)))
    async with app.run_test(notifications=True) as pilot:
        await wait_for(pilot, lambda: app.chat_screen.models.has_class("-shown"))
        assert "It ended." in str(app.chat_screen.models.query_one(".banner--text").visual)
        assert not app._notifications


async def test_what_is_typed_before_the_first_paint_is_in_the_prompt() -> None:
    app = ChatApp(
        lambda: Store.open(paths.store_file()),
        lambda: ScriptedEngine(model=MODEL),
        lambda: Library(Settings()),
        terminal=Asked(typed="Hello"),
    )
    async with app.run_test() as pilot:
        await wait_for(pilot, lambda: app.chat_screen.prompt.text == "Hello")


async def test_memory_of_gpus_counts_for_what_fits() -> None:
    class WithGpu(ScriptedEngine):
        async def report(self) -> EngineReport:
            devices = (Device("CPU", "a processor", "CPU", 8, 16), Device("GPU0", "a device", "GPU", 20, 24))
            return EngineReport("scripted", "", devices, can_offload=True)

    app = make_app(engine=WithGpu("One."))
    async with app.run_test() as pilot:
        await wait_for(pilot, lambda: app.chat_screen.state.is_open and app.library.vram_bytes == 20)
