"""Promises about text of unknown origin: nothing in it steers a terminal, and it can always be sent."""

from __future__ import annotations

import pytest

from chatterm.text import expressible, is_name, line, plain


@pytest.mark.parametrize("bad", ["\x1b[31m", "\x07", "\x9b31m", "\u202e", "\u2066", "\udcff"])
def test_what_could_steer_a_terminal_is_replaced(bad: str) -> None:
    assert bad[0] not in plain(f"a{bad}b")
    assert not is_name(bad)


@pytest.mark.parametrize(
    "good", ["Gr\u00fc\u00dfe", "\u65e5\u672c", "\u0645\u0631\u062d", "\U0001f469\u200d\U0001f467", "a  b"]
)
def test_letters_of_all_scripts_stay(good: str) -> None:
    assert plain(good) == good
    assert is_name(good)


def test_line_breaks_stay_in_a_text_and_leave_a_line() -> None:
    assert plain("a\n\tb") == "a\n\tb"
    assert line("a\n\tb") == "a b"
    assert not is_name("a\nb")


def test_lone_surrogates_are_replaced_at_any_depth() -> None:
    assert expressible({"a\udcff": ["\ud800", 1, ("b", None)]}) == {"a?": ["?", 1, ["b", None]]}
