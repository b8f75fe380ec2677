"""The command line: builds settings, store, engine, chat and app, and joins them (the only such place).

`chatterm` alone opens the app without importing Typer, so that the first paint comes sooner;
everything else goes through the Typer commands in `cli.commands`.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """The `chatterm` command."""
    from chatterm.cli import streams

    streams.mend()
    if sys.argv[1:] or "_CHATTERM_COMPLETE" in os.environ:  # the shell asks what a word may become
        raise SystemExit(streams.guarded(_run))
    from chatterm.cli.open import open_app

    raise SystemExit(open_app())


def _run() -> int:
    """A command, its exit code."""
    if sys.argv[1:] == ["--version"]:
        from chatterm import __version__

        sys.stdout.write(f"chatterm {__version__}\n")
        return 0
    from chatterm.cli.commands import run

    return run()
