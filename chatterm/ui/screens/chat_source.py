"""What the glass box asks, answered for the open chat: its tokens, window, answers, and what is inside its model.

It knows no widget: what was measured is given to it, and it puts that beside the tokens of the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import msgspec

from chatterm.chat import Chat
from chatterm.conversation import Role, Turn
from chatterm.engine.base import PromptPiece, PromptTurn
from chatterm.engine.base import WindowPart as EngineWindowPart
from chatterm.events import Measured
from chatterm.glass import GlassRequest, GlassResult
from chatterm.settings import Sampling
from chatterm.ui.glass.branches import BranchesSeen, branch_of
from chatterm.ui.glass.shown_token import TokenKind
from chatterm.ui.glass.source import AROUND, TYPED, GlassToken, WindowPart, WindowSeen


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
        if self._chat.engine.capabilities.why_not("prompt"):
            return uncut(prompt.turns, self._measures)
        pieces = await self._chat.engine.tokenize_prompt(prompt)
        tokens = with_measures(pieces, prompt.turns, self._measures)
        return self._as_drawn(tokens) if prompt.continues else tokens

    def _as_drawn(self, tokens: list[GlassToken]) -> list[GlassToken]:
        """The tokens, those of the last answer as they were drawn: with its thoughts and its end."""
        answer = self._chat.turns[-1].id if self._chat.turns else None
        measures = self._measures.get(answer, []) if answer is not None else []
        if not measures:
            return tokens
        before = [token for token in tokens if token.turn != answer]
        return [*before, *(GlassToken.of(seen, "answer", answer) for seen in measures)]

    async def cut(self, text: str) -> list[bytes]:
        """How a text is cut into tokens."""
        return [token.piece for token in await self._chat.engine.tokenize(text)]

    async def window(self) -> WindowSeen:
        """What the context window holds now."""
        report = await self._chat.engine.window()
        parts = [WindowPart(_part_name(part), part.n_tokens, part.n_reused) for part in _template_joined(report.parts)]
        return WindowSeen(report.n_ctx, tuple(parts), report.kv_bytes, len(report.dropped))

    def drawn_at(self, turn: int | None) -> Sampling | None:
        """The settings of an answer, as far as they were saved with it and still mean something."""
        answer = self._answer(turn)
        if answer is None or answer.record is None or not answer.record.sampling:
            return None
        with suppress(msgspec.ValidationError):
            return msgspec.convert(answer.record.sampling, Sampling)
        return None

    def _answer(self, turn: int | None) -> Turn | None:
        """An answer of the open branch; the last one for None."""
        answers = [one for one in self._chat.turns if one.role is Role.ASSISTANT]
        return next((one for one in answers if one.id == turn), answers[-1] if answers else None)

    async def branches(self, turn: int | None) -> BranchesSeen:
        """All answers to the question that a turn answers; None for the last one."""
        answer = self._answer(turn)
        if answer is None:
            return BranchesSeen(())
        found = await self._chat.siblings(answer.id)
        return BranchesSeen(
            tuple(
                branch_of(one.id, one.text, self._measures.get(one.id, ()), is_open=one.id == answer.id)
                for one in found
            )
        )

    async def inspect(self, request: GlassRequest) -> GlassResult:
        """What is inside the model."""
        return await self._chat.engine.inspect(request)


def uncut(turns: Sequence[PromptTurn], measures: dict[int, list[Measured]]) -> list[GlassToken]:
    """What was said, in tokens only where a server told those of an answer."""
    tokens: list[GlassToken] = []
    for turn in turns:
        seen = measures.get(turn.id, []) if turn.role is Role.ASSISTANT else []
        tokens += [GlassToken.of(one, "answer", turn.id) for one in seen]
        if not seen:
            text = f"{turn.text}\n".encode()
            tokens.append(GlassToken(text, None, TokenKind.UNCUT, _name(turn), turn=turn.id or None))
    return tokens


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
            GlassToken(
                piece.piece,
                piece.id,
                _kind(piece, turn, measured),
                _name(turn),
                piece.was_reused,
                measured,
                (turn.id or None) if turn is not None else None,
            )
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
        return AROUND
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
