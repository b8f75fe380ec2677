"""The same prompt at several settings, on one engine and in turns, so that all replies grow before one's eyes.

A turn begins with reading again what the reply has so far, since the engine remembers one reply alone.
So each turn is twice as long as the one before: then no more is read again than is written.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing

import msgspec

from chatterm.engine.base import Engine, Prompt
from chatterm.events import Finished, FinishReason, Measured, Token
from chatterm.settings import Sampling

FIRST_TURN = 4
"""Tokens of the first turn."""


class Lane:
    """One of the replies."""

    def __init__(self, sampling: Sampling) -> None:
        """Nothing is written yet."""
        self.sampling = sampling
        self.measures: list[Measured] = []
        """What its tokens were drawn from, where the engine tells that."""
        self.ids: list[int] = []
        self.text = ""
        self.reasoning = ""
        self.is_over = False
        """Whether the model has ended it, or it is as long as it may get."""
        self.is_complete = False
        """Whether the model has ended it."""

    @property
    def n_tokens(self) -> int:
        """How many tokens it has."""
        return len(self.ids)


async def in_turns(
    engine: Engine, prompt: Prompt, lanes: Sequence[Lane], n_tokens: int, stated: Collection[str] = ()
) -> AsyncGenerator[Lane, None]:
    """Write all lanes, each up to so many tokens; yields a lane whenever it has grown, or begins a turn.

    Where an engine cannot go on with a reply, they are written one after the other.

    Args:
        engine: Who writes.
        prompt: What all of them answer.
        lanes: Each with its settings.
        n_tokens: How long each may get.
        stated: Settings that are meant although they are at their defaults, as `Engine.reply` takes them.

    Raises:
        EngineError: as `Engine.reply` tells.
    """
    has_turns = not engine.capabilities.why_not("branches")
    n_turn = FIRST_TURN if has_turns else n_tokens
    while waiting := [lane for lane in lanes if not lane.is_over]:
        for lane in waiting:
            yield lane
            async with aclosing(_turn(engine, prompt, lane, min(n_turn, n_tokens - lane.n_tokens), stated)) as told:
                async for _ in told:
                    yield lane
            lane.is_over = lane.is_complete or lane.n_tokens >= n_tokens or not has_turns
        n_turn *= 2


async def _turn(
    engine: Engine, prompt: Prompt, lane: Lane, n_tokens: int, stated: Collection[str]
) -> AsyncGenerator[None, None]:
    """So many tokens more for a lane."""
    sampling = msgspec.structs.replace(lane.sampling, max_tokens=n_tokens)
    begun = {"begins_with": tuple(lane.ids)} if lane.ids else {}
    text, reasoning = "", ""
    async with aclosing(engine.reply(prompt, sampling, measure=True, stated=stated, **begun)) as events:
        async for event in events:
            match event:
                case Measured():
                    lane.measures.append(event)
                    if event.is_end and event.id is not None:
                        lane.ids.append(event.id)
                case Token():
                    text, reasoning = (
                        text + event.text * (not event.reasoning),
                        reasoning + event.text * event.reasoning,
                    )
                    if event.id is not None:
                        lane.ids.append(event.id)
                    elif len(text) + len(reasoning) <= len(lane.text) + len(lane.reasoning):
                        continue  # what it is begun with is told again
                    lane.text, lane.reasoning = text, reasoning
                    yield
                case Finished(reason=reason):
                    lane.is_complete = reason is not FinishReason.LENGTH
                    yield
