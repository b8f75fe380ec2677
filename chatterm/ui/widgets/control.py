"""What all controls of a form share: a value, why what was typed is refused, and the wish for the default."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import var
from textual.widget import Widget


class Control(Widget, can_focus=True):
    """A value that can be changed by keys and by mouse."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("delete,backspace", "reset", "Default", show=False)]

    hint: str = ""
    """Keys that are worth naming beside it."""
    value: var[Any] = var(None, init=False)
    """The last value that was not refused."""
    problem: var[str] = var("", init=False)
    """Why what was typed is refused, as a sentence; empty when it is not."""

    class Changed(Message):
        """The user changed the value, or typed something that is refused (`problem`)."""

        def __init__(self, sender: Control) -> None:
            super().__init__()
            self.sender = sender

        @property
        def control(self) -> Control:
            """Which one."""
            return self.sender

    class ResetWanted(Changed):
        """The user wants the default back, which the control does not know."""

    def __init__(self, value: Any, id: str | None = None) -> None:
        super().__init__(id=id)
        self.set_reactive(Control.value, value)

    def show(self, value: Any) -> None:
        """Take a value from outside; says nothing upwards."""
        self.problem = ""
        self.value = value

    def choose(self, value: Any) -> None:
        """Take a value from the user."""
        self.show(value)
        self.post_message(self.Changed(self))

    def refuse(self, problem: str) -> None:
        """Keep the value, and say why what was typed is not taken."""
        self.problem = problem
        self.post_message(self.Changed(self))

    def action_reset(self) -> None:
        """Ask for the default."""
        self.post_message(self.ResetWanted(self))

    def watch_value(self) -> None:
        """Draw it."""
        self.refresh()

    def watch_has_focus(self, focused: bool) -> None:
        """Draw where the keys go."""
        super().watch_has_focus(focused)
        self.refresh()
