"""Settings as flags: every field of a section of `Settings` becomes an option of a command."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from chatterm.settings import Field, check, fields_of

KINDS: dict[str, Any] = {
    "number": float | None,
    "integer": int | None,
    "switch": bool | None,
    "choice": str | None,
    "text": str | None,
    "list": list[str] | None,
}


def with_settings(*sections: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command a flag for each setting of some sections, and the given ones as `changes`.

    The command takes a keyword `changes`, shaped like the settings file: only what was given.
    Example: `--temperature 0 --stop END` -> {"sampling": {"temperature": 0.0, "stop": ["END"]}}
    """
    fields = [field for section in sections for field in fields_of(section) if field.kind in KINDS]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_changes(**given: Any) -> Any:
            changes: dict[str, dict[str, Any]] = {}
            for field in fields:
                if (value := given.pop(field.name)) is not None:
                    if reason := check(field, value):
                        raise typer.BadParameter(reason.rstrip("."), param_hint=_flag(field))
                    changes.setdefault(field.section, {})[field.name] = value
            return command(**given, changes=changes)

        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "changes"]
        parameters = own + [_parameter(field) for field in fields]
        with_changes.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_changes.__annotations__ = {p.name: p.annotation for p in parameters}
        return with_changes

    return decorate


def _parameter(field: Field) -> inspect.Parameter:
    """A keyword-only option from a field; the settings themselves check its bounds."""
    flag = _flag(field)
    names = (flag, f"--no-{flag[2:]}") if field.kind == "switch" else (flag,)
    declaration = f"{names[0]}/{names[1]}" if len(names) > 1 else flag
    option = typer.Option(declaration, help=_help(field), show_default=False, rich_help_panel="Settings")
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[KINDS[field.kind], option]
    )


def _flag(field: Field) -> str:
    """What a field is called on the command line.

    Example: top_k -> "--top-k"
    """
    return "--" + field.name.replace("_", "-")


def _help(field: Field) -> str:
    """The field's own sentence, with its choices or bounds."""
    if field.choices:
        return f"{field.help} ({', '.join(field.choices)})"
    if field.kind == "list":
        usual = f"; else {', '.join(field.default)}" if field.default else ""
        return f"{field.help} (may be given several times{usual})"
    if field.minimum is None or field.maximum is None:
        return field.help
    return f"{field.help} ({field.minimum:g} to {field.maximum:g})"
