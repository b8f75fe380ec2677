"""Sliders that reshape a distribution: nothing is changed by them until that is asked for."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Horizontal
from textual.message import Message
from textual.widgets import Label

from chatterm.settings import Sampling, fields_of
from chatterm.ui.widgets.control import Control
from chatterm.ui.widgets.slider import Slider

NAMES = ("temperature", "top_k", "top_p", "min_p")


class Shaper(Grid):
    """Temperature, top-k, top-p and min-p, to try out."""

    class Reshaped(Message):
        """The settings that are tried are others now."""

    class Kept(Message):
        """The user wants to go on with them."""

        def __init__(self, changes: dict[str, Any]) -> None:
            super().__init__()
            self.changes = changes

    DEFAULT_CSS = """
    Shaper {
        height: auto; grid-size: 1; grid-rows: 1; padding: 0 1; background: $surface;
        & > Horizontal { height: 1; }
        & Label { width: 12; color: $text-muted; }
        & > #keep { width: 1fr; color: $text-muted; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "app.focus_next", "Next", show=False),
        Binding("up", "app.focus_previous", "Before", show=False),
        Binding("a", "keep", "Always use these", show=False),
        Binding("r", "reset", "As they are", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.sampling = Sampling()
        """What is tried."""
        self._now = Sampling()

    def compose(self) -> ComposeResult:
        """A slider each, and how to keep what was found."""
        fields = {field.name: field for field in fields_of("sampling")}
        for name in NAMES:
            with Horizontal():
                yield Label(fields[name].title)
                yield Slider(fields[name], getattr(self.sampling, name), id=f"shape-{name}")
        yield Label("a uses these in this conversation · r as they are · ↑ ↓ · esc", id="keep")

    def show(self, sampling: Sampling) -> None:
        """Begin with the settings that count."""
        self.sampling = self._now = sampling
        for name in NAMES:
            self.query_one(f"#shape-{name}", Slider).show(getattr(sampling, name))

    def focus_first(self) -> None:
        """Keys go to the temperature."""
        self.query_one("#shape-temperature").focus()

    @on(Control.Changed)
    def _take(self, event: Control.Changed) -> None:
        event.stop()
        name = (event.control.id or "").removeprefix("shape-")
        if isinstance(event, Control.ResetWanted):
            event.control.show(getattr(self._now, name))
        if not event.control.problem:
            self.sampling = msgspec.structs.replace(self.sampling, **{name: event.control.value})
            self.post_message(self.Reshaped())

    def action_keep(self) -> None:
        """Use them from now on."""
        changes = {name: getattr(self.sampling, name) for name in NAMES}
        kept = {name: value for name, value in changes.items() if value != getattr(self._now, name)}
        if kept:
            self.post_message(self.Kept({"sampling": kept}))

    def action_reset(self) -> None:
        """Back to the settings that count."""
        self.show(self._now)
        self.post_message(self.Reshaped())
