"""The glass box beside the open conversation: asks the engine what it shows, and follows the reply that is written."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from textual.timer import Timer

from chatterm.chat import Chat
from chatterm.conversation import Role
from chatterm.engine.base import PromptPiece, PromptTurn
from chatterm.engine.base import WindowPart as EngineWindowPart
from chatterm.events import Measured
from chatterm.glass import GlassRequest, GlassResult
from chatterm.ui.glass.panel import GlassPanel
from chatterm.ui.glass.source import TYPED, GlassToken, WindowPart, WindowSeen
from chatterm.ui.glass.token_view import TokenKind

TYPING_SECONDS = 0.12
"""What is typed is cut into tokens after so long a pause."""
_KEPT = 200
"""Replies whose measures are kept, the latest ones."""


class GlassDock(GlassPanel):
    """Shows what is inside the model that answers in the open conversation."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.chat: Chat | None = None
        self._measures: dict[int, list[Measured]] = {}
        """By turn; for the reply that is written under its id, too."""
        self._live: list[Measured] = []
        self._typing: Timer | None = None

    def open(self, chat: Chat) -> None:
        """Look into this chat from now on."""
        self.chat = chat
        self.source = ChatSource(chat, self._measures)
        chat.is_measured = True
        self.display = True
        self.show_open()
        self.focus()

    def close(self) -> None:
        """Look away: replies are not measured any more; what was measured is kept."""
        self.display = False
        if self.chat is not None:
            self.chat.is_measured = False

    @property
    def is_open(self) -> bool:
        """Whether it is looked at."""
        return self.chat is not None and bool(self.display)

    def type(self, text: str) -> None:
        """This is what is typed and not sent yet: it is shown as it would be sent, with its count."""
        if not isinstance(self.source, ChatSource) or not self.is_open or self.source.typed == text.strip():
            return
        self.source.typed = text.strip()
        if self._typing is not None:
            self._typing.stop()
        self._typing = self.set_timer(TYPING_SECONDS, self._show_typed)

    def _show_typed(self) -> None:
        if self.chat is not None and not self.chat.is_replying:
            self.token_view.follows = True
            self.reload()

    def show_open(self) -> None:
        """Show the conversation that is open now, and its settings."""
        if self.is_open and self.chat is not None:
            self.sampling = self.chat.effective.sampling
            self.token_view.follows = True
            self.reload()

    async def begin(self) -> None:
        """A reply is about to be written: show what is sent for it."""
        self._live = []
        if self.is_open and self.chat is not None and self.chat.is_written_here:
            self.sampling = self.chat.effective.sampling
            self.token_view.follows = True
            await self.fill()

    def take(self, seen: Measured) -> None:
        """A token of the reply was drawn."""
        self._live.append(seen)
        if self.is_open and self.chat is not None and self.chat.is_written_here:
            self.add(seen)

    def end(self, turn_id: int) -> None:
        """The reply was saved under this id."""
        if self._live:
            self._measures[turn_id] = self._live
            for old in list(self._measures)[:-_KEPT]:
                del self._measures[old]
        self._live = []
        if self.is_open:
            self.reload()


class ChatSource:
    """What the glass box asks, answered for a chat."""

    def __init__(self, chat: Chat, measures: dict[int, list[Measured]]) -> None:
        """Nothing is asked yet.

        Args:
            chat: Whose conversation is open.
            measures: What the tokens of answers were drawn from, by the answers' turns.
        """
        self._chat = chat
        self._measures = measures
        self.typed = ""
        """What is typed and not sent yet."""

    async def tokens(self) -> list[GlassToken]:
        """All that the model reads of the open branch, and what it wrote last."""
        prompt = self._chat.prompt
        if self.typed and not self._chat.is_replying:
            turn = PromptTurn(Role.USER, self.typed)
            prompt = msgspec.structs.replace(prompt, turns=(*prompt.turns, turn), continues=False)
        if not prompt.turns:
            return []
        pieces = await self._chat.engine.tokenize_prompt(prompt)
        return with_measures(pieces, prompt.turns, self._measures)

    async def cut(self, text: str) -> list[bytes]:
        """How a text is cut into tokens."""
        return [token.piece for token in await self._chat.engine.tokenize(text)]

    async def window(self) -> WindowSeen:
        """What the context window holds now."""
        report = await self._chat.engine.window()
        parts = [WindowPart(_part_name(part), part.n_tokens, part.n_reused) for part in _template_joined(report.parts)]
        return WindowSeen(report.n_ctx, tuple(parts), report.kv_bytes, len(report.dropped))

    async def inspect(self, request: GlassRequest) -> GlassResult:
        """What is inside the model."""
        return await self._chat.engine.inspect(request)


def with_measures(
    pieces: Sequence[PromptPiece], turns: Sequence[PromptTurn], measures: dict[int, list[Measured]]
) -> list[GlassToken]:
    """The tokens of a prompt, those of answers with what they were drawn from, where that is still the same token."""
    tokens: list[GlassToken] = []
    at: dict[int, int] = {}
    """For each turn how many of its tokens came."""
    for piece in pieces:
        turn = turns[piece.turn] if piece.turn is not None else None
        measured = None
        if piece.turn is not None and turn is not None and turn.role is Role.ASSISTANT:
            place = at.get(piece.turn, 0)
            at[piece.turn] = place + 1
            seen = measures.get(turn.id, [])
            if place < len(seen) and seen[place].piece == piece.piece:
                measured = seen[place]
        tokens.append(
            GlassToken(piece.piece, piece.id, _kind(piece, turn, measured), _name(turn), piece.was_reused, measured)
        )
    return tokens


def _kind(piece: PromptPiece, turn: PromptTurn | None, measured: Measured | None) -> TokenKind:
    if piece.is_special:
        return TokenKind.SPECIAL
    if turn is None:
        return TokenKind.TEMPLATE
    return TokenKind.DRAWN if measured is not None else TokenKind.SAID


def _name(turn: PromptTurn | None) -> str:
    """What a token belongs to, in words."""
    if turn is None:
        return "the chat template"
    if turn.role is Role.USER and not turn.id:
        return TYPED
    return {Role.SYSTEM: "system prompt", Role.USER: "your message", Role.ASSISTANT: "answer"}[turn.role]


def _part_name(part: EngineWindowPart) -> str:
    if part.is_reply:
        return "the last answer"
    if part.turn is None:
        return "chat template"
    text = " ".join(part.turn.text.split())
    return f"{_name(part.turn)}: {text}"


def _template_joined(parts: Sequence[EngineWindowPart]) -> list[EngineWindowPart]:
    """The parts, those of the template as one at the end, since it stands around all others."""
    said = [part for part in parts if part.turn is not None or part.is_reply]
    around = [part for part in parts if part.turn is None and not part.is_reply]
    if not around:
        return said
    n_tokens, n_reused = sum(part.n_tokens for part in around), sum(part.n_reused for part in around)
    return [*said, EngineWindowPart(n_tokens, n_reused=n_reused)]
