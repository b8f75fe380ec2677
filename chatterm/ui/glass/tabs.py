"""The names of the views in one row, each with the key that opens it."""

from __future__ import annotations

from collections.abc import Callable

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import var
from textual.style import Style
from textual.widget import Widget

from chatterm.ui.glass.marks import MUTED
from chatterm.ui.glass.views import VIEWS, View, ViewName


class Tabs(Widget):
    """The names of the views; a click opens one."""

    DEFAULT_CSS = "Tabs { height: 1; padding: 0 0 0 1; background: $panel; pointer: pointer; }"
    ALLOW_SELECT = False

    current: var[ViewName] = var(ViewName.TOKENS)

    class Chosen(Message):
        """A view was clicked."""

        def __init__(self, name: ViewName) -> None:
            super().__init__()
            self.name = name

    def watch_current(self) -> None:
        """Draw it."""
        self.refresh()

    def render(self) -> Content:
        """Number and name of each, as far apart and as long as there is room for."""
        room = self.content_size.width
        drawn = [_row(self.current, name_of, key_gap, gap) for name_of, key_gap, gap in _WAYS]
        return next((row for row in drawn if row.cell_length <= room), drawn[-1])

    def on_click(self, event: events.Click) -> None:
        """Open the view that was clicked."""
        if name := event.style.meta.get("view"):
            self.post_message(self.Chosen(ViewName(name)))


_WAYS: tuple[tuple[Callable[[View, bool], str], str, str], ...] = (
    (lambda view, _: view.title, " ", "  "),
    (lambda view, _: view.title, " ", " "),
    (lambda view, _: view.title, "", " "),
    (lambda view, is_current: view.title if is_current else view.short, "", " "),
    (lambda view, is_current: view.title if is_current else "", "", " "),
)
"""Ways to write the row, the widest first: names, what stands between key and name, and between views."""


def _row(current: ViewName, name_of: Callable[[View, bool], str], key_gap: str, gap: str) -> Content:
    parts = []
    for number, (name, view) in enumerate(VIEWS.items(), start=1):
        is_current = name is current
        style = "bold $text-accent underline" if is_current else MUTED
        drawn = Content.assemble((str(number), "$text-accent"), (key_gap, ""), (name_of(view, is_current), style))
        parts.append(drawn.rstrip().stylize(Style.from_meta({"view": name.value})))
    return Content(gap).join(parts)
