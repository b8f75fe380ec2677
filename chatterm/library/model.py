"""A model that is here, and one that was deleted and can still be brought back."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec


class LocalModel(msgspec.Struct, frozen=True):
    """A model that is on this machine, whole."""

    path: Path
    """The file to load: a split model's first part. Inside the cache a link, left as it is."""
    name: str
    """What people call it: the file's name without ending and numbering."""
    repo: str
    """`owner/name` on the Hub; empty for a file of a folder."""
    quantization: str
    """As in file names: "Q4_K_M"; from the header when the name does not tell, empty when neither does."""
    size_bytes: int
    """Of all parts."""
    source: Literal["Hugging Face cache", "folder", "chatterm", "LM Studio", "Ollama"]
    """Who keeps it: what LM Studio and Ollama keep is used where it lies, and is theirs to remove."""
    hash: str = ""
    """`sha256:...` of the file, where the cache knows it."""
    file: str = ""
    """The path inside the repository or the named folder; what Ollama calls it."""
    other_names: tuple[str, ...] = ()
    """What else Ollama calls the same file."""

    @property
    def is_built_in(self) -> bool:
        """Whether it is the tutor, which came with chatterm."""
        return self.source == "chatterm"


class Aside(msgspec.Struct, frozen=True):
    """A model that was deleted and can still be brought back."""

    model: LocalModel
    size_bytes: int
    """What will be freed."""
    files: tuple[Path, ...]
    """Where its files were."""
