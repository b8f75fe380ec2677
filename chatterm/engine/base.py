"""What every engine promises, what it can do, and what it may raise.

An engine turns a prompt into events. It knows no conversations, no store and no screen.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from chatterm.address import Address
from chatterm.conversation import Role
from chatterm.events import LoadEvent, ModelInfo, ReplyEvent
from chatterm.glass import GlassRequest, GlassResult
from chatterm.settings import LoadOptions, Sampling, TemplateValue


class PromptTurn(msgspec.Struct, frozen=True):
    """One turn as the model gets it."""

    role: Role
    text: str
    id: int = 0
    """The turn's id in the store, so that `Trimmed` can name it; 0 for none."""


class Prompt(msgspec.Struct, frozen=True):
    """What is asked: turns for the chat template, or text as it is."""

    turns: tuple[PromptTurn, ...] = ()
    """Oldest first; a system turn only at the start."""
    raw: str | None = None
    """Given to the model without a chat template; "" means the BOS token alone."""
    template_variables: Mapping[str, TemplateValue] = {}
    """Such as `enable_thinking`; what is not given stays undefined in the template."""
    continues: bool = False
    """The last turn is a reply that was cut: go on from its last token instead of opening a new one."""


Measure = Literal["probabilities", "stages", "prompt", "window", "branches", "inside"]
"""What can be measured: the probabilities of each token; what each stage of the sampler did; the tokens of the prompt;
the context window; a reply that is begun with given tokens; what happens inside the model."""


class Capabilities(msgspec.Struct, frozen=True):
    """What an engine can do; a view whose measure is missing says so instead of drawing nothing."""

    is_local: bool = True
    can_load: bool = True
    reports_prefill: bool = True
    reports_token_ids: bool = True
    missing: Mapping[Measure, str] = {}
    """What it cannot measure, each with the reason, in a sentence for the user."""

    def why_not(self, measure: Measure) -> str:
        """Why something cannot be measured; "" where it can."""
        return self.missing.get(measure, "")


class Device(msgspec.Struct, frozen=True):
    """Something that llama.cpp can compute on."""

    name: str
    description: str
    kind: str
    """"CPU", "GPU", "integrated GPU" or "accelerator"."""
    free_bytes: int
    total_bytes: int


class EngineReport(msgspec.Struct, frozen=True):
    """What `chatterm doctor` asks of an engine."""

    library_version: str
    system_info: str
    """llama.cpp's own line about the instruction sets that it was built for."""
    devices: tuple[Device, ...] = ()
    can_offload: bool = False
    """Whether this build of llama.cpp can use a GPU."""
    has_rpc: bool = False
    """Whether it can use devices of other machines."""
    library_path: str = ""
    """Which file llama.cpp was loaded from."""
    problems: tuple[str, ...] = ()
    """What is wrong, each with the command that mends it on a line of its own."""

    @property
    def vram_bytes(self) -> int:
        """What is free on the GPUs that llama.cpp can use; 0 without one."""
        return sum(one.free_bytes for one in self.devices if one.kind == "GPU") if self.can_offload else 0


class TokenPiece(msgspec.Struct, frozen=True):
    """One token of a text."""

    id: int
    piece: bytes
    """Its bytes, which need not be whole characters."""
    is_control: bool = False


class PromptPiece(msgspec.Struct, frozen=True):
    """One token of a prompt, as the model reads it."""

    id: int
    piece: bytes
    """Its bytes, which need not be whole characters; control tokens are spelled."""
    is_special: bool = False
    """Whether it is an instruction to the model rather than text."""
    turn: int | None = None
    """Which of the prompt's turns it belongs to, counted from 0; None for what the chat template puts around them."""
    was_reused: bool = False
    """Whether it came from the KV cache when the model was asked last."""
    is_cached: bool = False
    """Whether it would come from there now."""


class WindowPart(msgspec.Struct, frozen=True):
    """Tokens in a row in the context window that belong to one turn, or to the chat template."""

    n_tokens: int
    turn: PromptTurn | None = None
    """None for what the chat template puts around the turns."""
    is_reply: bool = False
    """Whether it is the reply that was written last."""
    n_reused: int = 0
    """Tokens that came from the KV cache when the model was asked last; the others were evaluated then or since."""


class WindowReport(msgspec.Struct, frozen=True):
    """What is in the context window, from its start to its end."""

    n_ctx: int
    parts: tuple[WindowPart, ...] = ()
    """In their order; their tokens are all that are in the window."""
    dropped: tuple[int, ...] = ()
    """Ids of the turns that had no place in it, oldest first."""
    kv_bytes: int = 0
    """Memory that the keys and values of these tokens take."""

    @property
    def n_used(self) -> int:
        """Tokens in the window."""
        return sum(part.n_tokens for part in self.parts)

    @property
    def n_free(self) -> int:
        """Tokens that still have room."""
        return self.n_ctx - self.n_used


class Engine(Protocol):
    """What makes tokens.

    Load and reply are asynchronous iterators of events. The only way to stop one is to close the
    iterator (`contextlib.aclosing`): what arrived is the caller's to keep. One thing at a time: a
    second request waits for the first.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""
        ...

    @property
    def model(self) -> ModelInfo | None:
        """The model that is loaded; None when there is none (also after the worker has died)."""
        ...

    async def start(self) -> None:
        """Get ready ahead of the first load, where that takes time; never needed.

        Raises:
            WorkerDied: it did not work, and the load that follows would say so too.
        """
        ...

    def load(self, address: Address, options: LoadOptions) -> AsyncGenerator[LoadEvent, None]:
        """Take the place of the loaded model by this one; ends with `Loaded`.

        An engine that runs files refuses a model on a server, and the other way round (`ModelNotFound`).

        Raises:
            LibraryMissing, ModelNotFound, ModelUnreadable, OutOfMemory, WorkerDied: from this machine.
            ServerError, KeyUnusable: from a server.
        """
        ...

    def reply(
        self,
        prompt: Prompt,
        sampling: Sampling,
        *,
        measure: bool = False,
        begins_with: Sequence[int] = (),
        stated: Collection[str] = (),
    ) -> AsyncGenerator[ReplyEvent, None]:
        """Sample an answer, token by token; ends with `Finished`.

        Args:
            measure: Tell what each token was sampled from (`Measured`), as far as it is known here. It changes
                no token.
            begins_with: Ids of tokens with which the answer begins, instead of the reply that the prompt may end
                with. Their text is told first. What a reply has in common with the last one is not evaluated
                again: so a reply goes on, or takes another way from any of its tokens, at the cost of one. With
                the same seed it draws what it would have drawn there. A step is one token (`max_tokens`).
            stated: Sampling settings that somebody states although they are at their defaults: a server, which else
                decides about what is at its default here, is told them.

        Raises:
            ModelNotFound: nothing is loaded.
            PromptTooLong, OutOfMemory, WorkerDied, ServerError.
        """
        ...

    async def tokenize(self, text: str) -> list[TokenPiece]:
        """The tokens of a text, as user text: control tokens in it are spelled out."""
        ...

    async def count(self, prompt: Prompt) -> int:
        """Tokens that a prompt takes with the chat template around it."""
        ...

    async def inspect(self, request: GlassRequest) -> GlassResult:
        """Look inside the model, at any token of a text; never changes what the model says or remembers.

        The answer is of the class that the request names. `AbilitiesRequest` tells what can be seen.

        Raises:
            ModelNotFound: nothing is loaded.
            NotVisible: it cannot be seen with this model, build or device; says why.
            OutOfMemory, WorkerDied.
        """
        ...

    async def tokenize_prompt(self, prompt: Prompt) -> list[PromptPiece]:
        """What is really sent: the prompt with the chat template around it, as tokens.

        Turns for which there is no room are left out, except where not even the last question has any.

        Raises:
            ModelNotFound: nothing is loaded.
            ServerError: the engine cannot tell (`Capabilities.missing`).
        """
        ...

    async def window(self) -> WindowReport:
        """What is in the context window now.

        Raises:
            ModelNotFound: nothing is loaded.
            ServerError: the engine cannot tell (`Capabilities.missing`).
        """
        ...

    async def report(self) -> EngineReport:
        """Versions, devices and problems; does not need a model."""
        ...

    async def unload(self) -> None:
        """Free the model's memory."""
        ...

    async def close(self) -> None:
        """Free everything; the engine is not used afterwards."""
        ...
