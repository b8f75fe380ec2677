"""What the names of GGUF files say: parts of a split file, what is no model at all, how to call it.

Knows no disk and no network; only how people name these files.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from chatterm.text import is_name

_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.gguf)", re.IGNORECASE)


class Part(NamedTuple):
    """One part of a model that was split over several files."""

    stem: str
    """The path without the numbering."""
    number: int
    n_parts: int


def part(name: str) -> Part | None:
    """Which part of a split model a file is; None for a file that is whole.

    Example: "m-00001-of-00003.gguf" -> ("m", 1, 3)
    """
    match = _PART.fullmatch(name)
    if not match or not 1 <= int(match["number"]) <= int(match["count"]):
        return None
    return Part(match["stem"], int(match["number"]), int(match["count"]))


def parts(name: str) -> tuple[str, ...]:
    """The names of all parts of a split model, in order, from the name of any of them; else the name alone."""
    split = part(name)
    if not split:
        return (name,)
    suffix = name[-len(".gguf") :]
    return tuple(f"{split.stem}-{number:05}-of-{split.n_parts:05}{suffix}" for number in range(1, split.n_parts + 1))


def is_model(name: str) -> bool:
    """Whether a file can be chatted with, by its name: no projectors for pictures, no calibration data."""
    base = name.rsplit("/", 1)[-1].lower()
    return base.endswith(".gguf") and "mmproj" not in base and "imatrix" not in base


def is_safe(path: str) -> bool:
    """Whether a path of a repository can be a place below a folder here, and be shown as it is."""
    return not {"", ".", ".."} & set(path.split("/")) and "\\" not in path and is_name(path)


def title(name: str) -> str:
    """A model's name as people say it: the file's, without folder, numbering and ending.

    Example: "q4/Llama-3-00001-of-00002.gguf" -> "Llama-3"
    """
    base = name.rsplit("/", 1)[-1]
    split = part(base)
    return split.stem if split else base.removesuffix(".gguf").removesuffix(".GGUF")
