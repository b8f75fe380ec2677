"""The worker process as its parent sees it: start it, write to it, read from it, learn why it ended.

Knows frames and processes; it does not know what the questions mean.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from chatterm import paths
from chatterm.engine.wire import Answer, AnswerReader, Asked, Done, Failure, Question, Stop, frame
from chatterm.errors import WorkerDied

COMMAND = (sys.executable, "-m", "chatterm.engine.worker")
_LOG_LIMIT_BYTES = 1_000_000
_LOG_TAIL_BYTES = 8_000
_END_SECONDS = 1.0
"""How long a worker may take to end once its standard input is closed."""
_AGAIN = "Start the model again; nothing that was said is lost."


class WorkerProcess:
    """One run of the worker."""

    def __init__(self, process: asyncio.subprocess.Process, log_start: int) -> None:
        self.process = process
        self.ended = asyncio.Event()
        """Set when the process is gone and its last answers can be had."""
        self._answers: dict[int, asyncio.Queue[Answer | None]] = {}
        """What it said to each question that somebody waits for, oldest first; None says that it has ended."""
        self.on_end: Callable[[WorkerProcess], None] = lambda _: None
        self._log_start = log_start
        self._n_asked = 0
        self._reading = asyncio.create_task(self._read(), name="worker answers")

    @classmethod
    async def start(cls, command: Sequence[str] = COMMAND) -> WorkerProcess:
        """A new process; what it prints goes to the engine's log file.

        Raises:
            WorkerDied: the system would not start it.
        """
        log, log_start = _open_log()
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=_environment(),
                start_new_session=True,  # ctrl+c in the terminal is the app's to handle
            )
        except OSError as error:
            raise WorkerDied(
                f"The model's process could not be started: {error.strerror or error}.",
                "Close other programs, then try again.",
            ) from error
        finally:
            os.close(log)
        return cls(process, log_start)

    @property
    def is_running(self) -> bool:
        """False as soon as the system has taken notice of its end."""
        return self.process.returncode is None and not self.ended.is_set()

    def ask(self, ask: Asked) -> int:
        """Write a question; its number is in all answers to it."""
        self._n_asked += 1
        self._answers[self._n_asked] = asyncio.Queue()
        if self.ended.is_set():
            self._answers[self._n_asked].put_nowait(None)
        self._write(Question(self._n_asked, ask))
        return self._n_asked

    def stop(self, number: int) -> None:
        """Ask that an earlier question is answered no further."""
        self._write(Question(number, Stop()))

    async def answer(self, number: int) -> Answer:
        """The next answer to a question; after the last one it is forgotten.

        Raises:
            WorkerDied: the process ended before it answered.
        """
        answer = await self._answers[number].get()
        if answer is None:
            self.forget(number)
            raise self.death()
        if isinstance(answer.event, Done | Failure):
            self.forget(number)
        return answer

    def forget(self, number: int) -> None:
        """Pass over whatever is still answered to a question."""
        self._answers.pop(number, None)

    def kill(self) -> None:
        """End it now; `ended` tells when that is done."""
        with suppress(ProcessLookupError):
            self.process.kill()

    async def end(self) -> None:
        """Let it end, which frees all that it holds; kill it if that takes too long."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), _END_SECONDS)
        self.kill()
        await self.ended.wait()

    def death(self) -> WorkerDied:
        """Why it ended, in words."""
        code = self.process.returncode
        return WorkerDied(*_cause(0 if code is None else code, self._log_tail()))

    def _write(self, question: Question) -> None:
        """Into the pipe; a worker that is gone is noticed by the reader."""
        assert self.process.stdin is not None
        if not self.process.stdin.is_closing():
            self.process.stdin.write(frame(question))

    async def _read(self) -> None:
        """Collect answers until the pipe is closed, then the process."""
        assert self.process.stdout is not None
        reader = AnswerReader()
        try:
            while data := await self.process.stdout.read(1 << 16):
                for answer in reader.feed(data):
                    if answer.number in self._answers:
                        self._answers[answer.number].put_nowait(answer)
        except BaseException:
            self.kill()
            raise
        finally:
            await self.process.wait()
            self.ended.set()
            for waiting in self._answers.values():
                waiting.put_nowait(None)
            self.on_end(self)

    def _log_tail(self) -> str:
        """The last lines of the log, of this run."""
        try:
            with paths.engine_log_file().open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(min(self._log_start, size), size - _LOG_TAIL_BYTES))
                return log.read().decode("utf-8", "replace")
        except OSError:
            return ""


def _environment() -> dict[str, str]:
    """The worker's environment: it must find this package, and must not start a debugger when ggml aborts."""
    root = Path(__file__).resolve().parent.parent.parent
    environment = {**os.environ, "GGML_NO_BACKTRACE": "1", "PYTHONSAFEPATH": "1"}
    if root.name not in ("site-packages", "dist-packages"):
        known = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = f"{root}{os.pathsep}{known}" if known else str(root)
    return environment


def _open_log() -> tuple[int, int]:
    """A descriptor for the worker's log, and where its own lines begin; the log is kept small."""
    path = paths.engine_log_file()
    try:
        paths.ensure(path.parent)
        if path.exists() and path.stat().st_size > _LOG_LIMIT_BYTES:
            path.replace(path.with_suffix(".old.log"))
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:  # a log is not worth a failure
        return os.open(os.devnull, os.O_WRONLY), 0
    return log, os.fstat(log).st_size


def _cause(code: int, log: str) -> tuple[str, str]:
    """What an exit code means, and what to do."""
    if code >= 0:
        return (
            f"The model's process ended with exit code {code}{_said(log)}.",
            f"{_AGAIN} More is in {paths.engine_log_file()}.",
        )
    match -code:
        case signal.SIGKILL:
            return (
                "The model's process was killed (SIGKILL). If you did not do that, the system may have ended it for memory.",
                f"{_AGAIN} If it happens again, try a smaller context window or a smaller model.",
            )
        case signal.SIGABRT:
            return f"llama.cpp gave up (SIGABRT){_said(log)}.", f"{_AGAIN} More is in {paths.engine_log_file()}."
        case signal.SIGTERM | signal.SIGINT | signal.SIGHUP as number:
            return f"Somebody ended the model's process ({_name(number)}).", _AGAIN
        case signal.SIGBUS:
            return (
                "The model file was changed or cut while it was in use (SIGBUS).",
                "Load the model again; fetch the file again if it cannot be loaded.",
            )
        case number:
            return (
                f"The model's process crashed ({_name(number)}){_said(log)}.",
                f"{_AGAIN} More is in {paths.engine_log_file()}.",
            )


def _name(number: int) -> str:
    """A signal's name.

    Example: 11 -> "SIGSEGV"
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _said(log: str) -> str:
    """The last assertion or exception in a log as the end of a sentence, or nothing."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    telling = [
        line for line in lines if re.search(r"GGML_ASSERT|GGML_ABORT|[A-Z]\w*(Error|Exception)\b|what\(\)", line)
    ]
    return f": {telling[-1][:300].rstrip('.')}" if telling else ""
