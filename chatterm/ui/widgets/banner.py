"""A notice that stays until it is answered: what went wrong, and what can be done about it here."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

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
    """What it is about, so that who put it up can take it down again."""

    def compose(self) -> ComposeResult:
        """The text above its actions."""
        yield Static(classes="banner--text")
        yield Horizontal()

    def show(
        self, subject: str, title: str, text: str, actions: list[tuple[str, str, str]], *, severity: str = "error"
    ) -> None:
        """Put up a notice instead of the one before.

        Args:
            subject: Any name; `clear` of the same one takes it down.
            title: A few words.
            text: What happened and what to do.
            actions: Label, action and key of what can be done here.
            severity: "error" or "warning".
        """
        self.subject = subject
        self.set_class(severity == "warning", "-warning")
        style = "$text-warning" if severity == "warning" else "$text-error"
        self.query_one(".banner--text", Static).update(Content.assemble((title, f"bold {style}"), "\n", text))
        row = self.query_one(Horizontal)
        row.remove_children()
        row.mount_all(Action(*action) for action in [*actions, ("Dismiss", "dismiss_banner", "")])
        self.add_class("-shown")

    def clear(self, subject: str = "") -> None:
        """Take the notice down, if it is about this (or whatever it is about)."""
        if not subject or subject == self.subject:
            self.subject = ""
            self.remove_class("-shown")
