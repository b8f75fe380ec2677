"""Standard input, output and error as a command needs them, whatever the shell has made of them.

Imports next to nothing: the app's first paint waits for it.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable


def mend() -> None:
    """Give streams that the shell has closed something to hold on to; each would be None, its number the next file's.

    Letters that the terminal's encoding lacks become "?" instead of an error.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # Output that was closed leads to a descriptor for reading: so it is noticed that it is lost.
            _to_nothing(number, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def guarded(command: Callable[[], int]) -> int:
    """The exit code of a command, also where it is interrupted, or its output cannot be written."""
    try:
        code = command()
        sys.stdout.flush()
    except KeyboardInterrupt:  # while it was still importing
        return 130
    except BrokenPipeError:  # the reader has enough
        import signal  # late: it is rarely needed

        _to_nothing(sys.stdout.fileno(), os.O_WRONLY)  # or Python complains when it flushes at its end
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.filename is not None:  # not a stream
            raise
        _to_nothing(sys.stdout.fileno(), os.O_WRONLY)
        sys.stderr.write(f"chatterm: the output cannot be written: {error.strerror or error}.\n")
        return 1
    return code


def _to_nothing(number: int, mode: int) -> None:
    """Let a descriptor lead to the null device."""
    nothing = os.open(os.devnull, mode)
    if nothing != number:
        os.dup2(nothing, number)
        os.close(nothing)
