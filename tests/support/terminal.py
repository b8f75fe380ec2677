"""A terminal that a test holds in its hand: runs a program in a PTY and reads what a person would see.

The screen is pyte's; its parser stumbles over a few private sequences of newer terminals, which are
taken out before. Nothing sleeps: `wait_for` reads until the screen says what is expected.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from types import TracebackType

import pyte
from support.command import environment

PRIVATE = re.compile(
    rb"\x1b\[[<>=][0-9;:]*[a-zA-Z]|\x1b\[\?[0-9;]*\$p|\x1b\[\?2026[hl]|\x1b\]\d+;[^\x07\x1b]*(\x07|\x1b\\)|\x1b[P_^][^\x1b]*\x1b\\"
)
UNFINISHED = re.compile(rb"\x1b([\[\]P_^][^a-zA-Z~\x07\x1b]{0,200})?$")
KEYS = {
    "enter": "\r", "escape": "\x1b", "tab": "\t", "up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D",
    "backspace": "\x7f", "delete": "\x1b[3~", "home": "\x1b[H", "end": "\x1b[F", "pageup": "\x1b[5~", "pagedown": "\x1b[6~",
    "f1": "\x1bOP", "f2": "\x1bOQ", "f3": "\x1bOR", "f4": "\x1bOS", "f12": "\x1b[24~",
}  # fmt: skip


class Terminal:
    """A program in a PTY of a given size."""

    def __init__(self, command: Sequence[str], columns: int = 120, rows: int = 36, **changes: str) -> None:
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.written = b""
        """All that the program wrote."""
        self._rest = b""
        self.leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        changes = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "COLORFGBG": "15;0", **changes}
        self.process = subprocess.Popen(
            command, stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), env=environment(**changes),
        )  # fmt: skip
        os.close(follower)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            sys.stderr.write(f"\n--- the screen at the end ---\n{self.text}\n")
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.leader)

    @property
    def text(self) -> str:
        """The screen, line by line."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    @property
    def hides_typing(self) -> bool:
        """Whether what is typed is not shown, as for a password."""
        return not termios.tcgetattr(self.leader)[3] & termios.ECHO

    def read(self, seconds: float) -> bool:
        """Take in what the program wrote, waiting for it at most so long; False when there was nothing."""
        ready, _, _ = select.select([self.leader], [], [], seconds)
        if not ready:
            return False
        try:
            chunk = os.read(self.leader, 1 << 20)
        except OSError:  # the program has ended
            return False
        self.written += chunk
        self._answer(chunk)
        chunk = self._rest + chunk
        cut = found.start() if (found := UNFINISHED.search(chunk)) else len(chunk)
        self._rest = chunk[cut:]
        self.stream.feed(PRIVATE.sub(b"", chunk[:cut]))
        return bool(chunk)

    def _answer(self, chunk: bytes) -> None:
        """Answer as a terminal does: its kind, and where the cursor is."""
        if b"\x1b[c" in chunk:
            os.write(self.leader, b"\x1b[?62;c")
        if b"\x1b[6n" in chunk:
            os.write(self.leader, b"\x1b[1;1R")

    def send(self, *keys: str) -> None:
        """Type keys: names (`enter`, `ctrl+j`) or text."""
        for key in keys:
            if key in KEYS:
                code = KEYS[key]
            elif re.fullmatch(r"ctrl\+[a-z]", key):
                code = chr(ord(key[-1]) - 96)
            else:
                code = key
            os.write(self.leader, code.encode())

    def paste(self, text: str) -> None:
        """Paste as a terminal with bracketed paste does."""
        os.write(self.leader, b"\x1b[200~" + text.encode() + b"\x1b[201~")

    def click(self, text: str) -> None:
        """Click on the first place where a text stands."""
        for row, line in enumerate(self.screen.display):
            if (column := line.find(text)) >= 0:
                for end in "Mm":
                    os.write(self.leader, f"\x1b[<0;{column + 1 + len(text) // 2};{row + 1}{end}".encode())
                return
        raise AssertionError(f"{text!r} is not on the screen:\n{self.text}")

    def wait_for(self, expected: str | Callable[[str], bool], seconds: float = 60) -> str:
        """Read until a pattern, or a condition, holds for the screen; the screen then."""
        deadline = time.monotonic() + seconds
        holds = expected if callable(expected) else re.compile(expected).search
        while not holds(self.text):
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {seconds} s for {expected!r}; the screen:\n{self.text}")
            if not self.read(0.1) and self.process.poll() is not None and not self.read(0.1):
                if holds(self.text):
                    break
                raise AssertionError(f"the program ended ({self.process.returncode}) before {expected!r}:\n{self.text}")
        return self.text

    def wait_for_end(self, seconds: float = 30) -> int:
        """Read until the program has ended; its exit code."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"the program did not end within {seconds} s; the screen:\n{self.text}")
            self.read(0.05)
        while self.read(0):
            pass
        return self.process.returncode


def chatterm(*arguments: str, columns: int = 120, rows: int = 36, **changes: str) -> Terminal:
    """The app in a terminal."""
    return Terminal([sys.executable, "-m", "chatterm", *arguments], columns, rows, **changes)
