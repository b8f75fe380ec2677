"""The glass box in a real terminal, with real llama.cpp: opened, resized, its worker killed, and closed with the app."""

from __future__ import annotations

import fcntl
import struct
import termios
from pathlib import Path

import psutil
import pytest
from support.terminal import Terminal, chatterm
from support.tiny_models import write_chain

from chatterm import paths

READY = r"\bready\b"
SAID = {
    "1": "part of",
    "2": "stands here",
    "3": "of 1,024 tokens",
    "4": "heads 1 to",
    "5": "bars follow",
    "6": "most similar tokens",
    "7": "1 answer to this question",
}
"""What each view says of the last token."""


@pytest.fixture
def model(own_folders: Path, tmp_path: Path) -> Path:
    """A model that says one sentence, and settings for it."""
    path = paths.settings_file()
    paths.ensure(path.parent)
    path.write_text("[sampling]\ntemperature = 0.0\n[load]\nn_threads = 1\nn_ctx = 1024\n")
    return write_chain(tmp_path / "sky.gguf", ["The", " sky", " is", " blue", "."])


def ask(terminal: Terminal) -> None:
    """Ask, and look at the answer in the glass box."""
    terminal.wait_for(READY)
    terminal.send("Why up there", "enter")
    terminal.wait_for(r"The sky is blue\.")
    terminal.wait_for(READY)
    terminal.send("f12")
    terminal.wait_for("tokens ·")


def resize(terminal: Terminal, columns: int, rows: int) -> None:
    """Another size, as a terminal tells it."""
    terminal.screen.resize(rows, columns)
    fcntl.ioctl(terminal.leader, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 36), (200, 50)])
def test_every_view_is_there_and_the_app_closes_with_it_open(model: Path, columns: int, rows: int) -> None:
    with chatterm("--model", str(model), columns=columns, rows=rows) as terminal:
        ask(terminal)
        for key, words in SAID.items():
            terminal.send(key)
            terminal.wait_for(words)
        terminal.send("ctrl+q")
        assert terminal.wait_for_end() == 0
        assert b"Traceback" not in terminal.written


def test_it_outlives_its_worker_and_a_terminal_of_another_size(model: Path) -> None:
    with chatterm("--model", str(model)) as terminal:
        ask(terminal)
        terminal.send("4")
        terminal.wait_for("heads 1 to")
        for worker in psutil.Process(terminal.process.pid).children(recursive=True):
            if "chatterm.engine.worker" in worker.cmdline():
                worker.kill()
        terminal.send("left")
        terminal.wait_for("Not available here")
        resize(terminal, 40, 10)
        terminal.send("1")
        terminal.wait_for(lambda screen: "1Tokens" in screen)
        resize(terminal, 120, 36)
        terminal.send("7")
        terminal.wait_for("1 answer to this question")
        terminal.send("ctrl+q")
        assert terminal.wait_for_end() == 0
        assert b"Traceback" not in terminal.written
