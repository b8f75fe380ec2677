"""Colours find the letters that they are meant for, whatever setting the text has dropped or added."""

from __future__ import annotations

import pytest
from rich.color import Color
from rich.segment import Segment
from rich.style import Style

from chatterm.ui.widgets.reading.lines import Line
from chatterm.ui.widgets.reading.tinted import Tint, tint_lines

PAGE = Style(color="#ffffff", bgcolor="#101010")
HOT = Style(bgcolor="#ffaa00")


def coloured(lines: list[str], source: str, *words: str, indent: int = 0) -> str:
    """What is coloured of some lines, when these words of the text are."""
    made = [Line([Segment(line, PAGE)], indent=indent) for line in lines]
    tints, at = [], 0
    for word in words:
        at = source.index(word, at)
        tints.append(Tint(at, at + len(word), 0.9))
    tint_lines(made, source, tints, HOT)
    assert ["".join(part.text for part in line.segments) for line in made] == lines, "no text is lost"
    return "|".join(part.text for line in made for part in line.segments if part.style.bgcolor != PAGE.bgcolor)


@pytest.mark.parametrize(
    ("lines", "source", "words", "found"),
    [
        (["one two three"], "one two three", ("two",), "two"),
        (["one two three"], "one **two** `three`", ("two", "three"), "two|three"),
        (["one two", "three"], "one two three", ("two three",), "two|three"),
        (["• one", "• two"], "- one\n- two", ("two",), "two"),
        (["see here now"], "see [here](https://example.org/here) now", ("now",), "now"),
        (["a", "a"], "a\n\na", ("\n\na",), "a"),
        (["naïve 日本"], "naïve 日本", ("日本",), "日本"),
    ],
)
def test_the_right_letters_are_coloured(lines: list[str], source: str, words: tuple[str, ...], found: str) -> None:
    assert coloured(lines, source, *words) == found


def test_decoration_is_never_coloured() -> None:
    assert coloured(["│ one"], "> one", "one", indent=2) == "one"


def test_a_stronger_tint_is_nearer_to_its_colour_and_marked() -> None:
    line = Line([Segment("ab", PAGE)])
    tint_lines([line], "ab", [Tint(0, 1, 0.2), Tint(1, 2, 0.9)], HOT)
    weak, strong = (part.style for part in line.segments)
    assert (weak.underline, strong.underline, strong.bold) == (False, True, True)
    reds = [Color.parse(style.bgcolor.name).get_truecolor().red for style in (PAGE, weak, strong)]
    assert reds == sorted(reds)
    assert len(set(reds)) == 3
