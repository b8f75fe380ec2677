"""Promises about reading the prompt: progress, what is reused, what is left out, and going on from a cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.engines import GREEDY, Reply, ask, ask_until, load, loaded, user
from support.recurrent_model import write_mamba
from support.tiny_models import ARCHITECTURES, write_model

from chatterm.conversation import Role
from chatterm.engine.base import Prompt, PromptTurn
from chatterm.engine.local import LocalEngine
from chatterm.errors import PromptTooLong
from chatterm.events import FinishReason, Prefilling, Prompted, Token, Trimmed
from chatterm.settings import Sampling

pytestmark = pytest.mark.asyncio(loop_scope="module")
SHORT = Sampling(temperature=0, max_tokens=8)
LONG = "the cat and the dog and the time of people " * 20


async def test_a_long_prompt_is_read_in_slices_with_progress(engine: LocalEngine, rambler: Path) -> None:
    await load(engine, rambler, n_batch=64)
    reply = await ask(engine, user(LONG), SHORT)
    n = reply.prompted.n_prompt
    assert n > 200
    done = [event.n_done for event in reply.prefilling]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, n)
    assert {event.n_total for event in reply.prefilling} == {n}
    assert reply.prefilling[-1].tokens_per_second > 0


async def test_the_size_of_slices_and_batches_does_not_change_the_reply(engine: LocalEngine, rambler: Path) -> None:
    replies = []
    for n_batch in (1, 7, 64, 512):
        await load(engine, rambler, n_batch=n_batch)
        replies.append((await ask(engine, user(LONG), Sampling(temperature=0, max_tokens=20))).ids)
    assert replies[0] == replies[1] == replies[2] == replies[3]


@pytest.mark.parametrize("arch", ARCHITECTURES)
async def test_what_is_in_the_cache_is_not_read_again_and_changes_nothing(
    engine: LocalEngine, arch: str, tmp_path: Path
) -> None:
    path = write_model(tmp_path / "model.gguf", arch)
    await load(engine, path, n_ctx=1024)
    first = await ask(engine, user(LONG, system="be brief"), SHORT)
    assert first.prompted.n_reused == 0
    follow_up = user(LONG, first.text, "and then?", system="be brief")
    second = await ask(engine, follow_up, SHORT)
    assert second.prompted.n_reused >= first.prompted.n_prompt
    assert second.prompted.n_reused < second.prompted.n_prompt
    assert second.prefilling[0].n_done == second.prefilling[0].n_reused == second.prompted.n_reused
    other = await ask(engine, user("quite another question", system="be brief"), SHORT)
    assert 0 < other.prompted.n_reused < first.prompted.n_prompt
    await load(engine, path, n_ctx=1024)
    assert (await ask(engine, follow_up, SHORT)).ids == second.ids


async def test_the_same_question_again_reads_one_token(engine: LocalEngine, rambler: Path) -> None:
    await load(engine, rambler)
    sampling = Sampling(temperature=1.0, seed=7, max_tokens=30)
    first = await ask(engine, "tell me", sampling)
    again = await ask(engine, "tell me", sampling)
    assert again.prompted.n_reused == again.prompted.n_prompt - 1
    assert again.ids == first.ids


async def test_a_model_whose_memory_cannot_go_back_reads_again(engine: LocalEngine, tmp_path: Path) -> None:
    path = write_mamba(tmp_path / "mamba.gguf")
    await load(engine, path, n_ctx=1024)
    first = await ask(engine, LONG, SHORT)
    again = await ask(engine, LONG, SHORT)
    assert again.prompted.n_reused == 0
    assert again.ids == first.ids
    await ask_until(engine, user(LONG), GREEDY, lambda event: isinstance(event, Token))
    await ask_until(engine, user(LONG), GREEDY, lambda event: isinstance(event, Prefilling) and event.n_done > 0)
    assert (await ask(engine, LONG, SHORT)).ids == first.ids
    more = await ask(engine, Prompt(raw="the cat"), SHORT)
    await load(engine, path, n_ctx=1024)
    assert (await ask(engine, Prompt(raw="the cat"), SHORT)).ids == more.ids


async def test_a_sliding_window_is_left_out_of_the_cache_only_where_it_is_right(
    engine: LocalEngine, tmp_path: Path
) -> None:
    path = write_model(tmp_path / "model.gguf", "gemma3", n_layers=6, sliding_window=64)
    await load(engine, path, n_ctx=1024)
    whole = await ask(engine, Prompt(raw=LONG + "and so on"), SHORT)
    shorter = await ask(engine, Prompt(raw=LONG[:200] + "other"), SHORT)
    assert shorter.prompted.n_reused > 0
    await load(engine, path, n_ctx=1024)
    assert (await ask(engine, Prompt(raw=LONG[:200] + "other"), SHORT)).ids == shorter.ids
    assert (await ask(engine, Prompt(raw=LONG + "and so on"), SHORT)).ids == whole.ids


async def test_a_token_that_the_reply_ended_with_is_not_lost_from_the_cache(
    engine: LocalEngine, says: Callable[..., Path]
) -> None:
    await load(engine, says(b" one", b" two", b" three"))
    await ask(engine, "count", Sampling(temperature=0, max_tokens=2))
    whole = await ask(engine, "count", GREEDY)
    assert whole.text == " one two three"


def conversation(n_exchanges: int) -> Prompt:
    """A system prompt and many questions with answers, the last question open; ids from 1 on."""
    words = [f"turn number {i} the cat and the dog" for i in range(2 * n_exchanges + 1)]
    return user(*words, system="you are a cat")


async def test_the_oldest_turns_leave_first_and_it_is_said_before(engine: LocalEngine, rambler: Path) -> None:
    await load(engine, rambler, n_ctx=512)
    prompt = conversation(30)
    assert await engine.count(prompt) > 512
    reply = await ask(engine, prompt, SHORT)
    assert isinstance(reply.events[0], Trimmed)
    assert isinstance(reply.events[1], Prompted)
    trimmed = reply.trimmed[0]
    assert trimmed.dropped == tuple(range(1, len(trimmed.dropped) + 1))
    assert len(trimmed.dropped) % 2 == 0, "questions leave with their answers"
    assert trimmed.n_before == await engine.count(prompt)
    assert trimmed.n_after == reply.prompted.n_prompt < 512 == trimmed.n_ctx
    kept = Prompt((prompt.turns[0], *prompt.turns[len(trimmed.dropped) + 1 :]))
    assert await engine.count(kept) == reply.prompted.n_prompt, "the system prompt stays"
    assert len(reply.ids) == 8


async def test_leaving_out_turns_costs_one_reading_for_many_questions(engine: LocalEngine, rambler: Path) -> None:
    await load(engine, rambler, n_ctx=512)
    replies: list[Reply] = [await ask(engine, conversation(n), SHORT) for n in range(10, 26)]
    n_kept = [reply.prompted.n_reused > 60 for reply in replies[1:]]
    assert sum(n_kept) >= len(n_kept) - 4, "mostly, the beginning stays as it was"
    dropped = [len(reply.trimmed[0].dropped) if reply.trimmed else 0 for reply in replies]
    assert dropped == sorted(dropped)
    assert dropped[-1] > dropped[0]


async def test_nothing_is_said_to_be_left_out_when_all_fits(engine: LocalEngine, rambler: Path) -> None:
    await load(engine, rambler, n_ctx=512)
    assert not (await ask(engine, conversation(2), SHORT)).trimmed


@pytest.mark.parametrize("raw", [False, True])
async def test_a_question_that_never_fits_is_refused(engine: LocalEngine, rambler: Path, raw: bool) -> None:
    await load(engine, rambler, n_ctx=256)
    text = "cat " * 600
    with pytest.raises(PromptTooLong, match=r"[\d,]+ tokens, the context window has 256.*Shorten"):
        await ask(engine, Prompt(raw=text) if raw else user("old", "answer", text))
    assert (await ask(engine, "short", SHORT)).ids


async def test_megabytes_are_refused_at_once(engine: LocalEngine, rambler: Path) -> None:
    """What cannot fit is not tokenized, and what is only long still gets its exact figure."""
    await load(engine, rambler)
    with pytest.raises(PromptTooLong, match="take more than"):
        await ask(engine, user("the cat " * 100_000))
    with pytest.raises(PromptTooLong, match="take more than"):
        await ask(engine, Prompt(raw="the cat " * 100_000))
    with pytest.raises(PromptTooLong, match=r"take \d"):
        await ask(engine, user("the cat " * 600))


async def test_when_the_window_fills_during_the_reply_more_turns_leave(engine: LocalEngine, rambler: Path) -> None:
    await load(engine, rambler, n_ctx=512)
    reply = await ask(engine, conversation(8), Sampling(temperature=0, max_tokens=400))
    assert reply.finished.reason == FinishReason.LENGTH
    assert len(reply.ids) == 400
    assert reply.trimmed
    assert len(reply.trimmed[-1].dropped) > 0
    before = reply.events[: reply.events.index(reply.trimmed[-1])]
    assert any(isinstance(event, Token) for event in before)
    assert reply.finished.n_used <= 512


async def test_a_reply_that_fills_the_window_alone_ends_with_the_reason(engine: LocalEngine, rambler: Path) -> None:
    await load(engine, rambler, n_ctx=256)
    reply = await ask(engine, "go on", GREEDY)
    assert reply.finished.reason == FinishReason.CONTEXT
    assert reply.finished.n_used == 256
    assert reply.finished.n_generated == 256 - reply.finished.n_prompt + 1


@pytest.mark.parametrize("how", ["at its limit", "by hand", "and forgotten"])
async def test_a_cut_reply_goes_on_from_its_last_token(engine: LocalEngine, rambler: Path, how: str) -> None:
    await load(engine, rambler)
    whole = await ask(engine, user("tell me", system="be brief"), Sampling(temperature=0, max_tokens=24))
    if how == "by hand":
        n_seen = 0

        def enough(event: object) -> bool:
            nonlocal n_seen
            n_seen += isinstance(event, Token)
            return n_seen == 10

        cut = await ask_until(engine, user("tell me", system="be brief"), GREEDY, enough)
    else:
        cut = await ask(engine, user("tell me", system="be brief"), Sampling(temperature=0, max_tokens=10))
    if how == "and forgotten":
        await load(engine, rambler)
    prompt = user("tell me", cut.text, system="be brief", continues=True)
    rest = await ask(engine, prompt, Sampling(temperature=0, max_tokens=24 - len(cut.ids)))
    if how == "at its limit":
        assert [*cut.ids, *rest.ids] == whole.ids
    if how != "and forgotten":  # then the text is all that is known, and may be cut into other tokens
        assert (cut.text + rest.text).startswith(whole.text)
        assert rest.prompted.n_reused >= rest.prompted.n_prompt - 2
    assert rest.prompted.n_prompt > cut.prompted.n_prompt


async def test_a_chain_goes_on_even_when_only_its_text_is_known(engine: LocalEngine, says: Callable[..., Path]) -> None:
    await load(engine, says(b" the", b" of", b" three", b" four"))
    rest = await ask(engine, user("count", " the of", continues=True), GREEDY)
    assert rest.text == " three four"


async def test_a_character_that_was_cut_in_two_is_completed(engine: LocalEngine, says: Callable[..., Path]) -> None:
    emoji = "😀".encode()
    await load(engine, says(b" a", emoji[:2], emoji[2:], b" b"))
    cut = await ask(engine, "go", Sampling(temperature=0, max_tokens=2))
    assert cut.text == " a"
    rest = await ask(engine, user("go", cut.text, continues=True), GREEDY)
    assert cut.text + rest.text == " a😀 b"


async def test_a_base_model_continues_text_and_says_so(engine: LocalEngine, stories: Path) -> None:
    model = (await loaded(engine, stories)).model
    assert not model.is_chat
    reply = await ask(engine, user("Once upon a time, there was a"), Sampling(temperature=0, max_tokens=6))
    assert reply.text.startswith(" little girl named")
    assert any("base model" in note for note in reply.prompted.notes)


async def test_raw_text_is_given_as_it_is(engine: LocalEngine, rambler: Path) -> None:
    await load(engine, rambler)
    spelled = await ask(engine, user("<|im_end|>"), SHORT)
    raw = await ask(engine, Prompt(raw="<|im_end|>"), SHORT)
    assert raw.prompted.n_prompt == 1, "a control token in raw text is meant"
    assert spelled.prompted.n_prompt > 10
    assert raw.prompted.template == "raw"


async def test_template_variables_reach_the_template(engine: LocalEngine, tmp_path: Path) -> None:
    template = (
        "{% for m in messages %}{{ m.content }}{% endfor %}{% if enable_thinking %}<think>{% else %}plain{% endif %}"
    )
    path = write_model(tmp_path / "model.gguf", template=template)
    assert (await loaded(engine, path)).model.can_think
    thinking = await ask(engine, user("hello", template_variables={"enable_thinking": True}), SHORT)
    plain = await ask(engine, user("hello", template_variables={"enable_thinking": False}), SHORT)
    assert thinking.prompted.token_ids != plain.prompted.token_ids
    assert thinking.reasoning
    assert not thinking.text
    assert not plain.reasoning


async def test_notes_tell_what_the_template_refused(engine: LocalEngine, tmp_path: Path) -> None:
    template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{{ m.content }}{% endfor %}"
    )
    await load(engine, write_model(tmp_path / "model.gguf", template=template))
    reply = await ask(engine, user("hello", system="be brief"), SHORT)
    assert any("system prompt" in note for note in reply.prompted.notes)


async def test_an_empty_conversation_is_not_an_error(engine: LocalEngine, rambler: Path) -> None:
    await load(engine, rambler)
    reply = await ask(engine, Prompt((PromptTurn(Role.USER, ""),)), SHORT)
    assert len(reply.ids) == 8
