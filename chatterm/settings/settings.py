"""All settings as one record: checked as a whole, and other ones by laying changes over them.

Knows no file, no form and no model; which value counts for a model is decided in `layers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from chatterm.errors import SettingsError
from chatterm.settings.mistakes import no_such_setting, refusal
from chatterm.settings.records import ChatSettings, LoadOptions, LookSettings, ModelsSettings, Sampling
from chatterm.settings.servers import ServerSettings, wrong_with


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that the user can choose; each field is a section of the file."""

    chat: ChatSettings = ChatSettings()
    sampling: Sampling = Sampling()
    load: LoadOptions = LoadOptions()
    look: LookSettings = LookSettings()
    models: ModelsSettings = ModelsSettings()
    keys: dict[str, str] = {}
    """Keys of one's own: action = "key" (or "key,key"), as the help page names the actions."""
    servers: dict[str, ServerSettings] = {}
    """Servers to chat with, by the name that stands before the colon in SERVER:MODEL."""
    for_model: dict[str, dict[str, Any]] = {}
    """Settings of one model, by what `layers.key_of` calls it: shaped like the file, only what is said there."""
    stated: frozenset[str] = frozenset()
    """Sampling settings that somebody states although they are at their defaults; noted when they are, in no file."""

    def __post_init__(self) -> None:
        for name, server in self.servers.items():
            if reason := wrong_with(name, server):
                raise ValueError(f"servers.{name}: {reason}")
        for name, values in self.for_model.items():
            if reason := _wrong_for_model(values):
                raise ValueError(f"for_model.{name}: {reason}")

    def merged(self, changes: Mapping[str, Any]) -> Settings:
        """These settings with some values changed, checked.

        Args:
            changes: Shaped like the file, only what differs: `{"sampling": {"temperature": 0.2}}`.
                None takes a value out, so that its default counts again.

        Raises:
            SettingsError: a value is out of its bounds or unknown; names the key.
        """
        merged = _checked(merge(msgspec.to_builtins(self), changes))
        given = changes.get("sampling", {})
        stated = self.stated.difference(given) | _stated_by(given, merged)
        return msgspec.structs.replace(merged, stated=stated)

    def merged_as_far_as_valid(self, changes: Mapping[str, Any]) -> Settings:
        """These settings with changes from another time; what is not valid any more is left out."""
        with suppress(SettingsError):
            return self.merged(changes)
        settings = self
        for section, values in changes.items():
            for name, value in values.items() if isinstance(values, Mapping) else ():
                with suppress(SettingsError):
                    settings = settings.merged({section: {name: value}})
        return settings


class _ModelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What can be set for one model; only to check it, since what was not said must stay unsaid."""

    chat: ChatSettings = ChatSettings()
    sampling: Sampling = Sampling()
    load: LoadOptions = LoadOptions()


def settings_of(table: Mapping[str, Any]) -> Settings:
    """Settings from a table shaped like the file, with a note of what it states although it need not.

    Raises:
        SettingsError: a value is out of its bounds or unknown; names the key.
    """
    if "stated" in table:
        raise no_such_setting("", "stated", _names())
    settings = _checked(table)
    return msgspec.structs.replace(settings, stated=_stated_by(table.get("sampling", {}), settings))


def _stated_by(given: Mapping[str, Any], settings: Settings) -> frozenset[str]:
    """Names of the sampling settings that are given and are at their defaults in the settings made of them."""
    usual = Sampling()
    names = (name for name, value in given.items() if value is not None)
    return frozenset(name for name in names if getattr(settings.sampling, name) == getattr(usual, name))


def _checked(table: Mapping[str, Any]) -> Settings:
    """Settings from a table that may hold the note, too.

    Raises:
        SettingsError: a value is out of its bounds or unknown; names the key.
    """
    try:
        return msgspec.convert(table, Settings)
    except msgspec.ValidationError as error:
        raise refusal(error, _names()) from error


def _wrong_for_model(values: Mapping[str, Any]) -> str:
    """Why settings of one model cannot be used."""
    try:
        settings = msgspec.convert(values, _ModelSettings)
    except msgspec.ValidationError as error:
        return refusal(error, _names()).message.rstrip(".")
    return "chat.model: a model cannot name another one" if settings.chat.model else ""


def _names() -> list[str]:
    """All that can stand on the left in the file."""
    sections = msgspec.to_builtins(Settings())
    del sections["stated"]
    own = (*ServerSettings.__struct_fields__, *(name for values in sections.values() for name in values))
    return [*sections, *own]


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested tables, the second one over the first, free tables (keys, variables) too; None takes out.

    Example: merge({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": None}}) -> {"a": {"b": 3}}
    """
    merged = dict(base)
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            old = merged.get(key)
            merged[key] = merge(old if isinstance(old, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged
