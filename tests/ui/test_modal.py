"""Promises of all screens over the chat: each is left once, and chatterm can be quit from it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.app import make_app
from support.waiting import wait_for
from textual.app import App
from textual.events import Key
from textual.screen import ModalScreen
from textual.widgets import Input

from chatterm import ui
from chatterm.library import LocalModel
from chatterm.settings import Settings
from chatterm.ui.commands import Palette
from chatterm.ui.screens.dialogs import RenameDialog
from chatterm.ui.screens.model_picker import ModelPicker
from chatterm.ui.widgets.modal import Modal

MODEL = LocalModel(Path("/m/one-Q8_0.gguf"), "one", "", "Q8_0", 1_000, "folder")


def press_at_once(app: App[Any], *keys: str) -> None:
    """As a terminal sends them that was slow: all are there before the first one is answered."""
    for key in keys:
        app.post_message(Key(key, None))


def below(cls: type[Any]) -> Iterator[type[Any]]:
    """A class's subclasses, and theirs."""
    for each in cls.__subclasses__():
        yield each
        yield from below(each)


def test_every_screen_over_the_chat_keeps_these_promises() -> None:
    for module in pkgutil.walk_packages(ui.__path__, f"{ui.__name__}."):
        importlib.import_module(module.name)
    ours = {each for each in below(ModalScreen) if each.__module__.startswith(ui.__name__)}
    assert ours > {RenameDialog, ModelPicker}
    assert ours == {Modal, *below(Modal), Palette}, "the palette is Textual's own, and closes as that does"


@pytest.mark.parametrize("kind", ["dialog", "picker"])
async def test_two_enters_at_once_leave_one_screen(kind: str) -> None:
    app: App[None] = App()
    given: list[object] = []
    async with app.run_test() as pilot:
        screen: Modal[Any] = RenameDialog("Sky") if kind == "dialog" else ModelPicker([MODEL])
        await app.push_screen(ModalScreen())
        under = app.screen
        await app.push_screen(screen, given.append)
        await wait_for(pilot, lambda: screen.query_one(Input).has_focus)
        if isinstance(screen, ModelPicker):
            await wait_for(pilot, lambda: screen._shown_for == "", "the models are listed")
        press_at_once(app, "enter", "enter")
        await wait_for(pilot, lambda: given)
        await wait_for(pilot, lambda: not screen.is_running, "it is gone")
        assert app.screen is under
        assert len(given) == 1


@pytest.mark.parametrize(
    ("opens", "quits"), [("f1", "ctrl+q"), ("f2", "ctrl+q"), ("f4", "ctrl+q"), ("f6", "ctrl+q"), ("f2", "f11")]
)
async def test_chatterm_is_quit_from_there(opens: str, quits: str) -> None:
    app = make_app("Yes.", settings=Settings(keys={"quit": quits}))
    async with app.run_test(size=(120, 36)) as pilot:
        await wait_for(pilot, lambda: app.chat_screen.state.can_send)
        await pilot.press(*"Hi", "enter")
        await wait_for(pilot, lambda: app.chat_screen.state.has_reply and app.chat_screen.state.is_idle)
        await pilot.press(opens)
        await wait_for(pilot, lambda: isinstance(app.screen, Modal) and app.screen.is_running)
        await pilot.press(quits)
        await wait_for(pilot, lambda: not app.is_running)
        assert app._chat is None, "what is open was closed in good order"


async def test_ctrl_c_copies_there_and_says_how_to_quit_where_nothing_is_selected() -> None:
    app = make_app("Yes.")
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await wait_for(pilot, lambda: app.chat_screen.state.is_open)
        app.push_screen(RenameDialog("Sky"))
        await wait_for(pilot, lambda: isinstance(app.focused, Input) and app.focused.selected_text)
        await pilot.press("ctrl+c")
        await wait_for(pilot, lambda: app.clipboard == "Sky")
        assert "closes chatterm" not in str([notice.message for notice in app._notifications])
        await pilot.press("end", "ctrl+c")
        await wait_for(pilot, lambda: any("ctrl+q closes chatterm" in notice.message for notice in app._notifications))
