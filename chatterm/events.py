"""What loading and replying are made of: small frozen facts, in the order in which they happen.

A load is `Loading`* then `Loaded`. A reply is `Prompted`, after `Trimmed` where the context window
was full, then `Prefilling`*, `Token`*, `Finished`. They cross the pipe from the worker as they are
(msgspec, tagged by name), and `chatterm ask --json` prints them one a line.
Failures are exceptions (`errors`), never events.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True, tag_field="event", tag=str.lower):
    """What all events share: a tag, so that they can be told apart on the wire."""


class LoadStage(StrEnum):
    """What loading is at."""

    STARTING = "starting"
    """The worker process starts and imports llama.cpp."""
    READING = "reading"
    """Header and vocabulary; llama.cpp reports no progress here."""
    WEIGHTS = "weights"
    CONTEXT = "context"
    """KV cache and compute buffers are allocated."""
    CONNECTING = "connecting"
    """A server is asked for its models; then nothing else is told."""


class Loading(Event, frozen=True):
    """A model is on its way in."""

    stage: LoadStage
    fraction: float = 0.0
    """0 to 1 of this stage; only `WEIGHTS` moves."""


class ModelInfo(msgspec.Struct, frozen=True):
    """What is known about the model that is loaded."""

    path: str
    """Its file; empty for a model on a server."""
    name: str
    """As people read it; SERVER:MODEL for a model on a server."""
    architecture: str = ""
    quantization: str = ""
    """As in file names: "Q4_K_M", "F32"."""
    n_parameters: int = 0
    size_bytes: int = 0
    n_vocab: int = 0
    n_layers: int = 0
    n_ctx: int = 0
    """Context window in force, tokens."""
    n_ctx_train: int = 0
    """Context window that the model was trained for."""
    n_threads: int = 0
    n_gpu_layers: int = 0
    """Layers that are on a GPU; 0 without one."""
    flash_attention: bool = False
    template: str = ""
    """"model", "settings", or the fallback in words: "ChatML, since the model carries no template"."""
    is_chat: bool = True
    """False for a base model without a template: it continues text."""
    can_think: bool = False
    """Whether the template reacts to `enable_thinking`."""
    hash: str = ""
    """`sha256:...` where known, else `quick:...`."""
    repo: str = ""
    """`owner/name` on the Hub, where the file came from there."""
    recommended: dict[str, Any] = {}
    """Sampling settings that its file recommends, by field name of `settings.Sampling`."""
    host: str = ""
    """Which server answers, such as `api.openai.com`; empty where chatterm runs the model itself."""
    is_elsewhere: bool = False
    """Whether what is written leaves this machine."""

    @property
    def address(self) -> str:
        """What it is loaded by: its file, or SERVER:MODEL."""
        return self.path or self.name


class Loaded(Event, frozen=True):
    """The model is in and can be asked."""

    model: ModelInfo
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    """What was chosen automatically or had to be changed, in sentences for the user."""


class Trimmed(Event, frozen=True):
    """The context window is full: before anything is dropped, which turns the model will not see.

    It comes before `Prompted`, and again in the middle of a reply that fills the window itself;
    then the rest is read again (`Prefilling`) and the reply goes on.
    """

    dropped: tuple[int, ...]
    """Ids of the turns that are left out, oldest first."""
    n_before: int
    """Tokens of the whole prompt."""
    n_after: int
    n_ctx: int


class Prompted(Event, frozen=True):
    """The prompt is tokenized and about to be evaluated."""

    n_prompt: int
    n_reused: int
    """Tokens at its start that are in the KV cache already and are not evaluated again."""
    seed: int
    template: str = ""
    """"model", "raw", or the stated fallback."""
    notes: tuple[str, ...] = ()
    """What the template refused and what was done instead, in sentences for the user."""
    token_ids: tuple[int, ...] = ()
    """The prompt itself, special tokens included."""


class Prefilling(Event, frozen=True):
    """The prompt is being read (evaluated)."""

    n_done: int
    """Tokens done, with the reused ones."""
    n_total: int
    n_reused: int = 0
    tokens_per_second: float = 0.0
    """Of the tokens that were evaluated; 0 before the first slice is through."""


class Token(Event, frozen=True):
    """One token was sampled.

    `text` is what can be shown now: it lags behind the token where a character or a stop string is
    split over several, and can then hold text of earlier tokens. The texts of a reply joined are
    the reply, split by `reasoning`.
    """

    text: str
    id: int | None = None
    """Token id; None for text that was held back and is released without a new token."""
    reasoning: bool = False
    """True inside a reasoning span; its tags are shown nowhere."""


class Tuned(Event, frozen=True):
    """The number of threads was changed after measuring."""

    n_threads: int
    tokens_per_second: float


class FinishReason(StrEnum):
    """Why a reply ended."""

    END = "end"
    """The model sampled an end-of-generation token."""
    LENGTH = "length"
    """`max_tokens` is reached."""
    STOP = "stop string"
    CONTEXT = "context full"
    """There is no room for another token, and nothing that could be dropped."""
    FILTER = "content filter"
    """The server held back the rest."""


class Finished(Event, frozen=True):
    """The reply is complete."""

    reason: FinishReason
    n_prompt: int = 0
    n_reused: int = 0
    n_generated: int = 0
    seed: int = 0
    prefill_seconds: float = 0.0
    first_token_seconds: float = 0.0
    """From asking to the first token."""
    decode_seconds: float = 0.0
    """From the first token to the last."""
    n_used: int = 0
    """Tokens in the context window now."""
    n_ctx: int = 0


LoadEvent = Loading | Loaded
ReplyEvent = Trimmed | Prompted | Prefilling | Token | Tuned | Finished
