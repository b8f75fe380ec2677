"""What a view of the glass box has seen belongs to one text, and is dropped with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from chatterm.errors import NotVisible
from chatterm.glass import Attention
from chatterm.settings import Sampling
from chatterm.ui.glass.aim import Aim, Angle, Room, stepped
from chatterm.ui.glass.sight import Seen, Sight
from chatterm.ui.glass.sighting import Sighting
from chatterm.ui.glass.sights_inside import AttentionSight
from chatterm.ui.glass.source import GlassSource, GlassToken
from chatterm.ui.glass.tokens import Cuts

SOURCE = cast("GlassSource", None)


class Cutting(Sight):
    """A view that sees something of each token but of one that cannot be seen."""

    async def look(self, source: GlassSource, aim: Aim) -> Seen | None:
        """How many bytes it has."""
        if aim.token.piece == b"?":
            raise NotVisible("This one cannot be seen.")
        return Cuts(((aim.token.piece.decode(), len(aim.token.piece)),))


def aim(*pieces: bytes, place: int = -1) -> Aim:
    return Aim([GlassToken(piece) for piece in pieces], place % len(pieces), Angle(), Sampling())


async def test_what_was_seen_stays_while_the_text_grows_and_goes_with_another_one() -> None:
    sighting = Sighting(Cutting())
    await sighting.look(SOURCE, aim(b"One", b" two"))
    sighting.forget_another_text(aim(b"One", b" two", b" three").tokens)
    assert sighting.seen == Cuts(((" two", 4),))
    sighting.forget_another_text(aim(b"One", b" too", b" three").tokens)
    assert sighting.seen is None


async def test_a_reason_goes_with_its_text_too() -> None:
    sighting, room = Sighting(Cutting()), Room(80, 20)
    await sighting.look(SOURCE, aim(b"One", b"?"))
    assert "because: This one cannot be seen." in str(sighting.lines(aim(b"One", b"?"), room)[0])
    assert sighting.n_rows(aim(b"One", b"?")) == 0
    sighting.forget_another_text([])
    assert not sighting.why_not
    assert "looking" in str(sighting.lines(aim(b"One"), room)[0])


def test_layers_and_heads_go_round_in_a_ring_that_begins_with_all_together() -> None:
    assert [stepped(value, 1, (3, 7)) for value in (None, 3, 7)] == [3, 7, None]
    assert stepped(None, -1, (3, 7)) == 7
    assert stepped(5, 1, (3, 7)) == 3, "a layer that another model does not have"
    assert stepped(None, 1, ()) is None


def test_the_keys_lead_only_to_heads_that_there_are() -> None:
    grid = ((0.5,) * 2, (0.5,) * 4)
    seen = Attention(0, None, None, (1.0,), (0, 3), grid, grid, ((0,) * 2, (0,) * 4))

    def places(angle: Angle, step: Callable[[Seen | None, Aim, int], Angle]) -> list[tuple[int | None, int | None]]:
        return [
            (found.layer, found.head) for found in (step(seen, aim(b"One")._replace(angle=angle), n) for n in (1, -1))
        ]

    sight = AttentionSight()
    assert places(Angle(head=2), sight.another_layer) == [(3, 2), (3, 2)], "the first layer has no third head"
    assert places(Angle(head=1), sight.another_layer) == [(0, 1), (3, 1)]
    assert places(Angle(layer=0), sight.another_head) == [(0, 0), (0, 1)]
    assert places(Angle(), sight.another_head) == [(None, 0), (None, 3)]


def test_the_keys_lead_back_from_a_layer_that_another_model_lacks() -> None:
    lost = aim(b"One")._replace(angle=Angle(layer=30, head=2))
    for step in (AttentionSight().another_layer, AttentionSight().another_head):
        assert step(None, lost, 1).asked == Angle().asked
