"""What every engine promises, what it can do, and what it may raise.

An engine turns a prompt into events. It knows no conversations, no store and no screen.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Protocol

import msgspec

from chatterm.address import Address
from chatterm.conversation import Role
from chatterm.events import LoadEvent, ModelInfo, ReplyEvent
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


class Capabilities(msgspec.Struct, frozen=True):
    """What an engine can do; a view whose measure is missing says so instead of drawing nothing."""

    is_local: bool = True
    can_load: bool = True
    reports_prefill: bool = True
    reports_token_ids: bool = True


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


class TokenPiece(msgspec.Struct, frozen=True):
    """One token of a text."""

    id: int
    piece: bytes
    """Its bytes, which need not be whole characters."""
    is_control: bool = False


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

    def reply(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[ReplyEvent, None]:
        """Sample an answer, token by token; ends with `Finished`.

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

    async def report(self) -> EngineReport:
        """Versions, devices and problems; does not need a model."""
        ...

    async def unload(self) -> None:
        """Free the model's memory."""
        ...

    async def close(self) -> None:
        """Free everything; the engine is not used afterwards."""
        ...
