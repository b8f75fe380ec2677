"""Promises of the first minute, in a real terminal with the built-in model: no file, no network, no settings."""

from __future__ import annotations

import pytest
from support.terminal import Terminal, chatterm

SUGGESTED = r"(?s)Ask, for example.*or click.*● ready"
FINISHED = r"tok/s"


def ends_well(terminal: Terminal) -> None:
    terminal.send("ctrl+q")
    assert terminal.wait_for_end() == 0
    assert b"Traceback" not in terminal.written


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 36)])
def test_the_first_start_leads_to_an_answer_in_two_keys(columns: int, rows: int) -> None:
    with chatterm(columns=columns, rows=rows) as terminal:
        screen = terminal.wait_for(SUGGESTED)
        assert "1 What is a token?" in screen
        assert "5 Get a bigger model" in screen
        terminal.send("tab")
        terminal.wait_for("press 1 to 5")
        terminal.send("1")
        terminal.wait_for(FINISHED)
        screen = terminal.wait_for(r"\btokens?\b")
        assert "Ask, for example" not in screen
        ends_well(terminal)


def test_a_question_can_be_clicked() -> None:
    with chatterm() as terminal:
        terminal.wait_for(SUGGESTED)
        terminal.click("What does temperature do?")
        terminal.wait_for(FINISHED)
        terminal.wait_for(r"[Tt]emperature (is|reshapes|divides)")
        ends_well(terminal)


def test_the_way_to_a_bigger_model_is_shown() -> None:
    with chatterm() as terminal:
        terminal.wait_for(SUGGESTED)
        terminal.click("Get a bigger model")
        terminal.wait_for(r"Qwen2\.5-0\.5B-Instruct")
        terminal.send("escape")
        terminal.wait_for("Ask, for example")
        ends_well(terminal)
