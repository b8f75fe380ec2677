"""One of a few: all are shown, arrow keys and clicks choose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Size

from chatterm.ui.widgets.control import Control

_GAP = 3
"""Columns between options."""


class Choice(Control):
    """A value out of a few, laid out in as many lines as they need."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "Previous", show=False),
        Binding("right,space", "move(1)", "Next", show=False),
        Binding("up", "line(-1)", "Up", show=False),
        Binding("down", "line(1)", "Down", show=False),
        Binding("home", "bound(0)", "First", show=False),
        Binding("end", "bound(-1)", "Last", show=False),
    ]
    DEFAULT_CSS = """
    Choice { height: auto; width: 1fr; color: $foreground; pointer: pointer; }
    """

    def __init__(
        self, options: Sequence[tuple[Any, str | Content]], value: Any, is_list: bool = False, id: str | None = None
    ) -> None:
        """A choice.

        Args:
            options: Values and how they are called.
            value: The one that is chosen.
            is_list: One option a line; then up and down choose, too.
        """
        super().__init__(value, id)
        self.options = [(value, Content(label) if isinstance(label, str) else label) for value, label in options]
        self.is_list = is_list
        self.hint = "↑↓ chooses, tab goes on." if is_list else ""

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """As many lines as the options need."""
        return len(self._lines(width))

    def render(self) -> Content:
        """Each option with a mark that says whether it is chosen."""
        return Content("\n").join(
            Content("").join(self._drawn(i).pad_right(self._width(i) - len(self._drawn(i))) for i in line)
            for line in self._lines(self.size.width)
        )

    def _drawn(self, i: int) -> Content:
        value, label = self.options[i]
        if value != self.value:
            return Content.assemble(("○ ", "$foreground-muted"), label)
        chosen = label.stylize_before("bold underline" if self.has_focus else "bold")
        return Content.assemble(("● ", "bold $accent" if self.has_focus else "bold $primary"), chosen)

    def _width(self, i: int) -> int:
        return 2 + self.options[i][1].cell_length + _GAP

    def _lines(self, width: int) -> list[list[int]]:
        """Numbers of the options in each line."""
        if self.is_list:
            return [[i] for i in range(len(self.options))]
        lines: list[list[int]] = [[]]
        for i in range(len(self.options)):
            used = sum(self._width(j) for j in lines[-1])
            if lines[-1] and used + self._width(i) - _GAP > width:
                lines.append([])
            lines[-1].append(i)
        return lines

    def _index(self) -> int:
        return next((i for i, (value, _) in enumerate(self.options) if value == self.value), -1)

    def action_move(self, by: int) -> None:
        """Choose the next one; after the last comes the first."""
        self.choose(self.options[(max(self._index(), 0 if by < 0 else -1) + by) % len(self.options)][0])

    def action_line(self, by: int) -> None:
        """In a list, choose the next line; beyond its ends, and elsewhere, go to the next field."""
        if self.is_list and 0 <= self._index() + by < len(self.options):
            self.action_move(by)
        elif by < 0:
            self.screen.focus_previous()
        else:
            self.screen.focus_next()

    def action_bound(self, i: int) -> None:
        """Choose the first or the last one."""
        self.choose(self.options[i][0])

    def on_click(self, event: events.Click) -> None:
        """Choose what was clicked on."""
        lines = self._lines(self.size.width)
        if not 0 <= event.y < len(lines):
            return
        end = 0
        for i in lines[event.y]:
            end += self._width(i)
            if event.x < end - _GAP:
                self.choose(self.options[i][0])
                return
