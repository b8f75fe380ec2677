"""What can be done with the row under the cursor: keys and words in one line; a click on one does it, too."""

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
        """As many as fit."""
        room, shown = self.content_size.width, []
        for hint in self.hints:
            drawn = Content.assemble((hint.key, "$text-accent"), f" {hint.label}")
            drawn = drawn.stylize(Style.from_meta({"hint": hint.action}))
            if drawn.cell_length > room:
                continue
            shown.append(drawn)
            room -= drawn.cell_length + len(_GAP)
        return Content(_GAP).join(shown)

    def on_click(self, event: events.Click) -> None:
        """Ask for what was clicked."""
        if action := event.style.meta.get("hint"):
            self.post_message(self.Wanted(action))
