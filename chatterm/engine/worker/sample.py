"""How the next token is drawn: llama.cpp's own stages, in the order that the settings give.

Pure choice: which stages, with which values. The arithmetic is llama.cpp's. Somebody may watch what
each stage leaves (`measure`): then taps that change nothing stand in the chain.
"""

from __future__ import annotations

import ctypes
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from chatterm.lens import has_penalties
from chatterm.settings import Sampling

Watch = Callable[[str, Any], None]

_MIN_KEEP = 1
"""No stage leaves fewer candidates than this."""
_IMPOSSIBLE = 1e-30
"""The share of the likeliest token's probability below which a token is never drawn anyway."""
_N_SEEDS = 2**32 - 1
"""llama.cpp takes 2**32 - 1 itself for "random"."""


class Sampler:
    """Draws tokens for one reply.

    The penalties look at the reply alone, never at the prompt: so they do not depend on how much of
    the prompt was reused, and do not punish the tokens that end every turn.
    """

    def __init__(self, llama: Any, n_vocab: int, sampling: Sampling, seed: int, watch: Watch | None = None) -> None:
        """Join the stages to a chain.

        Args:
            watch: Called after each stage of `Sampling.order` that changes something, with its name, and after the
                draw with ""; besides with a pointer to the candidates that are left. It must raise nothing.
        """
        self._llama = llama
        parameters = llama.llama_sampler_chain_default_params()
        parameters.no_perf = True
        self._chain = llama.llama_sampler_chain_init(parameters)
        self._taps: list[Any] = []
        """What llama.cpp calls back, kept as long as the chain is."""
        stages = list(_stages(llama, n_vocab, sampling, seed))
        self._draw = stages[-1][1]
        for (name, stage), (following, _) in zip(stages, [*stages[1:], (None, None)], strict=True):
            llama.llama_sampler_chain_add(self._chain, stage)
            if watch is not None and following != name:
                llama.llama_sampler_chain_add(self._chain, self._tap(watch, name))

    def sample(self, context: Any) -> int:
        """The next token after the one that was evaluated last; the penalties take note of it."""
        return int(self._llama.llama_sampler_sample(self._chain, context, -1))

    def skip(self, n_draws: int) -> None:
        """Use up random numbers, as if so many tokens had been drawn: each takes one, whatever it is drawn from."""
        pair = (self._llama.llama_token_data * 2)()
        for _ in range(n_draws):
            candidates = self._llama.llama_token_data_array(data=pair, size=2, selected=-1, sorted=False)
            self._llama.llama_sampler_apply(self._draw, ctypes.byref(candidates))

    def accept(self, tokens: Sequence[int]) -> None:
        """Take note of tokens that the reply has already, as if they had been drawn."""
        for token in tokens:
            self._llama.llama_sampler_accept(self._chain, token)

    def close(self) -> None:
        """Free the chain and its stages."""
        self._llama.llama_sampler_free(self._chain)

    def _tap(self, watch: Watch, name: str) -> Any:
        """A stage that changes nothing."""
        apply = self._llama.llama_sampler_i_apply(lambda _, candidates: watch(name, candidates))
        interface = self._llama.llama_sampler_i(apply=apply)
        self._taps += [apply, interface]
        return self._llama.llama_sampler_init(ctypes.byref(interface), None)


def seed_of(sampling: Sampling) -> int:
    """The seed to use: the one that was chosen, or a new one."""
    return sampling.seed if sampling.seed >= 0 else secrets.randbelow(_N_SEEDS)


def _stages(llama: Any, n_vocab: int, sampling: Sampling, seed: int) -> Iterator[tuple[str, Any]]:
    """The stages that change anything, by name and in their order, and the draw at the end, whose name is ""."""
    is_greedy = sampling.temperature == 0
    for stage in dict.fromkeys(sampling.order):
        if stage == "penalties":
            if has_penalties(sampling):
                yield (
                    stage,
                    llama.llama_sampler_init_penalties(
                        n_vocab,
                        sampling.repeat_last_n,
                        sampling.repeat_penalty,
                        sampling.frequency_penalty,
                        sampling.presence_penalty,
                    ),
                )
        elif not is_greedy:  # which takes the likeliest token, whatever the others would leave
            yield from ((stage, part) for part in _cut(llama, stage, sampling))
    yield "", llama.llama_sampler_init_greedy() if is_greedy else llama.llama_sampler_init_dist(seed)


def _cut(llama: Any, stage: str, sampling: Sampling) -> Iterator[Any]:
    """One stage, or none where its value leaves all as it is."""
    match stage:
        case "top_k" if sampling.top_k > 0:
            yield llama.llama_sampler_init_top_k(sampling.top_k)
        case "top_p" if sampling.top_p < 1:
            yield llama.llama_sampler_init_top_p(sampling.top_p, _MIN_KEEP)
        case "min_p" if sampling.min_p > 0:
            yield llama.llama_sampler_init_min_p(sampling.min_p, _MIN_KEEP)
        case "typical" if sampling.typical_p < 1:
            # A token whose probability is zero in a float makes llama.cpp's entropy NaN, and the choice arbitrary.
            yield llama.llama_sampler_init_min_p(_IMPOSSIBLE, _MIN_KEEP)
            yield llama.llama_sampler_init_typical(sampling.typical_p, _MIN_KEEP)
        case "temperature" if sampling.temperature != 1:
            yield llama.llama_sampler_init_temp(sampling.temperature)
