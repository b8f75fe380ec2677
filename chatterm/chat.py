"""One open conversation and the engine that answers in it: what a screen talks to.

It opens and changes conversations, and asks for answers in them; how one is written and saved,
`answering` knows. It knows neither Textual nor SQL.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from typing import Any

from chatterm import plan
from chatterm.address import Address
from chatterm.answering import Answer, ChatEvent, TurnAdded, TurnRenumbered, TurnSettled, closable, prompt_of
from chatterm.conversation import Conversation, Role, Turn
from chatterm.engine.base import Engine, Prompt
from chatterm.errors import StoreError, TurnKept
from chatterm.events import LoadEvent, ModelInfo, Trimmed
from chatterm.layers import layered, overlaid
from chatterm.plan import Beginning, Plan, was_cut
from chatterm.settings import Settings
from chatterm.store import Journal, Store

__all__ = [
    "FLUSH_SECONDS",
    "Beginning",
    "Chat",
    "ChatEvent",
    "TurnAdded",
    "TurnRenumbered",
    "TurnSettled",
]

FLUSH_SECONDS = 0.75
"""How long text waits before it is saved; with the write itself, less than a second is ever at risk."""


class Chat:
    """A conversation that goes on.

    One reply at a time; another conversation may be opened while it is written, and it is saved
    where it belongs all the same.
    """

    def __init__(
        self,
        store: Store,
        engine: Engine,
        settings: Settings,
        *,
        flush_seconds: float = FLUSH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.engine = engine
        self.settings = settings
        """The user's; those of the model and of the conversation are laid over them."""
        self.unseen: frozenset[int] = frozenset()
        """Ids of the turns that the model did not see when it answered last."""
        self.is_replying = False
        self.is_measured = False
        """Whether replies come with what each token was drawn from (`Measured`)."""
        self._flush_seconds = flush_seconds
        self._clock = clock
        self._journal = Journal(store)
        self._answer: Answer | None = None  # the latest one
        self._kept: list[Journal] = []  # being written, or not saved yet

    @property
    def conversation(self) -> Conversation | None:
        """The open conversation; None for a new one, which is created by its first question."""
        return self._journal.conversation

    @property
    def turns(self) -> list[Turn]:
        """The open branch, oldest first; with negative ids where it could not be saved yet."""
        return self._journal.turns

    @property
    def overrides(self) -> dict[str, Any]:
        """Settings for the open conversation only, shaped like the file."""
        return self._journal.overrides

    @property
    def overrides_now(self) -> dict[str, Any]:
        """The overrides, with the model that answers as one of them where the settings name another one."""
        if self.model is None or self.effective.chat.model in ("", self.model.address):
            return self.overrides
        return overlaid(self.overrides, {"chat": {"model": self.model.address}})

    @property
    def own_model(self) -> str:
        """The model that the open conversation has for itself; empty where it has none."""
        return str(self.overrides.get("chat", {}).get("model", ""))

    @property
    def effective(self) -> Settings:
        """The settings that count in the open conversation, with the model that answers now."""
        return layered(self.settings, self.model, self.overrides)

    @property
    def prompt(self) -> Prompt:
        """What the model reads of the open branch; where that ends in an answer, as if it went on with it."""
        return prompt_of(self.turns, self.effective)

    @property
    def asked(self) -> Prompt:
        """What the model reads to answer the last question, whether there is an answer already or not."""
        places = [place for place, turn in enumerate(self.turns) if turn.role is Role.USER]
        return prompt_of(self.turns[: places[-1] + 1] if places else [], self.effective)

    @property
    def model(self) -> ModelInfo | None:
        """The model that is loaded."""
        return self.engine.model

    @property
    def is_saved(self) -> bool:
        """Whether nothing is only in memory."""
        return all(journal.is_saved for journal in (*self._kept, self._journal))

    @property
    def is_written_here(self) -> bool:
        """Whether a reply is being written at the end of the open branch."""
        return self._answer is not None and self._answer.is_written and self._answer.journal is self._journal

    @property
    def can_resume(self) -> bool:
        """Whether the last reply was cut and can be written on."""
        return not self.is_replying and bool(self.turns) and was_cut(self.turns[-1])

    @property
    def can_regenerate(self) -> bool:
        """Whether there is a question to be answered again."""
        return not self.is_replying and any(turn.role is Role.USER for turn in self.turns)

    async def open(self, conversation_id: int) -> None:
        """Open a conversation where it was left.

        Raises:
            NotFound, StoreError
        """
        for journal in self._kept:
            if journal.is_of(conversation_id):
                if self._answer is not None and self._answer.is_written and self._answer.journal is journal:
                    self._answer.show()
                break
        else:
            journal = Journal(self.store)
            await journal.read(conversation_id)
        self._journal = journal
        self.unseen = _unseen(journal.turns)

    async def open_latest(self) -> bool:
        """Open the conversation in which something was said last; False where there is none."""
        latest = await self.store.latest()
        if latest is not None:
            await self.open(latest.id)
        return latest is not None

    def new(self) -> None:
        """Begin another conversation, with the default settings."""
        self._journal = Journal(self.store)
        self.unseen = frozenset()

    async def conversations(self, title_contains: str = "", limit: int = 200, offset: int = 0) -> list[Conversation]:
        """Conversations for a list, newest first."""
        return await self.store.conversations(limit, offset, title_contains)

    async def rename(self, id: int, title: str) -> Conversation:
        """Give a conversation another title; an empty one takes it back to its first question.

        Raises:
            StoreError: also where it could not be saved so far, and still cannot.
        """
        journal = self._journal_of(id) if id < 0 else None
        saved_id = id if journal is None else await journal.saved_id()
        renamed = await self.store.rename(saved_id, title)
        if self.conversation is not None and self.conversation.id == saved_id:
            self._journal.conversation = renamed
        return renamed

    async def delete(self, id: int) -> int | None:
        """Delete a conversation, until it is restored; if it is open, a new one takes its place.

        Gives the id by which it is restored; None where nothing of it could be saved, so that it is gone.

        Raises:
            StoreError
        """
        journal = self._journal_of(id)
        saved_id = await self._given_up(journal) if id < 0 and journal is not None else id
        if saved_id is not None:
            await self.store.delete(saved_id)
        if journal is self._journal:
            self.new()
        return saved_id

    async def _given_up(self, journal: Journal) -> int | None:
        """The id of a conversation, which is saved first where that works; else nothing of it ever is."""
        with suppress(StoreError):
            return await journal.saved_id()
        return await journal.discard()

    def is_open(self, conversation_id: int) -> bool:
        """Whether a conversation is the open one."""
        return self._journal.is_of(conversation_id)

    def is_written_in(self, conversation_id: int) -> bool:
        """Whether a reply is being written in a conversation."""
        return self._answer is not None and self._answer.is_written and self._answer.journal.is_of(conversation_id)

    def _journal_of(self, conversation_id: int) -> Journal | None:
        """A conversation that is in memory, also by the id from before it was saved."""
        return next((each for each in (self._journal, *self._kept) if each.is_of(conversation_id)), None)

    async def restore(self, id: int) -> Conversation:
        """Take a deletion back; the conversation is not opened by it."""
        return await self.store.restore(id)

    async def override(self, changes: Mapping[str, Any]) -> None:
        """Change settings for this conversation only; None goes back to the default.

        Raises:
            SettingsError: a value is refused; nothing is changed.
            StoreError: it counts, but could not be saved yet.
        """
        overrides = overlaid(self.overrides, changes)
        self.settings.merged(overrides)
        await self._journal.override(overrides)
        if self._journal.error is not None:
            raise self._journal.error

    async def siblings(self, turn_id: int) -> list[Turn]:
        """All answers to the same question (or wordings of it), oldest first."""
        if turn_id < 0:  # not saved yet, and so without any
            return [turn for turn in self.turns if turn.id == turn_id]
        return await self.store.siblings(turn_id)

    async def answers(self) -> tuple[int, int]:
        """Which answer to the last question is shown, counted from 0, and how many there are.

        Raises:
            StoreError: they cannot be read.
        """
        if not self.turns or (last := self.turns[-1]).role is not Role.ASSISTANT:
            return 0, 0
        ids = [turn.id for turn in await self.siblings(last.id)]
        return ids.index(last.id), len(ids)

    async def flip(self, step: int) -> bool:
        """Show another answer to the last question; after the last one comes the first.

        Gives whether it is open now, as `switch` does.

        Raises:
            StoreError: as in `switch`.
        """
        journal = self._journal
        if self.is_replying or not journal.turns:
            return False
        last = journal.turns[-1]
        ids = [turn.id for turn in await self.siblings(last.id)]
        return await self._switch(journal, ids[(ids.index(last.id) + step) % len(ids)])

    async def switch(self, turn_id: int) -> bool:
        """Open the branch that goes through a turn, to its newest end.

        Gives whether it is open now: what is wanted meanwhile, another conversation or a reply, goes first.

        Raises:
            StoreError: what is only in memory could not be saved, and would be lost.
        """
        if self.is_replying:
            raise RuntimeError("a reply is being written")
        return await self._switch(self._journal, turn_id)

    async def _switch(self, journal: Journal, turn_id: int) -> bool:
        """The same in a conversation that was open a moment ago."""

        def is_wanted() -> bool:
            return journal is self._journal and not self.is_replying

        if not is_wanted() or not await journal.switch(turn_id, is_wanted):
            return False
        if is_wanted():
            self.unseen = _unseen(journal.turns)
        return journal is self._journal

    async def prompt_history(self) -> list[str]:
        """What was asked before, in all conversations, newest first."""
        return await self.store.prompts()

    async def load(self, address: Address) -> AsyncGenerator[LoadEvent, None]:
        """Load a model with its own settings and those of this conversation.

        Raises:
            EngineError: as `Engine.load` tells.
        """
        options = layered(self.settings, address, self.overrides).load
        async with aclosing(closable(self.engine.load(address, options))) as events:
            async for event in events:
                yield event

    def reply(self, text: str) -> AsyncGenerator[ChatEvent, None]:
        """Ask, and pass on how the answer comes; closing the iterator stops it and keeps what arrived.

        Raises:
            EngineError: after the reply was settled as FAILED.
            StoreError: at the end, when the reply is complete but is only in memory.
        """
        return self._answered(lambda journal: plan.ask(journal, text))

    def regenerate(self) -> AsyncGenerator[ChatEvent, None]:
        """Another answer to the last question, beside those that it has.

        Raises:
            NotFound: nothing was asked yet.
            EngineError, StoreError: as in `reply`.
        """
        return self._answered(plan.answer_again)

    def resume(self) -> AsyncGenerator[ChatEvent, None]:
        """Go on with the last reply where it was cut, in the same turn.

        Raises:
            NotFound: there is no reply that was cut.
            EngineError, StoreError: as in `reply`.
        """
        return self._answered(plan.go_on)

    def branch(self, question_id: int, beginning: Beginning) -> AsyncGenerator[ChatEvent, None]:
        """Another answer to a question of the open branch, which begins with given tokens: a road that was not taken.

        What followed the question until now stays where it is, as another answer's branch.

        Raises:
            NotFound: the question is not in the open branch.
            EngineError, StoreError: as in `reply`.
        """
        return self._answered(lambda journal: plan.branch_off(journal, question_id, beginning))

    def rewrite(self, beginning: Beginning) -> AsyncGenerator[ChatEvent, None]:
        """The last answer in the same turn, from other tokens on: a step further, a step back, another token.

        Raises:
            NotFound: nothing was answered yet.
            EngineError, StoreError: as in `reply`; the answer is as it was where what it begins with was not told.
        """
        return self._answered(lambda journal: plan.write_anew(journal, beginning))

    async def drop(self, turn_id: int) -> Turn:
        """Take an answer out of the conversation, where there is another one to the same question.

        Gives it, so that it can be put back.

        Raises:
            TurnKept: it is the only one, or the conversation goes on behind it, or something else was wanted meanwhile.
            StoreError
        """
        if self.is_replying:
            raise TurnKept("An answer is being written.", "Wait for its end, or stop it.")
        journal = self._journal
        others = [turn.id for turn in await self.siblings(turn_id) if turn.id != turn_id]
        if not others:
            raise TurnKept("It is the only answer to its question.", "Regenerate first, then drop it.")
        if await self.store.newest_leaf(turn_id) == turn_id and any(turn.id == turn_id for turn in journal.turns):
            other = max((other for other in others if other < turn_id), default=others[0])
            if not await self._switch(journal, other):
                raise TurnKept("The conversation went on, or another one was opened, meanwhile.", "Drop it once more.")
        return await self.store.drop(turn_id)

    async def put_back(self, turn: Turn) -> bool:
        """Undo `drop`, and open the branch that ends there; gives whether it is open now, as `switch` does.

        Raises:
            StoreError
        """
        journal = self._journal
        await self.store.put_back(turn)
        return journal.is_of(turn.conversation_id) and await self._switch(journal, turn.id)

    async def _answered(self, planned: Callable[[Journal], Awaitable[Plan]]) -> AsyncGenerator[ChatEvent, None]:
        """How the answer comes that was planned, in the conversation that is open when it is asked for."""
        with self._answering() as journal:
            answer = self._answer_as(await planned(journal), journal)
            self._answer, self.unseen = answer, frozenset()
            async with aclosing(answer.events()) as events:
                async for event in events:
                    if journal is self._journal:
                        self._note_unseen(event)
                    yield event
            await self.save()

    def _answer_as(self, how: Plan, journal: Journal) -> Answer:
        return Answer(
            self.engine,
            journal,
            layered(self.settings, self.model, journal.overrides),
            how,
            is_measured=self.is_measured,
            flush_seconds=self._flush_seconds,
            clock=self._clock,
        )

    def _note_unseen(self, event: ChatEvent) -> None:
        """Follow which turns of the open branch the model does not see."""
        match event:
            case Trimmed():
                self.unseen = frozenset(event.dropped)
            case TurnRenumbered():
                self.unseen = frozenset(event.turn.id if old == event.old_id else old for old in self.unseen)

    async def save(self) -> None:
        """Try again to save what is only in memory.

        Raises:
            StoreError: it still cannot be saved.
        """
        for journal in {id(journal): journal for journal in (*self._kept, self._journal)}.values():
            if not journal.is_saved:
                await journal.save()
                if journal.error is not None:
                    raise journal.error

    @contextmanager
    def _answering(self) -> Iterator[Journal]:
        """Hold the open conversation while a reply is written into it, and until it is saved."""
        if self.is_replying:
            raise RuntimeError("a reply is being written")
        self.is_replying = True
        journal = self._journal
        journal.error = None
        if journal not in self._kept:
            self._kept.append(journal)
        try:
            yield journal
        finally:
            self.is_replying = False
            self._kept = [journal for journal in self._kept if journal.may_be_saved_later]


def _unseen(turns: Sequence[Turn]) -> frozenset[int]:
    """What the model did not see when it answered last."""
    records = [turn.record for turn in turns if turn.record is not None]
    return frozenset(records[-1].dropped_turns) if records else frozenset()
