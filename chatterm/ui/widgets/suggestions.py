"""What one may ask first, in an empty conversation: a few questions to pick by key or mouse.

It knows neither the model nor the chat: it says what was picked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events, on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from chatterm.ui.messages import RunCommand


class Suggestions(OptionList):
    """Numbered questions, and below them the way to a bigger model."""

    DEFAULT_CSS = """
    Suggestions {
        height: auto;
        max-height: 10;
        margin: 0 1;
        padding: 0 1;
        border: round $border-blurred;
        border-title-color: $text-muted;
        border-subtitle-color: $text-muted;
        background: $background;
        display: none;
        &.-shown { display: block; }
        &:focus { border: round $border; background-tint: $background 0%; }
        & > .option-list--option { color: $foreground; padding: 0 1; }
        & > .option-list--option-highlighted { background: $background; color: $foreground; text-style: none; }
        &:focus > .option-list--option-highlighted { background: $primary 22%; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(number), f"pick({number})", show=False) for number in range(1, 10)),
    ]

    class Asked(Message):
        """A question was picked."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class TypedOn(Message):
        """A letter was typed here that belongs to the prompt."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, questions: Sequence[str], key: str) -> None:
        """Hidden until `show`.

        Args:
            questions: What may be asked.
            key: Goes from the prompt to this list, as people read it.
        """
        super().__init__(markup=False)
        self.questions = tuple(questions)
        self._way_here = f"{key}, then 1 to {len(self.questions) + 1} · or click"
        self.border_title = "Ask, for example"

    def on_mount(self) -> None:
        """One line each; the last one is no question."""
        lines = [*self.questions, "Get a bigger model"]
        self.add_options(
            Option(Content.assemble((f"{number} ", "$text-accent"), line)) for number, line in enumerate(lines, 1)
        )
        self.border_subtitle = self._way_here

    def on_focus(self) -> None:
        """The cursor begins at the first one."""
        if self.highlighted is None:
            self.highlighted = 0
        self.border_subtitle = f"press 1 to {self.option_count} · or enter"

    def on_blur(self) -> None:
        """Say again how to come here."""
        self.border_subtitle = self._way_here

    @property
    def is_shown(self) -> bool:
        """Whether it can be seen."""
        return self.has_class("-shown")

    @is_shown.setter
    def is_shown(self, wanted: bool) -> None:
        self.set_class(wanted, "-shown")

    def action_pick(self, number: int) -> None:
        """Take the one with this number."""
        if number <= self.option_count:
            self._take(number - 1)

    @on(OptionList.OptionSelected)
    def take_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter or a click takes one."""
        event.stop()
        self._take(event.option_index)

    def on_key(self, event: events.Key) -> None:
        """Letters go on in the prompt."""
        if event.key.startswith("alt+"):  # the letter comes along, but nobody typed it
            return
        if event.is_printable and event.character and not event.character.isdigit() and event.character != " ":
            event.stop()
            self.post_message(self.TypedOn(event.character))

    def _take(self, index: int) -> None:
        if index < len(self.questions):
            self.post_message(self.Asked(self.questions[index]))
        else:
            self.post_message(RunCommand("get_model"))
