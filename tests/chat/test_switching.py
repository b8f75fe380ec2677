"""Another answer is opened: what is wanted while the store is busy goes first, and no conversation gets another's turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.held_store import HeldStore

from chatterm.chat import Chat, ChatEvent
from chatterm.conversation import Turn
from chatterm.engine.scripted import ScriptedEngine
from chatterm.errors import TurnKept
from chatterm.events import ModelInfo
from chatterm.settings import Settings

ENDINGS: dict[str, Callable[[Chat], Coroutine[Any, Any, object]]] = {
    "flip": lambda chat: chat.flip(-1),
    "switch": lambda chat: chat.switch(chat.turns[-1].id - 1),
    "drop": lambda chat: chat.drop(chat.turns[-1].id),
}
"""What opens the answer before the last one."""
PLACES = [
    *(("flip", place) for place in ("siblings", "newest_leaf", "branch")),
    *(("switch", place) for place in ("newest_leaf", "branch")),
    *(("drop", place) for place in ("siblings", "newest_leaf", "branch")),
]
"""What opens it, and where the store is busy meanwhile."""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[HeldStore]:
    store = await HeldStore.open(tmp_path / "conversations.db")
    yield store
    await store.close()


@pytest.fixture
async def chat(store: HeldStore) -> Chat:
    """One question with the answers heads and tails, the latter open; another conversation lies behind it."""
    model = ModelInfo("/models/tiny.gguf", "Tiny", n_ctx=4096)
    chat = Chat(store, ScriptedEngine("Elsewhere.", "Heads.", "Tails.", "Edge.", model=model), Settings())
    await all_of(chat.reply("Where?"))
    chat.new()
    await all_of(chat.reply("Heads or tails?"))
    await all_of(chat.regenerate())
    return chat


async def all_of(events: AsyncIterator[ChatEvent]) -> None:
    async for _ in events:
        pass


def texts(turns: Sequence[Turn]) -> list[str]:
    return [turn.text for turn in turns]


async def opened(chat: Chat, id: int) -> list[str]:
    """What a conversation shows when it is opened anew."""
    await chat.open(id)
    return texts(chat.turns)


@pytest.mark.parametrize(("how", "place"), PLACES)
@pytest.mark.parametrize("is_new", [True, False])
async def test_another_conversation_that_is_opened_meanwhile_stays_as_it_is(
    chat: Chat, store: HeldStore, how: str, place: str, is_new: bool
) -> None:
    elsewhere, here = (conversation.id for conversation in reversed(await chat.conversations()))
    store.hold(place)
    opening = asyncio.create_task(ENDINGS[how](chat))
    await store.waits.wait()
    chat.new()
    if not is_new:
        await chat.open(elsewhere)
    store.let_go()
    (ended,) = await asyncio.gather(opening, return_exceptions=True)
    assert ended is False or isinstance(ended, TurnKept)
    assert texts(chat.turns) == ([] if is_new else ["Where?", "Elsewhere."])
    assert await opened(chat, elsewhere) == ["Where?", "Elsewhere."]
    assert await opened(chat, here) == ["Heads or tails?", "Tails."]


@pytest.mark.parametrize(("how", "place"), PLACES)
async def test_a_reply_that_is_asked_for_meanwhile_goes_first(
    chat: Chat, store: HeldStore, how: str, place: str
) -> None:
    assert chat.conversation is not None
    store.hold(place)
    opening = asyncio.create_task(ENDINGS[how](chat))
    await store.waits.wait()
    asking = asyncio.create_task(all_of(chat.reply("And then?")))
    while not chat.is_replying:
        await asyncio.sleep(0)
    store.let_go()
    ended, failed = await asyncio.gather(opening, asking, return_exceptions=True)
    assert failed is None
    assert ended is False or isinstance(ended, TurnKept)
    said = ["Heads or tails?", "Tails.", "And then?", "Edge."]
    assert texts(chat.turns) == said
    assert await opened(chat, chat.conversation.id) == said


async def test_a_reply_that_is_asked_for_at_the_very_end_goes_on_from_the_answer_that_is_open_now(
    chat: Chat, store: HeldStore
) -> None:
    assert chat.conversation is not None
    store.hold("set_head")
    opening = asyncio.create_task(chat.flip(-1))
    await store.waits.wait()
    asking = asyncio.create_task(all_of(chat.reply("And then?")))
    while not chat.is_replying:
        await asyncio.sleep(0)
    store.let_go()
    assert await opening
    await asking
    said = ["Heads or tails?", "Heads.", "And then?", "Edge."]
    assert texts(chat.turns) == said
    assert await opened(chat, chat.conversation.id) == said


async def test_where_a_reply_has_begun_no_answer_is_flipped_to(chat: Chat) -> None:
    asking = asyncio.create_task(all_of(chat.reply("And then?")))
    while not chat.is_replying:
        await asyncio.sleep(0)
    assert not await chat.flip(-1)
    await asking
    assert texts(chat.turns) == ["Heads or tails?", "Tails.", "And then?", "Edge."]
    chat.new()
    assert not await chat.flip(-1), "nothing was answered there"
