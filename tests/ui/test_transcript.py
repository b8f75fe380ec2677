"""The transcript through keys, mouse and what stands on the screen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest
from support.tricky_markdown import HOSTILE, TRICKY
from support.waiting import wait_for
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.message import Message
from textual.pilot import Pilot
from textual.widgets import Input

from chatterm.conversation import ReplyRecord, Role, Turn, TurnState
from chatterm.ui.widgets.pages import Place
from chatterm.ui.widgets.transcript import Transcript

SIZES = [(80, 24), (120, 36)]


class Bare(App[None]):
    """Only a transcript and something else that can have the focus."""

    CSS = "Input { dock: bottom; height: 1; border: none; }"

    def __init__(self) -> None:
        super().__init__()
        self.said: list[Message] = []

    def compose(self) -> ComposeResult:
        yield Transcript()
        yield Input()

    def on_transcript_copy_requested(self, message: Transcript.CopyRequested) -> None:
        self.said.append(message)

    def on_transcript_link_clicked(self, message: Transcript.LinkClicked) -> None:
        self.said.append(message)


class Reading:
    """What a test does with a transcript, and what it sees."""

    def __init__(self, app: Bare, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot
        self.view = app.query_one(Transcript)

    @property
    def rows(self) -> list[str]:
        """The text of the screen's rows."""
        return [
            "".join(segment.text for segment in self.view.render_line(y) if not segment.control).rstrip()
            for y in range(self.view.size.height)
        ]

    @property
    def text(self) -> str:
        return "\n".join(self.rows)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def until(self, condition: Callable[[], object]) -> None:
        await wait_for(self.pilot, condition, self.text)

    def find(self, text: str) -> tuple[int, int]:
        """Where a text stands on the screen."""
        for y, row in enumerate(self.rows):
            if text in row:
                return row.index(text), y
        raise AssertionError(f"{text!r} is not on the screen:\n{self.text}")

    async def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        await self.pilot.mouse_down(Transcript, offset=start)
        await self.pilot.hover(Transcript, offset=end)
        await self.pilot.mouse_up(Transcript, offset=end)
        await self.pilot.pause()

    @property
    def copied(self) -> list[str]:
        return [message.text for message in self.app.said if isinstance(message, Transcript.CopyRequested)]


@asynccontextmanager
async def reading(turns: list[Turn], size: tuple[int, int] = (80, 24)) -> AsyncIterator[Reading]:
    """A transcript that has the focus and shows turns."""
    app = Bare()
    async with app.run_test(size=size) as pilot:
        view = app.query_one(Transcript)
        view.focus()
        view.show(turns)
        await pilot.pause()
        yield Reading(app, pilot)


def question(id: int, text: str) -> Turn:
    return Turn(id, 1, None, Role.USER, text)


def answer(id: int, text: str, **rest: object) -> Turn:
    return Turn(id, 1, None, Role.ASSISTANT, text, record=ReplyRecord(model_name="Tiny"), **rest)  # type: ignore[arg-type]


def open_answer(id: int, text: str = "") -> Turn:
    return answer(id, text, state=TurnState.WRITING)


def talk(n: int) -> list[Turn]:
    """A conversation of so many turns, each some lines long."""
    return [
        question(i, f"question {i}")
        if i % 2
        else answer(i, f"answer {i}\n\n" + "\n".join(f"- line {j} of {i}" for j in range(6)))
        for i in range(1, n + 1)
    ]


@pytest.mark.parametrize("size", SIZES)
async def test_a_conversation_opens_at_its_end(size: tuple[int, int]) -> None:
    async with reading(talk(40), size) as at:
        assert "line 5 of 40" in at.text
        assert "question 39" in at.text
        assert at.view.following


async def test_thousands_of_turns_cost_a_screenful() -> None:
    async with reading(talk(2000)) as at:
        assert "line 5 of 2000" in at.text
        assert at.view.pages.n_set < 30
        await at.press("home")
        assert at.rows[0].strip() == "You"
        assert "question 1" in at.rows[1]
        assert at.view.pages.n_set < 60


async def test_memory_stays_flat_while_everything_is_read() -> None:
    async with reading(talk(1500)) as at:
        await at.press("home")
        view = at.view
        while not view.following:
            view.scroll_to(y=view.scroll_offset.y + 200, animate=False)
        assert sum(len(page.lines or ()) for page in view.pages.views) < 6000


@pytest.mark.parametrize("size", SIZES)
async def test_scrolling_up_line_by_line_shows_every_line_once(size: tuple[int, int]) -> None:
    turns = [answer(i, TRICKY["long words"] if i % 3 else f"short {i}") for i in range(1, 30)]
    async with reading(turns, size) as at:
        before = at.rows
        for _ in range(150):
            at.view.scroll_to(y=at.view.scroll_offset.y - 1, animate=False)
            after = at.rows
            assert after[1:] == before[:-1]
            before = after


async def test_scrolling_up_stops_following_and_end_resumes() -> None:
    async with reading(talk(30)) as at:
        reply = at.view.begin(open_answer(31))
        await at.press("pageup")
        assert not at.view.following
        before = at.rows
        reply.write("\n\n".join(f"new paragraph {i}" for i in range(40)))
        await at.until(lambda: at.view.has_new_text)
        await at.pilot.pause()
        assert at.rows[:-1] == before[:-1]
        assert "↓ new text below" in at.rows[-1]
        await at.press("end")
        assert at.view.following
        assert "new paragraph 39" in at.text
        reply.write("\n\nlast words")
        await at.until(lambda: "last words" in at.text)


async def test_a_click_on_the_mark_goes_to_the_end() -> None:
    async with reading(talk(30)) as at:
        reply = at.view.begin(open_answer(31))
        await at.press("pageup")
        reply.write("more text")
        await at.until(lambda: at.view.has_new_text)
        await at.pilot.pause()
        await at.pilot.click(Transcript, offset=(at.find("new text below")[0], at.view.size.height - 1))
        await at.pilot.pause()
        assert at.view.following
        assert "more text" in at.text


async def test_the_wheel_scrolls_back_to_following() -> None:
    async with reading(talk(30)) as at:
        at.view.scroll_to(y=at.view.scroll_offset.y - 3, animate=False)
        assert not at.view.following
        at.view.scroll_to(y=at.view.scroll_offset.y + 3, animate=False)
        assert at.view.following


@pytest.mark.parametrize("name", ["nested lists", "table", "fence", "emoji", "html"])
async def test_a_reply_is_shown_as_it_grows_and_the_same_when_it_is_done(name: str) -> None:
    text = TRICKY[name]
    async with reading([question(1, "?")], (80, 60)) as at:
        reply = at.view.begin(open_answer(2))
        for start in range(0, len(text), 7):
            reply.write(text[start : start + 7])
        await at.until(lambda: at.view._draw_timer is None)
        await at.pilot.pause()
        grown = at.rows
        reply.settle(answer(2, text))
        await at.pilot.pause()
        assert at.rows == grown


async def test_a_reply_is_drawn_at_most_twenty_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    async with reading([]) as at:
        reply = at.view.begin(open_answer(1))
        waits: list[float] = []
        set_timer = at.view.set_timer
        monkeypatch.setattr(at.view, "set_timer", lambda delay, *rest: waits.append(delay) or set_timer(delay, *rest))
        for i in range(5):
            for _ in range(20):
                reply.write(f"token {i} ")
            await at.until(lambda: at.view._draw_timer is None)
        assert len(waits) == 5
        assert all(wait > 0.03 for wait in waits[1:])


async def test_a_reply_goes_on_where_it_was_cut() -> None:
    async with reading([question(1, "?"), answer(2, "first half", state=TurnState.STOPPED)]) as at:
        assert "stopped" in at.text
        reply = at.view.begin(open_answer(2, "first half"))
        reply.write(" second half")
        await at.until(lambda: "first half second half" in at.text)
        assert len(at.view.turns) == 2
        reply.settle(answer(2, "first half second half"))
        await at.pilot.pause()
        assert "stopped" not in at.text


async def test_reasoning_is_live_then_folded_then_opened() -> None:
    async with reading([question(1, "?")]) as at:
        reply = at.view.begin(open_answer(2))
        reply.write("let me think", reasoning=True)
        await at.until(lambda: "let me think" in at.text)
        assert "Thinking, 3 words" in at.text
        reply.write("the answer")
        await at.until(lambda: "the answer" in at.text)
        assert "let me think" not in at.text
        assert "▸ Thought for 3 words — enter to open" in at.text
        reply.settle(answer(2, "the answer", reasoning="let me think"))
        await at.press("k", "enter")
        assert "let me think" in at.text
        await at.press("space")
        assert "let me think" not in at.text
        await at.pilot.click(Transcript, offset=at.find("Thought for"))
        await at.pilot.pause()
        assert "let me think" in at.text


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (answer(2, "half", state=TurnState.STOPPED), "stopped"),
        (answer(2, "half", state=TurnState.INTERRUPTED), "interrupted"),
        (
            answer(2, "half", state=TurnState.FAILED, error="The model ran [out] of \x1b[31mmemory."),
            "✕ The model ran [out]",
        ),
        (answer(2, "", state=TurnState.STOPPED), "(nothing was written)"),
    ],
)
async def test_how_a_turn_ended_is_said(turn: Turn, words: str) -> None:
    async with reading([question(1, "?"), turn]) as at:
        assert words in at.text
        assert "\x1b" not in at.text


async def test_what_the_model_no_longer_sees_is_faded_above_a_rule() -> None:
    async with reading(talk(4), (80, 40)) as at:

        def colour(text: str) -> object:
            y = at.find(text)[1]
            return next(s.style.color for s in at.view.render_line(y) if text in s.text and s.style)

        plain = colour("question 3")
        at.view.unseen = frozenset({1, 2})
        await at.pilot.pause()
        rule = at.find("the model no longer sees what is above this line")[1]
        assert at.find("line 5 of 2")[1] < rule < at.find("question 3")[1]
        assert colour("question 1") != plain
        assert colour("question 3") == plain
        at.view.unseen = frozenset()
        await at.pilot.pause()
        assert "no longer sees" not in at.text


async def test_an_empty_transcript_shows_its_hint() -> None:
    async with reading([]) as at:
        at.view.empty = "Type a [bold]message[/]"
        await at.pilot.pause()
        x, y = at.find("Type a [bold]message[/]")
        assert 8 < y < 14
        assert x > 20
        at.view.append(question(1, "hello"))
        await at.pilot.pause()
        assert "Type a" not in at.text


async def test_the_cursor_goes_over_turns_and_y_copies_the_raw_text() -> None:
    async with reading([question(1, "the *question*"), answer(2, "# the **answer**")]) as at:
        await at.press("k")
        assert at.view.cursor == 1
        assert at.rows[at.find("Tiny")[1]].startswith("▎")
        await at.press("y")
        await at.press("k", "y", "j", "j", "y")
        assert at.copied == ["# the **answer**", "the *question*", "# the **answer**"]


async def test_the_cursor_brings_turns_into_view() -> None:
    async with reading(talk(60)) as at:
        for _ in range(20):
            await at.press("ctrl+up")
        cursor = at.view.cursor
        assert cursor is not None
        turn = at.view.turns[cursor]
        assert turn.text.split("\n")[0] in at.text


async def test_code_is_copied_one_block_after_the_other() -> None:
    text = "```py\na = 1\n```\n\n```\n\tb\n  c\n```\n"
    async with reading([answer(1, text)]) as at:
        await at.press("k", "c", "c", "c")
        assert at.copied == ["a = 1", "\tb\n  c", "a = 1"]
        await at.pilot.click(Transcript, offset=at.find("copy"))
        await at.pilot.pause()
        assert at.copied[-1] == "a = 1"


async def test_dragging_selects_characters_over_turns() -> None:
    async with reading([question(1, "first question"), answer(2, "some **answer** here")]) as at:
        start, end = at.find("question"), at.find("here")
        await at.drag(start, end)
        assert at.view.selected_text == "question\n\nsome answer"
        await at.press("ctrl+c")
        assert at.copied == ["question\n\nsome answer"]
        await at.press("escape")
        assert at.view.selection is None


async def test_wrapped_lines_are_copied_as_one() -> None:
    words = " ".join(f"word{i}" for i in range(40))
    async with reading([answer(1, words)]) as at:
        await at.drag(at.find("word0"), (79, at.find("word39")[1]))
        assert at.view.selected_text == words


async def test_code_is_copied_as_it_was_written() -> None:
    code = "def f(x):\n    if x:\n        return '" + "y" * 120 + "'\n\n    return 2"
    async with reading([answer(1, f"before\n\n```python\n{code}\n```\n\nafter")], (80, 40)) as at:
        await at.drag((0, at.find("def f")[1]), (79, at.find("return 2")[1]))
        assert at.view.selected_text == code


async def test_a_wide_character_is_selected_whole() -> None:
    async with reading([answer(1, "日本語 text")]) as at:
        x, y = 2, at.find("text")[1]
        await at.drag((x + 1, y), (x + 4, y))
        assert at.view.selected_text == "日本"


async def test_two_clicks_select_a_word_and_three_a_paragraph() -> None:
    words = " ".join(f"word{i}" for i in range(30))
    async with reading([answer(1, f"{words}\n\nother")]) as at:
        await at.pilot.click(Transcript, offset=at.find("word3"), times=2)
        await at.pilot.pause()
        assert at.view.selected_text == "word3"
        await at.pilot.click(Transcript, offset=at.find("word3"), times=3)
        await at.pilot.pause()
        assert at.view.selected_text == words


async def test_lines_are_selected_by_keys() -> None:
    async with reading([question(1, "one\ntwo\nthree"), answer(2, "four")]) as at:
        await at.press("k", "k", "v", "down", "down", "j")
        assert at.view.selected_text == "one\ntwo\nthree"
        await at.press("shift+up", "y")
        assert at.copied == ["one\ntwo"]
        assert at.view.selection is None
        await at.press("shift+down", "shift+down")
        assert at.view.selected_text == "one\ntwo"


async def test_dragging_beyond_the_edge_scrolls() -> None:
    async with reading(talk(40)) as at:
        top = at.view.scroll_offset.y
        pressed = at.view.point_at(10, 10)
        await at.pilot.mouse_down(Transcript, offset=(10, 10))
        await at.pilot.hover(Transcript, offset=(10, 0))
        await at.until(lambda: at.view.scroll_offset.y < top - 5)
        await at.pilot.mouse_up(Transcript, offset=(10, 0))
        selection = at.view.selection
        assert selection is not None
        assert selection.end == pressed
        assert at.view.pages.row_of(Place(*selection.start[:2])) == at.view.scroll_offset.y


async def test_keys_without_a_selection_are_left_to_others() -> None:
    pressed = []

    class Outer(Bare):
        BINDINGS: ClassVar[list[BindingType]] = [("escape", "stop", "Stop")]

        def action_stop(self) -> None:
            pressed.append("escape")

    app = Outer()
    async with app.run_test() as pilot:
        app.query_one(Transcript).focus()
        await pilot.press("escape")
        assert pressed == ["escape"]


async def test_links_are_clicked() -> None:
    async with reading([answer(1, "see [the docs](https://docs.example/a) or [x](javascript:alert(1))")]) as at:
        await at.pilot.click(Transcript, offset=at.find("docs"))
        await at.pilot.pause()
        assert [message.url for message in at.app.said if isinstance(message, Transcript.LinkClicked)] == [
            "https://docs.example/a"
        ]


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_text_stays_text(name: str) -> None:
    text = HOSTILE[name]
    async with reading(
        [question(1, text), answer(2, text, reasoning=text, error=text, state=TurnState.FAILED)], (80, 60)
    ) as at:
        await at.press("k", "enter")
        drawn = "".join(segment.text for y in range(60) for segment in at.view.render_line(y) if not segment.control)
        assert not set(drawn) & {*map(chr, range(32)), *map(chr, range(0x7F, 0xA0)), *"\u202e\u2066\u200b"}
        assert all(strip.cell_length == 80 for strip in map(at.view.render_line, range(60)))


@pytest.mark.parametrize("name", ["emoji", "combining", "cjk", "rtl"])
async def test_columns_hold_beside_any_script(name: str) -> None:
    async with reading([answer(1, TRICKY[name])]) as at:
        for y in range(at.view.size.height):
            strip = at.view.render_line(y)
            assert sum(segment.cell_length for segment in strip) == strip.cell_length == 80


async def test_a_resize_keeps_what_is_read_at_the_top() -> None:
    text = " ".join(f"w{i}" for i in range(3000))
    async with reading([answer(1, text), answer(2, text)], (80, 24)) as at:
        at.view.scroll_to(y=50, animate=False)
        first = at.rows[0].split()[0]
        for width in (50, 120, 80):
            await at.pilot.resize_terminal(width, 24)
            await at.pilot.pause()
            assert first in at.rows[0].split()


async def test_a_resize_at_the_end_stays_at_the_end() -> None:
    async with reading(talk(30)) as at:
        await at.pilot.resize_terminal(50, 15)
        await at.pilot.pause()
        assert "line 5 of 30" in at.text


async def test_a_theme_changes_the_colours() -> None:
    async with reading([answer(1, "some text")]) as at:

        def background() -> object:
            return next(iter(at.view.render_line(0))).style

        before = background()
        at.app.theme = "textual-light"
        await at.until(lambda: background() != before)


async def test_only_rows_that_changed_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    async with reading([answer(1, "\n\n".join(f"paragraph {i}" for i in range(3)))]) as at:
        reply = at.view.begin(open_answer(2))
        reply.write("word")
        await at.until(lambda: "word" in at.text)
        regions = []
        refresh: Callable[..., object] = at.view.refresh
        monkeypatch.setattr(at.view, "refresh", lambda *args, **rest: regions.append(args) or refresh(*args, **rest))
        reply.write(" more")
        await at.until(lambda: "word more" in at.text)
        assert [region.height for args in regions for region in args] == [1]


async def test_an_update_of_a_turn_is_shown() -> None:
    async with reading([question(1, "?"), answer(2, "old")]) as at:
        at.view.update_turn(answer(2, "new", state=TurnState.STOPPED))
        await at.pilot.pause()
        assert "new" in at.text
        assert "old" not in at.text
