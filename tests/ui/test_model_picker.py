"""A model is chosen from what is here, or by its path."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

import pytest
from support.fake_server import Answer, FakeServer
from support.waiting import wait_for
from textual.app import App
from textual.events import Paste
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from chatterm.address import Address, RemoteModel
from chatterm.engine.connection import ListedModel
from chatterm.engine.listing import Listing
from chatterm.engine.servers import find
from chatterm.errors import ServerUnreachable
from chatterm.library import Library, LocalModel
from chatterm.settings import ServerSettings, Settings
from chatterm.ui.screens.model_picker import ModelPicker, RemoteModels

MODELS = [
    LocalModel(Path("/m/Qwen3-0.6B-Q8_0.gguf"), "Qwen3-0.6B", "unsloth/Qwen3-0.6B-GGUF", "Q8_0", 639_000_000,
               "Hugging Face cache"),
    LocalModel(Path("/m/Llama-3.2-3B-Q4_K_M.gguf"), "Llama-3.2-3B", "", "Q4_K_M", 2_020_000_000, "folder"),
    LocalModel(Path("/m/Llama-3.2-3B-[b]Q8_0.gguf"), "Llama-3.2-3B-[b]", "", "Q8_0", 3_420_000_000, "folder"),
]  # fmt: skip


class Bare(App[None]):
    def __init__(
        self,
        models: Sequence[LocalModel] | Callable[[], Sequence[LocalModel]],
        current: str = "",
        remote: RemoteModels | None = None,
    ) -> None:
        super().__init__()
        self.animation_level = "none"
        self.given: list[Address | None] = []
        self.picker = ModelPicker(models, current, remote)

    def on_mount(self) -> None:
        self.push_screen(self.picker, self.given.append)

    @property
    def names(self) -> list[str]:
        options = self.picker.query_one(OptionList).options
        return [str(option.prompt).splitlines()[0].strip(" ●") for option in options]


async def listed(pilot: Pilot[None], app: Bare, n: int) -> None:
    def are_drawn() -> bool:
        return app.picker.found is not None and len(app.names) == n == app.picker.query_one(OptionList).size.height / 2

    await wait_for(pilot, are_drawn, f"{n} models are listed")


async def test_models_are_listed_with_what_is_known_and_the_current_one_is_marked():
    app = Bare(MODELS, "/m/Llama-3.2-3B-Q4_K_M.gguf")
    async with app.run_test() as pilot:
        await listed(pilot, app, 3)
        options = app.picker.query_one(OptionList)
        await wait_for(pilot, lambda: options.highlighted == 1)
        lines = [str(option.prompt) for option in options.options]
        assert lines[0] == "  Qwen3-0.6B\n  Q8_0 · 639 MB · unsloth/Qwen3-0.6B-GGUF · Hugging Face cache"
        assert lines[1] == "● Llama-3.2-3B\n  Q4_K_M · 2.0 GB · /m · folder"
        assert lines[2].startswith("  Llama-3.2-3B-[b]\n")


async def test_typing_narrows_and_enter_chooses():
    app = Bare(MODELS)
    async with app.run_test() as pilot:
        await listed(pilot, app, 3)
        await pilot.press(*"llama q8")
        await listed(pilot, app, 1)
        assert app.names == ["Llama-3.2-3B-[b]"]
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.given)
    assert app.given == [MODELS[2].path]


async def test_enter_right_behind_the_letters_takes_what_they_name():
    gate = threading.Event()

    def slowly() -> Sequence[LocalModel]:
        gate.wait(20)
        return MODELS

    app = Bare(slowly)
    async with app.run_test() as pilot:
        await pilot.press(*"q8_0 [b", "enter")
        gate.set()
        await wait_for(pilot, lambda: app.given == [MODELS[2].path])


async def test_leaving_while_models_are_looked_for_does_no_harm():
    gate = threading.Event()

    def slowly() -> Sequence[LocalModel]:
        gate.wait(20)
        return MODELS

    app = Bare(slowly)
    async with app.run_test() as pilot:
        await pilot.press(*"q8", "escape")
        gate.set()
        await wait_for(pilot, lambda: app.given == [None])
        await app.workers.wait_for_complete()


async def test_arrow_keys_move_while_typing():
    app = Bare(MODELS)
    async with app.run_test() as pilot:
        await listed(pilot, app, 3)
        await pilot.press("down", "down", "up", "enter")
        await wait_for(pilot, lambda: app.given)
    assert app.given == [MODELS[1].path]


async def test_click_chooses():
    app = Bare(MODELS)
    async with app.run_test() as pilot:
        await listed(pilot, app, 3)
        await pilot.click(OptionList, offset=(4, 2))
        await wait_for(pilot, lambda: app.given)
    assert app.given == [MODELS[1].path]


async def test_escape_chooses_none():
    app = Bare(MODELS)
    async with app.run_test() as pilot:
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.given)
    assert app.given == [None]


@pytest.mark.parametrize("dimensions", [(80, 24), (120, 36)])
async def test_without_any_model_it_says_how_to_get_one(dimensions: tuple[int, int]):
    app = Bare([])
    async with app.run_test(size=dimensions) as pilot:
        empty = app.picker.query_one("#empty")
        await wait_for(pilot, lambda: "chatterm models pull" in str(empty.render()))
        assert "no model on this machine" in str(empty.render())
        assert empty.region.bottom < dimensions[1]
        await pilot.press("enter")
        assert app.given == []


async def test_when_nothing_matches_it_says_so():
    app = Bare(MODELS)
    async with app.run_test() as pilot:
        await listed(pilot, app, 3)
        await pilot.press(*"mistral", "enter")
        await wait_for(pilot, lambda: "No model matches" in str(app.picker.query_one("#empty").render()))
        assert app.given == []


async def test_path_of_a_file_can_be_typed(tmp_path: Path):
    file = tmp_path / "own [model].gguf"
    file.write_bytes(b"GGUF")
    (tmp_path / "other.txt").write_text("no model")
    app = Bare(MODELS)
    async with app.run_test() as pilot:
        await listed(pilot, app, 3)
        app.post_message(Paste(f"{tmp_path}/"))
        await listed(pilot, app, 1)
        assert app.names == ["own [model]"], "the folder's models are offered"
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.given)
    assert app.given == [file]


@pytest.mark.parametrize("typed", ["~no-such-user", "~no-such-user/x.gguf", "~\x00", "/" + "x" * 5000])
async def test_path_that_leads_nowhere_can_be_typed(typed: str):
    app = Bare(MODELS)
    async with app.run_test() as pilot:
        await listed(pilot, app, 3)
        app.post_message(Paste(typed))
        await wait_for(pilot, lambda: "No model matches" in str(app.picker.query_one("#empty").render()))


async def test_names_of_files_cannot_steer_the_terminal(tmp_path: Path):
    folder = tmp_path / "\x1b[31m"
    folder.mkdir()
    file = folder / "odd\x1b]52;c;aGk=\x07.gguf"
    file.write_bytes(b"GGUF")
    there = Library(Settings().merged({"models": {"folders": [str(folder)]}}), None).local_models()
    for models in ([], there):  # once as a file that is typed, once as a model that is here
        app = Bare(models)
        async with app.run_test() as pilot:
            app.picker.query_one(Input).value = str(file)
            await wait_for(pilot, lambda app=app: app.names == ["odd\ufffd]52;c;aGk=\ufffd"])
            assert "\x1b" not in str(app.picker.query_one(OptionList).options[0].prompt)
            await pilot.press("enter")
            await wait_for(pilot, lambda app=app: app.given == [file])


async def test_models_are_listed_in_a_thread_after_the_screen_is_drawn():
    go_on = threading.Event()

    def slow() -> Sequence[LocalModel]:
        assert go_on.wait(30)
        return MODELS

    app = Bare(slow)
    async with app.run_test() as pilot:
        await wait_for(pilot, lambda: app.screen is app.picker and app.focused)
        await pilot.press(*"qwen")
        assert "Looking for models" in str(app.picker.query_one("#empty").render())
        go_on.set()
        await listed(pilot, app, 1)
        assert app.names == ["Qwen3-0.6B"], "what was typed meanwhile counts"


def server_named(name: str, *models: str, problem: str = "") -> Listing:
    """What a server has, or why nothing is known."""
    server = find(name, {})
    assert server
    error = ServerUnreachable(problem, "Start it.") if problem else None
    return Listing(server, tuple(ListedModel(model, n_ctx=8192) for model in models), error=error)


async def test_models_of_servers_stand_below_the_others_and_can_be_chosen():
    async def remote() -> AsyncGenerator[Listing, None]:
        yield server_named("ollama", "qwen3:4b")
        yield server_named("openai", "gpt-5", "gpt-5-mini")

    app = Bare(MODELS, "openai:gpt-5", remote)
    async with app.run_test(size=(100, 40)) as pilot:
        await listed(pilot, app, 6)
        assert app.names[3:] == ["ollama:qwen3:4b", "openai:gpt-5", "openai:gpt-5-mini"]
        lines = [str(option.prompt).splitlines()[1].strip() for option in app.picker.query_one(OptionList).options[3:5]]
        assert lines == [
            "127.0.0.1:11434 · 8,192 tokens · a server on this machine",
            "api.openai.com · 8,192 tokens · what you write is sent there",
        ]
        assert str(app.picker.query_one(OptionList).options[4].prompt).startswith("● openai:gpt-5")
        await pilot.press(*"openai mini")
        await listed(pilot, app, 1)
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.given)
    assert app.given == [RemoteModel("openai", "gpt-5-mini")]


async def test_a_slow_server_keeps_nobody_waiting_and_the_cursor_stays_when_it_answers():
    gate = asyncio.Event()

    async def remote() -> AsyncGenerator[Listing, None]:
        await gate.wait()
        yield server_named("ollama", "qwen3:4b")

    app = Bare(MODELS, "", remote)
    async with app.run_test(size=(100, 40)) as pilot:
        await listed(pilot, app, 3)
        await pilot.press("down", "down")
        gate.set()
        await listed(pilot, app, 4)
        assert app.picker.query_one(OptionList).highlighted == 2
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.given)
    assert app.given == [MODELS[2].path]


async def test_leaving_asks_no_server_further():
    closed = asyncio.Event()

    async def remote() -> AsyncGenerator[Listing, None]:
        try:
            await asyncio.Event().wait()
            yield server_named("ollama")
        finally:
            closed.set()

    app = Bare(MODELS, "", remote)
    async with app.run_test() as pilot:
        await listed(pilot, app, 3)
        await pilot.press("escape")
        await wait_for(pilot, closed.is_set)
    assert app.given == [None]


async def test_a_server_that_fails_is_named_in_a_quiet_line():
    async def remote() -> AsyncGenerator[Listing, None]:
        yield server_named("ollama", problem="Nothing answers [b]there[/].")
        yield server_named("openai", "gpt-5")

    app = Bare(MODELS, "", remote)
    async with app.run_test(size=(100, 40)) as pilot:
        await listed(pilot, app, 4)
        line = app.picker.query_one("#servers")
        assert str(line.render()) == "ollama: Nothing answers [b]there[/]."
        assert line.display


async def test_real_servers_are_asked_in_the_background():
    with FakeServer() as good, FakeServer() as bad:
        bad.models_answer = Answer(status=200, body=b"<html>", headers={"Content-Type": "text/html"})
        library = Library(
            Settings(servers={"bad": ServerSettings(base_url=bad.url), "good": ServerSettings(base_url=good.url)}), None
        )
        app = Bare([], "", library.remote_models)
        async with app.run_test(size=(100, 40)) as pilot:
            await listed(pilot, app, 1)
            await wait_for(pilot, lambda: "bad: What answers" in str(app.picker.query_one("#servers").render()))
            await pilot.press("enter")
            await wait_for(pilot, lambda: app.given == [RemoteModel("good", "tiny")])
