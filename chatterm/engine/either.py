"""One engine made of two: files go to llama.cpp on this machine, SERVER:MODEL to that server.

Only one of them holds a model at a time. It knows neither llama.cpp nor HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing

from chatterm.address import Address, RemoteModel
from chatterm.engine.base import Capabilities, Engine, EngineReport, Prompt, PromptPiece, TokenPiece, WindowReport
from chatterm.events import Loaded, LoadEvent, ModelInfo, ReplyEvent
from chatterm.glass import GlassRequest, GlassResult
from chatterm.settings import LoadOptions, Sampling


class EitherEngine:
    """Hands each load to the engine that can do it, and everything else to the one that did the last."""

    def __init__(self, local: Engine, remote: Engine) -> None:
        self._local = local
        self._remote = remote
        self._current = local

    @property
    def capabilities(self) -> Capabilities:
        """What the engine can do that holds the model."""
        return self._current.capabilities

    @property
    def model(self) -> ModelInfo | None:
        """The model that answers; None when there is none."""
        return self._current.model

    async def start(self) -> None:
        """Get llama.cpp ready."""
        await self._local.start()

    async def load(self, address: Address, options: LoadOptions) -> AsyncGenerator[LoadEvent, None]:
        """Take the place of the model by another one, which may run elsewhere.

        A local model is kept until the server has answered, and its memory freed then. A remote one is
        given up first: should the load fail, nothing more is sent there.
        """
        wanted, other = (self._remote, self._local) if isinstance(address, RemoteModel) else (self._local, self._remote)
        if other is self._remote and other.model is not None:
            await other.unload()
        async with aclosing(wanted.load(address, options)) as events:
            async for event in events:
                if isinstance(event, Loaded):
                    self._current = wanted
                    await other.unload()
                yield event

    async def reply(
        self,
        prompt: Prompt,
        sampling: Sampling,
        *,
        measure: bool = False,
        begins_with: Sequence[int] = (),
        stated: Collection[str] = (),
    ) -> AsyncGenerator[ReplyEvent, None]:
        """As the engine does it that holds the model."""
        replying = self._current.reply(prompt, sampling, measure=measure, begins_with=begins_with, stated=stated)
        async with aclosing(replying) as events:
            async for event in events:
                yield event

    async def tokenize(self, text: str) -> list[TokenPiece]:
        """As the engine does it that holds the model."""
        return await self._current.tokenize(text)

    async def count(self, prompt: Prompt) -> int:
        """As the engine does it that holds the model."""
        return await self._current.count(prompt)

    async def inspect(self, request: GlassRequest) -> GlassResult:
        """As the engine does it that holds the model."""
        return await self._current.inspect(request)

    async def tokenize_prompt(self, prompt: Prompt) -> list[PromptPiece]:
        """As the engine does it that holds the model."""
        return await self._current.tokenize_prompt(prompt)

    async def window(self) -> WindowReport:
        """As the engine does it that holds the model."""
        return await self._current.window()

    async def report(self) -> EngineReport:
        """What llama.cpp on this machine is like."""
        return await self._local.report()

    async def unload(self) -> None:
        """Free what either holds."""
        await self._local.unload()
        await self._remote.unload()

    async def close(self) -> None:
        """Free everything; the engine is not used afterwards."""
        await self._remote.close()
        await self._local.close()
