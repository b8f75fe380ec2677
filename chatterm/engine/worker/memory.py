"""How much memory a context window of a given size would take.

Asked before llama.cpp is: a KV cache is resident as soon as it is made, so one that does not fit
is no error that could be caught, but the end of the process.
"""

from __future__ import annotations

import ctypes
import re

import msgspec

_MIB = 1024 * 1024
_BUFFER = re.compile(r"\b(?:KV|RS|compute|output) buffer size =\s*([\d.]+) MiB")
_WEIGHTS = re.compile(r"_(Mapped|REPACK) model buffer size =\s*([\d.]+) MiB")


class ContextCost(msgspec.Struct, frozen=True):
    """What a context window takes: a part that is always there, and a part for each token."""

    fixed_bytes: float
    token_bytes: float

    @classmethod
    def between(cls, n_small: int, small_bytes: float, n_large: int, large_bytes: float) -> ContextCost:
        """The line through two measurements.

        Example: 512 tokens take 20 MB, 1024 take 30 MB -> 10 MB, and 19.5 kB a token
        """
        token_bytes = max(0.0, (large_bytes - small_bytes) / (n_large - n_small))
        return cls(max(0.0, small_bytes - n_small * token_bytes), token_bytes)

    def bytes_for(self, n_ctx: int) -> float:
        """What a window of that size takes."""
        return self.fixed_bytes + n_ctx * self.token_bytes

    def largest(self, budget_bytes: float) -> int:
        """The largest window that a budget allows; 0 for none."""
        if self.bytes_for(1) > budget_bytes:
            return 0
        if self.token_bytes == 0:
            return 1 << 30
        return int((budget_bytes - self.fixed_bytes) / self.token_bytes)


def buffer_bytes(log: str) -> float:
    """The sum of all buffers that llama.cpp says it made for a context."""
    return sum(float(size) for size in _BUFFER.findall(log)) * _MIB


def mapped_bytes(log: str) -> float:
    """Weights that are read where the file is mapped; what was copied into another layout is in the mapping, too.

    Example: 323 MiB are mapped, 192 MiB repacked -> 131 MiB
    """
    sizes = {"Mapped": 0.0, "REPACK": 0.0}
    for kind, mib in _WEIGHTS.findall(log):
        sizes[kind] += float(mib) * _MIB
    return max(0.0, sizes["Mapped"] - sizes["REPACK"])


def give_back() -> None:
    """Return freed memory to the system; glibc keeps blocks of up to 32 MB otherwise."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
