"""The user's file, `settings.toml`: read as a whole, written value by value so that it stays the user's.

What may stand in it is decided by `settings`; a file that cannot be used is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from chatterm import paths
from chatterm.errors import SettingsError
from chatterm.settings.settings import Settings, settings_of

_MEND = "The defaults are used; mend the file, it was not changed."


def load(path: Path) -> Settings:
    """The settings in a file; the defaults when there is none.

    Raises:
        SettingsError: the file cannot be read or used. It is left as it is.
    """
    content = _text_in(path)
    if not content:
        return Settings()
    import tomllib  # late: there may be no file

    try:
        return settings_of(tomllib.loads(content))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}.", _MEND) from error
    except SettingsError as error:
        raise SettingsError(f"{path}: {error.message}", _MEND) from error


def _text_in(path: Path) -> str:
    """What a file holds; nothing when there is none.

    Raises:
        SettingsError: it cannot be read, or is no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 text.", _MEND) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError(f"{path} cannot be read: {reason}.", "The defaults are used until it can.") from error


def save(path: Path, changes: Mapping[str, Any]) -> Settings:
    """Write changed values into the user's file, keeping its comments and order.

    Args:
        changes: Shaped like the file. None takes a value out of the file; so does its default, except where
            a model may recommend another one.

    Returns:
        All settings as they are in the file now.

    Raises:
        SettingsError: a value is refused, or the file cannot be read or written; nothing was changed.
    """
    import tomlkit  # late: only saving needs it

    now = msgspec.to_builtins(load(path).merged(changes))
    document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
    for section, values in changes.items():
        if section == "for_model":
            _lay_into(document, section, values, now[section])
        else:
            _write_section(document, section, values, now[section])
    try:
        paths.replace(path, tomlkit.dumps(document))
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written: {error}.", "The change counts until chatterm is closed."
        ) from error
    return settings_of(document.unwrap())


def _write_section(document: Any, section: str, changes: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Write what was changed into a section of a TOML document; what is at its default is taken out.

    A sampling setting that was chosen stays in although it is the default, since a model may recommend another one.
    """
    import tomlkit  # late: only saving needs it

    usual = msgspec.to_builtins(Settings())[section]
    for name, change in changes.items():
        value = now.get(name)
        is_usual = value == usual.get(name) and (change is None or section != "sampling")
        if value is None or is_usual:
            document.get(section, {}).pop(name, None)
        else:
            document.setdefault(section, tomlkit.table())[name] = value


def _lay_into(table: Any, name: str, changes: Any, now: Any) -> None:
    """Write what was changed into a table of a TOML document, table by table; an empty one is taken out."""
    if now is None or (isinstance(changes, Mapping) and not now):
        table.pop(name, None)
    elif not isinstance(changes, Mapping):
        table[name] = now
    else:
        import tomlkit  # late: only saving needs it

        inner = table.setdefault(name, tomlkit.table())
        for key, change in changes.items():
            _lay_into(inner, key, change, now.get(key))
        if not inner:
            del table[name]
