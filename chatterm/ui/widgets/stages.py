"""A list whose order is the value: entries are moved, and switched off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.reactive import var

from chatterm.ui.widgets.control import Control


class Stages(Control):
    """Entries in an order; what is off stands last and is not part of the value."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "cursor(-1)", "Up", show=False),
        Binding("down", "cursor(1)", "Down", show=False),
        Binding("shift+up,left,minus", "carry(-1)", "Move up", show=False),
        Binding("shift+down,right,plus", "carry(1)", "Move down", show=False),
        Binding("space,enter", "switch", "On or off", show=False),
    ]
    DEFAULT_CSS = """
    Stages { height: auto; width: 1fr; color: $foreground; pointer: pointer; }
    """

    hint = "Shift+↑↓ moves, space switches."
    cursor: var[int] = var(0, init=False)
    """Which line the keys act on."""

    def __init__(self, titles: Mapping[str, str], value: Sequence[str], id: str | None = None) -> None:
        """A list of stages.

        Args:
            titles: All that there are, and how they are called.
            value: The ones that are on, in their order.
        """
        super().__init__(list(value), id)
        self.titles = titles

    @property
    def lines(self) -> list[str]:
        """All entries as they are shown: in their order, then what is off."""
        return [*self.value, *(name for name in self.titles if name not in self.value)]

    def render(self) -> Content:
        """A line for each entry: number, mark, title, and arrows where the cursor is."""
        return Content("\n").join(self._line(i, name) for i, name in enumerate(self.lines))

    def _line(self, i: int, name: str) -> Content:
        is_on, is_here = name in self.value, self.has_focus and i == self.cursor
        style = ("" if is_on else "$foreground-muted ") + ("bold underline" if is_here else "")
        arrows = "$primary" if is_here else "$border-blurred"
        return Content.assemble(
            ("▲ ▼  " if is_on else "     ", arrows),
            (f"{i + 1}. " if is_on else "   ", "$foreground-muted"),
            ("✓ " if is_on else "✗ ", "bold $success" if is_on else "$foreground-muted"),
            (self.titles[name], style.strip()),
            ("" if is_on else "  off", "$foreground-muted"),
        )

    def watch_cursor(self) -> None:
        """Draw it."""
        self.refresh()

    def action_cursor(self, by: int) -> None:
        """Go to another line; beyond the ends, to another field."""
        if 0 <= self.cursor + by < len(self.lines):
            self.cursor += by
        elif by < 0:
            self.screen.focus_previous()
        else:
            self.screen.focus_next()

    def action_carry(self, by: int) -> None:
        """Move the entry under the cursor."""
        order, i = list(self.value), self.cursor
        if i < len(order) and 0 <= i + by < len(order):
            order[i], order[i + by] = order[i + by], order[i]
            self.cursor = i + by
            self.choose(order)

    def action_switch(self) -> None:
        """Switch the entry under the cursor off, or on again as the last one."""
        name = self.lines[self.cursor]
        self.choose([each for each in self.value if each != name] if name in self.value else [*self.value, name])
        self.cursor = self.lines.index(name)

    def on_click(self, event: events.Click) -> None:
        """The arrows move an entry, the rest of its line switches it."""
        if not 0 <= event.y < len(self.lines):
            return
        self.cursor = event.y
        if event.x < 4:
            self.action_carry(-1 if event.x < 2 else 1)
        else:
            self.action_switch()
