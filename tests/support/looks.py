"""A look in which every style is different, so that a test can tell them apart."""

from __future__ import annotations

from dataclasses import fields

from rich.style import Style

from chatterm.ui.widgets.reading.look import SYNTAX, Look

LOOK = Look(
    **{
        field.name: Style.parse(f"color({20 + i}) on color({120 + i})")
        for i, field in enumerate(fields(Look))
        if field.name != "syntax"
    },
    syntax={kind: Style.parse(f"color({60 + i}) on color(0)") for i, kind in enumerate(SYNTAX)},
)
