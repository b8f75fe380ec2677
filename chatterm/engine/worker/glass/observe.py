"""A second context on the same weights, in which any token can be evaluated again and watched.

It is made when it is first needed. What the chat has evaluated is copied from the chat's cache, which is
only read, so that most looks cost one token. The chat's own cache, logits and tokens are never touched.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from chatterm.engine.worker.context import Context, StopFlag, n_common
from chatterm.engine.worker.glass.ggml import FloatArray, Ggml
from chatterm.engine.worker.glass.tap import Tap
from chatterm.engine.worker.glass.weighing import flash_weights
from chatterm.engine.worker.load import LoadedModel
from chatterm.errors import LoadCancelled, NotVisible, OutOfMemory
from chatterm.memory import free_bytes
from chatterm.text import amount

_SEQUENCE = 0
_STEP = 512
"""The context's size is a multiple of it, tokens."""
_N_BATCH = 64
"""Tokens at once: small, since the memory for computing grows with it."""
_WORTH = 8
"""Tokens that are evaluated anew rather than to copy a whole cache."""
_SPARE = 0.9
"""The share of the free memory that may be taken."""
_UNQUANTIZED = (0, 1, 30)
"""ggml's types F32, F16, BF16: without flash attention, the values in the cache must have one of them."""
_F16 = 1
_STATE = re.compile(rb"l_out-(\d+)")
_WEIGHTS = re.compile(rb"kq_soft_max-(\d+)")
_START, _OUTPUT = b"embd", b"result_output"

Reduce = Callable[[int, FloatArray], FloatArray]
"""What is kept of a layer's weights, given the layer and the shape (H, Q, N)."""


class Observed(msgspec.Struct):
    """What was seen while the last tokens of a text were evaluated."""

    weights: dict[int, FloatArray]
    """By layer, what the caller keeps of (H, Q, N); layers without attention are missing."""
    states: dict[int, FloatArray]
    """By layer, the residual stream behind it at the last token, shape (D,)."""
    logits: FloatArray
    """The model's own, shape (V,)."""
    start: FloatArray | None = None
    """The last token's vector before the first layer."""
    output: FloatArray | None = None
    """The logits as the tensor they are in the graph: shows that tensors are read where they lie."""


class Observatory:
    """Evaluates texts again, and watches."""

    def __init__(self, model: LoadedModel, ggml: Ggml, flag: StopFlag, needs_whole_window: bool) -> None:
        """No context yet.

        Args:
            needs_whole_window: The model computes differently in a smaller window.
        """
        self.has_flash = model.has_flash
        """Whether the context is to use flash attention, as the chat's does; with another choice nothing can be copied."""
        self._model = model
        self._llama = model.library.llama
        self._ggml = ggml
        self._flag = flag
        self._needs_whole_window = needs_whole_window
        self._tap = Tap(self._llama, ggml)
        self._context: Context | None = None

    def close(self) -> None:
        """Free the context."""
        if self._context is not None:
            self._context.close()
            self._context = None

    def observe(self, tokens: Sequence[int], n_last: int = 1, reduce: Reduce | None = None) -> Observed:
        """Evaluate a text and watch its last tokens.

        Args:
            n_last: How many are watched, at most `_N_BATCH`.
            reduce: What to keep of each layer's attention; None leaves attention out.

        Raises:
            NotVisible: what is seen makes no sense.
            OutOfMemory: there is no room for the context now.
            LoadCancelled: it was stopped.
        """
        tokens = list(tokens)
        context = self._ready(tokens, n_last)
        seen = Observed({}, {}, np.empty(0, np.float32))
        self._tap.open(self._wants(reduce is not None), reduce is not None, self._taker(seen, reduce, n_last))
        try:
            self._extend(context, tokens[-n_last:])
        finally:
            self._tap.close()
        if isinstance(self._tap.error, NotVisible):
            raise self._tap.error
        if self._tap.error is not None:
            raise NotVisible(f"What llama.cpp computed cannot be read ({self._tap.error}).") from self._tap.error
        pointer = self._llama.llama_get_logits_ith(context.pointer, -1)
        seen.logits = np.ctypeslib.as_array(pointer, (self._model.vocabulary.n_tokens,)).copy()
        return seen

    def _wants(self, attention: bool) -> Callable[[bytes], bool]:
        def wants(name: bytes) -> bool:
            if name in (_START, _OUTPUT) or _STATE.fullmatch(name):
                return True
            return attention and _WEIGHTS.fullmatch(name) is not None

        return wants

    def _taker(self, seen: Observed, reduce: Reduce | None, n_last: int) -> Callable[[bytes, int], None]:
        """What copies the tensors that go by."""
        ggml, tap = self._ggml, self._tap

        def take(name: bytes, address: int) -> None:
            if name == _START:
                seen.start = ggml.values(address)[0, 0, -1].copy()
            elif name == _OUTPUT:
                seen.output = ggml.values(address)[0, 0, -1].copy()
            elif state := _STATE.fullmatch(name):
                seen.states[int(state[1])] = ggml.values(address)[0, 0, -1].copy()
            elif reduce is None:
                return
            elif weights := _WEIGHTS.fullmatch(name):
                layer = int(weights[1])
                seen.weights[layer] = reduce(layer, ggml.values(address)[0][:, :n_last])
            else:
                seen.weights[tap.layer] = reduce(tap.layer, flash_weights(ggml, address))

        return take

    def _ready(self, tokens: Sequence[int], n_last: int) -> Context:
        """The context, with everything in its cache that comes before the last tokens."""
        n_before = len(tokens) - n_last
        context = self._sized(len(tokens))
        self._borrow(context, tokens[:n_before])
        context.reuse(tokens[: n_before + 1])
        while len(context.tokens) < n_before:
            done = len(context.tokens)
            self._extend(context, tokens[done : min(done + context.n_batch, n_before)])
        return context

    def _extend(self, context: Context, tokens: Sequence[int]) -> None:
        if not context.extend(tokens):
            raise LoadCancelled("Looking inside was stopped.")

    def _borrow(self, context: Context, tokens: Sequence[int]) -> None:
        """Copy the chat's cache where it has much of a text that is not here yet."""
        chat, llama = self._model.context, self._llama
        n_gained = n_common(chat.tokens, tokens) - n_common(context.tokens, tokens)
        if n_gained < _WORTH or self.has_flash != self._model.has_flash or len(chat.tokens) > context.n_ctx:
            return
        size = llama.llama_state_seq_get_size(chat.pointer, _SEQUENCE)
        if size > _SPARE * free_bytes():
            return
        context.clear()
        state = (ctypes.c_uint8 * size)()
        n_written = llama.llama_state_seq_get_data(chat.pointer, state, size, _SEQUENCE)
        if n_written and llama.llama_state_seq_set_data(context.pointer, state, n_written, _SEQUENCE):
            context.tokens = list(chat.tokens)
        else:
            context.clear()

    def _sized(self, n_tokens: int) -> Context:
        """The context, made anew where there is none or it is too small."""
        chat = self._model.context
        n_needed = max(n_tokens, len(chat.tokens))
        if self._context is not None and self._context.n_ctx >= n_needed:
            return self._context
        if n_tokens > chat.n_ctx:
            raise NotVisible(f"The text has {n_tokens:,} tokens, the context window {chat.n_ctx:,}.")
        self.close()
        n_ctx = chat.n_ctx if self._needs_whole_window else min(chat.n_ctx, -(-n_needed * 5 // 4 // _STEP) * _STEP)
        self._context = self._made(n_ctx)
        return self._context

    def _made(self, n_ctx: int) -> Context:
        """A context of a size, of the same kind as the chat's."""
        needed, free = self._model.window.cost.bytes_for(n_ctx), free_bytes()
        if needed > _SPARE * free:
            raise OutOfMemory(
                f"Looking inside takes {amount(needed)} beside the chat, {amount(free)} are free.",
                "Close other programs, or load the model with a smaller context window.",
            )
        parameters = self._parameters(n_ctx)
        pointer = self._llama.llama_init_from_model(self._model.pointer, parameters)
        if not pointer:
            raise NotVisible("llama.cpp does not make a second context for this model.")
        n_swa = int(self._llama.llama_model_n_swa(self._model.pointer))
        context = Context(self._llama, pointer, self._flag, int(self._llama.llama_n_batch(pointer)), n_swa)
        context.set_threads(self._model.tuner.careful, self._model.tuner.careful)
        return context

    def _parameters(self, n_ctx: int) -> Any:
        parameters = self._model.window.parameters(n_ctx)
        parameters.n_batch = parameters.n_ubatch = _N_BATCH
        parameters.n_outputs_max = 1
        parameters.flash_attn_type = int(self.has_flash)
        parameters.cb_eval = self._tap.callback
        if not self.has_flash and parameters.type_v not in _UNQUANTIZED:
            parameters.type_v = _F16
        return parameters
