"""The views of what is inside the model: where a token looks, what each layer would say, tokens as numbers.

How what was seen is drawn is in `attention`, `layers` and `vectors`.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from chatterm.glass import (
    LONGEST_SPAN,
    Attention,
    AttentionMap,
    AttentionRequest,
    Drift,
    Lens,
    LensRequest,
    MapRequest,
    Neighbours,
    NeighboursRequest,
    Similarity,
    SimilarityRequest,
)
from chatterm.ui.glass import attention, layers, vectors
from chatterm.ui.glass.aim import Aim, Angle, Room, stepped
from chatterm.ui.glass.sight import Seen, Sight, json_of, muted
from chatterm.ui.glass.source import GlassSource

NO_WORDS = Similarity((), (), (), (), 0.0)
_ROUNDING = 0.002
"""By how much a row of 16-bit weights may miss 1."""
_LOW = 13
"""Rows up to which fewer bars are drawn, so that what stands below them is seen."""


class AttentionSight(Sight):
    """Where the token looks, as bars or as a map."""

    async def look(self, source: GlassSource, aim: Aim) -> Seen | None:
        """Where it looks, or where all tokens of a span before it do."""
        form, layer, head = aim.angle.asked
        if not form % 2:
            return await source.inspect(AttentionRequest(aim.ids(), aim.place, layer, head))
        start = max(aim.place + 1 - LONGEST_SPAN, 0)
        return await source.inspect(MapRequest(aim.ids(), start, aim.place + 1, layer, head))

    def lines(self, seen: Seen | None, aim: Aim, room: Room) -> list[Content]:
        """Bars and grid, or the map."""
        hides_first = aim.angle.hides_first
        match seen:
            case Attention():
                n = 8 if room.height > _LOW else 4
                drawn = attention.lines(seen, aim.pieces, room.width, hides_first=hides_first, n_strongest=n)
                return [*drawn, *attention.share_lines(seen, aim.messages(), hides_first=hides_first)]
            case AttentionMap():
                return attention.map_lines(seen, aim.pieces, room.width)
        return super().lines(seen, aim, room)

    def text(self, seen: Seen | None, aim: Aim) -> str:
        """The weights; a map as JSON."""
        match seen:
            case Attention():
                return attention.text(seen, aim.pieces, hides_first=aim.angle.hides_first)
            case AttentionMap():
                return json_of(seen)
        return super().text(seen, aim)

    def tints(self, seen: Seen | None, aim: Aim) -> Sequence[float | None] | None:
        """The stronger, the more the token takes from there."""
        row = attention.row_of(seen, hides_first=aim.angle.hides_first) if isinstance(seen, Attention) else []
        return [*attention.tints(row), *[None] * (len(aim.tokens) - len(row))]

    def another_layer(self, seen: Seen | None, aim: Aim, step: int) -> Angle:
        """One of those that have the head that is shown; where nothing is shown, all layers and heads together."""
        if not isinstance(seen, Attention):
            return aim.angle if seen else aim.angle._replace(layer=None, head=None)
        n_least = 0 if aim.angle.head is None else aim.angle.head + 1
        layers = [layer for layer, heads in zip(seen.layers, seen.first, strict=True) if len(heads) >= n_least]
        return aim.angle._replace(layer=stepped(aim.angle.layer, step, layers))

    def another_head(self, seen: Seen | None, aim: Aim, step: int) -> Angle:
        """One of the layer that is shown; of all layers, of the one with most of them.

        Where nothing is shown, all layers and heads together, since the model may lack the ones that were chosen.
        """
        if not isinstance(seen, Attention):
            return aim.angle if seen else aim.angle._replace(layer=None, head=None)
        shown = aim.angle.layer
        counts = [len(heads) for layer, heads in zip(seen.layers, seen.first, strict=True) if shown in (None, layer)]
        n = max(counts, default=0)
        return aim.angle._replace(head=stepped(aim.angle.head, step, range(n)))

    def verified(self, seen: Seen | None, aim: Aim) -> str:
        """Whether the weights are a distribution over what had been read."""
        if not isinstance(seen, Attention) or abs(sum(seen.row) - 1) > _ROUNDING or len(seen.row) > aim.place + 1:
            return ""
        return "adds up to 100 %, nothing later is looked at"

    def legend(self, aim: Aim) -> str:
        """Of which layer and head they are."""
        angle = aim.angle
        layer = "all layers" if angle.layer is None else f"layer {angle.layer + 1}"
        head = "all heads" if angle.head is None else f"head {angle.head + 1}"
        first = "first token left out" if angle.hides_first else "first token shown"
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

    def verified(self, seen: Seen | None, aim: Aim) -> str:  # noqa: ARG002
        """Whether the last row is what the model itself says."""
        if not isinstance(seen, Lens):
            return ""
        return f"the last layer's scores are the model's, within {seen.error:.1g}"


class VectorsSight(Sight):
    """The token as numbers; all words of its message; its word in two sentences."""

    async def look(self, source: GlassSource, aim: Aim) -> Seen | None:
        """What is near to it, or to each other."""
        ids = aim.ids()
        match aim.angle.form % 3:
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
                return [muted("There are no words here. Move to a message.")]
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
