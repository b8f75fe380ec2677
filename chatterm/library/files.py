"""Finds model files: in the Hugging Face cache, in named folders, and in those of LM Studio and Ollama; and the tutor."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from chatterm import tutor
from chatterm.hub import cache, elsewhere, names
from chatterm.library.model import LocalModel
from chatterm.quantizations import named_in

_MAX_DEPTH = 5
"""Folders inside a named folder that are looked into."""
_MAX_ENTRIES = 20_000
"""Files looked at in a named folder, in case somebody names `/`."""


def models(folders: Iterable[str], built_in: Path | None) -> Iterator[LocalModel]:
    """Every model that is here, some of them by several ways.

    Args:
        folders: Those that the settings name.
        built_in: The tutor's file; None to leave it out.
    """
    yield from _joined([*_tutors(built_in), *_cached(), *_in_folders(absolute(folders)), *_elsewhere()])


def absolute(folders: Iterable[str]) -> list[Path]:
    """Named folders as paths, with `~` and variables filled in; links stay links."""
    return [Path(os.path.normpath(cache.expanded(folder).absolute())) for folder in folders if folder.strip()]


def _tutors(built_in: Path | None) -> Iterator[LocalModel]:
    """The built-in model, if its file is there."""
    if built_in is not None and (size := _size(built_in)) is not None:
        yield LocalModel(built_in, tutor.NAME, "", named_in(built_in.name), size, "chatterm", file=tutor.SHORT_NAME)


def _cached() -> Iterator[LocalModel]:
    """The files in the Hugging Face cache, parts of split models each for itself."""
    for repo, file, path in cache.models():
        if (size := _size(path)) is not None:
            yield LocalModel(
                path,
                names.title(file),
                repo,
                named_in(names.title(file)),
                size,
                "Hugging Face cache",
                cache.hash_of(path),
                file,
            )


def _in_folders(folders: Iterable[Path], source: Literal["folder", "LM Studio"] = "folder") -> Iterator[LocalModel]:
    """The files in folders and below, parts of split models each for itself."""
    for top in folders:
        for path in _below(top):
            if (size := _size(path)) is not None:
                name = names.title(path.name)
                quantization = named_in(name)
                inside = path.relative_to(top).as_posix()
                yield LocalModel(path, name, "", quantization, size, source, "", inside)


def _elsewhere() -> Iterator[LocalModel]:
    """What other programs keep."""
    yield from _in_folders(elsewhere.lm_studio_folders(), "LM Studio")
    for kept in elsewhere.ollama_models():
        yield LocalModel(
            kept.path, kept.name, "", kept.quantization, kept.size_bytes, "Ollama", kept.hash, kept.name, kept.others
        )


def _below(top: Path) -> Iterator[Path]:
    """GGUF files in a folder and the folders below it, as far down and as many as is sensible."""
    waiting, seen, n_entries = [(top, 0)], set(), 0
    while waiting:
        folder, depth = waiting.pop()
        try:
            status = folder.stat()
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue  # a link back to where we were
        seen.add((status.st_dev, status.st_ino))
        for entry in entries:
            n_entries += 1
            if n_entries > _MAX_ENTRIES:
                return
            if names.is_model(entry.name):
                yield Path(entry.path)
            elif depth < _MAX_DEPTH and not entry.name.startswith(".") and _is_folder(entry):
                waiting.append((Path(entry.path), depth + 1))


def _joined(files: Iterable[LocalModel]) -> Iterator[LocalModel]:
    """Models from files: parts of a split one become one, if all of them are there."""
    files = list(files)
    sizes = {file.path: file.size_bytes for file in files}
    for file in files:
        split = names.part(file.path.name)
        if not split:
            yield file
            continue
        if split.number != 1:
            continue
        paths = [file.path.with_name(name) for name in names.parts(file.path.name)]
        if all(path in sizes for path in paths):
            yield msgspec.structs.replace(file, size_bytes=sum(sizes[path] for path in paths))


def _size(path: Path) -> int | None:
    """How large a file is; None when it is no file or cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size if path.is_file() and os.access(path, os.R_OK) else None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:
        return False
