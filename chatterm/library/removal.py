"""Deletes models: for good, or so that they can be brought back until chatterm is closed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from chatterm.errors import ModelKept
from chatterm.hub import cache, names, trash
from chatterm.library.files import absolute
from chatterm.library.model import Aside, LocalModel
from chatterm.text import line


class Removal:
    """Removes what is ours to remove, and remembers what can be brought back."""

    def __init__(self) -> None:
        self.aside: list[Aside] = []
        """What was put aside and can be brought back, the latest last."""
        self._trash = trash.Trash()

    def delete(self, model: LocalModel, folders: Sequence[str]) -> int:
        """Remove a model, all its parts, in all revisions that the cache holds; gives the bytes that were freed.

        Args:
            model: What is removed.
            folders: Those that the settings name.

        Raises:
            ModelKept: it lies elsewhere than in the cache or a named folder, or cannot be removed.
        """
        _check_is_ours(model, folders)
        with _kept(model, "removed"):
            if model.source == "Hugging Face cache":
                return cache.remove(model.repo, names.parts(model.file))
            return sum(cache.unlink(model.path.with_name(name)) for name in names.parts(model.path.name))

    def put_aside(self, model: LocalModel, folders: Sequence[str]) -> Aside:
        """Take a model out of the list, so that it can be brought back until `empty`; frees nothing yet.

        Raises:
            ModelKept: as `delete`, with the same arguments.
        """
        _check_is_ours(model, folders)
        with _kept(model, "removed"):
            if model.source == "Hugging Face cache":
                parts = names.parts(model.file)
                files, n_bytes = cache.pointers(model.repo, parts), cache.n_freed_without(model.repo, parts)
            else:
                files = [model.path.with_name(name) for name in names.parts(model.path.name)]
                n_bytes = sum(map(cache.n_freed_without_file, files))
            self._trash.put(files)
        aside = Aside(model, n_bytes, tuple(files))
        self.aside.append(aside)
        return aside

    def bring_back(self, aside: Aside) -> None:
        """Put a model where it was.

        Raises:
            ModelKept: something else is there now, or it cannot be moved.
        """
        with _kept(aside.model, "brought back"):
            self._trash.bring_back(aside.files)
        self.aside.remove(aside)

    def empty(self) -> int:
        """Remove for good what was put aside; gives the bytes that were freed. What cannot be removed is tried no more."""
        n_freed = 0
        for aside in self.aside:
            model = aside.model
            with suppress(OSError):
                if model.source == "Hugging Face cache":
                    n_freed += cache.remove(model.repo, [name + trash.SUFFIX for name in names.parts(model.file)])
                else:
                    n_freed += sum(cache.unlink(trash.aside(file)) for file in aside.files)
                self._trash.forget(aside.files)
        self.aside.clear()
        return n_freed


def _check_is_ours(model: LocalModel, folders: Sequence[str]) -> None:
    """Refuse to touch what is not ours to remove.

    Raises:
        ModelKept: it lies elsewhere than in the cache or a named folder.
    """
    if model.is_built_in:
        raise ModelKept("The tutor is part of chatterm, and only goes with it.")
    if model.source in {"LM Studio", "Ollama"}:
        how = f"with `ollama rm {line(model.name)}`" if model.source == "Ollama" else "there, under My Models"
        raise ModelKept(f"{line(model.name)} belongs to {model.source}.", f"Remove it {how}.")
    is_cached = model.source == "Hugging Face cache"
    if not is_cached and not any(model.path.is_relative_to(top) for top in absolute(folders)):
        raise ModelKept(f"{line(str(model.path))} is in none of the model folders.")


@contextmanager
def _kept(model: LocalModel, what: str) -> Iterator[None]:
    """Turns the disk's errors into ours, while something is done with a model's files."""
    try:
        yield
    except OSError as error:
        raise ModelKept(
            f"{line(model.name)} cannot be {what}: {line(error.strerror or str(error))}.",
            "Make the file and its folder writable.",
        ) from error
