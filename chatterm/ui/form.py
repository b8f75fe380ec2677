"""What a form edits: settings with changes that are not applied yet, and for what they count.

Knows neither widgets nor files; the settings panel draws what is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from chatterm.events import ModelInfo
from chatterm.layers import chosen_sampling, key_of, layered, recommended
from chatterm.settings import Field, LoadOptions, Settings, fields_of
from chatterm.ui.written import shown

Scope = Literal["conversation", "model", "default"]
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

    @property
    def names_model(self) -> bool:
        """Whether another model shall answer."""
        return "model" in self.changes.get("chat", {})

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
