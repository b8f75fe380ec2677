"""The worker's life: one thread reads questions and sets the stop flag, the other answers them.

When the parent is gone, however it went, the pipe to it ends and so does this process, at once and
in the middle of whatever it does.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

from chatterm.engine.base import TokenPiece
from chatterm.engine.wire import (
    Answer,
    Answered,
    Counted,
    CountPrompt,
    Done,
    Failure,
    Inspect,
    Inspected,
    LoadModel,
    MakeReport,
    Pieces,
    PromptPieces,
    Question,
    QuestionReader,
    Reported,
    ShowWindow,
    SplitPrompt,
    SplitText,
    Stop,
    Window,
    WriteReply,
    frame,
)
from chatterm.engine.worker.compose import Composer
from chatterm.engine.worker.context import StopFlag
from chatterm.engine.worker.generate import Cut, Reply
from chatterm.engine.worker.glass.box import GlassBox
from chatterm.engine.worker.library import Library, missing_report, open_library
from chatterm.engine.worker.load import LoadedModel, load
from chatterm.engine.worker.pieces import prompt_pieces, window_report
from chatterm.errors import ChattermError, LibraryMissing, LoadCancelled, ModelNotFound, OutOfMemory
from chatterm.events import Measured, Token

_PAUSE_SECONDS = 0.015
"""The parent is not woken more often for tokens; the screen is drawn less often still."""

_PATIENCE = 5.0
"""Between two looks inside while a reply is written, how many times as long as the last one took."""


class Worker:
    """Answers questions, one after the other."""

    def __init__(self, questions: int, answers: int) -> None:
        """Take the two ends of pipes, as descriptors."""
        self._questions = questions
        self._outbox = Outbox(answers)
        self._flag = StopFlag()
        self._queue: SimpleQueue[Question] = SimpleQueue()
        self._library: Library | LibraryMissing | None = None
        self._model: LoadedModel | None = None
        self._last: Cut | None = None
        self._glass: GlassBox | None = None
        self._later: deque[Question] = deque()
        """Questions that came while a reply was written, and that have to wait for its end."""
        self._next_look = 0.0
        """When the glass box may be used again in the middle of a reply."""

    def run(self) -> None:
        """Answer for as long as the parent lives."""
        threading.Thread(target=self._listen, name="questions", daemon=True).start()
        self._open_library()
        while True:
            question = self._later.popleft() if self._later else self._queue.get()
            self._flag.begin(question.number)
            self._answer(question)

    def _listen(self) -> None:
        """Read questions; a stop is obeyed right here, since the other thread is busy with what it stops."""
        reader = QuestionReader()
        try:
            while data := os.read(self._questions, 1 << 16):
                for question in reader.feed(data):
                    if isinstance(question.ask, Stop):
                        self._flag.stop(question.number)
                    else:
                        self._queue.put(question)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def _answer(self, question: Question) -> None:
        """One question, to its last answer."""

        def send(event: Answered) -> None:
            self._outbox.send(Answer(question.number, event))

        try:
            self._dispatch(question, send)
        except LoadCancelled:
            send(Done())
        except MemoryError as error:
            failure = OutOfMemory("Python itself found no memory.", "Try a smaller context window or model.")
            failure.__cause__ = error
            send(Failure.of(failure))
        except ChattermError as error:
            send(Failure.of(error))
        else:
            send(Done())

    def _dispatch(self, question: Question, send: Callable[..., None]) -> None:
        """Do what is asked."""
        match question.ask:
            case LoadModel() as ask:
                self._load(ask, send)
            case WriteReply() as ask:
                self._reply(ask, send)
            case SplitText(text):
                send(Pieces(self._pieces(text)))
            case CountPrompt(prompt):
                model = self._loaded()
                composer = Composer(model.vocabulary, model.template, model.context.n_ctx)
                send(Counted(len(composer.whole(prompt).tokens)))
            case Inspect(request):
                send(Inspected(self._glass_box().answer(request)))
            case SplitPrompt(prompt):
                send(PromptPieces(prompt_pieces(self._loaded(), prompt, self._last)))
            case ShowWindow():
                send(Window(window_report(self._loaded(), self._last)))
            case MakeReport():
                library = self._open_library()
                report = library.report() if isinstance(library, Library) else missing_report(library)
                send(Reported(report))

    def _load(self, ask: LoadModel, send: Callable[..., None]) -> None:
        """Free the model that is there, then load the other one."""
        library = self._open_library()
        if isinstance(library, LibraryMissing):
            raise library
        if self._glass is not None:
            self._glass.close()
            self._glass = None
        if self._model is not None:
            self._model.close()
        self._model = self._last = None
        self._model = load(library, Path(os.fsdecode(ask.path)), ask.options, self._flag, send)

    def _reply(self, ask: WriteReply, send: Callable[..., None]) -> None:
        """Write a reply, and remember its tokens."""
        reply = Reply(self._loaded(), ask, self._flag, send, self._last, self._look_aside)
        try:
            reply.run()
        finally:
            self._last = reply.cut
            reply.close()

    def _look_aside(self) -> None:
        """Answer one of the looks inside that were asked for meanwhile; often enough, but never for long."""
        begin = time.monotonic()
        if begin < self._next_look:
            return
        question = self._next_inspection()
        if question is not None:
            self._answer(question)
            now = time.monotonic()
            self._next_look = now + _PATIENCE * (now - begin)

    def _next_inspection(self) -> Question | None:
        """The next look that was asked for; other questions are put off."""
        while not self._queue.empty():
            question = self._queue.get_nowait()
            if not isinstance(question.ask, Inspect):
                self._later.append(question)
            elif not self._flag.is_wanted(question.number):
                return question
        return None

    def _pieces(self, text: str) -> list[TokenPiece]:
        """A text as user text, in tokens."""
        vocabulary = self._loaded().vocabulary
        ids = vocabulary.tokenize(text, parse_special=False)
        return [TokenPiece(token, vocabulary.piece(token, special=True), vocabulary.is_control(token)) for token in ids]

    def _glass_box(self) -> GlassBox:
        """What looks inside the model, made when it is first asked to."""
        if self._glass is None:
            self._glass = GlassBox(self._loaded(), self._flag)
        return self._glass

    def _loaded(self) -> LoadedModel:
        if self._model is None:
            raise ModelNotFound("No model is loaded.", "Choose one in the settings.")
        return self._model

    def _open_library(self) -> Library | LibraryMissing:
        """llama.cpp, or why it cannot be used; found out once."""
        if self._library is None:
            try:
                self._library = open_library()
            except LibraryMissing as error:
                self._library = error
        return self._library


class Outbox:
    """The way to the parent, which is woken for several tokens at once where they come quickly."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._held = bytearray()
        self._last = 0.0

    def send(self, answer: Answer) -> None:
        """Write a frame; a token may wait for the next one, which then comes in a moment."""
        self._held += frame(answer)
        now = time.monotonic()
        if isinstance(answer.event, Token | Measured) and now - self._last < _PAUSE_SECONDS:
            return
        self._last = now
        rest = memoryview(bytes(self._held))
        self._held.clear()
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except BrokenPipeError:  # the parent is gone
            os._exit(0)
