"""Promises of the start, in a real terminal with real llama.cpp."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.small_disk import mounted
from support.terminal import Terminal, chatterm
from support.tiny_models import write_chain

from chatterm import paths

READY = r"\bready\b"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model that says one sentence, and one that says another."""
    folder = tmp_path_factory.mktemp("models")
    write_chain(folder / "blue.gguf", ["The", " sky", " is", " **blue**", "."])
    write_chain(folder / "green.gguf", ["The", " grass", " is", " green", "."])
    return folder


def quit_app(terminal: Terminal) -> None:
    terminal.send("ctrl+q")
    assert terminal.wait_for_end() == 0
    assert b"Traceback" not in terminal.written


def write_settings(models: Path, *lines: str) -> None:
    path = paths.settings_file()
    paths.ensure(path.parent)
    path.write_text("\n".join([f"[models]\nfolders = ['{models}']", "[load]\nn_threads = 1", *lines]))


@pytest.mark.parametrize("answer", [b"\x1b[?62;c", b"\x1b]11;rgb:ffff/ffff/ffff\x1b\\\x1b[?62;22c"])
def test_a_terminal_that_answers_late_does_not_type(
    models: Path, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Terminal, "_answer", lambda *_: None)
    with chatterm("--model", str(models / "blue.gguf")) as terminal:
        terminal.wait_for(READY)
        os.write(terminal.leader, answer)
        terminal.send("Why so late?")
        screen = terminal.wait_for("Why so late")
        assert "62" not in screen
        assert "rgb" not in screen
        terminal.send("enter")
        terminal.wait_for(r"The sky is blue\.")
        quit_app(terminal)


def test_the_model_that_was_picked_last_wins_over_the_settings(models: Path) -> None:
    write_settings(models, f"[chat]\nmodel = '{models / 'blue.gguf'}'")
    with chatterm() as terminal:
        terminal.wait_for(READY)
        terminal.send("Why?", "enter")
        terminal.wait_for(r"The sky is blue\.")
        terminal.send("ctrl+l")
        terminal.wait_for(r"green\.gguf|green")
        terminal.send("green", "enter")
        terminal.wait_for(lambda screen: "Choose a model" not in screen)
        terminal.send("And?", "enter")
        terminal.wait_for(r"The grass is green\.")
        terminal.wait_for(READY)
        quit_app(terminal)
    with chatterm() as terminal:
        terminal.wait_for(READY)
        terminal.send("And?", "enter")
        terminal.wait_for(r"The grass is green\.")
        quit_app(terminal)
    with chatterm("--model", "blue") as terminal:
        terminal.wait_for(READY)
        terminal.send("And?", "enter")
        terminal.wait_for(r"The sky is blue\.")
        quit_app(terminal)


def test_with_a_store_that_can_only_be_read_all_is_shown_and_a_chat_goes_on(tmp_path: Path, models: Path) -> None:
    write_settings(models)
    with mounted(tmp_path / "disk", 4000) as disk:
        where = {"CHATTERM_DATA_HOME": str(disk.folder)}
        with chatterm("--model", "blue", **where) as terminal:
            terminal.wait_for(READY)
            terminal.send("First question", "enter")
            terminal.wait_for(r"The sky is blue\.")
            terminal.wait_for(READY)
            quit_app(terminal)
        with disk.read_only(), chatterm("--continue", "--model", "blue", **where) as terminal:
            terminal.wait_for(r"Nothing can be saved")
            terminal.wait_for(r"The sky is blue\.")
            terminal.wait_for(READY)
            for n in (2, 3):
                terminal.send("Second question", "enter")
                terminal.wait_for(lambda screen, n=n: screen.count("The sky is blue.") == n)
                terminal.wait_for(READY)
            assert "Nothing can be saved" in terminal.text
            quit_app(terminal)
