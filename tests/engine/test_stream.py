"""What comes out of a reply stream is the reply, however it was cut into tokens."""

from __future__ import annotations

import random

import pytest

from chatterm.engine.worker.stream import SPANS, Chunk, ReplyStream, Span

EMOJI = "\U0001f600".encode()
SCRIPTS = "ab c\n.,<>[]/|thinkéß😀👩‍👩‍👧漢字かな한글עבריתالعربية🇩🇪"


def stream(*pieces: bytes, **options: object) -> tuple[str, str]:
    """The answer and the reasoning that a stream makes of some tokens."""
    reply = ReplyStream(**options)  # type: ignore[arg-type]
    chunks = [chunk for piece in pieces for chunk in reply.push(piece)] + reply.finish()
    assert all(chunk.text for chunk in chunks)
    return _joined(chunks, False), _joined(chunks, True)


def _joined(chunks: list[Chunk], reasoning: bool) -> str:
    return "".join(chunk.text for chunk in chunks if chunk.reasoning is reasoning)


def cut(text: str, rng: random.Random) -> list[bytes]:
    """A text in random pieces of one to seven bytes."""
    encoded, pieces = text.encode(), []
    while encoded:
        size = rng.choice((1, 1, 1, 2, 3, 5, 7))
        pieces.append(encoded[:size])
        encoded = encoded[size:]
    return pieces


def test_text_comes_through_whole_however_it_is_cut() -> None:
    rng = random.Random(1)
    for _ in range(3000):
        text = "".join(rng.choices(SCRIPTS, k=rng.randrange(40)))
        assert stream(*cut(text, rng), spans=()) == (text, "")
        answer, reasoning = stream(*cut(text, rng))
        assert answer + reasoning == text or "<think>" in text


@pytest.mark.parametrize("parts", [(4,), (1, 3), (2, 2), (3, 1), (2, 1, 1), (1, 1, 1, 1)])
def test_a_split_character_is_never_shown_as_a_replacement(parts: tuple[int, ...]) -> None:
    pieces, start = [], 0
    for size in parts:
        pieces.append(EMOJI[start : start + size])
        start += size
    assert stream(b" ab", *pieces) == (" ab\U0001f600", "")
    assert stream(b" ab", *pieces, b" cd") == (" ab\U0001f600 cd", "")


def test_a_stray_byte_is_one_replacement_and_holds_nothing_up() -> None:
    reply = ReplyStream()
    assert reply.push(b" ab") == [Chunk(" ab")]
    assert reply.push(b"\xc3") == []
    assert reply.push(b" cd") == [Chunk("\ufffd cd", start=3)]
    assert reply.push(b"\x80") == [Chunk("\ufffd", start=7)]
    assert reply.push(b" ef") == [Chunk(" ef", start=8)]


def test_a_character_that_is_cut_off_at_the_end_is_left_out() -> None:
    assert stream(b"ab", EMOJI[:3]) == ("ab", "")


def test_long_pieces_come_through_whole() -> None:
    assert stream(b"ab", b" " * 64, b"=" * 500) == ("ab" + " " * 64 + "=" * 500, "")


def test_stop_strings_end_the_answer_at_the_earliest_and_never_leak() -> None:
    rng = random.Random(2)
    for _ in range(5000):
        text = "".join(rng.choices("abc<é漢", k=rng.randrange(30)))
        stop = tuple("".join(rng.choices("abc<é", k=rng.randrange(1, 4))) for _ in range(rng.randrange(1, 4)))
        end = min((text.find(each) for each in stop if each in text), default=len(text))
        assert stream(*cut(text, rng), stop=stop) == (text[:end], ""), (text, stop)


def test_a_stop_string_is_told() -> None:
    reply = ReplyStream(stop=["f g"])
    assert [reply.push(piece) for piece in (b" ab", b" ef", b" gh", b" ij")] == [
        [Chunk(" ab")],
        [Chunk(" e", start=3)],
        [],
        [],
    ]
    assert reply.stopped
    assert reply.finish() == []


def test_what_only_began_like_a_stop_string_is_released() -> None:
    reply = ReplyStream(stop=["\nUser:"])
    assert reply.push(b"Hi\n") == [Chunk("Hi")]
    assert reply.push(b"Use it") == [Chunk("\nUse it", start=2)]
    assert reply.push(b"\nUs") == []
    assert reply.finish() == [Chunk("\nUs", start=9)]
    assert not reply.stopped


@pytest.mark.parametrize("span", SPANS, ids=lambda span: span.opens)
def test_reasoning_is_told_from_the_answer(span: Span) -> None:
    if span.closes == "<|end|>":
        pieces = [span.opens.encode(), b"\nhm", b" yes", b"<|end|>", b"\n\nHi", b" you"]
        assert stream(*pieces) == ("Hi you", "hm yes")
        return
    rng = random.Random(3)
    text = f"{span.opens}\nhm yes{span.closes}\n\nHi you"
    assert {stream(*cut(text, rng)) for _ in range(200)} == {("Hi you", "hm yes")}
    assert stream(span.opens.encode(), b"\nhm", b" yes", span.closes.encode(), b"\n\nHi you") == ("Hi you", "hm yes")


def test_the_channels_of_gpt_oss_are_told_apart() -> None:
    thought = [b"<|channel|>", b"analysis", b"<|message|>", b"The ", b"user", b"<|end|>", b"<|start|>", b"assistant"]
    answer = [b"<|channel|>", b"final", b"<|message|>", b"Hi", b"!"]
    assert stream(*thought, *answer) == ("Hi!", "The user")
    assert stream(*answer) == ("Hi!", "")
    assert stream(*thought[:3], b"cut off") == ("", "cut off")


def test_the_messages_of_solar_are_told_apart() -> None:
    thought = [b"<|think|>", b"hm", b"<|end|>"]
    answer = [b"<|begin|>", b"assistant", b"<|content|>", b"Hi"]
    assert stream(*thought, *answer) == ("Hi", "hm")
    assert stream(b"<|begin|>", b"assistant", *thought, *answer) == ("Hi", "hm")


def test_words_that_the_prompt_opened_a_thought_with_need_their_counterpart() -> None:
    apriel = Span("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]")
    pieces = cut("hm [BEGIN]\n[BEGIN FINAL RESPONSE]\nHi", random.Random(5))
    assert stream(*pieces, starts_in_reasoning=True, opened=apriel) == ("Hi", "hm [BEGIN]\n")
    assert stream(b"Here are my reasoning steps:\n1") == ("Here are my reasoning steps:\n1", "")


def test_a_header_that_never_ends_is_shown() -> None:
    answer, _ = stream(b"<|channel|>", *[b"word "] * 100)
    assert answer == "word " * 100


def test_gemma_names_the_thought_in_a_token_of_its_own() -> None:
    pieces = (b"<|channel>", b"thought", b"\n", b"hm", b"<channel|>", b"Hi")
    assert stream(*pieces) == ("Hi", "hm")


@pytest.mark.parametrize("opened", [None, Span("<think>", "</think>")])
def test_a_thought_that_the_prompt_opened_needs_no_tag(opened: Span | None) -> None:
    options = {"starts_in_reasoning": True, "opened": opened}
    assert stream(b"\n", b"hm", b"</thi", b"nk>", b"\n", b"\nHi", **options) == ("Hi", "hm")
    assert stream(b"<think>", b"\n", b"hm", b"</think>", b"Hi", **options) == ("Hi", "hm")
    assert stream(b"hm", **options) == ("", "hm")


def test_an_answer_can_speak_of_tags() -> None:
    for text in ("Write `<think>` first", "a <think> b </think> c", "<thin", "<thinker>", "1 < 2 [THIN", "</think"):
        assert stream(*cut(text, random.Random(4))) == (text, "")


def test_a_tag_that_is_a_token_counts_anywhere() -> None:
    assert stream(b" ab", b"<think>", b" cd", b"</think>", b" ef") == (" ab ef", " cd")


def test_a_closing_tag_without_an_opening_one_is_shown_nowhere() -> None:
    assert stream(b"ab", b"</think>", b"\n\n", b"cd") == ("abcd", "")


def test_white_space_before_a_thought_is_left_out() -> None:
    assert stream(b"\n", b"\n", b"<think>", b"hm", b"</think>", b"Hi") == ("Hi", "hm")
    assert stream(b"\n", b"\n", b"Hi") == ("\n\nHi", "")
    assert stream(b"\n" * 100, b"<b>") == ("\n" * 100 + "<b>", "")


def test_stop_strings_do_not_count_in_reasoning() -> None:
    pieces = (b"<think>", b"a STOP b", b"</think>", b"c ST", b"OP d")
    assert stream(*pieces, stop=("STOP",)) == ("c ", "a STOP b")


def test_a_stop_string_does_not_reach_over_a_thought() -> None:
    assert stream(b"ab S", b"<think>", b"hm", b"</think>", b"TOP", stop=("STOP",)) == ("ab STOP", "hm")


def test_text_is_kept_back_only_while_it_may_be_something_else() -> None:
    reply = ReplyStream()
    assert reply.push(b"a") == [Chunk("a")]
    assert reply.push(b"\n<th") == [Chunk("\n", start=1)]
    assert reply.push(b"e>") == [Chunk("<the>", start=2)]
    assert reply.push(b"\n[") == [Chunk("\n", start=7)]
    assert reply.push(b"x]") == [Chunk("[x]", start=8)]


def test_each_chunk_tells_where_it_stands_in_all_that_was_written() -> None:
    rng = random.Random(4)
    for _ in range(3000):
        bits = ["ab", "\n", " ", "<think>", "</think>", "é漢", "<thi", "ST", "STOP"]
        text = "".join(rng.choices(bits, k=rng.randrange(12)))
        reply = ReplyStream(stop=("STOP", "b\n") if rng.random() < 0.7 else ())
        chunks = [chunk for piece in cut(text, rng) for chunk in reply.push(piece)] + reply.finish()
        assert reply.n_characters == len(text)
        ends = 0
        for chunk in chunks:
            assert text[chunk.start :].startswith(chunk.text), (text, chunks)
            assert chunk.start >= ends, (text, chunks)
            ends = chunk.start + len(chunk.text)


def test_without_spans_tags_are_text() -> None:
    assert stream(b"<think>", b"a", b"</think>", spans=()) == ("<think>a</think>", "")


def test_a_long_reply_keeps_nothing_of_what_was_shown() -> None:
    reply = ReplyStream(stop=("###", "\nUser:"))
    for _ in range(20_000):
        reply.push(b" word\n")
    held = (reply._tags._held, reply._stops._held)
    assert all(len(text) < 10 for text in held)
