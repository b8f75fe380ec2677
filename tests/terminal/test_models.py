"""Promises of the models screen in a real terminal: from F10 to an answer of a model that was downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_hub import FakeHub
from support.terminal import Terminal, chatterm
from support.tiny_models import write_chain

from chatterm import paths

READY = r"\bready\b"
F10 = "\x1b[21~"
REPO = "lab/Sky-GGUF"


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A model that says one sentence, which llama.cpp can run."""
    path = tmp_path_factory.mktemp("gguf") / "sky.gguf"
    return write_chain(path, ["The", " sky", " is", " blue", "."], name="Sky").read_bytes()


@pytest.fixture
def hub(gguf: bytes) -> Iterator[FakeHub]:
    """A Hub that has it."""
    with FakeHub() as server:
        about = {"architecture": "llama", "parameters": 400_000, "context": 4096, "licence": "mit"}
        server.add(REPO, "Sky-Q8_0.gguf", gguf, **about)
        yield server


@pytest.fixture(autouse=True)
def settings(own_folders: Path) -> None:
    """The answers are the likeliest ones."""
    paths.ensure(paths.settings_file().parent)
    paths.settings_file().write_text("[sampling]\ntemperature = 0.0\n[load]\nn_threads = 1\n")


def started(hub: FakeHub, columns: int = 80, rows: int = 24) -> Terminal:
    """The app, asking this Hub."""
    return chatterm(columns=columns, rows=rows, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="0")


def quit_app(terminal: Terminal) -> None:
    terminal.send("ctrl+q")
    assert terminal.wait_for_end() == 0
    assert b"Traceback" not in terminal.written


def open_hub(terminal: Terminal) -> None:
    """To the Hub's page, with what it has."""
    terminal.wait_for(READY)
    terminal.send(F10)
    terminal.wait_for("Good for")
    terminal.send("right")
    terminal.wait_for(REPO)


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 36), (200, 50)])
def test_a_model_is_found_downloaded_and_answers(hub: FakeHub, columns: int, rows: int) -> None:
    with started(hub, columns, rows) as terminal:
        open_hub(terminal)
        terminal.send("sky", "enter")
        terminal.wait_for(r"Q8_0.*● fits")
        terminal.send("enter")
        terminal.wait_for(r"(?m)^ Sky\b.*\bready\b")
        terminal.send("What is up there?", "enter")
        terminal.wait_for(r"The sky is blue\.")
        terminal.wait_for(READY)
        quit_app(terminal)
    with started(hub, columns, rows) as terminal:
        terminal.wait_for(r"Sky[\s\S]*\bready\b")
        quit_app(terminal)


def test_the_tutor_answers_while_a_download_runs_and_the_next_start_goes_on_with_it(hub: FakeHub, gguf: bytes) -> None:
    with started(hub) as terminal:
        open_hub(terminal)
        terminal.click(REPO)
        terminal.wait_for(r"Q8_0.*● fits")
        hub.faults.hold_after = len(gguf) // 2
        terminal.click("only download")
        terminal.wait_for(r"Downloads ↓")
        terminal.send("escape")
        terminal.wait_for(r"Ask something[\s\S]*↓ \d+ %")
        terminal.send("What is a token?", "enter")
        terminal.wait_for(r"\btokens?\b[\s\S]*\bready\b")
        quit_app(terminal)
    hub.faults.release.set()
    with started(hub) as terminal:
        terminal.wait_for(r"is here")
        quit_app(terminal)


def test_the_app_is_quit_from_the_models_screen(hub: FakeHub) -> None:
    with started(hub) as terminal:
        open_hub(terminal)
        quit_app(terminal)
