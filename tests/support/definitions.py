"""The stages of a sampler by their definitions, in NumPy over the whole vocabulary: the reference for ours.

Logits that are minus infinity are tokens that were dropped. Knows nothing of chatterm and llama.cpp.
"""

from __future__ import annotations

import numpy as np


def shares(logits: np.ndarray) -> np.ndarray:
    """Softmax."""
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def stage(name: str, logits: np.ndarray, value: float) -> np.ndarray:
    """What a stage leaves of the logits."""
    p = shares(logits)
    descending = np.argsort(-p, kind="stable")
    match name:
        case "temperature":
            return logits / value
        case "top_k":
            return _keep(logits, descending[: int(value)])
        case "top_p":
            return _keep(logits, descending[: _n_reaching(p[descending], value)])
        case "min_p":
            return _keep(logits, np.flatnonzero(p >= value * p.max()))
        case "typical":
            surprise = -np.log(p, where=p > 0, out=np.full_like(p, -np.inf))
            entropy = float(np.sum(p[p > 0] * surprise[p > 0]))
            usual = np.argsort(np.where(p > 0, np.abs(surprise - entropy), np.inf), kind="stable")
            return _keep(logits, usual[: _n_reaching(p[usual], value)])
    raise AssertionError(name)


def _keep(logits: np.ndarray, ids: np.ndarray) -> np.ndarray:
    kept = np.full_like(logits, -np.inf)
    kept[ids] = logits[ids]
    return kept


def _n_reaching(sorted_shares: np.ndarray, share: float) -> int:
    """How many of the first reach a share together."""
    return int(np.searchsorted(np.cumsum(sorted_shares), share)) + 1
