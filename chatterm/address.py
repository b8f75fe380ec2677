"""How a model is named when it is to be loaded: by its file on this machine, or by a server and its name there.

Which files there are only the library knows, which servers `engine.servers`.
"""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

import msgspec


class RemoteModel(msgspec.Struct, frozen=True):
    """A model that another program runs, on this machine or elsewhere."""

    server: str
    """What the server is called in the settings, or a preset."""
    name: str
    """What the server calls the model."""

    def __str__(self) -> str:
        """As people write it.

        Example: "ollama:qwen3:4b"
        """
        return f"{self.server}:{self.name}"


Address = Path | RemoteModel


def stored(address: Address) -> Any:
    """An address as JSON; `restored` reads it again."""
    return str(address) if isinstance(address, Path) else msgspec.to_builtins(address)


def restored(value: Any) -> Address | None:
    """The address that was stored; None where it is none."""
    if isinstance(value, str):
        return Path(value)
    try:
        return msgspec.convert(value, RemoteModel)
    except msgspec.ValidationError:
        return None


def repo_of(path: Path) -> str:
    """The repository on the Hub, where the path lies in the Hugging Face cache.

    Example: .../models--owner--name/snapshots/... -> "owner/name"
    """
    for part in path.parts:
        if part.startswith("models--") and part.count("--") >= 2:
            return part.removeprefix("models--").replace("--", "/", 1)
    return ""


def label(name: str) -> str:
    """What people call a model that is named in the settings.

    Example: "/models/tiny-q8_0.gguf" -> "tiny-q8_0"; "openai:gpt-4.1" -> "openai:gpt-4.1"
    """
    return PurePath(name).stem if name.lower().endswith(".gguf") else name
