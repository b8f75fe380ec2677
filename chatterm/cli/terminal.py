"""Plain output for the commands: what is data goes to stdout, what is said about it to stderr.

Text that comes from a model, a file name or the Hub is untrusted: on a terminal its control
characters are shown, never obeyed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import typer

from chatterm.errors import ChattermError, FileNotChosen
from chatterm.text import amount, expressible, line, plain


def is_terminal(stream: IO[str]) -> bool:
    """Whether a person reads this stream."""
    return stream.isatty()


def write_json(record: Any) -> None:
    """Print a record as one JSON object on a line of its own, at once."""
    import msgspec

    try:
        encoded = msgspec.json.encode(record, enc_hook=str)
    except UnicodeEncodeError:  # a file name that is no UTF-8
        encoded = msgspec.json.encode(expressible(msgspec.to_builtins(record, enc_hook=str)))
    sys.stdout.flush()
    sys.stdout.buffer.write(encoded + b"\n")  # UTF-8, whatever the terminal speaks
    sys.stdout.flush()


def argument(given: str) -> str:
    """An argument as text: bytes that are no UTF-8 are replaced, as they are in what is piped in."""
    return os.fsencode(given).decode("utf-8", "replace")


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


@contextmanager
def told() -> Iterator[None]:
    """Turns errors into what is said on stderr and an exit code."""
    try:
        yield
    except FileNotChosen as error:
        say(f"chatterm: {error.message} {error.remedy}")
        for row in aligned([(amount(size), file) for file, size in error.candidates]):
            say(f"  {row}")
        raise typer.Exit(2) from error
    except ChattermError as error:
        raise fail(error) from error


def aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Rows as lines with columns; names of files come from anywhere, so they are made harmless."""
    from rich.cells import cell_len, set_cell_size  # late: many commands make no table

    rows = [tuple(line(cell) for cell in row) for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
