"""An answer that begins with given tokens: a branch beside another one, or a step of the loop by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from chatterm.chat import Beginning, Chat, ChatEvent, TurnAdded, TurnSettled
from chatterm.conversation import Role, Turn, TurnState
from chatterm.engine.scripted import Line, ScriptedEngine
from chatterm.engine.scripted_measure import other_word
from chatterm.errors import NotFound, TurnKept, WorkerDied
from chatterm.events import Measured, ModelInfo, Token
from chatterm.settings import Sampling, Settings
from chatterm.store import Store

TEXT = "One two three four."
OTHER = 4711
"""A token that the script does not say."""


@pytest.fixture
async def chat(tmp_path: Path) -> AsyncIterator[Chat]:
    """A chat in which one answer was given, token 1 to 4."""
    store = await Store.open(tmp_path / "conversations.db")
    chat = Chat(store, ScriptedEngine(TEXT, model=ModelInfo("/models/tiny.gguf", "Tiny", n_ctx=4096)), Settings())
    chat.is_measured = True
    await all_of(chat.reply("Count."))
    yield chat
    await store.close()


def engine_of(chat: Chat) -> ScriptedEngine:
    assert isinstance(chat.engine, ScriptedEngine)
    return chat.engine


async def all_of(events: AsyncIterator[ChatEvent]) -> list[ChatEvent]:
    return [event async for event in events]


async def tree(chat: Chat) -> list[Turn]:
    """All turns as they are stored."""
    assert chat.conversation is not None
    return await chat.store.turns(chat.conversation.id)


async def test_a_branch_stands_beside_the_answer_that_it_parts_from(chat: Chat) -> None:
    question, answer = chat.turns
    events = await all_of(chat.branch(question.id, Beginning((1, OTHER))))
    text = f"One{other_word(OTHER)} three four."
    assert chat.turns[-1].text == text
    assert engine_of(chat).begun[-1] == (1, OTHER)
    assert [(turn.parent_id, turn.role, turn.text, turn.state) for turn in await tree(chat)] == [
        (None, Role.USER, "Count.", TurnState.FINISHED),
        (question.id, Role.ASSISTANT, TEXT, TurnState.FINISHED),
        (question.id, Role.ASSISTANT, text, TurnState.FINISHED),
    ]
    assert await chat.answers() == (1, 2)
    await chat.flip(-1)
    assert chat.turns == [question, answer]
    shown = next(event.turn for event in events if isinstance(event, TurnAdded))
    assert shown.text == f"One{other_word(OTHER)}", "it is shown with what it begins with, not empty first"
    assert [event.index for event in events if isinstance(event, Measured) and not event.is_end] == [2, 3]


async def test_a_branch_of_an_earlier_answer_leaves_what_followed_it_in_the_store(chat: Chat) -> None:
    question = chat.turns[0]
    await all_of(chat.reply("And on?"))
    await all_of(chat.branch(question.id, Beginning((1, OTHER))))
    assert [turn.text for turn in chat.turns] == ["Count.", f"One{other_word(OTHER)} three four."]
    await chat.flip(-1)
    assert [turn.text for turn in chat.turns] == ["Count.", TEXT, "And on?", TEXT]


async def test_a_step_writes_one_token_into_the_same_turn_and_waits(chat: Chat) -> None:
    question, answer = chat.turns
    await all_of(chat.rewrite(Beginning((1, 2), n_tokens=1)))
    assert (chat.turns[-1].id, chat.turns[-1].text) == (answer.id, "One two three")
    assert chat.turns[-1].state is TurnState.STOPPED
    assert chat.can_resume
    assert engine_of(chat).samplings[-1].max_tokens == 1
    assert [turn.role for turn in engine_of(chat).prompts[-1].turns] == [Role.USER], "the answer is not its own prompt"
    assert await tree(chat) == [question, chat.turns[-1]]


@pytest.mark.parametrize(("ids", "text"), [((1, 2), "One two"), ((1, OTHER), f"One{other_word(OTHER)}"), ((), "")])
async def test_a_step_back_or_another_token_draws_nothing(chat: Chat, ids: tuple[int, ...], text: str) -> None:
    events = await all_of(chat.rewrite(Beginning(ids, n_tokens=0)))
    assert (await tree(chat))[-1].text == chat.turns[-1].text == text
    assert chat.turns[-1].state is TurnState.STOPPED
    assert not any(isinstance(event, (Measured, Token)) for event in events)
    assert isinstance(events[-1], TurnSettled)


async def test_stepping_through_an_answer_ends_as_it_ended_at_once(chat: Chat) -> None:
    whole = chat.turns[-1].text
    for n in range(5):
        await all_of(chat.rewrite(Beginning(tuple(range(1, n + 1)), n_tokens=1)))
        assert chat.turns[-1].state is (TurnState.STOPPED if n < 4 else TurnState.FINISHED)
    assert chat.turns[-1].text == whole


async def test_other_settings_count_for_this_answer_alone(chat: Chat) -> None:
    hot = Sampling(temperature=1.5, seed=3)
    await all_of(chat.branch(chat.turns[0].id, Beginning((1,), hot)))
    record = chat.turns[-1].record
    assert record is not None
    assert (record.sampling["temperature"], record.seed) == (1.5, 3)
    assert engine_of(chat).samplings[-1] == hot
    assert chat.effective.sampling == Sampling()


async def test_what_fails_before_it_begins_leaves_the_answer_as_it_was(chat: Chat) -> None:
    before = chat.turns[-1]
    engine_of(chat).script = [Line("", error=WorkerDied("It died.", "Ask again."))]
    with pytest.raises(WorkerDied):
        await all_of(chat.rewrite(Beginning((), n_tokens=1)))
    assert (await tree(chat))[-1].text == before.text
    assert chat.turns[-1].record == before.record


async def test_a_step_that_is_stopped_while_it_is_read_keeps_the_answer(chat: Chat) -> None:
    async with aclosing(chat.rewrite(Beginning((1, 2), n_tokens=1))) as events:
        await anext(events)
    assert (await tree(chat))[-1].text == TEXT


async def test_there_must_be_something_to_begin_from(chat: Chat) -> None:
    with pytest.raises(NotFound):
        await all_of(chat.branch(999, Beginning((1,))))
    chat.new()
    with pytest.raises(NotFound):
        await all_of(chat.rewrite(Beginning((1,), n_tokens=1)))
    assert not chat.is_replying


async def test_an_answer_is_dropped_and_put_back(chat: Chat) -> None:
    question, answer = chat.turns
    await all_of(chat.branch(question.id, Beginning((1, OTHER))))
    branch = chat.turns[-1]
    dropped = await chat.drop(branch.id)
    assert dropped == branch
    assert chat.turns == [question, answer]
    assert await tree(chat) == [question, answer]
    await chat.put_back(dropped)
    assert chat.turns == [question, branch]
    assert await tree(chat) == [question, answer, branch]
    assert chat.conversation is not None
    assert (await chat.store.conversation(chat.conversation.id)).n_turns == 3


async def test_an_answer_that_is_needed_is_not_dropped(chat: Chat) -> None:
    question, answer = chat.turns
    with pytest.raises(TurnKept, match="only answer"):
        await chat.drop(answer.id)
    await all_of(chat.reply("And on?"))
    await all_of(chat.branch(question.id, Beginning((1, OTHER))))
    with pytest.raises(TurnKept, match="goes on behind"):
        await chat.drop(answer.id)
    assert [turn.text for turn in chat.turns] == ["Count.", f"One{other_word(OTHER)} three four."]
