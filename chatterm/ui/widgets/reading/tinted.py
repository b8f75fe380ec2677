"""Colours behind parts of a text that was set: the ranges are those of the text as it was written.

Setting drops marks and adds bullets, so each letter that is seen is looked for in the text, from where the last one
was found. What is not found there is decoration, and stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.color import Color

from chatterm.ui.widgets.reading.lines import Line

MARKED, STRONG = 0.5, 0.8
"""From these strengths on a text is underlined, and bold, so that colour is not needed to see them."""
_HOTTEST = 0.7
"""How far the strongest tint goes from the page to its colour."""
_NEAR, _FAR = 8, 200
"""Characters in which a letter is looked for, and in which a few of them together are."""
_ENOUGH = 4
_LEAST = 3


class Tint(NamedTuple):
    """A range of a text, and how strongly it is coloured."""

    start: int
    end: int
    strength: float
    """0 to 1."""


def tint_style(page: Color, hot: Color, strength: float) -> Style:
    """The background of a tint, and the mark that needs no colour."""
    colour = page.blend(hot, min(max(strength, 0.0), 1.0) * _HOTTEST)
    return Style(bgcolor=colour.rich_color, underline=strength >= MARKED, bold=strength >= STRONG)


def tint_lines(lines: Sequence[Line], source: str, tints: Sequence[Tint], hot: Style) -> None:
    """Colour lines that were set from a text, in place.

    Args:
        lines: In their order, not drawn yet.
        source: The text as it was written.
        tints: Ranges of it, in their order, none over another.
        hot: Its background is that of the strongest tint.
    """
    if hot.bgcolor is None:
        return
    colour, strengths, at = Color.from_rich_color(hot.bgcolor), _strengths(len(source), tints), 0
    for line in lines:
        text = "".join(segment.text for segment in line.segments)
        found: list[float | None] = []
        for place in _places(text, line.indent, source, at):
            found.append(None if place is None else strengths[place])
            at = at if place is None else place + 1
        line.segments = list(_coloured(line.segments, found, colour))


def _strengths(n: int, tints: Sequence[Tint]) -> list[float | None]:
    """For each character of a text how strongly it is coloured."""
    strengths: list[float | None] = [None] * n
    for start, end, strength in tints:
        strengths[max(start, 0) : end] = [strength] * (min(end, n) - max(start, 0))
    return strengths


def _places(text: str, indent: int, source: str, at: int) -> Iterator[int | None]:
    """For each character of a line where it stands in the text; None for decoration."""
    for number, character in enumerate(text):
        place = -1
        if number >= indent and not character.isspace():
            place = source.find(character, at, at + _NEAR)
            if place < 0 and len(few := text[number : number + _ENOUGH].strip()) >= _LEAST:
                place = source.find(few, at, at + _FAR)
        elif character.isspace() and at < len(source) and source[at].isspace():
            place = at
        at = at if place < 0 else place + 1
        yield None if place < 0 else place


def _coloured(segments: Sequence[Segment], strengths: Sequence[float | None], hot: Color) -> Iterator[Segment]:
    """The same segments, cut where the colour changes."""
    at = 0
    for text, style, control in segments:
        mine, at = strengths[at : at + len(text)], at + len(text)
        if control or style is None or style.bgcolor is None or not any(mine):
            yield Segment(text, style, control)
            continue
        page, begin = Color.from_rich_color(style.bgcolor), 0
        for strength, group in groupby(mine):
            end = begin + len(list(group))
            yield Segment(text[begin:end], style + tint_style(page, hot, strength) if strength else style)
            begin = end
