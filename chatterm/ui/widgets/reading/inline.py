"""Inline Markdown as spans: emphasis, code, links, line breaks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from markdown_it.token import Token
from rich.style import Style

from chatterm.ui.widgets.reading.lines import Span
from chatterm.ui.widgets.reading.look import Look, over
from chatterm.ui.widgets.reading.untrusted import clean, hides_its_target, safe_url

_STYLES = {
    "strong_open": Style(bold=True),
    "em_open": Style(italic=True),
    "s_open": Style(strike=True),
}
_BARE_URL = re.compile(r"https?://[^\s<>\"'`|]+", re.IGNORECASE)
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


def spans_of(tokens: Sequence[Token], look: Look, base: Style) -> list[Span]:
    """The spans of an inline token's children.

    A line break of the source stays one: models break lines where they mean it.
    """
    return [span for span in _spans(tokens, look, base) if span.text]


def _spans(tokens: Sequence[Token], look: Look, base: Style) -> Iterator[Span]:
    """Spans, one for each text token and link."""
    styles = [base]
    url, shown = "", ""
    for token in tokens:
        match token.type:
            case "text" | "text_special" | "html_inline":
                shown += token.content
                yield from literal(token.content, styles[-1], look, url)
            case "code_inline":
                shown += token.content
                style = look.inline_code + _attributes(styles[-1])
                yield Span(flat(token.content), style + _attributes(look.link) if url else style, url)
            case "softbreak" | "hardbreak":
                yield Span("\n", styles[-1])
            case "link_open":
                url, shown = safe_url(str(token.attrGet("href") or "")) or "", ""
                target = clean(str(token.attrGet("href") or ""))
                styles.append(styles[-1] + over(look.link) if url else styles[-1])
            case "link_close":
                styles.pop()
                if not url and target:
                    yield Span(f" ({flat(target)})", look.note)
                elif hides_its_target(shown, url):
                    yield Span(f" ({flat(url)})", look.note)
                url = ""
            case "image":
                source = str(token.attrGet("src") or "")
                alt = flat(token.content) or "image"
                target_url = safe_url(source) or ""
                yield Span(f"[{alt}]", styles[-1] + (over(look.link) if target_url else look.note), target_url)
            case "strong_open" | "em_open" | "s_open":
                styles.append(styles[-1] + _STYLES[token.type])
            case "strong_close" | "em_close" | "s_close":
                styles.pop()


def literal(text: str, style: Style, look: Look, url: str = "") -> Iterator[Span]:
    """Text as it is, with bare addresses as links."""
    if url or "://" not in text:
        yield Span(flat(text), style, url)
        return
    at = 0
    for match in _BARE_URL.finditer(text):
        address = match.group().rstrip(".,;:!?*_~")
        if address.endswith(")") and "(" not in address:
            address = address.rstrip(")")
        yield Span(flat(text[at : match.start()]), style)
        target = safe_url(address) or ""
        yield Span(flat(address), style + over(look.link) if target else style, target)
        at = match.start() + len(address)
    yield Span(flat(text[at:]), style)


def flat(text: str) -> str:
    """Text made safe, on one line."""
    text = clean(text)
    return " ".join(text.split("\n")).expandtabs(4) if "\n" in text or "\t" in text else text


def cell_breaks(tokens: Sequence[Token]) -> list[Token]:
    """The tokens of a table's cell, where `<br>` is the only way to break a line."""
    found: list[Token] = []
    for token in tokens:
        if token.type != "text" or not _BREAK.search(token.content):
            found.append(token)
            continue
        for i, piece in enumerate(_BREAK.split(token.content)):
            if i:
                found.append(Token("hardbreak", "br", 0))
            found.append(Token("text", "", 0, content=piece))
    return found


def _attributes(style: Style) -> Style:
    """Only bold, italic and the like of a style."""
    return style.without_color
