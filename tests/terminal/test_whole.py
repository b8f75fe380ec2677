"""Promises of the whole: the app in a real terminal, real llama.cpp, a real database."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
from pathlib import Path

import psutil
import pytest
from support.terminal import Terminal, chatterm
from support.tiny_models import write_chain, write_model

from chatterm import paths

SIZES = [(80, 24), (120, 36), (200, 50)]
READY = r"\bready\b"
BUSY = r"\bwriting\b"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model that says one sentence, one that says another, and one that never ends."""
    folder = tmp_path_factory.mktemp("models")
    write_chain(folder / "blue.gguf", ["The", " sky", " is", " **blue**", "."])
    write_chain(folder / "green.gguf", ["The", " grass", " is", " green", "."])
    write_model(folder / "rambler.gguf", n_ctx=32768, n_layers=2)
    return folder


@pytest.fixture(autouse=True)
def settings(own_folders: Path, models: Path) -> Path:
    """Settings that name the folder of models; the answers are the likeliest ones."""
    path = paths.settings_file()
    paths.ensure(path.parent)
    path.write_text(f"[models]\nfolders = ['{models}']\n[sampling]\ntemperature = 0.0\n[load]\nn_threads = 1\n")
    return path


def quit_app(terminal: Terminal) -> None:
    terminal.send("ctrl+q")
    assert terminal.wait_for_end() == 0
    assert b"Traceback" not in terminal.written


@pytest.mark.parametrize(("columns", "rows"), SIZES)
def test_a_first_chat_is_there_again_after_quitting(models: Path, columns: int, rows: int) -> None:
    with chatterm("--model", str(models / "blue.gguf"), columns=columns, rows=rows) as terminal:
        terminal.wait_for(READY)
        terminal.send("Why up there?", "enter")
        terminal.wait_for(r"The sky is blue\.")
        terminal.wait_for(READY)
        quit_app(terminal)
    with chatterm("--continue", columns=columns, rows=rows) as terminal:
        terminal.wait_for(r"The sky is blue\.")
        terminal.wait_for(READY)
        terminal.send("And now?", "enter")
        terminal.wait_for(lambda screen: screen.count("The sky is blue.") == 2)
        quit_app(terminal)


def test_what_a_models_file_says_cannot_steer_the_terminal(tmp_path: Path) -> None:
    odd = "\x1b]52;c;R09ORQ==\x07"
    path = write_chain(tmp_path / "odd.gguf", ["Yes"], name=odd, template=f"{{{{ raise_exception('{odd}') }}}}")
    with chatterm("--model", str(path)) as terminal:
        terminal.wait_for(READY)
        terminal.send("Is it?", "enter")
        terminal.wait_for("template does not work")
        terminal.wait_for(READY)
        quit_app(terminal)
    assert b"R09ORQ" in terminal.written
    assert b"\x1b]52;c;R09ORQ" not in terminal.written


def test_escape_stops_and_keeps_what_arrived(models: Path) -> None:
    with chatterm("--model", str(models / "rambler.gguf")) as terminal:
        terminal.wait_for(READY)
        terminal.send("Go on.", "enter")
        terminal.wait_for(BUSY)
        terminal.send("escape")
        terminal.wait_for(r"(?i)stopped")
        quit_app(terminal)
    with sqlite3.connect(paths.store_file()) as database:
        (state,) = database.execute("SELECT state FROM turns WHERE role = 'assistant'").fetchone()
    assert state == "stopped"


def test_another_model_answers_the_same_question_by_its_key_and_nothing_is_typed(models: Path) -> None:
    with chatterm("--model", str(models / "blue.gguf")) as terminal:
        terminal.wait_for(READY)
        terminal.send("Why up there?", "enter")
        terminal.wait_for(r"The sky is blue\.")
        terminal.wait_for(READY)
        terminal.send("\x1br")  # as terminals send alt+r
        terminal.wait_for("Answer with another model")
        terminal.send("green")
        terminal.wait_for(lambda screen: "green" in screen and "rambler" not in screen)
        terminal.send("enter")
        terminal.wait_for(r"The grass is green\.")
        terminal.wait_for("answer 2 of 2")
        terminal.wait_for("Ask something")
        quit_app(terminal)


def worker_of(terminal: Terminal) -> psutil.Process:
    """The process that runs llama.cpp for this app."""
    (worker,) = [
        each
        for each in psutil.Process(terminal.process.pid).children(recursive=True)
        if "chatterm.engine.worker" in each.cmdline()
    ]
    return worker


def test_a_killed_worker_is_a_message_and_can_be_started_again(models: Path) -> None:
    with chatterm("--model", str(models / "rambler.gguf")) as terminal:
        terminal.wait_for(READY)
        terminal.send("Go on.", "enter")
        terminal.wait_for(BUSY)
        worker_of(terminal).kill()
        terminal.wait_for(r"(?i)start again")
        terminal.wait_for(r"SIGKILL|killed")
        terminal.click("tart again")
        terminal.wait_for(READY)
        quit_app(terminal)


def test_what_was_written_survives_the_death_of_everything(models: Path) -> None:
    with chatterm("--model", str(models / "rambler.gguf")) as terminal:
        terminal.wait_for(READY)
        terminal.send("Remember this question.", "enter")
        terminal.wait_for(BUSY)

        def saved(_: str) -> bool:
            with sqlite3.connect(f"file:{paths.store_file()}?mode=ro", uri=True) as database:
                row = database.execute("SELECT text FROM turns WHERE role = 'assistant'").fetchone()
            return bool(row and row[0])

        terminal.wait_for(saved)
        worker = worker_of(terminal)
        os.kill(terminal.process.pid, signal.SIGKILL)
        terminal.process.wait()
        worker.wait(20)  # it ends by itself when its parent is gone
    with chatterm("--continue") as terminal:
        terminal.wait_for("Remember this question")
        terminal.wait_for(r"(?i)interrupted")
        quit_app(terminal)


@pytest.mark.parametrize("how", ["closed", "terminated"])
def test_what_arrived_is_kept_when_the_terminal_is_closed_or_the_system_ends_it(models: Path, how: str) -> None:
    terminal = chatterm("--model", str(models / "rambler.gguf"))
    terminal.wait_for(READY)
    terminal.send("Go on.", "enter")
    terminal.wait_for(BUSY)
    worker = worker_of(terminal)
    if how == "closed":
        os.close(terminal.leader)
        assert terminal.process.wait(30) == 128 + signal.SIGHUP
    else:
        terminal.process.terminate()
        assert terminal.wait_for_end() == 0
        assert b"\x1b[?1049l\x1b[?25h" in terminal.written, "the terminal is as it was before"
        os.close(terminal.leader)
    worker.wait(20)
    with sqlite3.connect(paths.store_file()) as database:
        state, text = database.execute("SELECT state, text FROM turns WHERE role = 'assistant'").fetchone()
    assert state == "stopped"
    assert text


def test_a_prompt_of_many_lines_is_pasted_and_not_sent(models: Path) -> None:
    with chatterm("--model", str(models / "blue.gguf")) as terminal:
        terminal.wait_for(READY)
        terminal.paste("first line\nsecond line\n")
        terminal.wait_for("second line")
        terminal.send("third", "ctrl+j", "fourth")
        terminal.wait_for(r"third[\s\S]*fourth")
        assert not re.search(r"The sky is", terminal.text)
        terminal.send("enter")
        terminal.wait_for(r"The sky is blue\.")
        quit_app(terminal)


def test_the_app_opens_and_names_the_command_when_llama_cannot_be_imported(tmp_path: Path, models: Path) -> None:
    broken = tmp_path / "broken" / "llama_cpp"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libllama.so: cannot open shared object file')")
    with chatterm("--model", str(models / "blue.gguf"), PYTHONPATH=str(broken.parent)) as terminal:
        terminal.wait_for(r"pip install")
        quit_app(terminal)


def test_a_broken_settings_file_is_named_and_left_alone(settings: Path, models: Path) -> None:
    settings.write_text("[sampling]\ntemperature = 'warm'\n")
    with chatterm("--model", str(models / "blue.gguf")) as terminal:
        terminal.wait_for(r"temperature")
        terminal.wait_for(READY)
        quit_app(terminal)
    assert settings.read_text() == "[sampling]\ntemperature = 'warm'\n"


def test_without_any_other_model_the_screen_says_how_to_get_one(settings: Path) -> None:
    settings.write_text("")
    with chatterm() as terminal:
        terminal.wait_for(r"F10 gets a bigger model")
        quit_app(terminal)
