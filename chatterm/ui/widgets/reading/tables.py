"""Tables fitted to a width: columns share the room, cells wrap, and what cannot fit becomes a list of fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from chatterm.ui.widgets.reading.lines import Line, Link, Span, wrap
from chatterm.ui.widgets.reading.look import Look

NARROWEST = 5
"""Cells below which a column is no longer readable."""
GAP = " │ "


class Table(NamedTuple):
    """A table's cells as spans; the first row is its head."""

    rows: Sequence[Sequence[Sequence[Span]]]
    aligns: Sequence[str]
    """"left", "center" or "right" for each column."""


class Shape(NamedTuple):
    """How a table is laid out."""

    widths: tuple[int, ...]
    """Cells of each column; empty where each row becomes a list of fields."""
    has_wrapped: bool
    """Whether a cell may take several lines, so that rows need a line between them."""


def shape_of(table: Table, width: int) -> Shape:
    """The layout of a table that is at most so many cells wide."""
    n_columns = len(table.aligns)
    natural = [max((_widest(row[i]) for row in table.rows if i < len(row)), default=1) or 1 for i in range(n_columns)]
    room = width - len(GAP) * (n_columns - 1)
    if room < NARROWEST * n_columns and sum(natural) > room:
        return Shape((), has_wrapped=True)
    widths = share(natural, room)
    return Shape(tuple(widths), has_wrapped=widths != natural)


def table_lines(table: Table, width: int, look: Look, shape: Shape | None = None) -> list[Line]:
    """The lines of a table.

    Args:
        table: All of it, or its head and its last rows.
        width: Cells that a line may take.
        look: Styles.
        shape: Given when the table was begun in this layout; then only the rows below the head are set.
    """
    is_rest = shape is not None
    shape = shape or shape_of(table, width)
    if not shape.widths:
        return _records(table, width, look, is_rest=is_rest)
    lines = [] if is_rest else _row(table.rows[0], shape.widths, table.aligns, look)
    if not is_rest:
        lines.append(_rule(shape.widths, look, "─┼─"))
    for number, row in enumerate(table.rows[1:]):
        if shape.has_wrapped and (number or is_rest):
            lines.append(_rule(shape.widths, look, "╌┼╌"))
        lines += _row(row, shape.widths, table.aligns, look)
    return lines


def share(natural: Sequence[int], room: int) -> list[int]:
    """Widths of columns: small ones get what they need, the others share the rest evenly.

    Example: [3, 30, 30], 43 -> [3, 20, 20]
    """
    if sum(natural) <= room:
        return list(natural)
    widths = [0] * len(natural)
    waiting = sorted(range(len(natural)), key=lambda i: natural[i])
    left = room
    for position, i in enumerate(waiting):
        widths[i] = min(natural[i], max(left // (len(waiting) - position), 1))
        left -= widths[i]
    return widths


def _widest(cell: Sequence[Span]) -> int:
    """Cells of a cell's longest line."""
    return max(cell_len(line) for line in "".join(span.text for span in cell).split("\n"))


def _rule(widths: Sequence[int], look: Look, joint: str) -> Line:
    """A line between rows."""
    dash, cross = joint[0], joint
    return Line(
        [Segment(cross.join(dash * size for size in widths), look.rule)],
        indent=sum(widths) + len(joint) * (len(widths) - 1),
        joint="",
    )


def _row(row: Sequence[Sequence[Span]], widths: Sequence[int], aligns: Sequence[str], look: Look) -> list[Line]:
    """The lines of a row, as many as its highest cell has."""
    cells = [wrap(row[i], size) if i < len(row) else [] for i, size in enumerate(widths)]
    lines = []
    for y in range(max((len(cell) for cell in cells), default=0)):
        segments: list[Segment] = []
        links: list[Link] = []
        at = 0
        for i, (cell, size) in enumerate(zip(cells, widths, strict=True)):
            if i:
                segments.append(Segment(GAP, look.rule))
                at += len(GAP)
            spans = cell[y][0] if y < len(cell) else []
            spare = size - sum(cell_len(span.text) for span in spans)
            left = {"right": spare, "center": spare // 2}.get(aligns[i], 0)
            if left > 0:
                segments.append(Segment(" " * left, look.text))
            place = at + max(left, 0)
            for span in spans:
                segments.append(Segment(span.text, span.style))
                after = place + cell_len(span.text)
                if span.url:
                    links.append(Link(place, after, span.url))
                place = after
            if spare - left > 0 and i + 1 < len(widths):
                segments.append(Segment(" " * (spare - left), look.text))
            at += size
        lines.append(Line(segments, links=links))
    return lines


def _records(table: Table, width: int, look: Look, *, is_rest: bool) -> list[Line]:
    """Each row as a list of its fields, for tables with more columns than fit."""
    head = [" ".join("".join(span.text for span in cell).split()) for cell in table.rows[0]]
    lines: list[Line] = []
    for row in table.rows[1:]:
        if lines or is_rest:
            lines.append(Line([Segment("╌" * min(width, 24), look.rule)], indent=min(width, 24), joint=""))
        for name, cell in zip(head, row, strict=False):
            label = Span(f"{name}: " if name else "", look.h3)
            lines += [from_spans(spans, joint) for spans, joint in wrap([label, *cell], width)]
    return lines


def from_spans(spans: Sequence[Span], joint: str = "\n") -> Line:
    """A line of spans, with its links where they can be clicked."""
    links = []
    at = 0
    if any(span.url for span in spans):
        for span in spans:
            after = at + cell_len(span.text)
            if span.url:
                links.append(Link(at, after, span.url))
            at = after
    return Line([Segment(span.text, span.style) for span in spans], joint=joint, links=links)


def to_spans(line: Line) -> list[Span]:
    """The spans that a line was made of."""
    spans = []
    at = 0
    for text, style, _control in line.segments:
        url = next((link.url for link in line.links if link.start <= at < link.end), "")
        spans.append(Span(text, style or Style.null(), url))
        at += cell_len(text)
    return spans
