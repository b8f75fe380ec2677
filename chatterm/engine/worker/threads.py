"""How many threads compute: measured while the model writes, since no rule is right everywhere.

All cores are quickest on an idle machine. On a busy one they are many times slower than one fewer,
because every thread waits for the slowest after each step. Nothing here knows llama.cpp.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import psutil

_WARM_UP = 2
"""Tokens after a change that are not counted."""
_SAMPLE = 8
"""Tokens that are measured with each number of threads, at the least."""
_SAMPLE_SECONDS = 0.05
"""How long they are measured, at the least: stalls of a busy machine come every few milliseconds, not every token."""
_HOPELESS = 1.3
"""A number of threads is given up early when even its quickest token takes so many times longer,"""
_HOPELESS_SECONDS = 0.1
"""or when it has cost so much more than four times what the best number would have taken."""
_WINDOW = 24
_WINDOW_SECONDS = 0.2
"""After so many tokens and so long it is asked whether they have become slower; twice as long after a false alarm."""
_LONGEST_WINDOW_SECONDS = 15.0
_SLOWER = 1.6
"""How many times longer tokens must take than they did for a new measurement."""
_COLLAPSED = 2
"""How many times longer, without waiting for the window's end: all cores on a machine that has just become busy."""
_TELLING_TOKENS = 32
"""A shorter slice does not tell how fast a prompt is read."""


class Tuner:
    """Chooses between all cores and one fewer by the time that tokens take.

    The mean counts, not the median: a thread that waits for a core costs little at most tokens and
    very much at some.
    """

    def __init__(self, n_cores: int, n_fixed: int = 0) -> None:
        """Begin with the careful choice.

        Args:
            n_cores: Physical cores that may be used.
            n_fixed: The number that the user chose, which is then kept; 0 for none.
        """
        self.n_cores = n_fixed or n_cores
        self.careful = n_fixed or max(1, n_cores - 1)
        """The number that is never very wrong."""
        self.n_threads = self.careful
        """The number to use for the next token."""
        self.seconds = 0.0
        """What a token took with the number that was chosen; 0 before anything was measured."""
        self._choices = [n_fixed] if n_fixed else sorted({self.careful, n_cores})
        self._settled = self.n_threads
        self._untried = [n for n in self._choices if n != self.n_threads] if len(self._choices) > 1 else []
        self._measured: dict[int, float] = {}
        self._is_measuring = bool(self._untried)
        self._window_seconds = _WINDOW_SECONDS
        self._quickest = math.inf
        self._before = math.inf
        """What a token took when it was decided to measure."""
        self.pause()

    def took(self, seconds: float) -> bool:
        """Learn how long a token took; True when that settles on another number of threads."""
        self._spent += seconds
        if self._n_skipped < _WARM_UP:
            self._n_skipped += 1
            return self._is_measuring and self._is_too_dear and self._note(self._spent / self._n_skipped)
        self._n_tokens += 1
        self._total += seconds
        self._quickest = min(self._quickest, seconds)
        if self._is_measuring:
            return self._measure()
        if len(self._choices) == 1:
            return False
        is_over = self._n_tokens >= _WINDOW and self._total >= self._window_seconds
        if is_over or self._has_collapsed:
            if self._mean > _SLOWER * self.seconds:
                self._begin()
            else:
                self._restart()
        return False

    def pause(self) -> None:
        """A reply is over: what is next starts cold."""
        self._n_skipped = 0
        self._spent = 0.0
        self._restart()

    @property
    def _mean(self) -> float:
        """Seconds a token, over those that are counted now."""
        return self._total / self._n_tokens

    def _restart(self) -> None:
        """Count from here."""
        self._n_tokens, self._total, self._quickest = 0, 0.0, math.inf

    @property
    def _has_collapsed(self) -> bool:
        """Whether a few tokens have cost far more than they did; the first may just have met a stall."""
        return self._n_tokens > 1 and self._total > _HOPELESS_SECONDS + _COLLAPSED * self.seconds * self._n_tokens

    @property
    def _best(self) -> float:
        """Seconds a token took with the best number that was measured, or before the measurement."""
        return min(self._measured.values(), default=self._before)

    @property
    def _is_too_dear(self) -> bool:
        """Whether going on with a measurement costs more than it can tell."""
        return self._spent > _HOPELESS_SECONDS + 4 * self._best * (self._n_skipped + self._n_tokens)

    def _measure(self) -> bool:
        """One more token in a measurement."""
        is_hopeless = self._n_tokens > _WARM_UP and self._quickest > _HOPELESS * self._best
        is_enough = self._n_tokens >= _SAMPLE and self._total >= _SAMPLE_SECONDS
        return (is_enough or is_hopeless or self._is_too_dear) and self._note(self._mean)

    def _note(self, seconds: float) -> bool:
        """What a token takes with this number of threads; then the next number, or the choice."""
        self._measured[self.n_threads] = seconds
        self.pause()
        if self._untried:
            self.n_threads = self._untried.pop()
            return False
        return self._settle()

    def _settle(self) -> bool:
        """Take the quickest; True when it is not the one that was used before."""
        self._is_measuring = False
        self.n_threads = min(self._measured, key=lambda n: (self._measured[n], n != self._settled))
        self.seconds = self._measured[self.n_threads]
        changed = self.n_threads != self._settled
        self._settled = self.n_threads
        self._window_seconds = _WINDOW_SECONDS if changed else min(2 * self._window_seconds, _LONGEST_WINDOW_SECONDS)
        return changed

    def _begin(self) -> None:
        """Measure again, the number in use last: it may cost much."""
        self._before = self._mean
        self._measured.clear()
        self._untried = sorted(self._choices, key=lambda n: n != self.n_threads)
        self.n_threads = self._untried.pop()
        self._is_measuring = True
        self.pause()


class PromptThreads:
    """Gives up all cores while a prompt is read on a machine that is or becomes busy; asked after each slice."""

    def __init__(self, tuner: Tuner) -> None:
        self._tuner = tuner
        self._usual = math.inf
        """The least that a token ever took on all cores, in seconds; infinite before that is known."""
        self._now: dict[int, float] = {}
        """What a token of this prompt took last, by the number of threads."""
        self.n_threads = tuner.careful
        """The number to use for the next slice."""

    def begin(self) -> int:
        """The number for a new prompt: all cores, unless that was measured or is likely to be slower."""
        self._now.clear()
        all_cores, careful = self._tuner.n_cores, self._tuner.careful
        if self._tuner.seconds or all_cores == careful:
            self.n_threads = self._tuner.n_threads
        else:
            self.n_threads = careful if is_busy(all_cores) else all_cores
        return self.n_threads

    def took(self, n_tokens: int, seconds: float) -> bool:
        """Learn how long a slice took; True when the next one shall be read with another number."""
        careful, before = self._tuner.careful, self.n_threads
        if n_tokens < _TELLING_TOKENS or (before == careful and not self._now):
            return False
        cost = self._now[before] = seconds / n_tokens
        if careful in self._now:
            self.n_threads = min(self._now, key=self._now.__getitem__)
        elif math.isinf(self._usual) or cost > _COLLAPSED * self._usual:
            self.n_threads = careful  # for one slice at the least, and then the quicker one
        if before != careful:
            self._usual = min(self._usual, cost)
        return self.n_threads != before


def usable_cores() -> int:
    """Physical cores that this process may use: not those that an affinity mask or a container withholds."""
    n = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        n = min(n, len(os.sched_getaffinity(0)))
    return max(1, min(n, _container_cores()))


def is_busy(n_cores: int) -> bool:
    """Whether other programs keep the processor at work."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > n_cores / 2


def _container_cores(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that the container's quota amounts to; a very large number without one."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
        return math.ceil(int(quota) / int(period))
    except (OSError, ValueError):  # no such file, or "max"
        return 1 << 20
