"""A setting as a form or a command line needs it, made from how it is declared.

Forms and flags are loops over these fields; how one looks is their own business.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, get_args, get_type_hints

import msgspec
from msgspec import inspect

from chatterm.errors import SettingsError
from chatterm.settings.records import ChatSettings, LoadOptions, LookSettings, ModelsSettings, Sampling
from chatterm.settings.settings import Settings

Kind = Literal["number", "integer", "switch", "choice", "text", "list", "table"]
_KINDS: Mapping[type[inspect.Type], Kind] = {
    inspect.FloatType: "number",
    inspect.IntType: "integer",
    inspect.BoolType: "switch",
    inspect.LiteralType: "choice",
    inspect.StrType: "text",
    inspect.DictType: "table",
}
_RECORDS = {
    "chat": ChatSettings,
    "sampling": Sampling,
    "load": LoadOptions,
    "look": LookSettings,
    "models": ModelsSettings,
}


class Field(msgspec.Struct, frozen=True):
    """One setting, as a form or a command line needs it."""

    section: str
    name: str
    title: str
    help: str
    kind: Kind
    default: Any
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()
    special: str = ""
    """What the value at the lower bound means, where it is not a number: "automatic", "random"."""


def about(section: str) -> str:
    """What a section of `Settings` is for, in a sentence or two."""
    return (_RECORDS[section].__doc__ or "").strip()


@cache
def fields_of(section: str) -> tuple[Field, ...]:
    """The fields of a section of `Settings`, in their order.

    Example: fields_of("sampling")[0].name -> "temperature"
    """
    record = _RECORDS[section]
    described = inspect.type_info(record)
    assert isinstance(described, inspect.StructType)
    declared = get_type_hints(record)  # msgspec sorts the values of a choice; here they are as written
    return tuple(_field(section, field, get_args(declared[field.name])) for field in described.fields)


def _field(section: str, field: inspect.Field, values: tuple[Any, ...]) -> Field:
    """A form field from what msgspec knows about a record's field."""
    declared = field.type
    extra: dict[str, Any] = {}
    words: dict[str, Any] = {}
    if isinstance(declared, inspect.Metadata):
        extra, words, declared = declared.extra or {}, declared.extra_json_schema or {}, declared.type
    kind = _KINDS.get(type(declared), "list")
    return Field(
        section=section,
        name=field.name,
        title=words.get("title", field.name),
        help=words.get("description", ""),
        kind=kind,
        default=field.default if field.default is not msgspec.NODEFAULT else field.default_factory(),
        minimum=getattr(declared, "ge", None),
        maximum=getattr(declared, "le", None),
        step=extra.get("step"),
        choices=values if kind == "choice" else (),
        special=extra.get("special", ""),
    )


def check(field: Field, value: Any) -> str:
    """Why a value cannot stand in a field, as a sentence; empty when it can."""
    try:
        Settings().merged({field.section: {field.name: value}})
    except SettingsError as error:
        reason = error.message.split(": ", 1)[-1]
        return f"{reason[0].upper()}{reason[1:]}"
    return ""
