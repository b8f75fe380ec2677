"""What can be seen inside a model: what is asked, and the short lists that are answered.

Everything is about one place in a text: a token with all that stands before it. The numbers are made
where the model is (`Engine.inspect`); they cross the pipe as these records, and `chatterm explain
--json` prints them. Pure functions that need no model are here, too. Nothing here knows llama.cpp.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import msgspec

LONGEST_SPAN = 64
"""Tokens of the longest span that an attention map is made for."""
PICTURE_CELLS = 64
"""Numbers in the small picture of a vector."""


class Look(msgspec.Struct, frozen=True, tag_field="look", tag=str.lower):
    """What all questions to the glass box share."""


class AbilitiesRequest(Look, frozen=True):
    """What can be seen inside this model; answered by `GlassAbilities`."""


class AttentionRequest(Look, frozen=True):
    """Where one token looks; answered by `Attention`."""

    tokens: tuple[int, ...]
    """The text as the model reads it; what follows `position` does not matter."""
    position: int
    """Of the token that looks; -1 is the last one."""
    layer: int | None = None
    """None is the mean of all layers."""
    head: int | None = None
    """None is the mean of all heads."""


class MapRequest(Look, frozen=True):
    """Where all tokens of a short span look; answered by `AttentionMap`."""

    tokens: tuple[int, ...]
    start: int
    end: int
    """Behind the last token of the span, which has at most `LONGEST_SPAN`."""
    layer: int | None = None
    head: int | None = None


class LensRequest(Look, frozen=True):
    """What each layer would have said after one token; answered by `Lens`."""

    tokens: tuple[int, ...]
    position: int
    """Of the token after which the next one is foretold; -1 is the last one."""
    chosen: int | None = None
    """The token that came next; None takes it from `tokens`, or the likeliest one."""
    rivals: tuple[int, ...] = ()
    """Tokens that are followed through the layers; none means the two likeliest at the end."""
    n_best: int = 5


class NeighboursRequest(Look, frozen=True):
    """A token as numbers, and which tokens have the most similar ones; answered by `Neighbours`."""

    token: int
    n: int = 10


class SimilarityRequest(Look, frozen=True):
    """How similar words are to each other; answered by `Similarity`."""

    words: tuple[str, ...]
    """At least one; a word of several tokens counts as their mean."""


class DriftRequest(Look, frozen=True):
    """How the same word becomes two things in two sentences; answered by `Drift`."""

    word: str
    first: str
    """A sentence with the word in it; what follows the word does not matter."""
    second: str


class LetGo(Look, frozen=True):
    """Free the memory that looking inside takes; answered by `GlassAbilities` as they are known."""


GlassRequest = (
    AbilitiesRequest
    | AttentionRequest
    | MapRequest
    | LensRequest
    | NeighboursRequest
    | SimilarityRequest
    | DriftRequest
    | LetGo
)


class Seen(msgspec.Struct, frozen=True, tag_field="seen", tag=str.lower):
    """What all answers of the glass box share."""


class GlassAbilities(Seen, frozen=True):
    """What can be seen inside a model: for each view "" where it can, else why not, in a sentence."""

    attention: str = ""
    lens: str = ""
    embeddings: str = ""

    @classmethod
    def none(cls, reason: str) -> GlassAbilities:
        """Nothing can be seen, for one reason."""
        return cls(reason, reason, reason)


class Piece(msgspec.Struct, frozen=True):
    """A token with a number: a probability, or a cosine."""

    id: int
    piece: bytes
    """Its bytes, which need not be whole characters."""
    value: float


class Attention(Seen, frozen=True):
    """Where one token looks. Not an explanation: weights say where information may come from, not what it does."""

    position: int
    layer: int | None
    head: int | None
    row: tuple[float, ...]
    """How much weight each token has, from the first to the one that looks; together 1."""
    layers: tuple[int, ...]
    """The layers that have attention, for the rows of the grids."""
    first: tuple[tuple[float, ...], ...]
    """By layer and head: the share of the first token, on which many heads rest."""
    bits: tuple[tuple[float, ...], ...]
    """By layer and head: the entropy of the row; 0 looks at one token only, 3 at about eight."""
    strongest: tuple[tuple[int, ...], ...]
    """By layer and head: the position with the most weight, the first token left out where there is another."""


class AttentionMap(Seen, frozen=True):
    """Where the tokens of a span look, each row as in `Attention`."""

    start: int
    layer: int | None
    head: int | None
    rows: tuple[tuple[float, ...], ...]
    """One row a token of the span: weights of the span's own tokens; what went before the span is `before`."""
    before: tuple[float, ...]
    """For each row the weight of all tokens before the span."""


class LensLayer(msgspec.Struct, frozen=True):
    """What a layer would have said."""

    layer: int
    best: tuple[Piece, ...]
    """The likeliest tokens with their probabilities, the likeliest first."""
    rank: int
    """Of the chosen token; 1 is the first."""
    probability: float
    """Of the chosen token."""
    bits: float
    """Entropy of the distribution: 0 is certain."""
    rivals: tuple[float, ...]
    """Probabilities of the tokens that are followed, in their order."""


class Lens(Seen, frozen=True):
    """What each layer would have said, by the raw logit lens; early layers often say nothing sensible."""

    position: int
    chosen: Piece
    """The token that came next, with its probability at the end."""
    rivals: tuple[Piece, ...]
    layers: tuple[LensLayer, ...]
    """The last one is what the model really says."""
    error: float
    """By how much the last layer's logits differ from the model's own, at most."""


class Neighbours(Seen, frozen=True):
    """A token as numbers."""

    token: Piece
    """Its value is the vector's length."""
    n_dimensions: int
    picture: tuple[float, ...]
    """At most `PICTURE_CELLS` numbers: of each stretch of the vector the one that is furthest from 0."""
    neighbours: tuple[Piece, ...]
    """The most similar tokens with their cosines, the most similar first; unused and control tokens left out."""


class Similarity(Seen, frozen=True):
    """How similar words are."""

    words: tuple[str, ...]
    n_tokens: tuple[int, ...]
    """Tokens that each word takes."""
    cosines: tuple[tuple[float, ...], ...]
    points: tuple[tuple[float, float], ...]
    """The words on a plane, so that as much of their differences shows as can (principal components)."""
    shown: float
    """The share of the differences that the plane shows, 0 to 1."""


class Drift(Seen, frozen=True):
    """The same word in two sentences: how similar its vector is with itself, layer by layer."""

    word: str
    cosines: tuple[float, ...]
    """First as looked up in the table, which is 1, then after each layer."""


GlassResult = GlassAbilities | Attention | AttentionMap | Lens | Neighbours | Similarity | Drift


def hide_first(row: Sequence[float]) -> list[float]:
    """A row of attention without its first token, made to add up to 1 again; what was nothing stays so.

    Example: [0.5, 0.25, 0.25] -> [0.0, 0.5, 0.5]
    """
    rest = sum(row[1:])
    if rest <= 0:
        return [0.0] * len(row)
    return [0.0, *(weight / rest for weight in row[1:])]


def telling_head(seen: Attention, places: Collection[int] = ()) -> tuple[int, int]:
    """Layer and head of a row that tells something: a good one to begin with.

    Of those that look most at one of some places, neither at the token itself nor at the one before it,
    and rest least on the first token, the most focused one.

    Args:
        places: Positions of telling tokens; none means all.
    """

    def rating(i: int, head: int) -> tuple[bool, bool, float, float]:
        place = seen.strongest[i][head]
        is_elsewhere = bool(places) and place not in places
        return is_elsewhere, place >= seen.position - 1, round(seen.first[i][head], 1), seen.bits[i][head]

    heads = ((i, head) for i, row in enumerate(seen.first) for head in range(len(row)))
    i, head = min(heads, key=lambda place: rating(*place))
    return seen.layers[i], head


def no_such_head(head: int, layer: int | None, counts: Collection[int]) -> str:
    """Why a head cannot be shown.

    Args:
        layer: The only one that was meant; None where any was.
        counts: How many heads each layer has that was meant.

    Example: 9, None, [4, 8] -> "There is no head 9: the layers have 4 to 8."
    """
    return f"There is no head {head}: {_having(layer, min(counts), max(counts))}."


def _having(layer: int | None, least: int, most: int) -> str:
    if layer is not None:
        return f"layer {layer} has {most}"
    return f"each layer has {most}" if least == most else f"the layers have {least} to {most}"


def shares(row: Sequence[float], ends: Sequence[int]) -> list[float]:
    """How much of a row falls on each part of a text.

    Args:
        ends: Where the parts end, rising; what is behind the last end is left out.

    Example: [0.5, 0.25, 0.25], [1, 3] -> [0.5, 0.5]
    """
    starts = [0, *ends[:-1]]
    return [sum(row[start:end]) for start, end in zip(starts, ends, strict=True)]


def entropy_bits(row: Sequence[float]) -> float:
    """How spread out weights are that add up to 1: 0 is all on one, n bits is evenly on 2**n.

    Example: [0.5, 0.5] -> 1.0
    """
    return -sum(weight * math.log2(weight) for weight in row if weight > 0)
