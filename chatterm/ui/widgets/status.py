"""One row that says which model answers, what the engine does now, and how full the context window is.

It draws what it is told, at most ten times a second, and leaves out the least important part first
where the row is too short for all.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
from textual import events
from textual.content import Content
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget

from chatterm.events import Event, Finished, FinishReason, Loaded, Loading, LoadStage, Prefilling, Token
from chatterm.text import line
from chatterm.ui.messages import RunCommand

SECONDS_BETWEEN_DRAWINGS = 0.1
BAR_CELLS = 6


class Facts(msgspec.Struct, frozen=True):
    """What the row shows."""

    model: str = ""
    quantization: str = ""
    host: str = ""
    """Where text is sent; empty while it stays here."""
    activity: str = "starting"
    """"loading 43 %", "reading the prompt 512/2048", "writing", "ready", "stopped"."""
    next_model: str = ""
    """What is loaded when the reply has ended."""
    is_busy: bool = False
    is_wrong: bool = False
    """Whether the activity is a failure."""
    n_used: int = 0
    """Tokens in the context window."""
    n_ctx: int = 0
    tokens_per_second: float = 0.0
    first_token_seconds: float = 0.0
    temperature: float | None = None
    downloads: str = ""
    """What is being fetched, "↓ 43 % · 2 min"; empty for nothing."""
    has_failed_download: bool = False


class Speed:
    """Tokens per second of one reply, measured where they arrive."""

    def __init__(self) -> None:
        self.asked_at = time.monotonic()
        self.first_at = 0.0
        self.n_tokens = 0

    def count(self) -> None:
        """One more token."""
        self.n_tokens += 1
        if self.n_tokens == 1:
            self.first_at = time.monotonic()

    @property
    def first_token_seconds(self) -> float:
        """From asking to the first token; 0 before it."""
        return self.first_at - self.asked_at if self.n_tokens else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Since the first token; 0 until there is something to measure."""
        elapsed = time.monotonic() - self.first_at
        return (self.n_tokens - 1) / elapsed if self.n_tokens > 2 and elapsed > 0.05 else 0.0


class Status(Widget):
    """The status row."""

    DEFAULT_CSS = """
    Status {
        height: 1;
        padding: 0 1;
        color: $foreground 60%;
        pointer: pointer;
    }
    """
    ALLOW_SELECT = False

    facts: reactive[Facts] = reactive(Facts(), init=False)
    """What is drawn; `tell` sets it no more than ten times a second."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._newest = Facts()
        self._drawn_at = 0.0
        self._waits = False

    def tell(self, **changes: Any) -> None:
        """Change some of the facts; drawn now, or with the others at the next tenth of a second."""
        self._newest = msgspec.structs.replace(self._newest, **changes)
        wait = self._drawn_at + SECONDS_BETWEEN_DRAWINGS - time.monotonic()
        if wait <= 0 or not self.is_attached:
            self._draw()
        elif not self._waits:
            self._waits = True
            self.set_timer(wait, self._draw)

    @property
    def told(self) -> Facts:
        """The newest facts, drawn or not."""
        return self._newest

    def _draw(self) -> None:
        self._waits = False
        self._drawn_at = time.monotonic()
        self.facts = self._newest

    def render(self) -> Content:
        """The parts that fit, the model on the left and measures on the right."""
        return row(self.facts, self.content_size.width)

    def on_click(self, event: events.Click) -> None:
        """Each part is a way to what changes it."""
        if action := event.style.meta.get("command"):
            self.post_message(RunCommand(action))


def row(facts: Facts, width: int) -> Content:
    """The row at a width: what matters least leaves first, the model's name is shortened last.

    Order of leaving: quantization, first token, downloads, bar, temperature, rate, context, host.
    """
    left, right = _parts(facts)
    for leaving in ("quantization", "first", "downloads", "bar", "temperature", "rate", "context", "host"):
        if _length(left) + _length(right) + 2 <= width:
            break
        left.pop(leaving, None)
        right.pop(leaving, None)
    if (over := _length(left) + _length(right) + 2 - width) > 0:
        name = left["model"]
        left["model"] = name.truncate(max(4, name.cell_length - over), ellipsis=True)
    start, end = _joined(left), _joined(right)
    gap = max(1, width - start.cell_length - end.cell_length)
    return Content.assemble(start, " " * gap, end)


def _parts(facts: Facts) -> tuple[dict[str, Content], dict[str, Content]]:
    """What could be shown, left and right, by name."""
    mark, colour = ("✕", "$text-error") if facts.is_wrong else ("●", "$text-success")
    if facts.is_busy:
        mark, colour = "◐", "$text-accent"
    left = {"model": _clickable(facts.model or "choose a model", "choose_model", "$foreground")}
    if facts.quantization:
        left["quantization"] = Content.styled(facts.quantization, "$foreground 60%")
    if facts.host:
        left["host"] = Content.styled(f"↗ {line(facts.host)}", "$text-warning")
    left["activity"] = Content.assemble((f"{mark} ", colour), (facts.activity, colour if facts.is_wrong else ""))
    if facts.next_model:
        left["next"] = Content.assemble(("then ", "$foreground 60%"), line(facts.next_model)).truncate(
            28, ellipsis=True
        )
    right: dict[str, Content] = {}
    if facts.downloads:
        colour = "$text-error" if facts.has_failed_download else "$text-accent"
        right["downloads"] = _clickable(facts.downloads, "downloads", colour)
    if facts.temperature is not None:
        right["temperature"] = _clickable(f"temp {facts.temperature:g}", "settings", "$foreground 60%")
    if facts.n_ctx:
        n_used = min(facts.n_used, facts.n_ctx)  # the last token of a full window was never put into it
        share = n_used / facts.n_ctx
        filled = int(share * BAR_CELLS + 0.999)
        colour = "$text-error" if share > 0.95 else "$text-warning" if share > 0.8 else "$text-primary"
        right["bar"] = Content.assemble(("━" * filled, colour), ("━" * (BAR_CELLS - filled), "$foreground 15%"))
        right["context"] = Content(f"{n_used:,}/{facts.n_ctx:,}")
    if facts.tokens_per_second:
        right["rate"] = Content(f"{facts.tokens_per_second:,.{1 if facts.tokens_per_second < 100 else 0}f} tok/s")
    if facts.first_token_seconds:
        right["first"] = Content(f"first {facts.first_token_seconds:.2f} s")
    return left, right


def _clickable(text: str, action: str, style: str) -> Content:
    """Text that stands for a command."""
    return Content.styled(line(text), style).stylize(Style.from_meta({"command": action}))


def _length(parts: dict[str, Content]) -> int:
    """Cells that the parts take, with what is between them."""
    return sum(part.cell_length for part in parts.values()) + 3 * max(0, len(parts) - 1)


def _joined(parts: dict[str, Content]) -> Content:
    """The parts with dots between, the bar standing before its numbers."""
    joined = Content("")
    for name, part in parts.items():
        if joined.plain:
            joined += Content(" ") if name == "context" and "bar" in parts else Content.styled(" · ", "$foreground 30%")
        joined += part
    return joined


def activity_of(event: Event) -> str:
    """What the engine does, in a few words; empty for an event that changes nothing.

    Example: Prefilling(512, 2048) -> "reading the prompt 512/2,048"
    """
    match event:
        case Loading(stage=LoadStage.WEIGHTS, fraction=fraction):
            return f"loading {fraction:.0%}".replace("%", " %")
        case Loading(stage=stage):
            return {
                LoadStage.STARTING: "starting llama.cpp",
                LoadStage.READING: "reading the file",
                LoadStage.CONTEXT: "preparing the context",
                LoadStage.CONNECTING: "asking the server",
            }[stage]
        case Prefilling(n_done=done, n_total=total):
            return f"reading the prompt {done:,}/{total:,}"
        case Token(reasoning=True):
            return "thinking"
        case Token():
            return "writing"
        case Finished(reason=FinishReason.LENGTH):
            return "cut at the longest reply"
        case Finished(reason=FinishReason.CONTEXT):
            return "cut, the context is full"
        case Finished(reason=FinishReason.FILTER):
            return "cut by the server's filter"
        case Loaded() | Finished():
            return "ready"
        case _:
            return ""
