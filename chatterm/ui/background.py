"""Whether the terminal is dark or light, asked before the app takes it over.

The question is OSC 11; behind it goes a request that every terminal answers (primary device
attributes), so that one which does not know its background costs no waiting. Knows nothing of
Textual and imports nothing heavy.
"""

from __future__ import annotations

import os
import re
import select
import time
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

_QUESTION = b"\x1b]11;?\x1b\\\x1b[c"
_ANSWER = re.compile(rb"\x1b\]11;(?:rgba?:|#)([0-9a-fA-F/]+)(?:\x07|\x1b\\)")
_SENTINEL = re.compile(rb"\x1b\[\?[0-9;]*c")
_LONGEST_ANSWER = 4096
_ESCAPES = re.compile(rb"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-9;?<=>]*[a-zA-Z~]|\x1bO?.")
"""Answers, and keys that are no characters."""
_UNFINISHED = re.compile(rb"(?:\x1b(?:\][^\x07\x1b]*\x1b?|\[\??[0-9;]*)?)?\Z")
_LATE_COLOUR = re.compile(r"\^?\]11;[0-9a-zA-Z:/#]*(?:\x07|\^?\\)")
_LATE_SENTINEL = re.compile(r"\^?\[\?[0-9;]*c")
_LATE_BEGINNING = re.compile(r"\^|\^?\](?:1|11|11;[0-9a-zA-Z:/#]*\^?)?|\^?\[(?:\?[0-9;]*)?")


class Asked(NamedTuple):
    """What came back from the terminal."""

    is_dark: bool | None = None
    """Whether its background is dark; None when nobody can tell."""
    typed: str = ""
    """What the user typed meanwhile."""
    late: LateAnswer | None = None
    """Knows the rest of the answer when it comes; None when all of it is here."""


def ask_background(terminal: str = "/dev/tty", deadline_seconds: float | None = None) -> Asked:
    """Ask for the background; takes a millisecond or two where the terminal answers.

    Args:
        terminal: Which one is asked; without one, only the environment is.
        deadline_seconds: How long a silent terminal is waited for; by default 0.1, and 1 over SSH,
            where an answer is on its way for longer.
    """
    if deadline_seconds is None:
        deadline_seconds = 1.0 if "SSH_CONNECTION" in os.environ else 0.1
    answer = _ask(terminal, deadline_seconds)
    is_dark = _is_dark(answer or b"")
    if is_dark is None:
        is_dark = _from_environment(os.environ.get("COLORFGBG", ""))
    if answer is None:
        return Asked(is_dark)
    rest = b"" if _SENTINEL.search(answer) else _UNFINISHED.search(answer)[0]  # type: ignore[index]  # it can be empty
    typed = _ESCAPES.sub(b"", answer.removesuffix(rest) if rest else answer).decode("utf-8", "ignore")
    late = None if _SENTINEL.search(answer) else LateAnswer(rest.decode("ascii", "ignore"))
    return Asked(is_dark, "".join(c for c in typed if c.isprintable()), late)


class LateAnswer:
    """Tells an answer that comes when nobody waits for it any more from what the user types.

    It gets characters as they come as keys; an escape comes as `^`, or not at all.
    """

    def __init__(self, begun: str = "", patience_seconds: float = 10.0) -> None:
        """Wait for the whole answer, or for the rest of it."""
        self._held: list[Any] = []
        self._text = begun.replace("\x1b", "^")
        self._until = time.monotonic() + patience_seconds
        self.is_due = True
        """Whether something may still come."""

    def sort(self, key: T, character: str) -> list[T]:
        """The keys that the user typed, as far as that is known after this one; those before it first."""
        self._text += character
        self._held.append(key)
        if character and time.monotonic() < self._until:
            if _LATE_COLOUR.fullmatch(self._text):
                self._held, self._text = [], ""
                return []
            if _LATE_SENTINEL.fullmatch(self._text):
                self._held, self.is_due = [], False
                return []
            if _LATE_BEGINNING.fullmatch(self._text):
                return []
        else:
            self.is_due = time.monotonic() < self._until
        typed, self._held, self._text = self._held, [], ""
        return typed


def _ask(terminal: str, deadline_seconds: float) -> bytes | None:
    """What the terminal sends back, all of it; None when there is no terminal to ask."""
    try:
        import termios  # late: not on every platform
    except ImportError:
        return None
    try:
        tty = os.open(terminal, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)  # a stopped terminal must not stop us
    except OSError:
        return None
    try:
        if os.tcgetpgrp(tty) != os.getpgrp():
            return None  # in the background: asking would stop the process
        before = termios.tcgetattr(tty)
        quiet = termios.tcgetattr(tty)
        quiet[3] &= ~(termios.ECHO | termios.ICANON)
        termios.tcsetattr(tty, termios.TCSANOW, quiet)
        try:
            os.write(tty, _QUESTION)
            return _read(tty, deadline_seconds)
        finally:
            termios.tcsetattr(tty, termios.TCSANOW, before)
    except (OSError, termios.error):
        return None
    finally:
        os.close(tty)


def _read(tty: int, deadline_seconds: float) -> bytes:
    """Bytes up to the sentinel's answer or the deadline; an answer that has begun gets as long again."""
    answer = b""
    deadline = time.monotonic() + deadline_seconds
    latest = deadline + deadline_seconds
    while not _SENTINEL.search(answer) and len(answer) < _LONGEST_ANSWER:
        until = latest if b"\x1b" in answer else deadline
        remaining = until - time.monotonic()
        if remaining <= 0 or not select.select([tty], [], [], remaining)[0]:
            break
        chunk = os.read(tty, 1024)
        if not chunk:
            break
        answer += chunk
    return answer


def _is_dark(answer: bytes) -> bool | None:
    """Whether white is easier to read than black on the colour in an answer; None without one.

    Example: b"ESC ]11;rgb:ffff/ffff/ffff BEL" -> False
    """
    if not (found := _ANSWER.search(answer)):
        return None
    text = found.group(1).decode("ascii")
    size = len(text) // 3
    channels = text.split("/") if "/" in text else [text[i * size : (i + 1) * size] for i in range(3)]
    if len(channels) < 3 or not all(channels[:3]):
        return None
    red, green, blue = (_linear(int(channel, 16) / (16 ** len(channel) - 1)) for channel in channels[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.179


def _linear(channel: float) -> float:
    """A channel without its gamma. Source: WCAG 2.2, relative luminance."""
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)


def _from_environment(colours: str) -> bool | None:
    """What some terminals say in `COLORFGBG`, the background's number being last; None without one.

    Example: "15;default;0" -> True
    """
    last = colours.rpartition(";")[2]
    if not last.isdecimal() or int(last) > 15:
        return None
    return int(last) in {0, 1, 2, 3, 4, 5, 6, 8}
