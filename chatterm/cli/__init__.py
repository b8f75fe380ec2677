"""The command line: builds settings, store, engine, chat and app, and joins them (the only such place).

`chatterm` alone opens the app without importing Typer, so that the first paint comes sooner;
everything else goes through the Typer commands in `cli.commands`.
"""

from __future__ import annotations

import sys


def main() -> None:
    """The `chatterm` command."""
    if sys.argv[1:] == ["--version"]:
        from chatterm import __version__

        sys.stdout.write(f"chatterm {__version__}\n")
        return
    if not sys.argv[1:]:
        from chatterm.cli.open import open_app

        raise SystemExit(open_app())
    from chatterm.cli.commands import run

    raise SystemExit(run())
