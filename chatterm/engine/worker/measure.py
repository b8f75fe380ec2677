"""What a token is sampled from, as short lists: the only place that looks at all logits of a vocabulary.

A `Meter` samples in place of `Sampler.sample`, stage by stage and with the same outcome, and notes
what each stage did. Nothing here changes a logit that llama.cpp holds. Knows no text and no events
but the one that it fills.
"""

from __future__ import annotations

import ctypes
import math
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

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
_NEAR = {2.0: -10.8, 16.0: -43.0}
"""ln of what counts for nothing from an inverse temperature on; its powers would be too small for 32 bits."""
_GONE = -1e4
_AT_ONE = INVERSE_TEMPERATURES.index(1.0)
_TOLERANCE = 1e-5

Floats = NDArray[np.float32]


class Meter:
    """Samples the tokens of one reply and measures each."""

    def __init__(
        self,
        llama: Any,
        vocabulary: Vocabulary,
        sampler: Sampler,
        sampling: Sampling,
        seed: int,
        begins_with: Sequence[int] = (),
    ) -> None:
        """Measure what `sampler` draws.

        Args:
            begins_with: Tokens that the sampler has accepted already.
        """
        self._llama = llama
        self._vocabulary = vocabulary
        self._sampler = sampler
        self._n_vocab = vocabulary.n_tokens
        self._blank = np.zeros(self._n_vocab, _CANDIDATE)
        self._blank["id"] = np.arange(self._n_vocab)
        self._array = np.empty_like(self._blank)
        self._chance = None if sampling.temperature == 0 else _Chance(seed)
        self._recent: deque[int] | None = None
        if has_penalties(sampling) and "penalties" in sampling.order:
            self._recent = deque(begins_with, sampling.repeat_last_n)

    def skip(self, n_draws: int) -> None:
        """Take note that the sampler has skipped so many random numbers."""
        if self._chance is not None:
            self._chance.skip(n_draws)

    def sample(self, context: Any) -> tuple[int, Measured]:
        """The next token, and what it was drawn from; its place in the text is left open."""
        pointer = self._llama.llama_get_logits_ith(context, -1)
        logits: Floats = np.ctypeslib.as_array(pointer, (self._n_vocab,))
        distribution = _Distribution(logits, self._recent)
        watch = _Watch(self._llama, distribution.shown, self._filled(logits))
        token = self._sampler.sample_watched(watch.candidates, watch.take)
        shares, share, segment = watch.drawn(token)
        point = self._chance.point(segment) if self._chance else None
        measured = Measured(
            index=0,
            piece=self._vocabulary.piece(token, special=True),
            id=token,
            probability=distribution.probability(token),
            rank=distribution.rank(token),
            surprise=distribution.surprise(token),
            entropy=distribution.entropy,
            log_partition=distribution.log_partition,
            pieces=tuple(self._vocabulary.piece(int(each), special=True) for each in distribution.shown),
            shares=shares,
            share=share,
            stages=tuple(watch.stages),
            point=point,
            segment=segment if point is not None else None,
            kept=distribution.kept(),
        )
        if self._recent is not None:
            self._recent.append(token)
        return token, measured

    def _filled(self, logits: Floats) -> NDArray[Any]:
        """The candidates as a sampler wants them: all, by id."""
        np.copyto(self._array.view(np.uint8), self._blank.view(np.uint8))  # field by field it takes ten times as long
        self._array["logit"] = logits
        return self._array


class _Watch:
    """Follows the candidates through the stages of the sampler."""

    def __init__(self, llama: Any, shown: NDArray[np.intp], array: NDArray[Any]) -> None:
        self.stages: list[StageMeasure] = []
        self.candidates = llama.llama_token_data_array(
            data=ctypes.cast(array.ctypes.data, llama.llama_token_data_p), size=len(array), selected=-1, sorted=False
        )
        self._shown = shown
        self._n_vocab = self._size = len(array)
        self._is_left = np.ones(len(shown), bool)

    def take(self, stage: str) -> None:
        """A stage is through; "" is the draw."""
        if not stage:
            return
        size = int(self.candidates.size)
        cut: tuple[int, ...] = ()
        if size != self._size:
            is_left = self._among(self._left()["id"])
            cut = tuple(np.flatnonzero(self._is_left & ~is_left).tolist())
            self._is_left, self._size = is_left, size
        self.stages.append(StageMeasure(stage, size, cut))

    def drawn(self, token: int) -> tuple[tuple[float, ...], float, tuple[float, float]]:
        """What was drawn from: the share of each shown candidate and of the token, and its part of the whole bar."""
        left, selected = self._left(), int(self.candidates.selected)
        shares = left["p"].astype(np.float64)
        if not shares.any():  # the likeliest was taken
            self._be_greedy(token)
            return tuple(float(each == token) for each in self._shown), 1.0, (0.0, 1.0)
        share, low = float(shares[selected]), float(shares[:selected].sum())
        if len(left) == self._n_vocab and (left["id"][self._shown] == self._shown).all():  # nobody has sorted them
            told = shares[self._shown].tolist()
        elif len(left) > _FEW:
            by_id = np.zeros(self._n_vocab)
            by_id[left["id"]] = shares
            told = by_id[self._shown].tolist()
        else:
            known = dict(zip(left["id"].tolist(), shares.tolist(), strict=True))
            told = [known.get(int(each), 0.0) for each in self._shown]
        return tuple(told), share, (low, low + share)

    def _be_greedy(self, token: int) -> None:
        """Tell it as the stage that it stands for."""
        is_left = self._shown == token
        self.stages.append(StageMeasure("temperature", 1, tuple(np.flatnonzero(self._is_left & ~is_left).tolist())))

    def _left(self) -> NDArray[Any]:
        """The candidates now, copied; a sampler may have moved them."""
        address = ctypes.addressof(self.candidates.data.contents)
        return np.frombuffer(ctypes.string_at(address, self.candidates.size * _CANDIDATE.itemsize), _CANDIDATE)

    def _among(self, ids: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which of the shown candidates are among some."""
        if len(ids) <= _FEW:
            return np.isin(self._shown, ids)
        flags = np.zeros(self._n_vocab, bool)
        flags[ids] = True
        return flags[self._shown]


class _Distribution:
    """The model's own distribution over the next token."""

    def __init__(self, logits: Floats, recent: Sequence[int] | None) -> None:
        self._logits = logits
        self._top = _highest(logits, N_KEPT)
        self.shown = self._top[:N_SHOWN]
        self._counts = None if recent is None else Counter(recent)
        known = set(self._top.tolist())
        others = sorted(set(self._counts or ()) - known)
        self._kept = np.concatenate([self._top, np.array(others, self._top.dtype)]) if others else self._top
        self._highest = float(logits[self._top[0]])
        below = logits[self._kept].astype(np.float64) - self._highest
        kept = np.exp(below)
        self._rest = _masses(logits, self._highest, self._kept)
        rest = math.exp(self._rest[_AT_ONE]) if self._rest else 0.0
        total = float(kept.sum()) + rest
        self._log_total = math.log(total)
        self.log_partition = self._highest + self._log_total
        mean = (
            float(kept @ below) + (rest * self._rest[_AT_ONE - len(INVERSE_TEMPERATURES)] if self._rest else 0.0)
        ) / total
        self.entropy = max(0.0, (self._log_total - mean) / math.log(2))

    def surprise(self, token: int) -> float:
        """In bits."""
        return max(0.0, (self.log_partition - float(self._logits[token])) / math.log(2))

    def probability(self, token: int) -> float:
        """Of the model itself."""
        return math.exp(min(0.0, float(self._logits[token]) - self.log_partition))

    def rank(self, token: int) -> int:
        """1 for the likeliest."""
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


def _masses(logits: Floats, highest: float, kept: NDArray[np.intp]) -> list[float]:
    """What `Kept.rest` tells of all that is not kept.

    No products of vectors: BLAS would start threads for them, which then wait in a loop on the cores that llama.cpp
    computes on. And no number that is too small for 32 bits: processors are slow with them.
    """
    if len(kept) >= len(logits):
        return []
    below = logits - np.float32(highest)
    np.maximum(below, np.float32(_FAR), out=below)
    below[kept] = _GONE
    raised = np.exp(below * np.float32(INVERSE_TEMPERATURES[0]))
    masses, means = [], []
    for inverse_temperature in INVERSE_TEMPERATURES:
        if inverse_temperature in _NEAR:
            np.multiply(raised, raised > np.float32(math.exp(_NEAR[inverse_temperature])), out=raised)
        if masses:
            np.multiply(raised, raised, out=raised)
        mass = float(raised.sum())
        masses.append(max(NOTHING, math.log(mass)) if mass > 0 else NOTHING)
        means.append(float(np.einsum("i,i->", raised, below)) / mass if mass > 0 else 0.0)
    return masses + means
