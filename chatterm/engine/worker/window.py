"""How large the context window of a model is, and making it.

It is as large as was asked, or as fits into the memory that is free: found out from two small
windows before a large one is made. Nothing here knows files or prompts.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from chatterm.engine.worker.context import StopFlag
from chatterm.engine.worker.library import Library, is_about_memory
from chatterm.engine.worker.memory import ContextCost, buffer_bytes
from chatterm.engine.worker.threads import usable_cores
from chatterm.errors import EngineError, LoadCancelled, ModelUnreadable, OutOfMemory
from chatterm.settings import AUTOMATIC_CTX, CacheType, LoadOptions
from chatterm.text import amount

_SMALLEST_CTX = 512
_MODEST_CTX = 2048
"""What is taken even when weights must be read from the disk again for it."""
_PROBES = 512, 1024
"""Sizes of the two context windows from which the cost of any other is told, tokens."""
_MAX_UBATCH = 512
_FLASH = {"auto": -1, "off": 0, "on": 1}
_CACHE_TYPES: dict[CacheType, int] = {
    "f32": 0,
    "f16": 1,
    "bf16": 30,
    "q8_0": 8,
    "q5_1": 7,
    "q5_0": 6,
    "q4_1": 3,
    "q4_0": 2,
}
"""ggml's numbers for them."""


class WindowMaker:
    """Makes llama.cpp contexts for one model."""

    def __init__(self, library: Library, model: Any, options: LoadOptions, flag: StopFlag, notes: list[str]) -> None:
        """Prepare.

        Args:
            model: Pointer as `llama_model_load_from_file` returned it.
            notes: Where it is written down what was chosen or changed.
        """
        self._library = library
        self._model = model
        self._options = options
        self._flag = flag
        self._notes = notes
        self.cost = ContextCost(0, 0)
        """What windows of this model take; known once one was made."""

    def make(self, n_ctx_train: int, free_bytes: float, mapped_bytes: float) -> tuple[Any, bool]:
        """A llama.cpp context, and whether it uses flash attention.

        Args:
            free_bytes: Memory that it may take at most.
            mapped_bytes: How much of that holds weights which can be read from the file again, slowly.

        Raises:
            OutOfMemory: what was asked does not fit, or not even a small window does.
            ModelUnreadable: llama.cpp refuses it for another reason.
            LoadCancelled: the flag was set.
        """
        asked = self._options.n_ctx
        wanted = asked or min(AUTOMATIC_CTX, n_ctx_train or AUTOMATIC_CTX)
        if asked > n_ctx_train > 0:
            self._notes.append(
                f"The context window is {asked:,} tokens, but the model was trained for {n_ctx_train:,}:"
                " it may lose the thread beyond them."
            )
        self._give_up_quantized_values()
        n_ctx = self._affordable(wanted, free_bytes, mapped_bytes)
        if n_ctx < wanted:
            self._notes.append(f"The context window is {n_ctx:,} tokens: no more fit into the memory that is free.")
        pointer = self._make(n_ctx)
        has_flash = not re.search(r"Flash Attention not supported|flash_attn\s+= disabled", self._library.log.text)
        return pointer, has_flash

    def _affordable(self, wanted: int, free_bytes: float, mapped_bytes: float) -> int:
        """The size of the context window: what was asked, or what fits."""
        cost, asked = self._cost(), self._options.n_ctx
        self.cost = cost
        if cost.bytes_for(wanted) <= free_bytes - mapped_bytes:
            return wanted
        largest = cost.largest(free_bytes) // 256 * 256
        size = wanted
        if not asked:
            size = min(wanted, max(cost.largest(free_bytes - mapped_bytes) // 256 * 256, min(_MODEST_CTX, largest)))
        if min(_SMALLEST_CTX, wanted) <= size <= largest:
            if cost.bytes_for(size) > free_bytes - mapped_bytes:
                self._notes.append("Memory is tight: parts of the model are read from the disk again, which is slow.")
            return size
        advice = f"Up to {largest:,} tokens fit." if largest >= _SMALLEST_CTX else "Or try a smaller model."
        raise OutOfMemory(
            f"A context window of {wanted:,} tokens needs {amount(cost.bytes_for(wanted))},"
            f" {amount(max(0.0, free_bytes))} are free.",
            f"Try a smaller context window. {advice}",
        )

    def _cost(self) -> ContextCost:
        """What context windows of this model take, from two small ones."""
        sizes = []
        for n_ctx in _PROBES:
            pointer = self._make(n_ctx)
            sizes.append(buffer_bytes(self._library.log.text))
            self._library.llama.llama_free(pointer)
        return ContextCost.between(_PROBES[0], sizes[0], _PROBES[1], sizes[1])

    def _give_up_quantized_values(self) -> None:
        """Keep values in f16 where flash attention is off, or cannot be used with this model."""
        if self._options.cache_type_v in ("f32", "f16", "bf16"):
            return
        if self._options.flash_attention != "off":
            pointer = self._try(_PROBES[0])
            if pointer:
                self._library.llama.llama_free(pointer)
                return
            if not any("lash" in line for line in self._library.log.errors):
                raise self._failure(_PROBES[0])
        self._notes.append(
            f"The value cache is f16 instead of {self._options.cache_type_v}, which needs flash attention."
        )
        self._options = msgspec.structs.replace(self._options, cache_type_v="f16")

    def _make(self, n_ctx: int) -> Any:
        """A context of a size."""
        pointer = self._try(n_ctx)
        if not pointer:
            raise self._failure(n_ctx)
        return pointer

    def parameters(self, n_ctx: int) -> Any:
        """What llama.cpp is told about a context of a size."""
        options = self._options
        parameters = self._library.llama.llama_context_default_params()
        parameters.n_ctx = n_ctx
        parameters.n_batch = min(options.n_batch, n_ctx)
        parameters.n_ubatch = min(parameters.n_batch, _MAX_UBATCH)
        parameters.n_outputs_max = 1  # only the last token's logits are read; room for all of them can be 500 MB
        parameters.flash_attn_type = _FLASH[options.flash_attention]
        parameters.type_k = _CACHE_TYPES[options.cache_type_k]
        parameters.type_v = _CACHE_TYPES[options.cache_type_v]
        parameters.n_threads = parameters.n_threads_batch = options.n_threads or usable_cores()
        return parameters

    def _try(self, n_ctx: int) -> Any:
        """A context of a size, or nothing; what llama.cpp said is in the log."""
        if self._flag.is_set:
            raise LoadCancelled("Loading was stopped.")
        self._library.log.clear()
        return self._library.llama.llama_init_from_model(self._model, self.parameters(n_ctx))

    def _failure(self, n_ctx: int) -> EngineError:
        """Why the context window could not be made."""
        reasons = self._library.log.errors or ["llama.cpp gives no reason"]
        if any(is_about_memory(line) for line in reasons):
            return OutOfMemory(
                f"A context window of {n_ctx:,} tokens could not be allocated.", "Try a smaller context window."
            )
        return ModelUnreadable(
            f"The context window could not be made: {reasons[0].rstrip('.')}.", "Try other settings for loading."
        )
