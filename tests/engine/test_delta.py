"""What chunks say, in the many shapes in which servers say it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from support.fake_server import chunk, usage

from chatterm.engine.delta import Piece, Progress, Reading
from chatterm.engine.sse import data_of
from chatterm.errors import ServerError
from chatterm.events import FinishReason


def read(*chunks: Any) -> tuple[str, str, Reading]:
    """Text, thought, and the reading itself."""
    reading = Reading()
    pieces = [piece for each in chunks for piece in reading.read(each)] + list(reading.rest())
    texts = [piece for piece in pieces if isinstance(piece, Piece)]
    return (
        "".join(piece.text for piece in texts if not piece.reasoning),
        "".join(piece.text for piece in texts if piece.reasoning),
        reading,
    )


async def events(*pieces: bytes) -> list[str]:
    async def source() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return [data async for data in data_of(source())]


def cuts(whole: bytes, size: int) -> Iterable[bytes]:
    return (whole[i : i + size] for i in range(0, len(whole), size))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_events_are_found_however_the_bytes_are_cut(size: int, end: bytes):
    stream = ": ping\n\ndata: one\n\nevent: x\nid: 3\ndata:two\ndata: lines\n\n\ndata: Grüße\u2028\n\ndata: [DONE]\n\n"
    whole = stream.encode().replace(b"\n", end)
    assert await events(*cuts(whole, size)) == ["one", "two\nlines", "Grüße\u2028", "[DONE]"]


async def test_the_last_event_counts_without_its_empty_line():
    assert await events(b"data: a\n\ndata: b") == ["a", "b"]
    assert await events(b"data: a\n\ndata: b\r") == ["a", "b"]
    assert await events(b"", b": only a comment\n\n") == []


async def test_a_line_without_end_is_refused():
    with pytest.raises(ServerError, match="without an end"):
        await events(*([b"x" * (1 << 20)] * 20))


def test_text_comes_as_a_string_a_list_or_not_at_all():
    parts = [{"type": "text", "text": "b"}, {"type": "image_url"}, 3, {"type": "text", "text": None}]
    text, thought, _ = read(chunk("a"), chunk(None), chunk(parts), {"choices": [{"text": "c"}]}, chunk(refusal="d"))
    assert (text, thought) == ("abcd", "")


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_a_thought_comes_under_either_name(name: str):
    text, thought, _ = read(chunk(**{name: "hm", "content": None}), chunk("so", **{name: ""}))
    assert (text, thought) == ("so", "hm")


def test_a_thought_that_comes_under_both_names_is_told_once():
    assert read(chunk(reasoning="hm", reasoning_content="hm"))[1] == "hm"


def test_a_thought_comes_as_parts_of_a_list():
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    text, thought, _ = read(chunk([thinking]), chunk([{"type": "text", "text": "so"}]))
    assert (text, thought) == ("so", "hm")


@pytest.mark.parametrize("tag", ["think", "thought"])
@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_a_thought_between_tags_is_told_from_the_answer_however_it_is_cut(tag: str, size: int):
    whole = f"\n<{tag}>\nhm < 3 </b>\n</{tag}>\n\nso <{tag}> it is"
    text, thought, reading = read(*(chunk(whole[i : i + size]) for i in range(0, len(whole), size)))
    assert (text, thought.strip()) == (f"so <{tag}> it is", "hm < 3 </b>")
    assert reading.has_thought


def test_what_only_looks_like_a_tag_is_text():
    assert read(chunk("<th"), chunk("ree>"))[:2] == ("<three>", "")
    assert read(chunk("<thi"))[:2] == ("<thi", "")
    assert read(chunk("<think>hm"), chunk("</thi"))[:2] == ("", "hm</thi")


def test_a_thought_that_is_marked_needs_no_tags():
    marked = {"google": {"thought": True}}
    text, thought, _ = read(
        chunk("<thought>hm", extra_content=marked),
        chunk(" so", extra_content=marked),
        chunk("</thought>Yes <thought>."),
    )
    assert (text, thought) == ("Yes <thought>.", "hm so")


def test_counts_are_taken_from_any_chunk_and_the_last_word_counts():
    details = {"prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}}
    _, _, reading = read(chunk("a") | usage(1, 1), usage(9, 5, **details), chunk("b") | {"usage": None})
    assert reading.counts == (9, 4, 5, 2, 0, 0)
    assert read({"x_groq": {"usage": {"prompt_tokens": 3}}})[2].counts.n_prompt == 3


def test_timings_of_llama_server_count_and_say_how_long_it_took():
    timings = {"cache_n": 10, "prompt_n": 5, "prompt_ms": 250.0, "predicted_n": 8, "predicted_ms": 2000}
    assert read({"timings": timings})[2].counts == (15, 10, 8, 0, 0.25, 2.0)


def test_progress_with_the_prompt_is_told():
    assert list(Reading().read({"prompt_progress": {"total": 9, "cache": 2, "processed": 4}})) == [Progress(4, 9, 2)]


@pytest.mark.parametrize(
    ("said", "reason"),
    [("stop", FinishReason.END), ("length", FinishReason.LENGTH), ("content_filter", FinishReason.FILTER),
     ("tool_calls", FinishReason.END), ("eos", FinishReason.END), (None, None), (7, None)],
)  # fmt: skip
def test_the_end_has_a_reason_in_our_words(said: Any, reason: FinishReason | None):
    assert read(chunk("a"), chunk(finish=said))[2].reason == reason


@pytest.mark.parametrize(
    "odd",
    [None, 3, [], "text", {}, {"choices": None}, {"choices": [None]}, {"choices": [{"delta": 3}]}, {"usage": "many"},
     {"choices": [{"delta": {"content": 3, "reasoning": {}}}]}, {"usage": {"prompt_tokens": "1", "completion_tokens": -4}},
     {"usage": {"prompt_tokens": 1e300}}, {"timings": [1]}, {"prompt_progress": 1}],
)  # fmt: skip
def test_odd_chunks_say_nothing_and_do_no_harm(odd: Any):
    text, thought, reading = read(odd, chunk("a"))
    assert (text, thought, reading.counts.n_generated, reading.counts.n_prompt) == ("a", "", 0, 0)
