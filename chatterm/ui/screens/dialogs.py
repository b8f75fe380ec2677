"""Small dialogs that ask for one thing."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, Label

from chatterm.ui.widgets.modal import Modal


class RenameDialog(Modal[str | None]):
    """Asks for a conversation's title; None when the old one stays."""

    DEFAULT_CSS = """
    RenameDialog {
        align: center middle;
        & > Vertical {
            width: 60;
            max-width: 90%;
            height: auto;
            padding: 1 2;
            border: round $border;
            background: $surface;
        }
        & Label { width: 1fr; color: $text-muted; }
        & Input { margin: 1 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Keep the old title")]

    def __init__(self, title: str) -> None:
        super().__init__()
        self.old_title = title

    def compose(self) -> ComposeResult:
        """One field."""
        with Vertical() as box:
            box.border_title = "Rename"
            yield Label("Title; empty takes the first question back")
            yield Input(self.old_title, max_length=200)
            yield Label("enter keeps it · escape leaves the old one")

    @on(Input.Submitted)
    def keep(self, event: Input.Submitted) -> None:
        """Done."""
        title = event.value.strip()
        self.dismiss(None if title == self.old_title else title)

    def action_leave(self) -> None:
        """Not after all."""
        self.dismiss(None)
