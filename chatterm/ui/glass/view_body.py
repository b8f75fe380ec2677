"""The lines that a view says; where they are a list to choose from, it takes the keys, and goes through the rows.

What the lines mean, others know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.reactive import var
from textual.widgets import Static

from chatterm.ui.glass.aim import Room

NARROWEST = 20
"""Cells that a view has at least; what is longer than the screen is cut."""


class ViewBody(VerticalScroll):
    """A page that scrolls, with a cursor on its rows while it has the focus."""

    class Moved(Message):
        """The cursor is on another row."""

    class Taken(Message):
        """The user wants what is under the cursor."""

    class TokenWanted(Message):
        """The user wants to see the same of another token, so many further on."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "row(-1)", "Up", show=False),
        Binding("down", "row(1)", "Down", show=False),
        Binding("home", "row(-1000)", "First", show=False),
        Binding("end", "row(1000)", "Last", show=False),
        Binding("left", "token(-1)", "Token before", show=False),
        Binding("right", "token(1)", "Next token", show=False),
        Binding("enter", "take", "Take it", show=False),
    ]
    DEFAULT_CSS = """
    ViewBody {
        padding: 0 1; scrollbar-size-vertical: 1; scrollbar-background: $background;
        scrollbar-background-hover: $background; scrollbar-background-active: $background;
        & > #body { height: auto; }
    }
    """

    row: var[int] = var(0, init=False)
    """Where the cursor is, counted from 0."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, can_focus=False)
        self.first_line = 0
        """On which line the rows begin."""
        self.n_rows = 0

    def compose(self) -> ComposeResult:
        """One text, however long."""
        yield Static(id="body", markup=False)

    def say(self, lines: Sequence[Content]) -> None:
        """Show these lines."""
        self.query_one("#body", Static).update(Content("\n").join(lines))

    def offer(self, first_line: int, n_rows: int) -> None:
        """So many rows can be chosen from now; none, and it takes no keys."""
        self.first_line, self.n_rows, self.can_focus = first_line, n_rows, n_rows > 0
        self.set_reactive(ViewBody.row, min(self.row, max(n_rows - 1, 0)))

    @property
    def room(self) -> Room:
        """What there is to draw on."""
        width = max(self.content_size.width - 1, NARROWEST)
        return Room(width, self.size.height, self.shown_row, self.n_rows)

    @property
    def shown_row(self) -> int | None:
        """The row that is marked; None while the keys go elsewhere."""
        return self.row if self.has_focus and self.n_rows else None

    def go_to(self, row: int) -> None:
        """Put the cursor on a row, and show it."""
        self.row = min(max(row, 0), max(self.n_rows - 1, 0))
        line, top = self.first_line + self.row, self.scroll_offset.y
        if line < top or line >= top + self.size.height:
            self.scroll_to(y=line if line < top else line - self.size.height + 1, animate=False)

    def watch_row(self) -> None:
        """Say so."""
        self.post_message(self.Moved())

    def watch_has_focus(self, focused: bool) -> None:
        """The cursor is seen while the keys go here."""
        super().watch_has_focus(focused)
        self.post_message(self.Moved())

    def action_row(self, step: int) -> None:
        """Another row."""
        self.go_to(self.row + step)

    def action_token(self, step: int) -> None:
        """The same of another token."""
        self.post_message(self.TokenWanted(step))

    def action_take(self) -> None:
        """Take what is under the cursor."""
        if self.n_rows:
            self.post_message(self.Taken())

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on a row; twice takes it."""
        row = event.screen_y - self.region.y + self.scroll_offset.y - self.first_line
        if 0 <= row < self.n_rows:
            self.focus()
            self.go_to(row)
            if event.chain == 2:
                self.action_take()
