"""Promises of the chat screen, through its keys, with a scripted engine and a real store."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from support.app import make_app, model_file
from support.waiting import wait_for
from textual.pilot import Pilot

from chatterm import paths
from chatterm.address import RemoteModel
from chatterm.conversation import ReplyRecord, Role, TurnState
from chatterm.engine.base import Prompt
from chatterm.engine.scripted import Line, ScriptedEngine
from chatterm.errors import LibraryMissing, PromptTooLong, WorkerDied
from chatterm.events import Prompted, ReplyEvent
from chatterm.settings import ChatSettings, ModelsSettings, Sampling, ServerSettings, Settings
from chatterm.store import Store
from chatterm.ui.app import ChatApp
from chatterm.ui.screens.chat import ChatScreen
from chatterm.ui.screens.settings import SettingsScreen
from chatterm.ui.widgets.model_button import ModelButton


@asynccontextmanager
async def opened(app: ChatApp, size: tuple[int, int] = (120, 36)) -> AsyncIterator[tuple[Pilot[Any], ChatScreen]]:
    """The app, when its store is open."""
    async with app.run_test(size=size, notifications=True) as pilot:
        await wait_for(pilot, lambda: app.chat_screen.state.is_open, "the store opens")
        yield pilot, app.chat_screen


async def ask(pilot: Pilot[Any], screen: ChatScreen, text: str) -> None:
    """Type, send, and wait for the whole reply."""
    n = len(screen.state.turns)
    screen.prompt.put(text)
    await pilot.press("enter")
    await wait_for(pilot, lambda: len(screen.state.turns) == n + 2 and screen.state.is_idle, f"a reply to {text}")


async def begin(pilot: Pilot[Any], screen: ChatScreen, text: str, word: str) -> None:
    """Type, send, and wait until the reply has begun; the engine's gate holds it there."""
    screen.prompt.put(text)
    await pilot.press("enter")
    await wait_for(pilot, lambda: word in said(screen)[-1], f"{word} of the reply to {text}")


def said(screen: ChatScreen) -> list[str]:
    """The texts that the transcript shows."""
    return [getattr(view, "text", view.turn.text) for view in screen.transcript.pages.views]


def notices(app: ChatApp) -> str:
    """All that was said in toasts."""
    return "\n".join(f"{notice.title}: {notice.message}" for notice in app._notifications)


def held() -> ScriptedEngine:
    """An engine whose replies stay open after their first word, until its gate is opened."""
    engine = ScriptedEngine("One two three.", "Four five six.")
    engine.gate = asyncio.Event()
    return engine


def unsure(app: ChatApp) -> ChatApp:
    """An app whose store gives up at once when it is locked."""
    app._open_store = lambda: Store.open(paths.store_file(), timeout_seconds=0.01)
    return app


@contextmanager
def locked_store() -> Iterator[None]:
    """Another program holds the store."""
    other = sqlite3.connect(paths.store_file(), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.close()


async def stored() -> list[tuple[str, str, TurnState]]:
    """What is in the store, of the conversation in which something was said last."""
    store = await Store.open(paths.store_file())
    try:
        latest = await store.latest()
        turns = await store.turns(latest.id) if latest else []
        return [(turn.role.value, turn.text, turn.state) for turn in turns]
    finally:
        await store.close()


async def test_a_question_gets_its_reply() -> None:
    async with opened(make_app("The sky is blue.")) as (pilot, screen):
        await pilot.press(*"Why", "enter")
        await wait_for(pilot, lambda: said(screen) == ["Why", "The sky is blue."])
        assert screen.prompt.text == ""
        assert screen.header.title == "Why"
        await wait_for(pilot, lambda: [c.title for c in screen.sidebar.conversations] == ["Why"])


async def test_tab_goes_to_the_conversation_and_back() -> None:
    async with opened(make_app("Yes.")) as (pilot, screen):
        await wait_for(pilot, lambda: screen.prompt.has_focus)
        await pilot.press("tab")
        await wait_for(pilot, lambda: screen.transcript.has_focus)
        await pilot.press("tab")
        await wait_for(pilot, lambda: screen.prompt.has_focus)


async def test_an_empty_prompt_is_not_sent() -> None:
    engine = ScriptedEngine("No.")
    async with opened(make_app(engine=engine)) as (pilot, screen):
        await pilot.press("space", "enter", "enter")
        await ask(pilot, screen, "Something")
        assert len(engine.prompts) == 1


async def test_stopping_keeps_what_arrived_and_continuing_goes_on() -> None:
    engine = held()
    async with opened(make_app(engine=engine)) as (pilot, screen):
        await begin(pilot, screen, "Count", "One")
        await pilot.press("escape")
        await wait_for(pilot, lambda: screen.state.is_idle)
        assert said(screen) == ["Count", "One"]
        assert screen.state.turns[-1].state is TurnState.STOPPED
        assert screen.status.told.activity == "stopped"
        engine.gate = None
        await pilot.press("ctrl+g")
        await wait_for(pilot, lambda: screen.state.is_idle and screen.state.turns[-1].state is TurnState.FINISHED)
        assert engine.prompts[-1].continues
        assert said(screen)[-1].startswith("One")
        assert len(said(screen)) == 2


async def test_typing_goes_on_while_a_reply_runs_and_messages_queue_in_order() -> None:
    engine = held()
    async with opened(make_app(engine=engine)) as (pilot, screen):
        await begin(pilot, screen, "first", "One")
        await pilot.press(*"second", "enter")
        await wait_for(pilot, lambda: screen.queue.waiting == ("second",))
        await pilot.press(*"third", "enter")
        await wait_for(pilot, lambda: screen.queue.waiting == ("second", "third"))
        await pilot.press(*"draft")
        assert engine.gate
        engine.gate.set()
        await wait_for(pilot, lambda: len(screen.state.turns) == 6 and screen.state.is_idle)
        assert [turn.text for turn in screen.state.turns if turn.role is Role.USER] == ["first", "second", "third"]
        assert screen.prompt.text == "draft"
        assert not screen.queue.waiting


async def test_after_a_stop_the_queue_is_held_until_enter() -> None:
    engine = held()
    async with opened(make_app(engine=engine)) as (pilot, screen):
        await begin(pilot, screen, "first", "One")
        await pilot.press(*"second", "enter")
        await wait_for(pilot, lambda: screen.queue.waiting == ("second",))
        await pilot.press("escape")
        await wait_for(pilot, lambda: screen.state.is_idle)
        assert screen.queue.held
        assert "held" in screen.queue.render().plain
        assert len(engine.prompts) == 1
        engine.gate = None
        await pilot.press("enter")
        await wait_for(pilot, lambda: len(screen.state.turns) == 4 and screen.state.is_idle)
        assert screen.state.turns[2].text == "second"


async def test_a_queued_message_comes_back_with_up_and_goes_with_a_click() -> None:
    engine = held()
    async with opened(make_app(engine=engine)) as (pilot, screen):
        await begin(pilot, screen, "first", "One")
        for text in ("second", "third"):
            await pilot.press(*text, "enter")
            await wait_for(pilot, lambda text=text: text in screen.queue.waiting)
        await pilot.press("up")
        await wait_for(pilot, lambda: screen.prompt.text == "third")
        assert screen.queue.waiting == ("second",)
        await pilot.click(screen.queue, offset=(screen.queue.size.width - 3, 0))
        await wait_for(pilot, lambda: not screen.queue.waiting)


async def test_regenerating_keeps_the_old_answer_to_flip_to() -> None:
    async with opened(make_app("One.", "Two.")) as (pilot, screen):
        await ask(pilot, screen, "Number?")
        await pilot.press("ctrl+r")
        await wait_for(pilot, lambda: said(screen) == ["Number?", "Two."] and screen.state.answers[1] == 2)
        await pilot.press("alt+left")
        await wait_for(pilot, lambda: said(screen) == ["Number?", "One."])
        await wait_for(pilot, lambda: screen.state.answers[1] == 2)
        await pilot.press("alt+right")
        await wait_for(pilot, lambda: said(screen) == ["Number?", "Two."])


async def test_another_conversation_can_be_read_while_a_reply_runs() -> None:
    engine = ScriptedEngine("Old.", "One two three.")
    async with opened(make_app(engine=engine)) as (pilot, screen):
        await ask(pilot, screen, "old question")
        engine.gate = asyncio.Event()
        await pilot.press("ctrl+n")
        await begin(pilot, screen, "new question", "One")
        await wait_for(pilot, lambda: len(screen.sidebar.conversations) == 2)
        new, old = screen.sidebar.conversations
        screen.post_message(screen.sidebar.Opened(old.id))
        await wait_for(pilot, lambda: said(screen) == ["old question", "Old."])
        assert screen.state.replying
        screen.post_message(screen.sidebar.Opened(new.id))
        await wait_for(pilot, lambda: said(screen) == ["new question", "One"])
        engine.gate.set()
        await wait_for(pilot, lambda: said(screen) == ["new question", "One two three."] and screen.state.is_idle)


async def test_renaming_with_the_mouse_free_keys() -> None:
    async with opened(make_app("Yes.")) as (pilot, screen):
        await ask(pilot, screen, "Is it?")
        await pilot.press("f6")
        await wait_for(pilot, lambda: type(pilot.app.screen).__name__ == "RenameDialog")
        await pilot.press("ctrl+u", *"Sky", "enter")
        await wait_for(pilot, lambda: screen.header.title == "Sky")
        await wait_for(pilot, lambda: screen.sidebar.conversations[0].title == "Sky")


async def test_deleting_can_be_undone_several_times() -> None:
    app = make_app("Yes.")
    async with opened(app) as (pilot, screen):
        for text in ("first", "second"):
            await ask(pilot, screen, text)
            await pilot.press("ctrl+n")
        await wait_for(pilot, lambda: len(screen.sidebar.conversations) == 2)
        screen.sidebar.focus_list()
        for left in (1, 0):
            await pilot.press("home", "d")
            await wait_for(pilot, lambda left=left: len(screen.sidebar.conversations) == left)
        assert "Deleted “first”" in notices(app)
        await pilot.press("u", "u")
        await wait_for(pilot, lambda: {c.title for c in screen.sidebar.conversations} == {"first", "second"})
        await wait_for(pilot, lambda: not screen.state.has_deleted)


async def test_deleting_the_open_conversation_stops_its_reply_and_shows_an_empty_one() -> None:
    engine = held()
    async with opened(make_app(engine=engine)) as (pilot, screen):
        await begin(pilot, screen, "Count", "One")
        await wait_for(pilot, lambda: screen.state.has_conversation)
        await pilot.press("f8")
        await wait_for(pilot, lambda: said(screen) == [] and screen.state.is_idle)
        await pilot.press("f9")
        await wait_for(pilot, lambda: said(screen) == ["Count", "One"])


async def test_reopening_finds_the_conversation_and_goes_on() -> None:
    async with opened(make_app("Blue.")) as (pilot, screen):
        await ask(pilot, screen, "Sky?")
        await pilot.press("ctrl+q")
    engine = ScriptedEngine("Green.")
    async with opened(make_app(engine=engine, continue_latest=True)) as (pilot, screen):
        assert said(screen) == ["Sky?", "Blue."]
        await ask(pilot, screen, "Grass?")
        assert [turn.text for turn in engine.prompts[0].turns] == ["Sky?", "Blue.", "Grass?"]


async def test_an_interrupted_reply_is_named_and_can_be_gone_on_with() -> None:
    store = await Store.open(paths.store_file())
    conversation, question = await store.start("Count")
    reply = await store.begin_reply(conversation.id, question.id, ReplyRecord())
    await store.finish_reply(reply.id, TurnState.INTERRUPTED, "One", "", ReplyRecord())
    await store.close()
    app = make_app(" two.", continue_latest=True)
    async with opened(app) as (pilot, screen):
        assert "The last reply was interrupted" in notices(app)
        await wait_for(pilot, lambda: screen.state.can_resume)
        await pilot.press("ctrl+g")
        await wait_for(pilot, lambda: said(screen) == ["Count", "One two."] and screen.state.is_idle)


async def test_draft_and_queue_survive_quitting() -> None:
    engine = held()
    async with opened(make_app(engine=engine)) as (pilot, screen):
        await begin(pilot, screen, "first", "One")
        await pilot.press(*"second", "enter")
        await wait_for(pilot, lambda: screen.queue.waiting == ("second",))
        await pilot.press(*"draft", "ctrl+q")
    async with opened(make_app()) as (pilot, screen):
        assert screen.prompt.text == "draft"
        assert screen.queue.waiting == ("second",)
        assert screen.queue.held


@pytest.mark.parametrize("how", ["ctrl+q", "in the settings", ""])
async def test_quitting_while_a_reply_runs_keeps_what_arrived(how: str) -> None:
    app = make_app(engine=held())
    async with opened(app) as (pilot, screen):
        await begin(pilot, screen, "Count", "One")
        if how == "in the settings":
            await pilot.press("f2")
            await wait_for(pilot, lambda: isinstance(app.screen, SettingsScreen) and app.focused)
            await pilot.press("right")
        if how:
            await pilot.press("ctrl+q")
    assert await stored() == [("user", "Count", TurnState.FINISHED), ("assistant", "One", TurnState.STOPPED)]


async def test_the_model_can_be_changed_in_the_middle(tmp_path: Path) -> None:
    file = model_file(tmp_path / "models")
    engine = ScriptedEngine("One.", "Two.")
    settings = Settings(models=ModelsSettings(folders=(str(file.parent),)))
    app = make_app(engine=engine, settings=settings)
    async with opened(app) as (pilot, screen):
        await ask(pilot, screen, "first")
        await pilot.press("ctrl+l")
        await wait_for(pilot, lambda: type(app.screen).__name__ == "ModelPicker")
        await wait_for(pilot, lambda: bool(app.screen.found))  # type: ignore[attr-defined]
        await pilot.press("enter")
        await wait_for(pilot, lambda: screen.status.told.model == file.stem and screen.state.is_idle)
        assert said(screen) == ["first", "One."]
        await ask(pilot, screen, "second")
        assert [turn.record.model_name for turn in screen.state.turns if turn.record] == ["Tiny 4B Instruct", file.stem]


async def test_a_temperature_that_is_stated_is_shown_with_a_server_although_it_is_the_default() -> None:
    settings = Settings().merged({"sampling": {"temperature": 0.8}})
    async with opened(make_app(settings=settings)) as (pilot, screen):
        screen.models.load(RemoteModel("openai", "gpt-4.1"), is_pick=True)
        await wait_for(pilot, lambda: screen.status.told.host == "openai.test" and screen.state.is_idle)
        assert screen.status.told.temperature == 0.8


async def test_a_conversation_goes_on_with_a_model_of_a_server_and_says_where_text_goes(tmp_path: Path) -> None:
    file = model_file(tmp_path / "models")
    engine = ScriptedEngine("One.", "Two.", "Three.")
    async with opened(make_app(engine=engine)) as (pilot, screen):
        await ask(pilot, screen, "first")
        for address, name in ((RemoteModel("openai", "gpt-4.1"), "openai:gpt-4.1"), (file, file.stem)):
            screen.models.load(address, is_pick=True)
            await wait_for(pilot, lambda name=name: screen.status.told.model == name and screen.state.is_idle)
            host = "" if address is file else "openai.test"
            assert screen.status.told.host == host
            assert screen.status.told.temperature == (None if host else 0.8), "left to the server"
            await ask(pilot, screen, "and now?")
        assert said(screen)[1::2] == ["One.", "Two.", "Three."]
        records = [turn.record for turn in screen.state.turns if turn.record]
        assert [record.model_name for record in records] == ["Tiny 4B Instruct", "openai:gpt-4.1", file.stem]
        await pilot.press("ctrl+n")
        assert "All of it stays on this machine" in str(screen.transcript.empty)


async def test_a_model_of_a_server_that_answered_last_is_taken_at_the_next_start() -> None:
    async with opened(make_app(with_model=False, model="openai:gpt-4.1")) as (pilot, screen):
        await wait_for(pilot, lambda: screen.status.told.activity == "ready")
        await wait_for(pilot, lambda: "What you write is sent to openai.test" in str(screen.transcript.empty))
        await pilot.press("ctrl+q")
    async with opened(make_app(with_model=False)) as (pilot, screen):
        await wait_for(pilot, lambda: screen.status.told.model == "openai:gpt-4.1" and screen.state.is_idle)
        screen.action_reload_model()
        await wait_for(pilot, lambda: screen.status.told.activity == "ready" and screen.state.is_idle)


async def test_a_server_that_is_not_known_any_more_is_said_at_the_start() -> None:
    mine = Settings(servers={"mine": ServerSettings(base_url="http://127.0.0.1:9/v1")})
    async with opened(make_app(with_model=False, model="mine:tiny", settings=mine)) as (pilot, screen):
        await wait_for(pilot, lambda: screen.status.told.activity == "ready")
        await pilot.press("ctrl+q")
    app = make_app(with_model=False)
    async with opened(app) as (pilot, _):
        await wait_for(pilot, lambda: "mine:tiny is not there any more" in notices(app))


async def test_the_settings_take_a_model_of_a_server() -> None:
    app = make_app(with_model=False, settings=Settings(chat=ChatSettings(model="openai:gpt-4.1")))
    async with opened(app) as (pilot, screen):
        await wait_for(pilot, lambda: screen.status.told.model == "openai:gpt-4.1" and screen.state.is_idle)
        await pilot.press("f2")
        await wait_for(pilot, lambda: isinstance(app.screen, SettingsScreen))
        await pilot.press("ctrl+pageup")
        await wait_for(pilot, lambda: "openai:gpt-4.1" in str(app.screen.query_one(ModelButton).render()))
        await pilot.press("escape")


async def test_what_a_server_does_not_take_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ScriptedEngine("One.")
    scripted = engine.reply

    async def with_note(prompt: Prompt, sampling: Sampling) -> AsyncIterator[ReplyEvent]:
        async for event in scripted(prompt, sampling):
            yield structs.replace(event, notes=("fake refused temperature.",)) if isinstance(event, Prompted) else event

    monkeypatch.setattr(engine, "reply", with_note)
    app = make_app(engine=engine)
    async with opened(app) as (pilot, screen):
        await ask(pilot, screen, "first")
        await ask(pilot, screen, "second")
        assert notices(app).count("fake refused temperature.") == 1


async def test_the_model_that_answered_last_is_loaded_at_the_next_start(tmp_path: Path) -> None:
    file = model_file(tmp_path / "models")
    async with opened(make_app(with_model=False, model=str(file))) as (pilot, screen):
        await wait_for(pilot, lambda: screen.status.told.activity == "ready")
        await pilot.press("ctrl+q")
    async with opened(make_app(with_model=False)) as (pilot, screen):
        await wait_for(pilot, lambda: screen.status.told.model == file.stem and screen.state.is_idle)


async def test_the_model_in_the_settings_is_for_when_none_was_picked_or_the_pick_is_gone(tmp_path: Path) -> None:
    default, picked = model_file(tmp_path / "models", "default.gguf"), model_file(tmp_path / "models", "picked.gguf")
    settings = Settings(chat=ChatSettings(model=str(default)))
    app = make_app(with_model=False, settings=settings)
    async with opened(app) as (pilot, screen):
        await wait_for(pilot, lambda: screen.status.told.model == "default" and screen.state.is_idle)
        screen.models.load(picked, is_pick=True)
        await wait_for(pilot, lambda: screen.status.told.model == "picked" and screen.state.is_idle)
        screen.models.load(default)  # as a conversation does that has its own model
        await wait_for(pilot, lambda: screen.status.told.model == "default" and screen.state.is_idle)
        await pilot.press("ctrl+q")
    async with opened(make_app(with_model=False, settings=settings)) as (pilot, screen):
        await wait_for(pilot, lambda: screen.status.told.model == "picked" and screen.state.is_idle)
        await pilot.press("ctrl+q")
    picked.unlink()
    app = make_app(with_model=False, settings=settings)
    async with opened(app) as (pilot, screen):
        await wait_for(pilot, lambda: screen.status.told.model == "default" and screen.state.is_idle)
        assert "picked.gguf is not there any more" in notices(app)


async def test_what_is_sent_while_the_model_loads_is_answered_when_it_is_in(tmp_path: Path) -> None:
    engine = ScriptedEngine("Here.", tokens_per_second=2.0)
    app = make_app(engine=engine, with_model=False, model=str(model_file(tmp_path)))
    async with opened(app) as (pilot, screen):
        await wait_for(pilot, lambda: "loading" in screen.status.told.activity)
        await pilot.press(*"Hello", "enter")
        await wait_for(pilot, lambda: screen.queue.waiting == ("Hello",))
        engine.pause_seconds = 0.0
        await wait_for(pilot, lambda: said(screen) == ["Hello", "Here."])


async def test_a_temperature_counts_for_the_next_reply_without_loading_again() -> None:
    engine = ScriptedEngine("One.", "Two.")
    app = make_app(engine=engine)
    async with opened(app) as (pilot, screen):
        await ask(pilot, screen, "first")
        assert screen.state.chat
        loaded = engine.model
        await pilot.press("f2")
        await wait_for(pilot, lambda: type(app.screen).__name__ == "SettingsScreen")
        await wait_for(pilot, lambda: app.focused is not None and app.screen.is_current)
        await pilot.press("left", "left", "ctrl+s")
        await wait_for(pilot, lambda: app.screen is screen)
        await wait_for(pilot, lambda: screen.status.told.temperature == pytest.approx(0.7))
        await ask(pilot, screen, "second")
        assert [round(sampling.temperature, 2) for sampling in engine.samplings] == [0.8, 0.7]
        assert engine.model is loaded


async def test_a_dead_worker_is_a_notice_and_starts_again_with_a_key(tmp_path: Path) -> None:
    died = WorkerDied("The process was ended from outside (SIGKILL).", "Start it again.")
    engine = ScriptedEngine(Line("One two", error=died), "Back.")
    app = make_app(engine=engine, with_model=False, model=str(model_file(tmp_path)))
    async with opened(app) as (pilot, screen):
        await wait_for(pilot, lambda: screen.status.told.activity == "ready")
        engine.gate = asyncio.Event()
        await begin(pilot, screen, "Count", "One")
        engine.model = None
        engine.gate.set()
        await wait_for(pilot, lambda: screen.models.has_class("-shown"))
        assert screen.state.turns[-1].state is TurnState.FAILED
        assert said(screen)[-1] == "One two"
        await wait_for(pilot, lambda: "again first: F5" in str(screen.prompt.placeholder))
        await pilot.press(*"Hello", "enter")
        await wait_for(pilot, lambda: screen.prompt._held is None)
        assert screen.prompt.text == "Hello"
        assert app.screen is screen
        await pilot.press("f5")
        await wait_for(pilot, lambda: screen.status.told.activity == "ready" and screen.state.is_idle)
        assert not screen.models.has_class("-shown")
        await ask(pilot, screen, "Again")


async def test_after_a_failure_that_leaves_the_model_the_status_says_so() -> None:
    too_long = PromptTooLong("The message takes 43,900 tokens.", "Shorten it.")
    app = make_app(Line("", error=too_long), "Yes.")
    async with opened(app) as (pilot, screen):
        await ask(pilot, screen, "long")
        await wait_for(pilot, lambda: screen.status.told.activity == "failed")
        assert "43,900 tokens" in notices(app)
        await ask(pilot, screen, "short")
        assert screen.status.told.activity == "ready"


async def test_a_worker_that_died_unasked_is_told_when_it_is_missed(tmp_path: Path) -> None:
    app = make_app("Yes.", with_model=False, model=str(model_file(tmp_path)))
    async with opened(app) as (pilot, screen):
        await wait_for(pilot, lambda: screen.status.told.activity == "ready" and screen.state.is_idle)
        screen.chat.engine.model = None  # type: ignore[misc]
        await pilot.press(*"Hello", "enter")
        await wait_for(pilot, lambda: screen.models.has_class("-shown"))
        assert "Start again" in str(screen.models.query("Action").first().visual)
        assert screen.prompt.text == "Hello"
        await pilot.press("f5")
        await wait_for(pilot, lambda: screen.status.told.activity == "ready" and screen.state.is_idle)
        await pilot.press("enter")
        await wait_for(pilot, lambda: said(screen) == ["Hello", "Yes."])


async def test_start_again_can_be_clicked(tmp_path: Path) -> None:
    engine = ScriptedEngine(load_error=WorkerDied("It ended.", "Start it again."))
    app = make_app(engine=engine, with_model=False, model=str(model_file(tmp_path)))
    async with opened(app, (80, 24)) as (pilot, screen):
        await wait_for(pilot, lambda: screen.models.has_class("-shown") and len(screen.models.query("Action")) == 3)
        await wait_for(pilot, lambda: screen.models.query("Action").first().size.width > 0)
        engine.load_error = None
        await pilot.click(screen.models.query("Action").first())
        await wait_for(pilot, lambda: screen.status.told.activity == "ready" and screen.state.is_idle)


async def test_conversations_can_be_read_without_llama_cpp(tmp_path: Path) -> None:
    async with opened(make_app("Blue.")) as (pilot, screen):
        await ask(pilot, screen, "Sky?")
        await pilot.press("ctrl+q")
    missing = LibraryMissing("llama_cpp cannot be imported.", "Run: pip install llama-cpp-python==0.3.36")
    engine = ScriptedEngine(load_error=missing)
    app = make_app(engine=engine, with_model=False, model=str(model_file(tmp_path)), continue_latest=True)
    async with opened(app) as (pilot, screen):
        await wait_for(pilot, lambda: screen.models.has_class("-shown"))
        assert "pip install" in str(screen.models.query_one(".banner--text").visual)
        assert said(screen) == ["Sky?", "Blue."]


async def test_trimming_shows_which_turns_the_model_no_longer_sees() -> None:
    app = make_app("One.", Line("Two.", trimmed=(1, 2)))
    async with opened(app) as (pilot, screen):
        await ask(pilot, screen, "first")
        await ask(pilot, screen, "second")
        assert screen.transcript.unseen == frozenset({1, 2})
        assert "no longer sees the first 2 turns" in notices(app)


async def test_without_a_model_the_screen_says_how_to_get_one_and_keeps_what_is_typed() -> None:
    app = make_app(with_model=False)
    async with opened(app, (80, 24)) as (pilot, screen):
        await wait_for(pilot, lambda: "F10  models" in str(screen.transcript.empty))
        await pilot.press(*"Hello", "enter")
        await wait_for(pilot, lambda: type(app.screen).__name__ == "ModelPicker")
        await pilot.press("escape")
        assert screen.prompt.text == "Hello"


async def test_several_models_are_offered(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        model_file(tmp_path / "models", name)
    settings = Settings(models=ModelsSettings(folders=(str(tmp_path / "models"),)))
    async with opened(make_app(with_model=False, settings=settings)) as (pilot, screen):
        await wait_for(pilot, lambda: "Which model" in str(screen.transcript.empty))


async def test_a_reply_is_copied_with_a_toast() -> None:
    app = make_app("The sky is blue.")
    async with opened(app) as (pilot, screen):
        await ask(pilot, screen, "Sky?")
        await pilot.press("f7")
        await wait_for(pilot, lambda: app.clipboard == "The sky is blue.")
        assert "Copied 16 characters" in notices(app)


async def test_ctrl_c_stops_a_reply() -> None:
    async with opened(make_app(engine=held())) as (pilot, screen):
        await begin(pilot, screen, "Count", "One")
        await pilot.press("ctrl+c")
        await wait_for(pilot, lambda: screen.state.is_idle)
        assert screen.state.turns[-1].state is TurnState.STOPPED


async def test_the_list_lies_over_the_conversation_where_there_is_no_room() -> None:
    async with opened(make_app("Yes."), (80, 24)) as (pilot, screen):
        await ask(pilot, screen, "Is it?")
        assert not screen.sidebar.display
        width = screen.transcript.size.width
        await pilot.press("ctrl+b")
        await wait_for(pilot, lambda: screen.sidebar.display and screen.sidebar.size.width > 0)
        assert screen.transcript.size.width == width
        await pilot.press("enter")
        await wait_for(pilot, lambda: not screen.sidebar.display)
        assert screen.prompt.has_focus


@pytest.mark.parametrize(("rows", "prompt_rows"), [(10, 4), (24, 9), (50, 12)])
async def test_a_long_prompt_leaves_room_for_the_conversation(rows: int, prompt_rows: int) -> None:
    async with opened(make_app(), (40, rows)) as (pilot, screen):
        screen.prompt.put("line\n" * 5000)
        await wait_for(pilot, lambda: screen.prompt.size.height + 2 == prompt_rows)
        assert screen.transcript.size.height >= rows // 4


async def test_a_hidden_list_stays_hidden_at_the_next_start() -> None:
    async with opened(make_app("Yes.")) as (pilot, screen):
        assert screen.sidebar.display
        await pilot.press("ctrl+b")
        await wait_for(pilot, lambda: not screen.sidebar.display)
        await pilot.press("ctrl+q")
    async with opened(make_app("Yes.")) as (pilot, screen):
        assert not screen.sidebar.display


async def test_deleting_the_open_conversation_leaves_an_empty_one_and_undo_opens_it_again() -> None:
    async with opened(make_app("Yes.")) as (pilot, screen):
        await ask(pilot, screen, "Is it?")
        await wait_for(pilot, lambda: len(screen.sidebar.conversations) == 1)
        screen.sidebar.focus_list()
        await pilot.press("d")
        await wait_for(pilot, lambda: said(screen) == [] and screen.header.title == "")
        assert not screen.state.has_conversation
        await pilot.press("f9")
        await wait_for(pilot, lambda: said(screen) == ["Is it?", "Yes."] and screen.header.title == "Is it?")


async def test_what_could_never_be_saved_is_deleted_for_good() -> None:
    engine = held()
    app = unsure(make_app(engine=engine))
    async with opened(app) as (pilot, screen):
        with locked_store():
            await begin(pilot, screen, "Gone?", "One")
            await pilot.press("f8")
            await wait_for(pilot, lambda: said(screen) == [] and screen.state.is_idle)
            await wait_for(pilot, lambda: "cannot be brought back" in notices(app))
            assert not screen.state.has_deleted
        engine.gate.set()
        await ask(pilot, screen, "Kept?")
        await wait_for(pilot, lambda: [c.title for c in screen.sidebar.conversations] == ["Kept?"])


async def test_undo_goes_back_through_all_deletions_and_opens_only_what_was_open() -> None:
    async with opened(make_app("Yes.")) as (pilot, screen):
        for text in ("first", "second", "third"):
            await pilot.press("ctrl+n")
            await ask(pilot, screen, text)
        await wait_for(pilot, lambda: len(screen.sidebar.conversations) == 3)
        screen.sidebar.focus_list()
        for left in (2, 1, 0):
            await pilot.press("end", "d")
            await wait_for(pilot, lambda left=left: len(screen.sidebar.conversations) == left)
        await wait_for(pilot, lambda: screen.header.title == "")
        screen.prompt.focus()
        await pilot.press("f9")
        await wait_for(pilot, lambda: screen.header.title == "third")
        await pilot.press("f9")
        await wait_for(pilot, lambda: {c.title for c in screen.sidebar.conversations} == {"third", "second"})
        await pilot.press("f9", "f9", "f9")
        await wait_for(pilot, lambda: len(screen.sidebar.conversations) == 3 and not screen.state.has_deleted)
        assert screen.header.title == "third"


async def test_several_answers_are_marked_and_can_be_clicked_through() -> None:
    async with opened(make_app("One.", "Two."), (80, 24)) as (pilot, screen):
        await ask(pilot, screen, "Number?")
        assert "answer" not in screen.header.render().plain
        await pilot.press("ctrl+r")
        await wait_for(pilot, lambda: "‹ answer 2 of 2 ›" in screen.header.render().plain)
        for mark, text in (("‹", "One."), ("›", "Two."), ("›", "One.")):
            await pilot.click(screen.header, offset=(1 + screen.header.render().plain.index(mark), 0))
            await wait_for(pilot, lambda text=text: said(screen)[-1] == text and screen.header.answers[1] == 2)
        await pilot.press("ctrl+n")
        await wait_for(pilot, lambda: "answer" not in screen.header.render().plain)


async def test_a_model_chosen_while_a_reply_runs_is_announced_and_loaded_behind_it(tmp_path: Path) -> None:
    engine = held()
    app = make_app(engine=engine)
    async with opened(app, (80, 24)) as (pilot, screen):
        await begin(pilot, screen, "Count", "One")
        await pilot.press(*"and then", "enter")
        screen.models.load(model_file(tmp_path, "second.gguf"))
        await wait_for(pilot, lambda: "then second" in screen.status.render().plain)
        assert "writing" in screen.status.render().plain
        assert screen.status.told.model == "Tiny 4B Instruct"
        assert engine.gate
        engine.gate.set()
        await wait_for(pilot, lambda: len(screen.state.turns) == 4 and screen.state.is_idle)
        assert [turn.record.model_name for turn in screen.state.turns if turn.record] == ["Tiny 4B Instruct", "second"]
        await wait_for(pilot, lambda: "then" not in screen.status.render().plain)


async def test_stopping_a_reply_loads_the_model_that_waits(tmp_path: Path) -> None:
    async with opened(make_app(engine=held())) as (pilot, screen):
        await begin(pilot, screen, "Count", "One")
        screen.models.load(model_file(tmp_path, "second.gguf"))
        await wait_for(pilot, lambda: screen.status.told.next_model == "second")
        await pilot.press("escape")
        await wait_for(pilot, lambda: screen.status.told.model == "second" and screen.state.is_idle)
        assert said(screen) == ["Count", "One"]


async def test_turns_that_are_saved_late_are_known_by_their_new_ids() -> None:
    engine = ScriptedEngine("One.")
    async with opened(unsure(make_app(engine=engine))) as (pilot, screen):
        with locked_store():
            await ask(pilot, screen, "first")
            first = [turn.id for turn in screen.state.turns]
            assert max(first) < 0
            engine.gate = asyncio.Event()
            engine.script = ["", Line("Two three.", trimmed=tuple(first))]  # type: ignore[list-item]
            await begin(pilot, screen, "second", "Two")
            assert screen.transcript.unseen == set(first)
        engine.gate.set()
        await wait_for(pilot, lambda: screen.state.is_idle and screen.chat.is_saved)
        ids = [turn.id for turn in screen.state.turns]
        await wait_for(pilot, lambda: [turn.id for turn in screen.transcript.turns] == ids)
        assert min(ids) > 0
        assert screen.transcript.unseen == set(ids[:2])
        assert said(screen) == ["first", "One.", "second", "Two three."]


async def test_a_reply_that_is_saved_late_is_shown_on_after_a_look_elsewhere() -> None:
    engine = ScriptedEngine("One.", "Two three four.")
    async with opened(unsure(make_app(engine=engine))) as (pilot, screen):
        await ask(pilot, screen, "old")
        old = screen.state.turns[0].conversation_id
        await pilot.press("ctrl+n")
        engine.gate = asyncio.Event()
        with locked_store():
            await begin(pilot, screen, "new", "Two")
        await screen.chat.save()
        new = screen.state.turns[0].conversation_id
        assert new > 0
        for conversation_id, text in ((old, "One."), (new, "Two")):
            screen.post_message(screen.sidebar.Opened(conversation_id))
            await wait_for(pilot, lambda text=text: said(screen)[-1] == text)
        engine.gate.set()
        await wait_for(pilot, lambda: said(screen) == ["new", "Two three four."] and screen.state.is_idle)


async def test_what_could_not_be_saved_is_tried_again_at_the_end() -> None:
    async with opened(unsure(make_app("One."))) as (pilot, screen):
        with locked_store():
            await ask(pilot, screen, "Sky?")
        assert not screen.chat.is_saved
        await pilot.press("ctrl+q")
    assert await stored() == [("user", "Sky?", TurnState.FINISHED), ("assistant", "One.", TurnState.FINISHED)]


async def test_what_is_lost_at_the_end_is_said() -> None:
    app = unsure(make_app("One."))
    async with opened(app) as (pilot, screen):
        with locked_store():
            await ask(pilot, screen, "Sky?")
            await app.action_quit()
    assert "could not be saved" in app._lost


async def test_settings_can_be_for_a_new_conversation_that_has_no_question_yet() -> None:
    engine = ScriptedEngine("One.")
    app = make_app(engine=engine)
    async with opened(app) as (pilot, screen):
        await pilot.press("f2")
        await wait_for(pilot, lambda: type(app.screen).__name__ == "SettingsScreen")
        await wait_for(pilot, lambda: app.focused is not None and app.screen.is_current)
        assert app.screen.draft.scope == "conversation"  # type: ignore[attr-defined]
        await pilot.press("left", "left", "ctrl+s")
        await wait_for(pilot, lambda: screen.status.told.temperature == pytest.approx(0.7))
        await ask(pilot, screen, "first")
        assert engine.samplings[-1].temperature == pytest.approx(0.7)
        await pilot.press("ctrl+n")
        await wait_for(pilot, lambda: screen.status.told.temperature == pytest.approx(0.8))
    assert not paths.settings_file().exists()
