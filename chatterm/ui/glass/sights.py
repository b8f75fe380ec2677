"""What each view asks of the source, and what it says of the answer: in lines, as text, for a program.

How that is drawn is in a module for each (`attention`, `layers` and so on). No widget is known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec
from textual.content import Content

from chatterm.errors import NotVisible
from chatterm.glass import (
    LONGEST_SPAN,
    Attention,
    AttentionMap,
    AttentionRequest,
    Drift,
    GlassResult,
    Lens,
    LensRequest,
    MapRequest,
    Neighbours,
    NeighboursRequest,
    Similarity,
    SimilarityRequest,
)
from chatterm.ui.glass import attention, branches, candidates, layers, tokens, vectors, window
from chatterm.ui.glass.aim import Aim, Room
from chatterm.ui.glass.branches import BranchesSeen
from chatterm.ui.glass.marks import MUTED
from chatterm.ui.glass.source import GlassSource, GlassToken, WindowSeen
from chatterm.ui.glass.token_view import TokenKind
from chatterm.ui.glass.tokens import Cuts
from chatterm.ui.glass.views import ViewName

Seen = GlassResult | Cuts | WindowSeen | BranchesSeen

NOT_HERE = "Not available here"
N_EXPECTED = 10
"""Tokens that are shown of what the model expected at a place that it did not write."""
NO_WORDS = Similarity((), (), (), (), 0.0)
_LOW = 13
"""Rows up to which fewer bars are drawn, so that what stands below them is seen."""


class Sight:
    """One view; as long as it has seen nothing it says so, and copies the tokens."""

    has_rows: ClassVar = False
    """Whether it is a list to choose from."""
    first_line: ClassVar = 0
    """On which line its rows begin."""

    async def look(self, source: GlassSource, aim: Aim) -> Seen | None:
        """Ask for what it shows of a token; None where nothing needs to be asked.

        Raises:
            ChattermError: it cannot be told; says why.
        """
        raise NotImplementedError

    def lines(self, seen: Seen | None, aim: Aim, room: Room) -> list[Content]:  # noqa: ARG002
        """What it says."""
        return [_muted("looking …")]

    def n_rows(self, seen: Seen | None, aim: Aim) -> int:  # noqa: ARG002
        """How many rows can be chosen."""
        return 0

    def text(self, seen: Seen | None, aim: Aim) -> str:  # noqa: ARG002
        """The same as plain text."""
        return tokens.text(aim.tokens)

    def data(self, seen: Seen | None, aim: Aim) -> Any:
        """The same for a program, as what JSON can tell."""
        return tokens.as_json(aim.tokens) if seen is None else seen

    def tints(self, seen: Seen | None, aim: Aim) -> Sequence[float | None] | None:  # noqa: ARG002
        """How it colours the tokens; None leaves that to what was measured."""
        return None

    def legend(self, aim: Aim) -> str:  # noqa: ARG002
        """What its colours say; empty where they are not its own."""
        return ""


class TokensSight(Sight):
    """The token by itself."""

    async def look(self, source: GlassSource, aim: Aim) -> Seen | None:
        """How its word is cut in other spellings."""
        return await tokens.cuts_of(source, aim.token.piece)

    def lines(self, seen: Seen | None, aim: Aim, room: Room) -> list[Content]:  # noqa: ARG002
        """What is known of it, at once."""
        if aim.token.kind is TokenKind.UNCUT:
            why_not = f"{NOT_HERE}, because how this text is cut into tokens is not told."
            return [Content.styled(why_not, "$text-warning")]
        return tokens.lines(aim.tokens, aim.place, seen if isinstance(seen, Cuts) else Cuts())

    def data(self, seen: Seen | None, aim: Aim) -> Any:  # noqa: ARG002
        """All tokens."""
        return tokens.as_json(aim.tokens)


class NextSight(Sight):
    """What the token was drawn from, or what was expected in its place."""

    has_rows = True
    first_line = candidates.FIRST_LINE

    async def look(self, source: GlassSource, aim: Aim) -> Seen | None:
        """What was expected, where no draw was measured."""
        if aim.measured is not None or not aim.place:
            return None
        if aim.token.kind is TokenKind.UNCUT:
            raise NotVisible("The probabilities of these tokens are not told.")
        ids = aim.ids()
        return await source.inspect(LensRequest(ids, aim.place - 1, ids[aim.place], n_best=N_EXPECTED))

    def lines(self, seen: Seen | None, aim: Aim, room: Room) -> list[Content]:
        """The candidates with the draw: as it was, or at settings that are tried."""
        if aim.measured is not None:
            n_rows = max(room.height - 9, 4) if room.row is None else room.n_rows
            return candidates.lines(aim.measured, room.width, n_rows, aim.tried, row=room.row, n_stages=aim.n_stages)
        if not aim.place:
            return [_muted("This is the first token: nothing stands before it from which it could be foretold.")]
        if isinstance(seen, Lens):
            return [*candidates.expected_lines(seen, room.width), Content(""), _muted(_why_unmeasured(aim.token))]
        return super().lines(seen, aim, room)

    def n_rows(self, seen: Seen | None, aim: Aim) -> int:  # noqa: ARG002
        """The candidates."""
        return len(aim.measured.pieces) if aim.measured is not None else 0

    def text(self, seen: Seen | None, aim: Aim) -> str:
        """The candidates, else the tokens."""
        return candidates.text(aim.measured) if aim.measured is not None else super().text(seen, aim)

    def data(self, seen: Seen | None, aim: Aim) -> Any:  # noqa: ARG002
        """What was measured, else the tokens."""
        return aim.measured if aim.measured is not None else tokens.as_json(aim.tokens)


class WindowSight(Sight):
    """What the context window holds."""

    async def look(self, source: GlassSource, aim: Aim) -> Seen | None:  # noqa: ARG002
        """What it holds now."""
        return await source.window()

    def lines(self, seen: Seen | None, aim: Aim, room: Room) -> list[Content]:
        """The bar and its parts."""
        return window.lines(seen, room.width) if isinstance(seen, WindowSeen) else super().lines(seen, aim, room)

    def text(self, seen: Seen | None, aim: Aim) -> str:
        """The parts."""
        return window.text(seen) if isinstance(seen, WindowSeen) else super().text(seen, aim)

    def data(self, seen: Seen | None, aim: Aim) -> Any:
        """By the names of what is told."""
        return seen._asdict() if isinstance(seen, WindowSeen) else super().data(seen, aim)


class AttentionSight(Sight):
    """Where the token looks, as bars or as a map."""

    async def look(self, source: GlassSource, aim: Aim) -> Seen | None:
        """Where it looks, or where all tokens of a span before it do."""
        if not aim.form % 2:
            return await source.inspect(AttentionRequest(aim.ids(), aim.place, aim.layer, aim.head))
        start = max(aim.place + 1 - LONGEST_SPAN, 0)
        return await source.inspect(MapRequest(aim.ids(), start, aim.place + 1, aim.layer, aim.head))

    def lines(self, seen: Seen | None, aim: Aim, room: Room) -> list[Content]:
        """Bars and grid, or the map."""
        match seen:
            case Attention():
                n = 8 if room.height > _LOW else 4
                return attention.lines(seen, aim.pieces, room.width, hides_first=aim.hides_first, n_strongest=n)
            case AttentionMap():
                return attention.map_lines(seen, aim.pieces, room.width)
        return super().lines(seen, aim, room)

    def text(self, seen: Seen | None, aim: Aim) -> str:
        """The weights; a map as JSON."""
        match seen:
            case Attention():
                return attention.text(seen, aim.pieces, hides_first=aim.hides_first)
            case AttentionMap():
                return json_of(seen)
        return super().text(seen, aim)

    def tints(self, seen: Seen | None, aim: Aim) -> Sequence[float | None] | None:
        """The stronger, the more the token takes from there."""
        row = attention.row_of(seen, hides_first=aim.hides_first) if isinstance(seen, Attention) else []
        return [*attention.tints(row), *[None] * (len(aim.tokens) - len(row))]

    def legend(self, aim: Aim) -> str:
        """Of which layer and head they are."""
        layer = "all layers" if aim.layer is None else f"layer {aim.layer + 1}"
        head = "all heads" if aim.head is None else f"head {aim.head + 1}"
        first = "first token left out" if aim.hides_first else "first token shown"
        return f"{layer} · {head} · {first}; stronger colour, more weight"


class LayersSight(Sight):
    """What each layer would have said in the place of the token."""

    async def look(self, source: GlassSource, aim: Aim) -> Seen | None:
        """What each would have said."""
        ids = aim.ids()
        return await source.inspect(LensRequest(ids, max(aim.place - 1, 0), ids[aim.place] if aim.place else None))

    def lines(self, seen: Seen | None, aim: Aim, room: Room) -> list[Content]:
        """A row for each."""
        return layers.lines(seen, room.width) if isinstance(seen, Lens) else super().lines(seen, aim, room)

    def text(self, seen: Seen | None, aim: Aim) -> str:
        """A row for each."""
        return layers.text(seen) if isinstance(seen, Lens) else super().text(seen, aim)


class VectorsSight(Sight):
    """The token as numbers; all words of its message; its word in two sentences."""

    async def look(self, source: GlassSource, aim: Aim) -> Seen | None:
        """What is near to it, or to each other."""
        ids = aim.ids()
        match aim.form % 3:
            case 1:
                words = vectors.words_of(aim.said())
                return await source.inspect(SimilarityRequest(words)) if words else NO_WORDS
            case 2:
                return await source.inspect(aim.drift())
        return await source.inspect(NeighboursRequest(ids[aim.place]))

    def lines(self, seen: Seen | None, aim: Aim, room: Room) -> list[Content]:
        """The neighbours, the plane, or the two sentences."""
        match seen:
            case Similarity(words=()):
                return [_muted("There are no words here. Move to a message.")]
            case Similarity():
                return vectors.scatter(seen, room.width, max(room.height - 3, 6))
            case Drift():
                return vectors.drift_lines(seen, aim.drift(), room.width)
            case Neighbours():
                return vectors.lines(seen, room.width)
        return super().lines(seen, aim, room)

    def text(self, seen: Seen | None, aim: Aim) -> str:
        """The neighbours; anything else as JSON."""
        match seen:
            case Similarity() | Drift():
                return json_of(seen)
            case Neighbours():
                return vectors.text(seen)
        return super().text(seen, aim)


class BranchesSight(Sight):
    """All answers to the question that the token's turn answers."""

    has_rows = True
    first_line = branches.FIRST_LINE

    async def look(self, source: GlassSource, aim: Aim) -> Seen | None:
        """Which answers there are."""
        return await source.branches(aim.token.turn)

    def lines(self, seen: Seen | None, aim: Aim, room: Room) -> list[Content]:
        """A tree of them."""
        match seen:
            case BranchesSeen(()):
                return [_muted("Nothing was answered yet.")]
            case BranchesSeen():
                return branches.lines(seen, room.width, room.row)
        return super().lines(seen, aim, room)

    def n_rows(self, seen: Seen | None, aim: Aim) -> int:  # noqa: ARG002
        """The answers."""
        return len(seen.branches) if isinstance(seen, BranchesSeen) else 0

    def text(self, seen: Seen | None, aim: Aim) -> str:
        """A row for each."""
        return branches.text(seen) if isinstance(seen, BranchesSeen) else super().text(seen, aim)

    def data(self, seen: Seen | None, aim: Aim) -> Any:
        """By the names of what is told."""
        return branches.as_json(seen) if isinstance(seen, BranchesSeen) else super().data(seen, aim)


SIGHTS: dict[ViewName, Sight] = {
    ViewName.TOKENS: TokensSight(),
    ViewName.NEXT: NextSight(),
    ViewName.WINDOW: WindowSight(),
    ViewName.ATTENTION: AttentionSight(),
    ViewName.LAYERS: LayersSight(),
    ViewName.VECTORS: VectorsSight(),
    ViewName.BRANCHES: BranchesSight(),
}


def json_of(data: Any) -> str:
    """JSON with line breaks, as a person copies it."""
    return msgspec.json.format(msgspec.json.encode(data)).decode()


def _muted(text: str) -> Content:
    return Content.styled(text, MUTED)


def _why_unmeasured(token: GlassToken) -> str:
    """Why no draw is shown for a token."""
    if token.part == "answer":
        return "How it was drawn was not kept: that is so while the glass box is open. Regenerate (ctrl+r) to see it."
    return "The model did not draw this token, it was given. This is what it expected here."
