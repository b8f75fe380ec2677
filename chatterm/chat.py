"""One open conversation and the engine that answers in it: what a screen talks to.

A reply is one path, whatever asks for it: save the question, begin the reply, pass the engine's
events through while the text is saved about every second, and settle it however it ends. It knows
neither Textual nor SQL.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, NamedTuple, TypeVar, cast

import msgspec

from chatterm.address import Address
from chatterm.conversation import Conversation, Role, Turn, TurnState
from chatterm.draft import Draft
from chatterm.engine.base import Engine, Prompt, PromptTurn
from chatterm.errors import ChattermError, NotFound, TurnKept
from chatterm.events import (
    Event,
    Finished,
    FinishReason,
    LoadEvent,
    Measured,
    ModelInfo,
    Prefilling,
    Prompted,
    ReplyEvent,
    Token,
    Trimmed,
)
from chatterm.layers import layered
from chatterm.settings import Sampling, Settings
from chatterm.store import Journal, Store

T = TypeVar("T")

FLUSH_SECONDS = 0.75
"""How long text waits before it is saved; with the write itself, less than a second is ever at risk."""


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


class Beginning(NamedTuple):
    """What an answer shall begin with, and how it goes on."""

    token_ids: tuple[int, ...] = ()
    sampling: Sampling | None = None
    """Instead of the settings that count; its seed draws what it would have drawn there."""
    n_tokens: int | None = None
    """How many tokens are drawn behind them, so that the answer then waits; None goes on to its end."""


ChatEvent = ReplyEvent | TurnAdded | TurnRenumbered | TurnSettled


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
        self._writing: tuple[Journal, Draft] | None = None
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
        return _prompt(self.turns, self.effective)

    @property
    def asked(self) -> Prompt:
        """What the model reads to answer the last question, whether there is an answer already or not."""
        places = [place for place, turn in enumerate(self.turns) if turn.role is Role.USER]
        return _prompt(self.turns[: places[-1] + 1] if places else [], self.effective)

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
        return self._writing is not None and self._writing[0] is self._journal

    @property
    def can_resume(self) -> bool:
        """Whether the last reply was cut and can be written on."""
        return not self.is_replying and bool(self.turns) and _was_cut(self.turns[-1])

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
            if journal.conversation is not None and journal.conversation.id == conversation_id:
                if self._writing is not None and self._writing[0] is journal:
                    draft = self._writing[1]
                    journal.show(draft.text, draft.reasoning, draft.record)
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
        """Give a conversation another title; an empty one takes it back to its first question."""
        renamed = await self.store.rename(id, title)
        if self.conversation is not None and self.conversation.id == id:
            self._journal.conversation = renamed
        return renamed

    async def delete(self, id: int) -> None:
        """Delete a conversation, until it is restored; if it is open, a new one takes its place."""
        await self.store.delete(id)
        if self.conversation is not None and self.conversation.id == id:
            self.new()

    async def restore(self, id: int) -> Conversation:
        """Take a deletion back; the conversation is not opened by it."""
        return await self.store.restore(id)

    async def override(self, changes: Mapping[str, Any]) -> None:
        """Change settings for this conversation only; None goes back to the default.

        Raises:
            SettingsError: a value is refused; nothing is changed.
            StoreError: it counts, but could not be saved yet.
        """
        overrides = _overlaid(self.overrides, changes)
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

    async def flip(self, step: int) -> None:
        """Show another answer to the last question; after the last one comes the first.

        Raises:
            StoreError: as in `switch`.
        """
        last = self.turns[-1]
        ids = [turn.id for turn in await self.siblings(last.id)]
        await self.switch(ids[(ids.index(last.id) + step) % len(ids)])

    async def switch(self, turn_id: int) -> None:
        """Open the branch that goes through a turn, to its newest end.

        Raises:
            StoreError: what is only in memory could not be saved, and would be lost.
        """
        if self.is_replying:
            raise RuntimeError("a reply is being written")
        await self._journal.switch(turn_id)
        self.unseen = _unseen(self.turns)

    async def prompt_history(self) -> list[str]:
        """What was asked before, in all conversations, newest first."""
        return await self.store.prompts()

    async def load(self, address: Address) -> AsyncGenerator[LoadEvent, None]:
        """Load a model with its own settings and those of this conversation.

        Raises:
            EngineError: as `Engine.load` tells.
        """
        options = layered(self.settings, address, self.overrides).load
        async with aclosing(_generator(self.engine.load(address, options))) as events:
            async for event in events:
                yield event

    async def reply(self, text: str) -> AsyncGenerator[ChatEvent, None]:
        """Ask, and pass on how the answer comes; closing the iterator stops it and keeps what arrived.

        Raises:
            EngineError: after the reply was settled as FAILED.
            StoreError: at the end, when the reply is complete but is only in memory.
        """
        with self._answering() as journal:
            question = await journal.ask(text)
            async with aclosing(self._answer(journal, added=question)) as events:
                async for event in events:
                    yield event

    async def regenerate(self) -> AsyncGenerator[ChatEvent, None]:
        """Another answer to the last question, beside those that it has.

        Raises:
            NotFound: nothing was asked yet.
            EngineError, StoreError: as in `reply`.
        """
        with self._answering() as journal:
            places = [place for place, turn in enumerate(journal.turns) if turn.role is Role.USER]
            if not places:
                raise NotFound("Nothing was asked yet.")
            await journal.rewind(places[-1] + 1)
            async with aclosing(self._answer(journal)) as events:
                async for event in events:
                    yield event

    async def resume(self) -> AsyncGenerator[ChatEvent, None]:
        """Go on with the last reply where it was cut, in the same turn.

        Raises:
            NotFound: there is no reply that was cut.
            EngineError, StoreError: as in `reply`.
        """
        with self._answering() as journal:
            if not journal.turns or not _was_cut(journal.turns[-1]):
                raise NotFound("There is no reply that was cut.")
            async with aclosing(self._answer(journal, resumed=journal.turns[-1])) as events:
                async for event in events:
                    yield event

    async def branch(self, question_id: int, beginning: Beginning) -> AsyncGenerator[ChatEvent, None]:
        """Another answer to a question of the open branch, which begins with given tokens: a road that was not taken.

        What followed the question until now stays where it is, as another answer's branch.

        Raises:
            NotFound: the question is not in the open branch.
            EngineError, StoreError: as in `reply`.
        """
        with self._answering() as journal:
            place = next((place for place, turn in enumerate(journal.turns) if turn.id == question_id), None)
            if place is None:
                raise NotFound("The question is not in the open conversation.")
            await journal.rewind(place + 1)
            async with aclosing(self._answer(journal, beginning=beginning)) as events:
                async for event in events:
                    yield event

    async def rewrite(self, beginning: Beginning) -> AsyncGenerator[ChatEvent, None]:
        """The last answer in the same turn, from other tokens on: a step further, a step back, another token.

        Raises:
            NotFound: nothing was answered yet.
            EngineError, StoreError: as in `reply`; the answer is as it was where what it begins with was not told.
        """
        with self._answering() as journal:
            if not journal.turns or journal.turns[-1].role is not Role.ASSISTANT:
                raise NotFound("There is no answer yet.")
            answer = self._answer(journal, beginning=beginning, rewritten=journal.turns[-1])
            async with aclosing(answer) as events:
                async for event in events:
                    yield event

    async def drop(self, turn_id: int) -> Turn:
        """Take an answer out of the conversation, where there is another one to the same question.

        Gives it, so that it can be put back.

        Raises:
            TurnKept: it is the only one, or the conversation goes on behind it.
            StoreError
        """
        if self.is_replying:
            raise TurnKept("An answer is being written.", "Wait for its end, or stop it.")
        others = [turn.id for turn in await self.siblings(turn_id) if turn.id != turn_id]
        if not others:
            raise TurnKept("It is the only answer to its question.", "Regenerate first, then drop it.")
        if await self.store.newest_leaf(turn_id) == turn_id and any(turn.id == turn_id for turn in self.turns):
            await self.switch(max((other for other in others if other < turn_id), default=others[0]))
        return await self.store.drop(turn_id)

    async def put_back(self, turn: Turn) -> None:
        """Undo `drop`, and open the branch that ends there.

        Raises:
            StoreError
        """
        await self.store.put_back(turn)
        if self.conversation is not None and self.conversation.id == turn.conversation_id:
            await self.switch(turn.id)

    async def _answer(
        self,
        journal: Journal,
        added: Turn | None = None,
        resumed: Turn | None = None,
        *,
        beginning: Beginning | None = None,
        rewritten: Turn | None = None,
    ) -> AsyncGenerator[ChatEvent, None]:
        """The answer to the end of the branch, from its empty row to its final state.

        One with a beginning is shown as soon as the engine has told its text.
        """
        settings = layered(self.settings, self.model, journal.overrides)
        if beginning is not None and beginning.sampling is not None:
            settings = msgspec.structs.replace(settings, sampling=beginning.sampling)
        prompt = _prompt(journal.turns[:-1] if rewritten else journal.turns, settings)
        draft = Draft(settings, resumed, self._clock, rewritten=rewritten)
        draft.is_by(self.engine.model)
        state, problem, failure = TurnState.STOPPED, "", None
        reply = self._reply(prompt, settings.sampling, beginning)
        is_told = beginning is None
        saver = asyncio.create_task(self._save_while_it_grows(journal, draft))
        self._writing = journal, draft
        self.unseen = frozenset()
        try:
            await (journal.reopen() if resumed or rewritten else journal.begin(draft.record))
            if added:
                yield TurnAdded(added)
            turn = journal.turns[-1]
            if is_told:
                yield TurnAdded(turn if turn.text else msgspec.structs.replace(turn, reasoning=""))  # it starts afresh
            async with aclosing(reply) as events:
                async for event in events:
                    if not is_told and _is_beginning(event):
                        draft.take(event)
                        continue
                    if not is_told and not isinstance(event, (Trimmed, Prompted, Prefilling)):
                        is_told = True
                        draft.replace()
                        yield TurnAdded(msgspec.structs.replace(turn, text=draft.text, reasoning=draft.reasoning))
                    if beginning is not None and _has_enough(beginning, event):
                        break
                    draft.take(event)
                    match event:
                        case Trimmed() if journal is self._journal:
                            self.unseen = frozenset(event.dropped)
                        case Prompted():
                            draft.is_by(self.engine.model)  # which may have come in for this reply
                        case Finished():
                            state = TurnState.FINISHED
                    yield event
                else:
                    state = TurnState.FINISHED
        except ChattermError as error:
            state, problem, failure = TurnState.FAILED, str(error), error
        except Exception as error:
            state, problem = TurnState.FAILED, f"{type(error).__name__}: {error}"
            raise
        finally:
            self._writing = None
            saver.cancel()
            await journal.settle(state, draft.text, draft.reasoning, draft.record, problem)
        for old_id, turn in journal.take_renumbered():
            if journal is self._journal:
                self.unseen = frozenset(turn.id if unseen == old_id else unseen for unseen in self.unseen)
            yield TurnRenumbered(old_id, turn)
        if not is_told:
            yield TurnAdded(journal.turns[-1])
        yield TurnSettled(journal.turns[-1])
        if failure:
            raise failure
        if journal.error is not None:
            raise journal.error
        await self.save()

    def _reply(
        self, prompt: Prompt, sampling: Sampling, beginning: Beginning | None
    ) -> AsyncGenerator[ReplyEvent, None]:
        """What the engine makes of a prompt."""
        options: dict[str, Any] = {"measure": True} if self.is_measured else {}
        if beginning is not None:
            options["begins_with"] = beginning.token_ids
            if beginning.n_tokens is not None:
                sampling = msgspec.structs.replace(sampling, max_tokens=max(beginning.n_tokens, 1))
        return _generator(self.engine.reply(prompt, sampling, **options))

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

    async def _save_while_it_grows(self, journal: Journal, draft: Draft) -> None:
        """Save a reply a moment after something has arrived, also when nothing follows it."""
        while True:
            await draft.has_grown.wait()
            await asyncio.sleep(self._flush_seconds)
            draft.has_grown.clear()
            await journal.write(draft.text, draft.reasoning, draft.record)

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


def _prompt(turns: Sequence[Turn], settings: Settings) -> Prompt:
    """What the model reads: the branch, without replies of which nothing came and without thoughts."""
    said = [PromptTurn(turn.role, turn.text, turn.id) for turn in turns if turn.role is Role.USER or turn.text]
    continues = bool(said) and said[-1].role is Role.ASSISTANT
    if settings.chat.system_prompt:
        said.insert(0, PromptTurn(Role.SYSTEM, settings.chat.system_prompt))
    return Prompt(tuple(said), template_variables=settings.chat.template_variables, continues=continues)


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


def _was_cut(turn: Turn) -> bool:
    """Whether a reply ended before the model was done."""
    if turn.role is not Role.ASSISTANT:
        return False
    if turn.state is TurnState.FINISHED:
        return turn.record is not None and turn.record.reason == FinishReason.LENGTH
    return turn.state is not TurnState.WRITING


def _unseen(turns: Sequence[Turn]) -> frozenset[int]:
    """What the model did not see when it answered last."""
    records = [turn.record for turn in turns if turn.record is not None]
    return frozenset(records[-1].dropped_turns) if records else frozenset()


def _overlaid(overrides: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides with some changed; a value of None is taken out.

    Example: {"sampling": {"seed": 1}}, {"sampling": {"seed": None, "top_k": 5}} -> {"sampling": {"top_k": 5}}
    """
    merged = {section: dict(values) for section, values in overrides.items()}
    for section, values in changes.items():
        merged[section] = merged.get(section, {}) | dict(values)
    kept = {
        section: {name: value for name, value in values.items() if value is not None}
        for section, values in merged.items()
    }
    return {section: values for section, values in kept.items() if values}


def _generator(events: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """An engine's events as what they are: something that can be closed."""
    return cast("AsyncGenerator[T, None]", events)
