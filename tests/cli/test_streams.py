"""Promises about standard streams and odd names: closed, full, of another encoding, no UTF-8."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import environment, run
from support.tiny_models import write_chain

FULL = Path("/dev/full")


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chain(tmp_path_factory.mktemp("models") / "speaker.gguf", ["na", "\u00ef", "ve"])


def shell(command: str, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """A line of shell in which "$@" is chatterm with the arguments."""
    return subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, "-m", "chatterm", *map(str, arguments)],
        env=environment() | variables,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_a_closed_stream_that_is_not_needed_is_no_trouble(speaker: Path, closed: str) -> None:
    done = shell(f'"$@" {closed}', "ask", "Say it.", "--model", speaker, "--temperature", "0")
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, "na\u00efve", b"")


@pytest.mark.parametrize("command", [["ask", "Say it."], ["ask", "--json", "Say it."], ["models", "list"], ["--help"]])
@pytest.mark.parametrize("to", [">&-", ">/dev/full"])
def test_an_answer_that_cannot_be_written_is_a_failure_in_words(speaker: Path, command: list[str], to: str) -> None:
    if not FULL.exists():
        pytest.skip("there is no /dev/full")
    own = ["--model", str(speaker)] if "ask" in command else []
    folders = {"HF_HOME": str(speaker.parent)}
    if command == ["models", "list"]:
        cached = speaker.parent / "hub/models--o--n/snapshots/main"
        cached.mkdir(parents=True, exist_ok=True)
        shutil.copy(speaker, cached)
    done = shell(f'"$@" {to}', *command, *own, **folders)
    assert done.returncode == 1
    assert done.stderr.decode().startswith("chatterm: the output cannot be written: ")
    assert done.stderr.count(b"\n") == 1


def test_a_reader_that_has_enough_is_no_failure_in_words(speaker: Path) -> None:
    done = shell('{ "$@"; echo $? >&2; } | true', "ask", "--json", "Say it.", "--model", speaker)
    assert done.stderr.decode().strip() == "141"


def test_letters_that_the_terminal_lacks_are_replaced(speaker: Path) -> None:
    arguments = ("ask", "Say it.", "--model", speaker, "--temperature", "0")
    done = shell('"$@"', *arguments, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (0, b"na?ve")
    as_json = shell('"$@"', *arguments, "--json", PYTHONIOENCODING="ascii")
    texts = [json.loads(line)["text"] for line in as_json.stdout.splitlines() if b'"token"' in line]
    assert "".join(texts) == "na\u00efve", "JSON is UTF-8 anywhere"


def test_a_question_that_is_no_utf8_is_asked_all_the_same(speaker: Path) -> None:
    arguments = [sys.executable, "-m", "chatterm", "ask", b"caf\xe9", "--model", speaker, "--temperature", "0"]
    done = subprocess.run(arguments, env=environment(), capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.decode()) == (0, "na\u00efve")


def test_a_model_whose_name_is_no_utf8_is_used_and_listed(speaker: Path, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.gguf"))
    try:
        shutil.copy(speaker, odd)
    except OSError:
        pytest.skip("this disk takes UTF-8 names alone")
    done = run("ask", "Say it.", "--model", odd, "--temperature", "0")
    assert (done.returncode, done.stdout) == (0, "na\u00efve")
    snapshot = tmp_path / "hf/hub/models--o--n/snapshots/main"
    snapshot.mkdir(parents=True)
    odd.rename(snapshot / odd.name)
    listed = shell('"$@"', "models", "list", "--json", HF_HOME=str(tmp_path / "hf"))
    assert json.loads(listed.stdout.splitlines()[0])["file"] == "bad?.gguf"


@pytest.mark.parametrize(
    ("flag", "value", "reason"),
    [("--temperature", "9", "at most 3"), ("--top-k", "-1", "at least 0"), ("--order", "bogus", "no choice")],
)
def test_a_value_out_of_bounds_is_wrong_usage_of_its_flag(speaker: Path, flag: str, value: str, reason: str) -> None:
    done = run("ask", "Say it.", "--model", speaker, flag, value)
    assert done.returncode == 2
    assert flag in done.stderr
    assert reason in done.stderr


def test_nothing_is_no_question(speaker: Path) -> None:
    assert run("ask", "  ", "--model", speaker).returncode == 2


def test_a_folder_is_not_taken_for_a_model(tmp_path: Path) -> None:
    done = run("ask", "Say it.", "--model", tmp_path)
    assert (done.returncode, "is a folder" in done.stderr) == (1, True)


def test_an_interruption_while_it_starts_is_quiet() -> None:
    """At any moment of the imports, which take most of the time of a short command."""
    stop = "import sys, signal, os; sys.argv = ['chatterm', 'models', 'list']; from chatterm.cli import main, commands"
    stop += "; commands.run = lambda: os.kill(os.getpid(), signal.SIGINT) or 0; main()"
    done = subprocess.run([sys.executable, "-c", stop], env=environment(), capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (130, b"")


def test_the_shell_can_complete_words() -> None:
    chatterm = Path(sys.executable).with_name("chatterm")
    if not chatterm.exists():
        pytest.skip("chatterm is not installed as a command")
    asked = {"_CHATTERM_COMPLETE": "complete_bash", "COMP_WORDS": "chatterm mod", "COMP_CWORD": "1"}
    done = subprocess.run([chatterm], env=environment(**asked), capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["models"], done.stderr


def test_a_dumb_terminal_gets_no_escapes(speaker: Path) -> None:
    if not (script := shutil.which("script")):
        pytest.skip("there is no `script` to make a terminal")
    command = f"{sys.executable} -m chatterm ask Hi --model {speaker} --temperature 0"
    done = subprocess.run(
        [script, "-qec", command, "/dev/null"],
        env=environment(TERM="dumb"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert b"\x1b" not in done.stdout
    assert "naïve".encode() in done.stdout
