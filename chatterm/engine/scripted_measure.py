"""What the scripted engine says its tokens were sampled from: made-up numbers, plausible and always the same.

They keep to what a real measure promises: shares add up, the point falls on what was drawn, and
settings have their effect.
"""

from __future__ import annotations

import math
import re
import zlib

import msgspec

from chatterm import lens
from chatterm.events import Measured, StageMeasure
from chatterm.settings import Sampling

N_VOCAB = 32_000
_N_KEPT = 256
_N_SHOWN = 20
_WORDS = re.findall(
    r"\w+",
    "the of and to in is you that it he was for on are as with his they at be this have from or one had by word but"
    " not what all were we when your can said there use an each which she do how their if will up other about out"
    " many then them these so some her would make like him into time has look two more",
)
_FIRST_ID = 1000
_USUAL_RANKS = (0, 0, 0, 0, 0, 1, 0, 0, 2, 0, 1, 0, 0, 0, 4, 0)


def measured(index: int, word: str, token: int, start: int, sampling: Sampling) -> Measured:
    """A word of a script as a token that was drawn among others."""
    chance = zlib.crc32(f"{index} {word}".encode())
    steepness = 1.15 + (chance % 97) / 30
    logits = [12 - steepness * math.log(rank) for rank in range(1, _N_KEPT + 1)]
    kept = lens.packed(range(_N_KEPT), logits, _rest(steepness), N_VOCAB)
    views = lens.stages(kept, sampling)
    shares = views[-1].shares
    drawn = _USUAL_RANKS[(chance >> 8) % len(_USUAL_RANKS)]
    drawn = max(rank for rank in range(drawn + 1) if shares[rank] > 0)
    others = [_FIRST_ID + (chance + 7 * rank) % (N_VOCAB - _FIRST_ID) for rank in range(_N_KEPT)]
    ids = [*others[:drawn], token, *others[drawn + 1 :]]
    kept = msgspec.structs.replace(kept, ids=lens.packed(ids, logits).ids)
    raw = views[0].shares
    log_partition = logits[0] - math.log(raw[0])
    low, share = math.fsum(shares[:drawn]), shares[drawn]
    return Measured(
        index=index,
        piece=word.encode(),
        id=token,
        start=start,
        end=start + len(word),
        probability=raw[drawn],
        rank=drawn + 1,
        surprise=lens.surprise(raw[drawn]),
        entropy=lens.entropy(raw),
        log_partition=log_partition,
        pieces=tuple(word.encode() if rank == drawn else other_word(ids[rank]).encode() for rank in range(_N_SHOWN)),
        shares=shares[:_N_SHOWN],
        share=share,
        stages=tuple(
            StageMeasure(view.stage, view.n_left, tuple(rank for rank in view.cut if rank < _N_SHOWN))
            for view in views[1:]
        ),
        point=None if sampling.temperature == 0 else low + share * ((chance >> 4) % 100) / 100,
        segment=None if sampling.temperature == 0 else (low, low + share),
        kept=kept,
    )


def other_word(token: int) -> str:
    """The text of a token that no script says, such as a candidate that was not drawn."""
    return f" {_WORDS[token % len(_WORDS)]}"


def _rest(steepness: float) -> list[float]:
    """The mass of all others: a power law from rank 256 on, by its integral."""
    masses, means = [], []
    low, high = math.log(_N_KEPT), math.log(N_VOCAB)
    for inverse_temperature in lens.INVERSE_TEMPERATURES:
        power = 1 - steepness * inverse_temperature
        at_low, at_high = math.exp(power * low), math.exp(power * high)
        mass = (at_high - at_low) / power
        mean_rank = (at_high * high - at_low * low) / (at_high - at_low) - 1 / power  # of its logarithm
        masses.append(max(lens.NOTHING, math.log(mass)))
        means.append(-steepness * mean_rank)
    return masses + means
