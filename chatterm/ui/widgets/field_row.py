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
from chatterm.ui.widgets.control import Control
from chatterm.ui.written import bounds, shown


class FieldRow(Widget):
    """A field and its control. It knows what the default is called, not what is edited."""

    DEFAULT_CSS = """
    FieldRow {
        layout: grid; grid-size: 2; grid-columns: 20 1fr; grid-rows: auto; grid-gutter: 0 1;
        height: auto; padding: 0 1; margin-bottom: 1; border-left: blank;
        .title { row-span: 2; }
        .help { color: $foreground-muted; height: auto; }
        &:focus-within { border-left: outer $primary; .title { color: $text-primary; } }
        &.-refused { border-left: outer $error; }
    }
    """

    mark: var[str] = var("")
    """What is the scope's own about the value: "changed", "only here"; empty when it is the default."""
    source: var[str] = var("")
    """Where the default comes from, if it is not the user's: "from the model file"."""
    default: var[Any] = var(None)
    """What a reset gives."""
    note: var[str] = var("")
    """A sentence about where the value counts."""
    problem: var[str] = var("")
    """Why what was typed is refused; empty when it is not."""

    def __init__(self, field: Field, control: Control) -> None:
        super().__init__(id=f"{field.section}-{field.name}")
        self.field = field
        self.control = control
        self.title_line = Static(classes="title", markup=False)
        self.help_line = Static(classes="help", markup=False)

    def compose(self) -> ComposeResult:
        """Title and mark on the left; on the right the control, and below it the rest."""
        yield self.title_line
        yield self.control
        yield self.help_line

    def watch_mark(self) -> None:
        """Say what is unusual, and that a click mends it; else where the value comes from."""
        mark, source = f"\n↺ {self.mark}" if self.mark else "", f"\n{self.source}" if self.source else ""
        below = (mark, "$text-accent") if mark else (source, "$foreground-muted")
        self.title_line.update(Content.assemble((self.field.title, "bold"), below))
        self._explain()

    def watch_source(self) -> None:
        """Likewise."""
        self.watch_mark()

    def watch_default(self) -> None:
        """Say what it does, its range and its default."""
        self._explain()

    def watch_note(self) -> None:
        """Likewise."""
        self._explain()

    def watch_problem(self) -> None:
        """Say what is wrong, and mark the row."""
        self.set_class(bool(self.problem), "-refused")
        self._explain()

    def _explain(self) -> None:
        facts = " · ".join(fact for fact in (self.control.hint, self._range(), self._default_in_words()) if fact)
        self.help_line.update(
            Content.assemble(
                (f"✗ {self.problem}\n" if self.problem else "", "bold $text-error"),
                self.field.help,
                (f" {facts}" if facts else "", "italic"),
                (f"\n{self.note}" if self.note else "", "$text-warning"),
            )
        )

    def _range(self) -> str:
        return bounds(self.field) if self.field.kind in ("number", "integer") else ""

    def _default_in_words(self) -> str:
        match self.field.kind:
            case "number" | "integer" if self.default is not None:
                words = f"default {shown(self.field, self.default)}"
            case "switch":
                words = f"default {'on' if self.default else 'off'}"
            case "choice" if self.default:
                words = f"default {self.default}"
            case _:
                return ""
        return f"{words} {self.source}".rstrip() if self.mark else words

    def on_click(self, event: events.Click) -> None:
        """A click on the mark resets; elsewhere beside the control it brings the focus."""
        if event.widget is self.title_line and self.mark and event.y > 0:
            self.control.call_next(self.control.action_reset)  # as its own wish, else it stops here
        elif event.widget in (self, self.title_line, self.help_line):
            self.take_focus()

    def take_focus(self) -> None:
        """Let keys go to the control."""
        for widget in self.control.walk_children(Widget, with_self=True):
            if widget.focusable:
                widget.focus()
                return
