"""Promises of the models screen: find a model, see whether it fits, download it and chat, by keys and by mouse.

The Hub is a small one on this machine, asked by the real client; the queue is the real one; the model is a real GGUF.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from support.app import make_app
from support.fake_hub import FakeHub
from support.seen import click_on, seen, sees
from support.tiny_models import write_model
from support.waiting import wait_for
from textual.pilot import Pilot

from chatterm.downloads import DownloadState
from chatterm.errors import NoNetwork
from chatterm.gguf import GgufHeader
from chatterm.hub.catalogue import Found, OfferedModel, Query
from chatterm.library import Library, LocalModel
from chatterm.settings import ModelsSettings, Settings
from chatterm.ui.app import ChatApp
from chatterm.ui.screens.models.details import DetailsScreen
from chatterm.ui.screens.models.hub import HubPane
from chatterm.ui.screens.models.repository import RepositoryScreen
from chatterm.ui.screens.models.screen import ModelsScreen
from chatterm.ui.widgets.table import Table

SIZES = [(80, 24), (120, 36), (200, 50)]
TINY = "lab/Tiny-Chat-GGUF"
RECOMMENDED = "Qwen/Qwen2.5-0.5B-Instruct-GGUF"


@pytest.fixture(scope="session")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small model, and large enough to be held in the middle."""
    return write_model(tmp_path_factory.mktemp("gguf") / "tiny.gguf", name="Tiny Chat").read_bytes()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, gguf: bytes) -> Iterator[FakeHub]:
    """A Hub with a repository of three files, one of them much too big, another one, and a gated one."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    with FakeHub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        about = {"architecture": "llama", "parameters": 4_000_000, "context": 4096, "licence": "mit"}
        server.add(TINY, "Tiny-Chat-Q4_K_M.gguf", gguf, downloads=900, **about)
        server.add(TINY, "Tiny-Chat-Q8_0.gguf", gguf + b"8")
        server.add(TINY, "Tiny-Chat-F16.gguf", gguf + b"16", size=10**13)
        server.add("lab/Other-GGUF", "Other-Q4_K_M.gguf", gguf + b"other", downloads=5000, **about)
        server.add("lab/Gated-GGUF", "Gated-Q4_K_M.gguf", gguf + b"gated", downloads=50, is_gated=True, **about)
        server.add(RECOMMENDED, "qwen2.5-0.5b-instruct-q4_k_m.gguf", gguf + b"q", downloads=700, **about)
        yield server


@asynccontextmanager
async def opened(
    app: ChatApp | None = None, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[tuple[Pilot[Any], ChatApp]]:
    """The app, when it can be used."""
    app = app or make_app("The answer.")
    async with app.run_test(size=size, notifications=True) as pilot:
        await wait_for(pilot, lambda: app.chat_screen.state.can_send, "the model is ready")
        await wait_for(pilot, lambda: app._desk and app._desk._downloads._listeners, "the downloads are followed")
        yield pilot, app


def notices(app: ChatApp) -> str:
    """All that was said in toasts."""
    return "\n".join(f"{notice.title}: {notice.message}" for notice in app._notifications)


def downloads(app: ChatApp) -> list[DownloadState]:
    """What the queue's downloads do."""
    return [each.state for each in app.desk._downloads.all]


async def loaded(pilot: Pilot[Any], app: ChatApp, name: str) -> None:
    """Wait until the chat is back, with this model."""
    await wait_for(pilot, lambda: app.screen is app.chat_screen, "back in the chat")
    await wait_for(
        pilot, lambda: app.chat_screen.chat.model and app.chat_screen.chat.model.name == name, f"{name} loads"
    )
    await wait_for(pilot, lambda: app.chat_screen.state.can_send)


async def on_page(pilot: Pilot[Any], app: ChatApp, page: str) -> None:
    await wait_for(pilot, lambda: isinstance(app.screen, ModelsScreen) and app.screen.page == page, f"page {page}")
    await pilot.pause()


async def search(pilot: Pilot[Any], app: ChatApp, words: str, shows: str) -> None:
    """Open the Hub's page, and look for something."""
    await pilot.press("f10")
    await wait_for(pilot, lambda: isinstance(app.screen, ModelsScreen))
    app.screen.open_page("hub")
    await wait_for(pilot, lambda: app.screen.query_one(HubPane).words.has_focus)
    await pilot.press(*words)
    await sees(pilot, shows)


async def test_search_files_download_chat_by_keys(hub: FakeHub):
    async with opened() as (pilot, app):
        await pilot.press("f10")
        await on_page(pilot, app, "recommended")
        await pilot.press("ctrl+pagedown")
        await sees(pilot, "lab/Other-GGUF")
        await pilot.press(*"tiny chat", "enter")
        screen = await sees(pilot, r"F16 .*too big")
        assert "● fits" in screen
        assert "about" in screen or "4 bits a weight" in screen
        await pilot.press("enter")
        await loaded(pilot, app, "Tiny-Chat-Q4_K_M")
        app.chat_screen.prompt.focus()
        await pilot.press(*"Hi", "enter")
        await sees(pilot, r"The answer\.")


async def test_search_files_download_chat_by_mouse(hub: FakeHub):
    app = make_app("The answer.")
    async with opened(app) as (pilot, app):
        await click_on(pilot, "Instruct ·")  # the model's name in the status row
        await sees(pilot, "no model on this machine")  # else the panel grows while it is clicked on
        await click_on(pilot, "models  F10")
        await on_page(pilot, app, "recommended")
        await click_on(pilot, "Hub")
        await click_on(pilot, "lab/Tiny-Chat-GGUF")
        await sees(pilot, r"F16 .*too big")
        await click_on(pilot, "Q8_0")
        await sees(pilot, "Tiny-Chat-Q8_0 ·")
        assert not downloads(app), "the first click looks, it fetches nothing"
        await click_on(pilot, "download, then chat")
        await loaded(pilot, app, "Tiny-Chat-Q8_0")


async def test_a_newcomers_first_download_is_three_keys(hub: FakeHub, monkeypatch: pytest.MonkeyPatch):
    """The cursor begins at the largest that fits; here only the smallest does."""
    monkeypatch.setattr("chatterm.memory.free_bytes", lambda: 1_200_000_000)
    async with opened() as (pilot, app):
        await pilot.press("f10")
        await sees(pilot, r"Qwen2\.5-0\.5B-Instruct +1\.0 GB +● fits")
        await pilot.press("enter")
        await sees(pilot, "Q4_K_M .*fits")
        await pilot.press("enter")
        await loaded(pilot, app, "qwen2.5-0.5b-instruct-q4_k_m")


async def test_it_opens_at_what_is_here_for_somebody_who_has_models(tmp_path: Path, gguf: bytes):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine-Q8_0.gguf").write_bytes(gguf)
    settings = Settings(models=ModelsSettings(folders=(str(tmp_path / "own"),)))
    async with opened(make_app(settings=settings)) as (pilot, app):
        await wait_for(pilot, lambda: app._desk is not None and app._desk._has_others)
        await pilot.press("f10")
        await sees(pilot, r"mine-Q8_0 +Q8_0 .*fits +own/")
        await pilot.press("enter")
        await loaded(pilot, app, "mine-Q8_0")


async def test_a_file_that_is_too_big_is_fetched_only_when_that_is_wanted_twice(hub: FakeHub):
    async with opened() as (pilot, app):
        await search(pilot, app, "tiny", "Tiny-Chat")
        await pilot.press("enter")
        await sees(pilot, r"F16 .*too big")
        await pilot.press("end", "enter")
        await sees(pilot, "Enter again")
        assert not downloads(app)
        hub.faults.hold_after = 1
        await pilot.press("enter")
        await on_page(pilot, app, "downloads")
        await wait_for(pilot, hub.faults.reached.is_set)


async def test_a_running_download_is_in_the_status_row_and_a_click_leads_to_it(hub: FakeHub, gguf: bytes):
    async with opened() as (pilot, app):
        await search(pilot, app, "tiny", "Tiny-Chat")
        await pilot.press("enter")
        await sees(pilot, r"F16 .*too big")
        hub.faults.hold_after = len(gguf) // 2
        await pilot.press("space")
        await wait_for(pilot, hub.faults.reached.is_set)
        await sees(pilot, r"Downloads ↓ \d+ %")
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is app.chat_screen)
        await sees(pilot, r"↓ \d+ %")
        await pilot.press(*"Hi", "enter")
        await sees(pilot, r"The answer\.")
        await sees(pilot, r"ready +↓ \d+ %")  # else the row moves while it is clicked on
        await click_on(pilot, "↓ ")
        await on_page(pilot, app, "downloads")
        hub.faults.release.set()
        await wait_for(pilot, lambda: "Tiny-Chat-Q4_K_M is here: ctrl+l chooses it" in notices(app))
        await sees(pilot, "● here")
        assert app.chat_screen.chat.model.name == "Tiny 4B Instruct", "only the download was wanted"
        await pilot.press("enter")
        await loaded(pilot, app, "Tiny-Chat-Q4_K_M")


async def half_way(pilot: Pilot[Any], app: ChatApp, hub: FakeHub, gguf: bytes) -> None:
    """Begin a download that is held in the middle, and look at it."""
    hub.faults.hold_after = len(gguf) // 2
    app.desk._downloads.add(TINY, "Tiny-Chat-Q4_K_M.gguf")
    app.action_downloads()
    await wait_for(pilot, hub.faults.reached.is_set)
    await sees(pilot, r"[1-9]\d* %")


async def test_pause_and_resume_by_keys(hub: FakeHub, gguf: bytes):
    async with opened() as (pilot, app):
        await half_way(pilot, app, hub, gguf)
        await sees(pilot, "space pause")
        await pilot.press("space")
        await sees(pilot, "paused")
        await sees(pilot, "space resume")
        await pilot.press("space")
        hub.faults.release.set()
        await sees(pilot, "● here")


async def test_what_arrived_is_not_thrown_away_by_one_key(hub: FakeHub, gguf: bytes):
    async with opened() as (pilot, app):
        await half_way(pilot, app, hub, gguf)
        await pilot.press("x")
        await sees(pilot, "Press x again")
        assert downloads(app)
        await pilot.press("x")
        await sees(pilot, "Nothing is being downloaded")
        assert not downloads(app)


async def test_pause_resume_and_forget_by_mouse(hub: FakeHub, gguf: bytes):
    async with opened() as (pilot, app):
        await half_way(pilot, app, hub, gguf)
        await click_on(pilot, "space pause")
        await click_on(pilot, "space resume")
        hub.faults.release.set()
        await sees(pilot, "● here")
        await click_on(pilot, "take out of the list")
        await sees(pilot, "Nothing is being downloaded")
        await click_on(pilot, "close")
        await wait_for(pilot, lambda: app.screen is app.chat_screen)


async def test_a_download_that_fails_says_why_and_what_to_do(hub: FakeHub):
    async with opened() as (pilot, app):
        app.desk._downloads.add("lab/Gated-GGUF", "Gated-Q4_K_M.gguf")
        await sees(pilot, "↓ failed")
        assert "A licence must be accepted" in notices(app)
        await click_on(pilot, "↓ failed")
        screen = await sees(pilot, "A licence must be accepted")
        assert "HF_TOKEN" in screen
        await sees(pilot, "space try again")


async def test_an_unfinished_download_goes_on_at_the_next_start(hub: FakeHub, gguf: bytes):
    hub.faults.hold_after = len(gguf) // 2
    async with opened() as (pilot, app):
        app.desk._downloads.add(TINY, "Tiny-Chat-Q4_K_M.gguf")
        await wait_for(pilot, hub.faults.reached.is_set)
    hub.faults.release.set()
    async with opened() as (pilot, app):
        await wait_for(pilot, lambda: "Tiny-Chat-Q4_K_M is here" in notices(app))


async def test_a_model_that_was_picked_meanwhile_is_not_taken_away_by_a_download(
    hub: FakeHub, gguf: bytes, tmp_path: Path
):
    (tmp_path / "mine.gguf").write_bytes(gguf)
    async with opened() as (pilot, app):
        await search(pilot, app, "tiny", "Tiny-Chat")
        await pilot.press("enter")
        await sees(pilot, r"F16 .*too big")
        hub.faults.hold_after = len(gguf) // 2
        await pilot.press("enter")
        await wait_for(pilot, hub.faults.reached.is_set)
        await pilot.press("escape", "f4")
        await sees(pilot, "Choose a model")
        await pilot.press(*str(tmp_path / "mine.gguf"))
        await pilot.press("enter")
        await loaded(pilot, app, "mine")
        hub.faults.release.set()
        await wait_for(pilot, lambda: "Tiny-Chat-Q4_K_M is here" in notices(app))
        assert app.chat_screen.chat.model.name == "mine"


async def test_offline_says_so_and_what_is_here_still_works(gguf: bytes, tmp_path: Path):
    (tmp_path / "mine-Q8_0.gguf").write_bytes(gguf)
    settings = Settings(models=ModelsSettings(folders=(str(tmp_path),)))
    async with opened(make_app(settings=settings)) as (pilot, app):
        await search(pilot, app, "", "Offline mode is set")
        await pilot.press("enter")
        await click_on(pilot, "Here")
        await sees(pilot, "mine-Q8_0")


@pytest.mark.parametrize(("status", "words"), [(429, "The Hub is busy"), (500, "The Hub is busy")])
async def test_a_hub_that_refuses_is_named_and_can_be_asked_again(hub: FakeHub, status: int, words: str):
    hub.faults.refuses_always = {"/api/models": status}
    async with opened() as (pilot, app):
        await search(pilot, app, "", words)
        hub.faults.refuses_always = {}
        await pilot.press("f5")
        await sees(pilot, "lab/Other-GGUF")


async def test_a_hub_that_hangs_is_said_and_leaving_does_no_harm(hub: FakeHub):
    hub.faults.hangs = True
    async with opened() as (pilot, app):
        await search(pilot, app, "", r"searching …|no answer for \d+ s")
        await pilot.press("ctrl+pageup")
        await on_page(pilot, app, "recommended")
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is app.chat_screen)
        await pilot.press(*"Hi", "enter")
        await sees(pilot, r"The answer\.")


async def test_no_result_says_what_to_try(hub: FakeHub):
    async with opened() as (pilot, app):
        await search(pilot, app, "zzzz", "Nothing on the Hub matches")


async def test_gated_repositories_are_marked_and_say_what_to_do(hub: FakeHub):
    async with opened() as (pilot, app):
        await search(pilot, app, "gated", r"lab/Gated-GGUF .*gated")
        await pilot.press("enter")
        screen = await sees(pilot, "unknown")
        assert "HF_TOKEN" in screen


async def test_a_repository_with_several_models_names_them(hub: FakeHub, gguf: bytes):
    hub.add(TINY, "Tiny-Code-Q4_K_M.gguf", gguf + b"code")
    async with opened() as (pilot, app):
        await search(pilot, app, "tiny", "Tiny-Chat")
        await pilot.press("enter")
        await sees(pilot, r"│ Tiny-Chat-Q4_K_M .*fits(.|\n)*│ Tiny-Code-Q4_K_M .*fits")


async def test_sorting_and_filters_are_reached_by_tab_and_counted_at_once(hub: FakeHub):
    hub.repos["lab/Gated-GGUF"].likes = 77
    hub.repos[TINY].licence = "apache-2.0"
    async with opened() as (pilot, app):
        await search(pilot, app, "", r"lab/Other-GGUF(.|\n)*lab/Gated-GGUF")
        await pilot.press("tab", "enter", "down", "enter")
        await sees(pilot, r"lab/Gated-GGUF(.|\n)*lab/Other-GGUF")
        await click_on(pilot, "any licence")
        await click_on(pilot, "apache-2.0")
        await wait_for(pilot, lambda: "lab/Other-GGUF" not in seen(app))
        assert TINY in seen(app)


class SlowLibrary(Library):
    """Answers each search when it is told to."""

    def __init__(self) -> None:
        super().__init__(Settings(), None)
        self.gates: dict[str, asyncio.Future[list[Found]]] = {}

    async def search(self, query: Query) -> list[Found]:
        return await asyncio.shield(self.gates.setdefault(query.words, asyncio.get_running_loop().create_future()))


async def test_an_answer_that_comes_late_is_dropped():
    library = SlowLibrary()
    app = make_app()
    app._make_library = lambda: library
    async with opened(app) as (pilot, app):
        await search(pilot, app, "old", "searching")
        await wait_for(pilot, lambda: "old" in library.gates)
        await pilot.press(*"er")
        await wait_for(pilot, lambda: "older" in library.gates)
        library.gates["older"].set_result([Found("lab/Newer")])
        await sees(pilot, "lab/Newer")
        library.gates["old"].set_result([Found("lab/Stale")])
        await pilot.press(*"st")
        await wait_for(pilot, lambda: "olderst" in library.gates)
        assert "lab/Stale" not in seen(app)
        await pilot.press("enter", "escape")
        await wait_for(pilot, lambda: app.screen is app.chat_screen)
        library.gates["olderst"].set_exception(NoNetwork("Too late."))
        await pilot.pause()
        assert app.screen is app.chat_screen


async def test_enter_right_behind_the_words_opens_what_they_find():
    library = SlowLibrary()
    app = make_app()
    app._make_library = lambda: library
    async with opened(app) as (pilot, app):
        await search(pilot, app, "new", "searching")
        await pilot.press("enter")
        await wait_for(pilot, lambda: "new" in library.gates)
        library.gates["new"].set_result([Found("lab/Newer")])
        await sees(pilot, r"─ lab/Newer ─")


@pytest.fixture
def two_here(tmp_path: Path, gguf: bytes) -> Settings:
    """Two models in a folder."""
    (tmp_path / "own").mkdir()
    for name in ("first-Q8_0.gguf", "second-Q4_K_M.gguf"):
        (tmp_path / "own" / name).write_bytes(gguf)
    return Settings(models=ModelsSettings(folders=(str(tmp_path / "own"),)))


async def test_a_deleted_model_comes_back_until_the_app_closes(two_here: Settings, tmp_path: Path):
    async with opened(make_app(settings=two_here)) as (pilot, app):
        app.desk.open("here")
        await sees(pilot, r"second-Q4_K_M +Q4_K_M")
        await pilot.press("home", "d")
        await sees(pilot, "Deleted first-Q8_0")
        await wait_for(pilot, lambda: not re.search("first-Q8_0 +Q8_0", seen(app)))
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is app.chat_screen)
        app.desk.open("here")
        await sees(pilot, r"second-Q4_K_M +Q4_K_M")
        await click_on(pilot, "bring it back")
        await sees(pilot, r"first-Q8_0 +Q8_0")
        assert (tmp_path / "own" / "first-Q8_0.gguf").is_file()
        await pilot.press("end", "d")
        await sees(pilot, "Deleted second-Q4_K_M")
    assert [file.name for file in (tmp_path / "own").iterdir()] == ["first-Q8_0.gguf"], (
        "closing removes what was deleted"
    )


async def test_a_models_own_settings_count_for_what_it_needs(two_here: Settings):
    settings = structs.replace(two_here, for_model={"first-Q8_0.gguf": {"load": {"n_ctx": 768}}})
    async with opened(make_app(settings=settings)) as (pilot, app):
        app.desk.open("here")
        await sees(pilot, r"first-Q8_0 .*fits(.|\n)*second-Q4_K_M .*fits")
        await pilot.press("home")
        await sees(pilot, "with 768 tokens")
        await pilot.press("down")
        await sees(pilot, "with 4,096 tokens")


async def test_the_model_that_answers_is_not_deleted(two_here: Settings, tmp_path: Path):
    app = make_app(settings=two_here, with_model=False, model="second")
    async with opened(app) as (pilot, app):
        app.desk.open("here")
        await sees(pilot, "● second-Q4_K_M")
        await pilot.press("d")
        await wait_for(pilot, lambda: "It answers now" in notices(app))
    assert (tmp_path / "own" / "second-Q4_K_M.gguf").is_file()


async def test_the_list_says_which_model_answers_when_another_one_arrives(
    hub: FakeHub, two_here: Settings, gguf: bytes
) -> None:
    async with opened(make_app(settings=two_here, with_model=False, model="second")) as (pilot, app):
        await search(pilot, app, "tiny", "Tiny-Chat")
        await pilot.press("enter")
        await sees(pilot, r"F16 .*too big")
        hub.faults.hold_after = len(gguf) // 2
        await pilot.press("enter")
        await on_page(pilot, app, "downloads")
        await wait_for(pilot, hub.faults.reached.is_set)
        app.desk.open("here")
        await sees(pilot, "● second-Q4_K_M")
        hub.faults.release.set()
        screen = await sees(pilot, "● Tiny-Chat-Q4_K_M")
        assert "● second-Q4_K_M" not in screen
        await pilot.press("end", "d")
        await wait_for(pilot, lambda: "It answers now" in notices(app))
        await pilot.press("up", "d")
        await sees(pilot, "Deleted second-Q4_K_M")


async def test_details_tell_what_the_file_says_and_how_it_was_used(two_here: Settings):
    app = make_app("The answer.", settings=two_here, with_model=False, model="second")
    async with opened(app, size=(120, 50)) as (pilot, app):
        await pilot.press(*"What is blue?", "enter")
        await sees(pilot, r"The answer\.")
        await wait_for(pilot, lambda: app.chat_screen.state.can_send)
        app.desk.open("here")
        await sees(pilot, r"● second-Q4_K_M +Q4_K_M")
        await pilot.press("i")
        screen = await sees(pilot, "Memory over context length")
        assert "Architecture   llama" in screen
        assert "Trained for    4,096 tokens" in screen
        assert "█" in screen
        screen = await sees(pilot, "On this machine so far")
        assert "What is blue?" in screen
        await click_on(pilot, "esc back")
        await wait_for(pilot, lambda: isinstance(app.screen, ModelsScreen))


@pytest.mark.parametrize("size", SIZES)
async def test_nothing_is_cut_off(hub: FakeHub, size: tuple[int, int]):
    async with opened(size=size) as (pilot, app):
        await search(pilot, app, "", "lab/Other-GGUF")
        for page, words in {"recommended": "Licence", "hub": "trained for", "downloads": "Nothing is"}.items():
            app.screen.open_page(page)  # type: ignore[arg-type]
            screen = await sees(pilot, words)
            lines = screen.splitlines()
            assert len(lines) == size[1]
            assert any("esc close" in line for line in lines), "the keys are in sight"
            assert "╰─" in lines[-1 - max(0, (size[1] - 46) // 2)], "and the frame is whole"


async def test_pages_that_are_turned_quickly_end_where_they_should(hub: FakeHub):
    async with opened() as (pilot, app):
        app.desk.open("here")
        await on_page(pilot, app, "here")
        for _ in range(3):
            for _ in range(7):
                app.screen.action_page(1)
            await sees(pilot, "Nothing is being downloaded")
            for _ in range(5):
                app.screen.action_page(1)
            await sees(pilot, "Tutor|no model on this machine")
        assert app.screen.page == "here"


async def test_f10_leads_from_the_picker_to_the_models_screen_and_closes_it():
    async with opened() as (pilot, app):
        await pilot.press("f4")
        await sees(pilot, "Get more models  F10")
        await pilot.press("f10")
        await on_page(pilot, app, "recommended")
        await pilot.press("f10")
        await wait_for(pilot, lambda: app.screen is app.chat_screen)


class HeldLibrary(Library):
    """Lists what is here, at once or when it is told to."""

    def __init__(self) -> None:
        super().__init__(Settings(), None)
        self.may_list, self.is_listing = threading.Event(), threading.Event()
        self.may_list.set()

    def local_models(self) -> list[LocalModel]:
        self.is_listing.set()
        self.may_list.wait()
        return super().local_models()


async def test_details_that_are_opened_meanwhile_do_not_keep_a_chosen_model_from_its_chat(hub: FakeHub):
    library = HeldLibrary()
    app = make_app()
    app._make_library = lambda: library
    async with opened(app) as (pilot, app):
        await search(pilot, app, "tiny", "Tiny-Chat")
        await pilot.press("enter")
        await sees(pilot, r"F16 .*too big")
        await pilot.press("enter")
        await loaded(pilot, app, "Tiny-Chat-Q4_K_M")
        app.desk.open("here")
        await sees(pilot, r"Tiny-Chat-Q4_K_M +Q4_K_M .*fits")
        await pilot.press("ctrl+pagedown", "ctrl+pagedown", *"tiny")
        await sees(pilot, "lab/Tiny-Chat-GGUF")
        await pilot.press("enter")
        await sees(pilot, "it is here")
        library.may_list.clear()
        library.is_listing.clear()
        try:
            await pilot.press("enter")
            await wait_for(pilot, library.is_listing.is_set)
            await pilot.press("ctrl+pageup", "ctrl+pageup", "i")
            await wait_for(pilot, lambda: isinstance(app.screen, DetailsScreen))
        finally:
            library.may_list.set()
        await loaded(pilot, app, "Tiny-Chat-Q4_K_M")


async def test_own_keys_for_the_old_name_still_work():
    async with opened(make_app(settings=Settings(keys={"get_model": "f11"}))) as (pilot, app):
        await pilot.press("f11")
        await on_page(pilot, app, "recommended")


async def test_a_hub_that_answers_at_once_finds_the_keys_in_the_list(hub: FakeHub):
    class AtOnce(Library):
        async def offers(self, repo: str) -> list[OfferedModel]:
            names = ("Q4_K_M", "Q8_0")
            return [OfferedModel(repo, "0" * 40, name, name, "", (f"{name}.gguf",), 1000) for name in names]

        async def header_of(self, model: LocalModel | OfferedModel) -> GgufHeader:
            raise NoNetwork("The Hub cannot be reached.")

    app = make_app("The answer.")
    app._make_library = lambda: AtOnce(Settings(), None)
    async with opened(app) as (pilot, app):
        await search(pilot, app, "", "lab/Other-GGUF")
        await pilot.press("down", "enter")
        await wait_for(pilot, lambda: isinstance(app.screen, RepositoryScreen) and app.screen.query(Table))
        await wait_for(pilot, lambda: app.screen.query_one(Table).has_focus, "the keys go to the list")
        await pilot.press("f5")
        await wait_for(pilot, lambda: app.screen.query_one(Table).has_focus, "and do so when it is asked again")
        await pilot.press("down")
        assert app.screen.query_one(Table).current == "Q8_0.gguf"
