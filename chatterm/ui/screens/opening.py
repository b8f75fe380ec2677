"""What is painted first: the chat screen's outlines, before the code behind them is imported.

It looks like the empty chat screen and takes down what is typed meanwhile.
"""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Static

from chatterm.ui.commands import COMMANDS
from chatterm.ui.widgets.footer import Footer
from chatterm.ui.widgets.header import Header

WIDE = 100
"""Columns from which the list of conversations has a place of its own."""


class OpeningScreen(Screen[None]):
    """Outlines."""

    DEFAULT_CSS = """
    OpeningScreen {
        background: $background;
        & > Horizontal { height: 1fr; }
        & .opening--list { width: 32; background: $surface; }
        & .opening--find { width: 1fr; height: 1; padding: 0 1; background: $panel; color: $foreground 40%; }
        & .opening--page { height: 1fr; }
        & .opening--prompt { height: 3; padding: 0 1; border: round $border; color: $foreground 40%; }
        & .opening--status { height: 1; padding: 0 1; color: $foreground 60%; }
    }
    """

    def __init__(self, typed: str = "") -> None:
        super().__init__()
        self.typed = typed
        """What was typed before there was a prompt to type in."""

    def compose(self) -> ComposeResult:
        """As the chat screen's, without what needs more code."""
        footer = Footer(getattr(self.app, "keymap", {}))
        footer.possible = frozenset(row.action for row in COMMANDS if not row.when)
        yield Header()
        with Horizontal():
            if self.app.size.width >= WIDE:
                with Vertical(classes="opening--list"):
                    yield Static("Find a title", classes="opening--find")
            with Vertical():
                yield Static(classes="opening--page")
                yield Static("Ask something", classes="opening--prompt")
        yield Static("starting", classes="opening--status")
        yield footer

    def on_key(self, event: events.Key) -> None:
        """Keep what is typed early."""
        if event.is_printable and event.character:
            self.typed += event.character

    def on_paste(self, event: events.Paste) -> None:
        """Keep what is pasted early."""
        self.typed += event.text
