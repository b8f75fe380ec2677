"""What waits to be sent: one line for each message, above the prompt."""

from __future__ import annotations

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

MOST_ROWS = 4


class Queue(Widget):
    """Messages that were sent while a reply ran, in their order."""

    DEFAULT_CSS = """
    Queue {
        height: auto;
        padding: 0 2;
        color: $text-muted;
        display: none;
        pointer: pointer;
        &.-waiting { display: block; }
    }
    """
    ALLOW_SELECT = False

    waiting: reactive[tuple[str, ...]] = reactive((), layout=True)
    """The messages, the next one first."""
    held: reactive[bool] = reactive(False, layout=True)
    """Whether they wait for the user, since the reply before them was stopped."""

    class TakenBack(Message):
        """The user wants one back in the prompt (click on it)."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    class Removed(Message):
        """The user does not want one to be sent (click on its mark)."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def add(self, text: str) -> None:
        """One more, at the end."""
        self.waiting = (*self.waiting, text)

    def pop(self, index: int = 0) -> str:
        """Take one out."""
        text = self.waiting[index]
        self.waiting = tuple(t for i, t in enumerate(self.waiting) if i != index % len(self.waiting))
        self.held = self.held and bool(self.waiting)
        return text

    def clear(self) -> None:
        """Forget all."""
        self.waiting, self.held = (), False

    def watch_waiting(self) -> None:
        """No row while nothing waits."""
        self.set_class(bool(self.waiting), "-waiting")

    def render(self) -> Content:
        """A row each, the last one counting those that have no room."""
        width = self.size.width or 80
        rows = [self._row(text, width) for text in self.waiting[:MOST_ROWS]]
        if more := len(self.waiting) - MOST_ROWS:
            rows += [Content.styled(f"… and {more} more", "dim")] if more > 0 else []
        if self.held:
            rows.append(Content.styled("held since you stopped: enter sends, ↑ takes the last back", "$text-warning"))
        return Content("\n").join(rows)

    def _row(self, text: str, width: int) -> Content:
        line = Content("queued: " + " ".join(text.split()))
        return line.truncate(width - 2, ellipsis=True).pad_right(max(0, width - 2 - line.cell_length)) + Content(" ✕")

    def on_click(self, event: events.Click) -> None:
        """The mark at the end removes, the text takes back."""
        offset = event.get_content_offset(self)
        if offset is None or offset.y >= min(len(self.waiting), MOST_ROWS):
            return
        is_mark = offset.x >= self.content_size.width - 2
        self.post_message(self.Removed(offset.y) if is_mark else self.TakenBack(offset.y))
