"""Models that other programs keep on this machine, LM Studio and Ollama: where they lie, and what they are called there.

They are used where they lie, never copied, changed or removed. Whatever is damaged, missing or of an
absurd size is left out: the other program has to say what is wrong with it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from chatterm.hub.cache import expanded
from chatterm.quantizations import QUANTIZATIONS, named_in
from chatterm.text import is_name

_MAX_ENTRIES = 20_000
"""Files and folders looked at among the names of Ollama's models."""
_LONGEST_TEXT_BYTES = 1 << 20
"""No file of names and settings is longer."""
_MODEL_LAYER = "application/vnd.ollama.image.model"
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")


class OllamaModel(msgspec.Struct, frozen=True):
    """A model that Ollama has pulled."""

    name: str
    """As `ollama run` takes it: "llama3.2:1b"."""
    others: tuple[str, ...]
    """Further names of the same file."""
    path: Path
    """The file, a GGUF whose name ends in no .gguf."""
    hash: str
    """`sha256:...` of it."""
    size_bytes: int
    quantization: str
    """Where its name or Ollama tells it; else empty."""


def lm_studio_folders() -> list[Path]:
    """The folders in which LM Studio keeps models, as far as they are there.

    `LMSTUDIO_HOME` or the file that LM Studio leaves in the home folder names another place; its own
    settings may name another one for the models.
    """
    if chosen := os.environ.get("LMSTUDIO_HOME"):
        homes = [expanded(chosen)]
    else:
        homes = [*_pointed_at(), Path.home() / ".lmstudio", Path.home() / ".cache" / "lm-studio"]
    folders = [folder for home in homes for folder in (*_chosen_in(home / "settings.json"), home / "models")]
    return list(dict.fromkeys(folder for folder in folders if folder.is_absolute() and _is_folder(folder)))


def ollama_models() -> list[OllamaModel]:
    """The models that Ollama has pulled, each file once."""
    found: dict[Path, OllamaModel] = {}
    for folder in _ollama_folders():
        for place, manifest in _manifests(folder / "manifests"):
            model = _ollama_model(folder / "blobs", _ollama_name(place), manifest)
            if model is None:
                continue
            known = found.setdefault(model.path, model)
            if known is not model:
                found[model.path] = _with_name(known, model.name)
    return list(found.values())


def _pointed_at() -> list[Path]:
    """The folder that LM Studio's pointer file names."""
    text = _text(Path.home() / ".lmstudio-home-pointer").strip()
    return [Path(text)] if text and is_name(text) else []


def _chosen_in(settings: Path) -> list[Path]:
    """The folder that was chosen for models in LM Studio's settings."""
    folder = _json(settings).get("downloadsFolder")
    return [Path(folder)] if isinstance(folder, str) and is_name(folder) else []


def _ollama_folders() -> list[Path]:
    """Where Ollama keeps models: where it was told to, else in the user's folder and in that of its service."""
    if chosen := os.environ.get("OLLAMA_MODELS"):
        return [expanded(chosen)]
    return [Path.home() / ".ollama" / "models", Path("/usr/share/ollama/.ollama/models")]


def _manifests(top: Path) -> Iterator[tuple[tuple[str, ...], Path]]:
    """The files that describe models, each with its place: registry, namespace, model, tag."""
    waiting: list[tuple[Path, tuple[str, ...]]] = [(top, ())]
    n_entries = 0
    while waiting:
        folder, place = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            n_entries += 1
            if n_entries > _MAX_ENTRIES:
                return
            inside = (*place, entry.name)
            if len(inside) == 4:
                yield inside, Path(entry.path)
            elif entry.is_dir(follow_symlinks=False):  # so no link leads in a circle
                waiting.append((Path(entry.path), inside))


def _ollama_name(place: tuple[str, ...]) -> str:
    """What Ollama calls a model.

    Example: ("registry.ollama.ai", "library", "llama3.2", "1b") -> "llama3.2:1b"
    """
    registry, namespace, model, tag = place
    if registry != "registry.ollama.ai":
        return f"{registry}/{namespace}/{model}:{tag}"
    return f"{model}:{tag}" if namespace == "library" else f"{namespace}/{model}:{tag}"


def _ollama_model(blobs: Path, name: str, manifest: Path) -> OllamaModel | None:
    """The model that a manifest describes; None where it is not here, whole and a GGUF."""
    content = _json(manifest)
    layers = content.get("layers")
    layers = [layer for layer in layers if isinstance(layer, dict)] if isinstance(layers, list) else []
    layer: dict[str, Any] = next((layer for layer in layers if layer.get("mediaType") == _MODEL_LAYER), {})
    digest = _digest(layer)
    if not digest or not is_name(name):
        return None
    path = blobs / f"sha256-{digest}"
    size = _gguf_size(path)
    if not size or size != layer.get("size", size):
        return None
    quantization = named_in(name) or _told_quantization(blobs, content.get("config"))
    return OllamaModel(name, (), path, f"sha256:{digest}", size, quantization)


def _with_name(model: OllamaModel, name: str) -> OllamaModel:
    """A model with one more name; "latest" says least, so that it comes last."""
    first, *others = sorted((model.name, *model.others, name), key=lambda each: (each.endswith(":latest"), each))
    return msgspec.structs.replace(model, name=first, others=tuple(others))


def _told_quantization(blobs: Path, config: Any) -> str:
    """The quantization that Ollama has noted; empty where it has none that is known."""
    digest = _digest(config) if isinstance(config, dict) else ""
    told = _json(blobs / f"sha256-{digest}").get("file_type") if digest else None
    return told if isinstance(told, str) and told in QUANTIZATIONS else ""


def _digest(layer: dict[str, Any]) -> str:
    """The hash by which a layer names its file; empty where it is none."""
    digest = layer.get("digest")
    found = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    return found[1] if found else ""


def _gguf_size(path: Path) -> int:
    """How long a GGUF is; 0 where it is none, or cannot be read."""
    with suppress(OSError):
        if path.is_file():  # nothing that opening would wait for
            with path.open("rb") as file:
                return os.fstat(file.fileno()).st_size if file.read(4) == b"GGUF" else 0
    return 0


def _json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty one where there is none."""
    try:
        content = msgspec.json.decode(_text(path))
    except (msgspec.DecodeError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _text(path: Path) -> str:
    """A short text file; empty where there is none."""
    with suppress(OSError, ValueError):
        if path.is_file() and path.stat().st_size <= _LONGEST_TEXT_BYTES:
            return path.read_text(encoding="utf-8")
    return ""


def _is_folder(path: Path) -> bool:
    """Whether a folder is there and may be looked into."""
    try:
        return path.is_dir()
    except OSError:
        return False
