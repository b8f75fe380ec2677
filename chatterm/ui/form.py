"""What a form edits: settings with changes that are not applied yet, and values written as text.

Knows neither widgets nor files; the settings panel draws what is here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from chatterm.events import ModelInfo
from chatterm.layers import chosen_sampling, key_of, layered, recommended
from chatterm.settings import Field, LoadOptions, Settings, TemplateValue, check, fields_of

Scope = Literal["conversation", "model", "default"]
Word = Callable[[float], str]
"""What a number means."""
Reader = Callable[[str], Any]
"""Makes a value of a text; a ValueError says why it cannot."""
EVERYWHERE = ("look", "models")
"""Sections that belong to no conversation and no model."""
SECTIONS = ("chat", "sampling", "load", *EVERYWHERE)
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


_RESET = object()
"""Stands for a value that was given up, whatever counts in its place."""


class Draft:
    """Settings being edited: for one conversation, for the model that answers, or as the default.

    A field that was not touched shows what counts in the scope that is chosen; what was touched
    stays, whichever scope is chosen afterwards.
    """

    def __init__(
        self,
        settings: Settings,
        overrides: Mapping[str, Any],
        scope: Scope,
        can_think: bool = False,
        model: ModelInfo | None = None,
    ) -> None:
        self.scope: Scope = scope
        self.can_think = can_think
        self.model_key = key_of(model)
        """What the model is called in the settings; "" for none, which then has none of its own."""
        self._factory = self._values(Settings())
        self._default = self._values(settings)
        self._advised = self._values(layered(msgspec.structs.replace(settings, for_model={}), model))
        self._model = self._values(layered(settings, model))
        self._here = self._values(layered(settings, model, overrides))
        self._chosen, self._overrides = chosen_sampling(settings), overrides
        self._advice = recommended(model).keys() - self._chosen
        self._of_model = settings.for_model.get(self.model_key, {})
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
        edited = self._edits.get((field.section, field.name), self._base(field))
        return self.default(field) if edited is _RESET else edited

    def default(self, field: Field) -> Any:
        """What counts when the field is reset: what the scope below says, for the default what chatterm came with."""
        return self._below(self._scope_of(field))[field.section][field.name]

    def edit(self, field: Field, value: Any) -> None:
        """Take a new value, which need not differ."""
        self._edits[field.section, field.name] = list(value) if isinstance(value, tuple) else value

    def reset(self, field: Field) -> None:
        """Give up the value that the scope has of its own."""
        self._edits[field.section, field.name] = _RESET

    def mark(self, field: Field) -> Literal["", "only here", "for this model", "changed"]:
        """In which way the value is the scope's own."""
        if self.value(field) == self.default(field):
            return ""
        match self._scope_of(field):
            case "conversation":
                return "only here"
            case "model":
                return "for this model"
        return "changed"

    def source(self, field: Field) -> Literal["", "for this model", "from the model file"]:
        """Where the value that a reset gives comes from, if it is neither the user's default nor chatterm's."""
        scope = self._scope_of(field)
        if scope == "conversation" and self._is_of_model(field):
            return "for this model"
        return "from the model file" if scope != "default" and self._is_advised(field) else ""

    def note(self, field: Field) -> str:
        """What counts instead of a value that is set here, as a sentence; empty where nothing does."""
        scope, (section, name) = self._scope_of(field), (field.section, field.name)
        if section in EVERYWHERE or scope == "conversation":
            return ""
        if self._here[section][name] != self._model[section][name]:
            return "This conversation has a value of its own."
        if scope == "default" and self._is_of_model(field):
            return "The model that answers has a value of its own."
        if scope == "default" and self._is_advised(field):
            advised = self._advised[section][name]
            return f"Until you choose a value here, {shown(field, advised)} counts, which the model file recommends."
        return ""

    def changes(self) -> dict[str, Any]:
        """What was changed, shaped like the file; None where the scope gives up its own value.

        Template variables come all together, as they differ from the default; one that is taken out is None.
        """
        changes: dict[str, Any] = {}
        for section in self._factory:
            for field in self.fields(section):
                if self._is_changed(field):
                    name = VARIABLES if field is THINKING else field.name
                    changes.setdefault(section, {})[name] = self._change(field)
        return changes

    def _is_changed(self, field: Field) -> bool:
        if self.value(field) != self._base(field):
            return True
        return self._edits.get((field.section, field.name)) is _RESET and self._states(field)

    def _states(self, field: Field) -> bool:
        """Whether the scope has a value of its own, be it the one that would count anyway."""
        match self._scope_of(field):
            case "conversation":
                return field.name in self._overrides.get(field.section, {}) and field.name != VARIABLES
            case "model":
                return self._is_of_model(field) and field.name != VARIABLES
        return field.section == "sampling" and field.name in self._chosen

    def _change(self, field: Field) -> Any:
        scope = self._scope_of(field)
        if field is THINKING or field.name == VARIABLES:
            return self._changed_variables(scope)
        if self._edits[field.section, field.name] is _RESET:
            return None
        return None if scope != "default" and self.value(field) == self.default(field) else self.value(field)

    def _changed_variables(self, scope: Scope) -> dict[str, Any] | None:
        """The template variables as they differ from those of the scope below."""
        edited = {field.name: self.value(field) for field in self.fields("chat") if field.name in self._factory["chat"]}
        below = self._default if scope == "default" else self._below(scope)
        difference = _difference(_whole(below["chat"]), _whole(edited))
        if not difference:
            return {} if scope == "default" else None
        own = self._of_model.get("chat", {}).get(VARIABLES, {}) if scope == "model" else {}
        return {**dict.fromkeys(own), **difference}

    def _values(self, settings: Settings) -> dict[str, dict[str, Any]]:
        """All values by section and field."""
        plain = msgspec.json.decode(msgspec.json.encode(settings))  # lists, no tuples
        values: dict[str, dict[str, Any]] = {section: plain[section] for section in SECTIONS}
        if self.can_think:
            values["chat"][THINKING.name] = values["chat"][VARIABLES].pop(THINKING.name, None)
        return values

    def _scope_of(self, field: Field) -> Scope:
        """For what a change of a field counts while this scope is chosen."""
        return scope_of(self.scope, field.section, field.name)

    def _below(self, scope: Scope) -> dict[str, dict[str, Any]]:
        """What counts without the values that a scope has of its own."""
        return {"conversation": self._model, "model": self._advised, "default": self._factory}[scope]

    def _base(self, field: Field) -> Any:
        """The value before anything was edited."""
        values = {"conversation": self._here, "model": self._model, "default": self._default}
        return values[self._scope_of(field)][field.section][field.name]

    def _is_of_model(self, field: Field) -> bool:
        if field is THINKING:
            return THINKING.name in self._of_model.get("chat", {}).get(VARIABLES, {})
        return field.name in self._of_model.get(field.section, {})

    def _is_advised(self, field: Field) -> bool:
        return field.section == "sampling" and field.name in self._advice


class SettingsResult(msgspec.Struct, frozen=True):
    """What the user applied."""

    changes: dict[str, Any]
    """Shaped like the settings file, only what changed; None where a value is given up."""
    scope: Scope
    model: str = ""
    """What the model is called in the settings, where they are for it."""

    @property
    def overrides(self) -> dict[str, Any]:
        """The part that belongs to the open conversation."""
        return self._part("conversation")

    @property
    def defaults(self) -> dict[str, Any]:
        """The part that belongs into the settings file, what is for the model alone in its own table."""
        of_model = self._part("model")
        return self._part("default") | ({"for_model": {self.model: of_model}} if of_model else {})

    def _part(self, scope: Scope) -> dict[str, Any]:
        parts = {
            section: {name: value for name, value in values.items() if scope_of(self.scope, section, name) == scope}
            for section, values in self.changes.items()
        }
        return {section: values for section, values in parts.items() if values}


def scope_of(chosen: Scope, section: str, name: str) -> Scope:
    """For what a change counts: looks for everything, and which model answers is nothing that a model has."""
    if section in EVERYWHERE:
        return "default"
    return "conversation" if chosen == "model" and (section, name) == ("chat", "model") else chosen


def chosen_automatically(model: ModelInfo | None, load: LoadOptions) -> dict[str, str]:
    """What was chosen for the loaded model where the user left it open, by the name of the field.

    Example: {"n_ctx": "8,192", "n_threads": "3", "n_gpu_layers": "no GPU", "flash_attention": "on"}
    """
    if model is None or model.host:
        return {}
    words: dict[str, str] = {}
    if load.n_ctx == 0 and model.n_ctx:
        words["n_ctx"] = f"{model.n_ctx:,}"
    if load.n_threads == 0 and model.n_threads:
        words["n_threads"] = f"{model.n_threads:,}"
    if load.n_gpu_layers < 0 and model.n_layers:
        words["n_gpu_layers"] = f"{model.n_gpu_layers:,}" if model.n_gpu_layers else "no GPU"
    if load.flash_attention == "auto" and model.n_ctx:
        words["flash_attention"] = "on" if model.flash_attention else "off"
    return words


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
