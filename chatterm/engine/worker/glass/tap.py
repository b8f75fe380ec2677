"""Watching a computation: copies of the tensors that somebody wants, taken while llama.cpp computes.

llama.cpp asks before each node of its graph, and again when the node is computed. A wrong answer to the
second question would end the computation early and leave logits that look right and are not: so that
answer is always yes, and nothing is ever raised. Nothing here knows what the tensors mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from chatterm.engine.worker.glass.ggml import Ggml

_STATE = re.compile(rb"l_out-(\d+)")


class Tap:
    """Where a context's computation can be watched; must live as long as the context."""

    def __init__(self, llama: Any, ggml: Ggml) -> None:
        self.callback = llama.ggml_backend_sched_eval_callback(self._call)
        """What the context is made with."""
        self.error: BaseException | None = None
        """What went wrong while something was copied."""
        self._ggml = ggml
        self._wants: Callable[[bytes], bool] | None = None
        self._take: Callable[[bytes, int], None] | None = None
        self._wants_flash = False
        self.layer = 0
        """The layer that is being computed: one behind the last state that went by."""

    def open(self, wants: Callable[[bytes], bool], flash: bool, take: Callable[[bytes, int], None]) -> None:
        """Watch from now on.

        Args:
            wants: Whether a tensor of this name is wanted.
            flash: Whether nodes of flash attention are wanted, which have no names of their own.
            take: Is given name and address when the tensor is computed.
        """
        self._wants, self._take, self._wants_flash, self.layer, self.error = wants, take, flash, 0, None

    def close(self) -> None:
        """Watch no longer: what llama.cpp computes now costs a question for each node, answered with no."""
        self._wants = self._take = None

    def _call(self, address: int, ask: bool, _: object) -> bool:
        """llama.cpp's questions; see above for what must be answered."""
        try:
            if ask:
                return self._wants is not None and self._is_wanted(address)
            if self._take is not None:
                self._take(self._ggml.name(address), address)
        except BaseException as error:
            self.error = error
        return not ask

    def _is_wanted(self, address: int) -> bool:
        """Whether to copy a node; notes which layer is being computed."""
        assert self._wants is not None
        name = self._ggml.name(address)
        wanted = self._wants(name) or (self._wants_flash and self._ggml.op(address) == self._ggml.flash_op)
        if state := _STATE.fullmatch(name):
            self.layer = int(state[1]) + 1
        return wanted
