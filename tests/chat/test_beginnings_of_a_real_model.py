"""Branches and steps with llama.cpp itself, on a model with random weights: nothing but the next token is evaluated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.engines import load
from support.tiny_models import write_model

from chatterm.chat import Beginning, Chat, ChatEvent
from chatterm.conversation import Turn, TurnState
from chatterm.engine.in_turns import Lane, in_turns
from chatterm.engine.local import LocalEngine
from chatterm.events import Measured, Prompted
from chatterm.settings import Sampling, Settings
from chatterm.store import Store

N = 12
SAMPLING = Sampling(temperature=1.2, seed=11, max_tokens=N)
FREE = Sampling(temperature=1.2, seed=11)


@pytest.fixture
async def chat(tmp_path: Path) -> AsyncIterator[Chat]:
    """A chat with a model that rambles, and one answer of some tokens."""
    engine = LocalEngine(patience_seconds=60)
    store = await Store.open(tmp_path / "conversations.db")
    await load(engine, write_model(tmp_path / "rambler.gguf", n_ctx=2048))
    chat = Chat(store, engine, Settings(sampling=SAMPLING))
    chat.is_measured = True
    yield chat
    await engine.close()
    await store.close()


async def measures(events: AsyncIterator[ChatEvent], prompted: list[Prompted] | None = None) -> list[Measured]:
    """What was drawn."""
    found = []
    async for event in events:
        if isinstance(event, Measured):
            found.append(event)
        elif isinstance(event, Prompted) and prompted is not None:
            prompted.append(event)
    return found


def ids(seen: list[Measured]) -> tuple[int, ...]:
    return tuple(one.id for one in seen if one.id is not None)


async def tree(chat: Chat) -> list[Turn]:
    assert chat.conversation is not None
    return await chat.store.turns(chat.conversation.id)


async def test_a_branch_is_saved_beside_the_answer_and_evaluates_one_token(chat: Chat) -> None:
    drawn = await measures(chat.reply("the cat"))
    question, answer = chat.turns
    other = next(token for token in range(300, 400) if token != drawn[4].id)
    prompted: list[Prompted] = []
    beginning = Beginning((*ids(drawn)[:4], other), FREE, n_tokens=3)
    more = await measures(chat.branch(question.id, beginning), prompted)
    assert prompted[0].n_prompt - prompted[0].n_reused == 1
    assert [seen.index for seen in more] == [5, 6, 7]
    branch = chat.turns[-1]
    assert [(turn.id, turn.parent_id, turn.text) for turn in await tree(chat)] == [
        (question.id, None, "the cat"),
        (answer.id, question.id, answer.text),
        (branch.id, question.id, branch.text),
    ]
    assert branch.text != answer.text
    assert branch.text.startswith(
        b"".join(seen.piece for seen in drawn[:4]).decode("utf-8", "replace").rstrip("\ufffd")
    )


async def test_stepping_draws_what_is_drawn_at_once(chat: Chat) -> None:
    drawn = await measures(chat.reply("the cat"))
    whole = chat.turns[-1].text
    by_hand: list[Measured] = []
    await measures(chat.rewrite(Beginning((), FREE, n_tokens=0)))
    assert chat.turns[-1].text == ""
    for _ in range(N):
        by_hand += await measures(chat.rewrite(Beginning(ids(by_hand), FREE, n_tokens=1)))
    assert ids(by_hand) == ids(drawn)
    assert [seen.probability for seen in by_hand] == pytest.approx([seen.probability for seen in drawn], rel=1e-3)
    assert chat.turns[-1].text == whole
    assert len(await tree(chat)) == 2


async def test_back_and_on_again_is_the_same_token_and_another_seed_may_be_another(chat: Chat) -> None:
    drawn = ids(await measures(chat.reply("the cat")))
    await measures(chat.rewrite(Beginning(drawn[:-1], FREE, n_tokens=0)))
    assert chat.turns[-1].state is TurnState.STOPPED
    again = await measures(chat.rewrite(Beginning(drawn[:-1], FREE, n_tokens=1)))
    assert ids(again) == drawn[-1:]
    others = set()
    for seed in range(8):
        hot = Sampling(temperature=2.0, top_k=0, top_p=1.0, min_p=0.0, seed=seed)
        others |= set(ids(await measures(chat.rewrite(Beginning(drawn[:-1], hot, n_tokens=1)))))
    assert len(others) > 1


async def test_an_answer_by_hand_is_resumed_from_its_very_last_token(chat: Chat) -> None:
    drawn = ids(await measures(chat.reply("the cat")))
    await measures(chat.rewrite(Beginning(drawn[:5], FREE, n_tokens=1)))
    assert chat.can_resume
    prompted: list[Prompted] = []
    await measures(chat.resume(), prompted)
    assert prompted[0].n_prompt - prompted[0].n_reused == 1


async def test_replies_in_turns_are_those_that_each_would_be_alone(chat: Chat) -> None:
    await measures(chat.reply("the cat"))
    lanes = [Lane(Sampling(temperature=temperature, seed=11)) for temperature in (0.0, 0.7, 1.2)]
    begun: list[Lane] = []
    async for lane in in_turns(chat.engine, chat.asked, lanes, 30):
        if not begun or begun[-1] is not lane:
            begun.append(lane)
    assert len(begun) > 3, "they take turns"
    for lane in lanes:
        alone = Sampling(temperature=lane.sampling.temperature, seed=11, max_tokens=30)
        events = [event async for event in chat.engine.reply(chat.asked, alone, measure=True)]
        drawn = [event.id for event in events if isinstance(event, Measured)]
        assert lane.ids == drawn == [seen.id for seen in lane.measures]
        assert lane.is_over
