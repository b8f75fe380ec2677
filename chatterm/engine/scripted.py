"""An engine that replays a script: for tests of everything above the engine, and for pictures.

It keeps the protocol of `engine.base` to the letter (order of events, stop by closing, errors) and
computes nothing. Each reply takes the next line of the script; the last one is repeated.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import msgspec

from chatterm.address import Address
from chatterm.engine.base import Capabilities, EngineReport, Prompt, TokenPiece
from chatterm.errors import ChattermError, ModelNotFound
from chatterm.events import (
    Finished,
    FinishReason,
    Loaded,
    LoadEvent,
    Loading,
    LoadStage,
    ModelInfo,
    Prefilling,
    Prompted,
    ReplyEvent,
    Token,
    Trimmed,
)
from chatterm.settings import LoadOptions, Sampling


class Line(msgspec.Struct, frozen=True):
    """One scripted reply."""

    text: str = "A scripted reply."
    reasoning: str = ""
    error: ChattermError | None = None
    """Raised after the text."""
    trimmed: tuple[int, ...] = ()
    """Ids of turns that are said to be left out."""


class ScriptedEngine:
    """Says what its script says, one word a token."""

    def __init__(
        self,
        *script: Line | str,
        model: ModelInfo | None = None,
        tokens_per_second: float = 0.0,
        load_error: ChattermError | None = None,
    ) -> None:
        self.script: Sequence[Line] = [Line(text=line) if isinstance(line, str) else line for line in script] or [
            Line()
        ]
        self.model: ModelInfo | None = model
        self.capabilities = Capabilities()
        self.pause_seconds = 1 / tokens_per_second if tokens_per_second else 0.0
        self.load_error = load_error
        self.gate: asyncio.Event | None = None
        """When set to an event, every token after the first waits for it: lets a test hold a reply open."""
        self.prompts: list[Prompt] = []
        """What was asked, for tests to look at."""
        self.samplings: list[Sampling] = []
        self.n_starts = 0

    async def start(self) -> None:
        """Nothing takes time here."""
        self.n_starts += 1

    async def load(self, address: Address, options: LoadOptions) -> AsyncGenerator[LoadEvent, None]:
        """Pretend to load, through all stages."""
        self.model = None
        yield Loading(LoadStage.STARTING)
        for fraction in (0.25, 0.5, 1.0):
            await asyncio.sleep(self.pause_seconds)
            yield Loading(LoadStage.WEIGHTS, fraction)
        if self.load_error:
            raise self.load_error
        self.model = ModelInfo(
            path=str(address) if isinstance(address, Path) else "",
            name=address.stem if isinstance(address, Path) else str(address),
            host="" if isinstance(address, Path) else f"{address.server}.test",
            is_elsewhere=not isinstance(address, Path),
            architecture="scripted",
            quantization="Q4_K_M",
            n_ctx=options.n_ctx or 4096,
            n_ctx_train=4096,
            n_threads=1,
            template="model",
        )
        yield Loaded(self.model)

    async def reply(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[ReplyEvent, None]:
        """The next line of the script, a word a token."""
        if self.model is None:
            raise ModelNotFound("No model is loaded.", "Choose one in the settings.")
        line = self.script[min(len(self.prompts), len(self.script) - 1)]
        self.prompts.append(prompt)
        self.samplings.append(sampling)
        n_prompt = await self.count(prompt)
        seed = sampling.seed if sampling.seed >= 0 else 7
        if line.trimmed:
            yield Trimmed(line.trimmed, n_prompt, n_prompt, self.model.n_ctx)
        yield Prompted(n_prompt, 0, seed, "model")
        yield Prefilling(n_prompt, n_prompt)
        n_generated = 0
        for text, reasoning in ((line.reasoning, True), (line.text, False)):
            for word in re.findall(r"\s*\S+\s*$|\s*\S+", text):
                if n_generated and self.gate is not None:
                    await self.gate.wait()
                await asyncio.sleep(self.pause_seconds)
                n_generated += 1
                yield Token(word, n_generated, reasoning)
        if line.error:
            raise line.error
        yield Finished(
            FinishReason.END,
            n_prompt=n_prompt,
            n_generated=n_generated,
            seed=seed,
            prefill_seconds=0.01,
            first_token_seconds=0.02,
            decode_seconds=n_generated * (self.pause_seconds or 0.01),
            n_used=n_prompt + n_generated,
            n_ctx=self.model.n_ctx,
        )

    async def tokenize(self, text: str) -> list[TokenPiece]:
        """A word a token."""
        return [TokenPiece(i, piece.encode()) for i, piece in enumerate(re.findall(r"\s*\S+", text))]

    async def count(self, prompt: Prompt) -> int:
        """Words of the prompt."""
        texts = [prompt.raw] if prompt.raw is not None else [turn.text for turn in prompt.turns]
        return len(await self.tokenize(" ".join(texts)))

    async def report(self) -> EngineReport:
        """Nothing to report."""
        return EngineReport("scripted", "scripted")

    async def unload(self) -> None:
        """Forget the model."""
        self.model = None

    async def close(self) -> None:
        """Nothing to free."""
        self.model = None
