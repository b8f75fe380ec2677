"""The loop by hand: pause, one token, back, again, another one; and branches, which are answers like all others."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from msgspec import structs
from support.looking import ask, body, looking
from support.waiting import wait_for
from textual.pilot import Pilot
from textual.widgets import Static

from chatterm import lens
from chatterm.conversation import ReplyRecord, Turn, TurnState
from chatterm.engine.base import Capabilities
from chatterm.engine.scripted import ScriptedEngine
from chatterm.settings import Sampling
from chatterm.ui.glass.branches import Branch, BranchesSeen, chance, lines, n_common, said, tree
from chatterm.ui.glass.shaper import Shaper
from chatterm.ui.glass.views import VIEWS, ViewName
from chatterm.ui.screens.chat import ChatScreen
from chatterm.ui.screens.glass_by_hand import LOOP
from chatterm.ui.screens.glass_dock import GlassDock
from chatterm.ui.screens.temperatures import TEMPERATURES, Temperatures
from chatterm.ui.widgets.stages import Stages

TEXT = "One two three four."


async def tree_of(screen: ChatScreen) -> list[Turn]:
    """All turns as they are stored."""
    assert screen.chat.conversation is not None
    return await screen.chat.store.turns(screen.chat.conversation.id)


def answer(screen: ChatScreen) -> str:
    """The text of the last answer, as the transcript shows it."""
    return screen.transcript.turns[-1].text


def start_of_answer(glass: GlassDock) -> int:
    """Where the answer begins among the tokens."""
    return next(i for i, token in enumerate(glass.tokens) if token.part == "answer")


async def rests(pilot: Pilot[Any], screen: ChatScreen, text: str) -> None:
    """Wait until the answer is this text, in the transcript and among the tokens, and nothing runs."""
    glass = screen.transcript.glass
    assert glass is not None

    def is_so() -> bool:
        drawn = [token for token in glass.tokens if token.part == "answer" and token.turn == screen.chat.turns[-1].id]
        shown = b"".join(token.piece for token in drawn if not token.measured or not token.measured.is_end).decode()
        return answer(screen) == shown == text and screen.state.is_idle and not screen.transcript.is_answering

    await wait_for(pilot, is_so, f"the answer is {text!r}, not {answer(screen)!r}")


async def test_another_candidate_begins_a_branch_beside_the_answer() -> None:
    async with looking(TEXT) as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        glass.token_view.go_to(start_of_answer(glass) + 1)
        await pilot.press("enter")
        await wait_for(pilot, lambda: glass.view is ViewName.NEXT and glass.body.has_focus)
        seen = glass.tokens[glass.token_view.cursor].measured
        assert seen is not None
        assert glass.body.row == seen.pieces.index(seen.piece), "the cursor begins on what was drawn"
        await pilot.press("end", "up")
        other = lens.candidates(seen)[len(seen.pieces) - 2]
        assert "▸" in body(glass).splitlines()[2 + len(seen.pieces) - 2]
        await pilot.press("enter")
        text = f"One{other.piece.decode()} three four."
        await rests(pilot, screen, text)
        engine = screen.chat.engine
        assert isinstance(engine, ScriptedEngine)
        assert engine.begun[-1] == (1, other.id), "it begins with the tokens up to there, and the chosen one"
        assert [(turn.text, turn.state) for turn in await tree_of(screen)][1:] == [
            (TEXT, TurnState.FINISHED),
            (text, TurnState.FINISHED),
        ]
        await wait_for(pilot, lambda: screen.state.answers == (1, 2))
        chosen = glass.tokens[start_of_answer(glass) + 1].measured
        assert chosen is not None
        assert chosen.is_chosen
        assert chosen.probability == pytest.approx(other.probability)
        await pilot.press("alt+left")
        await rests(pilot, screen, TEXT)


async def test_an_answer_is_paused_written_by_hand_and_runs_on() -> None:
    engine = ScriptedEngine(TEXT)
    async with looking(engine=engine) as (pilot, screen, glass):
        engine.gate = asyncio.Event()
        await pilot.press("tab")
        await wait_for(pilot, lambda: screen.prompt.has_focus)
        screen.prompt.put("Count for me")
        await pilot.press("enter")
        await wait_for(pilot, lambda: screen.state.replying and len(engine.prompts) == 1)
        await pilot.press("f12")
        await wait_for(pilot, lambda: glass.token_view.has_focus and any(token.measured for token in glass.tokens))
        await pilot.press("space")
        await wait_for(pilot, lambda: glass.steps)
        await rests(pilot, screen, "One")
        assert screen.chat.turns[-1].state is TurnState.STOPPED
        assert str(glass.query_one("#caption", Static).content) == LOOP
        turn_id = screen.chat.turns[-1].id
        for key, text in [
            ("space", "One two"),
            ("right", "One two three"),
            ("backspace", "One two"),
            ("d", "One two"),
            ("space", "One two three"),
        ]:
            await pilot.press(key)
            await rests(pilot, screen, text)
            assert (await tree_of(screen))[-1].text == text, "each step is saved"
        assert engine.samplings[-2].seed != engine.samplings[-3].seed, "drawn again with another random number"
        assert engine.samplings[-1].seed == engine.samplings[-2].seed
        assert engine.begun[1:] == [(1,), (1, 2), (1, 2), (1,), (1, 2)]
        engine.gate.set()
        await pilot.press("r")
        await rests(pilot, screen, TEXT)
        assert not glass.steps
        assert str(glass.query_one("#caption", Static).content) == VIEWS[glass.view].caption
        assert [(turn.id, turn.state) for turn in await tree_of(screen)][1:] == [(turn_id, TurnState.FINISHED)]


async def test_what_was_complete_stays_and_steps_make_another_answer() -> None:
    async with looking(TEXT) as (pilot, screen, _glass):
        await ask(pilot, screen, "Count for me")
        await pilot.press("space")
        await wait_for(pilot, lambda: any("complete" in note.message for note in screen.app._notifications))
        await pilot.press("backspace")
        await rests(pilot, screen, TEXT)
        await wait_for(pilot, lambda: screen.state.answers == (1, 2))
        await pilot.press("backspace")
        await rests(pilot, screen, "One two three")
        assert [turn.text for turn in await tree_of(screen)][1:] == [TEXT, "One two three"]
        assert screen.chat.can_resume


async def test_by_hand_any_candidate_is_put_there_and_nothing_more_is_drawn() -> None:
    async with looking(TEXT) as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        for text in (TEXT, "One two three"):
            await pilot.press("backspace")
            await rests(pilot, screen, text)
        await pilot.press("enter")
        await wait_for(pilot, lambda: glass.body.has_focus)
        seen = glass.tokens[-1].measured
        assert seen is not None
        await pilot.press("end", "enter")
        other = lens.candidates(seen)[-1]
        await rests(pilot, screen, f"One two{other.piece.decode()}")
        assert glass.steps
        assert "◀ chosen" in body(glass)


async def test_the_end_can_be_chosen_too() -> None:
    async with looking(TEXT) as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        end = glass.tokens[-1].measured
        assert end is not None
        assert end.is_end
        await pilot.press("d")
        await rests(pilot, screen, TEXT)
        await pilot.press("enter")
        await wait_for(pilot, lambda: glass.body.has_focus)
        await pilot.press("end", "enter")
        await rests(pilot, screen, f"{TEXT}{lens.candidates(end)[-1].piece.decode()}")
        await pilot.press("enter")
        await wait_for(pilot, lambda: glass.body.has_focus)
        await pilot.press("home", *["down"] * end.pieces.index(end.piece), "enter")
        await rests(pilot, screen, TEXT)
        assert screen.chat.turns[-1].state is TurnState.FINISHED
        assert glass.tokens[-1].measured is not None
        assert glass.tokens[-1].measured.is_end


async def test_the_mouse_takes_a_candidate_with_a_double_click() -> None:
    async with looking(TEXT) as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        glass.token_view.go_to(start_of_answer(glass) + 1)
        await pilot.press("2")
        await wait_for(pilot, lambda: glass.body.n_rows)
        seen = glass.tokens[glass.token_view.cursor].measured
        assert seen is not None
        await pilot.click(glass.body, offset=(4, 2 + 3))
        await wait_for(pilot, lambda: glass.body.has_focus and glass.body.row == 3)
        await pilot.click(glass.body, offset=(4, 2 + 3), times=2)
        await rests(pilot, screen, f"One{lens.candidates(seen)[3].piece.decode()} three four.")


async def test_steps_end_with_escape_and_the_answer_stays_as_it_stands() -> None:
    async with looking(TEXT) as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        for text in (TEXT, "One two three"):
            await pilot.press("backspace")
            await rests(pilot, screen, text)
        await pilot.press("escape")
        await wait_for(pilot, lambda: not glass.steps)
        assert glass.is_open
        assert answer(screen) == "One two three"
        await pilot.press("ctrl+g")
        await wait_for(pilot, lambda: screen.state.is_idle and screen.chat.turns[-1].state is TurnState.FINISHED)


async def test_an_answer_that_was_stopped_keeps_its_measures() -> None:
    engine = ScriptedEngine(TEXT)
    async with looking(engine=engine) as (pilot, screen, glass):
        engine.gate = asyncio.Event()
        await pilot.press("tab")
        await wait_for(pilot, lambda: screen.prompt.has_focus)
        screen.prompt.put("Count for me")
        await pilot.press("enter")
        await wait_for(pilot, lambda: any(token.measured for token in glass.tokens))
        await pilot.press("escape")
        await rests(pilot, screen, "One")
        assert [seen.piece for seen in glass.measures[screen.chat.turns[-1].id]] == [b"One"]


async def test_an_engine_that_cannot_begin_says_why() -> None:
    engine = ScriptedEngine(TEXT)
    async with looking(engine=engine) as (pilot, screen, _glass):
        await ask(pilot, screen, "Count for me")
        engine.capabilities = Capabilities(missing={"branches": "This server cannot do that."})
        await pilot.press("backspace")
        await wait_for(pilot, lambda: any("cannot do that" in note.message for note in screen.app._notifications))
        assert len(engine.prompts) == 1


async def test_branches_are_listed_opened_dropped_and_brought_back() -> None:
    async with looking(TEXT) as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        glass.token_view.go_to(start_of_answer(glass) + 1)
        await pilot.press("enter")
        await wait_for(pilot, lambda: glass.body.has_focus)
        await pilot.press("end", "enter")
        await wait_for(pilot, lambda: screen.state.answers == (1, 2) and glass.token_view.has_focus)
        branch = answer(screen)
        await pilot.press("7")
        await wait_for(pilot, lambda: glass.body.has_focus and "2 answers" in body(glass))
        drawn = body(glass)
        assert glass.body.row == 1, "the cursor begins on the answer that is open"
        assert "└ after 1" in drawn
        assert "answer 2, open" in drawn
        measures = glass.measures[screen.chat.turns[-1].id][1:]
        bits = math.fsum(seen.surprise or 0.0 for seen in measures)
        assert said(bits) in drawn, "the chance is the product of the tokens' probabilities from where it parts"
        await pilot.press("home", "enter")
        await rests(pilot, screen, TEXT)
        await pilot.press("7")
        await wait_for(pilot, lambda: glass.body.has_focus)
        await pilot.press("down", "x")
        await wait_for(pilot, lambda: screen.state.answers == (0, 1))
        assert [turn.text for turn in await tree_of(screen)][1:] == [TEXT]
        await pilot.press("u")
        await rests(pilot, screen, branch)
        await wait_for(pilot, lambda: screen.state.answers == (1, 2))


async def test_the_only_answer_cannot_be_dropped() -> None:
    async with looking(TEXT) as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        await pilot.press("7")
        await wait_for(pilot, lambda: glass.body.has_focus)
        await pilot.press("x")
        await wait_for(pilot, lambda: any("only answer" in note.message for note in screen.app._notifications))
        assert len(await tree_of(screen)) == 2


def branch(*pieces: str, bits: float | None = 1.0, is_open: bool = False) -> Branch:
    return Branch(1, tuple(piece.encode() for piece in pieces), (bits,) * len(pieces), is_open)


def test_each_answer_hangs_below_the_one_that_it_has_most_in_common_with() -> None:
    seen = BranchesSeen(
        (branch("a", "b", "c", is_open=True), branch("a", "x", "y"), branch("a", "x", "z"), branch("q", "r"))
    )
    assert [(fork.number, fork.depth, fork.parent, fork.n_common) for fork in tree(seen)] == [
        (0, 0, None, 0),
        (1, 1, 0, 1),
        (2, 2, 1, 2),
        (3, 1, 0, 0),
    ]
    for width in (40, 58, 120):
        drawn = lines(seen, width, 1)
        assert all(line.cell_length <= width for line in drawn)
        assert str(drawn[2]).startswith("▸")


def test_answers_whose_tokens_were_not_kept_are_compared_by_their_text() -> None:
    assert n_common(branch("un", "do", " it"), branch("undo", " that", bits=None)) == 2
    assert chance(branch("a", "b", bits=None), 0) is None
    assert chance(branch("a", "b", "c"), 1) == (2.0, 1.0)
    assert said(1.0) == "50.0 %"
    assert said(40.0) == "1 in 2^40"


async def test_the_order_of_the_stages_is_tried_and_its_effect_is_seen() -> None:
    async with looking(TEXT) as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        glass.token_view.go_to(start_of_answer(glass))
        await pilot.press("2", "s")
        shaper = glass.query_one(Shaper)
        await wait_for(pilot, lambda: shaper.query_one("#shape-temperature").has_focus)
        await pilot.press("end")
        await wait_for(pilot, lambda: shaper.sampling.temperature == 3.0)
        before = body(glass)
        assert before.index("min-p") < before.index("temperature")
        await pilot.press("o")
        stages = shaper.query_one(Stages)
        await wait_for(pilot, lambda: stages.has_focus)
        stages.cursor = stages.lines.index("temperature")
        await pilot.press("left", "left", "left")
        await wait_for(pilot, lambda: body(glass) != before, "temperature before top-p leaves more")
        assert body(glass).index("→ temperature") < body(glass).index("→ top-p")
        tried = shaper.sampling.order
        assert screen.chat.effective.sampling.order != tried
        await pilot.press("a")
        await wait_for(pilot, lambda: screen.chat.effective.sampling.order == tried)


async def test_the_candidates_are_seen_after_each_stage() -> None:
    async with looking(TEXT) as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        glass.token_view.go_to(start_of_answer(glass))
        await pilot.press("2")
        await wait_for(pilot, lambda: "after sampling" in body(glass))
        for words in ("before sampling", "after top-k", "after top-p", "after min-p", "after temperature"):
            await pilot.press("]")
            await wait_for(pilot, lambda words=words: words in body(glass), words)
        await pilot.press("]")
        await wait_for(pilot, lambda: "after sampling" in body(glass))


@pytest.mark.parametrize("size", [(160, 44), (80, 24)])
async def test_the_stages_are_those_of_the_draw_whatever_the_settings_are_now(size: tuple[int, int]) -> None:
    def rows() -> list[str]:
        """The candidates, without what is said above and below them."""
        return [line for line in body(glass).splitlines()[2:] if "%" in line or "cut by" in line]

    async with looking(TEXT, size=size) as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        glass.token_view.go_to(start_of_answer(glass))
        await pilot.press("2")
        await wait_for(pilot, lambda: "after sampling" in body(glass))
        drawn = rows()
        glass.sampling = Sampling(temperature=3.0, top_k=2)
        await pilot.press("[")
        await wait_for(pilot, lambda: "after temperature" in body(glass))
        assert rows() == drawn
        assert "left after each stage" in body(glass)
        screen.chat.turns[-1] = structs.replace(screen.chat.turns[-1], record=ReplyRecord())
        await pilot.press("[", "]")
        await wait_for(pilot, lambda: "left at your present settings: 32,000 → top-k 2" in body(glass))
        assert glass.body.virtual_size.height <= glass.body.size.height, "nothing of it is out of sight"


async def test_where_an_answer_went_on_at_other_settings_its_first_tokens_are_not_said_to_be_drawn_at_them() -> None:
    async with looking(TEXT) as (pilot, screen, glass):
        await ask(pilot, screen, "Count for me")
        await pilot.press("backspace")
        await rests(pilot, screen, TEXT)
        await screen.chat.override({"sampling": {"temperature": 3.0, "top_k": 4}})
        await pilot.press("d")
        await rests(pilot, screen, TEXT)
        await pilot.press("2", "[")
        await wait_for(pilot, lambda: "left after each stage: 32,000 → top-k 4" in body(glass))
        glass.token_view.go_to(start_of_answer(glass))
        await wait_for(pilot, lambda: "left at your present settings: 32,000 → top-k 4" in body(glass))


async def compared(pilot: Pilot[Any], screen: ChatScreen) -> Temperatures:
    """The three temperatures, all of them written."""
    await pilot.press("c")
    await wait_for(pilot, lambda: isinstance(screen.app.screen, Temperatures))
    shown = screen.app.screen
    assert isinstance(shown, Temperatures)
    await wait_for(pilot, lambda: all(column.state == "complete" for column in shown.columns))
    return shown


async def test_three_temperatures_are_written_with_the_same_seed_and_nothing_is_saved() -> None:
    engine = ScriptedEngine(TEXT)
    async with looking(engine=engine) as (pilot, screen, _glass):
        await screen.chat.override({"sampling": {"top_p": Sampling().top_p}})
        await ask(pilot, screen, "Count for me")
        before, asked = await tree_of(screen), engine.prompts[0]
        shown = await compared(pilot, screen)
        assert [column.lane.text for column in shown.columns if column.lane] == [TEXT] * 3
        assert {engine.samplings[i].temperature for i in range(1, len(engine.samplings))} == set(TEMPERATURES)
        assert {sampling.seed for sampling in engine.samplings[1:]} == {shown.seed}
        assert set(engine.stated[1:]) == {frozenset({"temperature", "top_p"})}, "what is meant is left to no server"
        assert shown.seed >= 0
        assert all(prompt == asked for prompt in engine.prompts[1:])
        chances = [str(column.query_one(".chances", Static).content) for column in shown.columns]
        assert "100 %" in chances[0]
        assert len(set(chances)) == 3
        await pilot.press("down")
        await wait_for(
            pilot, lambda: all("token 2" in str(c.query_one(".chances", Static).content) for c in shown.columns)
        )
        await pilot.press("escape")
        await wait_for(pilot, lambda: screen.app.screen is screen)
        assert await tree_of(screen) == before


async def test_a_temperature_is_changed_and_written_again() -> None:
    engine = ScriptedEngine(TEXT)
    async with looking(engine=engine) as (pilot, screen, _glass):
        await ask(pilot, screen, "Count for me")
        shown = await compared(pilot, screen)
        n = len(engine.prompts)
        await pilot.press("tab", "end")
        await wait_for(pilot, lambda: shown.columns[1].temperature == 2.0)
        assert len(engine.prompts) == n
        await pilot.press("enter")
        await wait_for(pilot, lambda: any(sampling.temperature == 2.0 for sampling in engine.samplings[n:]))
        await wait_for(pilot, lambda: all(column.state == "complete" for column in shown.columns))


async def test_the_one_that_is_kept_is_an_answer_like_all_others() -> None:
    engine = ScriptedEngine(TEXT)
    async with looking(engine=engine) as (pilot, screen, _glass):
        await ask(pilot, screen, "Count for me")
        shown = await compared(pilot, screen)
        await pilot.press("tab", "tab")
        await wait_for(pilot, lambda: shown.current is shown.columns[2])
        await pilot.press("k")
        await wait_for(pilot, lambda: screen.app.screen is screen)
        await wait_for(pilot, lambda: screen.state.answers == (1, 2))
        kept = (await tree_of(screen))[-1]
        assert (kept.text, kept.state) == (TEXT, TurnState.FINISHED)
        assert kept.record is not None
        assert kept.record.sampling["temperature"] == TEMPERATURES[2]
        assert screen.chat.effective.sampling.temperature == 0.8, "the conversation's own settings stay"


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 50)])
async def test_the_columns_fit(size: tuple[int, int]) -> None:
    async with looking(TEXT, size=size) as (pilot, screen, _glass):
        await ask(pilot, screen, "Count for me")
        shown = await compared(pilot, screen)
        assert sum(column.size.width for column in shown.columns) <= size[0]
        for column in shown.columns:
            assert column.query_one(".chances", Static).region.bottom < size[1]
            assert column.query_one(".text", Static).region.height >= 1
