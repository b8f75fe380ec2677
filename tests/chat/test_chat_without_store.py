"""When nothing can be saved the conversation goes on, says so at the end, and is saved as soon as it can be."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest
from support.small_disk import mounted

from chatterm.chat import Beginning, Chat, ChatEvent, TurnAdded, TurnRenumbered, TurnSettled
from chatterm.conversation import Turn, TurnState
from chatterm.engine.scripted import Line, ScriptedEngine
from chatterm.errors import NotFound, StoreError, StoreFull, StoreLocked, StoreReadOnly, WorkerDied
from chatterm.events import ModelInfo, Token
from chatterm.settings import Settings
from chatterm.store import Store
from chatterm.store.journal import Journal

MODEL = ModelInfo("/models/tiny.gguf", "Tiny")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "conversations.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    store = await Store.open(path, timeout_seconds=0.01)
    yield store
    await store.close()


def chat_with(store: Store, *script: Line | str) -> Chat:
    return Chat(store, ScriptedEngine(*script, model=MODEL), Settings(), flush_seconds=0)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.close()


async def locked_on_the_way(events: AsyncIterator[ChatEvent], other: sqlite3.Connection) -> AsyncIterator[ChatEvent]:
    """A reply after whose first word another program locks the store."""
    async for event in events:
        if isinstance(event, Token) and event.text == "One":
            other.execute("BEGIN IMMEDIATE")
        yield event


async def collect(events: AsyncIterator[ChatEvent], into: list[ChatEvent]) -> None:
    async for event in events:
        into.append(event)  # noqa: PERF401 (what came before an error counts)


async def all_of(events: AsyncIterator[ChatEvent]) -> list[ChatEvent]:
    came: list[ChatEvent] = []
    await collect(events, came)
    return came


async def said_in_vain(events: AsyncIterator[ChatEvent], error: type[StoreError]) -> list[ChatEvent]:
    """The events of a reply that came whole and could not be saved."""
    came: list[ChatEvent] = []
    with pytest.raises(error):
        await collect(events, came)
    assert isinstance(came[-1], TurnSettled)
    return came


async def stored(chat: Chat) -> list[Turn]:
    latest = await chat.store.latest()
    assert latest is not None
    return await chat.store.branch(latest.head_id)


def texts(turns: list[Turn]) -> list[str]:
    return [turn.text for turn in turns]


async def test_a_locked_store_does_not_stop_the_reply_and_the_next_one_saves_all(store: Store, path: Path) -> None:
    chat = chat_with(store, "One.", "Two.")
    with locked(path):
        await said_in_vain(chat.reply("First?"), StoreLocked)
        assert await store.conversations() == []
    assert texts(chat.turns) == ["First?", "One."]
    assert all(turn.id < 0 for turn in chat.turns)
    assert chat.conversation.title == "First?"
    assert not chat.is_saved

    events = await all_of(chat.reply("Second?"))
    assert chat.is_saved
    assert texts(chat.turns) == ["First?", "One.", "Second?", "Two."]
    assert await stored(chat) == chat.turns
    assert chat.conversation == await store.latest()
    sent = [turn.text for turn in chat.engine.prompts[-1].turns]
    assert sent == ["First?", "One.", "Second?"]
    assert [event.turn for event in events if isinstance(event, TurnRenumbered)] == chat.turns[:2]


async def test_a_conversation_that_is_locked_in_the_middle_is_saved_at_its_end(store: Store, path: Path) -> None:
    chat = chat_with(store, "One.", "Two three four.")
    await all_of(chat.reply("First?"))
    ids: dict[str, int] = {}
    renumbered: dict[int, int] = {}
    with locked(path):
        async with aclosing(chat.reply("Second?")) as events:
            async for event in events:
                if isinstance(event, TurnAdded):
                    ids[event.turn.role] = event.turn.id
                if isinstance(event, Token):
                    break
            assert ids["user"] < 0
            assert ids["assistant"] < 0
    assert texts(chat.turns) == ["First?", "One.", "Second?", "Two"]
    assert texts(await stored(chat)) == ["First?", "One."]
    await chat.save()
    assert await stored(chat) == chat.turns
    assert chat.turns[-1].state is TurnState.STOPPED
    renumbered = {event.old_id: event.turn.id async for event in chat.resume() if isinstance(event, TurnRenumbered)}
    assert renumbered == {ids["user"]: chat.turns[2].id, ids["assistant"]: chat.turns[3].id}


async def test_a_reply_whose_end_cannot_be_saved_is_saved_later(store: Store, path: Path) -> None:
    chat = chat_with(store, "One two three")
    other = sqlite3.connect(path, isolation_level=None)
    await said_in_vain(locked_on_the_way(chat.reply("?"), other), StoreLocked)
    assert chat.turns[-1].text == "One two three"
    assert (await stored(chat))[-1].text in ("", "One")
    other.close()
    await chat.save()
    assert await stored(chat) == chat.turns
    assert chat.turns[-1].state is TurnState.FINISHED


async def test_a_lock_that_ends_while_the_reply_comes_is_no_error(store: Store, path: Path) -> None:
    chat = chat_with(store, "One two three")
    renumbered, settled = [], None
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async for event in chat.reply("?"):
        match event:
            case Token(text="One"):
                other.close()
            case TurnRenumbered(old_id=old_id):
                renumbered.append(old_id)
            case TurnSettled(turn=turn):
                settled = turn
    assert await stored(chat) == chat.turns
    assert settled == chat.turns[-1]
    assert len(renumbered) == 2
    assert all(old_id < 0 for old_id in renumbered)


async def test_an_error_of_the_engine_comes_before_one_of_the_store(store: Store, path: Path) -> None:
    chat = chat_with(store, Line("Half", error=WorkerDied("Killed.")))
    with locked(path), pytest.raises(WorkerDied):
        await all_of(chat.reply("?"))
    await chat.save()
    assert [(turn.text, turn.state, turn.error) for turn in await stored(chat)] == [
        ("?", TurnState.FINISHED, ""),
        ("Half", TurnState.FAILED, "Killed."),
    ]


async def test_an_unsaved_conversation_is_saved_with_the_next_one(store: Store, path: Path) -> None:
    chat = chat_with(store, "One.", "Two.")
    with locked(path):
        await said_in_vain(chat.reply("Here?"), StoreLocked)
    chat.new()
    await all_of(chat.reply("Elsewhere?"))
    assert {c.title for c in await store.conversations()} == {"Here?", "Elsewhere?"}
    assert chat.is_saved
    assert texts(chat.turns) == ["Elsewhere?", "Two."]


async def test_saving_again_in_vain_says_why(store: Store, path: Path) -> None:
    chat = chat_with(store)
    await chat.save()  # nothing to do
    with locked(path):
        await said_in_vain(chat.reply("?"), StoreLocked)
        with pytest.raises(StoreLocked):
            await chat.save()
    await chat.save()
    assert chat.is_saved
    assert await stored(chat) == chat.turns


async def test_settings_of_a_conversation_count_while_they_cannot_be_saved(store: Store, path: Path) -> None:
    chat = chat_with(store)
    await all_of(chat.reply("?"))
    with locked(path):
        with pytest.raises(StoreLocked):
            await chat.override({"sampling": {"top_k": 5}})
        assert chat.effective.sampling.top_k == 5
    assert (await store.latest()).overrides == {}
    await all_of(chat.reply("!"))
    assert (await store.latest()).overrides == {"sampling": {"top_k": 5}}
    assert chat.is_saved


async def test_an_unsaved_answer_can_be_written_on_and_answered_again(store: Store, path: Path) -> None:
    chat = chat_with(store, "One two", " three", "Other.")
    with locked(path):
        async with aclosing(chat.reply("?")) as events:
            async for event in events:
                if isinstance(event, Token):
                    break
        await said_in_vain(chat.resume(), StoreLocked)
        assert texts(chat.turns) == ["?", "One three"]
        assert texts(await chat.siblings(chat.turns[-1].id)) == ["One three"]
        with pytest.raises(StoreLocked):
            await chat.switch(chat.turns[-1].id)
    await chat.save()
    await all_of(chat.regenerate())
    assert texts(await chat.siblings(chat.turns[-1].id)) == ["One three", "Other."]


async def test_asking_again_does_not_lose_what_is_saved_in_part(store: Store, path: Path) -> None:
    chat = chat_with(store, "One two three", "Other.")
    other = sqlite3.connect(path, isolation_level=None)
    await said_in_vain(locked_on_the_way(chat.reply("?"), other), StoreLocked)
    for again in (chat.regenerate(), chat.branch(chat.turns[0].id, Beginning())):
        with pytest.raises(StoreLocked):
            await all_of(again)
        assert texts(chat.turns) == ["?", "One two three"]
    other.close()
    await all_of(chat.regenerate())
    assert [(turn.text, turn.state) for turn in await chat.siblings(chat.turns[-1].id)] == [
        ("One two three", TurnState.FINISHED),
        ("Other.", TurnState.FINISHED),
    ]


async def test_what_was_never_saved_and_is_deleted_does_not_come_back(store: Store, path: Path) -> None:
    chat = chat_with(store, "One.", "Two three", "Four.")
    with locked(path):
        await said_in_vain(chat.reply("First?"), StoreLocked)
        assert await chat.delete(chat.conversation.id) is None
        assert (chat.conversation, chat.is_saved) == (None, True)
        async with aclosing(chat.reply("Second?")) as events:
            await anext(events)
            assert await chat.delete(chat.conversation.id) is None
    await all_of(chat.reply("Third?"))
    assert [c.title for c in await store.conversations()] == ["Third?"]


async def test_deleting_twice_at_once_what_was_never_saved_is_deleting_once(store: Store, path: Path) -> None:
    chat = chat_with(store, "One.")
    with locked(path):
        await said_in_vain(chat.reply("First?"), StoreLocked)
        first = chat.conversation.id
        assert await asyncio.gather(chat.delete(first), chat.delete(first)) == [None, None]
    assert (chat.conversation, chat.is_saved, await store.conversations()) == (None, True, [])


async def test_what_was_saved_before_it_was_given_up_is_told_by_its_id(store: Store, path: Path) -> None:
    journal = Journal(store)
    with locked(path):
        await journal.ask("First?")
    assert journal.conversation is not None
    await journal.save()
    assert await journal.discard() == journal.conversation.id > 0
    assert texts(await store.branch(journal.turns[-1].id)) == ["First?"]


async def test_what_can_be_saved_by_now_is_deleted_and_renamed_as_any_other(store: Store, path: Path) -> None:
    chat = chat_with(store, "One.", "Two.")
    with locked(path):
        await said_in_vain(chat.reply("First?"), StoreLocked)
        first = chat.conversation.id
        with pytest.raises(StoreLocked):
            await chat.rename(first, "A title")
    await chat.rename(first, "A title")
    assert [c.title for c in await store.conversations()] == [chat.conversation.title] == ["A title"]
    deleted = await chat.delete(first)
    assert (chat.conversation, await store.conversations()) == (None, [])
    assert (await chat.restore(deleted)).title == "A title"


async def test_an_answer_that_was_dropped_elsewhere_is_back_when_it_is_gone_on_with(store: Store, path: Path) -> None:
    chat = chat_with(store, "Heads.", "Tails.", "Because.", "Edge", " or so.")
    await all_of(chat.reply("?"))
    await all_of(chat.regenerate())
    other = await Store.open(path)
    dropped = await other.drop(chat.turns[-1].id)
    await all_of(chat.reply("Why?"))
    assert texts(await stored(chat)) == texts(chat.turns) == ["?", "Tails.", "Why?", "Because."]

    async with aclosing(chat.regenerate()) as events:
        async for event in events:
            if isinstance(event, Token):
                break
    await other.drop(chat.turns[-1].id)
    await all_of(chat.resume())
    assert chat.is_saved
    assert await stored(chat) == chat.turns
    await other.put_back(dropped)
    assert (await store.latest()).n_turns == len(await store.turns(chat.conversation.id)) == 6
    await other.close()


async def test_asking_again_while_nothing_can_be_saved_leaves_nothing_behind(store: Store, path: Path) -> None:
    chat = chat_with(store, "One.", "Other.", "Two.")
    with locked(path):
        await said_in_vain(chat.reply("?"), StoreLocked)
        await said_in_vain(chat.regenerate(), StoreLocked)
    await all_of(chat.reply("!"))
    assert chat.is_saved
    assert texts(await stored(chat)) == texts(chat.turns) == ["?", "Other.", "!", "Two."]


async def test_a_store_that_can_only_be_read_keeps_the_conversation_in_memory(path: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 2000) as disk:
        path = disk.folder / "conversations.db"
        store = await Store.open(path)
        await all_of(chat_with(store, "One.").reply("First?"))
        await store.close()
        with disk.read_only():
            store = await Store.open(path)
            chat = chat_with(store, "Two.", "Other.", "Three.")
            await chat.open_latest()
            await said_in_vain(chat.reply("Second?"), StoreReadOnly)
            assert texts(chat.turns) == ["First?", "One.", "Second?", "Two."]
            await said_in_vain(chat.reply("Third?"), StoreReadOnly)
            assert [turn.text for turn in chat.engine.prompts[-1].turns] == [
                "First?",
                "One.",
                "Second?",
                "Two.",
                "Third?",
            ]
            await store.close()


async def test_branches_can_be_looked_at_in_a_store_that_can_only_be_read(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 2000) as disk:
        path = disk.folder / "conversations.db"
        store = await Store.open(path)
        chat = chat_with(store, "Heads.", "Tails.")
        await all_of(chat.reply("?"))
        await all_of(chat.regenerate())
        await store.close()
        with disk.read_only():
            store = await Store.open(path)
            chat = chat_with(store)
            await chat.open_latest()
            heads, _ = await chat.siblings(chat.turns[-1].id)
            await chat.switch(heads.id)
            assert texts(chat.turns) == ["?", "Heads."]
            await store.close()


async def test_a_full_disk_does_not_stop_the_reply_and_space_lets_it_be_saved(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 400) as disk:
        store = await Store.open(disk.folder / "conversations.db")
        long = "word " * 20_000
        chat = chat_with(store, "One.", long.strip(), "Three.")
        await all_of(chat.reply("First?"))
        disk.fill()
        await said_in_vain(chat.reply("Second?"), StoreFull)
        assert texts(chat.turns) == ["First?", "One.", "Second?", long.strip()]
        disk.clear()
        await all_of(chat.reply("Third?"))
        assert texts(await stored(chat)) == ["First?", "One.", "Second?", long.strip(), "Third?", "Three."]
        await store.close()


async def test_a_conversation_that_another_chatterm_deleted_ends_in_memory(store: Store, path: Path) -> None:
    chat = chat_with(store, "One.", "Two.")
    await all_of(chat.reply("First?"))
    other = await Store.open(path)
    await other.delete(chat.conversation.id)
    await other.close()
    await said_in_vain(chat.reply("Second?"), NotFound)
    assert texts(chat.turns) == ["First?", "One.", "Second?", "Two."]
    chat.new()
    await all_of(chat.reply("Elsewhere?"))
    assert chat.is_saved
