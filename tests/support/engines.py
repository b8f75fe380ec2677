"""Asking a real engine in tests: load, collect a reply, look at what it was made of."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import psutil

from chatterm.conversation import Role
from chatterm.engine.base import Prompt, PromptTurn
from chatterm.engine.local import LocalEngine
from chatterm.events import Finished, Loaded, LoadEvent, Prefilling, Prompted, ReplyEvent, Token, Trimmed
from chatterm.settings import LoadOptions, Sampling

GREEDY = Sampling(temperature=0)
E = TypeVar("E")


class Reply(NamedTuple):
    """All events of a reply."""

    events: list[ReplyEvent]

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def text(self) -> str:
        return "".join(token.text for token in self.of(Token) if not token.reasoning)

    @property
    def reasoning(self) -> str:
        return "".join(token.text for token in self.of(Token) if token.reasoning)

    @property
    def ids(self) -> list[int]:
        return [token.id for token in self.of(Token) if token.id is not None]

    @property
    def prompted(self) -> Prompted:
        return self.of(Prompted)[0]

    @property
    def finished(self) -> Finished:
        return self.of(Finished)[0]

    @property
    def trimmed(self) -> list[Trimmed]:
        return self.of(Trimmed)

    @property
    def prefilling(self) -> list[Prefilling]:
        return self.of(Prefilling)


def user(*texts: str, system: str = "", **rest: Any) -> Prompt:
    """Questions and answers in turn, beginning with a question; ids from 1 on, the system prompt has 0."""
    turns = [PromptTurn(Role.SYSTEM, system)] if system else []
    turns += [PromptTurn((Role.USER, Role.ASSISTANT)[i % 2], text, i + 1) for i, text in enumerate(texts)]
    return Prompt(tuple(turns), **rest)


async def load(engine: LocalEngine, path: Path, **options: Any) -> list[LoadEvent]:
    """Load a model with few resources; all events."""
    chosen = LoadOptions(**{"n_ctx": 512, "n_threads": 1, **options})
    return [event async for event in engine.load(path, chosen)]


async def loaded(engine: LocalEngine, path: Path, **options: Any) -> Loaded:
    """The last event of a load."""
    return cast("Loaded", (await load(engine, path, **options))[-1])


async def ask(engine: LocalEngine, prompt: Prompt | str, sampling: Sampling = GREEDY, **options: Any) -> Reply:
    """A whole reply; a string is asked as a question."""
    asked = user(prompt) if isinstance(prompt, str) else prompt
    return Reply([event async for event in engine.reply(asked, sampling, **options)])


async def ask_until(
    engine: LocalEngine, prompt: Prompt, sampling: Sampling, condition: Callable[[ReplyEvent], bool]
) -> Reply:
    """A reply that is stopped as soon as an event says so."""
    events: list[ReplyEvent] = []
    async with aclosing(engine.reply(prompt, sampling)) as replying:
        async for event in replying:
            events.append(event)
            if condition(event):
                break
    return Reply(events)


async def first(events: AsyncIterator[Any], condition: Callable[[Any], bool]) -> Any:
    """The first event of which a condition is true; the iterator is left open."""
    async for event in events:
        if condition(event):
            return event
    raise AssertionError("the events ended without it")


def resident_bytes(engine: LocalEngine) -> int:
    """Memory that the worker holds; 0 without one."""
    return int(psutil.Process(engine.pid).memory_info().rss) if engine.pid else 0


def signal_worker(engine: LocalEngine, number: int) -> None:
    """Send a signal to the worker."""
    assert engine.pid is not None
    os.kill(engine.pid, number)
