"""Markdown as lines for a width: parsed by markdown-it, laid out here.

HTML is off, so that it is shown as text. Spacing is local: whether a blank line stands between two
blocks depends on these two alone, so that a text that was cut at a block and set in pieces looks
like the text set whole (`blocks` relies on it).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.segment import Segment
from rich.style import Style

from chatterm.ui.widgets.reading.code import code_body, code_lines, language_of
from chatterm.ui.widgets.reading.inline import cell_breaks, literal, spans_of
from chatterm.ui.widgets.reading.lines import Code, Line, Span, wrap
from chatterm.ui.widgets.reading.look import Look
from chatterm.ui.widgets.reading.tables import Shape, Table, from_spans, shape_of, table_lines
from chatterm.ui.widgets.reading.untrusted import unix_breaks

PROSE = 100
"""Cells of the longest line of prose; longer ones are hard to read. Code and tables take all there is."""
NARROWEST = 10
"""Cells below which lists and quotes are not indented further."""
_TASK = re.compile(r"\[([ xX])\](?:\s+|$)")
_BULLETS = "•◦▪"
_parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 40}).enable(["table", "strikethrough"])
_block_parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 40}).enable("table")
_block_parser.core.ruler.enableOnly(["normalize", "block"])


@dataclass
class Continuation:
    """What a piece of Markdown must know about the piece before it."""

    after: str = ""
    """Type of the block before; empty at the start."""
    has_gap: bool = True
    """Whether a blank line stood between them."""
    in_list: bool = False
    """Whether the piece begins with a further item of the list before it."""
    number: int | None = None
    """The number of that item, in an ordered list."""
    code: Code | None = None
    """The code block that the piece goes on with; its fence is opened again at the start of the piece."""
    table: Shape | None = None
    """The layout of the table that the piece goes on with; its head stands again at the start of the piece."""
    lead: tuple[Span, ...] = ()
    """The last line of the paragraph that the piece goes on with."""
    references: dict[str, Any] = field(default_factory=dict)
    """Link references that were defined so far."""


def block_tokens(text: str) -> list[Token]:
    """The block structure of a text, without what is inside of paragraphs."""
    return _block_parser.parse(text, {})


def markdown_lines(text: str, width: int, look: Look, going_on: Continuation | None = None) -> list[Line]:
    """The lines of a Markdown text.

    Args:
        text: Untrusted.
        width: Cells that a line may take.
        look: Styles.
        going_on: Given when the text is the rest of one that was cut at a block; learns the link
            references that the text defines.
    """
    going_on = going_on or Continuation()
    text = unix_breaks(text)
    tokens = _parser.parse(text, {"references": going_on.references})
    setter = _Setter(text.split("\n"), look, going_on)
    return setter.blocks(tokens, width, look.text, top=True)


def first_table(text: str, width: int, look: Look) -> Shape:
    """The layout of the table that a text consists of."""
    return shape_of(table_of(_parser.parse(text), look, look.text), width)


def plain_lines(text: str, width: int, look: Look) -> list[Line]:
    """The lines of a text that is not Markdown, such as a question: as typed, only fenced code is set as code."""
    lines: list[Line] = []
    for is_code, language, content in _fences(text):
        if is_code:
            if lines and lines[-1].segments:
                lines.append(Line())
            lines += code_lines(Code(language, content), width, look)
            continue
        for source in content.split("\n"):
            spans = [span for span in literal(source, look.user_text, look) if span.text]
            lines += [from_spans(found, joint) for found, joint in wrap(spans, min(width, PROSE))]
    return lines


def _fences(text: str) -> list[tuple[bool, str, str]]:
    """A text divided at its code fences: whether it is code, its language, the content."""
    text = unix_breaks(text)
    parts: list[tuple[bool, str, str]] = []
    plain: list[str] = []
    rows = text.split("\n")
    tokens = [token for token in block_tokens(text) if token.type == "fence" and token.level == 0]
    at = 0
    for token in tokens:
        start, end = token.map or [0, 0]
        plain = rows[at:start]
        if plain:
            parts.append((False, "", "\n".join(plain)))
        parts.append((True, language_of(token.info), token.content))
        at = end
    if rows[at:] and (at == 0 or any(row.strip() for row in rows[at:])):
        parts.append((False, "", "\n".join(rows[at:])))
    return parts


class _Setter:
    """Sets the tokens of one text."""

    def __init__(self, source: Sequence[str], look: Look, going_on: Continuation) -> None:
        self.source = source
        self.look = look
        self.going_on: Continuation | None = going_on
        self.depth = 0
        """Lists around what is being set."""
        self._handlers: dict[str, Callable[[Sequence[Token], int, Style], list[Line]]] = {
            "paragraph_open": self._paragraph,
            "heading_open": self._heading,
            "bullet_list_open": self._list,
            "ordered_list_open": self._list,
            "blockquote_open": self._quote,
            "fence": self._code,
            "code_block": self._code,
            "hr": self._rule,
            "table_open": self._table,
        }

    def blocks(self, tokens: Sequence[Token], width: int, base: Style, *, top: bool = False) -> list[Line]:
        """The lines of blocks that stand below each other."""
        lines: list[Line] = []
        before = ""
        first = True
        for block in _divide(tokens):
            opening = block[0]
            handler = self._handlers.get(opening.type)
            if handler is None:
                continue
            if top and first and self.going_on is not None:
                lines += gap_after(self.going_on, opening.type)
            elif before and _stands_apart(before, opening.type, self._has_gap(opening), top):
                lines.append(Line())
            lines += handler(block, width, base)
            before, first, self.going_on = opening.type, False, None
        return lines

    def _has_gap(self, token: Token) -> bool:
        """Whether a blank line stands before a block in the source."""
        start = token.map[0] if token.map else 0
        return start > 0 and not self.source[start - 1].strip(" \t>")

    def _paragraph(self, block: Sequence[Token], width: int, base: Style) -> list[Line]:
        lead = self.going_on.lead if self.going_on else ()
        return _prose([*lead, *spans_of(block[1].children or [], self.look, base)], width)

    def _heading(self, block: Sequence[Token], width: int, _base: Style) -> list[Line]:
        level = int(block[0].tag[1:])
        style = (self.look.h1, self.look.h2, self.look.h3)[min(level, 3) - 1]
        return _prose(spans_of(block[1].children or [], self.look, style), width)

    def _rule(self, _block: Sequence[Token], width: int, _base: Style) -> list[Line]:
        size = min(width, PROSE)
        return [Line([Segment("─" * size, self.look.rule)], indent=size)]

    def _quote(self, block: Sequence[Token], width: int, _base: Style) -> list[Line]:
        if width < NARROWEST:
            return self.blocks(block[1:-1], width, self.look.quote)
        inner = self.blocks(block[1:-1], width - 2, self.look.quote)
        return [line.prefixed([Segment("▎ ", self.look.bullet)]) for line in inner]

    def _list(self, block: Sequence[Token], width: int, base: Style) -> list[Line]:
        number = int(block[0].attrGet("start") or 1) if block[0].type.startswith("ordered") else None
        going_on, self.going_on = self.going_on, None
        if going_on is not None and going_on.in_list and number is not None:
            number = going_on.number
        self.depth += 1
        lines: list[Line] = []
        for position, item in enumerate(_divide(block[1:-1])):
            if position and self._has_gap(item[0]):
                lines.append(Line())
            lines += self._item(item, number, width, base)
            number = number + 1 if number is not None else None
        self.depth -= 1
        return lines

    def _item(self, item: Sequence[Token], number: int | None, width: int, base: Style) -> list[Line]:
        """One item: its bullet or number before the first line, the others below the text."""
        bullet = f"{number}. " if number is not None else f"{_BULLETS[(self.depth - 1) % len(_BULLETS)]} "
        inner = item[1:-1]
        if number is None and len(inner) > 1 and inner[0].type == "paragraph_open" and inner[1].children:
            first = inner[1].children[0]
            if first.type == "text" and (task := _TASK.match(first.content)):
                bullet = "☐ " if task.group(1) == " " else "☑ "
                first.content = first.content[task.end() :]
        if width < NARROWEST + len(bullet):
            return self.blocks(inner, width, base)
        lines = self.blocks(inner, width - len(bullet), base) or [Line()]
        style = base + Style(color=self.look.bullet.color)
        lines[0].prefixed([Segment(bullet, style)], selectable=not lines[0].indent)
        for line in lines[1:]:
            line.prefixed([Segment(" " * len(bullet), base)])
        return lines

    def _code(self, block: Sequence[Token], width: int, _base: Style) -> list[Line]:
        token = block[0]
        if self.going_on is not None and self.going_on.code is not None:
            self.going_on.code.rest = token.content
            return code_body(token.content, self.going_on.code, width, self.look)
        return code_lines(Code(language_of(token.info), token.content), width, self.look)

    def _table(self, block: Sequence[Token], width: int, base: Style) -> list[Line]:
        table = table_of(block, self.look, base)
        return table_lines(table, width, self.look, self.going_on.table if self.going_on else None)


def table_of(block: Sequence[Token], look: Look, base: Style) -> Table:
    """The cells of a table's tokens."""
    rows: list[list[list[Span]]] = []
    aligns: list[str] = []
    for token, following in pairwise(block):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            style = base + Style(bold=True) if token.type == "th_open" else base
            rows[-1].append(spans_of(cell_breaks(following.children or []), look, style))
            if token.type == "th_open":
                aligns.append(str(token.attrGet("style") or "text-align:left").partition(":")[2])
    return Table(rows, aligns)


def _prose(spans: Sequence[Span], width: int) -> list[Line]:
    """Lines of running text."""
    return [from_spans(found, joint) for found, joint in wrap(spans, min(width, PROSE))]


def _divide(tokens: Sequence[Token]) -> list[Sequence[Token]]:
    """Tokens of one level divided into blocks, each with its opening and closing token."""
    blocks: list[Sequence[Token]] = []
    start = depth = 0
    for i, token in enumerate(tokens):
        depth += token.nesting
        if depth == 0:
            blocks.append(tokens[start : i + 1])
            start = i + 1
    return blocks


def gap_after(going_on: Continuation, after: str) -> list[Line]:
    """What separates a piece from the one before it: a blank line or nothing."""
    if not going_on.after or going_on.code or going_on.table or going_on.lead:
        return []
    if going_on.in_list:
        return [Line()] if going_on.has_gap else []
    return [Line()] if _stands_apart(going_on.after, after, going_on.has_gap, top=True) else []


def _stands_apart(before: str, after: str, has_gap: bool, top: bool) -> bool:
    """Whether a blank line separates two blocks."""
    if before == "heading_open":
        return after == "heading_open" or after in ("table_open", "fence", "code_block")
    if top and not (before == "paragraph_open" and after.endswith("list_open")):
        return True
    return has_gap
