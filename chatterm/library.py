"""Which models are on this machine and on the servers that are known, and how to name and remove one.

Looks into the Hugging Face cache, into the folders that the settings name and into those of LM Studio and
Ollama, and adds the tutor, which is part of chatterm. It reads names and sizes, never weights; what a model
can do only the engine knows. Nothing here imports huggingface_hub before the Hub is asked.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeVar

import msgspec

from chatterm import gguf, layers, tutor
from chatterm.address import Address, RemoteModel
from chatterm.engine import servers
from chatterm.errors import EngineError, ModelKept, ModelNotFound
from chatterm.hub import cache, elsewhere, names, trash
from chatterm.quantizations import named_in
from chatterm.settings import LoadOptions, Settings
from chatterm.text import line

if TYPE_CHECKING:
    from chatterm.engine.listing import Listing
    from chatterm.fit import Fit
    from chatterm.gguf import GgufHeader
    from chatterm.hub.catalogue import Found, OfferedModel, Query, RecommendedModel

P = ParamSpec("P")
R = TypeVar("R")

_MAX_DEPTH = 5
"""Folders inside a named folder that are looked into."""
_MAX_ENTRIES = 20_000
"""Files looked at in a named folder, in case somebody names `/`."""


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


class Library:
    """The models of this machine."""

    def __init__(self, settings: Settings, built_in: Path | None = tutor.FILE) -> None:
        """Nothing is looked at yet.

        Args:
            settings: Name further folders.
            built_in: The tutor's file; None for a library without it.
        """
        self.settings = settings
        self._built_in = built_in
        self.vram_bytes = 0
        """What was free on the GPUs when the program started; 0 without one that llama.cpp can use."""
        self._read: dict[tuple[Path, int], str] = {}
        """Quantizations that were read from headers, by path and size."""
        self._trash = trash.Trash()
        self._aside: list[Aside] = []

    def local_models(self) -> list[LocalModel]:
        """Every model that is here, by name, the tutor last.

        Quick, but it reads folders, and headers of files whose name says little.
        """
        found: dict[Path, LocalModel] = {}
        named = _in_folders(_absolute(self.settings.models.folders))
        for model in _joined([*self._tutors(), *_cached(), *named, *_elsewhere()]):
            found.setdefault(Path(os.path.realpath(model.path)), self._with_quantization(model))
        return sorted(
            found.values(), key=lambda model: (model.is_built_in, model.name.lower(), model.repo, str(model.path))
        )

    def others(self) -> list[LocalModel]:
        """Every model that is here besides the tutor, by name."""
        return [model for model in self.local_models() if not model.is_built_in]

    def _tutors(self) -> Iterator[LocalModel]:
        """The built-in model, if its file is there."""
        if self._built_in is not None and (size := _size(self._built_in)) is not None:
            yield LocalModel(
                self._built_in, tutor.NAME, "", named_in(self._built_in.name), size, "chatterm", file=tutor.SHORT_NAME
            )

    def _with_quantization(self, model: LocalModel) -> LocalModel:
        """A model with what its header says, where its name said nothing."""
        if model.quantization:
            return model
        key = (model.path, model.size_bytes)
        if key not in self._read:
            try:
                self._read[key] = gguf.read_header(model.path).quantization
            except EngineError:  # it stays in the list: loading it says what is wrong with it
                self._read[key] = ""
        return msgspec.structs.replace(model, quantization=self._read[key])

    def find(self, name: str) -> Address:
        """What a name means: a path, SERVER:MODEL, or a part of a name that only one model here has.

        Raises:
            ModelNotFound: none or several; names what there is.
        """
        if not name.strip():
            raise ModelNotFound("No model was chosen.", _how_to_get_one(self.local_models()))
        path = Path(name).expanduser()
        if path.is_file():
            return path.absolute()
        if path.is_dir():
            raise ModelNotFound(f"{line(name)} is a folder.", "Name one of the GGUF files in it.")
        remote = servers.address(name, self.settings.servers)
        # Ollama's "mistral:7b" is named like a model of the server "mistral": what is here goes nowhere.
        if remote is None or any(name.strip() in (model.name, *model.other_names) for model in self.local_models()):
            return self.model(name).path
        return remote

    def find_file(self, name: str) -> Path:
        """As `find`, for what can only be done with a file.

        Raises:
            ModelNotFound: none or several, or it is on a server.
        """
        address = self.find(name)
        if isinstance(address, RemoteModel):
            raise ModelNotFound(f"{line(name)} is on a server, which shows its answers only.", "Name a model here.")
        return address

    def first(self, wanted: str, picked: Address | None, default: str) -> Address | None:
        """The model to begin with: what was asked for, else picked last, else the default, else the only one, else the tutor.

        Args:
            wanted: Its name, as `find` takes it; empty for none.
            picked: Nothing is missed when it is gone.
            default: As `wanted`, for a machine on which nothing was picked.

        Raises:
            ModelNotFound: one was wanted, or is the default, that is not here.
        """
        if wanted:
            return self.find(wanted)
        if isinstance(picked, RemoteModel):
            if servers.find(picked.server, self.settings.servers) is not None:
                return picked
        elif picked is not None and picked.is_file():
            return picked
        if tutor.is_tutor(picked) and self._built_in is not None:  # that of an installation that has moved
            return self._built_in
        if default:
            return self.find(default)
        return self.only_one()

    def only_one(self) -> Path | None:
        """The model that is taken when none was chosen: the only one, the tutor not counted, else the tutor."""
        models = self.local_models()
        others = [model for model in models if not model.is_built_in]
        if len(others) == 1:
            return others[0].path
        return next((model.path for model in models if model.is_built_in), None)

    def model(self, name: str) -> LocalModel:
        """The local model that a name means.

        Args:
            name: Its name, file, repository, `repository:quantization`, path, or a part of one of them.

        Raises:
            ModelNotFound: none or several; names what there is.
        """
        models = self.local_models()
        for matches in (_is_tutor, _is_called, _contains):
            match [model for model in models if matches(model, name)]:
                case [model]:
                    return model
                case [_, *_] as several:
                    shown = ", ".join(_described(model) for model in several[:6])
                    raise ModelNotFound(
                        f"“{line(name)}” can mean {len(several)} models: {shown}.",
                        "Give more of the name, or the path.",
                    )
        raise ModelNotFound(f"There is no model “{line(name)}” here.", _how_to_get_one(models))

    async def remote_models(self) -> AsyncGenerator[Listing, None]:
        """What the servers have that the settings name, and the presets whose key is set; as each answers.

        None of them is waited for longer than some seconds; one that fails comes with the reason.
        """
        from chatterm.engine.listing import listings  # late: it needs the network

        async with aclosing(listings(servers.offered(self.settings.servers))) as found:
            async for listing in found:
                yield listing

    async def has_others(self) -> bool:
        """Whether there is a model here besides the tutor."""
        return bool(await _in_thread(self.others))

    async def remove_deleted(self) -> None:
        """Remove for good what was put aside."""
        if self._aside:
            await _in_thread(self.empty_aside)

    async def search(self, query: Query) -> list[Found]:
        """Repositories on the Hub that match.

        Raises:
            HubError: the Hub could not be asked.
        """
        from chatterm.hub import catalogue  # late: most runs search for nothing

        return await _in_thread(catalogue.search, query)

    async def offers(self, repo: str) -> list[OfferedModel]:
        """The models that a repository on the Hub holds, smallest first.

        Raises:
            HubError: the Hub could not be asked.
        """
        from chatterm.hub import catalogue

        return await _in_thread(catalogue.models_in, repo)

    async def recommended(self) -> tuple[str, tuple[RecommendedModel, ...]]:
        """The day on which the list of recommended models was made, and its entries, smallest first."""
        from chatterm.hub import catalogue

        return await _in_thread(catalogue.recommended)

    async def header_of(self, model: LocalModel | OfferedModel) -> GgufHeader:
        """What the file of a model says about it, here or on the Hub.

        Raises:
            HubError: the Hub could not be asked.
            EngineError: it is no GGUF, or is gone.
        """
        if isinstance(model, LocalModel):
            return await _in_thread(gguf.read_header, model.path)
        from chatterm.hub import catalogue

        return await _in_thread(catalogue.header_of, model)

    async def fit_of(self, model: LocalModel | OfferedModel, header: GgufHeader | None = None) -> Fit:
        """Whether a model fits into the memory that is free now, loaded as the settings say.

        Args:
            model: Here or on the Hub.
            header: Of the same kind, so that its own need not be read.

        Raises:
            HubError: the Hub could not be asked.
            EngineError: it is no GGUF, or is gone.
        """
        from chatterm.fit import fit, free_memory

        known = header or await self.header_of(model)
        load = self.load_options(model)
        return await _in_thread(lambda: fit(known, model.size_bytes, load, free_memory(self.vram_bytes)))

    def load_options(self, model: LocalModel | OfferedModel) -> LoadOptions:
        """How a model would be loaded: as its own settings say, where it has some."""
        return layers.layered(self.settings, model.path if isinstance(model, LocalModel) else None).load

    def delete(self, model: LocalModel) -> int:
        """Remove a model, all its parts, in all revisions that the cache holds; gives the bytes that were freed.

        Raises:
            ModelKept: it lies elsewhere than in the cache or a named folder, or cannot be removed.
        """
        self._check_is_ours(model)
        with _kept(model, "removed"):
            if model.source == "Hugging Face cache":
                return cache.remove(model.repo, names.parts(model.file))
            return sum(cache.unlink(model.path.with_name(name)) for name in names.parts(model.path.name))

    def put_aside(self, model: LocalModel) -> Aside:
        """Take a model out of the list, so that it can be brought back until `empty_aside`; frees nothing yet.

        Raises:
            ModelKept: as `delete`.
        """
        self._check_is_ours(model)
        with _kept(model, "removed"):
            if model.source == "Hugging Face cache":
                parts = names.parts(model.file)
                files, n_bytes = cache.pointers(model.repo, parts), cache.n_freed_without(model.repo, parts)
            else:
                files = [model.path.with_name(name) for name in names.parts(model.path.name)]
                n_bytes = sum(map(cache.n_freed_without_file, files))
            self._trash.put(files)
        aside = Aside(model, n_bytes, tuple(files))
        self._aside.append(aside)
        return aside

    @property
    def deleted(self) -> tuple[Aside, ...]:
        """What was put aside and can be brought back, the latest last."""
        return tuple(self._aside)

    def bring_back(self, aside: Aside) -> None:
        """Put a model where it was.

        Raises:
            ModelKept: something else is there now, or it cannot be moved.
        """
        with _kept(aside.model, "brought back"):
            self._trash.bring_back(aside.files)
        self._aside.remove(aside)

    def empty_aside(self) -> int:
        """Remove for good what was put aside; gives the bytes that were freed. What cannot be removed is tried no more."""
        n_freed = 0
        for aside in self._aside:
            model = aside.model
            with suppress(OSError):
                if model.source == "Hugging Face cache":
                    n_freed += cache.remove(model.repo, [name + trash.SUFFIX for name in names.parts(model.file)])
                else:
                    n_freed += sum(cache.unlink(trash.aside(file)) for file in aside.files)
                self._trash.forget(aside.files)
        self._aside.clear()
        return n_freed

    def _check_is_ours(self, model: LocalModel) -> None:
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
        if not is_cached and not any(model.path.is_relative_to(top) for top in _absolute(self.settings.models.folders)):
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


async def _in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What a function gives that blocks; when the task is cancelled, its answer is dropped.

    A thread of its own, that ends with the program: the Hub may hang, and neither the event loop's few
    threads nor the end of the program shall wait for it.
    """
    loop, future = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

    def tell(result: R | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> None:
        result, problem = None, None
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            problem = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, result, problem)

    threading.Thread(target=run, name="library", daemon=True).start()
    answer: R = await future
    return answer


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


def _absolute(folders: Iterable[str]) -> list[Path]:
    """Named folders as paths, with `~` and variables filled in; links stay links."""
    return [Path(os.path.normpath(cache.expanded(folder).absolute())) for folder in folders if folder.strip()]


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


def _how_to_get_one(models: list[LocalModel]) -> str:
    """What to do when there is no such model."""
    if models:
        shown = ", ".join(line(model.name) for model in models[:6])
        return f"Here are: {shown}{', ...' if len(models) > 6 else ''}. Or give the path of a GGUF file."
    return "Fetch one with `chatterm models pull OWNER/NAME`, or give the path of a GGUF file."
