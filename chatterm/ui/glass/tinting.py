"""Colours for tokens by what was measured when they were drawn: 0 is as expected, 1 is a great surprise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

from chatterm.events import Measured

_MOST_BITS = 10.0
"""A surprise of one in a thousand is as strong as a tint gets."""
_MOST_ENTROPY = 6.0


class Tint(StrEnum):
    """What the colour of a token says."""

    BOUNDARIES = "boundaries"
    PROBABILITY = "probability"
    SURPRISE = "surprise"
    ENTROPY = "entropy"
    RANK = "rank"


LEGENDS = {
    Tint.BOUNDARIES: "a new colour is a new token",
    Tint.PROBABILITY: "strong is unlikely; underlined < 50 %, bold < 20 %",
    Tint.SURPRISE: "strong is surprising; underlined from 5 bits, bold from 8",
    Tint.ENTROPY: "strong is undecided; underlined from 3 bits, bold from 4.8",
    Tint.RANK: "plain is the first choice; underlined from rank 10, bold from 40",
}


def tint_of(seen: Measured | None, tint: Tint) -> float | None:
    """How strongly a token is coloured; None where it was not measured."""
    if seen is None:
        return None
    match tint:
        case Tint.PROBABILITY if seen.probability is not None:
            return 1 - seen.probability
        case Tint.SURPRISE if seen.surprise is not None:
            return min(seen.surprise / _MOST_BITS, 1.0)
        case Tint.ENTROPY if seen.entropy is not None:
            return min(seen.entropy / _MOST_ENTROPY, 1.0)
        case Tint.RANK if seen.rank is not None:
            return min(math.log10(seen.rank) / 2, 1.0)
    return None


def tints(measures: Sequence[Measured | None], tint: Tint) -> list[float | None] | None:
    """The tints of all tokens; None where boundaries are shown instead."""
    return None if tint is Tint.BOUNDARIES else [tint_of(seen, tint) for seen in measures]
