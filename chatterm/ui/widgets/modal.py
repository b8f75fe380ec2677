"""What every screen over the chat has in common: it is left once, and chatterm can be quit from it.

It knows nothing of what stands on it.
"""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

T = TypeVar("T")


class Modal(ModalScreen[T]):
    """A screen over the others, whose keys alone count while it is there; gives a result when it is left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "app.quit", show=False, id="quit"),
        Binding("ctrl+c,super+c", "screen.copy_text", show=False),
        Binding("ctrl+c", "app.help_quit", show=False),  # where nothing is selected
    ]

    def dismiss(self, result: T | None = None) -> AwaitComplete:
        """Leave it; once only, and while it is on top: Textual would close whatever is there."""
        return super().dismiss(result) if self.is_active else AwaitComplete()

    def dismiss_with_all_above(self, result: T | None = None) -> None:
        """Leave it, and first whatever was opened over it; nothing happens where it was left already."""
        if self in self.app.screen_stack:
            while not self.is_active:
                self.app.screen.dismiss(None)
            self.dismiss(result)
