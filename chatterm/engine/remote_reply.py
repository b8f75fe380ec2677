"""One reply of a server: asks, asks again where that helps, and tells what arrives.

A setting that is refused is left out, the older half of a conversation that is too long, too, and a
failure before the first token is waited out. It knows no HTTP.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator
from contextlib import aclosing
from typing import Any

import msgspec

from chatterm.engine.asking import PROBABILITIES, Question, question, shortened
from chatterm.engine.base import Prompt
from chatterm.engine.connection import Connection, Refused
from chatterm.engine.delta import Piece, Probable, Progress, Reading
from chatterm.engine.probabilities import Probabilities
from chatterm.engine.refusal import refused_names
from chatterm.errors import (
    KeyRefused,
    ModelNotFound,
    PromptTooLong,
    ReplyCut,
    ServerBusy,
    ServerError,
    ServerUnreachable,
)
from chatterm.events import Finished, FinishReason, ModelInfo, Prefilling, Prompted, ReplyEvent, Token, Trimmed
from chatterm.settings import Sampling

_KEPT = frozenset({"model", "messages", "prompt"})
"""What no request can do without."""
_NO_SEED = 0
"""What is told where the server draws one of its own."""


class Patience(msgspec.Struct, frozen=True):
    """How often, and how long each time, a failure before the first token is waited out."""

    n_failures: int = 3
    """In a row, after which it is given up."""
    first_wait_seconds: float = 1.0
    """After the first failure; doubled with each."""
    longest_asked_seconds: float = 30.0
    """The longest `Retry-After` that is obeyed; a longer one is an error."""
    wait: Callable[[float], Awaitable[Any]] = asyncio.sleep

    def seconds_after(self, n_failed: int, error: ServerError) -> float | None:
        """How long to wait after so many failures in a row; None when it is enough."""
        if n_failed >= self.n_failures:
            return None
        if isinstance(error, ServerBusy) and error.retry_after_seconds is not None:
            asked = error.retry_after_seconds
            return asked if asked <= self.longest_asked_seconds else None
        return self.first_wait_seconds * 2.0 ** (n_failed - 1)


class RemoteReply:
    """Answers one prompt."""

    def __init__(
        self,
        connection: Connection,
        model: ModelInfo,
        name: str,
        refused: dict[str, str],
        patience: Patience,
        *,
        measure: bool = False,
    ) -> None:
        self._connection = connection
        self._server = connection.server
        self._model = model
        self._name = name
        self._refused = refused
        self._patience = patience
        self._probabilities = Probabilities() if measure else None
        self._dropped: tuple[int, ...] = ()
        self._has_prompted = False
        self._first_token: float | None = None
        self._last_token = 0.0

    async def answer(
        self, prompt: Prompt, sampling: Sampling, stated: Collection[str] = ()
    ) -> AsyncGenerator[ReplyEvent, None]:
        """The events of the reply."""
        measure = self._probabilities is not None
        began, n_failed, tried = time.monotonic(), 0, dict(self._refused)
        while True:
            asked = question(self._server, self._name, prompt, sampling, tried, measure=measure, stated=stated)
            reading = Reading()
            try:
                async with aclosing(self._read(asked, reading)) as events:
                    async for event in events:
                        for told in self._opening(asked, sampling):
                            yield told
                        self._refused.update(tried)
                        yield event
                break
            except Refused as refused:
                if self._has_prompted:
                    raise refused.error from refused
                names = refused_names(refused.said, asked.body, _KEPT)
                if isinstance(refused.error, PromptTooLong) and not names:
                    prompt = self._without_older_half(prompt, refused)
                elif names := names or self._doubtful(refused, asked):
                    tried |= dict.fromkeys(names, refused.said.words)
                else:
                    raise refused.error from refused
            except ServerError as error:
                if self._may_be_for_probabilities(error, asked):  # some break down instead of refusing them
                    tried |= dict.fromkeys(PROBABILITIES, error.message)
                    continue
                if not isinstance(error, ServerBusy | ServerUnreachable | ReplyCut):
                    raise
                n_failed += 1
                wait = self._patience.seconds_after(n_failed, error)
                if wait is None or self._first_token is not None:
                    raise
                await self._patience.wait(wait)
        self._refused.update(tried)
        for told in self._opening(asked, sampling):
            yield told
        yield self._finished(reading, sampling, began)

    async def _read(self, asked: Question, reading: Reading) -> AsyncGenerator[ReplyEvent, None]:
        """What one request brings, beginning with the first token."""
        async with aclosing(self._connection.chunks(asked)) as chunks:
            async for chunk in chunks:
                for event in self._events(list(reading.read(chunk))):
                    yield event
        for piece in reading.rest():
            yield self._event(piece)

    def _events(self, found: list[Piece | Progress | Probable]) -> Iterator[ReplyEvent]:
        """What one chunk brings, as events."""
        probable = [each for each in found if isinstance(each, Probable)]
        told = [each for each in found if not isinstance(each, Probable)]
        start = None
        if self._probabilities is not None and probable:
            measured, written = self._probabilities.measured(probable)
            yield from measured
            if written == "".join(piece.text for piece in told if isinstance(piece, Piece)):
                start = measured[0].start
        for piece in told:
            event = self._event(piece)
            if isinstance(event, Token) and start is not None:
                event = msgspec.structs.replace(event, start=start)
                start += len(event.text)
            yield event

    def _event(self, piece: Piece | Progress) -> ReplyEvent:
        if isinstance(piece, Progress):
            return Prefilling(piece.n_done, piece.n_total, piece.n_reused)
        self._last_token = time.monotonic()
        self._first_token = self._first_token or self._last_token
        return Token(piece.text, reasoning=piece.reasoning)

    def _opening(self, asked: Question, sampling: Sampling) -> list[ReplyEvent]:
        """What comes before all else, once the server has taken the request."""
        if self._has_prompted:
            return []
        self._has_prompted = True
        trimmed = [Trimmed(self._dropped, 0, 0, self._model.n_ctx)] if self._dropped else []
        return [*trimmed, Prompted(0, 0, max(sampling.seed, _NO_SEED), notes=asked.notes)]

    def _without_older_half(self, prompt: Prompt, refused: Refused) -> Prompt:
        """The prompt without the older half of the conversation.

        Raises:
            PromptTooLong: there is nothing left to drop.
        """
        turns = shortened(prompt.turns)
        if turns is None:
            raise refused.error from refused
        kept = {id(turn) for turn in turns}
        self._dropped += tuple(turn.id for turn in prompt.turns if id(turn) not in kept and turn.id)
        return msgspec.structs.replace(prompt, turns=turns)

    def _may_be_for_probabilities(self, error: ServerError, asked: Question) -> bool:
        """Whether an answer failed before it began, perhaps since probabilities were asked for."""
        if self._has_prompted or "logprobs" not in asked.body:
            return False
        return type(error) is ServerError or "logprobs" in error.message

    def _doubtful(self, refused: Refused, asked: Question) -> list[str]:
        """What may be the reason of a refusal that names none: what is not the user's own wish."""
        if isinstance(refused.error, KeyRefused | ModelNotFound):
            return []
        doubtful = (*self._server.preset.extra, "stream_options", *PROBABILITIES)
        return [name for name in doubtful if name in asked.body]

    def _finished(self, reading: Reading, sampling: Sampling, began: float) -> Finished:
        """The end, with what the server has counted, else with what was seen here."""
        counts = reading.counts
        first = self._first_token or time.monotonic()
        n_generated = counts.n_generated or reading.n_pieces
        has_hidden_thought = counts.n_hidden > 0 and not reading.has_thought
        # Tokens of a thought that is not shown were made before the first one that is.
        decode_seconds = counts.decode_seconds or max(0.0, self._last_token - (began if has_hidden_thought else first))
        n_used = counts.n_prompt + n_generated if counts.n_prompt else 0
        reason = reading.reason or FinishReason.END
        if reason is FinishReason.LENGTH and not sampling.max_tokens and 0 < self._model.n_ctx <= n_used + 1:
            reason = FinishReason.CONTEXT
        return Finished(
            reason,
            n_prompt=counts.n_prompt,
            n_reused=counts.n_reused,
            n_generated=n_generated,
            seed=max(sampling.seed, _NO_SEED),
            prefill_seconds=counts.prefill_seconds,
            first_token_seconds=first - began,
            decode_seconds=decode_seconds,
            n_used=n_used,
            n_ctx=self._model.n_ctx,
        )
