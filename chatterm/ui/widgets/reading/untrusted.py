"""Text from outside (a model, a paste, a file) made harmless for a terminal.

Whatever is drawn goes through `clean`, after Markdown was parsed, since entities can spell what
the source did not contain. What is copied is the text as it was said; only what is drawn is changed.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

SCHEMES = frozenset({"http", "https", "mailto"})
"""What a link may open."""
MARKS = 6
"""Combining marks that one character may carry; more would be drawn over other lines."""

_DROPPED = "\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
_UNSAFE = re.compile(
    f"(?P<drop>[{_DROPPED}]|(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0000-\U000e007f])"
    "|(?P<break>\r\n?|[\u2028\u2029])"
    "|(?P<control>[\x00-\x08\x0b-\x1f\x7f])"
    "|(?P<broken>[\x80-\x9f\ud800-\udfff\ufffe\uffff])"
)
_MARK = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f"
_PILE = re.compile(f"([{_MARK}]{{{MARKS}}})[{_MARK}]+")


def clean(text: str) -> str:
    """Text that can only be text: control characters become pictures, overrides of direction go.

    Newlines and tabs stay. Lone surrogates and C1 controls become U+FFFD, so that the result can
    always be encoded.

    Example: "a", ESC, "[31mb" -> "a␛[31mb"
    """
    if text.isascii() and text.isprintable():
        return text
    return _PILE.sub(r"\1", _UNSAFE.sub(_replacement, text))


def _replacement(match: re.Match[str]) -> str:
    """What stands in the place of an unsafe character."""
    match match.lastgroup:
        case "drop":
            return ""
        case "break":
            return "\n"
        case "control":
            character = match.group()
            return "␡" if character == "\x7f" else chr(0x2400 + ord(character))
        case _:
            return "\ufffd"


def unix_breaks(text: str) -> str:
    """The text with each kind of line break as a newline.

    Example: "a", CR, LF, "b", CR, "c" -> three lines
    """
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def safe_url(target: str) -> str | None:
    """A target that may be opened, as ASCII without control characters; None for all others.

    Example: "javascript:alert(1)" -> None
    """
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in target):
        return None
    try:
        parts = urlsplit(target)
        host = parts.hostname
    except ValueError:
        return None
    if parts.scheme.lower() not in SCHEMES or (parts.scheme.lower() != "mailto" and not host):
        return None
    return clean(target)


def hides_its_target(shown: str, url: str) -> bool:
    """Whether the text of a link looks like another address than the one that it opens.

    Example: "https://bank.example", "https://thief.example/x" -> True
    """
    looks_like = re.match(r"\s*(?:(?:https?:)?//)?(?:www\.)?([\w-]+(?:\.[\w-]+)+)", shown, re.IGNORECASE)
    if looks_like is None or url.lower().startswith("mailto:"):
        return False
    host = (urlsplit(url).hostname or "").removeprefix("www.")
    said = looks_like.group(1).lower()
    return not (host == said or host.endswith("." + said)) and "." in said and not said.replace(".", "").isdigit()
