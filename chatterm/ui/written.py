"""Values of settings as people write and read them: numbers with their words, lists and tables as lines of text.

Knows fields and their bounds, neither widgets nor what is edited.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chatterm.settings import Field, TemplateValue, check, fields_of

Word = Callable[[float], str]
"""What a number means."""
Reader = Callable[[str], Any]
"""Makes a value of a text; a ValueError says why it cannot."""


def number(field: Field, text: str) -> float:
    """The number that was typed.

    Raises:
        ValueError: it is not one, or out of bounds; says what can be typed.
    """
    cleaned = text.strip().replace(" ", "").replace("_", "")
    cleaned = cleaned.replace(",", "") if field.kind == "integer" else cleaned.replace(",", ".")
    try:
        value = int(cleaned) if field.kind == "integer" else float(cleaned)
    except ValueError:
        value = None
    if value is None or check(field, value):
        raise ValueError(f"Type a {'whole ' if field.kind == 'integer' else ''}number {bounds(field)}.")
    return value


def bounds(field: Field) -> str:
    """The range of a number in words.

    Example: "from 0 to 3"
    """
    return f"from {plain(field, field.minimum)} to {plain(field, field.maximum)}"


def shown(field: Field, value: float) -> str:
    """A number as it is shown: special values in words.

    Example: 0 in the context window -> "automatic", 0.8 in the temperature -> "0.80"
    """
    if field.special and value == field.minimum:
        return field.special
    if field.kind == "integer":
        return f"{value:,}"
    step = f"{field.step:g}"
    decimals = max(len(text.partition(".")[2]) for text in (step, f"{value:g}"))
    return f"{value:.{decimals}f}"


def plain(field: Field, value: float | None) -> str:
    """A number without its word.

    Example: 1000 -> "1,000"
    """
    return "" if value is None else f"{value:,}" if field.kind == "integer" else f"{value:g}"


def temperature_word(temperature: float) -> str:
    """How text at a temperature reads."""
    for limit, word in ((0.0, "the likeliest"), (0.45, "predictable"), (1.0, "balanced"), (1.4, "creative")):
        if temperature <= limit:
            return word
    return "wild" if temperature <= 1.8 else "incoherent"


_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_UNESCAPES = {escape[1]: character for character, escape in _ESCAPES.items()}


def escaped(lines: Sequence[str]) -> str:
    r"""Texts one a line, with line breaks and other control characters as escapes.

    Example: a text that is one line break -> \n
    """
    return "\n".join("".join(_escape(character) for character in line) for line in lines)


def unescaped(text: str) -> tuple[str, ...]:
    """The texts that were written one a line; empty lines are none.

    Raises:
        ValueError: an escape is not known; says in which line.
    """
    return tuple(_unescape(line, i) for i, line in enumerate(text.split("\n"), 1) if line)


def _escape(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    return character if character.isprintable() else f"\\u{ord(character):04x}"


def _unescape(line: str, i: int) -> str:
    def one(found: re.Match[str]) -> str:
        code = found[1]
        if code in _UNESCAPES:
            return _UNESCAPES[code]
        if len(code) > 1:
            return chr(int(code[1:], 16))
        raise ValueError(f"Line {i}: \\{code} means nothing. Write \\n, \\t, or \\\\ for a backslash.")

    return re.sub(r"\\(u[0-9a-fA-F]{4}|.|$)", one, line)


def listed(text: str) -> tuple[str, ...]:
    """The entries that were written one a line."""
    return tuple(line.strip() for line in text.split("\n") if line.strip())


def endpoints(text: str) -> tuple[str, ...]:
    """The servers that were written one a line.

    Raises:
        ValueError: a line is no HOST:PORT; says which.
    """
    found = listed(text)
    field = next(field for field in fields_of("load") if field.name == "rpc_servers")
    for i, server in enumerate(found, 1):
        if check(field, [server]):
            raise ValueError(f"Line {i}: write it like 10.0.0.2:50052.")
    return found


def assignments(variables: Mapping[str, TemplateValue]) -> str:
    """Template variables, one a line.

    Example: {"enable_thinking": False} -> "enable_thinking = false"
    """
    return "\n".join(f"{key} = {_literal(value)}" for key, value in variables.items())


def variables(text: str) -> dict[str, TemplateValue]:
    """The template variables that were written one a line.

    Raises:
        ValueError: a line is no `name = value`; says which and how to write it.
    """
    found: dict[str, TemplateValue] = {}
    for i, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"Line {i}: write it like enable_thinking = false.")
        if name in found:
            raise ValueError(f"Line {i}: {name} is there already.")
        found[name] = _value(value, name, i)
    return found


def _literal(value: TemplateValue) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(text: str, name: str, i: int) -> TemplateValue:
    import tomllib  # late: only this field needs it

    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = None
    if isinstance(value, bool | int | float | str):
        return value
    if text.lower() in ("true", "false"):
        raise ValueError(f"Line {i}: write it small: {name} = {text.lower()}.")
    raise ValueError(f'Line {i}: after "=" comes true, false, a number, or a text in quotes.')
