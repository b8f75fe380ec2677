"""A notice that stays until it is answered: what went wrong, and what can be done about it here."""

from __future__ import annotations

from typing import NamedTuple

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from chatterm.text import plain
from chatterm.ui.messages import RunCommand


class Action(Static):
    """A word that does something when it is clicked."""

    DEFAULT_CSS = """
    Action {
        width: auto;
        height: 1;
        padding: 0 1;
        margin: 0 1 0 0;
        background: $panel;
        color: $foreground;
        pointer: pointer;
        &:hover { background: $primary; color: $background; }
    }
    """
    ALLOW_SELECT = False

    def __init__(self, label: str, action: str, key: str = "") -> None:
        super().__init__(Content.assemble((label, "bold"), f"  {key}" if key else ""))
        self.action = action

    def on_click(self) -> None:
        """Ask for the command."""
        self.post_message(RunCommand(self.action))


class Notice(NamedTuple):
    """What a banner says."""

    subject: str
    title: str
    text: str
    actions: tuple[tuple[str, str, str], ...]
    is_warning: bool


class Banner(Vertical):
    """Title, text and a row of actions above the prompt; hidden while there is nothing to say."""

    DEFAULT_CSS = """
    Banner {
        height: auto;
        max-height: 10;
        display: none;
        padding: 0 1;
        border-left: thick $error;
        background: $surface;
        &.-warning { border-left: thick $warning; }
        &.-shown { display: block; }
        & .banner--text { height: auto; color: $foreground; }
        & Horizontal { height: 1; margin-top: 0; }
    }
    """

    subject: reactive[str] = reactive("")
    """What the notice that is shown is about; empty while there is none."""

    def __init__(self) -> None:
        super().__init__()
        self._notices: list[Notice] = []  # the last one is shown

    def compose(self) -> ComposeResult:
        """The text above its actions."""
        yield Static(classes="banner--text")
        yield Horizontal()

    def show(
        self, subject: str, title: str, text: str, actions: list[tuple[str, str, str]], *, severity: str = "error"
    ) -> None:
        """Put up a notice, before others that wait behind it; it takes the place of one about the same.

        Args:
            subject: Any name; `clear` of the same one takes it down.
            title: A few words.
            text: What happened and what to do.
            actions: Label, action and key of what can be done here.
            severity: "error" or "warning".
        """
        others = [notice for notice in self._notices if notice.subject != subject]
        self._notices = [*others, Notice(subject, title, text, tuple(actions), severity == "warning")]
        self._draw()

    def clear(self, subject: str = "") -> None:
        """Take the notice about this down, or the one that is shown; the one behind it comes up."""
        subject = subject or self.subject
        if any(notice.subject == subject for notice in self._notices):
            self._notices = [notice for notice in self._notices if notice.subject != subject]
            self._draw()

    def _draw(self) -> None:
        self.set_class(bool(self._notices), "-shown")
        self.subject = self._notices[-1].subject if self._notices else ""
        if not self._notices:
            return
        notice = self._notices[-1]
        self.set_class(notice.is_warning, "-warning")
        style = "$text-warning" if notice.is_warning else "$text-error"
        self.query_one(".banner--text", Static).update(
            Content.assemble((notice.title, f"bold {style}"), "\n", plain(notice.text))
        )
        row = self.query_one(Horizontal)
        row.remove_children()
        row.mount_all(Action(*action) for action in [*notice.actions, ("Dismiss", "dismiss_banner", "")])
