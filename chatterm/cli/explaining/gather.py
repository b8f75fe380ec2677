"""How an explanation is gathered: what `chatterm explain` shows, asked of an engine section by section.

What an engine cannot tell is missing, with the reason. People count from 1, engines from 0: here one becomes the other.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import Any, Literal, TypeVar, get_args

import msgspec

from chatterm.cli.explaining.explanation import (
    CandidateRow,
    Explanation,
    LayerRow,
    Layers,
    LookRow,
    Looks,
    Meaning,
    NearRow,
    Next,
    Shown,
    TokenRow,
    Words,
    shown,
)
from chatterm.cli.explaining.heads import place_of
from chatterm.cli.explaining.reading import Reading
from chatterm.engine.base import Engine, Prompt
from chatterm.errors import NotVisible, OutOfMemory, ServerError
from chatterm.events import Measured, ReplyEvent
from chatterm.glass import (
    LONGEST_SPAN,
    Attention,
    AttentionMap,
    AttentionRequest,
    GlassRequest,
    Lens,
    LensLayer,
    LensRequest,
    MapRequest,
    Neighbours,
    NeighboursRequest,
    Piece,
    Similarity,
    SimilarityRequest,
    hide_first,
)
from chatterm.lens import Candidate, candidates
from chatterm.settings import Settings

S = TypeVar("S")

Section = Literal["tokens", "next", "attention", "layers", "neighbours"]
SECTIONS: tuple[Section, ...] = get_args(Section)
"""What there is to show, in its order."""
_N_CANDIDATES = 10
_N_NEIGHBOURS = 6


class Wanted(msgspec.Struct, frozen=True):
    """What shall be shown."""

    sections: tuple[Section, ...] = SECTIONS
    token: int | None = None
    """Which token is looked at, counted from 1; None for the last."""
    layer: int | None = None
    """Whose attention is shown, counted from 1; None for the one that tells most."""
    head: int | None = None


async def explain(
    engine: Engine, prompt: Prompt, settings: Settings, wanted: Wanted, hear: Callable[[ReplyEvent], None]
) -> Explanation:
    """Ask an engine that has a model.

    Args:
        hear: Gets what the engine tells while it begins an answer.

    Raises:
        NotVisible: there is no such token, layer or head.
        ChattermError: the engine cannot answer at all.
    """
    assert engine.model is not None
    reading = Reading(prompt)
    missing: dict[str, str] = {}
    try:
        reading = Reading(prompt, tuple(await engine.tokenize_prompt(prompt)))
    except ServerError as error:
        missing = {section: error.message for section in wanted.sections if section != "next"}
    n_tokens = len(reading.pieces)
    if wanted.token is not None and not 0 < wanted.token <= max(n_tokens, 1):
        raise NotVisible(f"There is no token {wanted.token}: the text has {n_tokens}.")
    found = await _Gathering(engine, reading, settings, wanted, missing, hear).found()
    return Explanation(engine.model.name, missing=missing, **found)


class _Gathering:
    """One explanation while it is made."""

    def __init__(
        self,
        engine: Engine,
        reading: Reading,
        settings: Settings,
        wanted: Wanted,
        missing: dict[str, str],
        hear: Callable[[ReplyEvent], None],
    ) -> None:
        self.engine = engine
        self.reading = reading
        self.settings = settings
        self.wanted = wanted
        self.missing = missing
        """Sections that cannot be shown, with the reason; grows while the others are asked for."""
        self.hear = hear
        self.drawn: int | None = None
        """What was drawn as the first token of the answer, once that was asked."""

    async def found(self) -> dict[str, Any]:
        """All sections that can be shown, in their order."""
        found: dict[str, Any] = {}
        for section in self.wanted.sections:
            if section in self.missing:
                continue
            try:
                found[section] = await self._section(section)
            except (NotVisible, OutOfMemory, ServerError) as error:
                if section == "attention" and (self.wanted.layer or self.wanted.head):
                    raise
                self.missing[section] = error.message
        return found

    async def _section(self, name: Section) -> tuple[TokenRow, ...] | Next | Looks | Layers | Meaning:
        match name:
            case "tokens":
                return self.reading.rows()
            case "next":
                return await self._next()
            case "attention":
                return await self._attention()
            case "layers":
                return await self._layers()
            case "neighbours":
                return await self._neighbours()

    @property
    def position(self) -> int:
        """Of the token that is looked at, from 0."""
        return (self.wanted.token or len(self.reading.pieces)) - 1

    async def _next(self) -> Next:
        """The candidates for the first token of the answer.

        Raises:
            ServerError: the engine does not measure.
        """
        measured = await self._measured()
        rows = candidates(measured)[:_N_CANDIDATES] if measured else []
        if measured is None or not rows:
            raise ServerError("Not available here, because the server does not tell what else it might have said.")
        self.drawn = measured.id
        return Next(
            number=len(self.reading.pieces) or None,
            candidates=tuple(_candidate(row, has_share=bool(measured.shares)) for row in rows),
            others=max(0.0, 1 - sum(row.probability for row in rows)),
            bits=measured.entropy,
            drawn=shown(measured.id, measured.piece),
            temperature=self.settings.sampling.temperature,
        )

    async def _measured(self) -> Measured | None:
        """What was measured at the first token of the answer; None where nothing was."""
        sampling = msgspec.structs.replace(self.settings.sampling, max_tokens=1)
        replying = self.engine.reply(self.reading.prompt, sampling, measure=True, stated=self.settings.stated)
        measured = None
        async with aclosing(replying) as events:
            async for event in events:
                self.hear(event)
                if isinstance(event, Measured) and measured is None:
                    measured = event
        return measured

    async def _attention(self) -> Looks:
        ids = self.reading.ids
        everywhere = await self._seen(AttentionRequest(ids, self.position), Attention)
        layer, head = place_of(everywhere, self.reading.places_of_words(), self.wanted.layer, self.wanted.head)
        seen = await self._seen(AttentionRequest(ids, self.position, layer, head), Attention)
        start = max(0, self.position + 1 - LONGEST_SPAN)
        span = await self._seen(MapRequest(ids, start, self.position + 1, layer, head), AttentionMap)
        return Looks(
            number=self.position + 1,
            layer=layer + 1,
            head=head + 1,
            row=_look_rows(self.reading, seen),
            first_by_head=seen.first,
            bits_by_head=seen.bits,
            layers=tuple(each + 1 for each in seen.layers),
            map_start=start + 1,
            map=span.rows,
        )

    async def _layers(self) -> Layers:
        is_last = self.position == len(self.reading.pieces) - 1
        chosen = self.drawn if is_last else None
        lens = await self._seen(LensRequest(self.reading.ids, self.position, chosen, n_best=3), Lens)
        return Layers(lens.position + 1, _of(lens.chosen), tuple(map(_layer_row, lens.layers)))

    async def _neighbours(self) -> Meaning:
        reading = self.reading
        telling = [reading.pieces[self.position]] if self.wanted.token is not None else reading.telling()
        near = [await self._seen(NeighboursRequest(piece.id, _N_NEIGHBOURS), Neighbours) for piece in telling]
        if not near:
            raise NotVisible("There is no word in this text whose neighbours would tell anything.")
        return Meaning(tuple(map(_near_row, near)), await self._similar(reading.words()))

    async def _similar(self, words: tuple[str, ...]) -> Words | None:
        """Words as places; None for less than two, which are not similar to anything."""
        if len(words) < 2:
            return None
        seen = await self._seen(SimilarityRequest(words), Similarity)
        return Words(seen.words, seen.cosines, seen.points, seen.shown)

    async def _seen(self, request: GlassRequest, kind: type[S]) -> S:
        """What the engine sees."""
        seen = await self.engine.inspect(request)
        assert isinstance(seen, kind)
        return seen


def _of(piece: Piece) -> Shown:
    return shown(piece.id, piece.piece)


def _candidate(row: Candidate, *, has_share: bool) -> CandidateRow:
    return CandidateRow(shown(row.id, row.piece), row.probability, row.share if has_share else None, row.cut_by)


def _look_rows(reading: Reading, seen: Attention) -> tuple[LookRow, ...]:
    weights = zip(reading.pieces, seen.row, hide_first(seen.row), strict=False)  # later tokens are not looked at
    return tuple(
        LookRow(number, shown(piece.id, piece.piece), weight, without_first)
        for number, (piece, weight, without_first) in enumerate(weights, start=1)
    )


def _layer_row(seen: LensLayer) -> LayerRow:
    best, probabilities = tuple(map(_of, seen.best)), tuple(piece.value for piece in seen.best)
    return LayerRow(seen.layer + 1, best, probabilities, seen.rank, seen.probability, seen.bits)


def _near_row(seen: Neighbours) -> NearRow:
    near, cosines = tuple(map(_of, seen.neighbours)), tuple(piece.value for piece in seen.neighbours)
    return NearRow(_of(seen.token), seen.n_dimensions, seen.picture, near, cosines)
