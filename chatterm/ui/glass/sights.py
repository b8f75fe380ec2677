"""All views by name, and those of what was read, drawn and answered.

How what was seen is drawn is in `tokens`, `candidates`, `window` and `branches`.
"""

from __future__ import annotations

from typing import Any

from textual.content import Content

from chatterm import lens
from chatterm.errors import NotVisible
from chatterm.glass import Lens, LensRequest
from chatterm.ui.glass import branches, candidates, tokens, window
from chatterm.ui.glass.aim import Aim, Angle, Room, stepped
from chatterm.ui.glass.branches import BranchesSeen
from chatterm.ui.glass.shown_token import TokenKind
from chatterm.ui.glass.sight import NOT_HERE, Seen, Sight, muted
from chatterm.ui.glass.sights_inside import AttentionSight, LayersSight, VectorsSight
from chatterm.ui.glass.source import GlassSource, GlassToken, WindowSeen
from chatterm.ui.glass.tinting import Tint
from chatterm.ui.glass.tokens import Cuts
from chatterm.ui.glass.views import ViewName

N_EXPECTED = 10
"""Tokens that are shown of what the model expected at a place that it did not write."""


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

    def first_tint(self, before: Tint) -> Tint:  # noqa: ARG002
        """Where one ends, and the next begins."""
        return Tint.BOUNDARIES


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
            n_rows = max(room.height - 10, 4) if room.row is None else room.n_rows
            return candidates.lines(
                aim.measured,
                room.width,
                n_rows,
                aim.tried,
                row=room.row,
                n_stages=aim.angle.n_stages,
                is_now=aim.is_at_present,
            )
        if not aim.place:
            return [muted("This is the first token: nothing stands before it from which it could be foretold.")]
        if isinstance(seen, Lens):
            return [*candidates.expected_lines(seen, room.width), Content(""), muted(_why_unmeasured(aim.token))]
        return super().lines(seen, aim, room)

    def verified(self, seen: Seen | None, aim: Aim) -> str:  # noqa: ARG002
        """Whether the random point lies where the drawn token has its part."""
        drawn = aim.measured
        if drawn is None or aim.tried is not None or drawn.point is None or drawn.segment is None:
            return ""
        start, end = drawn.segment
        return "the point lies on the drawn token's part" if start <= drawn.point <= end else ""

    def n_rows(self, seen: Seen | None, aim: Aim) -> int:  # noqa: ARG002
        """The candidates."""
        return len(aim.measured.pieces) if aim.measured is not None else 0

    def first_row(self, seen: Seen | None, aim: Aim) -> int:  # noqa: ARG002
        """The one that was drawn."""
        drawn = aim.measured
        return drawn.pieces.index(drawn.piece) if drawn is not None and drawn.piece in drawn.pieces else 0

    def first_tint(self, before: Tint) -> Tint:
        """How likely each was, unless other measures are shown."""
        return Tint.PROBABILITY if before is Tint.BOUNDARIES else before

    def another_layer(self, seen: Seen | None, aim: Aim, step: int) -> Angle:  # noqa: ARG002
        """After another stage."""
        if aim.measured is None or aim.measured.kept is None:
            return aim.angle
        n = len(lens.stages(aim.measured.kept, aim.stages_at))
        return aim.angle._replace(n_stages=stepped(aim.angle.n_stages, step, range(n)))

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


class BranchesSight(Sight):
    """All answers to the question that the token's turn answers."""

    has_rows = True
    first_line = branches.FIRST_LINE
    takes_keys = True

    async def look(self, source: GlassSource, aim: Aim) -> Seen | None:
        """Which answers there are."""
        return await source.branches(aim.token.turn)

    def lines(self, seen: Seen | None, aim: Aim, room: Room) -> list[Content]:
        """A tree of them."""
        match seen:
            case BranchesSeen(()):
                return [muted("Nothing was answered yet.")]
            case BranchesSeen():
                return branches.lines(seen, room.width, room.row)
        return super().lines(seen, aim, room)

    def n_rows(self, seen: Seen | None, aim: Aim) -> int:  # noqa: ARG002
        """The answers."""
        return len(seen.branches) if isinstance(seen, BranchesSeen) else 0

    def first_row(self, seen: Seen | None, aim: Aim) -> int:  # noqa: ARG002
        """The one that is open."""
        return branches.open_row(seen) if isinstance(seen, BranchesSeen) else 0

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


def _why_unmeasured(token: GlassToken) -> str:
    """Why no draw is shown for a token."""
    if token.part == "answer":
        return "How it was drawn was not kept: that is so while the glass box is open. Regenerate (ctrl+r) to see it."
    return "The model did not draw this token, it was given. This is what it expected here."
