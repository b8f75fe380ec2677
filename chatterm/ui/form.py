"""What a form edits: settings with changes that are not applied yet, and values written as text.

Knows neither widgets nor files; the settings panel draws what is here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from chatterm.settings import Field, Settings, TemplateValue, check, fields_of

Scope = Literal["conversation", "default"]
Word = Callable[[float], str]
"""What a number means."""
Reader = Callable[[str], Any]
"""Makes a value of a text; a ValueError says why it cannot."""
EVERYWHERE = ("look", "models")
"""Sections that never belong to one conversation."""
VARIABLES = "template_variables"
THINKING = Field(
    section="chat",
    name="enable_thinking",
    title="Thinking",
    help="Whether the model thinks before it answers; this takes time and tokens.",
    kind="choice",
    default=None,
)
"""The template variable that is a field of its own, where the model's template reacts to it."""


class Draft:
    """Settings being edited, for one conversation or as the default.

    A field that was not touched shows what counts in the scope that is chosen; what was touched
    stays, whichever scope is chosen afterwards.
    """

    def __init__(self, settings: Settings, overrides: Mapping[str, Any], scope: Scope, can_think: bool = False) -> None:
        self.scope: Scope = scope
        self.can_think = can_think
        self._factory = self._values(Settings())
        self._default = self._values(settings)
        self._here = self._values(settings.merged_as_far_as_valid(overrides))
        self._edits: dict[tuple[str, str], Any] = {}

    def fields(self, section: str) -> tuple[Field, ...]:
        """What can be edited in a section."""
        fields = fields_of(section)
        if section != THINKING.section or not self.can_think:
            return fields
        place = [field.name for field in fields].index(VARIABLES)
        return (*fields[:place], THINKING, *fields[place:])

    def value(self, field: Field) -> Any:
        """What the field shows."""
        return self._edits.get((field.section, field.name), self._base(field))

    def default(self, field: Field) -> Any:
        """What counts when the field is reset: the default, or for the default itself what chatterm came with."""
        source = self._default if self._is_here(field) else self._factory
        return source[field.section][field.name]

    def edit(self, field: Field, value: Any) -> None:
        """Take a new value, which need not differ."""
        self._edits[field.section, field.name] = list(value) if isinstance(value, tuple) else value

    def mark(self, field: Field) -> Literal["", "only here", "changed"]:
        """In which way the value is not the usual one."""
        if self.value(field) == self.default(field):
            return ""
        return "only here" if self._is_here(field) else "changed"

    def hides(self, field: Field) -> bool:
        """Whether the conversation has a value of its own, which a new default does not change."""
        name, section = field.name, field.section
        return not self._is_here(field) and self._here[section][name] != self._default[section][name]

    def changes(self) -> dict[str, Any]:
        """What was changed, shaped like the file; None where a conversation goes back to the default.

        Template variables come all together, as they differ from the default; one that is taken out is None.
        """
        changes: dict[str, Any] = {}
        for section in self._factory:
            for field in self.fields(section):
                if self.value(field) != self._base(field):
                    name = VARIABLES if field is THINKING else field.name
                    changes.setdefault(section, {})[name] = self._change(field)
        return changes

    def _change(self, field: Field) -> Any:
        if field is THINKING or field.name == VARIABLES:
            edited = {name: self._edits.get(("chat", name), value) for name, value in self._base_of("chat").items()}
            difference = _difference(_whole(self._default["chat"]), _whole(edited))
            return difference or (None if self._is_here(field) else {})
        is_default = self._is_here(field) and self.value(field) == self.default(field)
        return None if is_default else self.value(field)

    def _values(self, settings: Settings) -> dict[str, dict[str, Any]]:
        """All values by section and field."""
        values: dict[str, dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(settings))  # lists, no tuples
        del values["keys"], values["servers"]
        if self.can_think:
            values["chat"][THINKING.name] = values["chat"][VARIABLES].pop(THINKING.name, None)
        return values

    def _is_here(self, field: Field) -> bool:
        return self.scope == "conversation" and field.section not in EVERYWHERE

    def _base(self, field: Field) -> Any:
        return self._base_of(field.section)[field.name]

    def _base_of(self, section: str) -> dict[str, Any]:
        is_here = self.scope == "conversation" and section not in EVERYWHERE
        return (self._here if is_here else self._default)[section]


class SettingsResult(msgspec.Struct, frozen=True):
    """What the user applied."""

    changes: dict[str, Any]
    """Shaped like the settings file, only what changed; None where the default counts again."""
    scope: Scope

    @property
    def overrides(self) -> dict[str, Any]:
        """The part that belongs to the open conversation."""
        if self.scope == "default":
            return {}
        return {section: values for section, values in self.changes.items() if section not in EVERYWHERE}

    @property
    def defaults(self) -> dict[str, Any]:
        """The part that belongs into the settings file; looks and folders always do."""
        mine = self.overrides
        return {section: values for section, values in self.changes.items() if section not in mine}


def _whole(values: Mapping[str, Any]) -> dict[str, Any]:
    """All template variables, also the one that is a field of its own."""
    thinking = values.get(THINKING.name)
    return values[VARIABLES] if thinking is None else {**values[VARIABLES], THINKING.name: thinking}


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a table that differ; those that left it as None."""
    changed = {key: value for key, value in now.items() if key not in before or before[key] != value}
    return {**changed, **dict.fromkeys(before.keys() - now.keys())}


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
