"""Lines made ready for the terminal: margins, the cursor's bar, selection, fading, and columns that hold.

A terminal may draw an emoji sequence or a combining script wider or narrower than was counted.
After each such run the column is therefore set again, so that nothing beside it is torn.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from rich.cells import cell_len
from rich.segment import ControlType, Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.strip import Strip

from chatterm.ui.widgets.reading.lines import Line
from chatterm.ui.widgets.reading.look import Look
from chatterm.ui.widgets.selection import painted_range

LEFT, RIGHT = 2, 2
"""Margins: the cursor's bar and a blank; a blank and the scrollbar."""
_FADED = 0.55
"""How far text that the model no longer sees goes towards the background."""
_UNSURE = re.compile(
    "[^\x00-\u2fff\u3000-\ud7ff\uf900-\ufaff\uff00-\uffef\U0001f300-\U0001f3fa\U0001f400-\U0001f64f\U00020000-\U0003ffff]"
    "|[\u0900-\u109f\u1100-\u11ff\u1780-\u17ff\u200c\u200d\u20e3\u2600-\u27bf\ufe0e\ufe0f]"
)
_RUN = re.compile(f"(?:(?:{_UNSURE.pattern})[\u200d\ufe0f]?|.(?=[\u200c\u200d\u20e3\ufe0e\ufe0f]))+", re.DOTALL)


class Frame(NamedTuple):
    """What all lines of a screen share."""

    width: int
    """Cells of the whole widget."""
    left: int
    """Column of the screen at which it begins."""
    look: Look
    filters: tuple[LineFilter, ...]
    background: Color


class Marks(NamedTuple):
    """What is special about a line at the moment."""

    has_bar: bool = False
    is_faded: bool = False
    selected: tuple[int, int] | None = None
    """Cells of the line that are selected."""


def painted(line: Line, frame: Frame, marks: Marks) -> Strip:
    """The strip of a line; kept with it, so that a line that has not changed is the same object."""
    variant = (frame.width, frame.left, marks)
    if line.strip is not None and line.variant == variant:
        return line.strip
    look = frame.look
    room = frame.width - LEFT - RIGHT
    segments: Iterable[Segment] = Strip(line.segments).adjust_cell_length(room, line.fill or look.text)
    if marks.is_faded:
        segments = [Segment(text, faded(style or look.text)) for text, style, _ in segments]
    if marks.selected is not None:
        segments = _selected(Strip(segments, room), line, marks.selected, look)
    bar = Segment("▎ ", look.bar) if marks.has_bar else Segment("  ", look.text)
    strip = Strip([bar, *segments, Segment(" " * RIGHT, look.text)], frame.width)
    for line_filter in frame.filters:
        strip = strip.apply_filter(line_filter, frame.background)
    if any(_UNSURE.search(segment.text) for segment in line.segments):
        strip = Strip(_held(strip, frame.left), frame.width)
    line.strip, line.variant = strip, variant
    return strip


def _selected(strip: Strip, line: Line, cells: tuple[int, int], look: Look) -> Sequence[Segment]:
    """Segments with a range of cells on the selection's background."""
    start, end = painted_range(line, cells)
    start, end = max(start, line.indent), min(end, strip.cell_length)
    if end <= start:
        return list(strip)
    behind = Style(bgcolor=look.selection.bgcolor)
    middle = Segment.apply_style(strip.crop(start, end), None, behind)
    return [*strip.crop(0, start), *middle, *strip.crop(end)]


@lru_cache(maxsize=2048)
def faded(style: Style) -> Style:
    """A style on its way to the background."""
    if style.color is None or style.bgcolor is None or style.color.triplet is None or style.bgcolor.triplet is None:
        return style + Style(dim=True)
    colour = Color.from_rich_color(style.color).blend(Color.from_rich_color(style.bgcolor), _FADED)
    return style + Style(color=colour.rich_color)


def _held(strip: Strip, left: int) -> Iterator[Segment]:
    """The segments with the column set around each run whose width terminals do not agree on."""
    at = left
    for segment in strip:
        text, style, _ = segment
        done = 0
        for match in _RUN.finditer(text):
            if match.start() > done:
                yield Segment(text[done : match.start()], style)
                at += cell_len(text[done : match.start()])
            cells = cell_len(match.group())
            yield _control(" " * cells + f"\x1b[{at + 1}G", style)
            yield Segment(match.group(), style)
            at += cells
            yield _control(f"\x1b[{at + 1}G", style)
            done = match.end()
        if done < len(text):
            yield Segment(text[done:], style)
            at += cell_len(text[done:])


def _control(text: str, style: Style | None) -> Segment:
    """A segment that takes no cells."""
    return Segment(text, style, ((ControlType.CURSOR_MOVE_TO_COLUMN, 0),))
