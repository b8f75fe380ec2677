"""What can be done with the row under the cursor: keys and words in a line or two; a click on one does it, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget

_GAP = "   "


class Hint(NamedTuple):
    """A key and what it does."""

    key: str
    """As people read it."""
    label: str
    action: str
    """Of the widget that shows the row; empty where only the key does it."""


class KeyRow(Widget):
    """The hints that fit; the first ones matter most."""

    DEFAULT_CSS = "KeyRow { height: 1; padding: 0 1; color: $foreground 60%; pointer: pointer; }"
    ALLOW_SELECT = False

    hints: reactive[tuple[Hint, ...]] = reactive(())
    """What can be done now."""

    class Wanted(Message):
        """A hint was clicked."""

        def __init__(self, action: str) -> None:
            super().__init__()
            self.action = action

    def show(self, hints: Sequence[Hint]) -> None:
        """Say other keys."""
        self.hints = tuple(hints)

    def render(self) -> Content:
        """As many as fit, each in the first row that has room for it."""
        width, height = self.content_size
        rows: list[list[Content]] = [[] for _ in range(max(height, 1))]
        for hint in self.hints:
            drawn = Content.assemble((hint.key, "$text-accent"), f" {hint.label}")
            drawn = drawn.stylize(Style.from_meta({"hint": hint.action}))
            row = next((row for row in rows if _cells([*row, drawn]) <= width), None)
            if row is not None:
                row.append(drawn)
        return Content("\n").join(Content(_GAP).join(row) for row in rows)

    def on_click(self, event: events.Click) -> None:
        """Ask for what was clicked."""
        if action := event.style.meta.get("hint"):
            self.post_message(self.Wanted(action))


def _cells(hints: Sequence[Content]) -> int:
    """How wide hints are in one row."""
    return sum(hint.cell_length for hint in hints) + len(_GAP) * (len(hints) - 1)
