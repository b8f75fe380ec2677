"""Promises of the list of conversations, with many of them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime

from support.app import make_app
from support.waiting import wait_for

from chatterm import paths
from chatterm.store import Store
from chatterm.ui.widgets.sidebar import PAGE, ConversationList, day_group


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_days_are_grouped_as_people_say() -> None:
    now = at("2026-03-15T12:00:00")
    times = ["2026-03-15T00:10", "2026-03-14T23:50", "2026-03-10T08:00", "2026-02-20T08:00", "2025-05-01T08:00"]
    assert [day_group(at(t), now) for t in times] == [
        "Today",
        "Yesterday",
        "Last 7 days",
        "Last 30 days",
        "May 2025",
    ]


async def fill(titles: list[str]) -> None:
    """Put conversations into the store, the last one being the newest."""
    store = await Store.open(paths.store_file())
    try:
        for title in titles:
            await store.create(title)
    finally:
        await store.close()


def make_old(title: str) -> None:
    """Let a conversation in the store be of another year."""
    with closing(sqlite3.connect(paths.store_file())) as database, database:
        database.execute("UPDATE conversations SET updated_at = ? WHERE title = ?", (at("2020-05-01T08:00"), title))


async def test_more_are_read_when_the_end_comes_into_view() -> None:
    await fill([f"chat {n}" for n in range(PAGE + 50)])
    app = make_app()
    async with app.run_test(size=(120, 36)) as pilot:
        await wait_for(pilot, lambda: app.chat_screen)
        sidebar = app.chat_screen.sidebar
        await wait_for(pilot, lambda: len(sidebar.conversations) == PAGE)
        sidebar.focus_list()
        await pilot.press("home", "end")
        await wait_for(pilot, lambda: len(sidebar.conversations) == PAGE + 50)
        await pilot.press("end", "enter")
        await wait_for(pilot, lambda: app.chat_screen.header.title == "chat 0")


async def test_typing_in_the_filter_finds_a_title() -> None:
    await fill(["Sky colours", "Pancakes", "The Sky again"])
    app = make_app()
    async with app.run_test(size=(120, 36)) as pilot:
        await wait_for(pilot, lambda: app.chat_screen)
        sidebar = app.chat_screen.sidebar
        await wait_for(pilot, lambda: len(sidebar.conversations) == 3)
        sidebar.focus_list()
        await pilot.press("slash", *"sky")
        await wait_for(pilot, lambda: len(sidebar.conversations) == 2)
        await pilot.press("enter")
        await wait_for(pilot, lambda: sidebar.query_one(ConversationList).has_focus)
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.chat_screen.header.title == "The Sky again")


async def test_long_and_strange_titles_take_one_row() -> None:
    await fill(["[red]not markup[/]", "漢字" * 40, "two\nlines"])
    app = make_app()
    async with app.run_test(size=(120, 36)) as pilot:
        await wait_for(pilot, lambda: app.chat_screen)
        sidebar = app.chat_screen.sidebar
        await wait_for(pilot, lambda: len(sidebar.conversations) == 3)
        options = sidebar.query_one(ConversationList)
        assert [str(option.prompt).strip() for option in options.options if option.id][-1] == "[red]not markup[/]"
        assert options.virtual_size.height == 4


async def test_after_a_deletion_the_cursor_is_on_a_conversation_whatever_its_day() -> None:
    await fill(["of another year", "the last of today", "the first of today"])
    make_old("of another year")
    app = make_app()
    async with app.run_test(size=(120, 36)) as pilot:
        await wait_for(pilot, lambda: app.chat_screen)
        sidebar = app.chat_screen.sidebar
        await wait_for(pilot, lambda: len(sidebar.conversations) == 3)
        sidebar.focus_list()
        await pilot.press("home", "down", "d")
        await wait_for(pilot, lambda: len(sidebar.conversations) == 2)
        assert sidebar.highlighted
        assert sidebar.highlighted.title == "of another year"
        await pilot.press("d")
        await wait_for(pilot, lambda: len(sidebar.conversations) == 1)
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.chat_screen.header.title == "the first of today")
