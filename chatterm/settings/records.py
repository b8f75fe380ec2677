"""Every setting with its bounds, its title, its help and its default: to add one, add a field here.

Each record is a section of the user's `settings.toml`. What makes a form of them is in `fields`, what makes one
whole of them in `settings`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

TemplateValue = bool | int | float | str
Stage = Literal["penalties", "top_k", "typical", "top_p", "min_p", "temperature"]
STAGES: tuple[Stage, ...] = get_args(Stage)
CacheType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]
AUTOMATIC_CTX = 8192
"""The largest context window that is chosen without being asked for, tokens."""


def _about(title: str, help: str, step: float | None = None, zero: str = "", **bounds: Any) -> Meta:
    """Bounds, title and help of a field; `zero` says what its special value means."""
    return Meta(title=title, description=help, extra={"step": step, "special": zero}, **bounds)


class Sampling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a token is drawn from the model's distribution. Counts from the next reply on."""

    temperature: Annotated[
        float,
        _about(
            "Temperature",
            "Low is predictable, high is creative, too high is incoherent. At 0 the likeliest token is always taken.",
            0.05,
            ge=0.0,
            le=3.0,
        ),
    ] = 0.8
    top_k: Annotated[
        int, _about("Top-k", "Only the k likeliest tokens may be drawn. 0 leaves all in.", 1, "all", ge=0, le=1000)
    ] = 40
    top_p: Annotated[
        float,
        _about(
            "Top-p",
            "Only the likeliest tokens that together reach this probability. 1 leaves all in.",
            0.01,
            ge=0.0,
            le=1.0,
        ),
    ] = 0.95
    min_p: Annotated[
        float,
        _about(
            "Min-p",
            "Drops tokens that are less likely than this share of the likeliest one. 0 drops none.",
            0.01,
            ge=0.0,
            le=1.0,
        ),
    ] = 0.05
    typical_p: Annotated[
        float,
        _about("Typical-p", "Keeps tokens that are about as surprising as usual. 1 keeps all.", 0.01, ge=0.0, le=1.0),
    ] = 1.0
    repeat_penalty: Annotated[
        float,
        _about(
            "Repeat penalty",
            "Makes tokens that were just used less likely. 1 is off; above 1.3 text suffers.",
            0.05,
            ge=0.5,
            le=2.0,
        ),
    ] = 1.0
    repeat_last_n: Annotated[
        int, _about("Penalty window", "How many of the last tokens the penalties look at. 0 is off.", 16, ge=0, le=8192)
    ] = 64
    frequency_penalty: Annotated[
        float,
        _about("Frequency penalty", "Makes a token less likely each time it was used. 0 is off.", 0.1, ge=-2.0, le=2.0),
    ] = 0.0
    presence_penalty: Annotated[
        float,
        _about(
            "Presence penalty", "Makes a token less likely once it was used at all. 0 is off.", 0.1, ge=-2.0, le=2.0
        ),
    ] = 0.0
    seed: Annotated[
        int,
        _about(
            "Seed",
            "The same seed and settings draw the same tokens. -1 takes a new one for each reply.",
            1,
            "random",
            ge=-1,
            le=2**32 - 2,
        ),
    ] = -1
    max_tokens: Annotated[
        int,
        _about(
            "Longest reply", "Stops after so many tokens. 0 lets the model decide.", 64, "no limit", ge=0, le=1_000_000
        ),
    ] = 0
    stop: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        _about("Stop strings", "The reply ends before any of these texts."),
    ] = ()
    order: Annotated[
        tuple[Stage, ...],
        _about("Order of stages", "In which order the stages cut the distribution; one left out is off."),
    ] = STAGES

    def __post_init__(self) -> None:
        if len(set(self.order)) < len(self.order):
            raise ValueError("`order` names a stage twice")


class LoadOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a model is loaded. A change counts when it is loaded again."""

    n_ctx: Annotated[
        int,
        _about(
            "Context window",
            "How many tokens the model can look back on; more takes more memory. 0 is as much as fits, at most 8,192.",
            1024,
            "automatic",
            ge=0,
            le=2**24,
        ),
    ] = 0
    n_threads: Annotated[
        int,
        _about(
            "Threads",
            "Processor cores to compute on. 0 measures what is quickest while it writes.",
            1,
            "automatic",
            ge=0,
            le=512,
        ),
    ] = 0
    n_gpu_layers: Annotated[
        int,
        _about(
            "GPU layers",
            "How many layers go to the GPU, if there is one. -1 is as many as it has room for.",
            1,
            "automatic",
            ge=-1,
            le=1000,
        ),
    ] = -1
    n_batch: Annotated[int, _about("Batch", "How many prompt tokens are read at once.", 64, ge=1, le=8192)] = 512
    flash_attention: Annotated[
        Literal["auto", "on", "off"],
        _about("Flash attention", "Computes attention with less memory, where the model allows it."),
    ] = "auto"
    cache_type_k: Annotated[
        CacheType, _about("KV cache, keys", "Smaller types let a longer context fit, at some loss.")
    ] = "f16"
    cache_type_v: Annotated[
        CacheType,
        _about("KV cache, values", "Smaller types let a longer context fit; other than f16 needs flash attention."),
    ] = "f16"
    mmap: Annotated[
        bool,
        _about("Map the file", "Read weights from the file as they are needed, instead of copying all of them first."),
    ] = True
    mlock: Annotated[
        bool,
        _about(
            "Lock in memory", "Keep the weights from being swapped out, where the system lets chatterm lock so much."
        ),
    ] = False
    keep_loaded: Annotated[
        bool,
        _about(
            "Keep loaded",
            "Keep the model in memory while another one answers, as long as there is room: then it is back at once,"
            " and remembers the conversation. Not on a GPU.",
        ),
    ] = False
    template: Annotated[
        str,
        _about("Chat template", "Jinja text, or a file that holds it; used instead of the one that the model carries."),
    ] = ""
    rpc_servers: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^([^\s:/\[\]]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$")], ...],
        _about(
            "RPC servers",
            "HOST:PORT of llama.cpp's rpc-server on machines that take a part of the layers. Experts only: there is no"
            " password and no encryption, and a server that is lost ends the model's process.",
        ),
    ] = ()


class ChatSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a conversation starts with."""

    model: Annotated[
        str, _about("Model", "The GGUF file, or SERVER:MODEL, that answers until another one is chosen.")
    ] = ""
    system_prompt: Annotated[str, _about("System prompt", "What the model is told before the conversation begins.")] = (
        ""
    )
    template_variables: Annotated[
        dict[str, TemplateValue],
        _about("Template variables", "Given to the model's chat template, such as enable_thinking = false."),
    ] = {}


class LookSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the app looks."""

    theme: Annotated[
        str, _about("Theme", "Which colours are used; with none chosen, dark or light ones as the terminal has.")
    ] = ""


class ModelsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where models are looked for besides the Hugging Face cache."""

    folders: Annotated[tuple[str, ...], _about("Model folders", "GGUF files in these folders are offered, too.")] = ()
