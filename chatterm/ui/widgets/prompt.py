"""The prompt: a text field that grows with its text, sends on one key, and knows what was asked before.

It knows neither the chat nor the engine: it says `Submitted`, and the screen takes the text with
`take()` once it can be used, so that nothing typed is lost when it cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.timer import Timer
from textual.widgets import TextArea

from chatterm.ui.commands import COMMANDS, bindings

BURST_SECONDS = 0.005
"""Keys that are closer than this were not typed but pasted."""
HOLD_SECONDS = 0.03
"""How long a send key waits for the rest of a paste."""


class PromptHistory:
    """What was asked before, with the unsent draft at its near end. Edits are kept while it is walked."""

    def __init__(self, prompts: Sequence[str] = ()) -> None:
        self._prompts = list(prompts)
        self._edits: dict[int, str] = {}
        self._at = -1

    def older(self, text: str) -> str | None:
        """The prompt before the one shown, which is kept as it is; None at the far end."""
        return self._move(text, 1)

    def newer(self, text: str) -> str | None:
        """The prompt after the one shown, the draft at last; None when that is shown."""
        return self._move(text, -1)

    def add(self, prompt: str) -> None:
        """A prompt was sent: it is the newest one, and the walk is over."""
        self._prompts = [prompt, *(p for p in self._prompts if p != prompt)]
        self._edits.clear()
        self._at = -1

    def _move(self, text: str, step: int) -> str | None:
        at = self._at + step
        if not -1 <= at < len(self._prompts):
            return None
        self._edits[self._at] = text
        self._at = at
        return self._edits.get(at, self._prompts[at] if at >= 0 else "")


class Prompt(TextArea, inherit_bindings=False):
    """Where the user writes. Enter sends, ctrl+j makes a new line, up and down walk the history."""

    DEFAULT_CSS = """
    Prompt {
        height: auto;
        max-height: 12;
        border: round $border-blurred;
        background: $background;
        padding: 0 1;
        scrollbar-size-vertical: 1;
        &:focus { border: round $border; background: $background; }
        & .text-area--cursor-line { background: $background; }
    }
    """

    # f6 and f7 select text in a TextArea; here they are commands of the screen
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("prompt"),
        *(b for b in TextArea.BINDINGS if not isinstance(b, tuple) and b.key not in {"f6", "f7"}),
    ]

    class Submitted(Message):
        """The user wants this to be sent; the prompt keeps it until `take`."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class RecallRequested(Message):
        """Up was pressed in an empty prompt: a queued message may come back."""

    def __init__(self, keymap: Mapping[str, str] | None = None, *, id: str | None = None) -> None:
        """An empty prompt.

        Args:
            keymap: The user's own keys.
            id: As for any widget.
        """
        super().__init__(id=id, placeholder="Ask something…", highlight_cursor_line=False)
        self.asked = PromptHistory()
        """What up and down walk; the screen fills it from the store."""
        keys = {row.id: (keymap or {}).get(row.id, row.key).split(",") for row in COMMANDS}
        self._send_keys, self._newline_keys = keys["send"], keys["newline"]
        self.can_recall = False
        """Whether up in an empty prompt asks for a queued message first."""
        self._last_key_time = 0.0
        self._held: Timer | None = None
        self._pasting = False

    def take(self) -> str:
        """The text, which is gone from the prompt and kept in its history."""
        text = self.text
        self.text = ""
        self.asked.add(text.strip())
        return text

    def put(self, text: str) -> None:
        """Show another text, with the cursor at its end."""
        self.text = text
        self.move_cursor(self.document.end)

    def action_send(self) -> None:
        """Ask the screen to send, unless there is nothing to send."""
        self._held = None
        self.post_message(self.Submitted(self.text))

    def action_newline(self) -> None:
        """Break the line at the cursor."""
        self.replace("\n", *self.selection, maintain_selection_offset=False)
        self.scroll_cursor_visible()

    def action_cursor_up(self, select: bool = False) -> None:
        """One line up; on the first line, the prompt before this one."""
        if select or not self.navigator.is_first_wrapped_line(self.cursor_location):
            super().action_cursor_up(select)
        elif not self.text and self.can_recall:
            self.post_message(self.RecallRequested())
        elif (text := self.asked.older(self.text)) is not None:
            self.text = text
            self.move_cursor((0, len(self.document[0])))
            if not self.navigator.is_first_wrapped_line(self.cursor_location):
                self.move_cursor((0, 0))

    def action_cursor_down(self, select: bool = False) -> None:
        """One line down; on the last line, the prompt after this one."""
        if select or not self.navigator.is_last_wrapped_line(self.cursor_location):
            super().action_cursor_down(select)
        elif (text := self.asked.newer(self.text)) is not None:
            self.put(text)

    async def _on_key(self, event: events.Key) -> None:
        """Tell a send key from a line break inside pasted text, in terminals without bracketed paste."""
        is_burst = event.time - self._last_key_time < BURST_SECONDS
        self._last_key_time = event.time
        if self._held is not None:
            self._held.stop()
            self._held = None
            if is_burst:
                self._pasting = True
                self.action_newline()
            else:
                self.action_send()
        elif not is_burst:
            self._pasting = False
        if event.key in self._send_keys:
            event.stop()
            event.prevent_default()
            if self._pasting:
                self.action_newline()
            else:
                self._held = self.set_timer(HOLD_SECONDS, self.action_send)
        elif event.key in self._newline_keys:
            event.stop()
            event.prevent_default()
            self.action_newline()
        elif event.key == "enter" or event.key.startswith("alt+"):
            event.prevent_default()  # the user's own send key is another one; with alt, the letter comes along untyped

    async def _on_paste(self, event: events.Paste) -> None:
        """Insert a paste as it is, whatever the terminal made of its line ends."""
        event.prevent_default()
        event.stop()
        text = event.text.replace("\r\n", "\n").replace("\r", "\n")
        text = "".join(c for c in text if c >= " " or c in "\n\t") if not text.isprintable() else text
        self.replace(text, *self.selection, maintain_selection_offset=False)
        self.scroll_cursor_visible()
