"""A reply that is being written: its text so far, and the record of how it is made.

Pure: it is told what happens (events) and when (a clock), and does nothing about it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec

from chatterm.conversation import ReplyRecord, Turn
from chatterm.events import Finished, ModelInfo, Prefilling, Prompted, ReplyEvent, Token, Trimmed
from chatterm.settings import Settings


class Draft:
    """What has arrived of a reply; one that was cut before is grown further."""

    def __init__(
        self,
        settings: Settings,
        resumed: Turn | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        rewritten: Turn | None = None,
    ) -> None:
        """A reply of which nothing has arrived.

        Args:
            settings: How it is made.
            resumed: What was cut, and is grown further.
            clock: Tells seconds.
            rewritten: What it takes the place of, as soon as what it begins with was told.
        """
        self.has_grown = asyncio.Event()
        """Set when something has arrived; cleared by whoever saves it."""
        self._clock = clock
        self._asked = clock()
        self._prompted = self._asked
        self._first_token: float | None = None
        self._has_begun = False
        self._resumed = resumed
        self._rewritten = rewritten
        self._before = (resumed.record if resumed else None) or ReplyRecord()
        self._now = ReplyRecord(
            system_prompt=settings.chat.system_prompt,
            sampling=msgspec.json.decode(msgspec.json.encode(settings.sampling)),  # as it is read again later
            seed=settings.sampling.seed,
        )
        keeps = resumed is not None and bool(resumed.text)  # without text the model starts again
        self._text = [resumed.text] if resumed and keeps else []
        self._reasoning = [resumed.reasoning] if resumed and keeps else []

    def replace(self) -> None:
        """What the reply begins with was told: it takes the place of what was there before."""
        self._rewritten = None

    @property
    def text(self) -> str:
        """The answer so far."""
        if self._rewritten:
            return self._rewritten.text
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """What the model has thought so far."""
        if self._rewritten:
            return self._rewritten.reasoning
        if self._resumed and not self._has_begun:
            return self._resumed.reasoning
        return "".join(self._reasoning)

    @property
    def record(self) -> ReplyRecord:
        """How it is made; of a reply that was resumed, the prompt is that of its first part, all else that of all parts."""
        if self._rewritten:
            return self._rewritten.record or ReplyRecord()
        before, now = self._before, self._now
        if self._resumed and not self._has_begun:
            return before  # what failed to go on has changed nothing
        read = before if before.n_prompt else now  # a prompt that goes on holds what is counted as generated
        return msgspec.structs.replace(
            now,
            n_prompt=read.n_prompt,
            n_reused=read.n_reused,
            n_generated=before.n_generated + now.n_generated,
            prefill_seconds=before.prefill_seconds + now.prefill_seconds,
            decode_seconds=before.decode_seconds + now.decode_seconds,
            first_token_seconds=before.first_token_seconds or now.first_token_seconds,
        )

    def is_by(self, model: ModelInfo | None) -> None:
        """Note which model writes."""
        if model is None:
            return
        self._note(
            model_name=model.name,
            model_path=model.path,
            model_hash=model.hash,
            model_repo=model.repo,
            quantization=model.quantization,
            template=model.template,
            n_ctx=model.n_ctx,
        )

    def take(self, event: ReplyEvent) -> None:
        """Add what an event says."""
        match event:
            case Token():
                self._take_token(event)
            case Trimmed():
                self._note(dropped_turns=event.dropped)
            case Prompted():
                self._prompted, self._has_begun = self._clock(), True
                self._note(n_prompt=event.n_prompt, n_reused=event.n_reused, seed=event.seed)
                if event.template:
                    self._note(template=event.template)
            case Prefilling():
                self._note(prefill_seconds=self._clock() - self._prompted)
                return  # not worth saving
            case Finished():
                measured = msgspec.structs.asdict(event)
                known = measured.keys() & set(ReplyRecord.__struct_fields__)
                self._note(**{name: measured[name] for name in known} | {"reason": event.reason.value})
            case _:
                return
        self.has_grown.set()

    def _take_token(self, token: Token) -> None:
        (self._reasoning if token.reasoning else self._text).append(token.text)
        now = self._clock()
        if self._first_token is None:
            self._first_token = now
            self._note(first_token_seconds=now - self._asked, prefill_seconds=now - self._prompted)
        self._note(n_generated=self._now.n_generated + (token.id is not None), decode_seconds=now - self._first_token)

    def _note(self, **changes: Any) -> None:
        self._now = msgspec.structs.replace(self._now, **changes)
