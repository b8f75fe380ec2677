"""What is selected in a transcript, and what copying it gives."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len

from chatterm.ui.widgets.reading.lines import Line, cells_to_index

_WORD = re.compile(r"\w+(?:['’\-]\w+)*|\s+|[^\w\s]")
END = 1_000_000
"""A cell behind every line."""


class Point(NamedTuple):
    """A cell of a line; points compare in reading order."""

    turn: int
    row: int
    cell: int
    """From the start of the line, decoration included."""


class Selection(NamedTuple):
    """From one point to another, in either order."""

    anchor: Point
    head: Point

    @property
    def start(self) -> Point:
        """Its first cell."""
        return min(self.anchor, self.head)

    @property
    def end(self) -> Point:
        """The cell behind its last one."""
        return max(self.anchor, self.head)

    def cells_in(self, turn: int, row: int) -> tuple[int, int] | None:
        """Which cells of a line are selected, None when the line is outside."""
        start, end = self.start, self.end
        if not (start.turn, start.row) <= (turn, row) <= (end.turn, end.row):
            return None
        first = start.cell if (turn, row) == (start.turn, start.row) else 0
        last = end.cell if (turn, row) == (end.turn, end.row) else END
        return (first, last) if last > first else None


def selected_range(line: Line, cells: tuple[int, int]) -> tuple[int, int]:
    """The characters of a line's text that lie in a range of cells."""
    text = line.text
    return cells_to_index(text, cells[0] - line.indent), cells_to_index(text, cells[1] - line.indent)


def painted_range(line: Line, cells: tuple[int, int]) -> tuple[int, int]:
    """The cells of whole characters in a range of cells, as they are painted."""
    start, end = selected_range(line, cells)
    text = line.text
    return line.indent + cell_len(text[:start]), line.indent + cell_len(text[:end])


def copied(lines: Sequence[tuple[Line, tuple[int, int]]]) -> str:
    """The text of lines and ranges of cells: wrapped lines joined, without what only decorates."""
    parts: list[str] = []
    for number, (line, cells) in enumerate(lines):
        start, end = selected_range(line, cells)
        text = line.text
        is_whole = start == 0 and end == len(text)
        piece = line.source if line.source is not None and is_whole else text[start:end]
        is_last = number + 1 == len(lines)
        if line.joint == "\n" and line.code is None:
            piece = piece.rstrip()
        parts.append(piece if is_last else piece + line.joint)
    return "".join(parts).strip("\n")


def word_at(line: Line, cell: int) -> tuple[int, int]:
    """The cells of the word at a cell."""
    text = line.text
    index = cells_to_index(text, cell - line.indent)
    for match in _WORD.finditer(text):
        if match.start() <= index < match.end():
            return line.indent + cell_len(text[: match.start()]), line.indent + cell_len(text[: match.end()])
    return cell, cell


def paragraph_at(lines: Sequence[Line], row: int) -> tuple[int, int]:
    """First and last row of the lines that were one before they were wrapped."""
    first = last = row
    while first > 0 and lines[first - 1].joint != "\n" and lines[first - 1].text:
        first -= 1
    while last + 1 < len(lines) and lines[last].joint != "\n":
        last += 1
    return first, last
