"""Sliders that reshape a distribution, and the order of the stages: nothing is changed until that is asked for."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Label

from chatterm.settings import STAGES, Sampling, fields_of
from chatterm.ui.glass.candidates import STAGE_NAMES
from chatterm.ui.widgets.control import Control
from chatterm.ui.widgets.slider import Slider
from chatterm.ui.widgets.stages import Stages

NAMES = ("temperature", "top_k", "top_p", "min_p")
SLIDERS = "a uses these here · A always · r as they are · o order · esc"
ORDER = "← → moves, space switches · a uses these here · A always · o sliders · esc"


class Shaper(Vertical):
    """Temperature, top-k, top-p and min-p, to try out; and in their place the order of all stages."""

    class Reshaped(Message):
        """The settings that are tried are others now."""

    class Kept(Message):
        """The user wants to go on with them."""

        def __init__(self, changes: dict[str, Any], *, is_default: bool) -> None:
            super().__init__()
            self.changes = changes
            self.is_default = is_default
            """Whether they shall count everywhere; else in this conversation."""

    DEFAULT_CSS = """
    Shaper {
        height: auto; padding: 0 1; background: $surface;
        & > Horizontal { height: 1; }
        & Label { width: 12; color: $text-muted; }
        & > #keep { width: 1fr; color: $text-muted; }
        & > Stages { display: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "app.focus_next", "Next", show=False),
        Binding("up", "app.focus_previous", "Before", show=False),
        Binding("a", "keep(False)", "Use these in this conversation", show=False),
        Binding("A,shift+a", "keep(True)", "Always use these", show=False),
        Binding("r", "reset", "As they are", show=False),
        Binding("o", "order", "Order of the stages", show=False),
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
        yield Stages({stage: STAGE_NAMES[stage] for stage in STAGES}, self.sampling.order, id="shape-order")
        yield Label(SLIDERS, id="keep")

    def show(self, sampling: Sampling) -> None:
        """Begin with the settings that count."""
        self.sampling = self._now = sampling
        for name in NAMES:
            self.query_one(f"#shape-{name}", Slider).show(getattr(sampling, name))
        self.query_one(Stages).show(list(sampling.order))

    def focus_first(self) -> None:
        """Keys go to the temperature, or to the order where that is shown."""
        first = "#shape-order" if self.query_one(Stages).display else "#shape-temperature"
        self.screen.set_focus(self.query_one(first))  # at once: the next key may be here already

    @on(Control.Changed)
    def _take(self, event: Control.Changed) -> None:
        event.stop()
        name = (event.control.id or "").removeprefix("shape-")
        if isinstance(event, Control.ResetWanted):
            value = getattr(self._now, name)
            event.control.show(list(value) if name == "order" else value)
        if not event.control.problem:
            value = event.control.value
            value = tuple(value) if name == "order" else value
            self.sampling = msgspec.structs.replace(self.sampling, **{name: value})
            self.post_message(self.Reshaped())

    def action_keep(self, is_default: bool) -> None:
        """Use them from now on, in this conversation or everywhere."""
        changes = {name: getattr(self.sampling, name) for name in (*NAMES, "order")}
        kept = {name: value for name, value in changes.items() if value != getattr(self._now, name)}
        if kept:
            self.post_message(self.Kept({"sampling": kept}, is_default=is_default))

    def action_reset(self) -> None:
        """Back to the settings that count."""
        self.show(self._now)
        self.post_message(self.Reshaped())

    def action_order(self) -> None:
        """Show the order of the stages instead of the sliders, or the other way round."""
        stages = self.query_one(Stages)
        stages.display = is_order = not stages.display
        for row in self.query(Horizontal):
            row.display = not is_order
        self.query_one("#keep", Label).update(ORDER if is_order else SLIDERS)
        self.focus_first()
