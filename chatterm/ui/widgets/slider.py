"""A number on a bar: arrow keys step, digits type it, the mouse drags it.

Ranges of a few hundred steps are linear, wider ones logarithmic; where a bar would say nothing
(a seed), there are only the two arrows.
"""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.reactive import var

from chatterm.settings import Field
from chatterm.ui.widgets.control import Control
from chatterm.ui.written import Word, number, shown

_WIDE = 300
"""More steps than this are laid out logarithmically."""
_ENDLESS = 10_000_000
"""More steps than this have no bar."""
_READOUT = 20
"""Columns for the value and its word."""
_LONGEST_BAR = 44


class Scale(NamedTuple):
    """Numbers from a minimum to a maximum, and where they lie on a bar."""

    minimum: float
    maximum: float
    step: float

    @property
    def is_wide(self) -> bool:
        """Whether the bar is logarithmic and big steps double and halve."""
        return (self.maximum - self.minimum) / self.step > _WIDE

    def fraction(self, value: float) -> float:
        """Where a value lies, 0 to 1; a value beyond the end lies at the end."""
        n_steps = (self.maximum - self.minimum) / self.step
        done = min(max((value - self.minimum) / self.step, 0.0), n_steps)
        return math.log1p(done) / math.log1p(n_steps) if self.is_wide else done / n_steps

    def at(self, fraction: float) -> float:
        """The value on the grid that lies nearest to a place on the bar."""
        n_steps = (self.maximum - self.minimum) / self.step
        done = math.expm1(fraction * math.log1p(n_steps)) if self.is_wide else fraction * n_steps
        return self._on_grid(self.minimum + done * self.step)

    def stepped(self, value: float, n_steps: int) -> float:
        """The value some steps further: the next multiples of the step, from wherever it is.

        Example: 0.83 in steps of 0.05, one further -> 0.85
        """
        place = value / self.step
        whole = math.floor(place + 1e-9) if n_steps > 0 else math.ceil(place - 1e-9)
        return self._clamped(round((whole + n_steps) * self.step, 10))

    def leapt(self, value: float, direction: int) -> float:
        """The value a big step further: ten steps, or on a wide scale twice or half as much."""
        if not self.is_wide:
            return self.stepped(value, 10 * direction)
        if direction > 0:
            return self._clamped(max(value * 2, self.stepped(value, 1)))
        return self._on_grid(value / 2) if value / 2 >= self.step else self.stepped(value, -1)

    def _on_grid(self, value: float) -> float:
        if value - self.minimum < self.step / 2:
            return self.minimum
        return self._clamped(round(round(value / self.step) * self.step, 10))

    def _clamped(self, value: float) -> float:
        return min(max(value, self.minimum), self.maximum)


class Slider(Control):
    """A number between bounds."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,minus", "step(-1)", "Less", show=False),
        Binding("right,plus", "step(1)", "More", show=False),
        Binding("shift+left,ctrl+left", "leap(-1)", "Much less", show=False),
        Binding("shift+right,ctrl+right", "leap(1)", "Much more", show=False),
        Binding("home", "bound(0)", "Least", show=False),
        Binding("end", "bound(1)", "Most", show=False),
    ]
    DEFAULT_CSS = """
    Slider { height: 1; width: 1fr; color: $foreground; pointer: pointer; }
    """

    typed: var[str] = var("", init=False)
    """What was typed and is not finished or is refused; empty when the value is shown."""

    def __init__(
        self,
        field: Field,
        value: float,
        reach: float | None = None,
        word: Word | None = None,
        id: str | None = None,
    ) -> None:
        """A slider of a field.

        Args:
            field: Its bounds, step and special word.
            value: The number at first.
            reach: Where the bar ends, if that is before the maximum, which can still be typed.
            word: What a number means, shown behind it.
        """
        super().__init__(value, id)
        self.field = field
        minimum, maximum = field.minimum or 0, field.maximum or 0
        self.scale = Scale(
            minimum, maximum if reach is None else min(max(reach, minimum + 1), maximum), field.step or 1
        )
        self.word = word

    def show(self, value: float) -> None:
        """Take a value from outside."""
        self.typed = ""
        super().show(value)

    def render(self) -> Content:
        """Arrows, bar, and the value with its word."""
        strong = "$primary" if self.has_focus else "$foreground-muted"
        bar = self._bar()
        filled = round(self.scale.fraction(self.value) * (bar - 1))
        pieces: list[tuple[str, str]] = [("‹ ", strong)]
        if bar:
            knob = "bold $error" if self.problem else "bold $accent" if self.has_focus else "bold $primary"
            is_special = self.field.special and self.value == self.field.minimum
            pieces += [("━" * filled, "$primary"), ("○" if is_special else "●", knob)]
            pieces += [("─" * (bar - 1 - filled), "$border-blurred")]
        return Content.assemble(*pieces, (" › ", strong), *self._readout())

    def _readout(self) -> list[tuple[str, str]]:
        if self.typed:
            return [(self.typed, "bold $error" if self.problem else "bold"), ("▏", "$accent")]
        number = shown(self.field, self.value)
        style = "bold $accent" if self.has_focus else "bold"
        word = self.word(self.value) if self.word else ""
        return [(number, style), (f" {word}" if word else "", "$foreground-muted")]

    def _bar(self) -> int:
        """Columns of the bar; 0 without one."""
        if (self.scale.maximum - self.scale.minimum) / self.scale.step > _ENDLESS:
            return 0
        return max(0, min(_LONGEST_BAR, self.size.width - _READOUT - 5))

    def _take(self, value: float) -> None:
        self.choose(int(value) if self.field.kind == "integer" else float(value))

    def action_step(self, direction: int) -> None:
        """Go to the next step."""
        self._take(self.scale.stepped(self.value, direction))

    def action_leap(self, direction: int) -> None:
        """Go a big step."""
        self._take(self.scale.leapt(self.value, direction))

    def action_bound(self, end: int) -> None:
        """Go to the end of the bar."""
        self._take(self.scale.maximum if end else self.scale.minimum)

    def on_key(self, event: events.Key) -> None:
        """Type a value: digits begin, Enter or leaving the field ends, Escape takes back."""
        character = event.character or ""
        if character.isdecimal() or (character in tuple(".,_-") and (self.typed or self._begins(character))):
            self._type(self.typed + character)
        elif self.typed and event.key == "backspace":
            self._type(self.typed[:-1])
        elif self.typed and event.key == "enter":
            self._settle()
        elif self.typed and event.key in ("escape", "delete"):
            self.choose(self._before)
        else:
            return
        event.stop()
        event.prevent_default()

    def _begins(self, character: str) -> bool:
        """Whether a typed number can begin with this; a minus steps where no number is negative."""
        return character in ".," or (character == "-" and self.scale.minimum < 0)

    def _type(self, text: str) -> None:
        """Take what was typed so far, as far as it is a number that is allowed."""
        if not self.typed:
            self._before = self.value
        if not text:
            self.choose(self._before)
            return
        try:
            self._take(number(self.field, text))
        except ValueError as error:
            self.value = self._before
            self.refuse(str(error))
        self.typed = text

    def on_blur(self) -> None:
        """What was typed stands; what is refused stays to be mended."""
        self._settle()

    def _settle(self) -> None:
        if not self.problem:
            self.typed = ""

    def watch_typed(self) -> None:
        """Draw it."""
        self.refresh()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Click on an arrow steps; on the bar sets, and drags from there."""
        bar = self._bar()
        if event.x < 2 or bar + 2 <= event.x < bar + 5:
            self.action_step(-1 if event.x < 2 else 1)
        elif event.x < bar + 2:
            self.capture_mouse()
            self._drag(event.x)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Follow the mouse while it drags."""
        if self.app.mouse_captured is self:
            self._drag(event.x)

    def on_mouse_up(self) -> None:
        """Let go."""
        self.release_mouse()

    def _drag(self, x: int) -> None:
        value = self.scale.at(min(max((x - 2) / max(self._bar() - 1, 1), 0.0), 1.0))
        if value != self.value or self.typed:
            self._take(value)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel steps a slider that has the focus; else the form scrolls, and nothing is changed by accident."""
        self._wheel(event, 1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Likewise, the other way."""
        self._wheel(event, -1)

    def _wheel(self, event: events.MouseEvent, direction: int) -> None:
        if self.has_focus:
            event.stop()
            event.prevent_default()
            self.action_step(direction)
