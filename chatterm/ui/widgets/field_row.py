"""One setting in a form: its title, its control, what it does, and what is wrong with it."""

from __future__ import annotations

from typing import Any

from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.reactive import var
from textual.widget import Widget
from textual.widgets import Static

from chatterm.settings import Field
from chatterm.ui.form import bounds, shown
from chatterm.ui.widgets.control import Control


class ResetMark(Static):
    """What is unusual about a value; a click takes the default back."""


class FieldRow(Widget):
    """A field and its control. It knows what the default is called, not what is edited."""

    DEFAULT_CSS = """
    FieldRow {
        layout: grid; grid-size: 2; grid-columns: 19 1fr; grid-rows: auto; grid-gutter: 0 1;
        height: auto; padding: 0 1; margin-bottom: 1; border-left: blank;
        .title { text-style: bold; }
        ResetMark { color: $text-accent; pointer: pointer; }
        ResetMark:hover { text-style: underline; }
        .help { color: $text-muted; height: auto; }
        .problem { color: $text-error; text-style: bold; height: auto; column-span: 2; padding-left: 20; }
        .problem.-none { display: none; }
        &:focus-within { border-left: outer $primary; .title { color: $text-primary; } }
        &.-refused { border-left: outer $error; }
    }
    """

    mark: var[str] = var("", init=False)
    """What is unusual about the value: "changed", "only here"; empty when it is the default."""
    default: var[Any] = var(None, init=False)
    """What a reset gives."""
    note: var[str] = var("", init=False)
    """A sentence about where the value counts, instead of the mark."""

    def __init__(self, field: Field, control: Control) -> None:
        super().__init__(id=f"{field.section}-{field.name}")
        self.field = field
        self.control = control

    def compose(self) -> ComposeResult:
        """Title and control, below them mark and help, below them what is wrong."""
        yield Static(self.field.title, classes="title", markup=False)
        yield self.control
        yield ResetMark(markup=False)
        yield Static(classes="help", markup=False)
        yield Static(classes="problem -none", markup=False)

    def on_mount(self) -> None:
        """Show mark and default for the first time."""
        self.watch_mark()
        self.watch_default()

    def watch_mark(self) -> None:
        """Say what is unusual, and that a click mends it."""
        if self.is_mounted:
            self.query_one(ResetMark).update(f"↺ {self.mark}" if self.mark else "")

    def watch_default(self) -> None:
        """Say what it does, its range and its default."""
        if self.is_mounted:
            self.query_one(".help", Static).update(self._help())

    def watch_note(self) -> None:
        """Likewise."""
        self.watch_default()

    def show_problem(self, problem: str) -> None:
        """Say why what was typed is refused; an empty text that it is not."""
        self.set_class(bool(problem), "-refused")
        below = self.query_one(".problem", Static)
        below.set_class(not problem, "-none")
        below.update(f"✗ {problem}")

    def _help(self) -> Content:
        facts = []
        if self.field.kind in ("number", "integer"):
            facts.append(bounds(self.field).removeprefix("from "))
        if default := self._default_in_words():
            facts.append(f"default {default}")
        sentence = f"{self.field.help} " if self.field.help else ""
        return Content.assemble(
            sentence,
            (" · ".join(facts), "$text-muted italic"),
            (f"\n{self.note}" if self.note else "", "$text-warning"),
        )

    def _default_in_words(self) -> str:
        value = self.default
        match self.field.kind:
            case "number" | "integer":
                return shown(self.field, value or 0)
            case "switch":
                return "on" if value else "off"
            case "choice":
                return "" if value is None else str(value)
            case _:
                return ""

    def on_click(self, event: events.Click) -> None:
        """A click on the mark resets; elsewhere beside the control it brings the focus."""
        if isinstance(event.widget, ResetMark) and self.mark:
            self.control.action_reset()
        elif event.widget is not self.control and self.control not in (event.widget.ancestors if event.widget else ()):
            self.take_focus()

    def take_focus(self) -> None:
        """Let keys go to the control."""
        for widget in self.control.walk_children(with_self=True):
            if isinstance(widget, Widget) and widget.focusable:
                widget.focus()
                return
