"""What a repository on the Hub holds, and which of its files is meant.

Pure data and choosing; who asks the Hub is `client`.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

import msgspec

from chatterm.errors import FileNotChosen, RepoNotFound
from chatterm.hub import names
from chatterm.quantizations import named_in
from chatterm.text import line

PREFERRED = "Q4_K_M"
"""What is taken when nothing is said: for most machines the best quality for its size."""

_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_ADDRESS = re.compile(r"https?://[^/\s]+/|(?:huggingface\.co|hf\.co)/", re.IGNORECASE)
_FILE = re.compile(r"([^/]+/[^/]+)/(?:blob|resolve)/([^/]+)/([^?#]+)(?:[?#].*)?")


class RemoteFile(msgspec.Struct, frozen=True):
    """A file in a repository on the Hub."""

    path: str
    """Inside the repository, with `/` between; untrusted."""
    size_bytes: int
    sha256: str = ""
    """Of its bytes, as the Hub announces it; empty where it does not."""
    git_hash: str = ""
    """What Git calls its bytes, for a file that lies in the repository itself; else empty."""


class Repository(msgspec.Struct, frozen=True):
    """A model repository at one commit."""

    repo: str
    """`owner/name`, as the Hub spells it."""
    revision: str
    """The branch, tag or commit that was asked for."""
    commit: str
    """What that was at the time, 40 hexadecimal digits."""
    files: tuple[RemoteFile, ...]
    """The model files, by path; no pictures' projectors, no other formats."""


class Wish(NamedTuple):
    """What somebody asked for by one name."""

    repo: str
    file: str = ""
    """A path or a quantization; empty where none was named."""
    revision: str = ""


def parse(text: str) -> Wish:
    """What is meant by what people paste: a name, `name:Q5_K_M`, the address of a page or of a file.

    Example: "o/n:Q8_0" -> ("o/n", "Q8_0", "")
    Example: "https://huggingface.co/o/n/blob/main/m.gguf" -> ("o/n", "m.gguf", "main")

    Raises:
        RepoNotFound: this names no repository.
    """
    place = _ADDRESS.sub("", text.strip(), count=1)
    if found := _FILE.fullmatch(place):
        name, revision, file = found[1], unquote(found[2]), unquote(found[3])
    else:
        name, _, file = place.partition(":")
        name, revision = "/".join(name.strip("/").split("/")[:2]), ""
    if not is_repo(name):
        raise RepoNotFound(
            f"“{line(text)}” is not the name of a repository.",
            "Write it as OWNER/NAME, as the address on the Hub has it.",
        )
    return Wish(name, file, revision)


def is_repo(name: str) -> bool:
    """Whether a text is OWNER/NAME as the Hub allows it."""
    return bool(_REPO.fullmatch(name)) and "--" not in name and ".." not in name


def choose(repository: Repository, wanted: str = "") -> tuple[RemoteFile, ...]:
    """The file that is meant, or all parts of it.

    Args:
        repository: Where it is in.
        wanted: A path, a file name or a quantization; empty takes `PREFERRED`, else the only one.

    Raises:
        RepoNotFound: there is no such file, or no model at all.
        FileNotChosen: several could be meant; carries them.
    """
    models = joined(repository.files)
    if not models:
        raise RepoNotFound(
            f"{repository.repo} holds no GGUF file.",
            "Look for a repository of the same model whose name ends in -GGUF.",
        )
    matches = [parts for parts in models if _is_meant(parts, wanted)] if wanted else _sensible(models)
    match matches:
        case [parts]:
            return parts
        case []:
            raise RepoNotFound(
                f"{repository.repo} holds no file “{line(wanted)}”.",
                "It holds: " + ", ".join(line(parts[0].path) for parts in models) + ".",
            )
    error = FileNotChosen(f"{repository.repo} holds {len(matches)} models.", "Name the file that you want.")
    error.candidates = tuple((parts[0].path, sum(part.size_bytes for part in parts)) for parts in matches)
    raise error


def joined(files: tuple[RemoteFile, ...]) -> list[tuple[RemoteFile, ...]]:
    """The files, all parts of a split one together; one with a missing part is no model."""
    by_path = {file.path: file for file in files}
    models = []
    for file in files:
        split = names.part(file.path)
        if split and split.number != 1:
            continue
        parts = [by_path[path] for path in names.parts(file.path) if path in by_path]
        if not split or len(parts) == split.n_parts:
            models.append(tuple(parts))
    return models


def _sensible(models: list[tuple[RemoteFile, ...]]) -> list[tuple[RemoteFile, ...]]:
    """What to take when nothing was said: one model, or all to choose from."""
    preferred = [parts for parts in models if named_in(names.title(parts[0].path)) == PREFERRED]
    return preferred if len(preferred) == 1 else models


def _is_meant(parts: tuple[RemoteFile, ...], wanted: str) -> bool:
    """Whether a model is the one that was named: by a path, a file name, or its quantization."""
    paths = {part.path for part in parts}
    return (
        wanted in paths
        or wanted in {path.rsplit("/", 1)[-1] for path in paths}
        or wanted.upper() == named_in(names.title(parts[0].path))
    )
