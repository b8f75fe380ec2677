"""All turns as one long page, of which only what is near the screen is set.

Heights of the other turns are estimates; when one is corrected, the caller's anchor (a turn and a
row in it) stays where it is. Lines far from the screen are dropped beyond a budget, their exact
height is kept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from chatterm.ui.widgets.reading.lines import Line
from chatterm.ui.widgets.reading.look import Look
from chatterm.ui.widgets.turn import OpenTurnView, TurnView

BUDGET = 4_000
"""Lines that are kept when they are far from the screen."""


class Place(NamedTuple):
    """A row of a turn."""

    turn: int
    """Index of the turn."""
    row: int


class Pages:
    """The turns of a transcript, below each other."""

    def __init__(self) -> None:
        self.views: list[TurnView] = []
        self.width = 0
        self.look: Look | None = None
        self.n_set = 0
        """How often a turn was set: what opening and scrolling cost."""
        self._starts: list[int] | None = None
        self._n_lines = 0

    def fill(self, views: Sequence[TurnView]) -> None:
        """Take the place of all turns by others."""
        self.views = list(views)
        self._n_lines = 0
        for view in self.views:
            self._forget(view)

    def add(self, view: TurnView) -> None:
        """One more turn at the end."""
        self.views.append(view)
        self._forget(view)

    def change(self, index: int, view: TurnView | None = None) -> None:
        """A turn is to be set again, or replaced."""
        old = self.views[index]
        self._n_lines -= len(old.lines or ())
        height = old.height
        if view is not None:
            self.views[index] = view
        self.views[index].lines = None
        self.views[index].height = height or self.views[index].estimate(self.width)

    def reset(self, width: int, look: Look) -> None:
        """Nothing that was set is right any more: another width or look."""
        for view in self.views:
            view.lines = None
            if width != self.width:
                view.height = view.estimate(width)
        self.width, self.look = width, look
        self._n_lines = 0
        self._starts = None

    def _forget(self, view: TurnView) -> None:
        """Begin with an estimate."""
        view.lines = None
        view.height = view.estimate(self.width)
        self._starts = None

    @property
    def starts(self) -> list[int]:
        """First row of each turn, and the number of rows at the end."""
        if self._starts is None:
            self._starts = [0, *accumulate(view.height for view in self.views)]
        return self._starts

    @property
    def n_rows(self) -> int:
        """Rows of everything."""
        return self.starts[-1]

    def place_at(self, row: int) -> Place:
        """Which turn is at a row, and where in it."""
        if not self.views:
            return Place(0, 0)
        index = min(max(bisect_right(self.starts, row) - 1, 0), len(self.views) - 1)
        return Place(index, min(max(row - self.starts[index], 0), max(self.views[index].height - 1, 0)))

    def row_of(self, place: Place) -> int:
        """The row of a place; a row outside of the turn is moved inside."""
        if not self.views:
            return 0
        view = self.views[place.turn]
        return self.starts[place.turn] + min(max(place.row, 0), max(view.height - 1, 0))

    def lines_of(self, index: int) -> list[Line]:
        """The lines of a turn, set now if they are not."""
        view = self.views[index]
        if view.lines is not None:
            return view.lines
        assert self.look is not None, "lines were asked for before there is a size"
        before = view.height
        lines = view.set(self.width, self.look)
        self.n_set += 1
        self._n_lines += len(lines)
        if view.height != before:
            self._starts = None
        return lines

    def reset_open(self, view: OpenTurnView) -> None:
        """Set a turn that is being written again."""
        before, n_before = view.height, len(view.lines or ())
        assert self.look is not None, "lines were asked for before there is a size"
        self._n_lines += len(view.set(self.width, self.look)) - n_before
        if view.height != before:
            if self._starts is not None and view is self.views[-1]:
                self._starts[-1] = self._starts[-2] + view.height
            else:
                self._starts = None

    def letters_before(self, place: Place) -> float:
        """How much of a turn stands before a row: letters where it is set, else a share of it, below 1."""
        if place.turn >= len(self.views):
            return 0
        view = self.views[place.turn]
        if view.lines is None:
            return min(place.row / max(view.height, 1), 0.99)
        return sum(_letters(line) for line in view.lines[: place.row])

    def place_after(self, before: Place, letters: float) -> Place:
        """The row of a turn before which so much of it stands; sets the turn.

        Args:
            before: Where it stood in another width.
            letters: From `letters_before`.
        """
        turn = before.turn
        if turn >= len(self.views):
            return Place(0, 0)
        lines = self.lines_of(turn)
        if letters < 1:
            return Place(turn, int(letters * len(lines)) if letters else min(before.row, len(lines) - 1))
        count = 0
        for row, line in enumerate(lines):
            count += _letters(line)
            if count > letters:
                return Place(turn, row)
        return Place(turn, max(len(lines) - 1, 0))

    def set_around(self, place: Place, height: int) -> Place:
        """Set what a screen shows from a place on, and as much above it.

        Returns:
            The place, moved in proportion where its turn had an estimated height until now.
        """
        if not self.views:
            return Place(0, 0)
        view = self.views[place.turn]
        if view.lines is None:
            guess = max(view.height, 1)
            self.lines_of(place.turn)
            if place.row:
                place = Place(place.turn, min(place.row * view.height // guess, view.height - 1))
        below = view.height - place.row
        for index in range(place.turn + 1, len(self.views)):
            if below >= height:
                break
            below += len(self.lines_of(index))
        self._set_above(place, height)
        return place

    def _set_above(self, place: Place, height: int) -> None:
        """Set as many rows above a place, so that scrolling up meets no estimates."""
        above = place.row
        for index in range(place.turn - 1, -1, -1):
            if above >= height:
                break
            above += len(self.lines_of(index))

    def set_end(self, height: int) -> None:
        """Set what a screen shows at the end, and as much above it."""
        if self.views:
            last = len(self.views) - 1
            self._set_above(Place(last, len(self.lines_of(last))), 2 * height)

    def drop_far_from(self, place: Place) -> None:
        """Keep memory flat: drop lines that are far from a place, beyond the budget."""
        if self._n_lines <= BUDGET:
            return
        by_distance = sorted(range(len(self.views)), key=lambda i: abs(i - place.turn))
        kept = 0
        for index in by_distance:
            view = self.views[index]
            if view.lines is None:
                continue
            if kept > BUDGET // 2 and abs(index - place.turn) > 2 and not isinstance(view, OpenTurnView):
                self._n_lines -= len(view.lines)
                view.lines = None
            else:
                kept += len(view.lines)


def _letters(line: Line) -> int:
    """Characters of a line that wrapping cannot take away."""
    return sum(not character.isspace() for character in line.text)
