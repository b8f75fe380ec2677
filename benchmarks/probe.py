"""Runs a terminal program in a pseudo-terminal and measures what its user would see.

A thread reads what the program writes and notes when each piece came; nothing is interpreted while
a measurement runs. Knows nothing about what the program does.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import psutil
import pyte

SYNCHRONISED = re.compile(rb"\x1b\[\?2026\$p")
"""The program asks whether output can be shown in one piece; a modern terminal says yes."""


class Program:
    """A program that runs in a terminal of so many columns and rows."""

    def __init__(self, argv: Sequence[str], columns: int = 120, rows: int = 36) -> None:
        self.argv = list(argv)
        self.columns, self.rows = columns, rows
        self.pieces: list[tuple[float, bytes]] = []
        """What the program wrote, with the time of arrival (`time.monotonic`)."""
        self.started_at = 0.0
        self._arrived = threading.Condition()
        self._is_over = False

    def __enter__(self) -> Self:
        self._terminal, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", self.rows, self.columns, 0, 0))
        environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "LINES")}
        environment |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
        self.started_at = time.monotonic()
        self._process = subprocess.Popen(
            self.argv, stdin=inner, stdout=inner, stderr=inner, env=environment, start_new_session=True
        )
        os.close(inner)
        self._tree = psutil.Process(self._process.pid)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)
        os.close(self._terminal)

    def _read(self) -> None:
        """Collect what the program writes, until it ends."""
        while not self._is_over:
            if not select.select([self._terminal], [], [], 0.1)[0]:
                continue
            try:
                piece = os.read(self._terminal, 1 << 16)
            except OSError:
                break
            now = time.monotonic()
            if SYNCHRONISED.search(piece):
                os.write(self._terminal, b"\x1b[?2026;2$y")
            with self._arrived:
                self.pieces.append((now, piece))
                self._arrived.notify_all()
        with self._arrived:
            self._is_over = True
            self._arrived.notify_all()

    def write(self, keys: str) -> None:
        """Press keys."""
        os.write(self._terminal, keys.encode())

    def wait_for(self, text: str, seconds: float = 60.0, since: int = 0) -> float:
        """When a text was written; it must be written in one run.

        Args:
            text: What is looked for.
            seconds: Deadline.
            since: Number of pieces that are left out.

        Raises:
            TimeoutError: it was not written in time, or the program ended before.
        """
        wanted, tail = text.encode(), b""
        deadline = time.monotonic() + seconds
        with self._arrived:
            while True:
                for now, piece in self.pieces[since:]:
                    joined = tail + piece
                    if wanted in joined:
                        return now
                    tail = joined[-len(wanted) :]
                since = len(self.pieces)
                if self._is_over or not self._arrived.wait(max(deadline - time.monotonic(), 0.0)):
                    break
        raise TimeoutError(f"{text!r} was not shown; the screen is:\n{self.screen()}")

    def wait_until_quiet(self, seconds: float = 0.4, deadline_seconds: float = 20.0) -> None:
        """Wait until nothing was written for some time."""
        deadline = time.monotonic() + deadline_seconds
        while time.monotonic() < deadline:
            with self._arrived:
                n_pieces = len(self.pieces)
                self._arrived.wait(seconds)
                if len(self.pieces) == n_pieces:
                    return

    def cpu_seconds(self) -> float:
        """What the program and its children have used until now."""
        total = 0.0
        for process in [self._tree, *self._tree.children(recursive=True)]:
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        return total

    def memory_mb(self) -> float:
        """Resident memory of the program itself."""
        return float(self._tree.memory_info().rss) / 1e6

    def screen(self) -> str:
        """What stands on the screen now."""
        terminal = pyte.Screen(self.columns, self.rows)
        stream = pyte.ByteStream(terminal)
        for _, piece in self.pieces:
            # pyte does not know sequences with a "<", "=" or ">" and would print them
            stream.feed(re.sub(rb"\x1b\[[<=>][0-9;]*[a-zA-Z]|\x1b\[\?[0-9;]*\$p", b"", piece))
        return "\n".join(row.rstrip() for row in terminal.display)

    def key_latencies(
        self, n_keys: int, pause_seconds: float, goes_on: Callable[[], bool] = lambda: True
    ) -> list[float]:
        """Milliseconds from a key to the text field showing it, for so many keys.

        Args:
            n_keys: At most so many.
            pause_seconds: Between two keys; a part of it changes from key to key, so that no rhythm is met.
            goes_on: Asked before each key.
        """
        letters = "QZXJKV"
        typed = ""
        found = []
        for number in range(n_keys):
            if not goes_on():
                break
            letter = letters[(number * number + number // 7) % len(letters)]
            typed += letter
            since = len(self.pieces)
            pressed_at = time.monotonic()
            self.write(letter)
            found.append((self.wait_for(typed[-4:], 20, since) - pressed_at) * 1000)
            if len(typed) == 16:
                self.write("\x15")  # ctrl+u empties the field
                typed = ""
            time.sleep(pause_seconds * (0.6 + 0.8 * (number * 7 % 11) / 10))
        return found


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which so much of all lies.

    Example: [1, 2, 3], 0.5 -> 2
    """
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("nan")


def python(*arguments: str) -> list[str]:
    """The command line of this Python."""
    return [sys.executable, *arguments]
