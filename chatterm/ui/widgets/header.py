"""The top row: what this conversation is called, with buttons for the list, the glass box and the settings."""

from __future__ import annotations

from textual import events
from textual.content import Content
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget

from chatterm.ui.messages import RunCommand

ROOMY = 70
"""Columns from which there is room for all buttons, and for words beside the answers' number."""


class Header(Widget):
    """Title and buttons."""

    DEFAULT_CSS = """
    Header {
        dock: top;
        height: 1;
        padding: 0 1;
        background: $panel;
        color: $foreground;
        pointer: pointer;
    }
    """
    ALLOW_SELECT = False

    title: reactive[str] = reactive("")
    """The conversation's title; empty for a new one."""
    answers: reactive[tuple[int, int]] = reactive((0, 0))
    """Which answer to the last question is shown, counted from 0, and how many there are."""

    def render(self) -> Content:
        """Buttons at both ends, the title between them."""
        left = _button("≡ chats", "toggle_sidebar")
        inside = [_button("inside", "glass")] if self.content_size.width >= ROOMY else []
        right = Content("   ").join(
            [_button("new", "new_chat"), *inside, _button("help", "help"), _button("settings", "settings")]
        )
        answers = self._answers()
        room = self.content_size.width - left.cell_length - answers.cell_length - right.cell_length - 4
        title = Content(" ".join(self.title.split()) or "New chat").truncate(max(0, room), ellipsis=True)
        gap = " " * max(0, room - title.cell_length)
        if self.title:
            title = title.stylize("bold").stylize(Style.from_meta({"command": "rename"}))
        else:
            title = title.stylize("$foreground 60%")
        return Content.assemble(left, "  ", title, gap, answers, "  ", right)

    def _answers(self) -> Content:
        """A mark with a button on each side, where there are several answers to choose from."""
        place, n = self.answers
        if n < 2:
            return Content("")
        words = f" answer {place + 1} of {n} " if self.content_size.width >= ROOMY else f" {place + 1}/{n} "
        before, after = _button(" ‹", "previous_reply"), _button("› ", "next_reply")
        return Content.assemble("  ", before, (words, "$text-accent"), after)

    def on_click(self, event: events.Click) -> None:
        """A button does its command, the title renames, the mark shows another answer."""
        if action := event.style.meta.get("command"):
            self.post_message(RunCommand(action))


def _button(label: str, action: str) -> Content:
    """A label that stands for a command."""
    return Content.styled(label, "$foreground 60%").stylize(Style.from_meta({"command": action}))
