"""The model that is chosen, and the wish to choose another one."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.reactive import var

from chatterm.address import label
from chatterm.ui.widgets.control import Control


class ModelButton(Control):
    """Shows which model was chosen; Enter and clicks ask for the list."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space,right", "press", "Choose", show=False)]
    DEFAULT_CSS = """
    ModelButton { height: auto; width: 1fr; color: $foreground; pointer: pointer; }
    ModelButton:hover { background: $boost; }
    """

    name_shown: var[str] = var("", init=False)
    """How people call the file, once that is known."""

    class Pressed(Control.Changed):
        """The user wants to choose."""

    def __init__(self, value: Any, loaded: str = "", id: str | None = None) -> None:
        """A model.

        Args:
            value: Its path, or SERVER:MODEL; empty while none is chosen.
            loaded: The name of the model that answers meanwhile.
        """
        super().__init__(value, id)
        self.loaded = loaded

    def render(self) -> Content:
        """Name, and what to press."""
        style = "bold reverse" if self.has_focus else "bold"
        none = f"{self.loaded}, which was found" if self.loaded else "none is chosen"
        name = (self.name_shown or label(self.value)) if self.value else none
        return Content.assemble((f" {name} ", style), ("   choose another ›", "$text-primary"))

    def watch_name_shown(self) -> None:
        """Draw it."""
        self.refresh(layout=True)

    def action_press(self) -> None:
        """Ask for the list."""
        self.post_message(self.Pressed(self))

    def on_click(self) -> None:
        """Ask for the list."""
        self.action_press()
