"""A screen on which the commands of the one table can be taken, by key, palette or click."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.command import Provider
from textual.dom import DOMNode
from textual.screen import Screen

from chatterm.ui.commands import CommandSearch, bindings, is_possible, where_is
from chatterm.ui.messages import RunCommand
from chatterm.ui.screens.state import State


class CommandScreen(Screen[None]):
    """Offers what is possible in its state, and runs what was clicked where it belongs."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("chat")
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {CommandSearch}

    def __init__(self, keymap: Mapping[str, str]) -> None:
        super().__init__()
        self.keymap = keymap
        """The user's own keys."""
        self.state = State()

    def owner_of(self, action: str) -> DOMNode:
        """Who does it: the app, or this screen."""
        return self.app if where_is(action) == "app" else self

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """As the command's row says."""
        return True if is_possible(self.state, action) else None

    @on(RunCommand)
    async def run_command(self, event: RunCommand) -> None:
        """Something that stands for a command was clicked."""
        event.stop()
        await self.app.run_action(event.action, self.owner_of(event.action))
