"""Tokens in lines: words stay whole where they fit, and what cannot have moved is not laid out again.

Counts cells and knows no widget.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len

from chatterm.ui.widgets.reading.lines import graphemes


class Cell(NamedTuple):
    """A part of a token on a line."""

    token: int
    text: str


class Wrapping(NamedTuple):
    """Tokens in lines."""

    lines: list[list[Cell]]
    line_of: list[int]
    """For each token the line on which it begins."""


def wrapped(texts: Sequence[str], width: int, begun: Wrapping | None = None) -> Wrapping:
    """Tokens in lines of at most so many cells.

    Words stay whole where they fit; a line break in a token ends its line.

    Args:
        texts: Of the tokens.
        width: In cells.
        begun: The first tokens in lines, as `unmoved` gives them.
    """
    lines, line_of = begun or Wrapping([[]], [])
    used = 0
    for index in range(len(line_of), len(texts)):
        text = texts[index]
        if used and _starts_word(texts, index) and used + _word_cells(texts, index, width) > width:
            lines.append([])
            used = 0
        line_of.append(len(lines) - 1)
        for number, part in enumerate(text.split("\n")):
            if number:
                lines.append([])
                used = 0
            for start, end, cells in graphemes(part) if part else ():
                if used + cells > width:
                    lines.append([])
                    used = 0
                if used == 0 and start == 0 and number == 0:
                    line_of[-1] = len(lines) - 1
                _add(lines[-1], index, part[start:end])
                used += cells
    return Wrapping(lines, line_of)


def unmoved(old: Wrapping, texts: Sequence[str]) -> Wrapping:
    """The lines of these first tokens that stay as they are, whatever stands behind the tokens; then an empty one.

    A word that grows can move to another line, and a line before that can change when it becomes
    wider than a line.
    """
    last_word = len(texts) - 1
    while last_word > 0 and not _starts_word(texts, last_word):
        last_word -= 1
    number = old.line_of[last_word] - 1 if last_word > 0 else 0
    while number > 0:
        first = old.lines[number][0].token if old.lines[number] else -1
        if first >= 0 and old.line_of[first] == number and first < last_word:
            return Wrapping([*old.lines[:number], []], old.line_of[:first])
        number -= 1
    return Wrapping([[]], [])


def _starts_word(texts: Sequence[str], index: int) -> bool:
    """Whether a token does not go on with the word of the one before it."""
    return not index or texts[index][:1].isspace() or texts[index - 1].endswith("\n")


def _word_cells(texts: Sequence[str], index: int, width: int) -> int:
    """Cells of the word that begins with a token; those beyond a line do not count."""
    cells = 0
    for i in range(index, len(texts)):
        if i > index and _starts_word(texts, i):
            break
        cells += cell_len(texts[i].partition("\n")[0])
        if cells > width:
            return 0  # it has to be broken anyway
    return cells


def _add(line: list[Cell], token: int, text: str) -> None:
    """Put a character behind what a line has of the same token."""
    if line and line[-1].token == token:
        line[-1] = Cell(token, line[-1].text + text)
    else:
        line.append(Cell(token, text))
