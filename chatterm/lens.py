"""What a measured distribution looks like at other settings: softmax, surprise, entropy, and each stage's cut.

Pure functions over short lists, quick enough to follow a slider. They know the highest logits of a
distribution and the mass of all the others (`events.Kept`), and say where that is not enough. The
stages are defined as llama.cpp defines them; drawing itself is the worker's.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_right
from collections.abc import Sequence

import msgspec

from chatterm.events import Kept, Measured
from chatterm.settings import Sampling, Stage

INVERSE_TEMPERATURES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""For these 1 / temperature, each twice the one before, `Kept.rest` tells of what is not kept; the others follow."""
_SAME_SHARE = 0.01
"""Shares that differ by less are taken for the same."""
NOTHING = -87.0
"""ln of a mass that counts as none: about the smallest 32-bit float."""


class Candidate(msgspec.Struct, frozen=True):
    """One token that might have come next."""

    id: int | None
    piece: bytes
    logit: float
    probability: float
    """Of the model itself."""
    share: float
    """After the last stage; 0 where it was cut."""
    cut_by: str = ""
    """The stage that dropped it; "" for none."""


class StageView(msgspec.Struct, frozen=True):
    """What a stage leaves, computed anew."""

    stage: str
    """As in `Sampling.order`; "raw" is the model's own distribution, before any of them."""
    shares: tuple[float, ...]
    """For each kept token, in the order of `Kept`: its probability if it were drawn now, 0 where it is cut."""
    rest: float
    """The probability of all tokens that are not kept, together."""
    n_left: int
    """Candidates of the whole vocabulary that are left."""
    cut: tuple[int, ...]
    """Which of the kept tokens this very stage has dropped, counted from 0."""
    is_exact: bool
    """False where the stage cuts among tokens that are not kept, so that this is only about right."""


def softmax(logits: Sequence[float], temperature: float = 1.0) -> list[float]:
    """Probabilities of logits.

    Example: [0, 0], 1.0 -> [0.5, 0.5]
    """
    highest = max(logits)
    weights = [math.exp((logit - highest) / temperature) for logit in logits]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def surprise(probability: float) -> float:
    """How unexpected a token was, in bits: 0 is certain, 10 is one in a thousand.

    Source: Shannon (1948), self-information. Example: 0.25 -> 2.0
    """
    return -math.log2(probability) if probability > 0 else math.inf


def entropy(probabilities: Sequence[float]) -> float:
    """How undecided a distribution is, in bits: the mean surprise of what is drawn from it.

    Example: [0.5, 0.5] -> 1.0
    """
    return -math.fsum(p * math.log2(p) for p in probabilities if p > 0)


def candidates(measured: Measured) -> list[Candidate]:
    """The likeliest tokens, the likeliest first, as the model and as the sampler saw them."""
    if measured.kept is None:
        return []
    n = len(measured.pieces)
    ids, logits = kept_ids(measured.kept)[:n], kept_logits(measured.kept)[:n]
    cut_by = {place: stage.stage for stage in measured.stages for place in stage.cut}
    log_partition = measured.log_partition or 0.0
    return [
        Candidate(
            None if token < 0 else token,
            piece,
            logit,
            math.exp(logit - log_partition),
            measured.shares[i] if i < len(measured.shares) else 0.0,
            cut_by.get(i, ""),
        )
        for i, (token, piece, logit) in enumerate(zip(ids, measured.pieces, logits, strict=True))
    ]


def stages(kept: Kept, sampling: Sampling) -> list[StageView]:
    """What each stage would cut and leave at some settings, after the distribution as it came.

    Stages that change nothing are left out. The last one is what would be drawn from.
    """
    pool = _Pool(kept)
    views = [pool.view("raw")]
    is_greedy = sampling.temperature == 0
    for stage in sampling.order:
        if _changes(stage, sampling) and (stage == "penalties" or not is_greedy):
            pool.apply(stage, sampling)
            views.append(pool.view(stage))
    if is_greedy:
        pool.keep_first(1)
        views.append(pool.view("temperature"))
    return views


def explains(sampling: Sampling, measured: Measured) -> bool:
    """Whether a token can have been drawn at some settings: they leave what was left, as likely as it was.

    Where that cannot be told exactly, nothing speaks against them.
    """
    if measured.kept is None or not measured.shares:
        return True
    views = stages(measured.kept, sampling)
    if not all(view.is_exact for view in views):
        return True
    return all(abs(share - then) < _SAME_SHARE for share, then in zip(views[-1].shares, measured.shares, strict=False))


def kept_ids(kept: Kept) -> tuple[int, ...]:
    """The ids of the tokens that are kept; -1 where an engine tells none."""
    return struct.unpack(f"<{len(kept.ids) // 4}i", kept.ids)


def kept_logits(kept: Kept) -> tuple[float, ...]:
    """Their raw logits."""
    return struct.unpack(f"<{len(kept.logits) // 4}f", kept.logits)


def packed(ids: Sequence[int], logits: Sequence[float], rest: Sequence[float] = (), n_vocab: int = 0) -> Kept:
    """Short lists as what is kept of a distribution; logits descending, `rest` as in `Kept.rest`."""
    n = len(ids)
    return Kept(
        n_vocab, n, struct.pack(f"<{n}i", *ids), struct.pack(f"<{n}f", *logits), struct.pack(f"<{len(rest)}f", *rest)
    )


class _Pool:
    """The candidates that are left while one stage after the other is applied.

    Tokens that are not kept are known together alone: how many they are, their mass at any
    temperature, and that none of them is above the last of the highest ones.
    """

    def __init__(self, kept: Kept) -> None:
        self.logits = list(kept_logits(kept))
        self.counts = struct.unpack(f"<{len(kept.counts) // 2}H", kept.counts)
        self.n_vocab = kept.n_vocab
        self.highest = self.logits[0]
        self.left = sorted(range(len(self.logits)), key=lambda i: -self.logits[i])
        """Which of the kept tokens are left, the likeliest first."""
        self.rest = _Rest(struct.unpack(f"<{len(kept.rest) // 4}f", kept.rest))
        self.n_rest = max(kept.n_vocab - len(self.logits), 1) if self.rest.is_any else 0
        self.edge = self.logits[kept.n_top - 1]
        """No token of the rest has a higher raw logit."""
        self.inverse_temperature = 1.0
        self.factor = 0.0
        """ln of the part of the rest that is left."""
        self.is_exact = True
        self._dropped: tuple[int, ...] = ()

    def apply(self, stage: Stage, sampling: Sampling) -> None:
        """One stage that changes something."""
        match stage:
            case "penalties":
                self.penalise(sampling)
            case "top_k":
                self.keep_first(sampling.top_k)
            case "top_p":
                self.keep_share(sampling.top_p)
            case "min_p":
                self.keep_above(math.log(sampling.min_p))
            case "typical":
                self.keep_typical(sampling.typical_p)
            case "temperature":
                self.divide(sampling.temperature)

    def view(self, stage: str) -> StageView:
        """What is left now."""
        shares, rest = self._shares()
        dropped, self._dropped = self._dropped, ()
        n_left = len(self.left) + self.n_rest
        is_known = self.n_vocab > 0 and self.rest.knows(self.inverse_temperature)
        is_exact = self.is_exact and (not self.n_rest or is_known)
        return StageView(stage, tuple(shares), rest, n_left, dropped, is_exact)

    def penalise(self, sampling: Sampling) -> None:
        """Make what was used lately less likely."""
        if not self.counts:
            self.is_exact = False
            return
        for i, count in enumerate(self.counts):
            if count:
                logit, penalty = self.logits[i], sampling.repeat_penalty
                logit = logit * penalty if logit <= 0 else logit / penalty
                self.logits[i] = logit - count * sampling.frequency_penalty - sampling.presence_penalty
        self.left.sort(key=lambda i: -self.logits[i])

    def divide(self, temperature: float) -> None:
        """Make the distribution sharper or flatter."""
        self.logits = [logit / temperature for logit in self.logits]
        self.inverse_temperature /= temperature

    def keep_first(self, k: int) -> None:
        """Leave the k likeliest."""
        if k >= len(self.left) + self.n_rest:
            return
        if k <= self._n_certain():
            self._keep(self.left[:k])
        else:
            n_rest = max(1, k - len(self.left))
            self._thin(n_rest, math.exp(self._edge() - self._log_total()) * n_rest)

    def keep_share(self, share: float) -> None:
        """Leave the likeliest that together reach a share."""
        shares, _ = self._shares()
        total = 0.0
        for n, i in enumerate(self.left[: self._n_certain()], start=1):
            total += shares[i]
            if total >= share:
                self._keep(self.left[:n])
                return
        if self.n_rest:
            missing = max(0.0, share - math.fsum(shares))
            least = math.exp(self._edge() - self._log_total())
            self._thin(max(1, min(self.n_rest, math.ceil(missing / least))), missing)

    def keep_above(self, log_share: float) -> None:
        """Leave what is at least so likely as a share of the likeliest."""
        least = self.logits[self.left[0]] + log_share
        above = [i for i in self.left if self.logits[i] >= least]
        if self.n_rest and self._edge() >= least:
            self._drop(above)
            self.is_exact = False
        else:
            self._keep(above)

    def keep_typical(self, share: float) -> None:
        """Leave the tokens whose surprise is closest to the entropy, as many as reach a share."""
        shares, rest = self._shares()
        log_total = self._log_total()
        mean = math.fsum(shares[i] * self.logits[i] for i in self.left) + rest * self._mean_of_rest()
        usual = log_total - mean
        apart = {i: abs(log_total - self.logits[i] - usual) for i in self.left if shares[i] > 0}
        # No token of the rest is less surprising than this one.
        limit = max(0.0, log_total - self._edge() - usual) if self.n_rest else math.inf
        total, typical = 0.0, []
        for i in sorted(apart, key=apart.__getitem__):
            if apart[i] > limit:
                break
            total += shares[i]
            typical.append(i)
            if total > share:
                self._keep(sorted(typical, key=lambda i: -self.logits[i]))
                return
        if self.n_rest:
            self.is_exact = False

    def _shares(self) -> tuple[list[float], float]:
        """The probability of each kept token, and of all others together."""
        log_total = self._log_total()
        shares = [0.0] * len(self.logits)
        for i in self.left:
            shares[i] = math.exp(self.logits[i] - log_total)
        return shares, math.exp(self._log_rest() - log_total) if self.n_rest else 0.0

    def _log_total(self) -> float:
        """ln of the sum of exp(logit) over all that are left."""
        parts = [self.logits[i] for i in self.left]
        if self.n_rest:
            parts.append(self._log_rest())
        highest = max(parts)
        return highest + math.log(math.fsum(math.exp(part - highest) for part in parts))

    def _log_rest(self) -> float:
        """The same over the rest."""
        return self.inverse_temperature * self.highest + self.rest.log_mass(self.inverse_temperature)[0] + self.factor

    def _mean_of_rest(self) -> float:
        """The mean logit of what would be drawn of the rest."""
        if not self.n_rest:
            return 0.0
        return self.inverse_temperature * (self.highest + self.rest.log_mass(self.inverse_temperature)[1])

    def _edge(self) -> float:
        """No token of the rest has a higher logit now."""
        return self.edge * self.inverse_temperature

    def _n_certain(self) -> int:
        """How many of the first are surely likelier than all of the rest."""
        if not self.n_rest:
            return len(self.left)
        edge = self._edge()
        return sum(self.logits[i] >= edge for i in self.left)

    def _drop(self, left: Sequence[int]) -> None:
        """Leave only these of the kept tokens."""
        gone = set(self.left) - set(left)
        self._dropped += tuple(sorted(gone))
        self.left = list(left)

    def _keep(self, left: Sequence[int]) -> None:
        """Leave these and nothing of the rest."""
        self._drop(left)
        self.n_rest = 0

    def _thin(self, n_rest: int, share: float) -> None:
        """Leave about so many of the rest, with at most this share of the whole."""
        now = math.exp(self._log_rest() - self._log_total())
        self.n_rest, self.is_exact = n_rest, False
        if 0 < share < now:
            self.factor += math.log(share / now)


class _Rest:
    """The mass of all tokens that are not kept, at any temperature."""

    def __init__(self, numbers: Sequence[float]) -> None:
        n = len(INVERSE_TEMPERATURES)
        self._is_whole = len(numbers) == 2 * n
        self._masses, self._means = numbers[:n], numbers[n:]
        at_one = self._masses[INVERSE_TEMPERATURES.index(1.0) if self._is_whole else 0] if numbers else NOTHING
        self.is_any = at_one > NOTHING

    def knows(self, inverse_temperature: float) -> bool:
        """Whether that is more than a guess."""
        return self._is_whole or inverse_temperature == 1

    def log_mass(self, x: float) -> tuple[float, float]:
        """ln of the mass relative to the likeliest token, and its slope; cubic between the known places.

        It only falls, so the slopes are bounded such that the cubic does, too (Fritsch and Carlson, 1980).
        """
        if not self._is_whole:
            return self._masses[0] * x, self._masses[0]
        xs, ys = INVERSE_TEMPERATURES, self._masses
        i = min(max(bisect_right(xs, x) - 1, 0), len(xs) - 2)
        width, rise = xs[i + 1] - xs[i], ys[i + 1] - ys[i]
        steepest = 3 * min(0.0, rise) / width
        before, after = (min(0.0, max(self._means[place], steepest)) for place in (i, i + 1))
        t = (x - xs[i]) / width
        if not 0 <= t <= 1:  # outside: straight on
            end, slope = (0, before) if t < 0 else (len(xs) - 1, after)
            return ys[end] + slope * (x - xs[end]), slope
        # Hermite's cubic, as y + t (a + t (b + t c)).
        a, b, c = before * width, 3 * rise - (2 * before + after) * width, (before + after) * width - 2 * rise
        return ys[i] + t * (a + t * (b + t * c)), (a + t * (2 * b + 3 * t * c)) / width


def _changes(stage: Stage, sampling: Sampling) -> bool:
    """Whether a stage does anything with its value."""
    match stage:
        case "penalties":
            return has_penalties(sampling)
        case "top_k":
            return sampling.top_k > 0
        case "top_p":
            return sampling.top_p < 1
        case "min_p":
            return sampling.min_p > 0
        case "typical":
            return sampling.typical_p < 1
        case "temperature":
            return sampling.temperature != 1


def has_penalties(sampling: Sampling) -> bool:
    """Whether the penalties would change anything."""
    is_neutral = (sampling.repeat_penalty, sampling.frequency_penalty, sampling.presence_penalty) == (1, 0, 0)
    return sampling.repeat_last_n > 0 and not is_neutral
