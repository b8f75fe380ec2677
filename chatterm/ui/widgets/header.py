"""The top row: what this conversation is called, with a button for the list and one for the settings."""

from __future__ import annotations

from textual import events
from textual.content import Content
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget

from chatterm.ui.messages import RunCommand


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

    def render(self) -> Content:
        """Buttons at both ends, the title between them."""
        left = _button("≡ chats", "toggle_sidebar")
        right = Content("   ").join(
            [_button("new", "new_chat"), _button("help", "help"), _button("settings", "settings")]
        )
        room = self.content_size.width - left.cell_length - right.cell_length - 4
        title = Content(" ".join(self.title.split()) or "New chat").truncate(max(0, room), ellipsis=True)
        gap = " " * max(0, room - title.cell_length)
        if self.title:
            title = title.stylize("bold").stylize(Style.from_meta({"command": "rename"}))
        else:
            title = title.stylize("$foreground 60%")
        return Content.assemble(left, "  ", title, gap, "  ", right)

    def on_click(self, event: events.Click) -> None:
        """A button does its command, the title renames."""
        if action := event.style.meta.get("command"):
            self.post_message(RunCommand(action))


def _button(label: str, action: str) -> Content:
    """A label that stands for a command."""
    return Content.styled(label, "$foreground 60%").stylize(Style.from_meta({"command": action}))
