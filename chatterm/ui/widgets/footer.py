"""The keys that can be pressed now, in one row that is drawn, not mounted: it costs nothing to change.

The rows of `commands.COMMANDS` with `footer` set say which; the keys are the user's own where there
are any. What has no room at the end is left out, the way to the help page stays.
"""

from __future__ import annotations

from collections.abc import Mapping

from textual import events
from textual.content import Content
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget

from chatterm.ui.commands import COMMANDS, Command, keys_of
from chatterm.ui.messages import RunCommand

BETWEEN = "   "


class Footer(Widget):
    """Keys and what they do; a click does it, too."""

    DEFAULT_CSS = """
    Footer {
        height: 1;
        padding: 0 1;
        background: $panel;
        color: $foreground 60%;
        pointer: pointer;
    }
    """
    ALLOW_SELECT = False

    possible: reactive[frozenset[str]] = reactive(frozenset())
    """Actions that can be taken now."""

    def __init__(self, keymap: Mapping[str, str]) -> None:
        super().__init__()
        self.keymap = keymap
        """The user's own keys."""

    def render(self) -> Content:
        """As many as fit."""
        return keys_row(self.possible, self.keymap, self.content_size.width)

    def on_click(self, event: events.Click) -> None:
        """Do what was clicked."""
        if action := event.style.meta.get("command"):
            self.post_message(RunCommand(action))


def keys_row(possible: frozenset[str], keymap: Mapping[str, str], width: int) -> Content:
    """The row: stop stands first while it is possible, help stays at the end."""
    rows = [c for c in COMMANDS if c.footer and c.action in possible and keys_of(c, keymap)]
    rows.sort(key=lambda c: c.action != "stop")
    queues = "stop" in possible
    last = [_hint(c, keymap, c.title) for c in rows if c.action == "help"]
    room = width - sum(len(BETWEEN) + hint.cell_length for hint in last)
    hints: list[Content] = []
    for command in rows:
        if command.action == "help":
            continue
        hint = _hint(command, keymap, "Queue" if queues and command.action == "send" else command.title)
        if room < hint.cell_length:
            continue
        hints.append(hint)
        room -= hint.cell_length + len(BETWEEN)
    return Content(BETWEEN).join([*hints, *last])


def _hint(command: Command, keymap: Mapping[str, str], title: str) -> Content:
    """Key and title."""
    key = keys_of(command, keymap)[0].replace("⏎", "enter")
    return Content.assemble((key, "$text-accent"), f" {title.lower()}").stylize(
        Style.from_meta({"command": command.action})
    )
