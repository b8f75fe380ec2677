"""Code coloured by Pygments, line by line. Pygments is imported when the first code block is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rich.style import Style

from chatterm.ui.widgets.reading.lines import Span

if TYPE_CHECKING:
    from pygments.lexer import Lexer  # type: ignore[import-untyped]

LONGEST = 200_000
"""Characters above which code is left plain, and so is any line above a tenth of it."""

_KINDS = {
    "Keyword": "keyword",
    "Keyword.Type": "type",
    "Keyword.Constant": "number",
    "Name.Builtin": "type",
    "Name.Class": "type",
    "Name.Exception": "type",
    "Name.Function": "name",
    "Name.Decorator": "name",
    "Name.Tag": "keyword",
    "Name.Attribute": "name",
    "Name.Namespace": "type",
    "Literal.String": "string",
    "Literal.Number": "number",
    "Literal.Date": "number",
    "Comment": "comment",
    "Comment.Preproc": "keyword",
    "Operator.Word": "keyword",
    "Operator": "operator",
    "Generic.Inserted": "inserted",
    "Generic.Deleted": "deleted",
    "Generic.Heading": "keyword",
    "Generic.Subheading": "type",
    "Generic.Prompt": "comment",
}


class Highlighted(list[list[Span]]):
    """Spans for each line of code."""

    inside: set[int]
    """Lines after which a string or comment goes on."""


def highlight(source: str, language: str, styles: Mapping[str, Style], plain: Style) -> Highlighted:
    """Colour code; plain for a language that Pygments does not know.

    Args:
        source: Safe to draw, tabs already expanded.
        language: As after the fence, in any case.
        styles: Colours by kind.
        plain: For everything else.
    """
    lines = Highlighted([[]])
    lines.inside = set()
    lexer = _lexer(language.lower()) if language and len(source) <= LONGEST else None
    if lexer is None:
        lines[:] = [[Span(line, plain)] if line else [] for line in source.split("\n")]
        return lines
    for kind, text in _tokens(lexer, source):
        style_name, goes_on = _kind(kind)
        style = styles.get(style_name, plain)
        head, *rest = text.split("\n")
        if head:
            lines[-1].append(Span(head, style))
        for piece in rest:
            if goes_on:
                lines.inside.add(len(lines) - 1)
            lines.append([Span(piece, style)] if piece else [])
    return lines


def _tokens(lexer: Lexer, source: str) -> Any:
    """What the lexer sees, with long runs of the same kind left as they are."""
    for _index, kind, text in lexer.get_tokens_unprocessed(source):
        yield kind, text


@lru_cache(maxsize=64)
def _lexer(language: str) -> Lexer | None:
    """The lexer of a language, None for an unknown one."""
    from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]  # late: it is large
    from pygments.util import ClassNotFound  # type: ignore[import-untyped]

    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


@lru_cache(maxsize=512)
def _kind(token: Any) -> tuple[str, bool]:
    """The colour of a kind of token, and whether it can go on after a line break."""
    parts = str(token).removeprefix("Token").strip(".").split(".")
    goes_on = parts[:2] == ["Literal", "String"] or (
        parts[0] == "Comment" and parts[1:2] not in (["Single"], ["Hashbang"], ["Preproc"])
    )
    while parts:
        if name := _KINDS.get(".".join(parts)):
            return name, goes_on
        parts.pop()
    return "", goes_on
