"""Lines made ready for the terminal: margins, the cursor's bar, selection, fading, and columns that hold.

A terminal may draw an emoji sequence wider or narrower than was counted: after each one the column
is set again, so that nothing beside it is torn. Scripts whose vowel signs some terminals give a cell
of their own flow freely up to the right margin, so that no letter is covered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from rich.cells import cell_len, split_graphemes
from rich.segment import ControlType, Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.strip import Strip

from chatterm.ui.widgets.reading.lines import FLOWING, Line
from chatterm.ui.widgets.reading.look import Look
from chatterm.ui.widgets.selection import painted_range

LEFT, RIGHT = 2, 2
"""Margins: the cursor's bar and a blank; a blank and the scrollbar."""
_FADED = 0.45
"""How far text that the model no longer sees goes towards the background."""
_SURE = re.compile(
    "[\x00-\u02ff\u0370-\u058a\u05be\u05d0-\u060f\u061b-\u064a\u0660-\u066f\u1e00-\u200a\u2010-\u20cf\u2100-\u25ff"
    "\u3000-\ud7ff\uf900-\ufaff\uff00-\uffef\U0001f300-\U0001f3fa\U0001f400-\U0001f64f\U00020000-\U0003ffff]*"
)
"""Characters on whose width all terminals agree: letters, CJK, emoji that are one old character."""


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
    if room < 1:
        return Strip.blank(frame.width, look.text)
    segments: Iterable[Segment] = Strip(line.segments).adjust_cell_length(room, line.fill or look.text)
    if marks.is_faded:
        segments = [Segment(text, faded(style or look.text)) for text, style, _ in segments]
    if marks.selected is not None:
        segments = _selected(Strip(segments, room), line, marks.selected, look)
    bar = Segment("▎ ", look.bar) if marks.has_bar else Segment("  ", look.text)
    strip = Strip([bar, *segments, Segment(" " * RIGHT, look.text)], frame.width)
    for line_filter in frame.filters:
        strip = strip.apply_filter(line_filter, frame.background)
    if not all(segment.text.isascii() or _SURE.fullmatch(segment.text) for segment in line.segments):
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
    if FLOWING.search(strip.text):
        yield from _flowing(strip, left)
        return
    at = left
    for text, style, _ in strip:
        for piece, is_sure in _runs(text):
            cells = cell_len(piece)
            if is_sure:
                yield Segment(piece, style)
            else:
                yield _control(" " * cells + f"\x1b[{at + 1}G", style)
                yield Segment(piece, style)
                yield _control(f"\x1b[{at + cells + 1}G", style)
            at += cells


def _flowing(strip: Strip, left: int) -> Iterator[Segment]:
    """The segments with the padding first, so that text that is wider than counted runs into it."""
    bar, *body, margin = strip
    padding: list[Segment] = []
    while body and body[-1].text.isspace():
        padding.insert(0, body.pop())
    style = padding[-1].style if padding else margin.style
    room = strip.cell_length - LEFT - RIGHT
    yield bar
    yield _control(" " * room + f"\x1b[{left + LEFT + 1}G", style)
    yield from padding
    yield _control(f"\x1b[{left + LEFT + 1}G", style)
    yield from body
    yield _control(f"\x1b[{left + LEFT + room + 1}G", style)
    yield margin


def _runs(text: str) -> Iterator[tuple[str, bool]]:
    """A text divided into runs of characters whose width is sure, or not."""
    if _SURE.fullmatch(text):
        yield text, True
        return
    begin, was_sure = 0, True
    for start, end, _ in split_graphemes(text)[0]:
        is_sure = end - start == 1 and _SURE.fullmatch(text, start, end) is not None
        if is_sure != was_sure and start > begin:
            yield text[begin:start], was_sure
            begin = start
        was_sure = is_sure
    yield text[begin:], was_sure


def _control(text: str, style: Style | None) -> Segment:
    """A segment that takes no cells."""
    return Segment(text, style, ((ControlType.CURSOR_MOVE_TO_COLUMN, 0),))
