"""A text that grows, set in pieces: blocks that can no longer change are set once and kept.

The cut is asked from the parser, over whole lines only: in CommonMark a line can change nothing
before the block that is still open. Of a long open list the items before the last one are kept, of
a long open fence all but its last lines. What a cut can get wrong (a link reference that is
defined later, a string in code that spans many lines) is put right when the text is complete and
set as a whole.
"""

from __future__ import annotations

import re
from dataclasses import replace

from markdown_it.token import Token
from rich.segment import Segment

from chatterm.ui.widgets.reading.code import code_body, code_head, language_of
from chatterm.ui.widgets.reading.highlight import highlight
from chatterm.ui.widgets.reading.lines import Code, Line
from chatterm.ui.widgets.reading.look import Look
from chatterm.ui.widgets.reading.markdown import (
    Continuation,
    block_tokens,
    first_table,
    gap_after,
    markdown_lines,
)
from chatterm.ui.widgets.reading.tables import to_spans
from chatterm.ui.widgets.reading.untrusted import clean, unix_breaks

CODE_WINDOW, CODE_KEPT = 5, 2
"""Lines of an open fence that are coloured again each time, and how many stay open when the others are kept."""
LONGEST_STRING = 120
"""Lines of an open fence that may be one string or comment before they are kept all the same."""
TABLE_WINDOW, TABLE_KEPT = 40, 16
"""Rows of an open table, likewise."""
LONG = 3_000
"""Characters of a paragraph above which its first lines are kept."""
_CUT = re.compile(r"(?<=[.,;:!?\w])[ \n](?=[^\W\d_])|(?<=[。！？、，；：])(?=[^\W\d_])")
"""Where a paragraph may be cut: before a letter, which can begin nothing but a paragraph."""
_WIDE_CUT = re.compile(r"(?<=[\u3041-\u9fff\uac00-\ud7a3])(?=[\u3041-\u9fff\uac00-\ud7a3])")


class GrowingText:
    """Lines of a Markdown text that is still being written."""

    def __init__(self, width: int, look: Look, bar: str = "") -> None:
        self.width = width - len(bar)
        self.look = look
        self.bar = bar
        """What stands before each line."""
        self.kept: list[Line] = []
        """Lines of the blocks that are finished."""
        self.tail = ""
        """The source that is set again each time."""
        self._seen = 0
        """Characters of the tail in which a cut was looked for."""
        self._long = LONG
        """Characters of the tail above which a paragraph is cut."""
        self._going_on = Continuation()

    def write(self, text: str) -> None:
        """Add what arrived; sets nothing."""
        self.tail += text
        if "\r" in self.tail:  # its other half may be on the way
            half = "\r" if self.tail.endswith("\r") else ""
            self.tail = unix_breaks(self.tail.removesuffix("\r")) + half

    def lines(self) -> list[Line]:
        """The lines that are not in `kept`, after keeping what can be kept."""
        end = self.tail.rfind("\n") + 1
        if end > self._seen:
            self._seen = end
            self._cut(self.tail[:end])
        if len(self.tail) > self._long:
            self._cut_paragraph()
        unsure = replace(self._going_on, references=dict(self._going_on.references))
        return self._barred(markdown_lines(self.tail, self.width, self.look, unsure))

    def _barred(self, lines: list[Line]) -> list[Line]:
        """New lines behind the bar."""
        if self.bar:
            for line in lines:
                line.prefixed([Segment(self.bar, self.look.rule)])
        return lines

    def _cut(self, text: str) -> None:
        """Keep the blocks before the last one, and what can be kept of that one."""
        tokens = block_tokens(text)
        tops = [token for token in tokens if token.level == 0 and token.map and token.nesting >= 0]
        if not tops:
            return
        rows = text.split("\n")
        if len(tops) > 1 and tops[-1].map:
            self._keep(rows, tops[-1].map[0], tops[-2].type)
            return
        if n_rows := _final_rows(tops[0], rows):
            self._keep(rows, n_rows, tops[0].type)
            return
        match tops[0].type:
            case "bullet_list_open" | "ordered_list_open":
                self._cut_list(tokens, rows)
            case "fence":
                self._cut_fence(tops[0], rows)
            case "table_open":
                self._cut_table(tokens, rows)

    def _keep(self, rows: list[str], row: int, after: str, *, in_list: bool = False, number: int | None = None) -> None:
        """Set what stands before a row for good."""
        piece = "\n".join(rows[:row]) + "\n"
        going_on = self._going_on
        self.kept += self._barred(markdown_lines(piece, self.width, self.look, going_on))
        if going_on.code is not None:
            going_on.code.pieces.append(going_on.code.rest)
            going_on.code.rest = ""
        self.tail = self.tail[len(piece) :]
        self._seen -= len(piece)
        self._going_on = Continuation(
            after=after,
            has_gap=not rows[row - 1].strip(),
            in_list=in_list,
            number=number,
            references=going_on.references,
        )

    def _cut_list(self, tokens: list[Token], rows: list[str]) -> None:
        """Keep all items of a list but the last one."""
        items = [token for token in tokens if token.type == "list_item_open" and token.level == 1]
        if len(items) < 2 or items[-1].map is None:
            return
        opening = tokens[0]
        number = None
        if opening.type == "ordered_list_open":
            start = self._going_on.number if self._going_on.number is not None else int(opening.attrGet("start") or 1)
            number = start + len(items) - 1
        self._keep(rows, items[-1].map[0], opening.type, in_list=True, number=number)

    def _cut_fence(self, fence: Token, rows: list[str]) -> None:
        """Keep the first lines of a fence that is still open."""
        body = fence.content.split("\n")
        if len(body) <= CODE_WINDOW:
            return
        start = fence.map[0] if fence.map else 0
        code = self._going_on.code
        if code is None:
            code = Code(language_of(fence.info), "")
            self.kept += self._barred([*gap_after(self._going_on, "fence"), code_head(code, self.width, self.look)])
        n_kept = len(body) - 1 - CODE_KEPT
        styled = highlight(clean(fence.content).expandtabs(4), code.language, self.look.syntax, self.look.code)
        while n_kept > 1 and n_kept - 1 in styled.inside and len(body) < LONGEST_STRING:
            n_kept -= 1
        source = "\n".join(body[:n_kept])
        self.kept += self._barred(code_body(source, code, self.width, self.look, styled[:n_kept]))
        code.pieces.append(source + "\n")
        self._go_on_with([rows[start], *rows[start + 1 + n_kept :]])
        self._going_on = Continuation(after="fence", code=code, references=self._going_on.references)

    def _cut_table(self, tokens: list[Token], rows: list[str]) -> None:
        """Keep the first rows of a long table, and its layout for the others."""
        body = [token.map[0] for token in tokens if token.type == "tr_open" and token.map]
        if len(body) <= TABLE_WINDOW:
            return
        head, cut = rows[: body[1]], body[-TABLE_KEPT]
        piece = "\n".join(rows[:cut]) + "\n"
        going_on = self._going_on
        shape = going_on.table or first_table(piece, self.width, self.look)
        self.kept += self._barred(markdown_lines(piece, self.width, self.look, going_on))
        self._go_on_with([*head, *rows[cut:]])
        self._going_on = Continuation(after="table_open", table=shape, references=going_on.references)

    def _go_on_with(self, rows: list[str]) -> None:
        """Replace the part of the tail in which a cut was found."""
        unseen = self.tail[self._seen :]
        self.tail = "\n".join(rows)
        self._seen = len(self.tail)
        self.tail += unseen

    def _cut_paragraph(self) -> None:
        """Keep the first lines of a long paragraph, cut where no emphasis, code or link is open."""
        self._long = len(self.tail) + LONG // 4
        tokens = block_tokens(self.tail)
        if len(tokens) != 3 or tokens[0].type != "paragraph_open":
            return
        begin, end = len(self.tail) - LONG // 2, len(self.tail) - LONG // 4
        cuts = [*_CUT.finditer(self.tail, begin, end)] or [*_WIDE_CUT.finditer(self.tail, begin, end)]
        match = next((cut for cut in reversed(cuts) if _is_closed(self.tail[: cut.start()])), None)
        if match is None:
            return
        piece = self.tail[: match.start()]
        going_on = self._going_on
        *kept, last = markdown_lines(piece, self.width, self.look, going_on)
        self.kept += self._barred(kept)
        lead = to_spans(last)
        if lead and match.group():
            lead[-1] = lead[-1]._replace(text=lead[-1].text + match.group())
        self.tail = self.tail[match.end() :]
        self._seen = max(self._seen - match.end(), 0)
        self._long = LONG
        self._going_on = Continuation(after="paragraph_open", lead=tuple(lead), references=going_on.references)


def _final_rows(block: Token, rows: list[str]) -> int:
    """Rows up to the end of a block to which nothing can be added, with the blank ones below it; else 0."""
    start, end = block.map or (0, 0)
    below = end
    while below < len(rows) - 1 and not rows[below].strip():
        below += 1
    match block.type:
        case "heading_open" | "hr":
            return below
        case "fence":
            is_closed = end - start > block.content.count("\n") + 1
            return below if is_closed else 0
        case "paragraph_open" | "table_open":
            return below if below > end else 0
    return 0


def _is_closed(text: str) -> bool:
    """Whether inline marks seem to be in pairs."""
    return text.count("[") == text.count("]") and not any(text.count(mark) % 2 for mark in "`*_~")
