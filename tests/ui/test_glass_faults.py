"""The glass box survives what happens around it: other models and conversations, failures, odd texts and sizes."""

from __future__ import annotations

import codecs
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.app import make_app
from support.fake_server import FakeServer, said
from support.llama_server import llama_server
from support.seen import seen, sees
from support.tiny_models import write_chain, write_model
from support.waiting import wait_for
from textual import events
from textual.pilot import Pilot
from textual.widgets import Static

from chatterm import paths
from chatterm.conversation import TurnState
from chatterm.engine.either import EitherEngine
from chatterm.engine.local import LocalEngine
from chatterm.engine.remote import RemoteEngine
from chatterm.library import Library
from chatterm.settings import LoadOptions, Sampling, ServerSettings, Settings
from chatterm.store import Store
from chatterm.ui.app import ChatApp
from chatterm.ui.glass.panel import GlassPanel
from chatterm.ui.glass.token_view import TokenView
from chatterm.ui.glass.views import ViewName
from chatterm.ui.glass.wrapping import unmoved, wrapped
from chatterm.ui.screens.chat import ChatScreen
from chatterm.ui.screens.glass_dock import GlassDock

VIEW_KEYS = dict(zip(ViewName, "1234567", strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small models: one that rambles, one that says a sentence, and one that never ends."""
    folder = tmp_path_factory.mktemp("models")
    write_model(folder / "rambler.gguf", n_layers=2)
    write_chain(folder / "sky.gguf", ["The", " sky", " is", " blue", "."])
    write_chain(folder / "endless.gguf", [" on", " and"], ends=False)
    return folder


def chosen(n_ctx: int = 1024, **sampling: Any) -> Settings:
    """Settings that always draw the same."""
    made = Sampling(**{"seed": 5, "max_tokens": 40, **sampling})
    return Settings(sampling=made, load=LoadOptions(n_ctx=n_ctx, n_threads=1))


@asynccontextmanager
async def real_app(
    model: Path | str, settings: Settings | None = None, size: tuple[int, int] = (120, 36)
) -> AsyncIterator[tuple[Pilot[Any], ChatScreen]]:
    """The whole app with a real model."""
    settings = settings or chosen()
    app = ChatApp(
        lambda: Store.open(paths.store_file()),
        lambda: EitherEngine(LocalEngine(patience_seconds=60), RemoteEngine(settings.servers)),
        lambda: Library(settings),
        settings,
        model=str(model),
    )
    async with app.run_test(size=size, notifications=True) as pilot:
        await wait_for(pilot, lambda: app.chat_screen.state.has_model and app.chat_screen.prompt.has_focus, seconds=60)
        yield pilot, app.chat_screen


async def opened(pilot: Pilot[Any], screen: ChatScreen, view: ViewName = ViewName.TOKENS) -> GlassDock:
    """The glass box, open on a view."""
    await pilot.press("f12")
    await wait_for(pilot, lambda: screen.transcript.glass is not None and screen.transcript.glass.token_view.has_focus)
    glass = screen.transcript.glass
    assert glass is not None
    await pilot.press(VIEW_KEYS[view])
    return glass


async def ask(pilot: Pilot[Any], screen: ChatScreen, text: str) -> str:
    """The whole answer to a question that is typed."""
    n = len(screen.state.turns)
    screen.prompt.focus()
    await wait_for(pilot, lambda: screen.prompt.has_focus)
    screen.prompt.put(text)
    await pilot.press("enter")
    await wait_for(pilot, lambda: len(screen.state.turns) == n + 2 and screen.state.is_idle, f"a reply to {text}", 60)
    return screen.state.turns[-1].text


def body(glass: GlassPanel) -> str:
    """What the view says."""
    return str(glass.query_one("#body", Static).content)


def shown_text(glass: GlassPanel, part: str) -> str:
    """The text of the tokens that are shown of a part; a character cut off at the end is no text, as in a reply."""
    pieces = (token.piece for token in glass.tokens if token.part == part and not _ends(token))
    return codecs.getincrementaldecoder("utf-8")("replace").decode(b"".join(pieces))


def _ends(token: Any) -> bool:
    return token.measured is not None and token.measured.is_end


async def test_the_same_seed_gives_the_same_tokens_on_each_view(folder: Path) -> None:
    settings = chosen(max_tokens=150, temperature=1.0)
    async with real_app(folder / "rambler.gguf", settings) as (pilot, screen):
        closed = await ask(pilot, screen, "Tell me more")
        assert len(closed) > 100
        glass = await opened(pilot, screen)
        for view in ViewName:
            await pilot.press("ctrl+n")
            await wait_for(pilot, lambda: not screen.state.turns)
            glass.view = view
            assert await ask(pilot, screen, "Tell me more") == closed, view
            await wait_for(pilot, lambda: shown_text(glass, "answer") == closed)


async def test_another_conversation_shows_its_own_tokens_at_once(folder: Path) -> None:
    async with real_app(folder / "sky.gguf", chosen(temperature=0.0)) as (pilot, screen):
        await ask(pilot, screen, "Why up there?")
        glass = await opened(pilot, screen, ViewName.ATTENTION)
        await wait_for(pilot, lambda: shown_text(glass, "your message") == "Why up there?")
        await pilot.press("ctrl+n")
        await wait_for(pilot, lambda: not glass.tokens and "Nothing was said yet" in body(glass))
        await ask(pilot, screen, "And now?")
        await wait_for(pilot, lambda: shown_text(glass, "your message") == "And now?")
        screen.open_conversation(1)
        await wait_for(pilot, lambda: shown_text(glass, "your message") == "Why up there?")
        await wait_for(pilot, lambda: "heads 1 to" in body(glass))
        screen.action_delete()
        await wait_for(pilot, lambda: not glass.tokens and "Nothing was said yet" in body(glass))
        await pilot.press("f9")
        await wait_for(pilot, lambda: shown_text(glass, "your message") == "Why up there?")


async def test_another_model_cuts_the_conversation_anew(folder: Path) -> None:
    async with real_app(folder / "sky.gguf", chosen(temperature=0.0)) as (pilot, screen):
        await ask(pilot, screen, "Why up there?")
        glass = await opened(pilot, screen, ViewName.LAYERS)
        await wait_for(pilot, lambda: "bars follow" in body(glass))
        before = [token.id for token in glass.tokens]
        screen.models.load(folder / "rambler.gguf")
        await wait_for(pilot, lambda: [token.id for token in glass.tokens] not in ([], before), seconds=60)
        await wait_for(pilot, lambda: "bars follow" in body(glass))
        assert shown_text(glass, "your message") == "Why up there?"


async def test_answers_are_shown_as_they_are_regenerated_and_flipped(folder: Path) -> None:
    async with real_app(folder / "rambler.gguf", chosen(seed=-1, temperature=1.0)) as (pilot, screen):
        first = await ask(pilot, screen, "Go on")
        glass = await opened(pilot, screen, ViewName.NEXT)
        await pilot.press("ctrl+r")
        await wait_for(pilot, lambda: screen.state.is_idle and screen.state.turns[-1].text != first)
        second = screen.state.turns[-1].text
        await wait_for(pilot, lambda: shown_text(glass, "answer") == second and glass.tokens[-1].measured)
        await pilot.press("alt+left")
        await wait_for(pilot, lambda: shown_text(glass, "answer") == first)
        await pilot.press("alt+right")
        await wait_for(pilot, lambda: shown_text(glass, "answer") == second and glass.tokens[-1].measured)


@pytest.mark.parametrize("view", list(ViewName))
async def test_a_reply_that_is_stopped_is_shown_as_it_was_saved(folder: Path, view: ViewName) -> None:
    async with real_app(folder / "endless.gguf", chosen(max_tokens=16_000, n_ctx=16_384)) as (pilot, screen):
        glass = await opened(pilot, screen, view)
        screen.prompt.focus()
        screen.prompt.put("Go on")
        await pilot.press("enter")
        await wait_for(pilot, lambda: sum(token.part == "answer" for token in glass.tokens) > 5)
        screen.action_stop()
        await wait_for(pilot, lambda: screen.state.is_idle)
        assert screen.state.turns[-1].state is TurnState.STOPPED
        await wait_for(pilot, lambda: shown_text(glass, "answer") == screen.state.turns[-1].text)
        await wait_for(pilot, lambda: "looking" not in body(glass))


@pytest.mark.parametrize("view", list(ViewName))
async def test_a_worker_that_dies_leaves_a_reason_and_comes_back(folder: Path, view: ViewName) -> None:
    async with real_app(folder / "sky.gguf", chosen(temperature=0.0)) as (pilot, screen):
        await ask(pilot, screen, "Why up there?")
        glass = await opened(pilot, screen, view)
        await wait_for(pilot, lambda: "looking" not in body(glass))
        engine = screen.chat.engine
        assert isinstance(engine, EitherEngine)
        assert isinstance(engine._local, LocalEngine)
        assert engine._local.pid is not None
        os.kill(engine._local.pid, signal.SIGKILL)
        await wait_for(pilot, lambda: screen.chat.model is None)
        await pilot.press("left")
        await wait_for(pilot, lambda: "looking" not in body(glass))
        screen.action_reload_model()
        await wait_for(pilot, lambda: screen.state.is_idle and screen.state.has_model, seconds=60)
        await wait_for(pilot, lambda: shown_text(glass, "answer") == "The sky is blue.")
        await wait_for(pilot, lambda: "Not available" not in body(glass) and "looking" not in body(glass))


async def test_turns_that_no_longer_fit_are_not_among_the_tokens(folder: Path) -> None:
    async with real_app(folder / "rambler.gguf", chosen(n_ctx=256, max_tokens=60)) as (pilot, screen):
        glass = await opened(pilot, screen, ViewName.WINDOW)
        for number in range(4):
            await ask(pilot, screen, f"Number {number}, please")
        await wait_for(pilot, lambda: "no longer fit" in body(glass))
        await wait_for(pilot, lambda: 0 < len(glass.tokens) <= 257)
        assert "Number 0" not in shown_text(glass, "your message")
        assert "Number 3" in shown_text(glass, "your message")


ODD = "a👩‍👩‍👧 語 שלום \x1b[31m\x00\u202e <|im_end|> {{x}} [b]not markup[/b] \tz"


@pytest.mark.parametrize("view", list(ViewName))
async def test_odd_texts_are_only_drawn(folder: Path, view: ViewName) -> None:
    async with real_app(folder / "rambler.gguf", size=(100, 30)) as (pilot, screen):
        await ask(pilot, screen, ODD)
        glass = await opened(pilot, screen, view)
        await wait_for(pilot, lambda: "looking" not in body(glass))
        for place in range(len(glass.tokens)):
            glass.token_view.go_to(place)
            await pilot.pause(0)
        await wait_for(pilot, lambda: "looking" not in body(glass))
        screen_text = seen(pilot.app)
        assert not {"\x1b", "\x00", "\u202e", "\t"} & set(screen_text)
        asked = b"".join(token.piece for token in glass.tokens if token.part == "your message").decode(
            "utf-8", "replace"
        )
        assert "<|im_end|>" in asked
        assert all(token.kind.value != "special" for token in glass.tokens if token.part == "your message")


async def test_it_gets_along_with_every_size(folder: Path) -> None:
    async with real_app(folder / "sky.gguf", chosen(temperature=0.0)) as (pilot, screen):
        await ask(pilot, screen, "Why up there?")
        glass = await opened(pilot, screen)
        for view in ViewName:
            glass.view = view
            for size in [(40, 10), (20, 4), (80, 24), (200, 50), (120, 36)]:
                await pilot.resize_terminal(*size)
                await wait_for(pilot, lambda: "looking" not in body(glass))
                assert glass.token_view.has_focus or glass.body.has_focus
            await pilot.resize_terminal(40, 10)
            await wait_for(pilot, lambda: glass.region.width == 40)
            assert min(glass.token_view.size.height, glass.body.size.height) >= 1
            await pilot.resize_terminal(120, 36)
        await pilot.resize_terminal(40, 10)
        await pilot.press("s")
        temperature = glass.query_one("#shape-temperature")
        await wait_for(pilot, lambda: temperature.has_focus and temperature.region.bottom <= glass.region.bottom)


async def test_pressing_its_key_many_times_ends_as_the_last_press_says(folder: Path) -> None:
    async with real_app(folder / "sky.gguf", chosen(temperature=0.0)) as (pilot, screen):
        await pilot.press(*["f12"] * 11)
        await wait_for(pilot, lambda: screen.transcript.glass is not None and screen.transcript.glass.is_mounted)
        assert len(screen.query(GlassDock)) == 1
        await ask(pilot, screen, "Why up there?")
        await pilot.press(*["f12"] * 10)
        await pilot.pause()
        glass = screen.transcript.glass
        assert glass is not None
        assert screen.chat.is_measured == glass.is_open


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_what_is_typed_right_after_leaving_it_belongs_to_the_prompt(size: tuple[int, int]) -> None:
    app = make_app("One two three.")
    async with app.run_test(size=size) as pilot:
        await wait_for(pilot, lambda: app.chat_screen.state.has_model and app.chat_screen.prompt.has_focus)
        await opened(pilot, app.chat_screen)
        for key, character in [("tab", "\t"), *((letter, letter) for letter in "going"), ("question_mark", "?")]:
            app.post_message(events.Key(key, character))
        await wait_for(pilot, lambda: app.chat_screen.prompt.text == "going?")
        assert app.screen is app.chat_screen


async def test_it_opens_while_a_model_is_loaded_and_closes_without_one(folder: Path) -> None:
    app = make_app(with_model=False)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await wait_for(pilot, lambda: app.chat_screen.state.is_open and app.chat_screen.prompt.has_focus)
        screen = app.chat_screen
        glass = await opened(pilot, screen)
        await wait_for(pilot, lambda: "Nothing was said yet" in body(glass))
        await pilot.press("f12")
        await wait_for(pilot, lambda: screen.prompt.has_focus and not glass.is_open)


async def test_it_opens_while_a_reply_is_written(folder: Path) -> None:
    async with real_app(folder / "endless.gguf", chosen(max_tokens=4000, n_ctx=4096)) as (pilot, screen):
        screen.prompt.put("Go on")
        await pilot.press("enter")
        await sees(pilot, "on and on")
        glass = await opened(pilot, screen, ViewName.ATTENTION)
        screen.action_stop()
        await wait_for(pilot, lambda: screen.state.is_idle)
        await wait_for(pilot, lambda: shown_text(glass, "answer") == screen.state.turns[-1].text)
        await wait_for(pilot, lambda: "heads 1 to" in body(glass))


SERVED = {
    ViewName.TOKENS: "its number is not told",
    ViewName.NEXT: "the model",
    ViewName.WINDOW: "does not tell what is in",
    ViewName.ATTENTION: "does not tell the tokens' numbers",
    ViewName.LAYERS: "does not tell the tokens' numbers",
    ViewName.VECTORS: "does not tell the tokens' numbers",
    ViewName.BRANCHES: "1 answer to this question",
}


async def test_a_server_feeds_the_views_as_far_as_its_data_goes(tmp_path: Path, folder: Path) -> None:
    with llama_server(folder / "sky.gguf", tmp_path / "log") as url:
        settings = chosen(temperature=0.0)
        settings.servers["mine"] = ServerSettings(base_url=url)
        async with real_app("mine:tiny", settings) as (pilot, screen):
            glass = await opened(pilot, screen)
            await ask(pilot, screen, "Why up there?")
            await wait_for(pilot, lambda: shown_text(glass, "answer") == "The sky is blue.")
            assert all(token.measured for token in glass.tokens if token.part == "answer")
            await pilot.press("f12")
            for view, words in SERVED.items():
                await pilot.press(VIEW_KEYS[view])
                await wait_for(pilot, lambda words=words: words in body(glass), f"{view}: {words}")


async def test_a_server_without_probabilities_leaves_reasons() -> None:
    with FakeServer() as server:
        settings = chosen(temperature=0.0)
        settings.servers["mine"] = ServerSettings(base_url=server.url)
        async with real_app("mine:tiny", settings) as (pilot, screen):
            glass = await opened(pilot, screen)
            server.answers.append(said("The", " sky"))
            await ask(pilot, screen, "Why up there?")
            await pilot.press("f12")
            await wait_for(pilot, lambda: "how this text is cut into tokens is not told" in body(glass))
            assert str(glass.query_one("#legend", Static).content).startswith("0 tokens")
            await pilot.press("2")
            await wait_for(pilot, lambda: "probabilities of these tokens are not told" in body(glass))


async def test_quitting_with_it_open_ends_well(folder: Path) -> None:
    async with real_app(folder / "endless.gguf", chosen(max_tokens=3000, n_ctx=4096)) as (pilot, screen):
        glass = await opened(pilot, screen, ViewName.ATTENTION)
        screen.prompt.focus()
        screen.prompt.put("Go on")
        await pilot.press("enter")
        await wait_for(pilot, lambda: sum(token.part == "answer" for token in glass.tokens) > 5)
        await pilot.press("ctrl+q")
        await wait_for(pilot, lambda: not pilot.app.is_running)
    assert pilot.app.return_code in (0, None)


def test_a_text_that_grows_is_laid_out_as_if_it_were_new() -> None:
    pieces = [" a", "bc", " defgh", "↵\n", "x" * 11, " ", "語", "  ", "↵\n↵\n", "yyyy", ".", " 日本", "", "⟨F0⟩"]
    chance = random.Random(0)
    for _ in range(3_000):
        texts = chance.choices(pieces, k=chance.randrange(30))
        n_same, width = chance.randint(0, len(texts)), chance.choice([8, 9, 12, 20])
        old = wrapped([*texts[:n_same], *chance.choices(pieces, k=chance.randrange(4))], width)
        assert wrapped(texts, width, unmoved(old, texts[:n_same])) == wrapped(texts, width)


@pytest.mark.parametrize("theme", ["midnight", "paper"])
async def test_what_the_template_added_can_be_read_in_dark_and_light(folder: Path, theme: str) -> None:
    async with real_app(folder / "sky.gguf") as (pilot, screen):
        pilot.app.theme = theme
        glass = await opened(pilot, screen)
        view = glass.query_one(TokenView)
        page = view.background_colors[1]
        for kind in ("template", "special"):
            style = view.get_component_rich_style(f"tokens--{kind}", partial=True)
            assert style.color is not None
            letter = style.color.get_truecolor()
            brightness = sum(letter) / 3
            assert abs(brightness - sum(page.rgb) / 3) > 60, (kind, letter, page)
