"""What loading and replying are made of: small frozen facts, in the order in which they happen.

A load is `Loading`* then `Loaded`. A reply is `Prompted`, after `Trimmed` where the context window
was full, then `Prefilling`*, `Token`*, `Finished`; where it is measured, a `Measured` comes before the
`Token`s of each sampled token. They cross the pipe from the worker as they are
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
    start: int | None = None
    """Where `text` begins in all that the model wrote, tags and all, as `Measured.start` counts; told while measuring."""


class StageMeasure(msgspec.Struct, frozen=True, array_like=True):
    """What one stage of the sampler did to the candidates of one token."""

    stage: str
    """As in `Sampling.order`; at temperature 0 the last one is "temperature", and leaves one."""
    n_left: int
    """Candidates after it, of the whole vocabulary."""
    cut: tuple[int, ...] = ()
    """Which of the shown candidates it dropped, counted from 0."""


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """The highest raw logits of one distribution, and the mass of all others: what reshaping needs (`lens`).

    Numbers are packed, little-endian, since there are hundreds of them for each token.
    """

    n_vocab: int
    """Size of the whole vocabulary; 0 where it is not known."""
    n_top: int
    """So many of the first are the highest of all; the others were used lately, and so are penalised."""
    ids: bytes
    """32-bit integers; the first are those of the candidates that are shown."""
    logits: bytes
    """32-bit floats, descending up to `n_top`."""
    rest: bytes = b""
    """32-bit floats: for each of `lens.INVERSE_TEMPERATURES` b, ln of the sum of exp(b * (logit - the highest one))
    over all tokens that are not kept; then, for each, the mean of logit - the highest one when one of them is drawn.
    Empty where all are kept; one number alone is the first one of 1."""
    counts: bytes = b""
    """16-bit integers: how often each was used within the penalties' window; empty where no penalty is on."""


class Measured(Event, frozen=True):
    """One token was sampled, and this is what it was sampled from; comes before its `Token`s.

    The end of the reply is one, too (`is_end`), although it has no text. What an engine cannot tell is None or empty.
    Probabilities are those of the model itself, raw, where nothing else is said.
    """

    index: int
    """Which token of the reply, counted from 0, with those that it was begun with."""
    piece: bytes
    """Its bytes, which need not be whole characters; control tokens are spelled."""
    id: int | None = None
    start: int | None = None
    """Characters that all tokens before it make, tags and all."""
    end: int | None = None
    """The same with this one; equal to `start` where its bytes complete no character yet."""
    is_end: bool = False
    """Whether it ended the reply."""
    probability: float | None = None
    rank: int | None = None
    """1 for the likeliest."""
    surprise: float | None = None
    """-log2 of the probability: 0 bits is certain, 10 is one in a thousand."""
    entropy: float | None = None
    """Bits: how undecided the model was."""
    log_partition: float | None = None
    """ln of the sum of exp(logit) over the vocabulary: exp(logit - this) is a probability."""
    pieces: tuple[bytes, ...] = ()
    """The likeliest candidates, as bytes; their ids and logits are the first of `kept`."""
    shares: tuple[float, ...] = ()
    """The probability of each of them after the last stage, 0 where it was cut: what was drawn from."""
    share: float | None = None
    """That of the token which was drawn."""
    stages: tuple[StageMeasure, ...] = ()
    """What was applied, in its order."""
    point: float | None = None
    """The random number from 0 to 1 that chose; None at temperature 0, or where it is not known."""
    segment: tuple[float, float] | None = None
    """The drawn token's part of the bar from 0 to 1 on which the point fell, with all that were left in their order."""
    kept: Kept | None = None
    is_chosen: bool = False
    """Whether a person put it there instead of what was drawn; no engine tells that."""


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
ReplyEvent = Trimmed | Prompted | Prefilling | Token | Measured | Tuned | Finished
