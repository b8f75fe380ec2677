"""A value that is written as text of one or several lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import TextArea

from chatterm.ui.widgets.control import Control


class Writing(TextArea):
    """A text area whose cursor leaves it at both ends."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "leave_up", "Up", show=False),
        Binding("down", "leave_down", "Down", show=False),
    ]

    def action_leave_up(self) -> None:
        """A line up, and from the first one to the field above."""
        if self.cursor_at_first_line:
            self.screen.focus_previous()
        else:
            self.action_cursor_up()

    def action_leave_down(self) -> None:
        """A line down, and from the last one to the field below."""
        if self.cursor_at_last_line:
            self.screen.focus_next()
        else:
            self.action_cursor_down()


class TextField(Control, can_focus=False):
    """A text, and what it stands for."""

    DEFAULT_CSS = """
    TextField {
        height: auto;
        width: 1fr;
        Writing {
            height: auto; min-height: 1; max-height: 8; border: none; padding: 0 1;
            background: $panel; scrollbar-size-vertical: 1;
        }
        Writing:focus { background-tint: $foreground 6%; }
    }
    """

    def __init__(
        self,
        value: Any,
        write: Callable[[Any], str] = str,
        read: Callable[[str], Any] = str,
        placeholder: str = "",
        id: str | None = None,
    ) -> None:
        """A field to write in.

        Args:
            value: What is there at first.
            write: Makes a text of a value.
            read: Makes a value of a text; a ValueError says why it cannot.
            placeholder: Shown while nothing is written.
        """
        super().__init__(value, id)
        self.write, self.read = write, read
        self.area = Writing(write(value), placeholder=placeholder, compact=True, tab_behavior="focus")

    def compose(self) -> ComposeResult:
        """The text area."""
        yield self.area

    def show(self, value: Any) -> None:
        """Take a value from outside."""
        super().show(value)
        if self.write(value) != self.area.text:
            with self.prevent(TextArea.Changed):
                self.area.text = self.write(value)

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Read what was written."""
        event.stop()
        try:
            value = self.read(event.text_area.text)
        except ValueError as error:
            self.refuse(str(error))
            return
        self.problem = ""
        self.value = value
        self.post_message(self.Changed(self))
