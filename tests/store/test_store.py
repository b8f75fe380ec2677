"""What is told to the store can be asked of it again."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from pathlib import Path

import msgspec
import pytest

from chatterm.conversation import ReplyRecord, Role, Turn, TurnState
from chatterm.errors import NotFound
from chatterm.store import Store

RECORD = ReplyRecord(
    model_name="Tiny",
    model_path="/models/tiny.gguf",
    model_hash="sha256:1234",
    model_repo="someone/tiny-GGUF",
    quantization="Q4_K_M",
    template="model",
    system_prompt="Be brief.",
    sampling={"temperature": 0.2, "stop": ["###"]},
    seed=42,
    n_ctx=4096,
    n_prompt=20,
    n_reused=12,
    n_generated=30,
    prefill_seconds=0.5,
    first_token_seconds=0.6,
    decode_seconds=1.5,
    reason="end",
    dropped_turns=(1, 2),
)


async def answered(store: Store, question: Turn, text: str = "An answer.") -> Turn:
    """A finished reply to a question."""
    reply = await store.begin_reply(question.conversation_id, question.id, RECORD)
    return await store.finish_reply(reply.id, TurnState.FINISHED, text, "", RECORD)


async def test_everything_is_there_again_after_reopening(path: Path) -> None:
    store = await Store.open(path)
    conversation, question = await store.start("Why is the sky blue?", {"sampling": {"temperature": 0.1}})
    reply = await store.begin_reply(conversation.id, question.id, RECORD)
    reply = await store.finish_reply(reply.id, TurnState.STOPPED, "Because", "Light scatters.", RECORD)
    await store.close()

    store = await Store.open(path)
    again = await store.latest()
    assert again is not None
    assert (again.title, again.head_id, again.n_turns) == ("Why is the sky blue?", reply.id, 2)
    assert again.overrides == {"sampling": {"temperature": 0.1}}
    assert await store.branch(again.head_id) == [question, reply]
    assert (reply.text, reply.reasoning, reply.state) == ("Because", "Light scatters.", TurnState.STOPPED)
    assert reply.record == RECORD
    await store.close()


async def test_a_closed_store_leaves_one_file_for_its_owner_alone(path: Path) -> None:
    store = await Store.open(path)
    await store.start("secret")
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in path.parent.iterdir())
    await store.close()
    assert list(path.parent.iterdir()) == [path]
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_two_answers_to_a_question_are_siblings(store: Store) -> None:
    conversation, question = await store.start("Heads or tails?")
    heads = await answered(store, question, "Heads.")
    tails = await answered(store, question, "Tails.")
    assert await store.branch(tails.id) == [question, tails]
    assert await store.branch(heads.id) == [question, heads]
    assert await store.siblings(heads.id) == [heads, tails]
    assert await store.turns(conversation.id) == [question, heads, tails]
    assert (await store.conversation(conversation.id)).head_id == tails.id
    await store.set_head(conversation.id, heads.id)
    assert (await store.conversation(conversation.id)).head_id == heads.id


async def test_the_newest_end_below_a_turn_is_found(store: Store) -> None:
    conversation, question = await store.start("One?")
    first, second = await answered(store, question), await answered(store, question)
    follow_up = await store.add_question(conversation.id, first.id, "Two?")
    end = await answered(store, follow_up)
    assert await store.newest_leaf(first.id) == end.id
    assert await store.newest_leaf(second.id) == second.id


async def test_a_turn_cannot_hang_on_another_conversation(store: Store) -> None:
    _, elsewhere = await store.start("Here")
    conversation, _ = await store.start("There")
    with pytest.raises(NotFound):
        await store.add_question(conversation.id, elsewhere.id, "Crossed?")
    assert (await store.conversation(conversation.id)).n_turns == 1


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("Why?", "Why?"),
        ("\n\n  Why\tis \x1b[31mthe\x00 sky\u202e blue?\nAnd the sea?", "Why is [31mthe sky blue?"),
        ("word " * 40, "word word word word word word word word word word word…"),
        ("x" * 100, "x" * 59 + "…"),
        ("为什么天空是蓝色的？", "为什么天空是蓝色的？"),
        ("\n \n", ""),
    ],
)
async def test_the_title_is_the_first_line_of_the_first_question(store: Store, question: str, title: str) -> None:
    conversation, turn = await store.start(question)
    assert conversation.title == title
    await store.add_question(conversation.id, turn.id, "Something else")
    assert (await store.conversation(conversation.id)).title == title


async def test_a_title_that_was_given_stays(store: Store) -> None:
    conversation = await store.create("Given")
    await store.add_question(conversation.id, None, "Asked")
    assert (await store.conversation(conversation.id)).title == "Given"
    assert (await store.rename(conversation.id, " Two\nlines ")).title == "Two lines"
    assert (await store.rename(conversation.id, "")).title == "Asked"


async def test_the_newest_conversation_comes_first_and_new_turns_make_it_newer(store: Store) -> None:
    a, question = await store.start("a")
    b, _ = await store.start("b")
    assert [c.id for c in await store.conversations()] == [b.id, a.id]
    await answered(store, question)
    assert [c.id for c in await store.conversations()] == [a.id, b.id]
    await store.rename(b.id, "renamed")
    assert (await store.latest()).id == a.id


async def test_titles_are_found_whatever_their_case(store: Store) -> None:
    for title in ("Größe 100%", "Other", "ÜBER_ALL"):
        await store.create(title)
    assert [c.title for c in await store.conversations(title_contains="GRÖSSE")] == ["Größe 100%"]
    assert [c.title for c in await store.conversations(title_contains="über_")] == ["ÜBER_ALL"]
    assert [c.title for c in await store.conversations(title_contains="%")] == ["Größe 100%"]


async def test_a_deleted_conversation_is_hidden_and_can_be_restored(store: Store) -> None:
    conversation, question = await store.start("Gone?")
    reply = await answered(store, question)
    await store.delete(conversation.id)
    assert await store.conversations() == []
    assert await store.latest() is None
    assert await store.prompts() == []
    await store.restore(conversation.id)
    assert [c.id for c in await store.conversations()] == [conversation.id]
    assert await store.branch(reply.id) == [question, reply]


async def test_closing_purges_what_this_store_deleted_and_nothing_else(path: Path) -> None:
    mine, theirs = await Store.open(path), await Store.open(path)
    kept, deleted_here, deleted_there = [(await mine.start(text))[0] for text in ("kept", "here", "there")]
    await mine.delete(deleted_here.id)
    await theirs.delete(deleted_there.id)
    await mine.close()
    with pytest.raises(NotFound):
        await theirs.conversation(deleted_here.id)
    await theirs.restore(deleted_there.id)
    assert {c.id for c in await theirs.conversations()} == {kept.id, deleted_there.id}
    await theirs.close()


async def test_a_long_conversation_opens_branches_and_is_purged(path: Path) -> None:
    store = await Store.open(path)
    conversation, turn = await store.start("0")
    await store.close()
    with sqlite3.connect(path) as connection:  # 3,000 turns in a row: deeper than SQLite follows a cascade
        connection.executemany(
            "INSERT INTO turns (id, conversation_id, parent_id, role, text, state, created_at)"
            " VALUES (?, ?, ?, ?, ?, 'finished', 0)",
            [
                (turn.id + i, conversation.id, turn.id + i - 1, ("user", "assistant")[i % 2], str(i))
                for i in range(1, 3000)
            ],
        )
        connection.execute("UPDATE conversations SET head_id = ?", (turn.id + 2999,))
    connection.close()

    store = await Store.open(path)
    branch = await store.branch((await store.conversation(conversation.id)).head_id)
    assert [turn.text for turn in branch] == [str(i) for i in range(3000)]
    assert await store.newest_leaf(turn.id) == turn.id + 2999
    await store.delete(conversation.id)
    await store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM turns").fetchone() == (0,)
    connection.close()


async def test_ten_thousand_conversations_are_listed_by_an_index(path: Path) -> None:
    await (await Store.open(path)).close()
    with sqlite3.connect(path) as connection:
        connection.executemany(
            "INSERT INTO conversations (title, created_at, updated_at) VALUES (?, ?, ?)",
            [(f"number {i}", i, (i * 7919) % 10_000) for i in range(10_000)],
        )
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT title FROM conversations WHERE deleted_at IS NULL"
            " ORDER BY updated_at DESC, id DESC LIMIT 200"
        ).fetchall()
        assert "conversations_by_age" in str(plan)
        assert "TEMP B-TREE" not in str(plan)
    connection.close()

    store = await Store.open(path)
    newest = [c.updated_at for c in await store.conversations()]
    assert newest == list(range(9999, 9799, -1))
    assert [c.updated_at for c in await store.conversations(limit=3, offset=200)] == [9799, 9798, 9797]
    assert [c.title for c in await store.conversations(title_contains="NUMBER 1234")] == ["number 1234"]
    await store.close()


async def test_questions_are_remembered_once_each_newest_first(store: Store) -> None:
    _, first = await store.start("one")
    await store.add_question(first.conversation_id, (await answered(store, first)).id, "two")
    await store.start("one")
    await store.start("three")
    assert await store.prompts() == ["three", "one", "two"]
    assert await store.prompts(limit=2) == ["three", "one"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("nul \0 inside", "nul \0 inside"),
        ("half \ud83d a pair \udc80", "half � a pair �"),
        ("whole \ud83d\ude00 pair", "whole 😀 pair"),
        ("é 漢字 مرحبا 👩‍👩‍👧‍👦 ﷽", "é 漢字 مرحبا 👩‍👩‍👧‍👦 ﷽"),
        ("'; DROP TABLE turns; --", "'; DROP TABLE turns; --"),
        ("x" * 3_000_000, "x" * 3_000_000),
    ],
)
async def test_any_text_can_be_kept(store: Store, text: str, kept: str) -> None:
    conversation, question = await store.start(text, {"chat": {"system_prompt": text}})
    record = ReplyRecord(system_prompt=text, sampling={"stop": [text]})
    reply = await store.begin_reply(conversation.id, question.id, record)
    await store.write_reply(reply.id, text, text)
    await store.finish_reply(reply.id, TurnState.FAILED, text, text, record, text)
    await store.rename(conversation.id, text[:100])
    await store.remember(text[:100], [text])
    question, reply = await store.turns(conversation.id)
    assert question.text == reply.text == reply.reasoning == reply.error == kept
    assert reply.record == ReplyRecord(system_prompt=kept, sampling={"stop": [kept]})
    assert (await store.conversation(conversation.id)).overrides == {"chat": {"system_prompt": kept}}
    assert await store.recall(text[:100]) == [kept]
    assert await store.prompts() == [kept]


async def test_the_app_remembers_what_it_was_told(path: Path) -> None:
    store = await Store.open(path)
    assert await store.recall("sidebar") is None
    await store.remember("sidebar", {"width": 30, "open": True})
    await store.remember("sidebar", {"width": 31, "open": True})
    await store.close()
    store = await Store.open(path)
    assert await store.recall("sidebar") == {"width": 31, "open": True}
    await store.close()


async def test_what_is_not_there_is_said_to_be_gone(store: Store) -> None:
    for attempt in (
        store.conversation(99),
        store.rename(99, "x"),
        store.set_overrides(99, {}),
        store.add_question(99, None, "x"),
        store.write_reply(99, "x", ""),
        store.siblings(99),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert await store.branch(None) == []
    assert await store.turns(99) == []


async def test_a_cancelled_caller_does_not_take_its_write_back(store: Store) -> None:
    long = asyncio.create_task(store.start("long\n" * 1_000_000))  # keeps the thread busy, so that the next one waits
    task = asyncio.create_task(store.start("Kept all the same"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await long
    assert [c.title for c in await store.conversations()] == ["Kept all the same", "long"]


async def test_a_question_has_its_role_and_no_record(store: Store) -> None:
    _, question = await store.start("Who?")
    assert (question.role, question.state, question.record, question.parent_id) == (
        Role.USER,
        TurnState.FINISHED,
        None,
        None,
    )


async def test_what_a_model_was_used_for_is_told_by_the_records_of_its_replies(store: Store) -> None:
    _, first = await store.start("First?")
    await answered(store, first)
    await answered(store, first, "Another answer.")
    moved, question = await store.start("After it was moved?")
    reply = await store.begin_reply(moved.id, question.id, RECORD)
    elsewhere = msgspec.structs.replace(RECORD, model_path="/new/tiny.gguf", n_generated=60)
    await store.finish_reply(reply.id, TurnState.FINISHED, "Yes.", "", elsewhere)
    deleted, gone = await store.start("Deleted?")
    await answered(store, gone)
    await store.delete(deleted.id)

    used = await store.model_use("/models/tiny.gguf", "sha256:1234")
    assert used.n_replies == 3
    assert used.tokens_per_second == pytest.approx((30 + 30 + 60) / 4.5)
    assert used.prompt_tokens_per_second == pytest.approx(3 * (20 - 12) / 1.5)
    assert [(one.title, one.n_replies) for one in used.conversations] == [("After it was moved?", 1), ("First?", 2)]
    assert (await store.model_use("/models/tiny.gguf")).n_replies == 2
    assert (await store.model_use("/models/other.gguf", "")).n_replies == 0


async def test_what_a_model_was_used_for_is_told_also_where_its_name_is_no_utf_8(store: Store) -> None:
    path = os.fsdecode(b"/models/caf\xe9.gguf")
    conversation, question = await store.start("Un café?")
    reply = await store.begin_reply(conversation.id, question.id, RECORD)
    record = msgspec.structs.replace(RECORD, model_path=path)
    await store.finish_reply(reply.id, TurnState.FINISHED, "Oui.", "", record)
    assert (await store.model_use(path)).n_replies == 1
