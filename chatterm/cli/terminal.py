"""Plain output for the commands: what is data goes to stdout, what is said about it to stderr.

Text that comes from a model, a file name or the Hub is untrusted: on a terminal its control
characters are shown, never obeyed.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from typing import IO

import typer

from chatterm.errors import ChattermError

BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the reading direction of what follows, even outside their own text."""


def is_safe(character: str) -> bool:
    """Whether a terminal only draws this character: not an escape, another control, or a change of direction."""
    if character in "\n\t":
        return True
    return unicodedata.category(character) not in {"Cc", "Cs"} and character not in BIDI


def plain(text: str) -> str:
    r"""A text in which nothing can steer a terminal.

    Example: "a\x1b[31mb" -> "a�[31mb"
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if is_safe(character) else "\ufffd" for character in text)


def line(text: str) -> str:
    """The same for text that must stay on one line, such as a title or a file name."""
    return plain(" ".join(text.split()))


def is_terminal(stream: IO[str]) -> bool:
    """Whether a person reads this stream."""
    return stream.isatty()


def has_colour(stream: IO[str]) -> bool:
    """Whether this stream may be coloured: a terminal that can, and NO_COLOR is not set."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def say(text: str) -> None:
    """A line for the person, on stderr."""
    sys.stderr.write(f"{plain(text)}\n")


def fail(error: ChattermError) -> typer.Exit:
    """Say what went wrong and what to do; to be raised: the command's exit code is 1."""
    say(f"chatterm: {error.message}")
    if error.remedy:
        say(f"  {error.remedy}")
    return typer.Exit(1)
