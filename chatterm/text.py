"""Texts of unknown origin (a model, a file name, the Hub) made fit to be shown or sent, and sizes in words.

Pure functions for everything below the screen; the transcript has rules of its own for what it draws.
"""

from __future__ import annotations

import unicodedata
from typing import Any

BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the reading direction of what follows, even outside their own text."""


def plain(text: str) -> str:
    r"""A text in which nothing can steer a terminal: no escapes, other controls or changes of direction.

    Example: "a\x1b[31mb" -> "a�[31mb"; line breaks and tabs stay
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if _is_safe(character) else "\ufffd" for character in text)


def line(text: str) -> str:
    """The same for text that must stay on one line, such as a title or a file name."""
    return plain(" ".join(text.split()))


def is_name(text: str) -> bool:
    """Whether a text can be shown as it is, on one line."""
    return not {"\n", "\t"} & set(text) and plain(text) == text


def expressible(value: Any) -> Any:
    """A value made of lists, dictionaries and texts in which all texts can be written as UTF-8.

    File names and arguments need not be UTF-8; Python keeps their stray bytes as lone surrogates,
    which nothing takes. They become "?".
    """
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case list() | tuple():
            return [expressible(each) for each in value]
        case dict():
            return {expressible(key): expressible(each) for key, each in value.items()}
        case _:
            return value


def amount(n_bytes: float) -> str:
    """A number of bytes as people read it, in powers of a thousand as disks are sold.

    Example: 9_130_000_000 -> "9.1 GB"
    """
    for unit in ("bytes", "kB", "MB"):
        if n_bytes < 999.5:
            digits = f"{n_bytes:.1f}".removesuffix(".0") if n_bytes < 9.95 else f"{n_bytes:.0f}"
            return f"{digits} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} GB"


def duration(seconds: float) -> str:
    """A length of time, roughly.

    Example: 200 -> "3 min"
    """
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _is_safe(character: str) -> bool:
    """Whether a terminal only draws this character."""
    if character in "\n\t":
        return True
    return unicodedata.category(character) not in {"Cc", "Cs"} and character not in BIDI
