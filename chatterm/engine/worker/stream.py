"""Bytes of sampled tokens to text that can be shown, as soon as it can be shown.

Three things are split over tokens at will: characters, stop strings and the tags around a thought.
So three stages hand text on, each keeping back only what may turn out to be something else. The
cost of a token does not depend on the length of the reply. Knows no tokens, only their bytes.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum, auto

import msgspec


class Chunk(msgspec.Struct, frozen=True):
    """Text that can be shown now."""

    text: str
    reasoning: bool = False
    start: int = 0
    """Where it begins in all that was decoded, tags and all, in characters."""


class Span(msgspec.Struct, frozen=True):
    """How a family of models marks its reasoning."""

    opens: str
    closes: str


SPANS = (
    Span("<think>", "</think>"),
    Span("<thinking>", "</thinking>"),
    Span("<thought>", "</thought>"),
    Span("[THINK]", "[/THINK]"),
    Span("<seed:think>", "</seed:think>"),
    Span("<mm:think>", "</mm:think>"),
    Span("<think:opensource>", "</think:opensource>"),
    Span("<|START_THINKING|>", "<|END_THINKING|>"),
    Span("<|inner_prefix|>", "<|inner_suffix|>"),
    Span("<|channel>thought", "<channel|>"),
    Span("<|think|>", "<|end|>"),
    Span("\u25c1think\u25b7", "\u25c1/think\u25b7"),
)
"""Of Qwen, DeepSeek, GLM and many others; Mistral; Seed; MiniMax; Hunyuan; Command; Apertus; Gemma 4; Solar; Kimi."""

_HEADER_STARTS = ("<|start|>", "<|channel|>", "<|begin|>")
_HEADER_ENDS = ("<|message|>", "<|content|>")
_MESSAGE_END = "<|end|>"
"""gpt-oss's messages: <|start|>assistant<|channel|>analysis<|message|>the thought<|end|>.
Solar's: <|begin|>assistant<|content|>the answer<|end|>."""

_TOKENS_ONLY = frozenset({*_HEADER_STARTS, *_HEADER_ENDS, _MESSAGE_END})
"""Marks that count as tokens of their own alone, never when they are spelled."""

MARKS = frozenset({text for span in SPANS for text in (span.opens, span.closes)} | _TOKENS_ONLY | {"<|channel>"})
"""Control tokens whose text a `ReplyStream` has to be given; it shows none of them."""

_PIECES = {mark.encode(): mark for mark in MARKS}
_LONGEST_HEADER = 256
_LONGEST_BLANK = 32
"""Characters of white space before a reply that are kept back, since a thought may follow and make them needless."""


class ReplyStream:
    """Splits a reply, token by token, into answer and reasoning, and ends it at a stop string.

    The chunks joined are the reply, whatever way it was cut into tokens: bytes that are no
    character become U+FFFD, tags are left out, and so are line breaks at the start of a thought and
    after it. A tag in letters opens a thought only at the start of a line, so that an answer can
    speak of `<think>`; one that is a token of its own opens it anywhere.

    Stop strings end the answer. They are not looked for in reasoning: a thought may well contain
    the blank line or the "User:" that shall end the answer.
    """

    def __init__(
        self,
        stop: Sequence[str] = (),
        starts_in_reasoning: bool = False,
        opened: Span | None = None,
        spans: Sequence[Span] = SPANS,
    ) -> None:
        """Begin a reply.

        Args:
            stop: Where the answer ends, none of them empty.
            starts_in_reasoning: The prompt has opened a thought already.
            opened: With which tag, where that is known; only its counterpart then ends the thought.
            spans: Tags to look for; none leaves the text as it is.
        """
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._tags = _Tags(spans, (opened,) if opened else spans if starts_in_reasoning else ())
        self._stops = _Stops(stop)
        self.n_characters = 0
        """All that was decoded so far, tags and all."""

    @property
    def stopped(self) -> bool:
        """Whether a stop string was found; what comes after it is not shown."""
        return self._stops.found

    @property
    def in_reasoning(self) -> bool:
        """Whether the reply is inside a thought now."""
        return self._tags.in_reasoning

    def push(self, piece: bytes) -> list[Chunk]:
        """What can be shown after another token."""
        text = self._decoder.decode(piece)
        self.n_characters += len(text)
        return self._shown(self._tags.push(text, _PIECES.get(piece, "")))

    def finish(self) -> list[Chunk]:
        """What was kept back, now that no token follows; a character that is not complete is left out."""
        self._decoder.reset()
        return [*self._shown(self._tags.finish()), *self._stops.finish()]

    def _shown(self, chunks: Iterable[Chunk]) -> list[Chunk]:
        """The chunks with stop strings applied to the answer."""
        shown: list[Chunk] = []
        for chunk in chunks:
            if chunk.reasoning:
                shown += self._stops.finish()  # no stop string reaches over a thought
                shown += [] if self.stopped else [chunk]
            else:
                shown += self._stops.push(chunk)
        return shown


class _State(Enum):
    ANSWER = auto()
    REASONING = auto()
    HEADER = auto()
    """Between two control tokens, where gpt-oss and Solar name speaker and channel."""


class _Tags:
    """Tells reasoning from answer and takes the tags out."""

    def __init__(self, spans: Sequence[Span], opened: Sequence[Span]) -> None:
        self._closing = {span.opens: span.closes for span in spans}
        self._closers = {span.closes for span in opened}
        self._marks = {text for span in spans for text in (span.opens, span.closes)} | self._closers
        if spans:
            self._marks |= _TOKENS_ONLY
        self._pattern = re.compile("|".join(map(re.escape, self._marks)) or "(?!)")
        self._first_letters = "".join({mark[0] for mark in self._marks})
        self._longest = max(map(len, self._marks), default=0)
        self._state = _State.REASONING if opened else _State.ANSWER
        self._held = ""
        self._n_gone = 0
        """Characters before what is held."""
        self._tokens: list[int] = []
        """Where in `_held` tokens begin that are marks."""
        self._has_begun = bool(opened)
        self._is_blank = True
        """Whether the line so far is white space."""
        self._is_silent = True
        """Whether nothing but white space was said since the last mark."""
        self._trims = bool(opened)
        """Whether line breaks are left out, since they follow a tag."""

    @property
    def in_reasoning(self) -> bool:
        return self._state is _State.REASONING

    def push(self, text: str, mark: str) -> Iterator[Chunk]:
        """Text of another token; `mark` is the one that this token is, or "" for none."""
        self._held += text
        if mark:
            self._tokens.append(len(self._held) - len(mark))
        while self._held:
            start, found = self._next()
            yield from self._say(start, before_mark=bool(found))
            if not found:
                return
            self._drop(len(found))
            self._turn(found)

    def finish(self) -> Iterator[Chunk]:
        """What was kept back."""
        yield from self._say(len(self._held))

    def _next(self) -> tuple[int, str]:
        """Where the next mark is, and which; without one, up to where the text is certain to be no mark, and ""."""
        for match in self._pattern.finditer(self._held):
            if self._counts(match[0], match.start()):
                return match.start(), match[0]
        if self._state is _State.HEADER:
            if len(self._held) <= _LONGEST_HEADER:
                return 0, ""
            self._state = _State.ANSWER  # the model lost its way: what it says is shown
        if not self._has_begun and len(self._held) <= _LONGEST_BLANK and self._held.isspace():
            return 0, ""
        for start in range(max(0, len(self._held) - self._longest + 1), len(self._held)):
            if self._held[start] in self._first_letters and self._may_become_mark(start):
                blank = not self._has_begun and self._held[:start].isspace() and start <= _LONGEST_BLANK
                return 0 if blank else start, ""
        return len(self._held), ""

    def _may_become_mark(self, start: int) -> bool:
        """Whether the end of the text is the beginning of a mark."""
        rest = self._held[start:]
        return any(mark.startswith(rest) and self._counts(mark, start) for mark in self._marks)

    def _counts(self, mark: str, start: int) -> bool:
        """Whether a mark is meant as one at its place."""
        if start in self._tokens:
            return self._state is not _State.HEADER or mark in _HEADER_ENDS or mark in self._closing
        if self._state is _State.HEADER or mark in _TOKENS_ONLY:
            return False
        if mark in self._closers:
            return self._state is _State.REASONING
        if mark not in self._closing:
            return False
        before = self._held[:start]
        if self._state is _State.REASONING:  # some models open the thought again that the prompt has opened
            return self._is_silent and not before.strip()
        line = before.rpartition("\n")[2]
        return not line.strip() and (self._is_blank or "\n" in before)

    def _say(self, end: int, before_mark: bool = False) -> Iterator[Chunk]:
        """Hand on the text up to a place."""
        text, start = self._held[:end], self._n_gone
        self._drop(end)
        if self._state is _State.HEADER:
            self._closers = {_MESSAGE_END} if "analysis" in text else set()
            return
        if before_mark and not self._has_begun and text.isspace():
            return
        if text:
            line = text.rpartition("\n")[2]
            self._is_blank = not line.strip() and (self._is_blank or "\n" in text)
            self._is_silent = self._is_silent and not text.strip()
        if self._trims:
            text = text.lstrip("\r\n")
            start += end - len(text)
        if text:
            self._trims, self._has_begun = False, True
            yield Chunk(text, self._state is _State.REASONING, start)

    def _drop(self, end: int) -> None:
        """Forget the beginning of what is held."""
        self._held = self._held[end:]
        self._n_gone += end
        self._tokens = [start - end for start in self._tokens if start >= end]

    def _turn(self, mark: str) -> None:
        """Change the state as a mark says."""
        self._trims = self._is_blank = self._is_silent = self._has_begun = True
        if mark in self._closing:
            self._state, self._closers = _State.REASONING, {self._closing[mark]}
        elif mark in _HEADER_STARTS:
            self._state, self._closers = _State.HEADER, set()
        elif mark in _HEADER_ENDS:
            self._state = _State.REASONING if self._closers else _State.ANSWER
        else:
            self._state = _State.ANSWER


class _Stops:
    """Ends a text before the first of some strings."""

    def __init__(self, stop: Sequence[str]) -> None:
        self.found = False
        self._stop = tuple(stop)
        self._first_letters = {text[0] for text in self._stop}
        self._longest = max(map(len, self._stop), default=0)
        self._held = ""
        self._chunks: list[Chunk] = []
        """What is held, as it came."""

    def push(self, chunk: Chunk) -> list[Chunk]:
        """What is certain to stand before any stop string."""
        if self.found or not self._stop:
            return [] if self.found else [chunk]
        self._chunks.append(chunk)
        self._held += chunk.text
        end, begins = self._earliest(), self._may_begin()
        if end <= begins and end < len(self._held):
            self.found = True
            begins = end
        return self._release(begins)

    def finish(self) -> list[Chunk]:
        """What was kept back, up to a stop string if one is in it."""
        end = self._earliest()
        self.found = self.found or end < len(self._held)
        told = self._release(end)
        self._held = ""
        self._chunks.clear()
        return told

    def _release(self, end: int) -> list[Chunk]:
        """Hand on the beginning of what is held, joined where it was joined before."""
        told: list[Chunk] = []
        self._held = "" if self.found else self._held[end:]
        while end > 0:
            chunk = self._chunks.pop(0)
            if len(chunk.text) > end:
                rest = Chunk(chunk.text[end:], start=chunk.start + end)
                self._chunks.insert(0, rest)
                chunk = Chunk(chunk.text[:end], start=chunk.start)
            end -= len(chunk.text)
            if told and told[-1].start + len(told[-1].text) == chunk.start:
                before = told.pop()
                chunk = Chunk(before.text + chunk.text, start=before.start)
            told.append(chunk)
        return told

    def _earliest(self) -> int:
        """Where the first stop string begins; the length of the text if there is none."""
        places = (self._held.find(text) for text in self._stop)
        return min((place for place in places if place >= 0), default=len(self._held))

    def _may_begin(self) -> int:
        """Where the end of the text may be the beginning of a stop string; its length if nowhere."""
        held = self._held
        for start in range(max(0, len(held) - self._longest + 1), len(held)):
            if held[start] in self._first_letters:
                rest = held[start:]
                if any(len(text) > len(rest) and text.startswith(rest) for text in self._stop):
                    return start
        return len(held)
