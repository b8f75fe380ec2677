"""The glass box: every view speaks of the token under the cursor, and looking changes nothing."""

from __future__ import annotations

import json
import re

import pytest
from support.app import make_app
from support.looking import ask, body, looking
from support.waiting import wait_for
from textual.widgets import Static

from chatterm.engine.scripted import ScriptedEngine
from chatterm.errors import NotVisible
from chatterm.glass import GlassRequest, GlassResult, LetGo
from chatterm.paths import settings_file
from chatterm.ui.glass import panel
from chatterm.ui.glass.glossary import TERM_OF, Glossary
from chatterm.ui.glass.marks import bar, named, percent, shade
from chatterm.ui.glass.shaper import Shaper
from chatterm.ui.glass.shown_token import TokenKind, shown
from chatterm.ui.glass.source import TYPED
from chatterm.ui.glass.tabs import Tabs
from chatterm.ui.glass.tinting import LEGENDS, Tint
from chatterm.ui.glass.tour import ASK_FIRST, STATIONS, TourBar
from chatterm.ui.glass.vectors import two_sentences
from chatterm.ui.glass.views import VIEWS, ViewName
from chatterm.ui.glass.wrapping import wrapped
from chatterm.ui.screens.chat import ChatScreen
from chatterm.ui.widgets.key_row import KeyRow
from chatterm.ui.widgets.slider import Slider


async def test_the_tokens_of_the_prompt_and_of_the_answer_are_shown_and_the_cursor_goes_through_them() -> None:
    async with looking("One two three.") as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        drawn = [token.measured for token in glass.tokens if token.measured]
        answer = b"".join(seen.piece for seen in drawn if not seen.is_end).decode()
        assert answer == "One two three."
        assert drawn[-1].is_end
        last = glass.token_view.cursor
        assert last == len(glass.tokens) - 1
        await pilot.press("left")
        assert glass.token_view.cursor == last - 1
        await wait_for(pilot, lambda: f"{last} of {last + 1}" in body(glass))
        await pilot.press("home", "left")
        assert glass.token_view.cursor == 0
        assert {token.part for token in glass.tokens} >= {"your message", "answer"}


async def test_what_is_typed_is_cut_into_tokens_while_it_is_typed_and_counted() -> None:
    async with looking("One two three.") as (pilot, screen, glass):
        await pilot.press("tab")
        await wait_for(pilot, lambda: screen.prompt.has_focus)
        await pilot.press(*"Count to")
        typed = lambda: b"".join(token.piece for token in glass.tokens if token.part == TYPED)  # noqa: E731
        await wait_for(pilot, lambda: typed() == b"Count to")
        assert "2 of them in what you are typing" in str(glass.query_one("#legend", Static).content)
        await pilot.press("enter")
        await wait_for(pilot, lambda: screen.state.turns and screen.state.is_idle and not typed())


async def test_the_mouse_on_a_token_says_its_number_and_bytes() -> None:
    async with looking("One two three.") as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        await pilot.hover(glass.token_view, offset=(1, 0))
        await wait_for(pilot, lambda: "bytes 3c 7c 69 6d" in str(glass.token_view.tooltip))


async def test_each_view_says_what_you_are_looking_at_and_shows_the_token_under_the_cursor() -> None:
    async with looking("One two three.") as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        found = {
            "1": "part of",
            "2": "after sampling",
            "3": "free",
            "4": "heads 1 to",
            "5": "bars follow",
            "6": "most similar tokens",
            "7": "1 answer to this question",
        }
        for (name, view), (key, words) in zip(VIEWS.items(), found.items(), strict=True):
            await pilot.press(key)
            assert glass.view is name
            await wait_for(pilot, lambda words=words: words in body(glass), f"{name} shows {words}")
            assert str(glass.query_one("#caption", Static).content) == view.caption


async def test_attention_is_a_map_too_and_vectors_lie_on_a_plane_and_drift_apart() -> None:
    async with looking("The bank of a river.", size=(120, 36)) as (pilot, screen, glass):
        await ask(pilot, screen, "What is a bank? What is the bank for")
        await pilot.press("4", "v")
        await wait_for(pilot, lambda: "each row is a token" in body(glass))
        assert body(glass).count("%") == len(glass.tokens)
        await pilot.press("6", "v")
        await wait_for(pilot, lambda: "show on this plane" in body(glass))
        assert "•bank" in body(glass)
        await pilot.press("v")
        await wait_for(pilot, lambda: "river bank" in body(glass) and "1.000" in body(glass))
        await pilot.press("v")
        await wait_for(pilot, lambda: "most similar tokens" in body(glass))


def test_the_word_under_the_cursor_is_compared_in_two_sentences_of_the_conversation() -> None:
    asked = two_sentences("bank", "A river bank is land. Money is in a bank! Nothing here.")
    assert (asked.word, asked.first, asked.second) == ("bank", "A river bank is land", "Money is in a bank")
    assert two_sentences("land", "A river bank is land.").word == "bank"


async def test_a_view_can_be_copied_as_text_and_as_json() -> None:
    async with looking("One two three.") as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        for key in "1234567":
            await pilot.press(key)
            await wait_for(pilot, lambda: "looking" not in body(glass))
            screen.app.copy_to_clipboard("")
            await pilot.press("y")
            await wait_for(pilot, lambda: screen.app.clipboard, f"view {key} as text")
            screen.app.copy_to_clipboard("")
            await pilot.press("Y")
            await wait_for(pilot, lambda: screen.app.clipboard, f"view {key} as JSON")
            assert json.loads(screen.app.clipboard)


async def test_where_nothing_was_said_nothing_is_copied_and_all_views_say_so() -> None:
    async with looking("One two three.") as (pilot, screen, glass):
        for key in "1234567":
            await pilot.press(key)
            await wait_for(pilot, lambda: "Nothing was said yet" in body(glass))
            screen.app.copy_to_clipboard("")
            await pilot.press("y")
            await wait_for(pilot, lambda: "place" in screen.app.clipboard, f"view {key} as text")
            await pilot.press("Y")
            await wait_for(pilot, lambda: screen.app.clipboard == "[]", f"view {key} as JSON")


async def test_colours_have_a_legend_and_a_mark_that_needs_no_colour() -> None:
    async with looking("One two three.") as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        legend = glass.query_one("#legend", Static)
        for tint in [*list(Tint)[1:], Tint.BOUNDARIES]:
            await pilot.press("t")
            assert glass.tint is tint
            assert LEGENDS[tint] in str(legend.content)
        glass.token_view.tint([None] * (len(glass.tokens) - 2) + [0.9, 0.1])
        style = glass.token_view._style(len(glass.tokens) - 2, glass.token_view.visual_style.rich_style)
        assert style.underline
        assert style.bold


async def test_sliders_reshape_what_is_seen_and_change_nothing_until_that_is_asked_for() -> None:
    async with looking("One two three.") as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        await pilot.press("left", "2", "s")
        shaper = glass.query_one(Shaper)
        await wait_for(pilot, lambda: shaper.query_one("#shape-temperature", Slider).has_focus)
        before = body(glass)
        await pilot.press("end")
        await wait_for(pilot, lambda: body(glass) != before, "the bars follow")
        assert screen.chat.effective.sampling.temperature == 0.8
        await pilot.press("a")
        await wait_for(pilot, lambda: screen.chat.effective.sampling.temperature == 3.0)
        await pilot.press("escape")
        await wait_for(pilot, lambda: glass.token_view.has_focus and not shaper.display)


async def test_what_cannot_be_seen_says_why() -> None:
    class Closed(ScriptedEngine):
        async def inspect(self, request: GlassRequest) -> GlassResult:
            raise NotVisible("This model has no attention.", "Look at its tokens.")

    engine = Closed("One two three.")
    async with looking(engine=engine) as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        await pilot.press("4")
        await wait_for(pilot, lambda: "Not available here, because: This model has no attention." in body(glass))
        await pilot.press("1")
        await wait_for(pilot, lambda: "part of" in body(glass))


async def test_a_small_terminal_shows_the_glass_box_alone_and_gives_the_conversation_back() -> None:
    async with looking("One two three.", size=(80, 24)) as (pilot, screen, glass):
        assert not screen.query_one("#middle").display
        assert glass.region.width == 80
        await pilot.press("tab")
        await wait_for(pilot, lambda: screen.prompt.has_focus)
        assert screen.query_one("#middle").display
        assert not glass.is_open


async def test_what_is_written_behind_a_small_glass_box_is_measured_all_the_same() -> None:
    async with looking("One two three.", size=(80, 24)) as (pilot, screen, glass):
        await pilot.press("tab")
        await wait_for(pilot, lambda: screen.prompt.has_focus)
        screen.prompt.put("Count for me")
        await pilot.press("enter")
        await wait_for(pilot, lambda: len(screen.state.turns) == 2 and screen.state.is_idle)
        await pilot.press("f12", "2")
        await wait_for(pilot, lambda: "after sampling" in body(glass))


async def test_closed_it_measures_nothing() -> None:
    engine = ScriptedEngine("One.", "Two.")
    async with looking(engine=engine) as (pilot, screen, glass):
        await ask(pilot, screen, "first")
        await pilot.press("escape")
        await wait_for(pilot, lambda: screen.prompt.has_focus)
        assert not screen.chat.is_measured
        assert not glass.is_open


async def test_closed_it_gives_back_the_memory_that_looking_took(monkeypatch: pytest.MonkeyPatch) -> None:
    class Asked(ScriptedEngine):
        asked: list[GlassRequest]

        async def inspect(self, request: GlassRequest) -> GlassResult:
            self.asked.append(request)
            return await super().inspect(request)

    engine = Asked("One.")
    engine.asked = []
    async with looking(engine=engine) as (pilot, screen, glass):
        await ask(pilot, screen, "first")
        await pilot.press("4")
        await wait_for(pilot, lambda: "heads 1 to" in body(glass))
        monkeypatch.setattr(panel, "PAUSE_SECONDS", 0.5)  # so that it is closed before the cursor rests
        await pilot.press("left", "escape")
        await wait_for(pilot, lambda: isinstance(engine.asked[-1], LetGo))
        over: list[bool] = []
        glass.set_timer(panel.PAUSE_SECONDS, lambda: over.append(True))
        await wait_for(pilot, lambda: over, "every pause that began before has ended")
        await wait_for(pilot, lambda: not [worker for worker in glass.workers if worker.node is glass])
        assert isinstance(engine.asked[-1], LetGo), "it is not looked again"


async def test_the_mouse_puts_the_cursor_on_a_token_and_opens_views() -> None:
    async with looking("One two three.") as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        await pilot.click(glass.token_view, offset=(1, 0))
        await wait_for(pilot, lambda: glass.token_view.cursor == 0)
        tabs = glass.query_one(Tabs)
        await pilot.click(tabs, offset=(1 + tabs.render().plain.index("Next"), 0))
        await wait_for(pilot, lambda: glass.view is ViewName.NEXT)


async def test_the_tour_stops_at_every_station_with_a_sentence_about_these_very_words() -> None:
    async with looking("One two three.") as (pilot, screen, glass):
        bar = glass.query_one(TourBar)
        await pilot.press("g")
        await wait_for(pilot, lambda: bar.display and bar.sentence == ASK_FIRST)
        await pilot.press("tab")
        await wait_for(pilot, lambda: screen.prompt.has_focus)
        screen.prompt.put("Count for me")
        await pilot.press("enter")
        await wait_for(pilot, lambda: "marks around it" in bar.sentence and glass.token_view.has_focus)
        for number, station in enumerate(STATIONS):
            assert (bar.number, glass.view) == (number, station.view)
            assert bar.sentence == station.says(glass.tokens, glass.token_view.cursor)
            assert glass.query_one(Shaper).display == station.has_sliders
            await pilot.press("n")
            await wait_for(pilot, lambda number=number: bar.number == number + 1 or not bar.display)
        assert not bar.display


async def test_the_tour_of_the_palette_lets_the_tutor_say_something_first() -> None:
    app = make_app("One two three.")
    async with app.run_test(size=(160, 44)) as pilot:
        await wait_for(pilot, lambda: app.chat_screen.state.has_model)
        await pilot.press("ctrl+p")
        await wait_for(pilot, lambda: app.screen is not app.chat_screen)
        await pilot.press(*"tour")
        await wait_for(pilot, lambda: app.screen.query_one("OptionList").option_count >= 1)
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.chat_screen.query_one(TourBar).display)


@pytest.mark.parametrize("view", list(ViewName))
async def test_the_words_of_each_view_are_explained(view: ViewName) -> None:
    async with looking("One two three.", size=(80, 24)) as (pilot, screen, glass):
        glass.view = view
        await pilot.press("question_mark")
        await wait_for(pilot, lambda: isinstance(screen.app.screen, Glossary))
        meaning = screen.app.screen.query_one("#meaning", Static)
        await wait_for(pilot, lambda: str(meaning.content).startswith(TERM_OF[view]))
        await pilot.press("down")
        await wait_for(pilot, lambda: not str(meaning.content).startswith(TERM_OF[view]))
        await pilot.press("escape")
        await wait_for(pilot, lambda: screen.app.screen is screen)


async def test_what_was_expected_of_a_token_that_the_model_did_not_draw_is_shown_too() -> None:
    async with looking("One two three.") as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        glass.token_view.go_to(next(i for i, token in enumerate(glass.tokens) if token.part == "your message"))
        await pilot.press("2")
        await wait_for(pilot, lambda: "stands here" in body(glass) or "did not draw" in body(glass))


@pytest.mark.parametrize(
    ("texts", "width", "lines"),
    [
        (["Hello", " world"], 8, ["Hello", " world"]),
        (["un", "believ", "able", " thing"], 12, ["unbelievable", " thing"]),
        (["a↵\n", "b"], 10, ["a↵", "b"]),
        (["x" * 25], 10, ["x" * 10, "x" * 10, "x" * 5]),
        ([" 日本", "語"], 5, [" 日本", "語"]),
    ],
)
def test_words_stay_whole_where_they_fit(texts: list[str], width: int, lines: list[str]) -> None:
    wrapping, line_of = wrapped(texts, width)
    assert ["".join(cell.text for cell in line) for line in wrapping] == lines
    assert len(line_of) == len(texts)


def test_bytes_that_are_no_character_are_shown_by_their_value_and_nothing_steers_the_terminal() -> None:
    assert shown(b" the") == " the"
    assert shown(b"\xf0\x9f") == "⟨F0⟩⟨9F⟩"
    assert "\x1b" not in shown(b"\x1b[31m")
    assert shown(b"a\nb") == "a↵\nb"
    assert named(b" the", 6) == "·the  "
    assert named("日本語日本語".encode(), 7).rstrip() == "日本語…"


def test_bars_and_percentages_never_hide_what_is_there() -> None:
    assert bar(0.0, 4) == "    "
    assert bar(0.001, 4).strip()
    assert bar(1.0, 4) == "████"
    assert percent(0.00001) == "<0.01%"
    assert percent(0.9999) == ">99.9%"
    assert percent(1.0) == "100 %"
    assert all(len(percent(share)) <= 7 for share in (0, 0.5, 0.051, 0.9949, 1))
    assert shade(0.0) == " "
    assert shade(1.0) == "█"
    assert TokenKind.DRAWN in TokenKind


async def test_the_answer_in_the_conversation_is_coloured_as_its_tokens_are() -> None:
    def marks(screen: ChatScreen) -> str:
        """What is underlined in the transcript."""
        lines = [line for i in range(len(screen.transcript.turns)) for line in screen.transcript.pages.lines_of(i)]
        return "".join(part.text for line in lines for part in line.segments if part.style and part.style.underline)

    async with looking("One **two** three `four` five.") as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        assert not marks(screen)
        await pilot.press("t")
        drawn = [token.measured for token in glass.tokens if token.measured and not token.measured.is_end]
        strong = [seen.piece for seen in drawn if seen.probability < 0.5]
        assert strong, "some token was not likely"
        letters = "".join(letter for letter in b"".join(strong).decode() if letter.isalnum())
        await wait_for(pilot, lambda: "".join(letter for letter in marks(screen) if letter.isalnum()) == letters)
        await pilot.press("escape")
        await wait_for(pilot, lambda: not marks(screen), "closed, nothing is coloured")


async def test_what_was_checked_is_said_and_what_was_not_is_not() -> None:
    async with looking("One two three.") as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        await pilot.press("left")
        checked = {"2": "the point lies on", "4": "adds up to 100 %", "5": "the last layer's scores are the model's"}
        for key, words in checked.items():
            await pilot.press(key)
            await wait_for(pilot, lambda words=words: f"✓ verified: {words}" in body(glass))
        await pilot.press("6")
        await wait_for(pilot, lambda: "most similar tokens" in body(glass))
        assert "verified" not in body(glass)


async def test_attention_is_told_by_message_too() -> None:
    async with looking("One two three.") as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        await pilot.press("4")
        await wait_for(pilot, lambda: "by message: your message" in body(glass) and "the chat template" in body(glass))
        shares = re.search(r"by message: (.*)", body(glass))
        assert shares
        assert sum(float(n) for n in re.findall(r"([\d.]+) %", shares[1])) == pytest.approx(100, abs=0.5)


async def test_settings_that_were_tried_can_count_everywhere() -> None:
    async with looking("One two three.") as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        await pilot.press("left", "2", "s")
        await wait_for(pilot, lambda: glass.query_one("#shape-temperature", Slider).has_focus)
        await pilot.press("end", "A")
        await wait_for(pilot, lambda: screen.app.settings.sampling.temperature == 3.0)
        await wait_for(pilot, lambda: screen.chat.effective.sampling.temperature == 3.0)
        assert "sampling" not in screen.chat.overrides
        await wait_for(pilot, lambda: glass.sampling.temperature == 3.0)
    assert "temperature = 3.0" in settings_file().read_text()


async def test_the_mouse_alone_opens_and_closes_it() -> None:
    app = make_app("One two three.")
    async with app.run_test(size=(120, 36)) as pilot:
        await wait_for(pilot, lambda: app.chat_screen.state.has_model)
        header = app.chat_screen.header
        await pilot.click(header, offset=(1 + header.render().plain.index("inside"), 0))
        await wait_for(pilot, lambda: app.chat_screen.transcript.glass.is_open)
        keys = app.chat_screen.transcript.glass.query_one(KeyRow)
        await pilot.click(keys, offset=(1 + keys.render().plain.index("esc"), 0))
        await wait_for(pilot, lambda: not app.chat_screen.transcript.glass.is_open)
