"""Themes: TOML files with the fields of Textual's `Theme`, the shipped ones and the user's own.

A file that cannot be used is named with its key and the reason, and stops nothing. This module
knows no app: who shows themes registers what `load_themes` gives, and asks a `ThemeWatch` now and
then whether a file was saved.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta
from textual.color import Color, ColorParseError
from textual.theme import Theme

from chatterm import paths
from chatterm.errors import ThemeError

if TYPE_CHECKING:
    from textual.design import ColorSystem

DEFAULT_DARK = "midnight"
DEFAULT_LIGHT = "paper"

SYNTAX = {
    "keyword": "secondary",
    "name": "primary",
    "type": "accent",
    "string": "success",
    "number": "warning",
    "comment": "muted",
    "operator": "foreground",
    "inserted": "success",
    "deleted": "error",
}
"""Colours of code, which are variables `$syntax-…`, and what each is derived from."""

GLASS = {"certain": "success", "unsure": "warning", "surprising": "error", "chosen": "accent"}
"""Colours of what was measured beside a token, which are variables `$glass-…`, likewise."""

_STYLES = frozenset(("none", "not", "bold", "b", "dim", "italic", "i", "underline", "u", "reverse", "r", "strike", "s"))
_REMEDY = "The theme is left out until the file is mended."
_Share = Annotated[float, Meta(ge=0.0, le=1.0)]


class _ThemeFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may stand in a theme file."""

    primary: str
    name: Annotated[str, Meta(min_length=1, max_length=40)] | None = None
    """Without it, the file's name."""
    dark: bool = True
    secondary: str | None = None
    accent: str | None = None
    foreground: str | None = None
    background: str | None = None
    surface: str | None = None
    panel: str | None = None
    boost: str | None = None
    success: str | None = None
    warning: str | None = None
    error: str | None = None
    luminosity_spread: _Share = 0.15
    text_alpha: _Share = 0.95
    variables: dict[str, str] = {}
    syntax: dict[str, str] = {}
    glass: dict[str, str] = {}


_COLOURS = (
    "primary",
    "secondary",
    "accent",
    "foreground",
    "background",
    "surface",
    "panel",
    "boost",
    "success",
    "warning",
    "error",
)


def automatic(is_dark: bool | None) -> str:
    """The theme for a terminal whose background is dark, light, or not known."""
    return DEFAULT_LIGHT if is_dark is False else DEFAULT_DARK


def load_themes() -> tuple[list[Theme], list[ThemeError]]:
    """All themes by name, and what is wrong with the files that are no theme.

    The user's own take the place of a shipped one of the same name. Dark ones come first, then
    light ones, each sorted by name.
    """
    themes: dict[str, Theme] = {}
    errors: list[ThemeError] = []
    for folder in (paths.shipped_themes_folder(), paths.user_themes_folder()):
        for path in _files(folder):
            try:
                theme = read_theme(path)
            except ThemeError as error:
                errors.append(error)
            else:
                themes[theme.name] = theme
    return sorted(themes.values(), key=lambda theme: (not theme.dark, theme.name)), errors


def read_theme(path: Path) -> Theme:
    """The theme in a file, with `$syntax-…` and `$glass-…` among its variables.

    Raises:
        ThemeError: the file cannot be read or used; names the file, the key and the reason.
    """
    import tomllib  # late: nothing but theme files asks for it here

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ThemeError(f"{path} cannot be read: {error}.", _REMEDY) from error
    except tomllib.TOMLDecodeError as error:
        raise ThemeError(f"{path} is not valid TOML: {error}.", _REMEDY) from error
    try:
        file = msgspec.convert(content, _ThemeFile)
    except msgspec.ValidationError as error:
        raise ThemeError(f"{path}: {_explain(error)}", _REMEDY) from error
    if reason := _reason_against(file, path.stem):
        raise ThemeError(f"{path}: {reason}", _REMEDY)
    return _theme(file, path.stem)


class ThemeWatch:
    """Tells whether a file of the user's own themes was saved, added or removed since last asked."""

    def __init__(self) -> None:
        self._seen = self._look()

    def changed(self) -> bool:
        """Whether `load_themes` would read something new; costs one look into the folder."""
        before, self._seen = self._seen, self._look()
        return before != self._seen

    @staticmethod
    def _look() -> dict[Path, tuple[int, int]]:
        """Time of change and size of each file; a file that went away meanwhile is not there."""
        seen = {}
        for path in _files(paths.user_themes_folder()):
            try:
                status = path.stat()
            except OSError:
                continue
            seen[path] = (status.st_mtime_ns, status.st_size)
        return seen


def _files(folder: Path) -> list[Path]:
    """Theme files in a folder that may not be there."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".toml" and not path.name.startswith("."))
    except OSError:
        return []


def _theme(file: _ThemeFile, stem: str) -> Theme:
    """Textual's theme of a checked file."""
    values: dict[str, Any] = {name: getattr(file, name) for name in _COLOURS}
    theme = Theme(
        name=file.name or stem,
        dark=file.dark,
        luminosity_spread=file.luminosity_spread,
        text_alpha=file.text_alpha,
        **values,
    )
    theme.variables = {
        **derived(theme),
        **file.variables,
        **{f"syntax-{key}": Color.parse(value).hex for key, value in file.syntax.items()},
        **{f"glass-{key}": Color.parse(value).hex for key, value in file.glass.items()},
    }
    return theme


def derived(theme: Theme) -> dict[str, str]:
    """The variables `$syntax-…` and `$glass-…` made of a theme's own colours.

    Also for themes from elsewhere (`App.get_theme_variable_defaults`), which lack them.
    """
    named = _colours(theme.to_color_system())
    return {
        **{f"syntax-{key}": named[source].hex for key, source in SYNTAX.items()},
        **{f"glass-{key}": named[source].hex for key, source in GLASS.items()},
    }


def _colours(system: ColorSystem) -> dict[str, Color]:
    """A theme's colours, with Textual's own rule for the ones that it leaves out."""
    background = system.background or Color.parse("#121212" if system.dark else "#efefef")
    foreground = system.foreground or background.inverse
    secondary = system.secondary or system.primary
    return {
        "primary": system.primary,
        "secondary": secondary,
        "accent": system.accent or system.primary,
        "success": system.success or secondary,
        "warning": system.warning or system.primary,
        "error": system.error or secondary,
        "foreground": foreground,
        "muted": foreground.blend(background, 0.35, alpha=1.0),
    }


def _reason_against(file: _ThemeFile, stem: str) -> str:
    """Why a file's values cannot be used, naming the key; empty when they can."""
    name = file.name or stem
    if not all(character.isalnum() or character in " -_." for character in name):
        return f"name: {name!r} holds characters other than letters, digits, spaces, and - _ ."
    for key in _COLOURS:
        value = getattr(file, key)
        if value is not None and not _is_colour(value, opaque=key != "boost"):
            return f'{key}: "{_plain(value)}" is not a colour; write it like "#8ab4f8".'
    for table, known in (("syntax", SYNTAX), ("glass", GLASS)):
        for key, value in getattr(file, table).items():
            if key not in known:
                return f"{table}.{_plain(key)}: there is no such colour; there are {', '.join(known)}."
            if not _is_colour(value):
                return f'{table}.{key}: "{_plain(value)}" is not a colour; write it like "#8ab4f8".'
    return _reason_against_variables(file)


def _reason_against_variables(file: _ThemeFile) -> str:
    """Why a variable cannot be used; a value that Textual's style sheets cannot parse would end the app."""
    if not file.variables:
        return ""
    for key, value in file.variables.items():
        if key not in _known_variables():
            return f"variables.{_plain(key)}: Textual has no such variable."
        if key.endswith("-style"):
            if not value.split() or not _STYLES.issuperset(value.split()):
                return f'variables.{key}: "{_plain(value)}" is not a text style; write it like "bold underline".'
        elif not _is_shade(value):
            return f'variables.{key}: "{_plain(value)}" is not a colour; write it like "#8ab4f8" or "auto 60%".'
    return ""


@cache
def _known_variables() -> frozenset[str]:
    """The names of all variables that Textual makes of a theme."""
    return frozenset(Theme(name="any", primary="#000000").to_color_system().generate())


def _is_colour(value: str, opaque: bool = True) -> bool:
    """Whether a value is a colour by itself: a name or "#rrggbb"."""
    try:
        colour = Color.parse(value)
    except ColorParseError:
        return False
    return colour.ansi is None and not colour.auto and (not opaque or colour.a == 1.0)


def _is_shade(value: str) -> bool:
    """Whether a value can stand for a colour in a style sheet: also see-through, or "auto 60%"."""
    colour, _, alpha = value.partition(" ")
    if alpha and not (alpha.endswith("%") and alpha[:-1].isdecimal() and int(alpha[:-1]) <= 100):
        return False
    return colour in ("auto", "initial") or _is_colour(colour, opaque=False)


def _explain(error: msgspec.ValidationError) -> str:
    """msgspec's message with the key first: "dark: expected `bool`, got `str`."."""
    reason, _, where = str(error).partition(" - at ")
    key = where.strip("`").removeprefix("$").removeprefix(".")
    reason = _plain(f"{reason[0].lower()}{reason[1:].rstrip('.')}.", 200)
    return f"{_plain(key)}: {reason}" if key else reason


def _plain(text: str, longest: int = 60) -> str:
    """A text from a file as it may be shown: short, and without control characters."""
    return "".join(character if character.isprintable() else "?" for character in text)[:longest]
