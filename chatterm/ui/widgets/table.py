"""Rows in columns: a list whose cells stand below each other, at any width; what matters least leaves first.

It draws what it is given, and says which row is under the cursor and which was chosen; what rows mean it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from textual import events
from textual.content import Content
from textual.css.styles import RulesMap
from textual.geometry import Size
from textual.strip import Strip
from textual.style import Style
from textual.visual import RenderOptions, Visual
from textual.widget import Widget
from textual.widgets import OptionList
from textual.widgets.option_list import Option

GAP = 2
"""Cells between columns."""


class Column(NamedTuple):
    """What the cells below each other have in common."""

    title: str
    is_right: bool = False
    """Whether its cells end below each other, as numbers do."""
    least: int = 0
    """To how many cells it may be shortened; 0 is never shortened."""
    reserved: int = 0
    """Its width at least, so that nothing moves when its cells are filled later."""
    leaves: int = 0
    """The highest one leaves first where there is no room for all; 0 stays always."""


class Row(NamedTuple):
    """A line of a table."""

    id: str
    cells: tuple[Content, ...]
    """One for each column; a long last one is cut, not counted."""


class Table(OptionList):
    """A list with columns, a cursor, and keys and mouse as any list has them."""

    DEFAULT_CSS = """
    Table {
        height: 1fr; padding: 0; border: none; background: $surface; scrollbar-size-vertical: 1;
        scrollbar-gutter: stable; text-wrap: nowrap;
        scrollbar-background: $surface; scrollbar-background-hover: $surface; scrollbar-background-active: $surface;
        &:focus { border: none; background-tint: $background 0%; }
        & > .option-list--option { padding: 0 1; color: $foreground; }
        & > .option-list--option-highlighted { background: $primary 12%; color: $foreground; text-style: none; }
        &.-active > .option-list--option-highlighted { background: $primary 28%; }
        &:focus > .option-list--option-highlighted { background: $primary 28%; color: $foreground; text-style: none; }
    }
    """

    def __init__(self, *columns: Column, acts_on_click: bool = True, id: str | None = None) -> None:
        """An empty table.

        Args:
            columns: From left to right.
            acts_on_click: Whether a click chooses; else the first one moves the cursor, and the second one chooses.
            id: As any widget's.
        """
        super().__init__(id=id, markup=False)
        self.columns = columns
        self.rows: tuple[Row, ...] = ()
        """What is shown."""
        self._acts_on_click = acts_on_click
        self._widest: tuple[int, ...] = ()

    @property
    def current(self) -> str:
        """The id of the row under the cursor; empty while there is none."""
        return self.rows[self.highlighted].id if self.highlighted is not None and self.rows else ""

    def show(self, rows: Iterable[Row], current: str = "") -> None:
        """Take other rows; the cursor stays with its row, or else with its place.

        Args:
            rows: From top to bottom.
            current: The row that gets the cursor instead.
        """
        before, wanted, place = self.rows, current or self.current, self.highlighted or 0
        self.rows = tuple(rows)
        self._measure()
        if [row.id for row in before] == [row.id for row in self.rows]:
            for index, (old, new) in enumerate(zip(before, self.rows, strict=True)):
                if old != new:
                    self.replace_option_prompt_at_index(index, _Line(self, new))
            self._clear_caches()  # the columns may have moved
            self.refresh()
        else:
            top = self.scroll_y
            self.set_options(Option(_Line(self, row), id=row.id) for row in self.rows)
            self.scroll_to(y=top, animate=False)
        places = {row.id: index for index, row in enumerate(self.rows)}
        if self.rows:
            self.highlighted = places.get(wanted, min(place, len(self.rows) - 1))

    def _measure(self) -> None:
        """How wide each column would like to be."""
        cells = [[row.cells[i].cell_length for row in self.rows] for i in range(len(self.columns))]
        self._widest = tuple(
            max([len(column.title), column.reserved, *lengths])
            for column, lengths in zip(self.columns, cells, strict=True)
        )

    def widths(self, total: int) -> list[int]:
        """How wide each column is where so many cells are there for all; 0 for those that have left."""
        wanted = list(self._widest or [len(column.title) for column in self.columns])
        least = [column.least or width for column, width in zip(self.columns, wanted, strict=True)]
        least = [min(pair) for pair in zip(least, wanted, strict=True)]
        leaving = sorted((i for i, column in enumerate(self.columns) if column.leaves), key=self._leaves)
        while leaving and _together(least) > total:
            gone = leaving.pop()
            wanted[gone] = least[gone] = 0
        widths = least[:]
        for i in sorted(range(len(wanted)), key=lambda i: wanted[i] - least[i]):  # those that lack least come first
            widths[i] += max(0, min(wanted[i] - widths[i], total - _together(widths)))
        return widths

    def _leaves(self, i: int) -> int:
        return self.columns[i].leaves

    async def _on_click(self, event: events.Click) -> None:
        """Move the cursor there; choose what it is on, if that is what a click does."""
        event.prevent_default()
        place: int | None = event.style.meta.get("option")
        if place is None:
            return
        was_there = place == self.highlighted
        self.highlighted = place
        if self._acts_on_click or was_there:
            self.action_select()


class TableHead(Widget):
    """What the columns of a table are called, in one line above it."""

    DEFAULT_CSS = "TableHead { height: 1; padding: 0 2 0 1; color: $foreground-muted; }"

    def __init__(self, table: Table) -> None:
        super().__init__()
        self._table = table

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """One line."""
        return 1

    def render(self) -> Content:
        """The titles, above their columns."""
        return _laid_out(
            self._table, [Content(column.title) for column in self._table.columns], self.content_size.width
        )


class _Line(Visual):
    """A row, laid out for the width that it gets."""

    def __init__(self, table: Table, row: Row) -> None:
        self._table = table
        self._row = row

    def render_strips(self, width: int, height: int | None, style: Style, options: RenderOptions) -> list[Strip]:
        """One line."""
        return _laid_out(self._table, self._row.cells, width).render_strips(width, height, style, options)

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:  # noqa: ARG002
        """All that there is."""
        return container_width

    def get_height(self, rules: RulesMap, width: int) -> int:  # noqa: ARG002
        """One line."""
        return 1


def _laid_out(table: Table, cells: Sequence[Content], total: int) -> Content:
    """The cells of a row below those of the others."""
    shown = [
        _fitted(cell, width, column)
        for cell, width, column in zip(cells, table.widths(total), table.columns, strict=True)
        if width
    ]
    return Content(" " * GAP).join(shown)


def _fitted(cell: Content, width: int, column: Column) -> Content:
    """A cell that is exactly so wide."""
    cut = cell.truncate(width, ellipsis=True)
    padding = max(0, width - cut.cell_length)
    return cut.pad_left(padding) if column.is_right else cut.pad_right(padding)


def _together(widths: Iterable[int]) -> int:
    """What columns take with the gaps between them."""
    taken = [width for width in widths if width]
    return sum(taken) + GAP * max(0, len(taken) - 1)
