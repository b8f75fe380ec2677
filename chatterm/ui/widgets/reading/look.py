"""How a transcript is painted: one record of styles, made from the widget's component classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace

from rich.style import Style
from textual.color import Color

PREFIX = "transcript--"
SYNTAX = ("keyword", "name", "type", "string", "number", "comment", "operator", "inserted", "deleted")
"""Kinds of code that have a colour of their own."""


@dataclass(frozen=True)
class Look:
    """Styles by what they paint; each is complete, with the page's background."""

    text: Style
    muted: Style
    h1: Style
    h2: Style
    h3: Style
    inline_code: Style
    link: Style
    bullet: Style
    quote: Style
    rule: Style
    code: Style
    code_label: Style
    user: Style
    model: Style
    user_text: Style
    note: Style
    error: Style
    bar: Style
    selection: Style
    mark: Style
    hot: Style
    syntax: dict[str, Style] = field(default_factory=dict)
    """Code by kind (`SYNTAX`), on the background of code."""

    def quiet(self) -> Look:
        """The same for reasoning: all text muted, so that the answer stands out."""
        return replace(self, text=self.muted, h1=self.muted, h2=self.muted, h3=self.muted, bullet=self.muted)


COMPONENTS = frozenset(
    PREFIX + entry.name.replace("_", "-") for entry in fields(Look) if entry.name != "syntax"
) | frozenset(f"{PREFIX}syntax-{kind}" for kind in SYNTAX)
CSS = """
Transcript {
    background: $background;
    color: $text;
    overflow-x: hidden;
    overflow-y: scroll;
    scrollbar-size-vertical: 1;
    scrollbar-background: $background;
    scrollbar-background-hover: $background;
    scrollbar-background-active: $background;
    scrollbar-color: $panel;
}
Transcript > .transcript--muted, Transcript > .transcript--note { color: $text-muted; }
Transcript > .transcript--h1 { color: $text-primary; text-style: bold underline; }
Transcript > .transcript--h2 { color: $text-primary; text-style: bold; }
Transcript > .transcript--h3 { text-style: bold; }
Transcript > .transcript--inline-code { color: $text-accent; background: $surface; }
Transcript > .transcript--link { color: $text-primary; text-style: underline; }
Transcript > .transcript--bullet { color: $text-primary; }
Transcript > .transcript--quote { color: $text-muted; text-style: italic; }
Transcript > .transcript--rule { color: $foreground 25%; }
Transcript > .transcript--code { background: $surface; }
Transcript > .transcript--code-label { color: $text-muted; background: $surface; }
Transcript > .transcript--user { color: $text-accent; text-style: bold; }
Transcript > .transcript--model { color: $text-success; text-style: bold; }
Transcript > .transcript--error { color: $text-error; }
Transcript > .transcript--bar { color: $primary; }
Transcript > .transcript--selection { background: $primary 40%; }
Transcript > .transcript--mark { color: $text; background: $primary-muted; }
Transcript > .transcript--hot { background: $warning; }
Transcript > .transcript--syntax-keyword { color: $text-primary; }
Transcript > .transcript--syntax-name { color: $text-accent; }
Transcript > .transcript--syntax-type { color: $text-secondary; }
Transcript > .transcript--syntax-string { color: $text-success; }
Transcript > .transcript--syntax-number { color: $text-warning; }
Transcript > .transcript--syntax-comment { color: $text-muted; text-style: italic; }
Transcript > .transcript--syntax-operator { color: $foreground 80%; }
Transcript > .transcript--syntax-inserted { color: $text-success; }
Transcript > .transcript--syntax-deleted { color: $text-error; }
"""
"""The colours, all from the theme; a theme may set `syntax-...` variables for code."""


def look_from(style_of: Callable[[str], Style], overrides: dict[str, str]) -> Look:
    """The look of a widget.

    Args:
        style_of: Complete style of a component class.
        overrides: The theme's variables; `syntax-keyword` and its kin take the place of derived colours.
    """
    styles = {
        entry.name: style_of(PREFIX + entry.name.replace("_", "-")) for entry in fields(Look) if entry.name != "syntax"
    }
    code = styles["code"]
    syntax = {}
    for kind in SYNTAX:
        style = code + over(style_of(f"{PREFIX}syntax-{kind}"))
        syntax[kind] = style
        if colour := overrides.get(f"syntax-{kind}"):
            syntax[kind] += Style(color=Color.parse(colour).rich_color)
    return Look(**styles, syntax=syntax)


def over(style: Style) -> Style:
    """A style without its background, to lay over another one."""
    return Style(color=style.color) + style.without_color
