"""The models of this machine, and what can be asked of those on servers and on the Hub."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from chatterm import gguf, layers, paths, tutor
from chatterm.address import Address, RemoteModel
from chatterm.engine import servers
from chatterm.errors import EngineError, ModelNotFound
from chatterm.library import files, naming
from chatterm.library.in_thread import in_thread
from chatterm.library.model import Aside, LocalModel
from chatterm.library.removal import Removal
from chatterm.settings import LoadOptions, Settings
from chatterm.text import line

if TYPE_CHECKING:
    from chatterm.engine.listing import Listing
    from chatterm.fit import Fit
    from chatterm.gguf import GgufHeader
    from chatterm.hub.catalogue import Found, OfferedModel, Query, RecommendedModel


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
        self._removal = Removal()

    def local_models(self) -> list[LocalModel]:
        """Every model that is here, by name, the tutor last.

        Quick, but it reads folders, and headers of files whose name says little.
        """
        found: dict[Path, LocalModel] = {}
        for model in files.models(self.settings.models.folders, self._built_in):
            found.setdefault(Path(os.path.realpath(model.path)), self._with_quantization(model))
        return sorted(
            found.values(), key=lambda model: (model.is_built_in, model.name.lower(), model.repo, str(model.path))
        )

    def others(self) -> list[LocalModel]:
        """Every model that is here besides the tutor, by name."""
        return [model for model in self.local_models() if not model.is_built_in]

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
            raise ModelNotFound("No model was chosen.", naming.how_to_get_one(self.local_models()))
        path = paths.expanded(name)
        if os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises where it may not look
            return path.absolute()
        if os.path.isdir(path):  # noqa: PTH112 - as above
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
        elif picked is not None and os.path.isfile(picked):  # noqa: PTH113 - Path.is_file raises where it may not look
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
        return naming.meant(self.local_models(), name)

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
        return bool(await in_thread(self.others))

    async def remove_deleted(self) -> None:
        """Remove for good what was put aside."""
        if self.deleted:
            await in_thread(self.empty_aside)

    async def search(self, query: Query) -> list[Found]:
        """Repositories on the Hub that match.

        Raises:
            HubError: the Hub could not be asked.
        """
        from chatterm.hub import catalogue  # late: most runs search for nothing

        return await in_thread(catalogue.search, query)

    async def offers(self, repo: str) -> list[OfferedModel]:
        """The models that a repository on the Hub holds, smallest first.

        Raises:
            HubError: the Hub could not be asked.
        """
        from chatterm.hub import catalogue

        return await in_thread(catalogue.models_in, repo)

    async def recommended(self) -> tuple[str, tuple[RecommendedModel, ...]]:
        """The day on which the list of recommended models was made, and its entries, smallest first."""
        from chatterm.hub import catalogue

        return await in_thread(catalogue.recommended)

    async def header_of(self, model: LocalModel | OfferedModel) -> GgufHeader:
        """What the file of a model says about it, here or on the Hub.

        Raises:
            HubError: the Hub could not be asked.
            EngineError: it is no GGUF, or is gone.
        """
        if isinstance(model, LocalModel):
            return await in_thread(gguf.read_header, model.path)
        from chatterm.hub import catalogue

        return await in_thread(catalogue.header_of, model)

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
        return await in_thread(lambda: fit(known, model.size_bytes, load, free_memory(self.vram_bytes)))

    def load_options(self, model: LocalModel | OfferedModel) -> LoadOptions:
        """How a model would be loaded: as its own settings say, where it has some."""
        return layers.layered(self.settings, model.path if isinstance(model, LocalModel) else None).load

    def delete(self, model: LocalModel) -> int:
        """Remove a model, all its parts, in all revisions that the cache holds; gives the bytes that were freed.

        Raises:
            ModelKept: it lies elsewhere than in the cache or a named folder, or cannot be removed.
        """
        return self._removal.delete(model, self.settings.models.folders)

    def put_aside(self, model: LocalModel) -> Aside:
        """Take a model out of the list, so that it can be brought back until `empty_aside`; frees nothing yet.

        Raises:
            ModelKept: as `delete`.
        """
        return self._removal.put_aside(model, self.settings.models.folders)

    @property
    def deleted(self) -> tuple[Aside, ...]:
        """What was put aside and can be brought back, the latest last."""
        return tuple(self._removal.aside)

    def bring_back(self, aside: Aside) -> None:
        """Put a model where it was.

        Raises:
            ModelKept: something else is there now, or it cannot be moved.
        """
        self._removal.bring_back(aside)

    def empty_aside(self) -> int:
        """Remove for good what was put aside; gives the bytes that were freed. What cannot be removed is tried no more."""
        return self._removal.empty()
