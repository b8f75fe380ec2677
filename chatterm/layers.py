"""Which value of a setting counts, weakest first: ours, the model file's, the user's, the one for this model, the conversation's.

What a command line says is laid over all of them by the command. Pure; knows no files and no form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from chatterm import tutor
from chatterm.address import Address, RemoteModel, repo_of
from chatterm.errors import SettingsError
from chatterm.events import ModelInfo
from chatterm.quantizations import named_in
from chatterm.settings import Sampling, Settings

RECOMMENDATIONS = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "penalty_repeat": "repeat_penalty",
    "penalty_last_n": "repeat_last_n",
}
"""Keys below `general.sampling.` in a GGUF's header, and what chatterm calls them."""


def layered(
    settings: Settings, model: ModelInfo | Address | None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """The settings that count where this model answers.

    Args:
        settings: The user's file.
        model: What is loaded, or about to be; its file's recommendations count once it is.
        overrides: What the conversation has of its own, shaped like the file.
    """
    chosen = chosen_sampling(settings)
    advice = {name: value for name, value in recommended(model).items() if name not in chosen}
    settings = settings.merged_as_far_as_valid({"sampling": advice})
    settings = settings.merged_as_far_as_valid(settings.for_model.get(key_of(model), {}))
    return settings.merged_as_far_as_valid(overrides or {})


def key_of(model: ModelInfo | Address | None) -> str:
    """What a model is called where its own settings are kept, wherever its file lies; "" for none.

    Example: .../models--owner--name/snapshots/.../a-Q4_K_M.gguf -> "owner/name:Q4_K_M"; /models/a.gguf -> "a.gguf"
    """
    match model:
        case None:
            return ""
        case RemoteModel() | ModelInfo(path=""):
            return model.name if isinstance(model, ModelInfo) else str(model)
    path = Path(model.path) if isinstance(model, ModelInfo) else model
    if tutor.is_tutor(path):
        return tutor.SHORT_NAME
    file = re.sub(r"-\d{5}-of-\d{5}(?=\.gguf$)", "", path.name, flags=re.IGNORECASE)
    repo, quantization = repo_of(path), named_in(file)
    if not repo:
        return file
    return f"{repo}:{quantization}" if quantization else f"{repo}/{file}"


def recommended(model: ModelInfo | Address | None) -> dict[str, Any]:
    """The sampling settings that suit a model by what its file says; the tutor's also where it says nothing."""
    if not isinstance(model, ModelInfo):
        return {}
    usual = {"temperature": tutor.TEMPERATURE} if tutor.is_tutor(model.path) else {}
    return {**usual, **model.recommended}


def recommended_by(values: Mapping[str, Any]) -> dict[str, Any]:
    """Sampling settings from a GGUF's header, without those that chatterm does not know or would refuse.

    Args:
        values: What stands below `general.sampling.`, as text or as numbers.

    Example: {"temp": "0.600000", "top_k": "20", "mirostat": "0"} -> {"temperature": 0.6, "top_k": 20}
    """
    found: dict[str, Any] = {}
    for key, name in RECOMMENDATIONS.items():
        try:
            number = round(float(values[key]), 6)  # 32-bit floats, which are no round numbers any more
            value = int(number) if isinstance(getattr(Sampling(), name), int) else number
            Settings().merged({"sampling": {name: value}})
        except (KeyError, TypeError, ValueError, OverflowError, SettingsError):
            continue
        found[name] = value
    return found


def chosen_sampling(settings: Settings) -> frozenset[str]:
    """Names of the sampling settings that the user has chosen for all models."""
    usual, now = msgspec.structs.asdict(Sampling()), msgspec.structs.asdict(settings.sampling)
    return settings.stated | {name for name, value in now.items() if value != usual[name]}


def overlaid(overrides: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides with some changed; a value of None is taken out.

    Example: {"sampling": {"seed": 1}}, {"sampling": {"seed": None, "top_k": 5}} -> {"sampling": {"top_k": 5}}
    """
    merged = {section: dict(values) for section, values in overrides.items()}
    for section, values in changes.items():
        merged[section] = merged.get(section, {}) | dict(values)
    kept = {
        section: {name: value for name, value in values.items() if value is not None}
        for section, values in merged.items()
    }
    return {section: values for section, values in kept.items() if values}
