"""Which of the models that are here a name means."""

from __future__ import annotations

from collections.abc import Sequence

from chatterm import tutor
from chatterm.errors import ModelNotFound
from chatterm.library.model import LocalModel
from chatterm.text import line


def meant(models: Sequence[LocalModel], name: str) -> LocalModel:
    """The one model that a name means.

    Args:
        models: All that there are.
        name: A name, file, repository, `repository:quantization`, path, or a part of one of them.

    Raises:
        ModelNotFound: none or several; names what there is.
    """
    for matches in (_is_tutor, _is_called, _contains):
        match [model for model in models if matches(model, name)]:
            case [model]:
                return model
            case [_, *_] as several:
                shown = ", ".join(_described(model) for model in several[:6])
                raise ModelNotFound(
                    f"“{line(name)}” can mean {len(several)} models: {shown}.", "Give more of the name, or the path."
                )
    raise ModelNotFound(f"There is no model “{line(name)}” here.", how_to_get_one(models))


def how_to_get_one(models: Sequence[LocalModel]) -> str:
    """What to do when there is no such model."""
    if models:
        shown = ", ".join(line(model.name) for model in models[:6])
        return f"Here are: {shown}{', ...' if len(models) > 6 else ''}. Or give the path of a GGUF file."
    return "Fetch one with `chatterm models pull OWNER/NAME`, or give the path of a GGUF file."


def _is_tutor(model: LocalModel, name: str) -> bool:
    """Whether the tutor is meant by its own name, whatever other models are called."""
    return model.is_built_in and name.strip().casefold() in {tutor.SHORT_NAME, tutor.NAME.casefold()}


def _is_called(model: LocalModel, name: str) -> bool:
    """Whether this is exactly what a model is called."""
    called = {
        model.name,
        model.path.name,
        model.repo,
        f"{model.repo}:{model.quantization}",
        f"{model.repo}/{model.file}",
        *model.other_names,
    }
    return name.strip().casefold() in {one.casefold() for one in called}


def _contains(model: LocalModel, name: str) -> bool:
    """Whether every word of a name is found in what a model is called."""
    called = " ".join((f"{model.repo}/{model.file}", *model.other_names)).casefold()
    return all(word in called for word in name.casefold().split())


def _described(model: LocalModel) -> str:
    """A model in a list of candidates."""
    if model.source == "Ollama":  # whose file is named by its hash
        return line(f"{model.name} (Ollama)")
    where = model.repo or str(model.path.parent)
    return line(f"{model.path.name} ({where})")
