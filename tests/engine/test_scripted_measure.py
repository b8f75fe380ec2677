"""Promises of the scripted engine's measures: of the same form as real ones, plausible, and always the same."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from chatterm import lens
from chatterm.conversation import Role
from chatterm.engine.base import Prompt, PromptTurn
from chatterm.engine.scripted import Line, ScriptedEngine
from chatterm.events import Finished, FinishReason, Measured, ModelInfo, Prompted, Token
from chatterm.settings import Sampling

MODEL = ModelInfo("/models/tiny.gguf", "Tiny", n_ctx=4096)
LINE = Line("Rivers find the shortest way, and so do words. " * 4, reasoning="Hm, well.")
PROMPT = Prompt(
    (PromptTurn(Role.SYSTEM, "Be brief."), PromptTurn(Role.USER, "Why is it so?", 1)),
)
SAMPLINGS = [
    Sampling(),
    Sampling(temperature=0),
    Sampling(temperature=2, top_k=0, min_p=0, top_p=1),
    Sampling(top_k=3, typical_p=0.8),
]


async def told(sampling: Sampling = SAMPLINGS[0], **options: Any) -> list[Any]:
    """All events of a reply."""
    engine = ScriptedEngine(LINE, model=MODEL)
    return [event async for event in engine.reply(PROMPT, sampling, **options)]


def of(events: list[Any], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
async def test_each_word_is_measured_and_the_numbers_fit_together(sampling: Sampling) -> None:
    events = await told(sampling, measure=True)
    measured, tokens = of(events, Measured), of(events, Token)
    assert [each.index for each in measured] == list(range(len(tokens) + 1))
    assert measured[-1].is_end
    written = "".join(token.text for token in tokens)
    for one, token in zip(measured, tokens, strict=False):
        assert (one.id, one.piece.decode(), one.start) == (token.id, token.text, token.start)
        assert written[one.start : one.end] == token.text
        assert one.surprise == pytest.approx(lens.surprise(one.probability))
        view = lens.stages(one.kept, sampling)[-1]
        assert one.shares == view.shares[:20]
        assert sum(view.shares) + view.rest == pytest.approx(1)
        drawn = lens.kept_ids(one.kept).index(one.id)
        assert one.rank == drawn + 1
        assert one.share == view.shares[drawn] > 0
        assert one.pieces[drawn] == one.piece
        assert (one.point is None) == (sampling.temperature == 0)
        assert one.point is None or one.segment[0] <= one.point <= one.segment[1]
        assert 0 < one.entropy < 15
        assert all(before >= after for before, after in pairwise(lens.kept_logits(one.kept)))
    assert await told(sampling, measure=True) == events


async def test_without_measuring_it_says_the_same() -> None:
    plain, measured = await told(), await told(measure=True)
    assert not of(plain, Measured)
    assert [token.text for token in of(plain, Token)] == [token.text for token in of(measured, Token)]


async def test_a_reply_can_be_begun_with_its_tokens_or_others() -> None:
    whole = of(await told(), Token)
    events = await told(Sampling(max_tokens=2), measure=True, begins_with=[token.id for token in whole[:5]])
    text = "".join(token.text for token in of(events, Token))
    assert text == "".join(token.text for token in whole[:7])
    assert [each.index for each in of(events, Measured)] == [5, 6]
    assert of(events, Finished)[0].reason is FinishReason.LENGTH
    (prompted,) = of(events, Prompted)
    assert prompted.n_prompt - prompted.n_reused == 1
    other = int(lens.kept_ids(of(await told(measure=True), Measured)[4].kept)[5])
    branch = of(await told(begins_with=[*(token.id for token in whole[:4]), other]), Token)
    assert branch[4].text != whole[4].text
    assert branch[4].text.startswith(" ")


async def test_prompt_and_window_are_shown_in_words() -> None:
    engine = ScriptedEngine(LINE, model=MODEL)
    assert (await engine.window()).n_used == 0
    pieces = await engine.tokenize_prompt(PROMPT)
    said = b"".join(piece.piece for piece in pieces)
    assert said == b"<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy is it so?<|im_end|>\n" + (
        b"<|im_start|>assistant\n"
    )
    assert b"".join(piece.piece for piece in pieces if piece.turn == 1) == b"Why is it so?"
    events = [event async for event in engine.reply(PROMPT, Sampling())]
    report = await engine.window()
    assert report.n_used == len(pieces) + len(of(events, Token))
    assert report.parts[-1].is_reply
    assert [part.turn.text for part in report.parts if part.turn] == ["Be brief.", "Why is it so?"]
