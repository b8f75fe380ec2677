"""The engine that asks a server: any that speaks OpenAI's protocol, on this machine or elsewhere.

It keeps the protocol of `engine.base`: a load looks whether the server is there and has the model, a
reply streams, a closed iterator closes the connection. What a server does not tell is left empty.
"""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from types import MappingProxyType

from chatterm.address import Address, RemoteModel
from chatterm.engine import servers
from chatterm.engine.base import Capabilities, EngineReport, Measure, Prompt, PromptPiece, TokenPiece, WindowReport
from chatterm.engine.connection import Connection, ListedModel
from chatterm.engine.remote_reply import Patience, RemoteReply
from chatterm.engine.servers import Server
from chatterm.errors import ModelNotFound, ModelsNotListed, NotVisible, ServerError
from chatterm.events import Loaded, LoadEvent, Loading, LoadStage, ModelInfo, ReplyEvent
from chatterm.glass import AbilitiesRequest, GlassAbilities, GlassRequest, GlassResult
from chatterm.settings import LoadOptions, Sampling, ServerSettings
from chatterm.text import line

_OUT_OF_SIGHT = "Not available here, because the model runs on a server, which does not let anybody look inside it."


_MISSING: Mapping[Measure, str] = MappingProxyType(
    {
        "stages": "A server does not tell what each stage of its sampler does.",
        "prompt": "A server does not tell how it cuts text into tokens.",
        "window": "A server does not tell what is in its context window.",
        "branches": "A server does not begin a reply with given tokens.",
        "inside": _OUT_OF_SIGHT,
    }
)


class RemoteEngine:
    """Asks models on servers."""

    def __init__(self, chosen: Mapping[str, ServerSettings] | None = None, patience: Patience | None = None) -> None:
        """No connection yet.

        Args:
            chosen: The servers in the settings; presets are known besides.
            patience: How failures are waited out.
        """
        self._chosen = chosen or {}
        self._patience = patience or Patience()
        self._model: ModelInfo | None = None
        self._name = ""
        self._connection: Connection | None = None
        self._refused: dict[str, dict[str, str]] = {}
        """By SERVER:MODEL: what it does not take, by its name in requests, and the words of the refusal."""
        self._busy = asyncio.Lock()

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do with the model that it has."""
        missing = dict(_MISSING)
        if self._connection is not None and not self._connection.server.preset.has_logprobs:
            missing["probabilities"] = f"{self._connection.server.name} does not tell the probabilities of tokens."
        elif self._connection is not None and self._model is not None and "logprobs" in self._refused_by(self._model):
            said = self._refused_by(self._model)["logprobs"]
            missing["probabilities"] = f"{self._connection.server.name} refused to tell probabilities: {line(said)}"
        return Capabilities(is_local=False, reports_prefill=False, reports_token_ids=False, missing=missing)

    @property
    def model(self) -> ModelInfo | None:
        """The model that answers; None when there is none."""
        return self._model

    async def start(self) -> None:
        """Nothing takes time here before it is known which server is asked."""

    async def load(self, address: Address, options: LoadOptions) -> AsyncGenerator[LoadEvent, None]:  # noqa: ARG002
        """Look whether a server answers and has the model; ends with `Loaded`.

        The model before it is given up first: what waits to be asked must not go to another host than
        the one that was chosen, should this fail.

        Raises:
            ModelNotFound: there is no such server, or the address is a file.
            ServerUnreachable, ServerBusy, KeyRefused, KeyUnusable, ServerError.
        """
        async with self._busy:
            await self._let_go()
            server = servers.find(address.server, self._chosen) if isinstance(address, RemoteModel) else None
            if server is None or not isinstance(address, RemoteModel):
                raise ModelNotFound(
                    f"{address} is on no server that is known.", "`chatterm models servers` lists them."
                )
            began = time.monotonic()
            yield Loading(LoadStage.CONNECTING)
            connection = await Connection.to(server)
            try:
                listed, notes = await _looked_up(connection, address.name)
            except BaseException:
                await connection.close()
                raise
            self._connection, self._name = connection, address.name
            self._model = ModelInfo(
                path="",
                name=str(address),
                host=server.host,
                is_elsewhere=not server.is_here,
                n_ctx=listed.n_ctx,
                n_ctx_train=listed.n_ctx_train,
                n_parameters=listed.n_parameters,
                size_bytes=listed.size_bytes,
            )
            yield Loaded(self._model, time.monotonic() - began, (*_warnings(server), *notes))

    async def reply(
        self,
        prompt: Prompt,
        sampling: Sampling,
        *,
        measure: bool = False,
        begins_with: Sequence[int] = (),
        stated: Collection[str] = (),
    ) -> AsyncGenerator[ReplyEvent, None]:
        """Let the server answer; ends with `Finished`. Failures before the first token are waited out.

        Raises:
            ModelNotFound: no model was chosen, or the server does not have it.
            PromptTooLong: the system prompt and the last question alone are too long for it.
            ReplyCut: the connection broke in the middle; what arrived was told.
            ServerUnreachable, ServerBusy, KeyRefused, ServerError.
        """
        async with self._busy:
            if self._connection is None or self._model is None:
                raise ModelNotFound("No model is loaded.", "Choose one in the settings.")
            if begins_with:
                raise _untold("branches")
            refused = self._refused_by(self._model)
            asked = RemoteReply(self._connection, self._model, self._name, refused, self._patience, measure=measure)
            async with aclosing(asked.answer(prompt, sampling, stated)) as events:
                async for event in events:
                    yield event

    async def tokenize(self, text: str) -> list[TokenPiece]:  # noqa: ARG002
        """Nothing: servers do not say how they cut text.

        Raises:
            ServerError: always.
        """
        raise ServerError("A server does not tell how it cuts text into tokens.", "Choose a model on this machine.")

    async def count(self, prompt: Prompt) -> int:
        """As for `tokenize`."""
        return len(await self.tokenize("".join(turn.text for turn in prompt.turns)))

    async def inspect(self, request: GlassRequest) -> GlassResult:
        """That nothing can be seen, and why.

        Raises:
            NotVisible: for all that needs the model itself.
        """
        if isinstance(request, AbilitiesRequest):
            return GlassAbilities.none(_OUT_OF_SIGHT)
        raise NotVisible(_OUT_OF_SIGHT, "Choose a model on this machine.")

    async def tokenize_prompt(self, prompt: Prompt) -> list[PromptPiece]:  # noqa: ARG002
        """As for `tokenize`."""
        raise _untold("prompt")

    async def window(self) -> WindowReport:
        """As for `tokenize`."""
        raise _untold("window")

    async def report(self) -> EngineReport:
        """Nothing: there is no library here."""
        return EngineReport("", "")

    async def unload(self) -> None:
        """Forget the model, and close the connection."""
        async with self._busy:
            await self._let_go()

    async def close(self) -> None:
        """Close the connection, also while a reply is running; the engine is not used afterwards."""
        await self._let_go()

    async def _let_go(self) -> None:
        connection, self._connection, self._model = self._connection, None, None
        if connection is not None:
            await connection.close()

    def _refused_by(self, model: ModelInfo) -> dict[str, str]:
        return self._refused.setdefault(model.name, {})


def _untold(measure: Measure) -> ServerError:
    return ServerError(_MISSING[measure], "Choose a model on this machine.")


async def _looked_up(connection: Connection, name: str) -> tuple[ListedModel, list[str]]:
    """What the server's list says of a model, and what there is to be said of that."""
    server = connection.server
    try:
        models = await connection.models()
    except ModelsNotListed:
        return ListedModel(name), []
    for model in models:
        if model.name in {name, f"{name}:latest", name.removeprefix("models/")}:
            return model, []
    close = difflib.get_close_matches(name, [model.name for model in models], 3, 0.4)
    like = f" It has {', '.join(close)}." if close else ""
    return ListedModel(name), [f"{server.name} does not list “{line(name)}”; it may know it all the same.{like}"]


def _warnings(server: Server) -> list[str]:
    """What should be known before anything is said."""
    warnings = []
    if not server.is_here:
        warnings.append(f"The conversation, and what you write from now on, is sent to {server.host}.")
    if server.is_open_to_all:
        warnings.append("The connection is not encrypted: who is on the way can read along.")
    return warnings
