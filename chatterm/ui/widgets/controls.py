"""Which control edits which setting."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from textual.content import Content
from textual.theme import Theme

from chatterm.events import ModelInfo
from chatterm.settings import STAGES, Field
from chatterm.ui import written
from chatterm.ui.form import THINKING
from chatterm.ui.widgets.choice import Choice
from chatterm.ui.widgets.control import Control
from chatterm.ui.widgets.model_button import ModelButton
from chatterm.ui.widgets.slider import Slider
from chatterm.ui.widgets.stages import Stages
from chatterm.ui.widgets.text_field import TextField

_STAGE_TITLES = {
    "penalties": "penalties: repeat, frequency, presence",
    "top_k": "top-k",
    "typical": "typical-p",
    "top_p": "top-p",
    "min_p": "min-p",
    "temperature": "temperature",
}


def control_for(
    field: Field,
    value: Any,
    model: ModelInfo | None,
    themes: Mapping[str, Theme | None],
    automatic: Mapping[str, str] | None = None,
) -> Control:
    """The control of a field.

    Args:
        field: What is edited.
        value: Its value at first.
        model: The one that is loaded, for its limits.
        themes: All that can be chosen; None where only the name is known.
        automatic: What was chosen for the model where the user left it open, by the field's name.
    """
    found = (automatic or {}).get(field.name, "")
    match field.name, field.kind:
        case "model", _:
            return ModelButton(value, model.name if model else "")
        case "theme", _:
            return Choice(_theme_options(themes, value), value, is_list=True)
        case "enable_thinking", _:
            return Choice([(None, "as the model likes"), (True, "on"), (False, "off")], value)
        case "stop", _:
            return TextField(value, written.escaped, written.unescaped, r"none; write one a line, \n is a line break")
        case "folders", _:
            return TextField(value, "\n".join, written.listed, "none; write one a line, such as ~/models")
        case "rpc_servers", _:
            return TextField(value, "\n".join, written.endpoints, "none; write one a line, such as 10.0.0.2:50052")
        case "template", _:
            return TextField(value, placeholder="the model's own; write Jinja, or name a file")
        case "flash_attention", _ if found:
            return Choice([(each, f"auto ({found})" if each == "auto" else each) for each in field.choices], value)
        case "order", _:
            return Stages({stage: _STAGE_TITLES[stage] for stage in STAGES}, value)
        case _, "number" | "integer":
            return Slider(field, value, _reach(field, model), _word(field, found))
        case _, "switch":
            return Choice([(True, "on"), (False, "off")], value)
        case _, "choice":
            return Choice([(choice, choice) for choice in field.choices], value)
        case _, "table":
            return TextField(value, written.assignments, _variables(model), "none; write one a line: name = value")
    return TextField(value, placeholder="none; write as many lines as you like")


def _reach(field: Field, model: ModelInfo | None) -> float | None:
    """Where a bar ends: what the model or the machine has."""
    match field.name:
        case "n_threads":
            return os.cpu_count()
        case "n_ctx" if model and model.n_ctx_train:
            return model.n_ctx_train
        case "n_gpu_layers" if model and model.n_layers:
            return model.n_layers + 1
    return None


def _word(field: Field, found: str) -> written.Word | None:
    """What a number means, where that can be said: the mood of a temperature, what "automatic" is now."""
    if field.name == "temperature":
        return written.temperature_word
    return (lambda value: f"({found})" if value == field.minimum else "") if found else None


def _variables(model: ModelInfo | None) -> written.Reader:
    """Reads template variables; thinking is left to its own field, where there is one."""

    def read(text: str) -> dict[str, Any]:
        found = written.variables(text)
        if model and model.can_think and THINKING.name in found:
            raise ValueError(f"{THINKING.name} has a field of its own: {THINKING.title}.")
        return found

    return read


def _theme_options(themes: Mapping[str, Theme | None], chosen: str) -> Sequence[tuple[str, str | Content]]:
    """Following the terminal, then each theme in its own colours; a chosen one that is gone stays to be seen."""
    options: list[tuple[str, str | Content]] = [("", "as the terminal is")]
    options += [(name, _swatch(name, theme)) for name, theme in themes.items()]
    if chosen and chosen not in themes:
        options.append((chosen, f"{chosen} (not found)"))
    return options


def _swatch(name: str, theme: Theme | None) -> Content:
    """A theme's name beside its text and its two main colours on its background."""
    if theme is None:
        return Content(name)
    ground = theme.background or ("#121212" if theme.dark else "#efefef")
    accent = theme.accent or theme.primary
    return Content.assemble(
        (" A", f"{theme.foreground or 'auto'} on {ground}"),
        ("▪", f"{theme.primary} on {ground}"),
        ("▪ ", f"{accent} on {ground}"),
        f" {name}",
    )
