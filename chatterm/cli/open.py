"""Opens the app: joins settings, store, engine and library, the heavy ones only behind the first paint."""

from __future__ import annotations

import gc
import sys

from chatterm.cli.join import load_settings, make_downloads, make_engine, make_library, open_store
from chatterm.errors import SettingsError
from chatterm.settings import Settings


def open_app(model: str = "", *, continue_latest: bool = False) -> int:
    """Run the app until it is closed; the exit code."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        sys.stderr.write('chatterm: the app needs a terminal. In a pipe, use `chatterm ask "..."`.\n')
        return 2
    gc.disable()  # what the start makes, stays; the app collects again when all is there
    from chatterm.ui.app import ChatApp
    from chatterm.ui.background import ask_background

    chosen, problem = Settings(), None
    try:
        chosen = load_settings()
    except SettingsError as error:
        problem = error
    terminal = None if chosen.look.theme else ask_background()

    app = ChatApp(
        open_store,
        lambda: make_engine(chosen),
        lambda: make_library(chosen),
        chosen,
        problem=problem,
        model=model,
        continue_latest=continue_latest,
        terminal=terminal,
        make_downloads=make_downloads,
    )
    app.run()
    return app.return_code or 0
