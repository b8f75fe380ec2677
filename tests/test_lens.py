"""Promises of the lens: what it makes of short lists is what a computation over the whole vocabulary gives."""

from __future__ import annotations

import itertools
import math
import time
from typing import Any

import numpy as np
import pytest
from support.definitions import shares, stage

from chatterm import lens
from chatterm.engine.worker.measure import _Distribution
from chatterm.events import Kept
from chatterm.settings import Sampling

V = 152_000
TEMPERATURES = (0.1, 0.2, 0.35, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 1.75, 2.0)
OFF: dict[str, Any] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}


def kept_of(logits: np.ndarray) -> Kept:
    """What the worker keeps of a distribution."""
    return _Distribution(np.ascontiguousarray(logits, np.float32), None).kept()


def distributions() -> dict[str, np.ndarray]:
    """Whole vocabularies, from nearly certain to perfectly undecided."""
    rng = np.random.default_rng(1)
    rank = np.arange(1, V + 1)
    made = {f"bell of width {width}": rng.standard_normal(V) * width for width in (0.01, 0.3, 1.0, 2.5, 6.0, 40.0)}
    made |= {f"power law {power}": rng.permutation(-power * np.log(rank) + 15) for power in (0.5, 1.0, 1.3, 2.0)}
    made["level"] = np.zeros(V)
    made["certain"] = np.where(rank == 77, 30.0, rng.standard_normal(V))
    made["two camps"] = np.where(rank < 40_000, 5.0, -3.0) + rng.standard_normal(V) * 0.2
    made["some are impossible"] = np.where(rng.random(V) < 0.5, -1e30, rng.standard_normal(V) * 3)
    made["steps"] = rng.integers(-20, 8, V).astype(float)
    made["few"] = rng.standard_normal(100)
    made["one more than is kept"] = rng.standard_normal(257)
    return {name: values.astype(np.float32).astype(np.float64) for name, values in made.items()}


DISTRIBUTIONS = distributions()


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_any_temperature_gives_the_softmax_over_the_whole_vocabulary(name: str) -> None:
    logits = DISTRIBUTIONS[name]
    kept = kept_of(logits)
    ids = lens.kept_ids(kept)
    for temperature in TEMPERATURES:
        expected = shares(logits / temperature)
        view = lens.stages(kept, Sampling(**{**OFF, "temperature": temperature}))[-1]
        assert view.is_exact
        assert view.n_left == len(logits)
        np.testing.assert_allclose(view.shares, expected[list(ids)], atol=0.005)
        assert abs(view.rest - (1 - expected[list(ids)].sum())) <= 0.005
        assert sum(view.shares) + view.rest == pytest.approx(1, abs=1e-9)


def test_the_raw_view_is_the_models_own_distribution() -> None:
    for name, logits in DISTRIBUTIONS.items():
        kept = kept_of(logits)
        view = lens.stages(kept, Sampling(**OFF))[0]
        assert view.stage == "raw"
        np.testing.assert_allclose(view.shares, shares(logits)[list(lens.kept_ids(kept))], rtol=1e-4, err_msg=name)


CUTS: list[dict[str, Any]] = [
    {},
    {"temperature": 1.7},
    {"top_k": 5},
    {"top_k": 256, "top_p": 0.6},
    {"top_k": 0, "min_p": 0.3},
    {"top_k": 0, "top_p": 0.3},
    {"top_k": 100, "typical_p": 0.5},
    {"top_k": 0, "typical_p": 0.4},
    {"top_k": 60, "temperature": 0.4, "order": ("temperature", "top_p", "min_p", "top_k")},
    {"top_k": 30, "typical_p": 0.8, "order": ("typical", "min_p", "top_k", "top_p", "temperature")},
    {"top_k": 0, "top_p": 0.9, "temperature": 2.0, "order": ("temperature", "top_p")},
    {"temperature": 0.0, "top_k": 0},
]
"""Settings; what they leave out has its default."""


@pytest.mark.parametrize("cuts", CUTS, ids=str)
@pytest.mark.parametrize("name", [name for name in DISTRIBUTIONS if name not in ("level", "steps")])
def test_stages_cut_what_their_definitions_cut_or_say_that_they_cannot_know(name: str, cuts: dict[str, Any]) -> None:
    logits, sampling = DISTRIBUTIONS[name], Sampling(**cuts)
    kept = kept_of(logits)
    ids = list(lens.kept_ids(kept))
    views = {view.stage: view for view in lens.stages(kept, sampling)}
    values = {"typical": sampling.typical_p, "top_k": sampling.top_k, "top_p": sampling.top_p}
    values |= {"min_p": sampling.min_p, "temperature": sampling.temperature}
    left = logits
    for each in sampling.order:
        if each not in views or sampling.temperature == 0:
            continue
        left = stage(each, left, values[each])
        view = views[each]
        if not view.is_exact:
            n_candidates = np.isfinite(left).sum()
            assert n_candidates > 0.5 * len(ids) or each == "typical", "so few are known for sure"
            return
        assert abs(view.n_left - np.isfinite(left).sum()) <= 0.02 * view.n_left, each
        np.testing.assert_allclose(view.shares, shares(left)[ids], atol=0.005)
    if sampling.temperature == 0:
        assert views["temperature"].n_left == 1
        assert views["temperature"].shares[0] == 1


def test_cuts_name_what_was_dropped_at_each_stage_and_only_there() -> None:
    kept = kept_of(DISTRIBUTIONS["power law 1.3"])
    views = lens.stages(kept, Sampling(top_k=50, top_p=0.8, min_p=0.05))
    assert [view.stage for view in views] == ["raw", "top_k", "top_p", "min_p", "temperature"]
    gone: set[int] = set()
    for before, after in itertools.pairwise(views):
        assert not gone & set(after.cut)
        gone |= set(after.cut)
        assert [i for i, share in enumerate(after.shares) if share == 0] == sorted(gone)
        assert all(before.shares[i] > 0 for i in after.cut)
    assert views[1].cut == tuple(range(50, 256))
    assert views[-1].cut == ()


def test_where_the_cut_lies_among_unknown_tokens_it_is_said() -> None:
    kept = kept_of(DISTRIBUTIONS["bell of width 0.3"])
    for changes in ({"top_k": 700}, {"top_p": 0.9}, {"min_p": 0.2}, {"typical_p": 0.5}):
        view = lens.stages(kept, Sampling(**{**OFF, **changes}))[-1]
        assert not view.is_exact, changes
        assert sum(view.shares) + view.rest == pytest.approx(1, abs=1e-9)
    assert lens.stages(kept, Sampling(**{**OFF, "top_k": 256}))[-1].is_exact


def test_penalties_without_counts_are_not_guessed() -> None:
    kept = kept_of(DISTRIBUTIONS["bell of width 1.0"])
    assert not lens.stages(kept, Sampling(repeat_penalty=1.3))[-1].is_exact


def test_probabilities_of_servers_are_exact_only_as_they_came() -> None:
    logprobs = [math.log(p) for p in (0.5, 0.2, 0.1)]
    kept = lens.packed([-1, -1, -1], logprobs, [math.log(0.2) - logprobs[0]])
    raw = lens.stages(kept, Sampling(**OFF))[0]
    np.testing.assert_allclose([*raw.shares, raw.rest], [0.5, 0.2, 0.1, 0.2], atol=1e-6)
    assert not lens.stages(kept, Sampling(**{**OFF, "temperature": 0.5}))[-1].is_exact
    assert lens.stages(kept, Sampling(**{**OFF, "top_k": 2}))[-1].is_exact


def test_surprise_and_entropy_are_in_bits() -> None:
    assert lens.surprise(0.25) == 2
    assert lens.surprise(0) == math.inf
    assert lens.entropy([0.5, 0.25, 0.25, 0.0]) == 1.5
    assert lens.softmax([0.0, 0.0, -math.inf]) == [0.5, 0.5, 0.0]
    np.testing.assert_allclose(lens.softmax([1.0, 2.0, 4.0], 0.5), shares(np.array([2.0, 4.0, 8.0])))


def test_a_slider_can_be_followed() -> None:
    kept = kept_of(DISTRIBUTIONS["power law 1.0"])
    sampling = Sampling(top_k=0, typical_p=0.9, temperature=1.3)
    begin = time.process_time()
    for _ in range(20):
        lens.stages(kept, sampling)
    assert time.process_time() - begin < 20 * 0.3, "ten times of what is promised, whatever else the machine does"
