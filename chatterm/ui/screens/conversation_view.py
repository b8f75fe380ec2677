"""The transcript of the open conversation, and the reply that is written into it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from textual import on, work
from textual.message import Message

from chatterm.chat import Chat, ChatEvent, TurnAdded
from chatterm.conversation import ReplyRecord, Role, TurnState
from chatterm.errors import ChattermError, StoreError
from chatterm.events import Measured, Prompted, Token, Trimmed
from chatterm.ui.screens import hints
from chatterm.ui.screens.live import LiveReply, measures_of_record
from chatterm.ui.screens.state import State
from chatterm.ui.widgets.status import Status
from chatterm.ui.widgets.transcript import Transcript

if TYPE_CHECKING:
    from chatterm.ui.screens.glass_by_hand import Begun, Wish
    from chatterm.ui.screens.glass_dock import GlassDock

ENDS = {TurnState.STOPPED: "stopped", TurnState.FAILED: "failed"}


class ConversationView(Transcript):
    """Draws what is open in the chat, shows replies while they arrive, and flips between answers.

    A reply goes on while another conversation is looked at.
    """

    class Changed(Message):
        """What is possible now may be something else: a reply began, answers were counted."""

    class TurnSaved(Message):
        """The conversation has another turn."""

    class ReplyEnded(Message):
        """The reply is over, well or not."""

    class Failed(Message):
        """Something went wrong that the user must know of."""

        def __init__(self, error: ChattermError) -> None:
            super().__init__()
            self.error = error

    def __init__(self, state: State, status: Status, engine_free: asyncio.Lock, *, id: str | None = None) -> None:
        """An empty one.

        Args:
            state: Where the screen is at; replies and answers are entered there.
            status: The row that says what the engine does.
            engine_free: Held while a reply is written.
            id: As for any widget.
        """
        super().__init__(id=id)
        self.live: LiveReply | None = None
        """The reply that is being written."""
        self.glass: GlassDock | None = None
        """The glass box, once it was opened; it follows replies."""
        self._said: set[str] = set()  # notes on replies, which would be the same each time
        self._state = state
        self._status = status
        self._engine_free = engine_free

    @property
    def chat(self) -> Chat:
        """What is open; there is one before anything is asked of this widget."""
        assert self._state.chat is not None
        return self._state.chat

    def show_open(self) -> None:
        """Draw the conversation that is open now, from its end."""
        self._draw_branch()
        self.unseen = self.chat.unseen
        if self.glass is not None:
            self.glass.show_open()
        if not self._state.replying:
            turns = self.chat.turns
            self._status.tell(**measures_of_record((turns[-1].record if turns else None) or ReplyRecord()))
        self._state.answers = (0, 0)
        self.count_answers()

    def _draw_branch(self) -> None:
        """Draw the open branch, with the reply that is being written there."""
        self.show(self.chat.turns)
        if self.live is not None:
            self.live.leave()
            self.live.show()

    @work(exclusive=True, group="reply")
    async def answer(self, reply: AsyncGenerator[ChatEvent, None], begun: Begun | None = None) -> None:
        """Show a reply while it arrives; `begun` is with what it begins, where that is given."""
        self.live = live = LiveReply(self.chat, self, self._status)
        self._state.replying, self._state.answers = True, (0, 0)
        self.post_message(self.Changed())
        self._status.tell(activity="asking", is_busy=True, is_wrong=False, tokens_per_second=0.0)
        try:
            async with self._engine_free, aclosing(reply) as happenings:  # closed, so what arrived is saved
                async for event in happenings:
                    live.take(event)
                    match event:
                        case TurnAdded(turn=turn):
                            self.post_message(self.TurnSaved())
                            if turn.role is Role.ASSISTANT:
                                self._follow_branch()
                            if self.glass is not None and turn.role is Role.ASSISTANT:
                                await self.glass.begin(begun)
                        case Measured() if self.glass is not None:
                            self.glass.take(event)
                        case Token() if self.glass is not None:
                            self.glass.said(event)
                        case Trimmed():
                            self.notify(**hints.trimmed_notice(len(event.dropped)))
                        case Prompted(notes=notes) if new := [note for note in notes if note not in self._said]:
                            self._said.update(new)
                            self.notify("\n".join(new), title="How it was asked", timeout=8, markup=False)
        except ChattermError as error:
            self.post_message(self.Failed(error))
        finally:
            self._end(live)

    def stop(self) -> None:
        """Stop the reply, and keep what has arrived."""
        self._state.stopping = True
        self._status.tell(activity="stopping")
        self.workers.cancel_group(self, "reply")

    def _end(self, live: LiveReply) -> None:
        """Settle what is shown."""
        self._state.replying, self._state.stopping, self.live = False, False, None
        last = self.chat.turns[-1] if self.chat.turns else None
        if last is not None and live.turn is not None and last.id == live.turn.id:
            live.settle(last)
        if live.turn is None or live.turn.state is not TurnState.FINISHED:  # else the engine told how it ended
            self._status.tell(activity=ENDS.get(live.turn.state if live.turn else TurnState.WRITING, "ready"))
        if self._state.closing:
            return
        if self.glass is not None and live.turn is not None:
            self.glass.end(live.turn.id)
        self._follow_branch()
        self.unseen = self.chat.unseen
        self._status.tell(is_busy=self._state.busy)
        self.count_answers()
        self.post_message(self.ReplyEnded())

    def _follow_branch(self) -> None:
        """Show the open branch where another one is shown, or turns under ids that they have no longer.

        Another answer can have been opened while a reply was asked for, and what was saved late gets other ids.
        """
        if [turn.id for turn in self.turns] != [turn.id for turn in self.chat.turns]:
            top, follows = self.scroll_y, self.following
            self._draw_branch()
            if not follows:
                self.scroll_to(y=top, animate=False)

    @property
    def is_answering(self) -> bool:
        """Whether a reply is asked for or written, from the moment in which it was asked for."""
        return any(worker.group == "reply" and not worker.is_finished for worker in self.workers if worker.node is self)

    def begin_with(self, wish: Wish) -> None:
        """Answer from given tokens on, beside the answer that is there or in its place."""
        if self.is_answering or self._state.busy:
            return
        if wish.in_place:
            self.answer(self.chat.rewrite(wish.beginning), wish.begun)
            return
        places = [place for place, turn in enumerate(self.chat.turns) if turn.id == wish.question_id]
        if places:
            self.show(self.chat.turns[: places[0] + 1])
            self.answer(self.chat.branch(wish.question_id, wish.beginning), wish.begun)

    def regenerate(self) -> None:
        """Answer the last question again."""
        questions = [place for place, turn in enumerate(self.chat.turns) if turn.role is Role.USER]
        self.show(self.chat.turns[: questions[-1] + 1])
        self.answer(self.chat.regenerate())

    @work(exclusive=True, group="temperatures")
    async def compare_temperatures(self) -> None:
        """Ask the last question at several temperatures, side by side; one may become another answer."""
        question = self._state.last_question
        if question is None:
            return
        from chatterm.ui.screens.temperatures import Temperatures  # late: many never open it

        wish = await self.app.push_screen_wait(
            Temperatures(self.chat.engine, self.chat.asked, question.id, self.chat.effective, self._engine_free)
        )
        if wish is not None:
            self.begin_with(wish)

    @work(exclusive=True, group="flip")
    async def flip(self, step: int) -> None:
        """Show another answer to the last question."""
        try:
            is_open = await self.chat.flip(step)
        except StoreError as error:
            self.post_message(self.Failed(error))
        else:
            if is_open:
                self.show_open()

    @work(exclusive=True, group="answers")
    async def count_answers(self) -> None:
        """Find out how many answers the last question has, and which one is shown."""
        self._state.answers = (0, 0)
        with suppress(StoreError):
            self._state.answers = await self.chat.answers()
        self.post_message(self.Changed())

    def copy_last_reply(self) -> None:
        """Copy the text of the last answer."""
        self.copy(next(turn.text for turn in reversed(self.chat.turns) if turn.role is Role.ASSISTANT))

    def copy(self, text: str) -> None:
        """Copy, and say so."""
        self.app.copy_to_clipboard(text)
        self.notify(f"Copied {len(text):,} characters", timeout=2)

    @on(Transcript.CopyRequested)
    def _copy(self, event: Transcript.CopyRequested) -> None:
        self.copy(event.text)

    @on(Transcript.LinkClicked)
    def _open_link(self, event: Transcript.LinkClicked) -> None:
        self.app.open_url(event.url)

    def toggle_last_reasoning(self) -> None:
        """Fold or unfold what the model thought, where the cursor is, or last."""
        if self.cursor is None:
            answers = (i for i, turn in enumerate(self.turns) if turn.role is Role.ASSISTANT)
            self.cursor = max(answers, default=None)
        if self.cursor is not None:  # else an answer begins, and is not shown yet
            self.action_toggle_reasoning()
