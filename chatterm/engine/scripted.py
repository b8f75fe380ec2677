"""An engine that replays a script: for tests of everything above the engine, and for pictures.

It keeps the protocol of `engine.base` to the letter (order of events, stop by closing, errors) and
computes nothing. Each reply takes the next line of the script; the last one is repeated.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncGenerator, Collection, Sequence
from itertools import groupby
from pathlib import Path

import msgspec

from chatterm.address import Address
from chatterm.engine.base import Capabilities, EngineReport, Prompt, PromptPiece, TokenPiece, WindowPart, WindowReport
from chatterm.engine.scripted_measure import N_VOCAB, measured, other_word
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
from chatterm.glass import GlassRequest, GlassResult
from chatterm.settings import LoadOptions, Sampling

END = 0
"""The token that ends a reply."""


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
        self.stated: list[frozenset[str]] = []
        self.begun: list[tuple[int, ...]] = []
        """With which tokens each reply was begun."""
        self.n_said = 0
        """Tokens of the last reply."""
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

    async def reply(
        self,
        prompt: Prompt,
        sampling: Sampling,
        *,
        measure: bool = False,
        begins_with: Sequence[int] = (),
        stated: Collection[str] = (),
    ) -> AsyncGenerator[ReplyEvent, None]:
        """The next line of the script, a word a token; one that is begun goes on behind as many of its words."""
        if self.model is None:
            raise ModelNotFound("No model is loaded.", "Choose one in the settings.")
        line = self.script[min(len(self.prompts), len(self.script) - 1)]
        self.prompts.append(prompt)
        self.samplings.append(sampling)
        self.stated.append(frozenset(stated))
        begins_with = tuple(begins_with)
        self.begun.append(begins_with)
        n_prompt = await self.count(prompt) + len(begins_with)
        seed = sampling.seed if sampling.seed >= 0 else 7
        if line.trimmed:
            yield Trimmed(line.trimmed, n_prompt, n_prompt, self.model.n_ctx)
        yield Prompted(n_prompt, max(0, n_prompt - 1) if begins_with else 0, seed, "model")
        yield Prefilling(n_prompt, n_prompt)
        words = [(word, False) for word in _words(line.text)]
        words = [(word, True) for word in _words(line.reasoning)] + words
        n_generated, start, reason = 0, 0, FinishReason.END
        is_over = begins_with[-1:] == (END,)
        begins_with = begins_with[:-1] if is_over else begins_with
        self.n_said = len(begins_with)
        for index, token in enumerate(begins_with):
            is_said = token == index + 1 and index < len(words)
            word, reasoning = words[index] if is_said else (other_word(token), False)
            yield Token(word, None, reasoning, start if measure else None)
            start += len(word)
        left = [] if is_over else words[len(begins_with) :]
        for index, (word, reasoning) in enumerate(left, start=len(begins_with)):
            if n_generated and self.gate is not None:
                await self.gate.wait()
            await asyncio.sleep(self.pause_seconds)
            n_generated += 1
            if measure:
                yield measured(index, word, index + 1, start, sampling)
            yield Token(word, index + 1, reasoning, start if measure else None)
            start += len(word)
            self.n_said = index + 1
            if n_generated == sampling.max_tokens:
                reason = FinishReason.LENGTH
                break
        if measure and reason is FinishReason.END and not line.error and not is_over:
            end = measured(self.n_said, "<|im_end|>", END, start, sampling)
            yield msgspec.structs.replace(end, end=start, is_end=True)
        if line.error:
            raise line.error
        yield Finished(
            reason,
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

    async def inspect(self, request: GlassRequest) -> GlassResult:
        """Made-up numbers, the same every time."""
        from chatterm.engine.scripted_glass import seen

        return seen(request)

    async def tokenize_prompt(self, prompt: Prompt) -> list[PromptPiece]:
        """The words of the prompt between ChatML's tags."""
        if self.model is None:
            raise ModelNotFound("No model is loaded.", "Choose one in the settings.")
        if prompt.raw is not None:
            return [PromptPiece(piece.id, piece.piece) for piece in await self.tokenize(prompt.raw)]
        pieces: list[PromptPiece] = []
        for place, turn in enumerate(prompt.turns):
            said = [PromptPiece(0, piece.piece, turn=place) for piece in await self.tokenize(turn.text)]
            pieces += [
                PromptPiece(0, b"<|im_start|>", is_special=True),
                PromptPiece(0, f"{turn.role}\n".encode()),
                *said,
            ]
            if not (prompt.continues and place + 1 == len(prompt.turns)):
                pieces += [PromptPiece(0, b"<|im_end|>", is_special=True), PromptPiece(0, b"\n")]
        if not prompt.continues:
            pieces += [PromptPiece(0, b"<|im_start|>", is_special=True), PromptPiece(0, b"assistant\n")]
        return [msgspec.structs.replace(piece, id=zlib.crc32(piece.piece) % N_VOCAB) for piece in pieces]

    async def window(self) -> WindowReport:
        """The last prompt and what was said to it."""
        if self.model is None:
            raise ModelNotFound("No model is loaded.", "Choose one in the settings.")
        if not self.prompts:
            return WindowReport(self.model.n_ctx)
        prompt = self.prompts[-1]
        places = [piece.turn for piece in await self.tokenize_prompt(prompt)]
        parts = [
            WindowPart(len(list(group)), None if place is None else prompt.turns[place])
            for place, group in groupby(places)
        ]
        parts.append(WindowPart(self.n_said, is_reply=True))
        n_used = sum(part.n_tokens for part in parts)
        line = self.script[min(len(self.prompts), len(self.script)) - 1]
        return WindowReport(self.model.n_ctx, tuple(parts), line.trimmed, n_used * 12_288)

    async def report(self) -> EngineReport:
        """Nothing to report."""
        return EngineReport("scripted", "scripted")

    async def unload(self) -> None:
        """Forget the model."""
        self.model = None

    async def close(self) -> None:
        """Nothing to free."""
        self.model = None


def _words(text: str) -> list[str]:
    """A text cut into words, each with the space before it; the last one has what follows it, too."""
    return re.findall(r"\s*\S+\s*$|\s*\S+", text)
