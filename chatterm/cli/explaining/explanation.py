"""What `chatterm explain` shows about a text: records that are printed as JSON as they are.

Tokens, layers and heads are counted from 1 here, as people count them. docs/json.md describes each field.
"""

from __future__ import annotations

import msgspec

from chatterm.text import plain


class Shown(msgspec.Struct, frozen=True):
    """A token."""

    id: int | None
    text: str
    """As it can be printed: line breaks as signs, bytes that are no whole character by their value."""
    bytes: str
    """In hexadecimal digits."""


def shown(id: int | None, piece: bytes) -> Shown:
    """A token as it is shown."""
    return Shown(id, printable(piece), piece.hex())


def printable(piece: bytes) -> str:
    r"""The bytes of a token on one line: line breaks as signs, bytes that are no whole character by their value.

    Example: b" the" -> " the", b"\n" -> "↵", b"\xf0" -> "⟨F0⟩"
    """
    try:
        text = piece.decode()
    except UnicodeDecodeError:
        return "".join(f"⟨{byte:02X}⟩" if byte > 0x7F else printable(bytes([byte])) for byte in piece)
    return "".join("\ufffd" if ord(each) & 0xFFFE == 0xFFFE else each for each in plain(text)).translate(
        {ord("\n"): "↵", ord("\t"): "⇥"}
    )


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

    number: int | None
    """The token after which it comes, the last one; null where a server does not tell its tokens."""
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
