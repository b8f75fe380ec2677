"""One turn as lines: who speaks, what was thought, what was said, how it ended."""

from __future__ import annotations

from rich.segment import Segment

from chatterm.conversation import Role, Turn, TurnState
from chatterm.ui.widgets.reading.blocks import GrowingText
from chatterm.ui.widgets.reading.inline import flat
from chatterm.ui.widgets.reading.lines import Line, Span, wrap
from chatterm.ui.widgets.reading.look import Look
from chatterm.ui.widgets.reading.markdown import PROSE, markdown_lines, plain_lines
from chatterm.ui.widgets.reading.tables import from_spans
from chatterm.ui.widgets.reading.tinted import Tint, tint_lines
from chatterm.ui.widgets.reading.untrusted import clean

BAR = "│ "
"""Stands before each line of reasoning."""
UNSEEN_RULE = "the model no longer sees what is above this line"
_MARKS = {
    TurnState.STOPPED: "stopped",
    TurnState.FAILED: "failed",
    TurnState.INTERRUPTED: "interrupted",
}


class TurnView:
    """A turn and its lines, for one width and look; lines are made when they are asked for."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.is_unfolded = False
        """Whether the reasoning is shown."""
        self.tints: tuple[Tint, ...] = ()
        """Ranges of an answer's text that are coloured."""
        self.is_unseen = False
        self.ends_unseen = False
        """Whether the rule stands below it."""
        self.lines: list[Line] | None = None
        self.height = 0
        """Lines that it takes: exact when `lines` were made for the width, else an estimate."""
        self.fold_row: int | None = None
        """Row of the line that folds the reasoning."""

    @property
    def n_faded(self) -> int:
        """How many of its lines are faded, since the model no longer sees them: all but the rule below."""
        return (self.height - 2 * self.ends_unseen) if self.is_unseen else 0

    @property
    def can_fold(self) -> bool:
        """Whether there is reasoning that can be folded."""
        return bool(self.turn.reasoning)

    @property
    def source(self) -> str:
        """What was said, as it was written."""
        return self.turn.text

    def estimate(self, width: int) -> int:
        """About how many lines it takes; quick."""
        turn = self.turn
        return 4 + turn.text.count("\n") + len(turn.text) // max(min(width, PROSE), 1) + bool(turn.reasoning) * 2

    def set(self, width: int, look: Look) -> list[Line]:
        """Make the lines."""
        turn = self.turn
        lines = self.head(look, turn)
        if turn.reasoning:
            lines += self.reasoning_head(look, len(turn.reasoning.split()), is_open=self.is_unfolded)
            if self.is_unfolded:
                lines += reasoning_body(markdown_lines(turn.reasoning, width - len(BAR), look.quiet()), look)
            if turn.text.strip():
                lines.append(Line())
        if turn.role is Role.USER:
            lines += plain_lines(turn.text, width, look)
        else:
            body = markdown_lines(turn.text, width, look)
            if self.tints:
                tint_lines(body, turn.text, self.tints, look.hot)
            lines += body
        lines += self.foot(width, look, turn)
        self.lines = lines
        self.height = len(lines)
        return lines

    def head(self, look: Look, turn: Turn) -> list[Line]:
        """Who speaks, and how it ended if it did not end well."""
        match turn.role:
            case Role.USER:
                who, style = "You", look.user
            case Role.SYSTEM:
                who, style = "System prompt", look.note
            case Role.ASSISTANT:
                who, style = (flat(turn.record.model_name) if turn.record else "") or "Model", look.model
        segments = [Segment(who, style)]
        if mark := _MARKS.get(turn.state):
            segments.append(Segment(f"  {mark}", look.error if turn.state is TurnState.FAILED else look.note))
        return [Line(segments, indent=sum(len(segment.text) for segment in segments), joint="")]

    def reasoning_head(self, look: Look, n_words: int, *, is_open: bool, is_live: bool = False) -> list[Line]:
        """The line that folds and unfolds what the model thought."""
        self.fold_row = 1
        words = f"{n_words:,} word{'' if n_words == 1 else 's'}"
        if is_live:
            text = f"▾ Thinking, {words}"
        else:
            text = f"{'▾' if is_open else '▸'} Thought for {words} — enter to {'fold' if is_open else 'open'}"
        return [Line([Segment(text, look.note)], indent=len(text), joint="")]

    def foot(self, width: int, look: Look, turn: Turn) -> list[Line]:
        """Its error, the rule where the model's sight ends, and a blank line."""
        lines = []
        if turn.error:
            spans = [Span(clean(f"✕ {turn.error}").expandtabs(4), look.error)]
            lines += [Line()] if turn.text.strip() else []
            lines += [from_spans(found, joint) for found, joint in wrap(spans, min(width, PROSE))]
        elif turn.state is not TurnState.WRITING and not turn.text.strip() and turn.role is Role.ASSISTANT:
            lines.append(Line([Segment("(nothing was written)", look.note)], indent=21, joint=""))
        lines.append(Line())
        if self.ends_unseen:
            lines += [_rule(width, look), Line()]
        return lines


class OpenTurnView(TurnView):
    """A turn that is being written: set in pieces."""

    def __init__(self, turn: Turn) -> None:
        super().__init__(turn)
        self.text = turn.text
        self.reasoning = turn.reasoning
        self._texts: tuple[GrowingText, GrowingText] | None = None
        """Reasoning and answer, for the width and look that were asked for last."""
        self._for: tuple[int, Look] | None = None

    @property
    def can_fold(self) -> bool:
        """Whether the answer has begun, so that the reasoning above it can be folded."""
        return bool(self.reasoning) and bool(self.text.strip())

    @property
    def source(self) -> str:
        """What arrived so far."""
        return self.text

    def write(self, text: str, reasoning: bool) -> None:
        """Add what arrived."""
        if reasoning:
            self.reasoning += text
        else:
            self.text += text
        if self._texts is not None:
            self._texts[0 if reasoning else 1].write(text)

    def set(self, width: int, look: Look) -> list[Line]:
        """Make the lines of what has arrived so far."""
        if self._texts is None or self._for != (width, look):
            self._for = (width, look)
            self._texts = (GrowingText(width, look.quiet(), BAR), GrowingText(width, look))
            self._texts[0].write(self.reasoning)
            self._texts[1].write(self.text)
        thoughts, answer = self._texts
        lines = self.head(look, self.turn)
        if not self.reasoning and not self.text.strip():
            lines.append(Line([Segment("…", look.note)], indent=1, joint=""))
        if self.reasoning:
            is_live = not self.text.strip()
            is_open = is_live or self.is_unfolded
            lines += self.reasoning_head(look, len(self.reasoning.split()), is_open=is_open, is_live=is_live)
            if is_open:
                live = thoughts.lines()
                lines += thoughts.kept
                lines += live
            if not is_live:
                lines.append(Line())
        live = answer.lines()
        lines += answer.kept
        lines += live
        lines += self.foot(width, look, self.turn)
        _keep_same(lines, self.lines or [])
        self.lines = lines
        self.height = len(lines)
        return lines


def _keep_same(lines: list[Line], before: list[Line]) -> None:
    """Put the old line wherever a new one looks the same, so that it need not be drawn again."""
    for row, (new, old) in enumerate(zip(lines, before, strict=False)):
        if new is not old and old.same(new):
            old.code, old.source = new.code, new.source
            lines[row] = old


def reasoning_body(lines: list[Line], look: Look) -> list[Line]:
    """Thoughts behind a thin bar."""
    return [line.prefixed([Segment(BAR, look.rule)]) for line in lines]


def _rule(width: int, look: Look) -> Line:
    """Where the model's sight ends."""
    size = min(width, PROSE)
    text = f"── {UNSEEN_RULE} "[:size]
    return Line([Segment(text + "─" * (size - len(text)), look.note)], indent=size, joint="")
