"""Whether a model fits into this machine's memory, and how large a context window it can have there.

Pure arithmetic over a GGUF header; only `free_memory` looks at the machine.
"""

from __future__ import annotations

import sys
from enum import StrEnum

import msgspec

from chatterm import memory
from chatterm.gguf import GgufHeader
from chatterm.need import MemoryNeed, memory_needed
from chatterm.settings import AUTOMATIC_CTX, LoadOptions
from chatterm.text import amount

SMALLEST_CTX = 512
"""A smaller context window is not offered, unless the model itself has a smaller one; tokens."""
_MODEST_CTX = 2048
"""What is chosen even when weights must be read from the disk again for it, as the worker does."""
_STEP = 256
"""llama.cpp rounds context windows up to a multiple of this many tokens."""
_LONGEST_CTX = 1 << 17
"""Where the largest window is looked for when the model does not say what it was trained for."""
COMFORTABLE = 0.85
"""Of the free memory: what takes more leaves too little to other programs."""
_MAPPED = 0.1
"""Of its weights: how much a model may lack of memory and still be of use, read from the file again and again.
All weights of a dense model are needed for each token."""
_MAPPED_EXPERTS = 0.5
"""The same for a mixture of experts, of which each token needs a few."""
_GPU_SHARE = 0.95
"""Of a GPU's free memory: the rest is for what drivers take."""
_N_CHARTED = 24


class Verdict(StrEnum):
    """Whether a model can be used here."""

    FITS = "fits"
    """It takes at most 85 % of what is free."""
    TIGHT = "tight"
    """It runs, but leaves little; or only with a smaller context window; or a part is read from the disk each time."""
    TOO_BIG = "too big"


class FreeMemory(msgspec.Struct, frozen=True):
    """What is free now, in bytes."""

    ram_bytes: int
    vram_bytes: int = 0


class Fit(msgspec.Struct, frozen=True):
    """What a model needs here, and what that means."""

    verdict: Verdict
    needed: MemoryNeed
    free_bytes: int
    """Of the memory that it would run in: the GPU's where it fits there, else both."""
    n_ctx: int
    """The context window that was reckoned with, tokens."""
    largest_n_ctx: int
    """The largest one that fits; 0 where not even the smallest does."""

    @property
    def sentence(self) -> str:
        """What it needs, and what is free.

        Example: "Needs 4.9 GB with 8,192 tokens of context; 11.2 GB are free."
        """
        needed = amount(self.needed.total_bytes)
        told = f"Needs {needed} with {self.n_ctx:,} tokens of context; {amount(self.free_bytes)} are free."
        if self.needed.total_bytes <= self.free_bytes:
            return told
        if self.largest_n_ctx:
            return f"{told} Up to {self.largest_n_ctx:,} tokens fit."
        if self.verdict is Verdict.TIGHT:
            return f"{told} Parts of it are read from the disk again and again, which is slow."
        return told


def free_memory(vram_bytes: int = 0) -> FreeMemory:
    """What a model can have on this machine, if the one that is loaded now makes room for it.

    Asks the system about processes, which takes some milliseconds.

    Args:
        vram_bytes: Of the GPUs that llama.cpp can use here, as the engine's report has it.
    """
    return FreeMemory(memory.free_bytes() + memory.held_by_models(), vram_bytes)


def fit(header: GgufHeader, size_bytes: int, load: LoadOptions, free: FreeMemory) -> Fit:
    """Whether a model fits, loaded as the options say.

    Args:
        header: Of its file, or of the first part of a split one.
        size_bytes: Of all its files.
        load: `n_ctx` 0 is the window that would be chosen automatically.
        free: What is free.
    """
    smallest, n_train = _bounds(header)
    wanted = load.n_ctx or min(AUTOMATIC_CTX, n_train)
    free_bytes = _usable(needed(header, size_bytes, load, wanted), load, free)
    largest = _largest(header, size_bytes, load, free_bytes, smallest, n_train)
    n_ctx = wanted if load.n_ctx else min(wanted, max(largest, _MODEST_CTX if load.mmap else smallest))
    need = needed(header, size_bytes, load, n_ctx)
    return Fit(_verdict(header, need, free_bytes, load, n_ctx < wanted, largest), need, free_bytes, n_ctx, largest)


def over_context(header: GgufHeader, size_bytes: int, load: LoadOptions) -> list[tuple[int, int]]:
    """Memory over context length, for a chart: (tokens, bytes), up to the model's own limit."""
    smallest, n_train = _bounds(header)
    step = max(_STEP, -(-n_train // _N_CHARTED // _STEP) * _STEP)
    sizes = sorted({smallest, *range(step, n_train, step), n_train})
    return [(n_ctx, needed(header, size_bytes, load, n_ctx).total_bytes) for n_ctx in sizes]


def needed(header: GgufHeader, size_bytes: int, load: LoadOptions, n_ctx: int) -> MemoryNeed:
    """What a model takes with a context window of a size, loaded as the options say."""
    return memory_needed(
        header,
        n_ctx,
        load.cache_type_k,
        load.cache_type_v,
        load.n_batch,
        load.flash_attention != "off",
        size_bytes,
    )


def gpu_layers(header: GgufHeader, size_bytes: int, load: LoadOptions, vram_bytes: int) -> int:
    """How many layers a GPU has room for, with their part of the KV cache; -1 for all of them.

    Args:
        header: Of its file, or of the first part of a split one.
        size_bytes: Of all its files.
        load: `n_ctx` 0 is the usual window.
        vram_bytes: Free on the GPU.
    """
    need = needed(header, size_bytes, load, load.n_ctx or min(AUTOMATIC_CTX, _bounds(header)[1]))
    sizes = {tensor.name: tensor.size_bytes for tensor in header.tensors}
    embeddings = sizes.get("token_embd.weight", 0)  # they stay with the processor
    output = sizes.get("output.weight", embeddings)
    layers = max(0, need.weights_bytes - embeddings - sizes.get("output.weight", 0)) + need.kv_cache_bytes
    room = _GPU_SHARE * vram_bytes - need.compute_bytes - output
    if room >= layers:
        return -1
    return max(0, int(room * header.n_layers / layers))


def _bounds(header: GgufHeader) -> tuple[int, int]:
    """The smallest and the largest context window that make sense."""
    n_train = min(header.n_ctx_train, 1 << 24) or _LONGEST_CTX
    return min(SMALLEST_CTX, n_train), n_train


def _usable(need: MemoryNeed, load: LoadOptions, free: FreeMemory) -> int:
    """What is free of the memory that a model runs in: layers that the GPU has no room for stay on the processor."""
    if not load.n_gpu_layers or need.total_bytes <= free.vram_bytes:
        return free.vram_bytes if load.n_gpu_layers and free.vram_bytes else free.ram_bytes
    is_one_memory = sys.platform == "darwin"
    return max(free.ram_bytes, free.vram_bytes) if is_one_memory else free.ram_bytes + free.vram_bytes


def _largest(
    header: GgufHeader, size_bytes: int, load: LoadOptions, free_bytes: int, smallest: int, n_train: int
) -> int:
    """The largest context window that fits; 0 for none."""

    def fits(n_ctx: int) -> bool:
        return needed(header, size_bytes, load, n_ctx).total_bytes <= free_bytes

    if not fits(smallest):
        return 0
    if fits(n_train):
        return n_train
    low, high = smallest // _STEP, -(-n_train // _STEP)  # the first fits, the second does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * _STEP) else (low, middle)
    return max(smallest, low * _STEP)


def _verdict(
    header: GgufHeader, need: MemoryNeed, free_bytes: int, load: LoadOptions, is_cut: bool, largest: int
) -> Verdict:
    """What the need of memory means."""
    if need.total_bytes <= COMFORTABLE * free_bytes and not is_cut:
        return Verdict.FITS
    if need.total_bytes <= free_bytes or largest:
        return Verdict.TIGHT
    lacking = need.total_bytes - free_bytes
    may_lack = _MAPPED_EXPERTS if header.n_experts else _MAPPED
    return Verdict.TIGHT if load.mmap and lacking <= may_lack * need.weights_bytes else Verdict.TOO_BIG
