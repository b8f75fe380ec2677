"""Everything that `chatterm explain` shows, asked of an engine: records that are printed as JSON as they are.

Tokens, layers and heads are counted from 1 here, as people count them. What an engine cannot tell is
missing, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import msgspec

from chatterm.engine.base import Engine, Prompt, PromptPiece
from chatterm.errors import NotVisible, OutOfMemory, ServerError
from chatterm.events import Measured
from chatterm.glass import (
    LONGEST_SPAN,
    Attention,
    AttentionMap,
    AttentionRequest,
    GlassRequest,
    Lens,
    LensRequest,
    MapRequest,
    Neighbours,
    NeighboursRequest,
    Piece,
    Similarity,
    SimilarityRequest,
    hide_first,
    telling_head,
)
from chatterm.lens import Candidate, candidates
from chatterm.settings import Sampling
from chatterm.text import plain

S = TypeVar("S")

SECTIONS = ("tokens", "next", "attention", "layers", "neighbours")
"""What there is to show, in its order."""
_N_CANDIDATES = 10
_N_NEIGHBOURS = 6
_MOST_WORDS = 5
_MOST_COMPARED = 8
_LEAST_LETTERS = 3
_TEMPLATE, _TEXT, _SPECIAL = "template", "text", "special"


class Wanted(msgspec.Struct, frozen=True):
    """What shall be shown."""

    sections: tuple[str, ...] = SECTIONS
    token: int | None = None
    """Which token is looked at, counted from 1; None for the last."""
    layer: int | None = None
    """Whose attention is shown, counted from 1; None for the one that tells most."""
    head: int | None = None


class Shown(msgspec.Struct, frozen=True):
    """A token."""

    id: int | None
    text: str
    """As it can be printed: line breaks as signs, bytes that are no whole character by their value."""
    bytes: str
    """In hexadecimal digits."""


class TokenRow(msgspec.Struct, frozen=True):
    """A token of the text."""

    number: int
    token: Shown
    kind: str
    """"text", "template" for what the chat template puts around it, "special" for instructions to the model."""


class CandidateRow(msgspec.Struct, frozen=True):
    """A token that may come next."""

    token: Shown
    probability: float
    """Of the model itself."""
    share: float | None
    """Of being drawn, after all stages; 0 where it was cut, null where a server does not tell."""
    cut_by: str
    """The stage that cut it; "" for none."""


class Next(msgspec.Struct, frozen=True):
    """What may come next."""

    candidates: tuple[CandidateRow, ...]
    others: float
    """The probability of all other tokens together."""
    bits: float | None
    """Entropy: 0 is certain, n is as if among 2**n tokens; null where a server does not tell."""
    drawn: Shown
    temperature: float


class LookRow(msgspec.Struct, frozen=True):
    """How much a token is looked at."""

    number: int
    token: Shown
    weight: float
    """Of all weight, which adds up to 1."""
    without_first: float
    """The same with the first token left out."""


class Looks(msgspec.Struct, frozen=True):
    """Where one token looks."""

    number: int
    layer: int
    head: int
    row: tuple[LookRow, ...]
    first_by_head: tuple[tuple[float, ...], ...]
    """By layer and head: the share of the first token."""
    bits_by_head: tuple[tuple[float, ...], ...]
    """By layer and head: 0 looks at one token, n as if evenly at 2**n."""
    layers: tuple[int, ...]
    map_start: int
    """The first token of the map."""
    map: tuple[tuple[float, ...], ...]
    """The last tokens up to this one, each looking at each before it."""


class LayerRow(msgspec.Struct, frozen=True):
    """What a layer would have said."""

    layer: int
    best: tuple[Shown, ...]
    probabilities: tuple[float, ...]
    rank: int
    probability: float
    bits: float


class Layers(msgspec.Struct, frozen=True):
    """What each layer would have said after one token."""

    number: int
    chosen: Shown
    """Whose rank and probability are given."""
    rows: tuple[LayerRow, ...]


class NearRow(msgspec.Struct, frozen=True):
    """A token and those with the most similar vectors."""

    token: Shown
    n_dimensions: int
    picture: tuple[float, ...]
    near: tuple[Shown, ...]
    cosines: tuple[float, ...]


class Words(msgspec.Struct, frozen=True):
    """The words of the text as places."""

    words: tuple[str, ...]
    cosines: tuple[tuple[float, ...], ...]
    points: tuple[tuple[float, float], ...]
    shown: float


class Meaning(msgspec.Struct, frozen=True):
    """Tokens as numbers."""

    tokens: tuple[NearRow, ...]
    words: Words | None


class Explanation(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that is shown about a text."""

    model: str
    tokens: tuple[TokenRow, ...] | None = None
    next: Next | None = None
    attention: Looks | None = None
    layers: Layers | None = None
    neighbours: Meaning | None = None
    missing: dict[str, str] = {}
    """Sections that cannot be shown, with the reason."""


async def explain(engine: Engine, prompt: Prompt, sampling: Sampling, wanted: Wanted) -> Explanation:
    """Ask an engine that has a model.

    Raises:
        NotVisible: there is no such token, layer or head.
        ChattermError: the engine cannot answer at all.
    """
    assert engine.model is not None
    return await _Gathering(engine, prompt, sampling, wanted).explanation(engine.model.name)


class _Gathering:
    """One explanation while it is made."""

    def __init__(self, engine: Engine, prompt: Prompt, sampling: Sampling, wanted: Wanted) -> None:
        self.engine = engine
        self.prompt = prompt
        self.sampling = sampling
        self.wanted = wanted
        self.pieces: list[PromptPiece] = []
        self.drawn: int | None = None

    async def explanation(self, model: str) -> Explanation:
        """All sections, in their order."""
        missing: dict[str, str] = {}
        found: dict[str, Any] = {}
        try:
            self.pieces = await self.engine.tokenize_prompt(self.prompt)
        except ServerError as error:
            missing = {section: error.message for section in self.wanted.sections if section != "next"}
        if self.wanted.token is not None and not 0 < self.wanted.token <= max(len(self.pieces), 1):
            raise NotVisible(f"There is no token {self.wanted.token}: the text has {len(self.pieces)}.")
        for section in self.wanted.sections:
            if section in missing:
                continue
            try:
                found[section] = await getattr(self, f"_{section}")()
            except (NotVisible, OutOfMemory, ServerError) as error:
                if self.wanted.layer or self.wanted.head:
                    raise
                missing[section] = error.message
        return Explanation(model, missing=missing, **found)

    @property
    def ids(self) -> tuple[int, ...]:
        """The text as the model reads it."""
        return tuple(piece.id for piece in self.pieces)

    @property
    def position(self) -> int:
        """Of the token that is looked at, from 0."""
        return (self.wanted.token or len(self.pieces)) - 1

    async def _tokens(self) -> tuple[TokenRow, ...]:
        return tuple(
            TokenRow(number, _shown(piece.id, piece.piece), self._kind(piece))
            for number, piece in enumerate(self.pieces, start=1)
        )

    async def _next(self) -> Next:
        """The candidates for the first token of the answer.

        Raises:
            ServerError: the engine does not measure.
        """
        sampling = msgspec.structs.replace(self.sampling, max_tokens=1)
        measured = None
        async with aclosing(self.engine.reply(self.prompt, sampling, measure=True)) as events:
            async for event in events:
                if isinstance(event, Measured) and measured is None:
                    measured = event
        rows = candidates(measured)[:_N_CANDIDATES] if measured else []
        if measured is None or not rows:
            raise ServerError("Not available here, because the server does not tell what else it might have said.")
        self.drawn = measured.id
        return Next(
            candidates=tuple(_candidate(row, has_share=bool(measured.shares)) for row in rows),
            others=max(0.0, 1 - sum(row.probability for row in rows)),
            bits=measured.entropy,
            drawn=_shown(measured.id, measured.piece),
            temperature=sampling.temperature,
        )

    async def _attention(self) -> Looks:
        layer, head = await self._place()
        seen = await self._seen(AttentionRequest(self.ids, self.position, layer, head), Attention)
        start = max(0, self.position + 1 - LONGEST_SPAN)
        span = await self._seen(MapRequest(self.ids, start, self.position + 1, layer, head), AttentionMap)
        return Looks(
            number=self.position + 1,
            layer=layer + 1,
            head=head + 1,
            row=tuple(
                LookRow(number, _shown(piece.id, piece.piece), weight, without)
                for number, (piece, weight, without) in enumerate(
                    zip(self.pieces, seen.row, hide_first(seen.row), strict=False), start=1
                )
            ),
            first_by_head=seen.first,
            bits_by_head=seen.bits,
            layers=tuple(each + 1 for each in seen.layers),
            map_start=start + 1,
            map=span.rows,
        )

    async def _place(self) -> tuple[int, int]:
        """The layer and the head that are shown, from 0."""
        layer, head = ((each - 1 if each else None) for each in (self.wanted.layer, self.wanted.head))
        seen = await self._seen(AttentionRequest(self.ids, self.position), Attention)
        if layer is not None and layer not in seen.layers:
            raise NotVisible(f"There is no attention in a layer {layer + 1}; this model has it in {_few(seen.layers)}.")
        if head is not None and head >= len(seen.first[0]):
            raise NotVisible(f"There is no head {head + 1}: each layer has {len(seen.first[0])}.")
        words = [place for place, piece in enumerate(self.pieces) if self._is_word(piece)]
        found_layer, found_head = telling_head(_only(seen, layer, head), words)
        return found_layer, found_head if head is None else head

    async def _layers(self) -> Layers:
        is_last = self.position == len(self.pieces) - 1
        chosen = self.drawn if is_last else None
        lens = await self._seen(LensRequest(self.ids, self.position, chosen, n_best=3), Lens)
        return Layers(
            number=lens.position + 1,
            chosen=_of(lens.chosen),
            rows=tuple(
                LayerRow(
                    each.layer + 1,
                    tuple(map(_of, each.best)),
                    tuple(piece.value for piece in each.best),
                    each.rank,
                    each.probability,
                    each.bits,
                )
                for each in lens.layers
            ),
        )

    async def _neighbours(self) -> Meaning:
        near = [await self._seen(NeighboursRequest(piece.id, _N_NEIGHBOURS), Neighbours) for piece in self._telling()]
        words = self._words()
        if not near:
            raise NotVisible("There is no word in this text whose neighbours would tell anything.")
        seen = await self._seen(SimilarityRequest(words), Similarity) if len(words) > 1 else None
        return Meaning(
            tuple(
                NearRow(
                    _shown(each.token.id, each.token.piece),
                    each.n_dimensions,
                    each.picture,
                    tuple(map(_of, each.neighbours)),
                    tuple(piece.value for piece in each.neighbours),
                )
                for each in near
            ),
            Words(seen.words, seen.cosines, seen.points, seen.shown) if seen else None,
        )

    def _telling(self) -> list[PromptPiece]:
        """The tokens whose neighbours are shown: the one that was asked for, or some words of the text."""
        if self.wanted.token is not None:
            return [self.pieces[self.position]]
        said = [piece for piece in self.pieces if self._kind(piece) == _TEXT]
        words = [piece for piece in said if self._is_word(piece)]
        unique = {piece.id: piece for piece in words or said}
        return sorted(unique.values(), key=lambda piece: -len(piece.piece))[:_MOST_WORDS]

    def _words(self) -> tuple[str, ...]:
        """Some words of the text, each once, without the shortest where there are many."""
        text = self.prompt.raw if self.prompt.raw is not None else "".join(turn.text for turn in self.prompt.turns[-1:])
        words = dict.fromkeys(re.findall(r"[^\W\d_]+", text))
        longest = sorted(words, key=len, reverse=True)[:_MOST_COMPARED]
        return tuple(word for word in words if word in longest)

    def _kind(self, piece: PromptPiece) -> str:
        if piece.is_special:
            return _SPECIAL
        return _TEXT if piece.turn is not None or self.prompt.raw is not None else _TEMPLATE

    def _is_word(self, piece: PromptPiece) -> bool:
        """Whether a token is of the text, and long enough to mean something."""
        letters = re.findall(r"\w", piece.piece.decode("utf-8", "ignore"))
        return self._kind(piece) == _TEXT and len(letters) >= _LEAST_LETTERS

    async def _seen(self, request: GlassRequest, kind: type[S]) -> S:
        """What the engine sees."""
        seen = await self.engine.inspect(request)
        assert isinstance(seen, kind)
        return seen


def shown(piece: bytes) -> str:
    r"""The bytes of a token on one line: line breaks as signs, bytes that are no whole character by their value.

    Example: b" the" -> " the", b"\n" -> "↵", b"\xf0" -> "⟨F0⟩"
    """
    try:
        text = piece.decode()
    except UnicodeDecodeError:
        return "".join(f"⟨{byte:02X}⟩" if byte > 0x7F else shown(bytes([byte])) for byte in piece)
    return "".join("\ufffd" if ord(each) & 0xFFFE == 0xFFFE else each for each in plain(text)).translate(
        {ord("\n"): "↵", ord("\t"): "⇥"}
    )


def _shown(id: int | None, piece: bytes) -> Shown:
    return Shown(id, shown(piece), piece.hex())


def _of(piece: Piece) -> Shown:
    return _shown(piece.id, piece.piece)


def _candidate(row: Candidate, *, has_share: bool) -> CandidateRow:
    return CandidateRow(_shown(row.id, row.piece), row.probability, row.share if has_share else None, row.cut_by)


def _only(seen: Attention, layer: int | None, head: int | None) -> Attention:
    """What was seen of one layer, or of one head, which then is the only one."""
    rows = [i for i, each in enumerate(seen.layers) if layer in (None, each)]
    heads = slice(head, None if head is None else head + 1)
    return msgspec.structs.replace(
        seen,
        layers=tuple(seen.layers[i] for i in rows),
        first=tuple(seen.first[i][heads] for i in rows),
        bits=tuple(seen.bits[i][heads] for i in rows),
        strongest=tuple(seen.strongest[i][heads] for i in rows),
    )


def _few(layers: Sequence[int]) -> str:
    """Layers in words.

    Example: [0, 1, 2] -> "layers 1 to 3", [1, 3] -> "layers 2, 4"
    """
    numbers = [layer + 1 for layer in layers]
    if numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"layers {numbers[0]} to {numbers[-1]}"
    return f"layers {', '.join(map(str, numbers))}"
