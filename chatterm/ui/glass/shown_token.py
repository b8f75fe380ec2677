"""A token as it is drawn: its text, what it is in the prompt, what is said of it. Knows no widget."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from chatterm.ui.widgets.reading.untrusted import clean


class TokenKind(StrEnum):
    """What a token is in the prompt."""

    TEMPLATE = "template"
    """Put around what was said by the chat template."""
    SPECIAL = "special"
    """A control token, which stands for no text."""
    SAID = "said"
    """Of a message, or of the system prompt."""
    DRAWN = "drawn"
    """Made by the model just now."""
    UNCUT = "uncut"
    """Text whose tokens are not told."""


class ShownToken(NamedTuple):
    """A token to draw."""

    text: str
    """As `shown` gives it."""
    kind: TokenKind = TokenKind.SAID
    note: str = ""
    """What is said of it while the mouse is on it."""


def shown(piece: bytes) -> str:
    r"""The bytes of a token as they can be drawn: line breaks as signs, bytes that are no whole character by their value.

    Example: b" the" -> " the", b"\n" -> "↵\n", b"\xf0" -> "⟨F0⟩"
    """
    try:
        text = piece.decode()
    except UnicodeDecodeError:
        return "".join(f"⟨{byte:02X}⟩" if byte > 0x7F else clean(chr(byte)) for byte in piece)
    return clean(text).replace("\n", "↵\n").replace("\t", "⇥")
