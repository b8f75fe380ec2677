"""What a token is sampled from, as short lists: the only place that looks at all logits of a vocabulary.

A `Meter` samples in place of `Sampler.sample`, stage by stage and with the same outcome, and notes
what each stage did. Nothing here changes a logit that llama.cpp holds. Knows no text and no events
but the one that it fills.
"""

from __future__ import annotations

import ctypes
import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chatterm.engine.worker.sample import Sampler
from chatterm.engine.worker.vocabulary import Vocabulary
from chatterm.events import Kept, Measured, StageMeasure
from chatterm.lens import INVERSE_TEMPERATURES, NOTHING, has_penalties
from chatterm.settings import Sampling

N_SHOWN = 20
N_KEPT = 256
_CANDIDATE = np.dtype([("id", "<i4"), ("logit", "<f4"), ("p", "<f4")])
"""As `llama_token_data` is laid out."""
_GROUP = 64
_FEW = 4096
"""Vocabularies up to this size are sorted whole."""
_FAR = -80.0
"""A logit so far below the highest one counts for nothing, also at the highest temperature."""
_LOG_LEAST = -21.6
_LEAST = np.float32(math.exp(_LOG_LEAST))
"""What is not more than this is left out before it is squared: it would count for nothing and be slow."""
_GONE = -1e4
_AT_ONE = INVERSE_TEMPERATURES.index(1.0)
_TOLERANCE = 1e-5

Floats = NDArray[np.float32]


class Meter:
    """Samples the tokens of one reply and measures each."""

    def __init__(
        self, llama: Any, vocabulary: Vocabulary, sampling: Sampling, seed: int, heard: Sequence[int] = ()
    ) -> None:
        """Get ready; `sampler` is what draws.

        Args:
            heard: Tokens that the penalties know already.
        """
        self._llama = llama
        self._vocabulary = vocabulary
        self._n_vocab = vocabulary.n_tokens
        self._watch = _Watch(self._n_vocab)
        self.sampler = Sampler(llama, self._n_vocab, sampling, seed, self._watch.take)
        self._chance = None if sampling.temperature == 0 else _Chance(seed)
        self._recent: deque[int] | None = None
        if has_penalties(sampling) and "penalties" in sampling.order:
            self._recent = deque(heard, sampling.repeat_last_n)
        self._pieces: dict[int, bytes] = {}
        self._spare = np.empty((2, self._n_vocab), np.float32)
        self._logits = np.empty(self._n_vocab, np.float32)
        self._theirs: Floats | None = None

    def skip(self, n_draws: int) -> None:
        """Take note that the sampler has skipped so many random numbers."""
        if self._chance is not None:
            self._chance.skip(n_draws)

    def sample(self, context: Any) -> tuple[int, Callable[[], Measured]]:
        """The next token, and what tells what it was drawn from; its place in the text is left open.

        That may be asked in another thread, once, before the next token is sampled.
        """
        np.copyto(self._logits, self._logits_of(context))  # the next token overwrites them
        self._watch.begin()
        token = self.sampler.sample(context)
        recent = None if self._recent is None else Counter(self._recent)
        if self._recent is not None:
            self._recent.append(token)
        return token, partial(self._measured, token, recent)

    def _measured(self, token: int, recent: Counter[int] | None) -> Measured:
        """All that is known of a token."""
        distribution = _Distribution(self._logits, recent, self._spare)
        seen = self._watch.seen(distribution.shown, token)
        point = self._chance.point(seen.segment) if self._chance else None
        return Measured(
            index=0,
            piece=self._piece(token),
            id=token,
            probability=distribution.probability(token),
            rank=distribution.rank(token),
            surprise=distribution.surprise(token),
            entropy=distribution.entropy,
            log_partition=distribution.log_partition,
            pieces=tuple(map(self._piece, distribution.shown)),
            shares=seen.shares,
            share=seen.share,
            stages=seen.stages,
            point=point,
            segment=seen.segment if point is not None else None,
            kept=distribution.kept(),
        )

    def _logits_of(self, context: Any) -> Floats:
        """The logits where llama.cpp has them, which is mostly the same place."""
        pointer = self._llama.llama_get_logits_ith(context, -1)
        if self._theirs is None or ctypes.addressof(pointer.contents) != self._theirs.ctypes.data:
            self._theirs = np.ctypeslib.as_array(pointer, (self._n_vocab,))
        return self._theirs

    def _piece(self, token: int) -> bytes:
        """The bytes of a token; the same ones come up again and again."""
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._vocabulary.piece(token, special=True)
        return piece


class _Seen(NamedTuple):
    """What was seen of the stages of one token."""

    stages: tuple[StageMeasure, ...]
    shares: tuple[float, ...]
    share: float
    segment: tuple[float, float]


class _Watch:
    """Follows the candidates of one token through the stages of the sampler."""

    def __init__(self, n_vocab: int) -> None:
        self._n_vocab = n_vocab
        self._stages: list[tuple[str, int, NDArray[np.int32] | None]] = []
        """Name of each, how many it left, and which, where it has dropped some."""
        self._left = np.empty(0, _CANDIDATE)
        """What was drawn from."""
        self._selected = 0
        self._error: Exception | None = None

    def begin(self) -> None:
        """The next token."""
        self._stages = []

    def take(self, stage: str, candidates: Any) -> None:
        """A stage is through; "" is the draw. What fails here is raised later, since llama.cpp is between."""
        try:
            self._take(stage, candidates.contents)
        except Exception as error:
            self._error = error

    def _take(self, stage: str, candidates: Any) -> None:
        if not stage:
            self._left, self._selected = _copied(candidates), int(candidates.selected)
            return
        size, before = int(candidates.size), self._stages[-1][1] if self._stages else self._n_vocab
        self._stages.append((stage, size, None if size == before else _copied(candidates)["id"]))

    def seen(self, shown: list[int], token: int) -> _Seen:
        """What became of some candidates, and what was drawn from."""
        if self._error is not None:
            raise self._error
        stages, places = [], list(range(len(shown)))
        for stage, n_left, ids in self._stages:
            cut: tuple[int, ...] = ()
            if ids is not None:
                is_left = self._among(shown, ids)
                cut = tuple(place for place in places if not is_left[place])
                places = [place for place in places if is_left[place]]
            stages.append(StageMeasure(stage, n_left, cut))
        shares = self._left["p"].astype(np.float64)
        if not shares.any():  # the likeliest was taken, which stands for a stage
            stages.append(StageMeasure("temperature", 1, tuple(place for place in places if shown[place] != token)))
            return _Seen(tuple(stages), tuple(float(each == token) for each in shown), 1.0, (0.0, 1.0))
        share, low = float(shares[self._selected]), float(shares[: self._selected].sum())
        return _Seen(tuple(stages), self._shares_of(shown, shares), share, (low, low + share))

    def _shares_of(self, shown: list[int], shares: NDArray[np.float64]) -> tuple[float, ...]:
        """The shares of some candidates, among those that were left."""
        ids = self._left["id"]
        if len(ids) <= _FEW:
            known = dict(zip(ids.tolist(), shares.tolist(), strict=True))
            return tuple(known.get(each, 0.0) for each in shown)
        if len(ids) == self._n_vocab and ids[shown].tolist() == shown:  # nobody has sorted them
            return tuple(shares[shown].tolist())
        by_id = np.zeros(self._n_vocab)
        by_id[ids] = shares
        return tuple(by_id[shown].tolist())

    def _among(self, shown: list[int], ids: NDArray[np.int32]) -> list[bool]:
        """Which of some candidates are among others."""
        if len(ids) <= _FEW:
            known = set(ids.tolist())
            return [each in known for each in shown]
        flags = np.zeros(self._n_vocab, bool)
        flags[ids] = True
        return [bool(flag) for flag in flags[shown]]


class _Distribution:
    """The model's own distribution over the next token."""

    def __init__(self, logits: Floats, recent: Counter[int] | None = None, spare: Floats | None = None) -> None:
        """Look at all logits.

        Args:
            recent: How often tokens were used within the penalties' window; None without any.
            spare: Space for twice as many numbers.
        """
        self._logits = logits
        self._top = _highest(logits, N_KEPT)
        self.shown: list[int] = self._top[:N_SHOWN].tolist()
        self._counts = recent
        self._kept = self._top
        if self._counts:
            others = sorted(set(self._counts) - set(self._top.tolist()))
            self._kept = np.concatenate([self._top, np.array(others, self._top.dtype)])
        self._highest = float(logits[self._top[0]])
        below = logits[self._kept].astype(np.float64) - self._highest
        kept = np.exp(below)
        if spare is None:
            spare = np.empty((2, len(logits)), np.float32)
        self._rest = _masses(logits, self._highest, self._kept, spare)
        rest = math.exp(self._rest[_AT_ONE]) if self._rest else 0.0
        mean_of_rest = self._rest[_AT_ONE - len(INVERSE_TEMPERATURES)] if self._rest else 0.0
        total = float(kept.sum()) + rest
        self._log_total = math.log(total)
        self.log_partition = self._highest + self._log_total
        mean = (float((kept * below).sum()) + rest * mean_of_rest) / total
        self.entropy = max(0.0, (self._log_total - mean) / math.log(2))

    def surprise(self, token: int) -> float:
        """In bits."""
        return max(0.0, (self.log_partition - float(self._logits[token])) / math.log(2))

    def probability(self, token: int) -> float:
        """Of the model itself."""
        return math.exp(min(0.0, float(self._logits[token]) - self.log_partition))

    def rank(self, token: int) -> int:
        """1 for the likeliest."""
        if self._logits[token] > self._logits[self._top[-1]]:
            return int(np.count_nonzero(self._logits[self._top] > self._logits[token])) + 1
        return int(np.count_nonzero(self._logits > self._logits[token])) + 1

    def kept(self) -> Kept:
        """What reshaping needs."""
        counts = b""
        if self._counts is not None:
            counts = np.array([min(self._counts[each], 0xFFFF) for each in self._kept.tolist()], "<u2").tobytes()
        return Kept(
            len(self._logits),
            len(self._top),
            self._kept.astype("<i4").tobytes(),
            self._logits[self._kept].astype("<f4").tobytes(),
            np.array(self._rest, "<f4").tobytes(),
            counts,
        )


class _Chance:
    """The random numbers that llama.cpp's draw uses, made a second time.

    std::mt19937 and two of its numbers for a double: so says the standard, and so does each draw that is checked.
    """

    def __init__(self, seed: int) -> None:
        self._numbers: Any = np.random.MT19937()
        self._numbers._legacy_seeding(seed)

    def skip(self, n_draws: int) -> None:
        """Pass over some."""
        if self._numbers is not None:
            self._numbers.random_raw(2 * n_draws)

    def point(self, segment: tuple[float, float]) -> float | None:
        """The number of this draw, from 0 to 1; None once one did not fall on what was drawn."""
        if self._numbers is None:
            return None
        low, high = (int(number) for number in self._numbers.random_raw(2))
        point = (low + high * 2.0**32) / 2.0**64
        if not segment[0] - _TOLERANCE <= point <= segment[1] + _TOLERANCE:
            self._numbers = None
            return None
        return point


def _copied(candidates: Any) -> NDArray[Any]:
    """The candidates as they are now; a stage may have moved them."""
    address = ctypes.addressof(candidates.data.contents)
    return np.frombuffer(ctypes.string_at(address, candidates.size * _CANDIDATE.itemsize), _CANDIDATE)


def _highest(logits: Floats, n: int) -> NDArray[np.intp]:
    """The ids of the highest logits, descending.

    In a large vocabulary groups are looked at first: all that is wanted is at least as high as the n-th of their
    highest ones.
    """
    ids = None
    if len(logits) > max(_FEW, n * _GROUP):
        n_groups = len(logits) // _GROUP
        heads = logits[: n_groups * _GROUP].reshape(_GROUP, n_groups).max(axis=0)
        ids = np.flatnonzero(logits >= np.partition(heads, n_groups - n)[n_groups - n])
    if ids is None or len(ids) < n:  # or there are numbers that are none
        ids = np.arange(len(logits))
    order = np.argsort(-logits[ids], kind="stable")[:n]
    return ids[order]


def _masses(logits: Floats, highest: float, kept: NDArray[np.intp], spare: Floats) -> list[float]:
    """What `Kept.rest` tells of all that is not kept.

    No products of vectors: BLAS would start threads for them, which then wait in a loop on the cores that llama.cpp
    computes on. And no number that is too small for 32 bits: processors are slow with them.
    """
    if len(kept) >= len(logits):
        return []
    below, raised = spare
    np.subtract(logits, np.float32(highest), out=below)
    lowest = float(below.min())
    if lowest < _FAR:
        np.maximum(below, np.float32(_FAR), out=below)
    below[kept] = _GONE
    np.exp(np.multiply(below, np.float32(INVERSE_TEMPERATURES[0]), out=raised), out=raised)
    masses: list[float] = []
    means: list[float] = []
    for inverse_temperature in INVERSE_TEMPERATURES:
        if inverse_temperature > 1 and inverse_temperature * lowest < 2 * _LOG_LEAST:
            counts = raised > _LEAST
            if np.count_nonzero(counts) < len(raised) // 4:
                below, raised = below[counts], raised[counts]
            else:  # to pick many takes longer
                np.multiply(raised, counts, out=raised)
        if masses:
            np.multiply(raised, raised, out=raised)
        mass = float(raised.sum())
        masses.append(max(NOTHING, math.log(mass)) if mass > 0 else NOTHING)
        means.append(float(np.einsum("i,i->", raised, below)) / mass if mass > 0 else 0.0)
    return masses + means
