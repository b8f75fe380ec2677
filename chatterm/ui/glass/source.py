"""Where the glass box gets its numbers from, and a token with what is known about it."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, Protocol, Self

from chatterm.events import Measured
from chatterm.glass import GlassRequest, GlassResult
from chatterm.settings import Sampling
from chatterm.ui.glass.branches import BranchesSeen
from chatterm.ui.glass.shown_token import ShownToken, TokenKind, shown

AROUND = "the chat template"
"""The part that all tokens are which the template puts around messages."""
TYPED = "what you are typing"
"""The part that a message is which was not sent yet."""


class GlassToken(NamedTuple):
    """A token of what the model read and wrote."""

    piece: bytes
    id: int | None = None
    kind: TokenKind = TokenKind.SAID
    part: str = ""
    """What it belongs to, in words: "system prompt", "your message", "answer"."""
    is_reused: bool = False
    """Whether it was in the KV cache when the last reply began."""
    measured: Measured | None = None
    """What it was drawn from; None where that was not measured."""
    turn: int | None = None
    """Id of the turn that it belongs to; None for the template, and while that is being written."""

    @classmethod
    def of(cls, seen: Measured, part: str = "", turn: int | None = None) -> Self:
        """A token that was measured, or of which no more than the token itself is known."""
        kind = TokenKind.SPECIAL if seen.is_end else TokenKind.DRAWN
        is_known = seen.probability is not None or seen.kept is not None
        return cls(seen.piece, seen.id, kind, part, measured=seen if is_known else None, turn=turn)

    @property
    def drawn(self) -> ShownToken:
        """As the token view takes it."""
        return _drawn(self.piece, self.id, self.kind)


@lru_cache(maxsize=1 << 14)  # all of them are drawn ten times a second while a reply is written
def _drawn(piece: bytes, id: int | None, kind: TokenKind) -> ShownToken:
    number = "" if id is None else f"number {id:,} · "
    return ShownToken(shown(piece), kind, f"{number}bytes {piece.hex(' ') or 'none'}")


class WindowPart(NamedTuple):
    """A stretch of the context window."""

    name: str
    n_tokens: int
    n_reused: int = 0
    """So many of them were in the cache when the last reply began."""


class WindowSeen(NamedTuple):
    """What the context window holds."""

    n_ctx: int
    parts: tuple[WindowPart, ...]
    kv_bytes: int = 0
    n_dropped: int = 0
    """Turns that no longer fit."""


class GlassSource(Protocol):
    """What the panel asks."""

    async def tokens(self) -> list[GlassToken]:
        """All that the model reads of the open conversation, and what it wrote last.

        Raises:
            ChattermError: it cannot be told now; says why.
        """
        ...

    async def cut(self, text: str) -> list[bytes]:
        """How a text is cut into tokens."""
        ...

    async def window(self) -> WindowSeen:
        """What the context window holds now."""
        ...

    def drawn_at(self, turn: int | None) -> Sampling | None:
        """The settings of an answer, None for the last one, or the one that is being written; None if they are lost."""
        ...

    async def branches(self, turn: int | None) -> BranchesSeen:
        """All answers to the question that a turn answers; None for the last one."""
        ...

    async def inspect(self, request: GlassRequest) -> GlassResult:
        """What is inside the model, as `Engine.inspect` tells."""
        ...
