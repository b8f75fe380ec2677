"""A conversation goes on: what is asked is kept before it is answered, and what arrives is kept however it ends."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from chatterm import tutor
from chatterm.chat import FLUSH_SECONDS, Chat, ChatEvent, TurnAdded, TurnSettled
from chatterm.conversation import ReplyRecord, Role, Turn, TurnState
from chatterm.engine.base import PromptTurn
from chatterm.engine.scripted import Line, ScriptedEngine
from chatterm.errors import ModelNotFound, NotFound, SettingsError, WorkerDied
from chatterm.events import Finished, FinishReason, Loaded, Loading, ModelInfo, Prefilling, Prompted, Token, Trimmed
from chatterm.settings import ChatSettings, LoadOptions, Sampling, Settings
from chatterm.store import Store

MODEL = ModelInfo(
    "/models/tiny.gguf",
    "Tiny",
    quantization="Q4_K_M",
    n_ctx=4096,
    template="model",
    hash="sha256:1234",
    repo="someone/tiny-GGUF",
)
SETTINGS = Settings(chat=ChatSettings(system_prompt="Be brief."), sampling=Sampling(temperature=0.3, seed=42))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "conversations.db")
    yield store
    await store.close()


def chat_with(store: Store, *script: Line | str, settings: Settings = SETTINGS, **options: Any) -> Chat:
    return Chat(store, ScriptedEngine(*script, model=MODEL), settings, **options)


async def all_of(events: AsyncIterator[ChatEvent]) -> list[ChatEvent]:
    return [event async for event in events]


async def collect(events: AsyncIterator[ChatEvent], into: list[ChatEvent]) -> None:
    """Take all events, and keep what came also when an error ends them."""
    async for event in events:
        into.append(event)  # noqa: PERF401 (what came before an error counts)


async def up_to(events: Any, kind: type[ChatEvent], number: int = 1) -> None:
    """Take events until one of a kind has come so many times, then stop the reply."""
    async with aclosing(events):
        async for event in events:
            number -= isinstance(event, kind)
            if not number:
                return
    raise AssertionError(f"no {kind.__name__}")


async def come_true(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.001)


def script_of(chat: Chat) -> ScriptedEngine:
    assert isinstance(chat.engine, ScriptedEngine)
    return chat.engine


async def stored(chat: Chat) -> list[Turn]:
    assert chat.conversation is not None
    conversation = await chat.store.conversation(chat.conversation.id)
    return await chat.store.branch(conversation.head_id)


async def test_a_reply_comes_as_events_and_is_kept(store: Store) -> None:
    chat = chat_with(store, Line("An answer.", reasoning="Let me see."))
    assert chat.conversation is None
    events = await all_of(chat.reply("A question?"))
    kinds = [kind for kind, _ in itertools.groupby(type(event) for event in events)]
    assert kinds == [TurnAdded, Prompted, Prefilling, Token, Finished, TurnSettled]
    question, reply = chat.turns
    assert events[0] == TurnAdded(question)
    assert events[-1] == TurnSettled(reply)
    assert (question.role, question.text) == (Role.USER, "A question?")
    assert (reply.role, reply.text, reply.reasoning) == (Role.ASSISTANT, "An answer.", "Let me see.")
    assert reply.state is TurnState.FINISHED
    assert await stored(chat) == chat.turns
    assert chat.conversation.title == "A question?"
    assert chat.is_saved


async def test_a_reply_records_how_it_was_made(store: Store) -> None:
    chat = chat_with(store, Line("One two three", trimmed=(7, 8)))
    await all_of(chat.reply("A question?"))
    record = (await stored(chat))[-1].record
    assert record is not None
    assert (record.model_name, record.model_path, record.model_hash) == ("Tiny", "/models/tiny.gguf", "sha256:1234")
    assert (record.model_repo, record.quantization, record.template) == ("someone/tiny-GGUF", "Q4_K_M", "model")
    assert record.system_prompt == "Be brief."
    assert set(record.sampling) == set(Sampling.__struct_fields__)
    assert record.sampling["temperature"] == 0.3
    assert (record.seed, record.n_ctx, record.n_prompt, record.n_generated) == (42, 4096, 4, 3)
    assert (record.prefill_seconds, record.first_token_seconds) == (0.01, 0.02)
    assert record.tokens_per_second == pytest.approx(100)
    assert (record.reason, record.dropped_turns) == ("end", (7, 8))


async def test_a_seed_drawn_at_random_is_recorded_too(store: Store) -> None:
    chat = chat_with(store, settings=Settings())
    await up_to(chat.reply("?"), Token)
    assert (await stored(chat))[-1].record.seed == 7  # the one that the engine said it took


async def test_a_model_that_comes_in_again_for_the_reply_is_recorded(store: Store) -> None:
    class Waking(ScriptedEngine):
        async def reply(self, prompt, sampling):
            self.model = MODEL
            async for event in super().reply(prompt, sampling):
                yield event

    await all_of(Chat(store, Waking(), SETTINGS).reply("?"))
    record = (await store.turns(1))[-1].record
    assert (record.model_name, record.model_hash, record.n_ctx) == ("Tiny", "sha256:1234", 4096)


async def test_question_and_empty_reply_are_stored_before_the_engine_starts(store: Store) -> None:
    class Looking(ScriptedEngine):
        async def reply(self, prompt, sampling):
            self.found = await store.turns(1)
            async for event in super().reply(prompt, sampling):
                yield event

    engine = Looking("Yes.", model=MODEL)
    await all_of(Chat(store, engine, SETTINGS).reply("There already?"))
    assert [(turn.text, turn.state) for turn in engine.found] == [
        ("There already?", TurnState.FINISHED),
        ("", TurnState.WRITING),
    ]
    assert engine.found[1].record.model_name == "Tiny"


async def test_text_is_saved_while_it_comes_also_when_nothing_follows(store: Store) -> None:
    chat = chat_with(store, "First second third", flush_seconds=0)
    engine = script_of(chat)
    engine.gate = asyncio.Event()
    task = asyncio.create_task(all_of(chat.reply("?")))

    async def first_word_is_saved() -> bool:
        turns = await store.turns(1)
        return len(turns) == 2 and turns[1].text == "First"

    await come_true(first_word_is_saved)  # the engine waits at the gate: no further event moves anything
    saved = (await store.turns(1))[1]
    assert (saved.state, saved.record.seed) == (TurnState.WRITING, 42)
    engine.gate.set()
    await task
    assert (await store.turns(1))[1].text == "First second third"


def test_less_than_a_second_is_at_risk() -> None:
    assert FLUSH_SECONDS < 1


@pytest.mark.parametrize(
    ("kind", "number", "text"),
    [
        (TurnAdded, 1, ""),
        (TurnAdded, 2, ""),
        (Trimmed, 1, ""),
        (Prompted, 1, ""),
        (Prefilling, 1, ""),
        (Token, 1, "One"),
        (Token, 2, "One two"),
    ],
)
async def test_stopping_keeps_what_arrived(store: Store, kind: type[ChatEvent], number: int, text: str) -> None:
    chat = chat_with(store, Line("One two three", trimmed=(99,)))
    await up_to(chat.reply("?"), kind, number)
    question, reply = await stored(chat)
    assert (question.text, reply.text, reply.state) == ("?", text, TurnState.STOPPED)
    assert [question, reply] == chat.turns
    assert reply.record.n_generated == len(text.split())
    assert not chat.is_replying


async def test_a_reply_that_is_complete_when_it_is_closed_is_not_stopped(store: Store) -> None:
    chat = chat_with(store, "One two three")
    await up_to(chat.reply("?"), Finished)
    assert (await stored(chat))[-1].state is TurnState.FINISHED


async def test_cancelling_the_task_keeps_what_arrived(store: Store) -> None:
    chat = chat_with(store, "One two three")
    script_of(chat).gate = asyncio.Event()
    arrived = asyncio.Event()

    async def answer() -> None:
        async with aclosing(chat.reply("?")) as events:
            async for event in events:
                if isinstance(event, Token):
                    arrived.set()

    task = asyncio.create_task(answer())
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(turn.text, turn.state) for turn in await stored(chat)] == [
        ("?", TurnState.FINISHED),
        ("One", TurnState.STOPPED),
    ]


async def test_cancelling_twice_keeps_what_arrived_too(store: Store) -> None:
    chat = chat_with(store, "One two three")
    script_of(chat).gate = asyncio.Event()
    arrived = asyncio.Event()

    async def answer() -> None:
        async for event in chat.reply("?"):
            if isinstance(event, Token):
                arrived.set()

    task = asyncio.create_task(answer())
    await arrived.wait()
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)

    async def is_settled() -> bool:
        return (await store.turns(1))[1].state is TurnState.STOPPED

    await come_true(is_settled)
    assert await stored(chat) == chat.turns
    assert chat.turns[1].text == "One"


@pytest.mark.parametrize("n_steps", range(0, 40, 3))
async def test_cancelling_at_any_moment_leaves_no_reply_open(store: Store, n_steps: int) -> None:
    chat = chat_with(store, "One two three", flush_seconds=0)
    task = asyncio.create_task(all_of(chat.reply("?")))
    for _ in range(n_steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert not chat.is_replying
    turns = [turn for c in await store.conversations() for turn in await store.turns(c.id)]
    assert all(turn.state is not TurnState.WRITING for turn in turns)
    await all_of(chat.reply("Still there?"))
    assert [turn.text for turn in await stored(chat)] == [turn.text for turn in chat.turns]
    assert chat.turns[-1].state is TurnState.FINISHED


async def test_a_reply_that_is_never_begun_leaves_nothing(store: Store) -> None:
    chat = chat_with(store)
    await chat.reply("?").aclose()
    assert await store.conversations() == []
    assert chat.conversation is None


async def test_when_the_worker_dies_the_partial_reply_and_the_reason_are_kept(store: Store) -> None:
    died = WorkerDied("The process was killed.", "Ask again.")
    chat = chat_with(store, Line("Half an", error=died))
    events: list[ChatEvent] = []
    with pytest.raises(WorkerDied):
        await collect(chat.reply("?"), events)
    reply = (await stored(chat))[-1]
    assert (reply.text, reply.state, reply.error) == ("Half an", TurnState.FAILED, "The process was killed. Ask again.")
    assert events[-1] == TurnSettled(reply)


async def test_without_a_model_the_question_is_kept_and_can_be_answered_later(store: Store) -> None:
    chat = chat_with(store, "An answer.")
    script_of(chat).model = None
    with pytest.raises(ModelNotFound):
        await all_of(chat.reply("A question?"))
    assert [turn.text for turn in await stored(chat)] == ["A question?", ""]
    script_of(chat).model = MODEL
    assert chat.can_resume
    await all_of(chat.resume())
    assert [turn.text for turn in await stored(chat)] == ["A question?", "An answer."]
    assert chat.turns[-1].record.model_name == "Tiny"
    assert chat.turns[-1].error == ""


async def test_a_mistake_in_the_program_is_raised_and_still_leaves_no_reply_open(store: Store) -> None:
    class Broken(ScriptedEngine):
        async def reply(self, prompt, sampling):
            yield Token("Half")
            raise ZeroDivisionError

    chat = Chat(store, Broken(model=MODEL), SETTINGS)
    with pytest.raises(ZeroDivisionError):
        await all_of(chat.reply("?"))
    assert [(turn.text, turn.state) for turn in await stored(chat)][1] == ("Half", TurnState.FAILED)


async def test_the_model_gets_the_branch_with_the_system_prompt_and_the_ids(store: Store) -> None:
    settings = SETTINGS.merged({"chat": {"template_variables": {"enable_thinking": False}}})
    chat = chat_with(store, Line("One.", reasoning="Hm."), "Two.", settings=settings)
    await all_of(chat.reply("First?"))
    await all_of(chat.reply("Second?"))
    prompt = script_of(chat).prompts[-1]
    first, one, second, _ = chat.turns
    assert prompt.turns == (
        PromptTurn(Role.SYSTEM, "Be brief.", 0),
        PromptTurn(Role.USER, "First?", first.id),
        PromptTurn(Role.ASSISTANT, "One.", one.id),
        PromptTurn(Role.USER, "Second?", second.id),
    )
    assert prompt.template_variables == {"enable_thinking": False}
    assert not prompt.continues
    assert script_of(chat).samplings[-1] == settings.sampling


async def test_empty_replies_are_not_sent_back_and_partial_ones_are(store: Store) -> None:
    error = WorkerDied("Killed.")
    chat = chat_with(store, Line("", error=error), "Partial answer", "Whole.")
    with pytest.raises(WorkerDied):
        await all_of(chat.reply("First?"))
    await up_to(chat.reply("Second?"), Token)
    await all_of(chat.reply("Third?"))
    sent = [turn.text for turn in script_of(chat).prompts[-1].turns]
    assert sent == ["Be brief.", "First?", "Second?", "Partial", "Third?"]


async def test_a_stopped_reply_goes_on_in_the_same_turn(store: Store) -> None:
    chat = chat_with(store, Line("Once upon", reasoning="A tale."), " a time.")
    assert not chat.can_resume
    await up_to(chat.reply("Tell!"), Token, number=3)
    stopped = chat.turns[-1]
    assert (stopped.text, stopped.record.n_generated) == ("Once", 3)
    assert chat.can_resume
    events = await all_of(chat.resume())
    prompt = script_of(chat).prompts[-1]
    assert prompt.continues
    assert prompt.turns[-1] == PromptTurn(Role.ASSISTANT, "Once", stopped.id)
    reply = (await stored(chat))[-1]
    assert (reply.id, reply.text, reply.reasoning) == (stopped.id, "Once a time.", "A tale.")
    assert (reply.state, reply.record.n_generated, reply.record.reason) == (TurnState.FINISHED, 5, "end")
    assert (reply.record.n_prompt, reply.record.n_reused) == (stopped.record.n_prompt, stopped.record.n_reused)
    assert (events[0].turn.id, events[0].turn.text, events[0].turn.state) == (stopped.id, "Once", TurnState.WRITING)
    assert not chat.can_resume


async def test_a_reply_that_was_cut_by_its_longest_length_can_go_on(store: Store) -> None:
    class Cutting(ScriptedEngine):
        async def reply(self, prompt, sampling):
            yield Token("Too lo", 1)
            yield Finished(FinishReason.LENGTH)

    chat = Chat(store, Cutting(model=MODEL), SETTINGS)
    await all_of(chat.reply("?"))
    assert chat.turns[-1].state is TurnState.FINISHED
    assert chat.can_resume


async def test_going_on_in_vain_loses_nothing(store: Store) -> None:
    chat = chat_with(store, "One two", Line("", error=WorkerDied("Killed.")))
    await up_to(chat.reply("?"), Token)
    record = chat.turns[-1].record
    script_of(chat).model = None
    with pytest.raises(ModelNotFound):
        await all_of(chat.resume())
    reply = (await stored(chat))[-1]
    assert (reply.text, reply.state, reply.record) == ("One", TurnState.FAILED, record)
    assert chat.can_resume


async def test_a_reply_without_text_is_thought_afresh(store: Store) -> None:
    chat = chat_with(store, Line("Never said", reasoning="Old thought."), Line("Answer.", reasoning="New thought."))
    await up_to(chat.reply("?"), Token)
    assert (chat.turns[-1].text, chat.turns[-1].reasoning) == ("", "Old")
    script_of(chat).model = None
    with pytest.raises(ModelNotFound):
        await all_of(chat.resume())
    assert chat.turns[-1].reasoning == "Old"
    script_of(chat).model = MODEL
    events = await all_of(chat.resume())
    assert events[0].turn.reasoning == ""
    assert not script_of(chat).prompts[-1].continues
    reply = (await stored(chat))[-1]
    assert (reply.text, reply.reasoning) == ("Answer.", "New thought.")


async def test_there_must_be_something_to_go_on_with(store: Store) -> None:
    chat = chat_with(store)
    for events in (chat.resume(), chat.regenerate()):
        with pytest.raises(NotFound):
            await all_of(events)
    await all_of(chat.reply("?"))
    with pytest.raises(NotFound):
        await all_of(chat.resume())
    assert not chat.is_replying


async def test_another_answer_stands_beside_the_first_and_both_can_be_shown(store: Store) -> None:
    chat = chat_with(store, "Heads.", "Tails.", "Next.")
    await all_of(chat.reply("Heads or tails?"))
    assert chat.can_regenerate
    await all_of(chat.regenerate())
    assert [turn.text for turn in script_of(chat).prompts[-1].turns] == ["Be brief.", "Heads or tails?"]
    assert [turn.text for turn in chat.turns] == ["Heads or tails?", "Tails."]
    heads, tails = await chat.siblings(chat.turns[-1].id)
    assert (heads.text, tails.text) == ("Heads.", "Tails.")
    await chat.switch(heads.id)
    assert chat.turns[-1] == heads
    await all_of(chat.reply("And then?"))
    assert [turn.text for turn in chat.turns] == ["Heads or tails?", "Heads.", "And then?", "Next."]
    await chat.switch(tails.id)
    assert [turn.text for turn in chat.turns] == ["Heads or tails?", "Tails."]
    await chat.switch(heads.id)
    assert [turn.text for turn in chat.turns] == ["Heads or tails?", "Heads.", "And then?", "Next."]
    assert await stored(chat) == chat.turns


async def test_turns_that_were_left_out_are_known_also_after_reopening(store: Store) -> None:
    chat = chat_with(store, "One.", Line("Two.", trimmed=(1, 2)), "Three.")
    await all_of(chat.reply("First?"))
    assert chat.unseen == frozenset()
    async for event in chat.reply("Second?"):
        if isinstance(event, Trimmed):
            assert chat.unseen == {1, 2}
    other = chat_with(store)
    await other.open(chat.conversation.id)
    assert other.unseen == chat.unseen == {1, 2}
    await all_of(chat.reply("Third?"))
    assert chat.unseen == frozenset()


async def test_a_conversation_is_found_again_and_goes_on(store: Store) -> None:
    first = chat_with(store, "One.")
    assert not await first.open_latest()
    await all_of(first.reply("First?"))
    again = chat_with(store, "Two.")
    assert await again.open_latest()
    assert again.conversation == first.conversation
    await all_of(again.reply("Second?"))
    assert [turn.text for turn in await stored(again)] == ["First?", "One.", "Second?", "Two."]
    assert await again.prompt_history() == ["Second?", "First?"]


async def test_an_interrupted_reply_goes_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "killed.db"
    killed = await Store.open(path)
    conversation, question = await killed.start("Tell!")
    reply = await killed.begin_reply(conversation.id, question.id, ReplyRecord(model_name="Tiny"))
    await killed.write_reply(reply.id, "Once", "")
    await killed.close()

    store = await Store.open(path)
    chat = chat_with(store, " upon a time.")
    await chat.open_latest()
    assert chat.turns[-1].state is TurnState.INTERRUPTED
    assert chat.can_resume
    await all_of(chat.resume())
    assert (await stored(chat))[-1].text == "Once upon a time."
    await store.close()


async def test_settings_of_a_conversation_count_there_alone(store: Store) -> None:
    chat = chat_with(store)
    await chat.override({"sampling": {"temperature": 1.5, "top_k": 5}, "chat": {"system_prompt": "Shout."}})
    assert chat.conversation is None  # and kept until there is one
    await all_of(chat.reply("?"))
    assert script_of(chat).samplings[-1].temperature == 1.5
    assert script_of(chat).prompts[-1].turns[0].text == "Shout."
    loud = chat.conversation
    assert loud.overrides == {"sampling": {"temperature": 1.5, "top_k": 5}, "chat": {"system_prompt": "Shout."}}

    await chat.override({"sampling": {"temperature": None}, "chat": {"system_prompt": None}})
    assert chat.overrides == {"sampling": {"top_k": 5}}
    assert chat.effective == SETTINGS.merged({"sampling": {"top_k": 5}})
    assert (await store.conversation(loud.id)).overrides == chat.overrides == chat.conversation.overrides

    chat.new()
    assert chat.effective == SETTINGS
    await chat.open(loud.id)
    assert chat.effective.sampling.top_k == 5
    chat.settings = Settings()
    assert chat.effective == Settings(sampling=Sampling(top_k=5))


async def test_the_engine_is_told_what_the_conversation_states_although_it_is_the_default(store: Store) -> None:
    chat = chat_with(store)
    await all_of(chat.reply("?"))
    await chat.override({"sampling": {"temperature": 0.8}})
    await all_of(chat.reply("!"))
    assert script_of(chat).stated == [frozenset(), {"temperature"}]


async def test_a_refused_value_changes_nothing(store: Store) -> None:
    chat = chat_with(store)
    with pytest.raises(SettingsError):
        await chat.override({"sampling": {"temperature": 99}})
    assert chat.overrides == {}


async def test_settings_that_are_no_longer_known_do_not_lock_a_conversation(store: Store) -> None:
    conversation = await store.create("old", {"sampling": {"top_k": 5, "mirostat": 2}, "gone": {"x": 1}})
    chat = chat_with(store)
    await chat.open(conversation.id)
    assert chat.effective == SETTINGS.merged({"sampling": {"top_k": 5}})


async def test_only_one_reply_at_a_time(store: Store) -> None:
    chat = chat_with(store, "One two")
    async with aclosing(chat.reply("?")) as events:
        await anext(events)
        assert chat.is_replying
        for second in (chat.reply("!"), chat.resume(), chat.regenerate()):
            with pytest.raises(RuntimeError):
                await anext(second)
        with pytest.raises(RuntimeError):
            await chat.switch(1)
    assert not chat.is_replying
    assert len(await stored(chat)) == 2


async def test_another_conversation_can_be_opened_while_a_reply_is_written(store: Store) -> None:
    chat = chat_with(store, "Elsewhere.", Line("One two three", trimmed=(1,)), flush_seconds=3600)
    await all_of(chat.reply("Elsewhere?"))
    elsewhere = chat.conversation
    chat.new()
    async with aclosing(chat.reply("Here?")) as events:
        async for event in events:
            if isinstance(event, Token) and event.text == " two":
                break
        here = chat.conversation
        await chat.open(elsewhere.id)
        assert [turn.text for turn in chat.turns] == ["Elsewhere?", "Elsewhere."]
        assert chat.unseen == frozenset()
        await chat.open(here.id)
        assert [turn.text for turn in chat.turns] == ["Here?", "One two"]
        await chat.open(elsewhere.id)
        settled = [event async for event in events][-1]
    assert settled.turn.text == "One two three"
    assert [turn.text for turn in chat.turns] == ["Elsewhere?", "Elsewhere."]
    assert (await store.turns(here.id))[-1] == settled.turn


async def test_turns_left_out_elsewhere_do_not_dim_the_open_conversation(store: Store) -> None:
    chat = chat_with(store, Line("One.", trimmed=(1, 2)))
    async with aclosing(chat.reply("Here?")) as events:
        await anext(events)
        here = chat.conversation
        chat.new()
        await all_of(events)
    assert chat.unseen == frozenset()
    await chat.open(here.id)
    assert chat.unseen == {1, 2}


async def test_deleting_the_open_conversation_opens_a_new_one_and_can_be_taken_back(store: Store) -> None:
    chat = chat_with(store)
    await all_of(chat.reply("?"))
    deleted, turns = chat.conversation, chat.turns
    await chat.delete(deleted.id)
    assert (chat.conversation, chat.turns) == (None, [])
    assert await chat.conversations() == []
    await chat.restore(deleted.id)
    await chat.open(deleted.id)
    assert chat.turns == turns


async def test_a_reply_in_a_deleted_conversation_is_there_when_it_is_restored(store: Store) -> None:
    chat = chat_with(store, "One two three")
    async with aclosing(chat.reply("?")) as events:
        await anext(events)
        deleted = chat.conversation
        await chat.delete(deleted.id)
        await all_of(events)
    await chat.restore(deleted.id)
    await chat.open(deleted.id)
    assert chat.turns[-1].text == "One two three"


async def test_a_new_title_is_seen_at_once(store: Store) -> None:
    chat = chat_with(store)
    await all_of(chat.reply("?"))
    await chat.rename(chat.conversation.id, "A better one")
    assert chat.conversation.title == "A better one"
    assert [c.title for c in await chat.conversations("BETTER")] == ["A better one"]


async def test_a_model_is_loaded_with_the_settings_of_the_conversation(store: Store) -> None:
    chat = Chat(store, ScriptedEngine(), Settings(load=LoadOptions(n_ctx=512)))
    await chat.override({"load": {"n_ctx": 1024}})
    events = [event async for event in chat.load(Path("/models/tiny.gguf"))]
    assert isinstance(events[0], Loading)
    assert isinstance(events[-1], Loaded)
    assert chat.model is not None
    assert chat.model.n_ctx == 1024


async def test_a_stopped_reply_is_measured_by_the_clock(store: Store) -> None:
    chat = chat_with(store, "One two three", clock=itertools.count(100.0).__next__)
    await up_to(chat.reply("?"), Token, number=3)
    record = chat.turns[-1].record
    assert record.n_generated == 3
    assert record.decode_seconds == 2
    assert record.first_token_seconds > record.prefill_seconds > 0
    assert record.reason == ""


async def test_half_a_character_in_a_question_reaches_neither_engine_nor_store(store: Store) -> None:
    chat = chat_with(store)
    await all_of(chat.reply("Half \ud83d"))
    assert script_of(chat).prompts[-1].turns[-1].text == "Half \ufffd"
    assert chat.turns == await stored(chat)


async def test_a_conversation_that_is_gone_is_said_to_be(store: Store) -> None:
    chat = chat_with(store)
    with pytest.raises(NotFound):
        await chat.open(99)
    assert chat.conversation is None


@pytest.mark.parametrize(("chosen", "expected"), [(None, tutor.TEMPERATURE), (0.8, 0.8), (1.1, 1.1)])
async def test_a_new_conversation_with_the_tutor_has_its_temperature_unless_one_was_set(
    own_folders: Path, chosen: float | None, expected: float
) -> None:
    settings = Settings().merged({"sampling": {"temperature": chosen}})
    store = await Store.open(own_folders / "conversations.db")
    chat = Chat(store, ScriptedEngine("Hi."), settings)
    async for _ in chat.load(tutor.FILE):
        pass
    assert chat.effective.sampling.temperature == expected
    chat.new()
    assert chat.effective.sampling.temperature == expected
    async for _ in chat.load(own_folders / "another.gguf"):
        pass
    assert chat.effective.sampling.temperature == (chosen or Sampling().temperature)
    await store.close()
