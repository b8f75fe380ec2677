"""Where messages are made: the prompt, and above it those that wait to be sent.

It moves texts between the two and says when they change. Whether one can be sent, and what becomes
of it, is the screen's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.timer import Timer
from textual.widgets import TextArea

from chatterm.ui.widgets.prompt import Prompt
from chatterm.ui.widgets.queue import Queue

SECONDS_TO_SETTLE = 1.0
MOST_PROMPT_ROWS = 12


class Composer(Vertical):
    """Queue and prompt."""

    DEFAULT_CSS = "Composer { height: auto; }"

    class QueueChanged(Message):
        """Another number of messages waits."""

    class Settled(Message):
        """What is typed or waits has changed a moment ago, and now it does not."""

    def __init__(self, keymap: Mapping[str, str]) -> None:
        super().__init__()
        self.queue = Queue()
        self.prompt = Prompt(keymap, id="prompt")
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        """What is sent next stands above."""
        yield self.queue
        yield self.prompt

    def fit(self, screen_height: int) -> None:
        """Leave most of the screen to the conversation, however much is typed."""
        self.prompt.styles.max_height = max(3, min(MOST_PROMPT_ROWS, screen_height * 2 // 5))

    def restore(self, draft: str, waiting: Sequence[str]) -> None:
        """Put back what was left at the end, unless there is something newer already; what waits is held."""
        if draft and not self.prompt.text:
            self.prompt.put(draft)
        if waiting and not self.queue.waiting:
            self.queue.waiting, self.queue.held = tuple(waiting), True
            self._changed()

    def enqueue(self) -> None:
        """What is typed waits now, behind the others."""
        self.queue.add(self.prompt.take().strip())
        self._changed()

    def next(self) -> str:
        """Take out the message that has waited longest; those behind it are not held any more."""
        self.queue.held = False
        text = self.queue.pop()
        self._changed()
        return text

    def hold(self) -> None:
        """What waits is not sent before the user says so."""
        self.queue.held = bool(self.queue.waiting)

    def take_back(self, index: int = -1) -> None:
        """Take one that waits back into the prompt, above what is typed there."""
        text = self.queue.pop(index)
        self.prompt.put(f"{text}\n{self.prompt.text}" if self.prompt.text else text)
        self.prompt.focus()
        self._changed()

    @on(Prompt.RecallRequested)
    def _recall(self) -> None:
        self.take_back()

    @on(Queue.TakenBack)
    def _take_back(self, event: Queue.TakenBack) -> None:
        self.take_back(event.index)

    @on(Queue.Removed)
    def _remove(self, event: Queue.Removed) -> None:
        self.queue.pop(event.index)
        self._changed()

    @on(TextArea.Changed)
    def _settle_soon(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(SECONDS_TO_SETTLE, self._settle)

    def _settle(self) -> None:
        self.post_message(self.Settled())

    def _changed(self) -> None:
        self.prompt.can_recall = bool(self.queue.waiting)
        self.post_message(self.QueueChanged())
        self._settle_soon()
