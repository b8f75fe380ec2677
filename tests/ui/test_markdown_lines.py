"""Markdown as lines: what it looks like, that growing text looks the same, and that nothing escapes."""

from __future__ import annotations

import random
import unicodedata

import pytest
from rich.cells import cell_len
from rich.style import Style
from support.looks import LOOK
from support.tricky_markdown import HOSTILE, TRICKY

from chatterm.ui.widgets.reading.blocks import GrowingText
from chatterm.ui.widgets.reading.lines import Line, Span, cells_to_index, wrap
from chatterm.ui.widgets.reading.markdown import markdown_lines, plain_lines
from chatterm.ui.widgets.reading.tables import share
from chatterm.ui.widgets.reading.untrusted import clean, hides_its_target, safe_url

WIDTHS = (18, 56, 100)
NOT_WHOLE_UNTIL_THE_END = {"late reference", "links"}


def shown(lines: list[Line]) -> list[str]:
    return ["".join(segment.text for segment in line.segments).rstrip() for line in lines]


def markdown(text: str, width: int = 60) -> list[str]:
    return shown(markdown_lines(text, width, LOOK))


def styles(lines: list[Line], text: str) -> list[Style]:
    return [segment.style for line in lines for segment in line.segments if segment.text == text and segment.style]


def test_blocks_stand_apart_and_headings_stand_with_their_text() -> None:
    assert markdown("# Title\n\ntext\n## Next\n- a\n- b\n\nend") == [
        "Title", "text", "", "Next", "• a", "• b", "", "end",
    ]  # fmt: skip


def test_lists_keep_numbers_nesting_and_blank_lines() -> None:
    assert markdown("7. seven\n8. eight\n   - deep\n     - deeper\n\n9. nine") == [
        "7. seven", "8. eight", "   ◦ deep", "     ▪ deeper", "", "9. nine",
    ]  # fmt: skip


def test_tasks_have_boxes() -> None:
    assert markdown("- [ ] open\n- [x] done") == ["☐ open", "☑ done"]


def test_line_breaks_of_the_source_stay() -> None:
    assert markdown("roses are red\nviolets are blue") == ["roses are red", "violets are blue"]


def test_a_table_fits_its_width_and_aligns() -> None:
    lines = markdown("| name | n |\n|:--|--:|\n| 日本 | 5 |\n| x | 1234 |")
    assert lines == ["name │    n", "─────┼─────", "日本 │    5", "x    │ 1234"]


def test_a_wide_table_wraps_in_its_cells() -> None:
    text = "| a | b |\n|---|---|\n| " + "word " * 30 + "| " + "other " * 20 + "|"
    lines = markdown(text, 40)
    assert all(cell_len(line) <= 40 for line in lines)
    assert sum("word" in line for line in lines) > 3


def test_a_table_with_too_many_columns_becomes_a_list_of_fields() -> None:
    lines = markdown("| alpha | beta | gamma | delta |\n|---|---|---|---|\n| one one | two two | three | four |", 18)
    assert lines[:2] == ["alpha: one one", "beta: two two"]


def test_html_is_shown_as_text() -> None:
    assert "<b>x</b>" in markdown("some <b>x</b> text")[0]


def test_emphasis_is_bold_italic_and_struck() -> None:
    lines = markdown_lines("**b** *i* ~~s~~ ***both***", 60, LOOK)
    assert styles(lines, "b")[0].bold
    assert styles(lines, "i")[0].italic
    assert styles(lines, "s")[0].strike
    assert styles(lines, "both")[0].bold
    assert styles(lines, "both")[0].italic


def test_code_is_highlighted_and_keeps_its_source() -> None:
    source = "def f():\n\treturn 'x'\n\n\n# end"
    lines = markdown_lines(f"```python\n{source}\n```", 40, LOOK)
    code = lines[1].code
    assert code is not None
    assert code.source == source
    assert styles(lines, "def")[0].color == LOOK.syntax["keyword"].color
    assert lines[2].source == "\treturn 'x'"


@pytest.mark.parametrize("language", ["", "no-such-language", "python title=x", "{.rust}", "C++", "\x1b[31m"])
def test_any_language_is_drawn(language: str) -> None:
    assert "x = 1" in " ".join(markdown(f"```{language}\nx = 1\n```"))


def test_links_can_be_clicked_where_they_stand() -> None:
    line = markdown_lines("see [docs](https://a.example/x) now", 60, LOOK)[0]
    assert line.links == [(4, 8, "https://a.example/x")]


def test_a_bare_address_is_a_link_without_its_full_stop() -> None:
    line = markdown_lines("go to https://a.example/b.", 60, LOOK)[0]
    assert [link.url for link in line.links] == ["https://a.example/b"]


@pytest.mark.parametrize("target", ["javascript:alert(1)", "file:///etc/passwd", "ssh://x", "https:", "\x1b]8;;x"])
def test_only_web_and_mail_open(target: str) -> None:
    assert safe_url(target) is None
    lines = markdown_lines(f"[x]({target}) <{target}>", 60, LOOK)
    assert not any(line.links for line in lines)


def test_a_link_that_lies_about_its_target_shows_it() -> None:
    assert hides_its_target("https://bank.example/login", "https://thief.example/x")
    assert not hides_its_target("bank.example", "https://www.bank.example/login")
    assert not hides_its_target("the docs", "https://docs.example")
    assert "(https://thief.example/)" in markdown("[bank.example](https://thief.example/)")[0]


def test_questions_are_shown_as_typed() -> None:
    lines = plain_lines("**why** is `__init__`\n  # odd?\n```py\nx = 1\n```\nend", 60, LOOK)
    assert shown(lines)[:2] == ["**why** is `__init__`", "  # odd?"]
    assert any(line.code is not None and "x = 1" in line.text for line in lines)
    assert shown(lines)[-1] == "end"


@pytest.mark.parametrize("name", [*TRICKY, *HOSTILE])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_wider_than_asked(name: str, width: int) -> None:
    text = {**TRICKY, **HOSTILE}[name]
    for lines in (markdown_lines(text, width, LOOK), plain_lines(text, width, LOOK)):
        assert [line.text for line in lines if line.cells > width] == []


@pytest.mark.parametrize("name", [*TRICKY, *HOSTILE])
def test_growing_text_looks_like_the_whole(name: str) -> None:
    if name in NOT_WHOLE_UNTIL_THE_END:
        pytest.skip("a reference that is defined later is put right when the reply settles")
    text = {**TRICKY, **HOSTILE}[name]
    for width in WIDTHS:
        whole = markdown_lines(text, width, LOOK)
        for seed in range(4):
            chance = random.Random(seed)
            growing = GrowingText(width, LOOK)
            at = 0
            live: list[Line] = []
            while at < len(text):
                size = chance.choice((1, 1, 2, 3, 5, 9, 30))
                growing.write(text[at : at + size])
                at += size
                live = growing.lines()
            assert shown([*growing.kept, *live]) == shown(whole), f"width {width}, seed {seed}"


def corpus(seed: int, n_blocks: int) -> str:
    """A long text made of the tricky ones, with blank lines between."""
    chance = random.Random(seed)
    names = [name for name in TRICKY if "never closed" not in name and name not in NOT_WHOLE_UNTIL_THE_END]
    return "\n\n".join(TRICKY[chance.choice(names)] for _ in range(n_blocks))


@pytest.mark.parametrize("seed", range(6))
def test_a_long_growing_text_looks_like_the_whole(seed: int) -> None:
    text = corpus(seed, 12)
    chance = random.Random(seed)
    growing = GrowingText(72, LOOK)
    at = 0
    live: list[Line] = []
    while at < len(text):
        size = chance.choice((3, 20, 60, 200))
        growing.write(text[at : at + size])
        at += size
        live = growing.lines()
    assert shown([*growing.kept, *live]) == shown(markdown_lines(text, 72, LOOK))


@pytest.mark.parametrize(
    "text",
    [
        "```python\n" + "".join(f"value_{i} = {i}  # note\n" for i in range(2000)),
        "a long paragraph that never ends, with **bold** and `code`, ".join(str(i) for i in range(500)),
        "".join(f"- item {i} of a long list\n" for i in range(800)),
        "| a | b |\n|---|---|\n" + "".join(f"| {i:04} | cell |\n" for i in range(800)),
        "日本語の文章です。" * 900,
    ],
    ids=["fence", "paragraph", "list", "table", "cjk"],
)
def test_a_long_block_is_not_set_again_and_again(text: str) -> None:
    growing = GrowingText(80, LOOK)
    open_lines = []
    for at in range(0, len(text), 200):
        growing.write(text[at : at + 200])
        open_lines.append(len(growing.lines()))
    assert max(open_lines[len(open_lines) // 2 :]) < 120
    assert len(growing.kept) > 100
    assert shown([*growing.kept, *growing.lines()])[:50] == shown(markdown_lines(text, 80, LOOK))[:50]


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_but_text_reaches_the_terminal(name: str) -> None:
    for lines in (markdown_lines(HOSTILE[name], 60, LOOK), plain_lines(HOSTILE[name], 60, LOOK)):
        text = "".join(segment.text for line in lines for segment in line.segments)
        kinds = {unicodedata.category(character) for character in text}
        assert not kinds & {"Cc", "Cs", "Zl", "Zp"}
        assert not set(text) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\ufeff\u00ad")
        text.encode()
        for line in lines:
            assert all(segment.control is None for segment in line.segments)
            assert all(segment.style is None or segment.style.link is None for segment in line.segments)
            assert all(link.url.startswith(("https:", "HTTPS:")) for link in line.links)


def test_markup_of_the_toolkit_is_only_text() -> None:
    assert "[bold red]no[/]" in markdown(HOSTILE["rich markup"])[0]


def test_control_characters_become_pictures() -> None:
    assert clean("a\x1b[31m\x00\x7f\x9b") == "a␛[31m␀␡\ufffd"


def test_marks_do_not_pile_up() -> None:
    assert len(clean("Z" + "\u0351" * 400)) < 10


def test_characters_are_never_cut() -> None:
    family = "👩‍👩‍👧‍👦"
    for width in range(2, 12):
        for found, _ in wrap([Span(f"ab{family}日本e\u0301 {family}" * 3, Style())], width):
            line = "".join(span.text for span in found)
            assert not line.startswith(("\u200d", "\ufe0f", "\u0301"))
            assert not line.endswith("\u200d")
            assert cell_len(line) <= max(width, 2)


def test_a_flag_is_not_torn_apart() -> None:
    for found, _ in wrap([Span("x" + "🇩🇪🇯🇵" * 10, Style())], 6):
        flags = "".join(span.text for span in found).lstrip("x")
        assert len(flags) % 2 == 0


def test_wrapped_lines_join_to_what_was_written() -> None:
    chance = random.Random(1)
    alphabet = ["word", "a", "longer-word", "日本語", "。", "  ", " ", "é", "👍🏽", "x" * 40]
    for _ in range(200):
        text = "".join(chance.choice(alphabet) for _ in range(30)).strip()
        for width in (5, 13, 40):
            lines = wrap([Span(text, Style())], width)
            joined = "".join("".join(span.text for span in found) + joint for found, joint in lines)
            assert joined.rstrip("\n") == text


def test_a_closing_mark_does_not_begin_a_line() -> None:
    for found, _ in wrap([Span("日本語。日本語」日本語、" * 8, Style())], 14):
        assert found[0].text[0] not in "。」、"


def test_a_cell_belongs_to_a_whole_character() -> None:
    assert cells_to_index("日本", 1) == 0
    assert cells_to_index("日本", 2) == 1
    assert cells_to_index("a👩‍👧b", 2) == 1
    assert cells_to_index("abc", 9) == 3


def test_columns_share_what_there_is() -> None:
    assert share([3, 30, 30], 43) == [3, 20, 20]
    assert share([3, 4], 40) == [3, 4]
