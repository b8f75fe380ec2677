"""Promises of the status row."""

from __future__ import annotations

import msgspec
import pytest
from support.waiting import wait_for
from textual.app import App, ComposeResult

from chatterm.events import Finished, FinishReason, Loaded, Loading, LoadStage, ModelInfo, Prefilling, Prompted, Token
from chatterm.ui.messages import RunCommand
from chatterm.ui.widgets.status import Facts, Status, activity_of, row

FACTS = Facts(
    model="Meta Llama 3.1 8B Instruct",
    quantization="Q4_K_M",
    activity="reading the prompt 512/2,048",
    is_busy=True,
    n_used=1234,
    n_ctx=8192,
    tokens_per_second=42.14,
    first_token_seconds=0.31,
    temperature=0.8,
)


@pytest.mark.parametrize("width", range(20, 200, 7))
def test_it_always_fits_and_says_what_is_being_done(width: int) -> None:
    shown = row(FACTS, width).plain
    assert row(FACTS, width).cell_length <= max(width, 40)
    assert "reading the prompt" in shown


def test_what_matters_least_leaves_first() -> None:
    wide, narrow = row(FACTS, 160).plain, row(FACTS, 80).plain
    assert all(part in wide for part in ("Q4_K_M", "42.1 tok/s", "first 0.31 s", "1,234/8,192", "temp 0.8", "━"))
    assert all(part in narrow for part in ("Meta Llama", "1,234/8,192"))
    assert "Q4_K_M" not in narrow


@pytest.mark.parametrize("width", [60, 80, 120])
def test_where_text_goes_leaves_last(width: int) -> None:
    facts = msgspec.structs.replace(
        FACTS, model="openai:gpt-5", quantization="", host="api.openai.com", activity="ready"
    )
    assert "openai:gpt-5 · ↗ api.openai.com" in row(facts, width).plain


def test_a_download_is_shown_where_there_is_room_and_leaves_early() -> None:
    facts = msgspec.structs.replace(FACTS, activity="ready", downloads="↓ 43 % · 2 min")
    assert "↓ 43 % · 2 min" in row(facts, 160).plain
    narrow = row(facts, 70).plain
    assert "↓" not in narrow
    assert "1,234/8,192" in narrow


def test_nothing_is_shown_that_was_not_measured() -> None:
    assert row(Facts(activity="ready"), 80).plain.split(" · ") == ["choose a model", "● ready".ljust(63)]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Loading(LoadStage.STARTING), "starting llama.cpp"),
        (Loading(LoadStage.WEIGHTS, 0.434), "loading 43 %"),
        (Prefilling(512, 2048), "reading the prompt 512/2,048"),
        (Token("x"), "writing"),
        (Token("x", reasoning=True), "thinking"),
        (Finished(FinishReason.END), "ready"),
        (Finished(FinishReason.LENGTH), "cut at the longest reply"),
        (Finished(FinishReason.CONTEXT), "cut, the context is full"),
        (Finished(FinishReason.FILTER), "cut by the server's filter"),
        (Loading(LoadStage.CONNECTING), "asking the server"),
        (Loaded(ModelInfo("/m.gguf", "m")), "ready"),
        (Prompted(1, 0, 7), ""),
    ],
)
def test_each_stage_has_its_words(event: object, words: str) -> None:
    assert activity_of(event) == words  # type: ignore[arg-type]


class Bare(App[None]):
    """A status row alone."""

    def __init__(self) -> None:
        super().__init__()
        self.status = Status()
        self.asked: list[str] = []
        self.n_drawn = 0

    def compose(self) -> ComposeResult:
        yield self.status

    def on_run_command(self, event: RunCommand) -> None:
        self.asked.append(event.action)


async def test_the_model_and_the_temperature_can_be_clicked() -> None:
    app = Bare()
    async with app.run_test(size=(120, 5)) as pilot:
        app.status.tell(model="Tiny", temperature=0.8)
        await wait_for(pilot, lambda: "temp" in app.status.render().plain)
        await pilot.click(app.status, offset=(2, 0))
        await pilot.click(app.status, offset=(1 + app.status.render().plain.index("temp"), 0))
        await wait_for(pilot, lambda: app.asked == ["choose_model", "settings"])


async def test_a_failed_download_can_be_clicked() -> None:
    app = Bare()
    async with app.run_test(size=(120, 5)) as pilot:
        app.status.tell(model="Tiny", downloads="↓ failed", has_failed_download=True)
        await wait_for(pilot, lambda: "↓" in app.status.render().plain)
        await pilot.click(app.status, offset=(1 + app.status.render().plain.index("failed"), 0))
        await wait_for(pilot, lambda: app.asked == ["downloads"])


async def test_a_flood_of_facts_is_drawn_few_times_and_ends_with_the_newest() -> None:
    app = Bare()
    async with app.run_test(size=(120, 5)) as pilot:
        drawn: list[int] = []
        app.watch(app.status, "facts", lambda facts: drawn.append(facts.n_used), init=False)
        for n in range(1, 1001):
            app.status.tell(n_used=n)
        await wait_for(pilot, lambda: bool(drawn) and drawn[-1] == 1000)
        assert len(drawn) < 100


def test_no_more_than_the_window_is_ever_used() -> None:
    assert "512/512" in row(Facts(model="m", activity="ready", n_used=513, n_ctx=512), 80).plain
