"""Promises of the table, of the row of keys below it, and of the chart of memory."""

from __future__ import annotations

import pytest
from support.seen import click_on, seen
from support.waiting import wait_for
from textual.app import App, ComposeResult
from textual.content import Content
from textual.widgets import OptionList

from chatterm.ui.widgets.key_row import Hint, KeyRow
from chatterm.ui.widgets.memory_chart import chart
from chatterm.ui.widgets.table import Column, Row, Table, TableHead

COLUMNS = (
    Column("Name", least=8),
    Column("Size", is_right=True),
    Column("Licence", least=4, leaves=2),
    Column("Likes", is_right=True, leaves=1),
)


def line(name: str, size: str = "1.0 GB", licence: str = "apache-2.0", likes: str = "12") -> Row:
    return Row(name, tuple(map(Content, (name, size, licence, likes))))


class Bare(App[None]):
    def __init__(self, rows: list[Row], *, acts_on_click: bool = True) -> None:
        super().__init__()
        self.table = Table(*COLUMNS, acts_on_click=acts_on_click)
        self.keys = KeyRow()
        self.rows = rows
        self.chosen: list[str | None] = []
        self.wanted: list[str] = []

    def compose(self) -> ComposeResult:
        yield TableHead(self.table)
        yield self.table
        yield self.keys

    def on_mount(self) -> None:
        self.table.show(self.rows)
        self.table.focus()
        self.keys.show([Hint("enter", "take", "take"), Hint("esc", "leave", "leave")])

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.chosen.append(event.option.id)

    def on_key_row_wanted(self, event: KeyRow.Wanted) -> None:
        self.wanted.append(event.action)


async def drawn(rows: list[Row], width: int) -> list[str]:
    app = Bare(rows)
    async with app.run_test(size=(width, 8)) as pilot:
        await wait_for(pilot, lambda: rows[-1].id[:4] in seen(app))
        return seen(app).splitlines()[: 1 + len(rows)]


async def test_columns_stand_below_each_other_and_numbers_end_below_each_other() -> None:
    lines = await drawn([line("short", "9.5 GB"), line("a longer name", "12.0 GB")], 80)
    assert len({row.index("apache") for row in lines[1:]} | {lines[0].index("Licence")}) == 1
    assert len({row.index(" GB") for row in lines[1:]}) == 1


@pytest.mark.parametrize("width", range(24, 70, 5))
async def test_what_matters_least_leaves_first_and_nothing_is_wrapped(width: int) -> None:
    lines = await drawn([line("a name that is quite long"), line("b")], width)
    assert all("GB" in row for row in lines[1:]), "the size never leaves"
    assert ("12" in lines[1]) >= ("apac" in lines[1]), "the licence leaves before the likes"
    assert all(len(row) <= width for row in lines)
    assert lines[2].strip().startswith("b")


async def test_the_cursor_stays_with_its_row_when_others_come() -> None:
    app = Bare([line("b"), line("c")])
    async with app.run_test(size=(80, 8)) as pilot:
        await pilot.press("down")
        assert app.table.current == "c"
        app.table.show([line("a"), line("b"), line("c")])
        assert app.table.current == "c"
        app.table.show([line("a"), line("b")])
        assert app.table.current == "b", "the next one takes the place of one that is gone"
        app.table.show([])
        assert app.table.current == ""
        app.table.show([line("z"), line("y")], "y")
        assert app.table.current == "y"


async def test_cells_that_come_later_are_drawn_in_place() -> None:
    app = Bare([line("a", "…"), line("b", "…")])
    async with app.run_test(size=(80, 8)) as pilot:
        await pilot.press("down")
        app.table.show([line("a", "1.0 GB"), line("b", "2.0 GB")])
        await wait_for(pilot, lambda: "2.0 GB" in seen(app))
        assert app.table.current == "b"


async def test_a_click_looks_first_where_choosing_costs_something() -> None:
    app = Bare([line("first"), line("second")], acts_on_click=False)
    async with app.run_test(size=(80, 8)) as pilot:
        await click_on(pilot, "second")
        await wait_for(pilot, lambda: app.table.current == "second")
        assert app.chosen == []
        await click_on(pilot, "second")
        await wait_for(pilot, lambda: app.chosen == ["second"])


async def test_a_click_chooses_elsewhere() -> None:
    app = Bare([line("first"), line("second")])
    async with app.run_test(size=(80, 8)) as pilot:
        await click_on(pilot, "second")
        await wait_for(pilot, lambda: app.chosen == ["second"])


async def test_keys_below_can_be_clicked_and_those_without_room_are_left_out() -> None:
    app = Bare([line("first")])
    async with app.run_test(size=(16, 8)) as pilot:
        await click_on(pilot, "take")
        await wait_for(pilot, lambda: app.wanted == ["take"])
        assert "leave" not in seen(app)


def test_the_chart_rises_and_marks_what_is_free() -> None:
    points = [(1024 * n, 1_000_000_000 * n) for n in range(1, 17)]
    lines = chart(points, 8_000_000_000, 80).plain.splitlines()
    free = next(i for i, row in enumerate(lines) if "free" in row)
    heights = [row.count("█") for row in lines[:8]]
    assert heights == sorted(heights), "each row below holds at least as many bars"
    assert 2 <= free <= 5, "8 of 16 GB stand in the middle"
    assert "16.0 GB" in lines[0]
    assert lines[-1].split()[0] == "1k"
    assert lines[-1].split()[-1] == "16k"


@pytest.mark.parametrize("width", [12, 40, 100, 200])
def test_the_chart_fits_any_width(width: int) -> None:
    points = [(512 * n, 1_000_000 * n) for n in range(1, 25)]
    rows = chart(points, 30_000_000, width).plain.splitlines()
    assert max(len(row) for row in rows[:-1]) <= max(width + 2, 12)


def test_more_free_memory_than_any_window_takes_needs_no_line() -> None:
    assert "free" not in chart([(512, 1_000_000), (1024, 2_000_000)], 10**12, 60).plain
