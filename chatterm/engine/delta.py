"""What the chunks of a streamed answer say, in whichever of the many shapes a server says it.

Pure: it is given one decoded chunk after the other. Everything in them is optional, and nothing is trusted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from chatterm.events import FinishReason

_TAGS = {"<think>": "</think>", "<thought>": "</thought>"}
"""What some servers put around a thought at the start of the answer."""
_MOST_CANDIDATES = 256
_LEAST = -9999.0
"""What OpenAI says of a token that is as good as impossible."""
_REASONS = {
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "content_filter": FinishReason.FILTER,
    "safety": FinishReason.FILTER,
}


class Piece(NamedTuple):
    """Some text of a reply."""

    text: str
    reasoning: bool = False


class Progress(NamedTuple):
    """How much of the prompt has been read."""

    n_done: int
    n_total: int
    n_reused: int


class Probable(NamedTuple):
    """A token that was sampled, with its probability as far as the server tells it."""

    piece: bytes
    id: int | None
    logprob: float
    """Natural logarithm."""
    top: tuple[Probable, ...] = ()
    """The likeliest tokens, likewise, the likeliest first."""


class Counts(NamedTuple):
    """What was counted of a reply; 0 where the server says nothing."""

    n_prompt: int = 0
    n_reused: int = 0
    n_generated: int = 0
    n_hidden: int = 0
    """Generated tokens of a thought, whether its text is shown or not."""
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0


class Reading:
    """One reply while its chunks arrive."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.reason: FinishReason | None = None
        """Why it ended, once the server has said so."""
        self.n_pieces = 0
        """Chunks with text, which are tokens for most servers."""
        self.has_thought = False
        """Whether the text of a thought came."""
        self._thought = _Thought()

    def read(self, chunk: Any) -> Iterator[Piece | Progress | Probable]:
        """What a chunk brings; the probabilities of tokens before the text that they make."""
        if not isinstance(chunk, Mapping):
            return
        self._count(chunk)
        if progress := _table(chunk.get("prompt_progress")):
            yield Progress(_number(progress, "processed"), _number(progress, "total"), _number(progress, "cache"))
        choices = chunk.get("choices")
        choice = _table(choices[0]) if isinstance(choices, list) and choices else {}
        if isinstance(reason := choice.get("finish_reason"), str) and reason:
            self.reason = _REASONS.get(reason.lower(), FinishReason.END)
        delta = _table(choice.get("delta")) or _table(choice.get("message")) or {"content": choice.get("text")}
        yield from _probabilities(choice.get("logprobs"))
        pieces = [piece for piece in self._pieces(delta) if piece.text]
        self.n_pieces += bool(pieces)
        self.has_thought = self.has_thought or any(piece.reasoning for piece in pieces)
        yield from pieces

    def rest(self) -> Iterator[Piece]:
        """What was held back, since a tag might have begun there."""
        yield from self._thought.rest()

    def _pieces(self, delta: Mapping[str, Any]) -> Iterator[Piece]:
        """The texts of a delta, thoughts first."""
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str):
            yield Piece(thought, reasoning=True)
        is_marked = _table(_table(delta.get("extra_content")).get("google")).get("thought") is True
        for text, is_thought in _texts(delta.get("content") or delta.get("refusal")):
            if is_thought:
                yield Piece(text, reasoning=True)
            else:
                yield from self._thought.marked(text) if is_marked else self._thought.split(text)

    def _count(self, chunk: Mapping[str, Any]) -> None:
        """Take over what a chunk says of numbers; the last word counts."""
        usage = _table(chunk.get("usage")) or _table(_table(chunk.get("x_groq")).get("usage"))
        counts = self.counts
        if usage:
            prompt, reply = _table(usage.get("prompt_tokens_details")), _table(usage.get("completion_tokens_details"))
            counts = counts._replace(
                n_prompt=_number(usage, "prompt_tokens"),
                n_reused=_number(prompt, "cached_tokens"),
                n_generated=_number(usage, "completion_tokens"),
                n_hidden=_number(reply, "reasoning_tokens"),
            )
        if timings := _table(chunk.get("timings")):  # llama-server
            counts = counts._replace(
                n_prompt=_number(timings, "cache_n") + _number(timings, "prompt_n"),
                n_reused=_number(timings, "cache_n"),
                n_generated=_number(timings, "predicted_n"),
                prefill_seconds=_number(timings, "prompt_ms") / 1000,
                decode_seconds=_number(timings, "predicted_ms") / 1000,
            )
        self.counts = counts


class _Thought:
    """Tells a thought between tags from the answer behind it, however the tags are cut."""

    def __init__(self) -> None:
        self._held = ""
        self._end: str | None = None
        """The tag that ends the thought which is being read."""
        self._is_answer = False
        """Whether the answer has begun: tags in it are its own."""
        self._is_marked = False
        self._is_behind = False
        """Whether only space has come since a thought, which belongs to neither."""

    def marked(self, text: str) -> Iterator[Piece]:
        """A text that is said to be a thought, so that tags need not be trusted."""
        self._is_answer = self._is_marked = self._is_behind = True
        for tag in (*_TAGS, *_TAGS.values()):
            text = text.removeprefix(tag).removesuffix(tag)
        yield Piece(text, reasoning=True)

    def split(self, text: str) -> Iterator[Piece]:
        """The text without tags, as far as it is clear what is one."""
        if self._is_marked:
            self._is_marked = False
            text = text.removeprefix("</thought>")
        text, self._held = self._held + text, ""
        if self._end is None and not self._is_answer:
            begun = text.lstrip()
            opening = next((tag for tag in _TAGS if begun.startswith(tag)), None)
            if opening is None and any(tag.startswith(begun) for tag in _TAGS):
                self._held = text
                return
            if opening is None:
                self._is_answer = True
            else:
                self._end, text = _TAGS[opening], begun.removeprefix(opening).removeprefix("\n")
        if self._end is not None:
            thought, tag, text = text.partition(self._end)
            if not tag:
                cut = _begun(thought, self._end)
                self._held = thought[cut:]
                yield Piece(thought[:cut], reasoning=True)
                return
            yield Piece(thought, reasoning=True)
            self._end, self._is_answer, self._is_behind = None, True, True
        if self._is_behind:
            text = text.lstrip()
            self._is_behind = not text
        yield Piece(text)

    def rest(self) -> Iterator[Piece]:
        """What is still held back."""
        if self._held:
            yield Piece(self._held, reasoning=self._end is not None)
        self._held = ""


def _begun(text: str, tag: str) -> int:
    """Where a tag may have begun at the end of a text; its length where none has.

    Example: "so </th", "</think>" -> 3
    """
    return next((len(text) - n for n in range(len(tag) - 1, 0, -1) if text.endswith(tag[:n])), len(text))


def _texts(content: Any) -> Iterator[tuple[str, bool]]:
    """The texts in what stands for content, and whether each is a thought."""
    if isinstance(content, str):
        yield content, False
    for part in content if isinstance(content, list) else ():
        kind = _table(part).get("type")
        if kind == "thinking":
            for thought, _ in _texts(part.get("thinking")):
                yield thought, True
        elif isinstance(text := _table(part).get("text"), str):
            yield text, False


def _probabilities(logprobs: Any) -> Iterator[Probable]:
    """The probabilities of a chunk's tokens, in the shape of `/chat/completions` or the older one of `/completions`."""
    table = _table(logprobs)
    for entry in map(_table, _items(table.get("content"))):
        chosen = _probable(entry.get("token"), entry.get("logprob"), entry)
        others = (
            _probable(other.get("token"), other.get("logprob"), other)
            for other in map(_table, _items(entry.get("top_logprobs")))
        )
        if chosen is not None:
            yield chosen._replace(top=_descending(others))
    tops = _items(table.get("top_logprobs"))
    for i, (text, logprob) in enumerate(
        zip(_items(table.get("tokens")), _items(table.get("token_logprobs")), strict=False)
    ):
        top = _table(tops[i]) if i < len(tops) else {}
        if (chosen := _probable(text, logprob, {})) is not None:
            yield chosen._replace(top=_descending(_probable(*other, {}) for other in top.items()))


def _probable(text: Any, logprob: Any, entry: Mapping[str, Any]) -> Probable | None:
    """One token of a list of probabilities; None for what is none."""
    if not isinstance(text, str) or not isinstance(logprob, int | float):
        return None
    data, token = _items(entry.get("bytes")), entry.get("id")
    is_data = bool(data) and all(isinstance(byte, int) and 0 <= byte < 256 for byte in data)
    is_token = isinstance(token, int) and 0 <= token < 2**31
    piece = bytes(data) if is_data else text.encode("utf-8", "replace")
    return Probable(piece, token if is_token else None, max(_LEAST, min(0.0, float(logprob))))


def _descending(top: Iterable[Probable | None]) -> tuple[Probable, ...]:
    known = (each for each in top if each is not None)
    return tuple(sorted(known, key=lambda each: -each.logprob)[:_MOST_CANDIDATES])


def _items(value: Any) -> Sequence[Any]:
    """A JSON list as it is; an empty one for everything else."""
    return value if isinstance(value, list) else ()


def _table(value: Any) -> Mapping[str, Any]:
    """A JSON object as it is; an empty one for everything else."""
    return value if isinstance(value, Mapping) else {}


def _number(table: Mapping[str, Any], name: str) -> int:
    """A count, or milliseconds; 0 where there is none."""
    value = table.get(name)
    return max(0, round(value)) if isinstance(value, int | float) and value < 2**53 else 0
