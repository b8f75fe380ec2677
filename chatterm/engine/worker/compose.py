"""From turns to the tokens that the model reads, leaving out the oldest turns where all do not fit.

What is left out depends on the conversation alone, not on what was left out before. It is dropped
in large steps, down to half the window: so the prompt's beginning stays the same for many
questions, and with it what the KV cache holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chatterm.conversation import Role
from chatterm.engine.base import Prompt, PromptTurn
from chatterm.engine.worker.stream import ReplyStream, Span
from chatterm.engine.worker.template import ChatTemplate, Part
from chatterm.engine.worker.vocabulary import Vocabulary
from chatterm.errors import EngineError, PromptTooLong

_ROOM = 256
"""Tokens that are kept free for an answer of unknown length."""
_LEAST_ROOM = 32
_USUAL_PIECE = 16
"""Bytes of a long token; a vocabulary's longest one is looked up only for texts that may be too long by this."""
_TURN_OVERHEAD = 8
"""Tokens that a template puts around a turn, about."""


class Composed(msgspec.Struct, frozen=True):
    """A prompt as the model reads it."""

    tokens: list[int]
    template: str
    n_whole: int = 0
    """Tokens of the prompt with nothing left out."""
    dropped: tuple[int, ...] = ()
    """Ids of the turns that are left out, oldest first."""
    notes: tuple[str, ...] = ()
    starts_in_reasoning: bool = False
    opened: Span | None = None
    """The tags of the thought that the reply starts in, where they are known."""
    stop: tuple[str, ...] = ()
    """Texts that end the reply besides those that the user chose."""
    kept: tuple[int, ...] = ()
    """Which of the turns are in it, counted from 0."""

    def stream(self, stop: Sequence[str]) -> ReplyStream:
        """What turns the tokens of the reply into text."""
        return ReplyStream((*stop, *self.stop), self.starts_in_reasoning, self.opened)


class Composer:
    """Puts prompts together for one model."""

    def __init__(self, vocabulary: Vocabulary, template: ChatTemplate, n_ctx: int) -> None:
        self._vocabulary = vocabulary
        self._template = template
        self._n_ctx = n_ctx

    def whole(self, prompt: Prompt) -> Composed:
        """The prompt with nothing left out, whether it fits or not."""
        if prompt.raw is not None:
            return self._raw(prompt.raw)
        composed = self._render(prompt.turns, prompt)
        return msgspec.structs.replace(composed, n_whole=len(composed.tokens))

    def fitting(self, prompt: Prompt, max_tokens: int = 0, n_reply: int = 0) -> Composed:
        """The prompt with as many of its latest turns as leave room for an answer.

        Args:
            max_tokens: Longest answer, 0 for no limit.
            n_reply: Tokens of an answer that exists already and must stay.

        Raises:
            PromptTooLong: not even the last question fits beside the system prompt.
        """
        self._refuse_the_hopeless(prompt)
        composed = self.whole(prompt)
        room = n_reply + max(1, min(max_tokens or _ROOM, self._n_ctx // 4))
        least = n_reply + min(_LEAST_ROOM, room, self._n_ctx // 8)
        fixed, exchanges = _exchanges(prompt.turns)
        if composed.n_whole > self._n_ctx - room and len(exchanges) > 1:
            composed = self._trimmed(prompt, composed, fixed, exchanges, room)
        if len(composed.tokens) > self._n_ctx - least:
            raise _too_long(len(composed.tokens), self._n_ctx)
        return composed

    def _refuse_the_hopeless(self, prompt: Prompt) -> None:
        """Raise at once for what cannot fit however it is tokenized, which would take seconds for some megabytes."""
        fixed, exchanges = _exchanges(prompt.turns)
        texts = [turn.text for turn in (*fixed, *(exchanges[-1] if exchanges else ()))]
        n_bytes = sum(len(text.encode("utf-8", "replace")) for text in (*texts, prompt.raw or ""))
        if n_bytes > _USUAL_PIECE * self._n_ctx and n_bytes > self._vocabulary.longest_piece * self._n_ctx:
            n_tokens = n_bytes // self._vocabulary.longest_piece
            raise _too_long(n_tokens, self._n_ctx, "more than ")

    def _raw(self, text: str) -> Composed:
        """Text as it is; control tokens in it are meant."""
        tokens = self._vocabulary.tokens_of([Part(text)])
        if not tokens:
            raise EngineError("There is nothing to go on from.", "Give the model some text; it has no BOS token.")
        return Composed(tokens, "raw", len(tokens))

    def _render(self, turns: Sequence[PromptTurn], prompt: Prompt) -> Composed:
        """Turns through the chat template, and as tokens."""
        rendered = self._template.render(turns, prompt.template_variables, continues=prompt.continues)
        kept = {id(turn) for turn in turns}
        return Composed(
            self._vocabulary.tokens_of(rendered.parts),
            rendered.name,
            notes=rendered.notes,
            starts_in_reasoning=rendered.starts_in_reasoning,
            opened=rendered.opened,
            stop=rendered.stop,
            kept=tuple(place for place, turn in enumerate(prompt.turns) if id(turn) in kept),
        )

    def _trimmed(
        self,
        prompt: Prompt,
        whole: Composed,
        fixed: Sequence[PromptTurn],
        exchanges: Sequence[Sequence[PromptTurn]],
        room: int,
    ) -> Composed:
        """The prompt without its oldest exchanges, one more for as long as it is too long."""
        limit = self._n_ctx - room
        sizes = [[self._size(turn) for turn in exchange] for exchange in exchanges]
        start = max(1, _first_kept(sum(map(self._size, fixed)), sizes, limit, min(limit, self._n_ctx // 2)))
        while True:
            kept = [*fixed, *(turn for exchange in exchanges[start:] for turn in exchange)]
            composed = self._render(kept, prompt)
            if len(composed.tokens) <= limit or start == len(exchanges) - 1:
                break
            start += 1
        dropped = tuple(turn.id for exchange in exchanges[:start] for turn in exchange)
        return msgspec.structs.replace(composed, n_whole=whole.n_whole, dropped=dropped)

    def _size(self, turn: PromptTurn) -> int:
        """About how many tokens a turn takes."""
        return len(self._vocabulary.tokenize(turn.text, parse_special=False)) + _TURN_OVERHEAD


def _exchanges(turns: Sequence[PromptTurn]) -> tuple[list[PromptTurn], list[list[PromptTurn]]]:
    """The system prompt, and the rest as questions with their answers.

    Example: system, user, assistant, user -> [system] and [[user, assistant], [user]]
    """
    fixed = [turn for turn in turns if turn.role == Role.SYSTEM]
    exchanges: list[list[PromptTurn]] = []
    for turn in turns:
        if turn.role == Role.USER or (turn.role == Role.ASSISTANT and not exchanges):
            exchanges.append([turn])
        elif turn.role == Role.ASSISTANT:
            exchanges[-1].append(turn)
    return fixed, exchanges


def _first_kept(fixed: int, sizes: Sequence[Sequence[int]], limit: int, target: int) -> int:
    """Which exchange is the oldest that stays, found by going through the conversation as it was.

    Args:
        fixed: Tokens that always stay.
        sizes: Tokens of each turn of each exchange.
        limit: Most tokens that a prompt may have.
        target: Down to how many it is cut when it has more.

    Example: 0, [[4, 4], [4, 4], [4]], 16, 8 -> 2
    """
    start, total = 0, fixed
    for i, exchange in enumerate(sizes):
        if total + exchange[0] > limit:
            while start < i and total + exchange[0] > target:
                total -= sum(sizes[start])
                start += 1
        total += sum(exchange)
    return start


def _too_long(n_tokens: int, n_ctx: int, about: str = "") -> PromptTooLong:
    return PromptTooLong(
        f"The system prompt and the last message take {about}{n_tokens:,} tokens, the context window has {n_ctx:,}.",
        "Shorten the message, or load the model with a larger context window.",
    )
