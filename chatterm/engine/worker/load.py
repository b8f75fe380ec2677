"""From a path to a model that can be asked, with progress, and reasons where it fails.

The context window is made here, too, since how large it may be depends on the model. Nothing here
knows prompts; paths are used as they are given, since split models are found by their names.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chatterm.address import repo_of
from chatterm.engine.worker import identity
from chatterm.engine.worker.context import Context, Slices, StopFlag
from chatterm.engine.worker.library import Library, is_about_memory
from chatterm.engine.worker.memory import give_back, mapped_bytes
from chatterm.engine.worker.override import chosen_template
from chatterm.engine.worker.threads import PromptThreads, Tuner, usable_cores
from chatterm.engine.worker.vocabulary import Vocabulary
from chatterm.engine.worker.window import WindowMaker
from chatterm.errors import EngineError, LoadCancelled, ModelUnreadable, OutOfMemory
from chatterm.events import Event, Loaded, Loading, LoadStage, ModelInfo
from chatterm.fit import gpu_layers
from chatterm.gguf import read_header
from chatterm.memory import free_bytes
from chatterm.settings import LoadOptions
from chatterm.text import amount, line

Send = Callable[[Event], None]
_PROGRESS_SECONDS = 0.05


class LoadedModel:
    """A model, its context window, and what goes with them."""

    def __init__(self, library: Library, pointer: Any, path: Path, options: LoadOptions, notes: list[str]) -> None:
        llama = library.llama
        self.library = library
        self.pointer = pointer
        self.vocabulary = Vocabulary(pointer, llama)
        source = llama.llama_model_chat_template(pointer, None)
        own = None if source is None else source.decode("utf-8", "replace")
        self.template = chosen_template(options.template, own, self.vocabulary, notes)
        self.n_parameters = int(llama.llama_model_n_params(pointer))
        self.n_ctx_train = int(llama.llama_model_n_ctx_train(pointer))
        self.path = path
        self.context: Context
        self.slices: Slices
        self.tuner: Tuner
        self.prompt_threads: PromptThreads
        self.window: WindowMaker
        self.has_flash = False
        """Whether the context window uses flash attention."""

    def close(self) -> None:
        """Free all memory that the model takes."""
        if hasattr(self, "context"):
            self.context.close()
        self.library.llama.llama_model_free(self.pointer)
        give_back()


def load(library: Library, path: Path, options: LoadOptions, flag: StopFlag, send: Send) -> LoadedModel:
    """Load a model; `Loaded` is sent last.

    Raises:
        ModelUnreadable, OutOfMemory: with the reason that llama.cpp gave.
        LoadCancelled: the flag was set.
    """
    begin = time.perf_counter()
    send(Loading(LoadStage.READING))
    loading = _Load(library, path, options, flag, send)
    model = loading.model()
    try:
        send(Loading(LoadStage.CONTEXT))
        info = loading.info(model, loading.context(model))
    except BaseException:
        model.close()
        raise
    send(Loaded(info, time.perf_counter() - begin, tuple(loading.notes)))
    return model


class _Load:
    """One attempt to load: what was asked, and what is found out on the way."""

    def __init__(self, library: Library, path: Path, options: LoadOptions, flag: StopFlag, send: Send) -> None:
        self.library = library
        self.path = path
        self.options = options
        self.flag = flag
        self.send = send
        self.notes: list[str] = library.use_servers(options.rpc_servers)
        self.gpus = library.gpus()
        self.n_gpu_layers = 0
        self.gpu_share = 1.0
        """Of the layers, and so of the KV cache, that is on GPUs, if any is."""
        self.mapped_bytes = 0.0
        """Weights that lie in the file's mapping: they take memory, but the system counts it as free."""

    def model(self) -> LoadedModel:
        """The weights and the vocabulary."""
        llama, log = self.library.llama, self.library.log
        parameters = llama.llama_model_default_params()
        parameters.n_gpu_layers = self._gpu_layers()
        parameters.load_mode = _load_mode(llama, self.options)
        parameters.use_extra_bufts = self._fits() and self.library.can_repack
        progress = llama.llama_progress_callback(self._progress())
        parameters.progress_callback = progress
        log.clear()
        pointer = llama.llama_model_load_from_file(os.fsencode(self.path), parameters)
        if not pointer:
            raise self._model_failure()
        self.mapped_bytes = mapped_bytes(log.text)
        if self.gpus and (offloaded := re.search(r"offloaded (\d+)/(\d+) layers to GPU", log.text)):
            self.n_gpu_layers = int(offloaded[1])
            self.gpu_share = self.n_gpu_layers / max(1, int(offloaded[2]))
        elif self.options.n_gpu_layers > 0:
            self.notes.append("llama.cpp finds no GPU that it can use, so all layers run on the processor.")
        if reason := _cannot_write(llama, pointer):
            llama.llama_model_free(pointer)
            raise ModelUnreadable(f"{self.path.name} cannot be chatted with: {reason}.", "Choose another model.")
        if self.options.mlock and "failed to mlock" in log.text:
            self.notes.append(
                "The system does not let chatterm lock so much memory (ulimit -l tells how much), so it may be swapped out."
            )
        return LoadedModel(self.library, pointer, self.path, self.options, self.notes)

    def context(self, model: LoadedModel) -> bool:
        """Join the context window and what steers it to the model; tells whether flash attention is on."""
        llama = self.library.llama
        maker = WindowMaker(self.library, model.pointer, self.options, self.flag, self.notes)
        pointer, model.has_flash = maker.make(model.n_ctx_train, *self._budget())
        model.window = maker
        n_swa = int(llama.llama_model_n_swa(model.pointer))
        model.context = Context(llama, pointer, self.flag, int(llama.llama_n_batch(pointer)), n_swa)
        model.slices = Slices(model.context.n_batch, model.n_parameters, can_abort=not self.gpus)
        model.tuner = Tuner(usable_cores(), self.options.n_threads)
        model.prompt_threads = PromptThreads(model.tuner)
        return model.has_flash

    def info(self, model: LoadedModel, flash_attention: bool) -> ModelInfo:
        """What is known about the model now."""
        llama, pointer = self.library.llama, model.pointer
        return ModelInfo(
            path=str(self.path),
            name=identity.name(identity.metadata(llama, pointer, "general.name"), self.path),
            architecture=line(identity.metadata(llama, pointer, "general.architecture")),
            quantization=identity.quantization(identity.metadata(llama, pointer, "general.file_type"), self.path),
            n_parameters=model.n_parameters,
            size_bytes=identity.file_bytes(self.path),
            n_vocab=model.vocabulary.n_tokens,
            n_layers=llama.llama_model_n_layer(pointer),
            n_ctx=model.context.n_ctx,
            n_ctx_train=model.n_ctx_train,
            n_threads=model.tuner.n_threads,
            n_gpu_layers=self.n_gpu_layers,
            flash_attention=flash_attention,
            template=model.template.name,
            is_chat=model.template.is_chat,
            can_think=model.template.can_think,
            hash=identity.file_hash(self.path),
            repo=repo_of(self.path),
            recommended=identity.recommended(llama, pointer),
        )

    def _fits(self) -> bool:
        """Whether the weights fit into memory with a copy of some of them, which makes them quicker.

        Raises:
            OutOfMemory: they do not, and may not be mapped.
        """
        needed, free = identity.file_bytes(self.path), free_bytes()
        if (self.gpus and self.options.n_gpu_layers) or needed < free:
            return True
        if not self.options.mmap:
            raise OutOfMemory(
                f"The model needs {amount(needed)}, {amount(free)} are free.",
                'Try a smaller file, or turn on "Map the file".',
            )
        self.notes.append(
            f"The model ({amount(needed)}) is larger than the memory that is free ({amount(free)}):"
            " it is read from the disk again and again, which is slow."
        )
        return False

    def _progress(self) -> Callable[[float, object], bool]:
        """What llama.cpp calls for each tensor: reports now and then, and ends the load when the flag is set."""
        last = 0.0

        def progress(fraction: float, _: object) -> bool:
            nonlocal last
            now = time.monotonic()
            if now - last >= _PROGRESS_SECONDS or fraction >= 1:
                last = now
                self.send(Loading(LoadStage.WEIGHTS, min(fraction, 1.0)))
            return not self.flag.is_set

        return progress

    def _gpu_layers(self) -> int:
        """How many layers shall go to the GPU: what was asked, or, of all, those that it has room for."""
        asked, free = self.options.n_gpu_layers, sum(gpu.free_bytes for gpu in self.gpus)
        if asked >= 0 or not free:
            return asked
        try:
            header = read_header(self.path)
        except EngineError:  # llama.cpp will say what is wrong with the file
            return asked
        n_layers = gpu_layers(header, identity.file_bytes(self.path), self.options, free)
        if n_layers >= 0:
            self.notes.append(
                f"{n_layers:,} of {header.n_layers:,} layers go to the GPU: no more fit into the {amount(free)} that are"
                " free there. The others run on the processor, which is slower."
            )
        return n_layers

    def _budget(self) -> tuple[float, float]:
        """Memory that a context window may take, and how much of that the mapped weights are in."""
        if not self.n_gpu_layers:
            return free_bytes(), self.mapped_bytes
        on_gpus = 0.95 * sum(gpu.free_bytes for gpu in self.library.gpus()) / self.gpu_share
        if self.gpu_share >= 1:
            return on_gpus, 0.0
        return min(on_gpus, free_bytes() / (1 - self.gpu_share)), 0.0

    def _model_failure(self) -> EngineError:
        """Why the model could not be loaded."""
        if self.flag.is_set:
            return LoadCancelled("Loading was stopped.")
        reasons = self.library.log.errors
        if any(is_about_memory(reason) for reason in reasons):
            needed, free = identity.file_bytes(self.path), free_bytes()
            return OutOfMemory(
                f"The model needs {amount(needed)}, {amount(free)} are free.",
                "Try a smaller file, or fewer layers.",
            )
        reason = reasons[0].rstrip(".") if reasons else "llama.cpp gives no reason"
        return ModelUnreadable(f"{self.path.name}: {reason}.", _advice(reason))


def _load_mode(llama: Any, options: LoadOptions) -> int:
    """How weights get into memory, as llama.cpp numbers it."""
    if options.mlock:
        return int(llama.LLAMA_LOAD_MODE_MMAP_MLOCK if options.mmap else llama.LLAMA_LOAD_MODE_MLOCK)
    return int(llama.LLAMA_LOAD_MODE_MMAP if options.mmap else llama.LLAMA_LOAD_MODE_NONE)


def _cannot_write(llama: Any, pointer: Any) -> str:
    """Why a model cannot write text although it can be loaded; "" when it can."""
    if llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(pointer)) == 0:
        return "the file carries no vocabulary"
    if llama.llama_model_has_encoder(pointer) or not llama.llama_model_has_decoder(pointer):
        return "it is an encoder, made for embeddings or translation"
    if llama.llama_model_is_diffusion(pointer):
        return "it is a diffusion model"
    return ""


def _advice(reason: str) -> str:
    """What to do about a model that llama.cpp refuses."""
    if "unknown model architecture" in reason or "unknown pre-tokenizer" in reason:
        return "This version of llama.cpp does not know it yet; choose another model."
    if re.search(r"corrupted|incomplete|file bounds|failed to read|exceeds maximum|end of file", reason):
        return "The file is damaged or was not downloaded completely: fetch it again."
    return "Choose another file, or fetch it again."
