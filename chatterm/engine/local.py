"""The engine that runs models on this machine: the parent's side of the worker process.

It turns the protocol of `engine.base` into questions to the worker, a closed iterator into a stop,
and a stop that is not obeyed into a kill. It never imports llama.cpp: the worker does, and may end
at any moment without taking the app along.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from chatterm.address import Address
from chatterm.engine.base import Capabilities, EngineReport, Prompt, PromptPiece, TokenPiece, WindowReport
from chatterm.engine.kept import KeptModels
from chatterm.engine.process import COMMAND, WorkerProcess
from chatterm.engine.wire import (
    Asked,
    Counted,
    CountPrompt,
    Done,
    Failure,
    Inspect,
    Inspected,
    LoadModel,
    MakeReport,
    Pieces,
    PromptPieces,
    Reported,
    ShowWindow,
    SplitPrompt,
    SplitText,
    Window,
    WriteReply,
)
from chatterm.errors import ModelNotFound, ModelUnreadable, NotVisible, WorkerDied
from chatterm.events import Finished, Loaded, LoadEvent, Loading, LoadStage, ModelInfo, ReplyEvent, Tuned
from chatterm.glass import GlassRequest, GlassResult, LetGo
from chatterm.settings import LoadOptions, Sampling

PATIENCE_SECONDS = 2.0
"""How long a worker may take to obey a stop while it reads or writes, before it is killed."""
_LOAD_PATIENCE_SECONDS = 0.1
"""The same while it loads: nothing is lost with it then."""

E = TypeVar("E")


class LocalEngine:
    """Runs GGUF models through llama.cpp, in a process of its own.

    The process is started on first use, or early by `start`. When it dies, the request that was
    running raises `WorkerDied`, `model` becomes None, and the next `load` starts a new one;
    `last_load` has what to load again.
    """

    def __init__(self, command: Sequence[str] = COMMAND, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.capabilities = Capabilities()
        self.last_load: tuple[Path, LoadOptions] | None = None
        """What was loaded last, whether it still is or not."""
        self._command = command
        self._patience_seconds = patience_seconds
        self._model: ModelInfo | None = None
        self._worker: WorkerProcess | None = None
        self._must_reload = False
        """True after a worker was killed because it did not stop: it is not the user's loss."""
        self._death: WorkerDied | None = None
        """How the model was lost while nobody asked anything: the next request hears of it."""
        self._kept = KeptModels()
        self._busy = asyncio.Lock()
        self._is_replying = False
        self._settling: asyncio.Task[None] | None = None

    @property
    def model(self) -> ModelInfo | None:
        """The model that is loaded; None when there is none, also after the worker has died."""
        return self._model

    @property
    def pid(self) -> int | None:
        """The worker's process id; None while there is none."""
        return self._worker.process.pid if self._worker else None

    async def start(self) -> None:
        """Start the worker ahead of its first use."""
        async with self._busy:
            await self._running()

    async def load(self, address: Address, options: LoadOptions) -> AsyncGenerator[LoadEvent, None]:
        """Take the place of the loaded model by this one; ends with `Loaded`.

        A path without a GGUF file is refused before the loaded model is given up.

        Raises:
            LibraryMissing, ModelNotFound, ModelUnreadable, OutOfMemory, WorkerDied.
        """
        if not isinstance(address, Path):
            raise ModelNotFound(f"{address} is no file on this machine.", "Choose another model.")
        async with self._busy:
            await asyncio.to_thread(check_file, address)
            yield Loading(LoadStage.STARTING)
            if (kept := await self._change_to(address, options)) is not None:
                yield Loaded(kept)
                return
            await self._running()
            self.last_load = (address, options)
            async with aclosing(self._load(address, options)) as events:
                async for event in events:
                    yield event

    async def reply(
        self,
        prompt: Prompt,
        sampling: Sampling,
        *,
        measure: bool = False,
        begins_with: Sequence[int] = (),
        stated: Collection[str] = (),  # noqa: ARG002
    ) -> AsyncGenerator[ReplyEvent, None]:
        """Sample an answer, token by token; ends with `Finished`.

        Raises:
            ModelNotFound: nothing is loaded.
            PromptTooLong, OutOfMemory, WorkerDied.
        """
        async with self._busy:
            await self._loaded()
            ask = WriteReply(prompt, sampling, measure, tuple(begins_with))
            self._is_replying = True
            try:
                async with aclosing(self._answers(ask, self._patience_seconds)) as events:
                    async for event in events:
                        if isinstance(event, Tuned) and self._model:
                            self._model = msgspec.structs.replace(self._model, n_threads=event.n_threads)
                        yield event
            finally:
                self._is_replying = False

    async def tokenize(self, text: str) -> list[TokenPiece]:
        """The tokens of a text, as user text: control tokens in it are spelled out."""
        async with self._busy:
            await self._loaded()
            return (await self._one(SplitText(text), Pieces)).pieces

    async def count(self, prompt: Prompt) -> int:
        """Tokens that a prompt takes with the chat template around it."""
        async with self._busy:
            await self._loaded()
            return (await self._one(CountPrompt(prompt), Counted)).n_tokens

    async def inspect(self, request: GlassRequest) -> GlassResult:
        """Look inside the model, at any token of a text; cancelling ends it early.

        While a reply is written it is answered between two tokens, which takes a fifth of the time at most.

        Raises:
            ModelNotFound: nothing is loaded.
            NotVisible: it cannot be seen with this model, build or device; says why.
            OutOfMemory, WorkerDied.
        """
        if self._is_replying:
            return await self._seen(request)
        async with self._busy:
            await self._loaded()
            return await self._seen(request)

    async def tokenize_prompt(self, prompt: Prompt) -> list[PromptPiece]:
        """What is really sent: the prompt with the chat template around it, as tokens.

        Raises:
            ModelNotFound: nothing is loaded.
        """
        async with self._busy:
            await self._loaded()
            return (await self._one(SplitPrompt(prompt), PromptPieces)).pieces

    async def window(self) -> WindowReport:
        """What is in the context window now.

        Raises:
            ModelNotFound: nothing is loaded.
        """
        async with self._busy:
            await self._loaded()
            return (await self._one(ShowWindow(), Window)).report

    async def report(self) -> EngineReport:
        """Versions, devices and problems; does not need a model."""
        async with self._busy:
            await self._running()
            return (await self._one(MakeReport(), Reported)).report

    async def unload(self) -> None:
        """Free the model's memory, by ending the process that holds it; one that shall stay is put aside instead."""
        async with self._busy:
            await self._settled()
            if not self._put_aside():
                await self._end()

    async def close(self) -> None:
        """Free everything, also while a request is running; the engine is not used afterwards."""
        await self._settled()
        await self._end()
        await self._kept.end()

    async def _change_to(self, path: Path, options: LoadOptions) -> ModelInfo | None:
        """Get ready for another model; gives it where it was kept, then nothing is left to be done.

        The one that is loaded is put aside where it shall stay and there is room for both.
        """
        await self._settled()
        last, stays = self.last_load, self._may_stay and self.last_load is not None and self.last_load[0] != path
        kept = await self._kept.take(path, options)
        has_room = kept is not None or not (stays or self._kept.names) or await self._kept.make_room(path)
        is_put_aside = stays and has_room and self._put_aside()
        if not is_put_aside and (kept is not None or (last and last[1].rpc_servers != options.rpc_servers)):
            await self._end()  # also since llama.cpp forgets no server that it was told of
        if kept is None:
            return None
        kept.worker.on_end = self._forget
        self._worker, self._model, self.last_load = kept.worker, kept.model, (path, options)
        self._must_reload, self._death = False, None
        return kept.model

    @property
    def _may_stay(self) -> bool:
        """Whether the model that is loaded shall stay in memory while another one answers; not on a GPU."""
        is_wanted = self.last_load is not None and self.last_load[1].keep_loaded
        return is_wanted and self._worker is not None and self._model is not None and not self._model.n_gpu_layers

    def _put_aside(self) -> bool:
        """Keep the model with its process while another one answers; False where it shall not stay."""
        if not self._may_stay:
            return False
        assert self.last_load
        assert self._model
        assert self._worker
        self._worker.forget(self._worker.ask(Inspect(LetGo())))  # nobody looks inside it meanwhile
        self._kept.keep(*self.last_load, self._model, self._worker)
        self._worker = self._model = None
        return True

    async def _load(self, path: Path, options: LoadOptions) -> AsyncGenerator[LoadEvent, None]:
        """Ask the worker to load, and remember what it says."""
        self._model, self._must_reload, self._death = None, False, None
        async with aclosing(self._answers(LoadModel(os.fsencode(path), options), _LOAD_PATIENCE_SECONDS)) as events:
            async for event in events:
                if isinstance(event, Loaded):
                    self._model = event.model
                yield event

    async def _loaded(self) -> None:
        """Make sure that a worker runs which has the model.

        Raises:
            ModelNotFound: nothing is loaded.
            WorkerDied: it was, but its process ended meanwhile.
        """
        await self._settled()
        if self._must_reload and self.last_load:
            async with aclosing(self._load(*self.last_load)) as events:
                async for _ in events:
                    pass
        if self._death is not None:
            raise self._death
        if self._model is None:
            raise ModelNotFound("No model is loaded.", "Choose one in the settings.")

    async def _running(self) -> WorkerProcess:
        """The worker, started where there is none."""
        await self._settled()
        if self._worker is None or not self._worker.is_running:
            self._worker = await WorkerProcess.start(self._command)
            self._worker.on_end = self._forget
        return self._worker

    async def _answers(self, ask: Asked, patience_seconds: float) -> AsyncGenerator[Any, None]:
        """Ask the worker and yield what it answers; closing the iterator stops it."""
        worker = await self._running()
        number = worker.ask(ask)
        finished = False
        try:
            while True:
                event = (await worker.answer(number)).event
                finished = isinstance(event, (Done, Failure))
                if isinstance(event, Failure):
                    raise event.error()
                if finished:
                    return
                finished = isinstance(event, (Loaded, Finished))  # what follows is `Done` alone
                yield event
        except WorkerDied:
            finished, self._death = True, None
            raise
        finally:
            if not finished:
                self._settling = asyncio.create_task(self._settle(worker, number, patience_seconds))
                await asyncio.shield(self._settling)
            worker.forget(number)

    async def _seen(self, request: GlassRequest) -> GlassResult:
        """What the worker sees inside the model; a reply that it writes goes on.

        Giving up leaves the worker alone: a look that cannot be stopped at once is not worth the model.
        """
        worker = await self._running()
        number = worker.ask(Inspect(request))
        event = None
        try:
            event = (await worker.answer(number)).event
        except WorkerDied:
            if not self._is_replying:
                self._death = None
            raise
        finally:
            if event is None:
                worker.stop(number)
            worker.forget(number)
        if isinstance(event, Failure):
            raise event.error()
        if not isinstance(event, Inspected):
            raise NotVisible("The look was given up, since the reply was stopped.")
        return event.result

    async def _one(self, ask: Asked, kind: type[E]) -> E:
        """The only answer to a question."""
        async with aclosing(self._answers(ask, self._patience_seconds)) as events:
            answers = [event async for event in events]
        assert isinstance(answers[0], kind)
        return answers[0]

    async def _settle(self, worker: WorkerProcess, number: int, patience_seconds: float) -> None:
        """Stop a question: politely, and by force when that is not heard."""
        worker.stop(number)
        try:
            async with asyncio.timeout(patience_seconds):
                while not isinstance((await worker.answer(number)).event, (Done, Failure)):
                    pass
        except TimeoutError:
            self._must_reload = self._model is not None
            self._release(worker)
            worker.kill()
            await worker.ended.wait()
        except WorkerDied:
            pass

    async def _settled(self) -> None:
        """Wait until a stop that is under way has come to its end."""
        if self._settling is not None and not self._settling.done():
            await asyncio.shield(self._settling)
        self._settling = None

    async def _end(self) -> None:
        """End the worker and forget its model."""
        worker, self._worker = self._worker, None
        self._model, self._must_reload, self._death = None, False, None
        if worker is not None:
            self._release(worker)
            await worker.end()

    def _release(self, worker: WorkerProcess) -> None:
        """From now on the end of this worker is no news."""
        worker.on_end = lambda _: None
        if worker is self._worker:
            self._worker = None

    def _forget(self, worker: WorkerProcess) -> None:
        """The worker has ended by itself, and with it the model."""
        if worker is self._worker:
            self._death = worker.death() if self._model is not None else None
            self._worker, self._model = None, None


def check_file(path: Path) -> None:
    """Refuse what cannot be a model, before anything is given up for it.

    Raises:
        ModelNotFound: there is no such file.
        ModelUnreadable: it is not a GGUF file, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelNotFound(f"There is no file {path}.", "Choose another model, or fetch it again.") from error
    except OSError as error:
        raise ModelUnreadable(f"{path} cannot be read: {error.strerror or error}.", "Choose another file.") from error
    if magic != b"GGUF":
        raise ModelUnreadable(f"{path.name} is not a GGUF file.", _what_it_is(magic, path))


def _what_it_is(magic: bytes, path: Path) -> str:
    """A guess at what was downloaded in its place."""
    if not magic:
        return "It is empty: fetch it again."
    if magic == b"vers" and path.stat().st_size < 1000:
        return "It is a Git LFS pointer, not the model itself: fetch the file it points to."
    return "Choose a file in GGUF format, such as those that model pages on the Hub list under GGUF."
