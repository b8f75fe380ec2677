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

import msgspec

from chatterm.engine.worker import identity
from chatterm.engine.worker.context import Context, Slices, StopFlag
from chatterm.engine.worker.library import Library
from chatterm.engine.worker.memory import ContextCost, buffer_bytes, free_bytes, give_back, in_words
from chatterm.engine.worker.template import ChatTemplate
from chatterm.engine.worker.threads import Tuner, is_busy, usable_cores
from chatterm.engine.worker.vocabulary import Vocabulary
from chatterm.errors import EngineError, LoadCancelled, ModelUnreadable, OutOfMemory
from chatterm.events import Event, Loaded, Loading, LoadStage, ModelInfo
from chatterm.settings import AUTOMATIC_CTX, CacheType, LoadOptions

Send = Callable[[Event], None]
_SMALLEST_CTX = 512
_PROBES = 512, 1024
"""Sizes of the two context windows from which the cost of any other is told, tokens."""
_PROGRESS_SECONDS = 0.05
_MAX_UBATCH = 512
_MIB = 1024 * 1024
_FLASH = {"auto": -1, "off": 0, "on": 1}
_CACHE_TYPES: dict[CacheType, int] = {
    "f32": 0,
    "f16": 1,
    "bf16": 30,
    "q8_0": 8,
    "q5_1": 7,
    "q5_0": 6,
    "q4_1": 3,
    "q4_0": 2,
}
"""ggml's numbers for them."""


class LoadedModel:
    """A model, its context window, and what goes with them."""

    def __init__(self, library: Library, pointer: Any, path: Path) -> None:
        llama = library.llama
        self.library = library
        self.pointer = pointer
        self.vocabulary = Vocabulary(pointer, llama)
        source = llama.llama_model_chat_template(pointer, None)
        self.template = ChatTemplate(None if source is None else source.decode("utf-8", "replace"), self.vocabulary)
        self.n_parameters = int(llama.llama_model_n_params(pointer))
        self.n_ctx_train = int(llama.llama_model_n_ctx_train(pointer))
        self.path = path
        self.context: Context
        self.slices: Slices
        self.tuner: Tuner

    @property
    def n_prefill_threads(self) -> int:
        """With how many threads to read a prompt: all cores, unless that was measured or is likely to be slower."""
        tuner = self.tuner
        if tuner.seconds or tuner.n_cores == tuner.careful:
            return tuner.n_threads
        return tuner.careful if is_busy(tuner.n_cores) else tuner.n_cores

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
        self.notes: list[str] = []
        self.gpus = library.gpus()
        self.n_gpu_layers = 0
        self.mapped_bytes = 0.0
        """Weights that lie in the file's mapping: they take memory, but the system counts it as free."""

    def model(self) -> LoadedModel:
        """The weights and the vocabulary."""
        llama, log = self.library.llama, self.library.log
        parameters = llama.llama_model_default_params()
        parameters.n_gpu_layers = self.options.n_gpu_layers
        parameters.load_mode = llama.LLAMA_LOAD_MODE_MMAP if self.options.mmap else llama.LLAMA_LOAD_MODE_NONE
        parameters.use_extra_bufts = self._fits()
        progress = llama.llama_progress_callback(self._progress())
        parameters.progress_callback = progress
        log.clear()
        pointer = llama.llama_model_load_from_file(os.fsencode(self.path), parameters)
        if not pointer:
            raise self._model_failure()
        self.mapped_bytes = sum(float(mib) for mib in re.findall(r"_Mapped model buffer size =\s*([\d.]+)", log.text))
        self.mapped_bytes *= _MIB
        if self.gpus and (offloaded := re.search(r"offloaded (\d+)/\d+ layers to GPU", log.text)):
            self.n_gpu_layers = int(offloaded[1])
        elif self.options.n_gpu_layers > 0:
            self.notes.append("llama.cpp finds no GPU that it can use, so all layers run on the processor.")
        if reason := _cannot_write(llama, pointer):
            llama.llama_model_free(pointer)
            raise ModelUnreadable(f"{self.path.name} cannot be chatted with: {reason}.", "Choose another model.")
        return LoadedModel(self.library, pointer, self.path)

    def context(self, model: LoadedModel) -> bool:
        """The context window; tells whether flash attention is on."""
        options = self.options
        wanted = options.n_ctx or min(AUTOMATIC_CTX, model.n_ctx_train or AUTOMATIC_CTX)
        if options.n_ctx > model.n_ctx_train > 0:
            self.notes.append(
                f"The context window is {options.n_ctx:,} tokens, but the model was trained for {model.n_ctx_train:,}:"
                " it may lose the thread beyond them."
            )
        self._without_quantized_values(model)
        n_ctx = self._affordable(model, wanted)
        pointer = self._make(model, n_ctx)
        if not pointer:
            raise self._context_failure(n_ctx)
        text = self.library.log.text
        self._set_up(model, pointer)
        if self.n_gpu_layers == 0 and not options.n_ctx and n_ctx < wanted:
            self.notes.append(
                f"The context window is {n_ctx:,} tokens: more does not fit into the memory that is free."
            )
        return self.options.flash_attention != "off" and "Flash Attention enabled" in text

    def info(self, model: LoadedModel, flash_attention: bool) -> ModelInfo:
        """What is known about the model now."""
        llama, pointer = self.library.llama, model.pointer
        return ModelInfo(
            path=str(self.path),
            name=identity.name(identity.metadata(llama, pointer, "general.name"), self.path),
            architecture=identity.metadata(llama, pointer, "general.architecture"),
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
            repo=identity.repo(self.path),
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
                f"The model needs {in_words(needed)}, {in_words(free)} are free.",
                'Try a smaller file, or turn on "Map the file".',
            )
        self.notes.append(
            f"The model ({in_words(needed)}) is larger than the memory that is free ({in_words(free)}):"
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

    def _affordable(self, model: LoadedModel, wanted: int) -> int:
        """The size of the context window: what was asked, or what fits.

        Raises:
            OutOfMemory: what was asked does not fit, or not even a small one does.
        """
        cost, budget = self._cost(model), self._budget()
        if cost.bytes_for(wanted) <= budget:
            return wanted
        largest = cost.largest(budget) // 256 * 256
        if self.options.n_ctx or largest < _SMALLEST_CTX:
            advice = f"Up to {largest:,} tokens fit." if largest >= _SMALLEST_CTX else "Try a smaller model."
            raise OutOfMemory(
                f"A context window of {wanted:,} tokens needs {in_words(cost.bytes_for(wanted))},"
                f" {in_words(max(0.0, budget))} are free.",
                f"Try a smaller context window. {advice}",
            )
        return largest

    def _cost(self, model: LoadedModel) -> ContextCost:
        """What context windows of this model take, from two small ones."""
        sizes = []
        for n_ctx in _PROBES:
            pointer = self._make(model, n_ctx)
            if not pointer:
                raise self._context_failure(n_ctx)
            sizes.append(buffer_bytes(self.library.log.text))
            self.library.llama.llama_free(pointer)
        return ContextCost.between(_PROBES[0], sizes[0], _PROBES[1], sizes[1])

    def _budget(self) -> float:
        """Memory that a context window may take."""
        if self.n_gpu_layers:
            return 0.95 * sum(gpu.free_bytes for gpu in self.library.gpus())
        return free_bytes() - self.mapped_bytes

    def _without_quantized_values(self, model: LoadedModel) -> None:
        """Give up a quantized V cache where flash attention is off, or cannot be used with this model."""
        if self.options.cache_type_v in ("f32", "f16", "bf16"):
            return
        if self.options.flash_attention != "off":
            pointer = self._make(model, _PROBES[0])
            if pointer:
                self.library.llama.llama_free(pointer)
                return
            if not any("lash" in line for line in self.library.log.errors):
                raise self._context_failure(_PROBES[0])
        self.notes.append(
            f"The value cache is f16 instead of {self.options.cache_type_v}, which needs flash attention."
        )
        self.options = msgspec.structs.replace(self.options, cache_type_v="f16")

    def _make(self, model: LoadedModel, n_ctx: int) -> Any:
        """A llama.cpp context of a size, or nothing; what it said is in the log."""
        llama, options = self.library.llama, self.options
        if self.flag.is_set:
            raise LoadCancelled("Loading was stopped.")
        parameters = llama.llama_context_default_params()
        parameters.n_ctx = n_ctx
        parameters.n_batch = min(options.n_batch, n_ctx)
        parameters.n_ubatch = min(parameters.n_batch, _MAX_UBATCH)
        parameters.flash_attn_type = _FLASH[options.flash_attention]
        parameters.type_k = _CACHE_TYPES[options.cache_type_k]
        parameters.type_v = _CACHE_TYPES[options.cache_type_v]
        parameters.n_threads = parameters.n_threads_batch = options.n_threads or usable_cores()
        self.library.log.clear()
        return llama.llama_init_from_model(model.pointer, parameters)

    def _set_up(self, model: LoadedModel, pointer: Any) -> None:
        """Join the context window and what steers it to the model."""
        llama, options = self.library.llama, self.options
        n_swa = int(llama.llama_model_n_swa(model.pointer))
        model.context = Context(llama, pointer, self.flag, int(llama.llama_n_batch(pointer)), n_swa)
        model.slices = Slices(model.context.n_batch, model.n_parameters, can_abort=not self.gpus)
        model.tuner = Tuner(usable_cores(), options.n_threads)

    def _model_failure(self) -> EngineError:
        """Why the model could not be loaded."""
        if self.flag.is_set:
            return LoadCancelled("Loading was stopped.")
        reasons = self.library.log.errors
        if any(_is_memory(line) for line in reasons):
            needed, free = identity.file_bytes(self.path), free_bytes()
            return OutOfMemory(
                f"The model needs {in_words(needed)}, {in_words(free)} are free.",
                "Try a smaller file, or fewer layers.",
            )
        reason = reasons[0].rstrip(".") if reasons else "llama.cpp gives no reason"
        return ModelUnreadable(f"{self.path.name}: {reason}.", _advice(reason))

    def _context_failure(self, n_ctx: int) -> EngineError:
        """Why the context window could not be made."""
        reasons = self.library.log.errors or ["llama.cpp gives no reason"]
        if any(_is_memory(line) for line in reasons):
            return OutOfMemory(
                f"A context window of {n_ctx:,} tokens could not be allocated.", "Try a smaller context window."
            )
        return ModelUnreadable(
            f"The context window could not be made: {reasons[0].rstrip('.')}.", "Try other settings for loading."
        )


def _cannot_write(llama: Any, pointer: Any) -> str:
    """Why a model cannot write text although it can be loaded; "" when it can."""
    if llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(pointer)) == 0:
        return "the file carries no vocabulary"
    if llama.llama_model_has_encoder(pointer) or not llama.llama_model_has_decoder(pointer):
        return "it is an encoder, made for embeddings or translation"
    if llama.llama_model_is_diffusion(pointer):
        return "it is a diffusion model"
    return ""


def _is_memory(line: str) -> bool:
    """Whether an error line is about memory."""
    return bool(re.search(r"alloc|out of memory|insufficient memory", line, re.IGNORECASE))


def _advice(reason: str) -> str:
    """What to do about a model that llama.cpp refuses."""
    if "unknown model architecture" in reason or "unknown pre-tokenizer" in reason:
        return "This version of llama.cpp does not know it yet; choose another model."
    if re.search(r"corrupted|incomplete|file bounds|failed to read|EOF|end of file", reason):
        return "The file is damaged or was not downloaded completely: fetch it again."
    return "Choose another file, or fetch it again."
