"""What the app and the process that runs llama.cpp say to each other, and how it is put into bytes.

A frame is its length (4 bytes, little-endian) and one msgpack message: a `Question` one way, an
`Answer` the other. What is answered is events, `events` themselves among them; the last answer to
a question is `Done` or `Failure`. Nothing here knows processes, pipes or llama.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from chatterm import errors
from chatterm.engine.base import EngineReport, Prompt, PromptPiece, TokenPiece, WindowReport
from chatterm.events import (
    Event,
    Finished,
    Loaded,
    Loading,
    Measured,
    Prefilling,
    Prompted,
    Token,
    Trimmed,
    Tuned,
)
from chatterm.glass import GlassRequest, GlassResult
from chatterm.settings import LoadOptions, Sampling
from chatterm.text import expressible

_LENGTH_BYTES = 4


class Ask(msgspec.Struct, frozen=True, tag_field="ask", tag=str.lower):
    """What all questions share."""


class LoadModel(Ask, frozen=True):
    """Answered by `Loading` and `Loaded`."""

    path: bytes
    """As the system has it: it need not be UTF-8."""
    options: LoadOptions


class WriteReply(Ask, frozen=True):
    """Answered by the events of a reply."""

    prompt: Prompt
    sampling: Sampling
    measure: bool = False
    begins_with: tuple[int, ...] = ()
    """Token ids with which the answer begins."""


class SplitText(Ask, frozen=True):
    """Answered by `Pieces`."""

    text: str


class CountPrompt(Ask, frozen=True):
    """Answered by `Counted`."""

    prompt: Prompt


class SplitPrompt(Ask, frozen=True):
    """Answered by `PromptPieces`."""

    prompt: Prompt


class ShowWindow(Ask, frozen=True):
    """Answered by `Window`."""


class MakeReport(Ask, frozen=True):
    """Answered by `Reported`."""


class Inspect(Ask, frozen=True):
    """Answered by `Inspected`."""

    request: GlassRequest


class Stop(Ask, frozen=True):
    """Ends the question with the same number early; has no answer of its own."""


class Pieces(Event, frozen=True):
    """A text, cut into tokens."""

    pieces: list[TokenPiece]


class Counted(Event, frozen=True):
    """How many tokens a prompt takes."""

    n_tokens: int


class PromptPieces(Event, frozen=True):
    """A prompt, cut into tokens."""

    pieces: list[PromptPiece]


class Window(Event, frozen=True):
    """What is in the context window."""

    report: WindowReport


class Reported(Event, frozen=True):
    """Versions, devices and problems."""

    report: EngineReport


class Inspected(Event, frozen=True):
    """What was seen inside the model."""

    result: GlassResult


class Failure(Event, frozen=True):
    """A question could not be answered; nothing follows."""

    kind: str
    """Name of a class in `errors`."""
    message: str
    remedy: str = ""

    @classmethod
    def of(cls, error: errors.ChattermError) -> Failure:
        """An error as it goes over the pipe."""
        return cls(type(error).__name__, error.message, error.remedy)

    def error(self) -> errors.ChattermError:
        """The error as it was raised in the other process."""
        kind: type[errors.ChattermError] = getattr(errors, self.kind)
        return kind(self.message, self.remedy)


class Done(Event, frozen=True):
    """A question is answered, or was stopped; nothing follows."""


Asked = LoadModel | WriteReply | SplitText | CountPrompt | SplitPrompt | ShowWindow | MakeReport | Inspect | Stop
Answered = (
    Loading
    | Loaded
    | Trimmed
    | Prompted
    | Prefilling
    | Token
    | Measured
    | Tuned
    | Finished
    | Pieces
    | Counted
    | PromptPieces
    | Window
    | Reported
    | Inspected
    | Failure
    | Done
)


class Question(msgspec.Struct, frozen=True, array_like=True):
    """One thing that is asked; numbers rise."""

    number: int
    ask: Asked


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """One thing that is answered, to the question with that number."""

    number: int
    event: Answered


_encoder = msgspec.msgpack.Encoder()
_questions = msgspec.msgpack.Decoder(Question)
_answers = msgspec.msgpack.Decoder(Answer)


def frame(message: Question | Answer) -> bytes:
    """A message as bytes, with its length before it."""
    try:
        body = _encoder.encode(message)
    except UnicodeEncodeError:  # lone surrogates, such as in names of files that are no UTF-8
        body = _encoder.encode(expressible(msgspec.to_builtins(message, builtin_types=(bytes,))))
    return len(body).to_bytes(_LENGTH_BYTES, "little") + body


class _Unframer:
    """Cuts a stream of bytes into the bodies of frames."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def bodies(self, data: bytes) -> Iterator[bytes]:
        """The frames that are complete with these bytes; the rest is kept for the next call."""
        self._waiting += data
        start = 0
        while len(self._waiting) >= start + _LENGTH_BYTES:
            body = start + _LENGTH_BYTES
            end = body + int.from_bytes(self._waiting[start:body], "little")
            if len(self._waiting) < end:
                break
            yield bytes(self._waiting[body:end])
            start = end
        del self._waiting[:start]


class QuestionReader(_Unframer):
    """Bytes in, questions out."""

    def feed(self, data: bytes) -> list[Question]:
        """The questions that are complete with these bytes."""
        return [_questions.decode(body) for body in self.bodies(data)]


class AnswerReader(_Unframer):
    """Bytes in, answers out."""

    def feed(self, data: bytes) -> list[Answer]:
        """The answers that are complete with these bytes."""
        return [_answers.decode(body) for body in self.bodies(data)]
