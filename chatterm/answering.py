"""One answer on its way: from the end of a branch through the engine to a saved turn.

It is one path, whatever asks for it: begin the reply, pass the engine's events through while the
text is saved about every second, and settle it however it ends. Which conversation is looked at
meanwhile it does not know.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar, cast

import msgspec

from chatterm.conversation import ReplyRecord, Role, Turn, TurnState
from chatterm.draft import Draft
from chatterm.engine.base import Engine, Prompt, PromptTurn
from chatterm.errors import ChattermError
from chatterm.events import Event, Finished, FinishReason, Measured, Prefilling, Prompted, ReplyEvent, Token, Trimmed
from chatterm.plan import Beginning, Plan
from chatterm.settings import Settings
from chatterm.store import Journal

T = TypeVar("T")


class TurnAdded(Event, frozen=True):
    """A turn was added to the branch: a question, or a reply that is about to be written."""

    turn: Turn


class TurnRenumbered(Event, frozen=True):
    """A turn that could not be saved at first is saved now, under another id."""

    old_id: int
    turn: Turn


class TurnSettled(Event, frozen=True):
    """The reply as it ended, and as it was saved; the last event of a reply."""

    turn: Turn


ChatEvent = ReplyEvent | TurnAdded | TurnRenumbered | TurnSettled


class Answer:
    """An answer that an engine writes at the end of a conversation's branch."""

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        settings: Settings,
        plan: Plan,
        *,
        is_measured: bool,
        flush_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        """One that is not begun yet.

        Args:
            engine: Who writes it.
            journal: The conversation, with the branch as the plan wants it.
            settings: Those that count there.
            plan: How it comes to be.
            is_measured: Whether it comes with what each token was drawn from (`Measured`).
            flush_seconds: How long text waits before it is saved.
            clock: Tells seconds.
        """
        self.journal = journal
        self.is_written = False
        """Whether it is being written: from before its row exists until the engine is done."""
        self._engine = engine
        self._plan = plan
        self._beginning = plan.beginning
        if self._beginning is not None and self._beginning.sampling is not None:
            settings = msgspec.structs.replace(settings, sampling=self._beginning.sampling)
        self._sampling, self._stated = settings.sampling, settings.stated
        self._prompt = prompt_of(journal.turns[:-1] if plan.rewritten else journal.turns, settings)
        self._is_measured = is_measured
        self._flush_seconds = flush_seconds
        self._draft = Draft(settings, plan.resumed, clock, rewritten=plan.rewritten)
        self._draft.is_by(engine.model)
        self._is_told = self._beginning is None
        """Whether the text of what it begins with has come."""
        self._state = TurnState.STOPPED
        self._problem = ""

    async def events(self) -> AsyncGenerator[ChatEvent, None]:
        """How it comes, from its empty row to its final state; closing stops it and keeps what arrived.

        One with a beginning is shown as soon as the engine has told its text.

        Raises:
            EngineError: after it was settled as FAILED.
            StoreError: at the end, when it is complete but is only in memory.
        """
        failure = None
        saver = asyncio.create_task(self._save_while_it_grows())
        self.is_written = True
        try:
            async with aclosing(self._written()) as events:
                async for event in events:
                    yield event
        except ChattermError as error:
            self._state, self._problem, failure = TurnState.FAILED, str(error), error
        except Exception as error:
            self._state, self._problem = TurnState.FAILED, f"{type(error).__name__}: {error}"
            raise
        finally:
            self.is_written = False
            saver.cancel()
            await self.journal.settle(self._state, *self._so_far, self._problem)
        for old_id, turn in self.journal.take_renumbered():
            yield TurnRenumbered(old_id, turn)
        if not self._is_told:
            yield TurnAdded(self.journal.turns[-1])
        yield TurnSettled(self.journal.turns[-1])
        if failure:
            raise failure
        if self.journal.error is not None:
            raise self.journal.error

    def show(self) -> None:
        """Put what has arrived into its turn, in memory alone; that is not done for each token."""
        self.journal.show(*self._so_far)

    @property
    def _so_far(self) -> tuple[str, str, ReplyRecord]:
        return self._draft.text, self._draft.reasoning, self._draft.record

    async def _written(self) -> AsyncGenerator[ChatEvent, None]:
        """The turns that there are at first, then what the engine says."""
        is_old = self._plan.resumed or self._plan.rewritten
        await (self.journal.reopen() if is_old else self.journal.begin(self._draft.record))
        if self._plan.asked:
            yield TurnAdded(self._plan.asked)
        turn = self.journal.turns[-1]
        if self._is_told:
            yield TurnAdded(turn if turn.text else msgspec.structs.replace(turn, reasoning=""))  # it starts afresh
        async with aclosing(self._reply()) as events:
            async for event in events:
                if not self._is_told and _is_beginning(event):
                    self._draft.take(event)
                    continue
                if not self._is_told and not isinstance(event, (Trimmed, Prompted, Prefilling)):
                    yield self._told(turn)
                if self._beginning is not None and _has_enough(self._beginning, event):
                    break
                self._take(event)
                yield event
            else:
                self._state = TurnState.FINISHED

    def _told(self, turn: Turn) -> TurnAdded:
        """What it begins with has come: from now on it is shown, in the place of what was there before."""
        self._is_told = True
        self._draft.replace()
        return TurnAdded(msgspec.structs.replace(turn, text=self._draft.text, reasoning=self._draft.reasoning))

    def _take(self, event: ReplyEvent) -> None:
        self._draft.take(event)
        match event:
            case Prompted():
                self._draft.is_by(self._engine.model)  # which may have come in for this reply
            case Finished():
                self._state = TurnState.FINISHED

    def _reply(self) -> AsyncGenerator[ReplyEvent, None]:
        """What the engine makes of the prompt."""
        sampling = self._sampling
        options: dict[str, Any] = {"measure": True} if self._is_measured else {}
        options |= {"stated": self._stated} if self._stated else {}
        if self._beginning is not None:
            options["begins_with"] = self._beginning.token_ids
            if self._beginning.n_tokens is not None:
                sampling = msgspec.structs.replace(sampling, max_tokens=max(self._beginning.n_tokens, 1))
        return closable(self._engine.reply(self._prompt, sampling, **options))

    async def _save_while_it_grows(self) -> None:
        """Save a moment after something has arrived, also when nothing follows it."""
        while True:
            await self._draft.has_grown.wait()
            await asyncio.sleep(self._flush_seconds)
            self._draft.has_grown.clear()
            await self.journal.write(*self._so_far)


def prompt_of(turns: Sequence[Turn], settings: Settings) -> Prompt:
    """What the model reads: the branch, without replies of which nothing came and without thoughts."""
    said = [PromptTurn(turn.role, turn.text, turn.id) for turn in turns if turn.role is Role.USER or turn.text]
    continues = bool(said) and said[-1].role is Role.ASSISTANT
    if settings.chat.system_prompt:
        said.insert(0, PromptTurn(Role.SYSTEM, settings.chat.system_prompt))
    return Prompt(tuple(said), template_variables=settings.chat.template_variables, continues=continues)


def closable(events: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """An engine's events as what they are: something that can be closed."""
    return cast("AsyncGenerator[T, None]", events)


def _is_beginning(event: ReplyEvent) -> bool:
    """Whether an event tells text of the tokens with which a reply was begun."""
    return isinstance(event, Token) and event.id is None


def _has_enough(beginning: Beginning, event: ReplyEvent) -> bool:
    """Whether an answer has as many tokens as it was to get, and the event is one too many."""
    match event:
        case Measured() | Token():
            return beginning.n_tokens == 0
        case Finished(reason=FinishReason.LENGTH):
            return beginning.n_tokens is not None
    return False
