"""Probabilities as servers tell them, as what the glass box shows of a token: much of it stays unknown."""

from __future__ import annotations

import codecs
import math
from collections.abc import Sequence

from chatterm import lens
from chatterm.engine.delta import Probable
from chatterm.events import Kept, Measured

_NONE = -1
"""Stands for the id of a token that a server does not tell."""


class Probabilities:
    """Turns the tokens of one reply into measures."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._n_tokens = 0
        self._n_characters = 0

    def measured(self, tokens: Sequence[Probable]) -> tuple[list[Measured], str]:
        """The measures of some tokens, and the text that they make."""
        found, written = [], ""
        for token in tokens:
            text = self._decoder.decode(token.piece)
            start = self._n_characters
            self._n_characters += len(text)
            written += text
            rank = next((i for i, other in enumerate(token.top, start=1) if other.piece == token.piece), None)
            found.append(
                Measured(
                    self._n_tokens,
                    token.piece,
                    token.id,
                    start,
                    self._n_characters,
                    probability=math.exp(token.logprob),
                    rank=rank,
                    surprise=abs(token.logprob) / math.log(2),
                    log_partition=0.0 if token.top else None,
                    pieces=tuple(other.piece for other in token.top),
                    kept=_kept(token.top),
                )
            )
            self._n_tokens += 1
        return found, written


def _kept(top: Sequence[Probable]) -> Kept | None:
    """The likeliest tokens, with logarithms of probabilities for logits, and what they leave for all others."""
    if not top:
        return None
    logprobs = [max(other.logprob, lens.NOTHING) for other in top]
    rest = 1 - math.fsum(map(math.exp, logprobs))
    log_rest = math.log(rest) - logprobs[0] if rest > 1e-6 else lens.NOTHING
    return lens.packed([_NONE if other.id is None else other.id for other in top], logprobs, [log_rest])
