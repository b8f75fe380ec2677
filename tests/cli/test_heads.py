"""Which head `chatterm explain` shows, also where not all layers have as many."""

from __future__ import annotations

import pytest

from chatterm.cli.explaining.heads import place_of
from chatterm.errors import NotVisible
from chatterm.glass import Attention

COUNTS = {0: 2, 2: 4}
"""Heads by layer."""
SEEN = Attention(
    position=2,
    layer=None,
    head=None,
    row=(0.2, 0.5, 0.3),
    layers=tuple(COUNTS),
    first=tuple((0.2,) * n for n in COUNTS.values()),
    bits=tuple(tuple(3.0 - head for head in range(n)) for n in COUNTS.values()),
    strongest=tuple((0,) * n for n in COUNTS.values()),
)


@pytest.mark.parametrize(
    ("layer", "head", "place"),
    [(None, None, (2, 3)), (1, None, (0, 1)), (None, 3, (2, 2)), (3, 4, (2, 3)), (1, 2, (0, 1))],
)
def test_a_head_is_taken_of_a_layer_that_has_it(layer: int | None, head: int | None, place: tuple[int, int]) -> None:
    assert place_of(SEEN, (), layer, head) == place


@pytest.mark.parametrize(
    ("layer", "head", "said"),
    [(1, 3, "no head 3: layer 1 has 2"), (None, 5, "no head 5: the layers have 2 to 4"), (2, None, "layers 1, 3")],
)
def test_a_head_that_no_layer_has_is_refused(layer: int | None, head: int | None, said: str) -> None:
    with pytest.raises(NotVisible, match=said):
        place_of(SEEN, (), layer, head)
