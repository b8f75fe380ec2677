"""All answers to one question, in characters: where they part, how likely each was from there on, and two side by side.

The chance of a branch is the product of what the model gave each of its tokens, from where it parts
from the one that it is a branch of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from chatterm.events import Measured
from chatterm.ui.glass.marks import MUTED, percent
from chatterm.ui.glass.shown_token import shown
from chatterm.ui.glass.wrapping import wrapped

FIRST_LINE = 1
"""On which line the rows begin."""
_CHANCE_CELLS = 26
_SHORT_CHANCE_CELLS = 12
"""Where there is no room for the bits."""
_ROOMY = 50
_N_BEFORE = 12
"""Tokens that are shown before two answers part."""
_LEAST = 60
"""Columns from which two answers have room side by side."""


class Branch(NamedTuple):
    """One answer."""

    turn_id: int
    pieces: tuple[bytes, ...]
    """Its tokens; words where they were not kept."""
    bits: tuple[float | None, ...]
    """For each how surprising it was, as far as that is known."""
    is_open: bool = False
    """Whether it is the one that is shown in the conversation."""

    @property
    def starts(self) -> list[int]:
        """Where each piece begins, and where the last one ends, in bytes."""
        return [0, *accumulate(map(len, self.pieces))]


class BranchesSeen(NamedTuple):
    """All answers to a question, oldest first."""

    branches: tuple[Branch, ...]


class Fork(NamedTuple):
    """Where a branch stands in the tree."""

    number: int
    """Which of the answers, counted from 0."""
    depth: int
    parent: int | None
    n_common: int
    """Pieces that it has in common with the one that it parts from."""


def branch_of(turn_id: int, text: str, measures: Sequence[Measured], *, is_open: bool) -> Branch:
    """An answer by its tokens, or by its text where they were not kept."""
    if measures:
        return Branch(turn_id, tuple(m.piece for m in measures), tuple(m.surprise for m in measures), is_open)
    words = tuple(f"{space}{word}".encode() for word, space in _words(text))
    return Branch(turn_id, words, (None,) * len(words), is_open)


def n_common(one: Branch, other: Branch) -> int:
    """How many pieces an answer begins with that the other begins with, too."""
    n, both = 0, min(len(one.pieces), len(other.pieces))
    while n < both and one.pieces[n] == other.pieces[n]:
        n += 1
    if None not in (*one.bits, *other.bits):
        return n
    text, rest = b"".join(one.pieces), b"".join(other.pieces)  # cut in different ways: the bytes tell
    same = next((i for i, (a, b) in enumerate(zip(text, rest, strict=False)) if a != b), min(len(text), len(rest)))
    return max(n, sum(start <= same for start in one.starts[1:]))


def tree(seen: BranchesSeen) -> list[Fork]:
    """The answers in the order of a tree: each below the older one with which it has most in common."""
    forks: list[Fork] = []
    for number, branch in enumerate(seen.branches):
        older = [(n_common(branch, seen.branches[i]), -i) for i in range(number)]
        if not older:
            forks.append(Fork(number, 0, None, 0))
            continue
        common, negative = max(older)
        parent = -negative
        forks.append(Fork(number, forks[parent].depth + 1, parent, common))
    return [fork for root in forks[:1] for fork in _below(root, forks)]


def _below(fork: Fork, forks: Sequence[Fork]) -> list[Fork]:
    """A branch, and all that part from it."""
    children = [other for other in forks if other.parent == fork.number]
    return [fork, *(each for child in children for each in _below(child, forks))]


def chance(branch: Branch, start: int) -> tuple[float, float] | None:
    """How likely an answer was from a piece on, in bits, and bits a token; None where it was not measured."""
    bits = [bit for bit in branch.bits[start:] if bit is not None]
    if not bits or len(bits) < len(branch.bits) - start:
        return None
    return math.fsum(bits), math.fsum(bits) / len(bits)


def said(bits: float) -> str:
    """A chance as people read it.

    Example: 1.0 -> "50.0 %", 40 -> "1 in 2^40"
    """
    return percent(2**-bits) if bits < 13 else f"1 in 2^{bits:.0f}"


def lines(seen: BranchesSeen, width: int, row: int | None) -> list[Content]:
    """A row for each answer, then the open one beside the one under the cursor."""
    forks = tree(seen)
    n = len(forks)
    heading = f"{n} answer{'' if n == 1 else 's'} to this question, and the chance of each from where it parts"
    drawn = [Content.styled(heading[: max(width, 1)], MUTED)]
    drawn += [_row(seen, fork, width, is_here=place == row) for place, fork in enumerate(forks)]
    if n == 1:
        return [
            *drawn,
            Content(""),
            Content.styled("Take another token in Next (enter), or regenerate: that is a branch.", MUTED),
        ]
    current = next((fork for fork in forks if seen.branches[fork.number].is_open), forks[0])
    other = forks[row] if row is not None and row < n else forks[0]
    if other.number == current.number:
        other = next(fork for fork in forks if fork.number != current.number)
    return [*drawn, Content(""), *_beside(seen, current.number, other.number, width)]


def open_row(seen: BranchesSeen) -> int:
    """In which row the open answer stands."""
    return next((row for row, fork in enumerate(tree(seen)) if seen.branches[fork.number].is_open), 0)


def first_apart(seen: BranchesSeen) -> int:
    """From which piece on the first answer is not that of all."""
    first, *others = seen.branches
    return min((n_common(first, other) for other in others), default=0)


def _row(seen: BranchesSeen, fork: Fork, width: int, *, is_here: bool) -> Content:
    branch = seen.branches[fork.number]
    start = fork.n_common if fork.parent is not None else first_apart(seen)
    likely = chance(branch, start)
    is_roomy = width >= _ROOMY
    bits = f", {likely[1]:.1f} bits a token" if likely and is_roomy else ""
    told = f"{said(likely[0])}{bits}" if likely else "not measured"
    cells = _CHANCE_CELLS if is_roomy else _SHORT_CHANCE_CELLS
    indent = "  " * (fork.depth - 1) + "└ " if fork.depth else ""
    where = f"after {fork.n_common} " if fork.parent is not None else ""
    room = max(width - len(indent) - len(where) - 6 - cells, 4)
    text = b"".join(branch.pieces[fork.n_common :])
    line = Content.assemble(
        ("▸" if is_here else " ", "$text-accent"),
        ("● " if branch.is_open else "○ ", "$text-accent" if branch.is_open else MUTED),
        f"{fork.number + 1} ",
        (indent + where, MUTED),
        (_text(text, room), "bold" if branch.is_open else ""),
        (f" {told:>{cells}}", MUTED),
    )
    return line.stylize("on $primary 25%") if is_here else line


def _text(text: bytes, cells: int) -> str:
    """A text on one line, cut where it is longer."""
    line = shown(text).replace("\n", " ")
    if cell_len(line) > cells:
        line = set_cell_size(line, max(cells - 1, 1)) + "…"
    return set_cell_size(line, cells)


def _beside(seen: BranchesSeen, one: int, other: int, width: int) -> list[Content]:
    """Two answers from shortly before they part."""
    pair = [(seen.branches[one], seen.branches[other]), (seen.branches[other], seen.branches[one])]
    is_wide = width >= _LEAST
    cells = (width - 3) // 2 if is_wide else width
    columns = []
    for number, (mine, theirs) in zip((one, other), pair, strict=True):
        common = n_common(mine, theirs)
        title = f"answer {number + 1}{', open' if mine.is_open else ''}"
        columns.append([Content.styled(title, MUTED), *_column(mine, common, cells)])
    if not is_wide:
        return [*columns[0], Content(""), *columns[1]]
    height = max(map(len, columns))
    left, right = ([*column, *[Content("")] * (height - len(column))] for column in columns)
    return [
        Content.assemble(a, " " * max(cells - a.cell_length, 0), (" │ ", MUTED), b)
        for a, b in zip(left, right, strict=True)
    ]


def _column(branch: Branch, common: int, cells: int) -> list[Content]:
    """The tokens of an answer in lines; those in common are pale, the first other one stands out."""
    start = max(common - _N_BEFORE, 0)
    rows, _ = wrapped([shown(piece) for piece in branch.pieces[start:]], max(cells, 8))

    def style(token: int) -> str:
        if start + token == common:
            return "bold underline $text-accent"
        return MUTED if start + token < common else ""

    return [
        Content.assemble(*((cell.text if i else cell.text.lstrip(), style(cell.token)) for i, cell in enumerate(row)))
        for row in rows
    ]


def text(seen: BranchesSeen) -> str:
    """The same as tab-separated lines."""
    rows = ["answer\tparts from\tafter\tchance from there\tbits a token\ttext"]
    for fork in tree(seen):
        branch = seen.branches[fork.number]
        likely = chance(branch, fork.n_common if fork.parent is not None else first_apart(seen))
        told = f"{said(likely[0])}\t{likely[1]:.2f}" if likely else "not measured\t"
        parent = "" if fork.parent is None else str(fork.parent + 1)
        text = b"".join(branch.pieces).decode("utf-8", "replace")
        rows.append(f"{fork.number + 1}\t{parent}\t{fork.n_common}\t{told}\t{_text(text.encode(), 200).rstrip()}")
    return "\n".join(rows)


def as_json(seen: BranchesSeen) -> list[dict[str, Any]]:
    """The same for a program."""
    return [
        {
            "turn": branch.turn_id,
            "is_open": branch.is_open,
            "pieces": [piece.decode("utf-8", "replace") for piece in branch.pieces],
            "bits": branch.bits,
        }
        for branch in seen.branches
    ]


def _words(text: str) -> list[tuple[str, str]]:
    """The words of a text, each with the space before it; what follows the last one goes with it."""
    found, at = [], 0
    for word in text.split():
        place = text.index(word, at)
        found.append((word, text[at:place]))
        at = place + len(word)
    return found
