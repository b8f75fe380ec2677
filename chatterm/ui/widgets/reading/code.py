"""Code blocks as lines: a label and a copy mark, then the code on its own background."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment

from chatterm.ui.widgets.reading.highlight import highlight
from chatterm.ui.widgets.reading.inline import flat
from chatterm.ui.widgets.reading.lines import Code, Line, Link, Span, wrap
from chatterm.ui.widgets.reading.look import Look
from chatterm.ui.widgets.reading.untrusted import clean

COPY = "copy"


def code_lines(code: Code, width: int, look: Look) -> list[Line]:
    """A code block: its label and copy mark, then the code, on its own background."""
    return [code_head(code, width, look), *code_body(code.source, code, width, look)]


def code_body(
    source: str, code: Code, width: int, look: Look, styled: Sequence[Sequence[Span]] | None = None
) -> list[Line]:
    """The lines of code, wrapped where they are longer than the width.

    Args:
        source: The code, or that part of it that is set here.
        code: The block that the lines belong to.
        width: Cells of the whole block.
        look: Styles.
        styled: The lines as spans, where they were coloured already.
    """
    source = source.removesuffix("\n")
    shown = clean(source).expandtabs(4)
    styled = styled if styled is not None else highlight(shown, code.language, look.syntax, look.code)
    written = source.split("\n")
    lines = []
    edge = [Segment(" ", look.code)]
    for number, spans in enumerate(styled):
        pieces = wrap(spans, width - 2)
        for found, joint in pieces:
            line = Line([Segment(s.text, s.style) for s in found], joint=joint, fill=look.code, code=code)
            if len(pieces) == 1 and number < len(written) and "\t" in written[number]:
                line.source = written[number]
            lines.append(line.prefixed(edge))
    return lines


def code_head(code: Code, width: int, look: Look) -> Line:
    """The line above code: the language at the left, the copy mark at the right."""
    label = flat(code.language) if code.language else "text"
    label = set_cell_size(label, min(cell_len(label), max(width - len(COPY) - 4, 1)))
    gap = " " * max(width - cell_len(label) - len(COPY) - 2, 1)
    line = Line([Segment(f" {label}{gap}{COPY} ", look.code_label)], fill=look.code_label, code=code, joint="")
    line.indent = line.cells
    start = width - len(COPY) - 1
    line.mark = Link(start, start + len(COPY), "")
    return line


def language_of(info: str) -> str:
    """The language named behind a fence.

    Example: "python title=x" -> "python"
    """
    return clean(info).strip().split(maxsplit=1)[0].strip("{}.,")[:32] if info.strip() else ""
