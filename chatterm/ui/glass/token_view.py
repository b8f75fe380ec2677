"""A text as the tokens that the model reads: boundaries, tints, and a cursor that goes from token to token.

It draws what it is given: pieces of bytes, and for each a number from 0 to 1 that colours it. What the
numbers mean, others know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.reactive import var
from textual.scroll_view import ScrollView
from textual.strip import Strip

from chatterm.ui.glass.shown_token import ShownToken, TokenKind
from chatterm.ui.glass.wrapping import Cell, Wrapping, unmoved, wrapped
from chatterm.ui.widgets.reading.tinted import tint_style

MARGIN = 1
"""Blank cells on both sides."""
NARROWEST = 8


class TokenView(ScrollView, can_focus=True):
    """Tokens in lines."""

    class Moved(Message):
        """The cursor is on another token; -1 where there is none."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    class Opened(Message):
        """The user wants to see what else could have stood at a token."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    class Ended(Message):
        """The cursor is on the last token, and the user wants to go on."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "tokens--odd", "tokens--even", "tokens--template", "tokens--special", "tokens--hot", "tokens--cursor",
    }  # fmt: skip
    DEFAULT_CSS = """
    TokenView {
        background: $background; color: $foreground; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1;
        scrollbar-background: $background; scrollbar-background-hover: $background; scrollbar-background-active: $background;
        & > .tokens--odd { background: $panel; }
        & > .tokens--even { background: $surface; }
        & > .tokens--template { color: $foreground 60%; }
        & > .tokens--special { color: $text-accent; }
        & > .tokens--hot { background: $warning; color: $foreground; }
        & > .tokens--cursor { background: $primary; color: $background; text-style: bold; }
    }
    """
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", "Token before", show=False),
        Binding("right", "step(1)", "Next token", show=False),
        Binding("up", "line(-1)", "Line up", show=False),
        Binding("down", "line(1)", "Line down", show=False),
        Binding("home", "bound(0)", "First token", show=False),
        Binding("end", "bound(-1)", "Last token", show=False),
        Binding("enter", "open", "Alternatives", show=False),
    ]

    cursor: var[int] = var(-1, init=False)
    """Index of the token under the cursor; -1 where there is none."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.tokens: list[ShownToken] = []
        self.tints: Sequence[float | None] | None = None
        """For each token how much it is coloured, 0 to 1, None for not at all; None shows the boundaries instead."""
        self.follows = True
        """Whether the cursor stays on the last token while others come."""
        self._texts: list[str] = []
        """Of the tokens that were laid out last, and how wide that was."""
        self._width = 0
        self._lines: list[list[Cell]] = []
        self._line_of: list[int] = []

    def show(self, tokens: Sequence[ShownToken], tints: Sequence[float | None] | None = None) -> None:
        """Show these tokens; the cursor stays on its token, or on the last one while it follows."""
        self.tokens, self.tints = list(tokens), tints
        last = len(self.tokens) - 1
        cursor = last if self.follows else min(self.cursor, last)
        self._lay_out()
        if cursor != self.cursor:
            self.cursor = cursor
        elif self.follows:
            self._reveal()

    def tint(self, tints: Sequence[float | None] | None) -> None:
        """Colour the same tokens in another way."""
        self.tints = tints
        self.refresh()

    def go_to(self, index: int) -> None:
        """Put the cursor on a token."""
        last = len(self.tokens) - 1
        self.cursor = min(max(index, 0), last) if self.tokens else -1
        self.follows = self.cursor == last

    def watch_cursor(self) -> None:
        """Show where it is, and say so."""
        self._reveal()
        self.refresh()
        self.post_message(self.Moved(self.cursor))

    def action_step(self, step: int) -> None:
        """To the token before or after."""
        if step > 0 and self.tokens and self.cursor == len(self.tokens) - 1:
            self.post_message(self.Ended())
        self.go_to(self.cursor + step)

    def action_bound(self, end: int) -> None:
        """To the first or the last token."""
        self.go_to(0 if end == 0 else len(self.tokens) - 1)

    def action_line(self, step: int) -> None:
        """To the token above or below."""
        if not self.tokens:
            return
        line = self._line_of[self.cursor]
        wanted = min(max(line + step, 0), len(self._lines) - 1)
        if wanted == line:
            self.action_bound(0 if step < 0 else -1)
            return
        column = self._column(line)
        self.go_to(self._token_at(wanted, column))

    def action_open(self) -> None:
        """Say that the alternatives of the token under the cursor are wanted."""
        if self.cursor >= 0:
            self.post_message(self.Opened(self.cursor))

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on a token; twice opens it."""
        index = self._token_at(self.scroll_offset.y + event.y, event.x - MARGIN)
        if index >= 0:
            self.go_to(index)
            if event.chain == 2:
                self.action_open()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Say what the token under the mouse is."""
        index = self._token_at(self.scroll_offset.y + event.y, event.x - MARGIN)
        note = self.tokens[index].note if 0 <= index < len(self.tokens) else ""
        hint = Content(note) if note else None
        if hint != self.tooltip:
            self.tooltip = hint

    def on_resize(self) -> None:
        """Wrap again."""
        self._lay_out()
        self._reveal()

    def render_line(self, y: int) -> Strip:
        """A row of the screen."""
        number = self.scroll_offset.y + y
        base = self.visual_style.rich_style
        if number >= len(self._lines):
            return Strip.blank(self.size.width, base)
        segments = [Segment(" " * MARGIN, base)]
        segments += [Segment(cell.text, self._style(cell.token, base)) for cell in self._lines[number]]
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def _style(self, index: int, base: Style) -> Style:
        """How a token looks."""
        if index == self.cursor:
            return base + self.get_component_rich_style("tokens--cursor")
        kind, style = self.tokens[index].kind, base
        if kind in (TokenKind.TEMPLATE, TokenKind.SPECIAL):
            style += self.get_component_rich_style(f"tokens--{kind.value}", partial=True)
        if self.tints is None:
            return style + self.get_component_rich_style(f"tokens--{'odd' if index % 2 else 'even'}", partial=True)
        tint = self.tints[index] if index < len(self.tints) else None
        return style if tint is None else style + self._tinted(tint)

    def _tinted(self, tint: float) -> Style:
        """The background of a tint, and the mark that needs no colour."""
        page = self.background_colors[1]
        hot = Color.from_rich_color(self.get_component_rich_style("tokens--hot").bgcolor)
        return tint_style(page, hot, tint)

    def _lay_out(self) -> None:
        """Break the tokens into lines."""
        width = max(self.size.width - 2 * MARGIN - 1, NARROWEST)
        texts = [token.text for token in self.tokens]
        stays = Wrapping([[]], [])
        if width == self._width:  # what stands before the first other token need not be laid out again
            pairs = enumerate(zip(texts, self._texts, strict=False))
            n_same = next((i for i, (new, old) in pairs if new != old), min(len(texts), len(self._texts)))
            stays = unmoved(Wrapping(self._lines, self._line_of), texts[:n_same])
        self._lines, self._line_of = wrapped(texts, width, stays)
        self._texts, self._width = texts, width
        self.virtual_size = Size(self.size.width, len(self._lines))
        self.refresh()

    def _reveal(self) -> None:
        """Bring the token under the cursor into view."""
        if not 0 <= self.cursor < len(self._line_of) or not self.size.height:
            return
        line, top, height = self._line_of[self.cursor], self.scroll_offset.y, self.size.height
        if line < top or line >= top + height:
            self.scroll_to(y=line if line < top else line - height + 1, animate=False, immediate=True)

    def _column(self, line: int) -> int:
        """The cell at which the token under the cursor begins."""
        cells = 0
        for cell in self._lines[line]:
            if cell.token == self.cursor:
                break
            cells += cell_len(cell.text)
        return cells

    def _token_at(self, line: int, column: int) -> int:
        """The token at a cell, or the last one before it; -1 on an empty line or below the last."""
        if not 0 <= line < len(self._lines):
            return -1
        found, end = -1, 0
        for cell in self._lines[line]:
            found, end = cell.token, end + cell_len(cell.text)
            if column < end:
                break
        return found
