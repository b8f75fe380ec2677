"""The glass box beside the open conversation: it follows the reply that is written, and keeps what was measured.

What it shows of the chat, `chat_source` answers; which answer is written by hand, `glass_by_hand` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import msgspec
from textual import work
from textual.message import Message
from textual.timer import Timer

from chatterm.chat import Chat
from chatterm.errors import ChattermError
from chatterm.events import FinishReason, Measured, Token
from chatterm.glass import LetGo
from chatterm.ui.glass.source import GlassToken
from chatterm.ui.glass.tinting import Tint as TokenTint
from chatterm.ui.glass.tinting import tint_of
from chatterm.ui.screens.chat_source import ChatSource
from chatterm.ui.screens.glass_by_hand import Begun, ByHand
from chatterm.ui.widgets.reading.tinted import Tint

TYPING_SECONDS = 0.12
"""What is typed is cut into tokens after so long a pause."""
_KEPT = 200
"""Replies whose measures are kept, the latest ones."""


class GlassDock(ByHand):
    """Shows what is inside the model that answers in the open conversation."""

    class Tinted(Message):
        """The answers of the conversation shall be coloured: what was measured, by turn."""

        def __init__(self, tints: dict[int, list[Tint]]) -> None:
            super().__init__()
            self.tints = tints

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._live: list[Measured] = []
        self._is_begun = False
        """Whether it was begun with given tokens, which may be none."""
        self._is_told = True
        """Whether the text of the last token has come."""
        self._typing: Timer | None = None

    def open(self, chat: Chat) -> None:
        """Look into this chat from now on."""
        self.chat = chat
        self.source = ChatSource(chat, self.measures)
        chat.is_measured = True
        self.display = True
        self.show_open()
        self.focus()

    def close(self) -> None:
        """Look away: replies are not measured any more; what was measured is kept."""
        self.step_aside()
        if self.chat is not None:
            self.chat.is_measured = False
            self._let_go(self.chat)
        self.colours_changed()

    def colours_changed(self) -> None:
        """Colour the answers in the conversation as their tokens are; while it is closed they have no colours."""
        self.call_later(
            self._say_colours
        )  # from here: what a parent posts in its child's name does not come back to it

    def _say_colours(self) -> None:
        turns = self.chat.turns if self.chat is not None and self.is_open else []
        measured = ((turn, self.measures[turn.id]) for turn in turns if turn.id in self.measures)
        self.post_message(self.Tinted({turn.id: tints_of(turn.text, seen, self.tint) for turn, seen in measured}))

    @work(exclusive=True, group="look")
    async def _let_go(self, chat: Chat) -> None:
        """Give back the memory that looking inside took."""
        with suppress(ChattermError):
            await chat.engine.inspect(LetGo())

    def step_aside(self) -> None:
        """Make room for the conversation; what is written there is measured all the same."""
        self.display = False
        self.look_no_more()

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
            self.token_view.follows |= bool(isinstance(self.source, ChatSource) and self.source.typed)
            self.reload()

    def show_open(self) -> None:
        """Show the conversation that is open now, and its settings."""
        if self.is_open and self.chat is not None:
            self.sampling = self.chat.effective.sampling
            self.forget_steps()
            self.token_view.follows = True
            self.reload()
            self.colours_changed()

    async def begin(self, begun: Begun | None = None) -> None:
        """A reply is about to be written: show what is sent for it, or with what it begins."""
        self._live, self._is_begun = list(begun.measures) if begun else [], begun is not None
        self._is_told = True
        if begun is None:
            self.forget_steps()
        if not self.is_open or self.chat is None or not self.chat.is_written_here:
            return
        self.sampling = self.chat.effective.sampling
        self.token_view.follows = True
        if begun is None:
            await self.fill()
        else:  # the engine writes already, and answers nothing else
            drawn = (GlassToken.of(seen, part="answer") for seen in begun.measures)
            self.tokens = [*(begun.before or self.tokens[: self._last_answer()]), *drawn]
            self._show_tokens()

    def _last_answer(self) -> int:
        """Where the last answer begins that is shown."""
        place = len(self.tokens)
        while place and self.tokens[place - 1].part == "answer":
            place -= 1
        return place

    def take(self, seen: Measured) -> None:
        """A token of the reply was drawn."""
        self._live.append(seen)
        self._is_told = seen.is_end
        if self.is_open and self.chat is not None and self.chat.is_written_here:
            self.add(seen)

    def said(self, token: Token) -> None:
        """The text of the token that was drawn last has come, too; one without a number may be that of others."""
        has_numbers = self.chat is not None and self.chat.engine.capabilities.reports_token_ids
        self._is_told = self._is_told or token.id is not None or not has_numbers

    def end(self, turn_id: int) -> None:
        """The reply was saved under this id."""
        if self._live and not self._is_told:
            self._live.pop()  # it was stopped before the token's text came
        self._mark_end(turn_id)
        measures = self._whole(turn_id)
        if measures or self._is_begun:
            self.measures.pop(turn_id, None)
            self.measures[turn_id] = measures
            for old in list(self.measures)[:-_KEPT]:
                del self.measures[old]
        self._live, self._is_begun = [], False
        self.stepped(turn_id)
        if self.is_open:
            self.reload()
            self.colours_changed()

    def _mark_end(self, turn_id: int) -> None:
        """A token that a person chose may have ended the reply."""
        turn = next((turn for turn in reversed(self.chat.turns) if turn.id == turn_id), None) if self.chat else None
        has_ended = turn is not None and turn.record is not None and turn.record.reason == FinishReason.END
        if has_ended and self._live and self._live[-1].is_chosen:
            self._live[-1] = msgspec.structs.replace(self._live[-1], is_end=True)

    def _whole(self, turn_id: int) -> list[Measured]:
        """What was measured of a reply, with what there was of it before it was resumed; nothing where that is lost."""
        first = self._live[0].index if self._live else 0
        before = self.measures.get(turn_id, [])[:first]
        return [*before, *self._live] if len(before) == first else []


def tints_of(text: str, measures: Sequence[Measured], tint: TokenTint) -> list[Tint]:
    """How strongly the parts of an answer are coloured, by the places in its text.

    Nothing where the text is not what was measured: then no token has a place in it.
    """
    written = b"".join(seen.piece for seen in measures if not seen.is_end).decode("utf-8", "replace")
    begins = written.rfind(text) if text else -1  # thoughts and tags stand before it
    if begins < 0:
        return []
    return [
        Tint(seen.start - begins, seen.end - begins, strength)
        for seen in measures
        if seen.start is not None
        and seen.end is not None
        and begins <= seen.start < seen.end
        and (strength := tint_of(seen, tint))
    ]
