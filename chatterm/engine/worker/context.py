"""The context window of a loaded model: which tokens the KV cache holds, adding to them, stopping.

The list of tokens kept here is the truth about the cache: whatever ends an evaluation early, both
say the same afterwards. Nothing here knows prompts or sampling.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from chatterm.errors import EngineError

_SEQUENCE = 0
_ABORTED = 2
_SLICE_SECONDS = 0.1
"""How long a slice may take where llama.cpp cannot be interrupted inside it."""
_SLICE_WORK = 6.4e10
"""Parameters times tokens of a slice where it can: about a second of a slow machine, as a step of progress."""
_TILE = 64
"""Slices of fewer tokens are read at two thirds of the speed on a processor."""
_SMALLEST_SLICE = 16


class StopFlag:
    """A byte that tells llama.cpp to stop, set by one thread and read by another at any node of the graph.

    llama.cpp is given libc's `strlen` as the function to ask and the byte as its argument: a text
    that is not empty has a length, which means stop. So no Python runs while it computes.
    """

    def __init__(self) -> None:
        self._byte = ctypes.create_string_buffer(2)
        self._lock = threading.Lock()
        self._current = 0
        self._wanted: set[int] = set()

    @property
    def is_set(self) -> bool:
        """Whether the question at hand shall be answered no further."""
        return self._byte[0] != b"\0"

    def begin(self, number: int) -> None:
        """A question is taken up, which may have been stopped already."""
        with self._lock:
            self._current = number
            self._byte[0] = b"\1" if number in self._wanted else b"\0"
            self._wanted = {each for each in self._wanted if each > number}

    def stop(self, number: int) -> None:
        """Stop a question, now or as soon as it is taken up; one that is over is not affected."""
        with self._lock:
            self._wanted.add(number)
            if self._current == number:
                self._byte[0] = b"\1"

    def is_wanted(self, number: int) -> bool:
        """Whether a question shall be stopped that is answered in the middle of another one."""
        with self._lock:
            return number in self._wanted

    def watch(self, llama: Any, pointer: Any) -> None:
        """Make a llama.cpp context obey."""
        function = ctypes.cast(ctypes.CDLL(None).strlen, llama.ggml_abort_callback)
        llama.llama_set_abort_callback(pointer, function, ctypes.cast(self._byte, ctypes.c_void_p))


class Context:
    """The tokens that a model has evaluated, in order."""

    def __init__(self, llama: Any, pointer: Any, flag: StopFlag, n_batch: int, n_swa: int) -> None:
        """Take over a llama.cpp context.

        Args:
            pointer: As `llama_init_from_model` returned it; freed by `close`.
            n_batch: Most tokens that it evaluates at once.
            n_swa: Sliding window of the model, tokens; 0 without one.
        """
        self.pointer = pointer
        self.tokens: list[int] = []
        self.n_ctx = int(llama.llama_n_ctx(pointer))
        self.n_batch = n_batch
        self._llama = llama
        self._flag = flag
        self._n_swa = n_swa
        self._memory = llama.llama_get_memory(pointer)
        self._batch = llama.llama_batch_init(n_batch, 0, 1)
        for i in range(n_batch):
            self._batch.n_seq_id[i], self._batch.seq_id[i][0] = 1, _SEQUENCE
        flag.watch(llama, pointer)

    def close(self) -> None:
        """Free the KV cache."""
        self._llama.llama_batch_free(self._batch)
        self._llama.llama_free(self.pointer)

    def reuse(self, tokens: Sequence[int]) -> int:
        """Cut the cache back to what it has in common with a prompt, and say how many tokens that are.

        At least the prompt's last token is left to be evaluated. Where the cache cannot go back
        (recurrent models; sliding windows whose older cells are gone), it is emptied.
        """
        keep = min(n_common(self.tokens, tokens), len(tokens) - 1)
        if keep < len(self.tokens) and not self._cut(keep):
            self.clear()
            keep = 0
        del self.tokens[keep:]
        return keep

    def clear(self) -> None:
        """Empty the cache."""
        self._llama.llama_memory_clear(self._memory, True)
        self.tokens = []

    def extend(self, tokens: Sequence[int]) -> bool:
        """Evaluate up to `n_batch` tokens after those that are there; False when it was stopped.

        Raises:
            EngineError: llama.cpp could not evaluate them. Neither they nor a part of them are kept.
        """
        batch, n, start = self._batch, len(tokens), len(self.tokens)
        batch.n_tokens = n
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.logits[i] = token, start + i, 0
        batch.logits[n - 1] = 1
        status = self._llama.llama_decode(self.pointer, batch)
        if status == 0:
            self.tokens += tokens
            return True
        if not self._cut(start):
            self.clear()
        if status == _ABORTED:
            return False
        raise EngineError(f"llama.cpp could not evaluate the next {n} tokens (status {status}).", "Load it again.")

    def prefill(self, tokens: Sequence[int], slices: Slices, progress: Callable[[int, float], None]) -> bool:
        """Evaluate the rest of a prompt, slice by slice; False when it was stopped.

        The last token is evaluated alone, as it is when everything before it is in the cache
        already: so a reply does not depend on what was reused.

        Args:
            progress: Called with the tokens that are done and the seconds that it took so far.
        """
        begin = time.perf_counter()
        while (done := len(self.tokens)) < len(tokens):
            size = min(slices.size, self.n_batch)
            end = min(done + size, len(tokens) - 1) if done < len(tokens) - 1 else len(tokens)
            slice_begin = time.perf_counter()
            if self._flag.is_set or not self.extend(tokens[done:end]):
                return False
            slices.took(end - done, time.perf_counter() - slice_begin)
            progress(end, time.perf_counter() - begin)
        return True

    def set_threads(self, n_decode: int, n_prefill: int) -> None:
        """With how many threads to compute from now on."""
        self._llama.llama_set_n_threads(self.pointer, n_decode, n_prefill)

    def _cut(self, keep: int) -> bool:
        """Drop all tokens from a position on; False when the cache cannot do that."""
        oldest = self._llama.llama_memory_seq_pos_min(self._memory, _SEQUENCE)
        if oldest > max(0, keep - self._n_swa):
            return False  # llama.cpp would not object, and compute nonsense
        return bool(self._llama.llama_memory_seq_rm(self._memory, _SEQUENCE, keep, -1))


class Slices:
    """How many prompt tokens to evaluate at once.

    Where llama.cpp can be interrupted inside a slice (on a CPU), the size depends on the model
    alone, so that the same prompt is always computed the same way. Where it cannot (on a GPU), the
    size follows the speed.
    """

    def __init__(self, n_batch: int, n_parameters: int, can_abort: bool) -> None:
        self._n_batch = n_batch
        self._can_abort = can_abort
        n_tiles = int(_SLICE_WORK / max(n_parameters, 1) / _TILE) if can_abort else 1
        self.size = self._bounded(max(1, n_tiles) * _TILE)

    def took(self, n_tokens: int, seconds: float) -> None:
        """Learn how long a slice took."""
        if not self._can_abort and n_tokens >= min(_SMALLEST_SLICE, self._n_batch):
            self.size = self._bounded(min(2 * self.size, int(n_tokens / max(seconds, 1e-6) * _SLICE_SECONDS)))

    def _bounded(self, size: int) -> int:
        return max(1, min(self._n_batch, max(_SMALLEST_SLICE, size)))


def n_common(a: Sequence[int], b: Sequence[int]) -> int:
    """The length of the common beginning.

    Example: [1, 2, 3] and [1, 2, 9, 9] -> 2
    """
    n = min(len(a), len(b))
    if a[:n] == b[:n]:
        return n
    return next(i for i in range(n) if a[i] != b[i])
