"""The terminal's background is asked for on a real PTY, in which the test plays the terminal."""

from __future__ import annotations

import ast
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from chatterm.ui import background

CHILD = """
import fcntl, os, select, sys, termios
tty = os.open(sys.argv[1], os.O_RDWR)
fcntl.ioctl(tty, termios.TIOCSCTTY, 0)
before = termios.tcgetattr(tty)
from chatterm.ui.background import ask_background
asked = ask_background(deadline_seconds=float(sys.argv[2]))
assert termios.tcgetattr(tty) == before, "the terminal's modes must be as they were"
assert not {"textual", "rich"} & set(sys.modules)
attributes = termios.tcgetattr(tty)
attributes[3] &= ~(termios.ECHO | termios.ICANON)
termios.tcsetattr(tty, termios.TCSANOW, attributes)
print("asked", flush=True)
sys.stdin.readline()
left = os.read(tty, 1000) if select.select([tty], [], [], 0)[0] else b""
print(asked.is_dark, (left.hex() or "-") + " " + repr(asked.typed), asked.late is not None, flush=True)
"""

WHITE = b"\x1b]11;rgb:ffff/ffff/ffff\x1b\\"
BLACK = b"\x1b]11;rgb:0000/0000/0000\x07"
ATTRIBUTES = b"\x1b[?62;22c"


class Terminal:
    """The other end of a PTY whose child asks for the background."""

    def __init__(self, deadline_seconds: float = 30, **environment: str) -> None:
        self.master, slave = pty.openpty()
        known = {k: v for k, v in os.environ.items() if k != "COLORFGBG"}
        self.child = subprocess.Popen(
            [sys.executable, "-c", CHILD, os.ttyname(slave), str(deadline_seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={**known, **environment},
        )
        self.slave = slave

    def question(self) -> bytes:
        """What the child has sent, up to its request for the device attributes."""
        asked = b""
        deadline = time.monotonic() + 30
        while not asked.endswith(b"\x1b[c"):
            assert select.select([self.master], [], [], deadline - time.monotonic())[0], asked
            asked += os.read(self.master, 1000)
        return asked

    def send(self, answer: bytes) -> None:
        os.write(self.master, answer)

    def verdict(self) -> tuple[str, bytes]:
        """What the child found, and what was left in its input."""
        found, left, _, _ = self.findings()
        return found, left

    def findings(self) -> tuple[str, bytes, str, str]:
        """What the child found, what was left in its input, what the user typed, and whether an answer is due."""
        assert self.child.stdout
        assert self.child.stdout.readline() == b"asked\n"
        output, _ = self.child.communicate(b"\n", timeout=30)
        found, left, typed, is_due = output.decode().split()
        return found, bytes.fromhex(left.strip("-")), ast.literal_eval(typed), is_due

    def close(self) -> None:
        self.child.kill()
        self.child.communicate()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal(request: pytest.FixtureRequest) -> Iterator[Terminal]:
    terminal = Terminal(**getattr(request, "param", {}))
    yield terminal
    terminal.close()


def started(**how: object) -> pytest.MarkDecorator:
    """With what a test's terminal and child are started."""
    return pytest.mark.parametrize("terminal", [how], indirect=True)


@pytest.mark.parametrize(("answer", "found"), [(WHITE, "False"), (BLACK, "True")])
def test_terminal_that_answers_is_believed(terminal: Terminal, answer: bytes, found: str):
    assert terminal.question() == b"\x1b]11;?\x1b\\\x1b[c"
    terminal.send(answer + ATTRIBUTES)
    assert terminal.verdict() == (found, b"")


def test_answer_in_pieces_is_put_together(terminal: Terminal):
    terminal.question()
    for i in range(len(WHITE + ATTRIBUTES)):
        terminal.send((WHITE + ATTRIBUTES)[i : i + 1])
    assert terminal.verdict() == ("False", b"")


def test_terminal_that_does_not_know_its_background_is_not_waited_for(terminal: Terminal):
    terminal.question()
    terminal.send(ATTRIBUTES)
    assert terminal.verdict() == ("None", b"")


def test_garbage_is_no_answer_and_not_left_over(terminal: Terminal):
    terminal.question()
    terminal.send(b"\x1b]11;rgb:zz\x07\xff\xfe\x1b[200~" + ATTRIBUTES)
    assert terminal.verdict() == ("None", b"")


@started(deadline_seconds=0.05)
def test_terminal_that_answers_nothing_is_given_up(terminal: Terminal):
    terminal.question()
    assert terminal.verdict() == ("None", b"")


@started(deadline_seconds=0.7)
def test_half_an_answer_is_not_left_over(terminal: Terminal):
    terminal.question()
    terminal.send(b"\x1b]11;rgb:ffff/ff")
    assert terminal.verdict() == ("None", b"")


@started(deadline_seconds=0.05, COLORFGBG="0;15")
def test_terminal_that_is_silent_may_say_it_in_the_environment(terminal: Terminal):
    terminal.question()
    assert terminal.verdict() == ("False", b"")


def test_what_is_typed_meanwhile_is_kept(terminal: Terminal):
    terminal.question()
    terminal.send(b"He" + WHITE + b"l\x1b[A\xc3\xb6" + ATTRIBUTES)
    assert terminal.findings() == ("False", b"", "Helö", "False")


@started(deadline_seconds=0.05)
def test_an_answer_that_does_not_come_is_due_still(terminal: Terminal):
    terminal.question()
    assert terminal.findings() == ("None", b"", "", "True")


def sorted_out(late: background.LateAnswer, *keys: str) -> str:
    """What is left as typed."""
    return "".join(typed for key in keys for typed in late.sort(key, key))


@pytest.mark.parametrize(
    "answer", ["[?62;22c", "^[?62;c", "^]11;rgb:ffff/ffff/ffff^\\[?62;c", "]11;rgb:ffff/ffff/ffff\x07[?1;2c"]
)
def test_a_late_answer_is_not_taken_for_keys(answer: str):
    late = background.LateAnswer()
    assert sorted_out(late, *"Hi", *answer, *" you") == "Hi you"
    assert not late.is_due


def test_the_rest_of_an_answer_is_known_by_its_beginning():
    late = background.LateAnswer("\x1b]11;rgb:ffff/ff")
    assert sorted_out(late, *"ff/ffff^\\[?62;c", *"Hi") == "Hi"


def test_brackets_that_are_typed_are_not_lost_while_an_answer_is_due():
    typed = "[1] ^2 [? ]11;x [x]"
    assert sorted_out(background.LateAnswer(), *typed, "enter") == typed + "enter"
    assert sorted_out(background.LateAnswer(patience_seconds=0), *"[?6c") == "[?6c"


def test_without_a_terminal_the_environment_decides(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.delenv("COLORFGBG", raising=False)
    assert background.ask_background(str(tmp_path / "no-terminal")).is_dark is None
    monkeypatch.setenv("COLORFGBG", "15;default;0")
    assert background.ask_background(str(tmp_path / "no-terminal")).is_dark is True
    monkeypatch.setenv("COLORFGBG", "0;default")
    assert background.ask_background(str(tmp_path / "no-terminal")).is_dark is None


def test_file_that_is_no_terminal_is_left_alone(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"kept")
    assert background.ask_background(str(path)).is_dark is None
    assert path.read_bytes() == b"kept"


@pytest.mark.parametrize(
    ("answer", "is_dark"),
    [
        (b"\x1b]11;rgb:1e1e/1e1e/2e2e\x07", True),
        (b"\x1b]11;rgb:fd/f6/e3\x1b\\", False),
        (b"\x1b]11;rgba:0000/0000/0000/ffff\x07", True),
        (b"\x1b]11;#fdf6e3\x07", False),
        (b"\x1b]11;#000000000000\x07", True),
        (b"\x1b]11;rgb:f/f/f\x07", False),
        (b"\x1b]11;rgb://\x07", None),
        (b"\x1b]11;rgb:ff\x07", None),
        (b"", None),
    ],
)
def test_each_way_to_write_a_colour_is_understood(answer: bytes, is_dark: bool | None):
    assert background._is_dark(answer) is is_dark
