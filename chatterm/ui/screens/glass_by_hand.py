"""The loop by hand, and roads that were not taken: what the glass box wants the model to write, token by token.

An answer that is wanted always begins with given tokens, so that nothing but the next one is
evaluated. What was finished stays: the first step back begins another answer beside it. Who writes it
and shows it, the screen knows.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import msgspec
from textual import work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import var
from textual.widgets import Static

from chatterm import lens
from chatterm.chat import Beginning, Chat
from chatterm.conversation import Role, Turn
from chatterm.errors import ChattermError
from chatterm.events import Measured
from chatterm.settings import Sampling
from chatterm.ui.glass import branches, candidates
from chatterm.ui.glass.branches import BranchesSeen
from chatterm.ui.glass.panel import GlassPanel
from chatterm.ui.glass.source import GlassToken
from chatterm.ui.glass.token_view import TokenView
from chatterm.ui.glass.views import ViewName
from chatterm.ui.messages import RunCommand
from chatterm.ui.widgets.key_row import Hint, KeyRow

LOOP = (
    "The loop, by hand: the model gives each token a probability, one is drawn and put behind the text, "
    "and the whole text is read again."
)
BRIEF_LOOP = "The loop by hand: rate every token, draw one, append it, read all again."
_STEP_KEYS = (
    Hint("space", "one token", "step"),
    Hint("⌫", "back", "back"),
    Hint("d", "again", "again"),
    Hint("enter", "pick", "candidates"),
    Hint("r", "run on", "run_on"),
    Hint("esc", "done", "close"),
)
_N_SEEDS = 2**31


class Begun(NamedTuple):
    """The tokens with which an answer begins, and what stands before them."""

    measures: tuple[Measured, ...]
    before: tuple[GlassToken, ...] = ()


class Wish(NamedTuple):
    """An answer that shall be written."""

    question_id: int
    begun: Begun
    sampling: Sampling
    n_tokens: int | None = None
    """How many are drawn, before it waits; None goes on to its end."""
    in_place: bool = False
    """Whether it takes the place of the last answer; else it stands beside the one that there is."""

    @property
    def beginning(self) -> Beginning:
        """As the chat takes it."""
        ids = tuple(seen.id for seen in self.begun.measures if seen.id is not None)
        return Beginning(ids, self.sampling, self.n_tokens)


class ByHand(GlassPanel):
    """The glass box with keys that let the model write."""

    class AnswerWanted(Message):
        """The user wants an answer that begins with given tokens."""

        def __init__(self, wish: Wish) -> None:
            super().__init__()
            self.wish = wish

    class PauseWanted(Message):
        """The user wants the reply that runs to wait."""

    class Switched(Message):
        """Another answer is open in the chat now."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "step", "One token", show=False),
        Binding("backspace", "back", "Take a token back", show=False),
        Binding("d", "again", "Draw again", show=False),
        Binding("r", "run_on", "Run on", show=False),
        Binding("c", "compare", "Temperatures", show=False),
        Binding("x", "drop", "Drop the answer", show=False),
        Binding("u", "put_back", "Bring it back", show=False),
    ]

    steps: var[bool] = var(False, init=False)
    """Whether the answer is written by hand, token by token."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.chat: Chat | None = None
        self.measures: dict[int, list[Measured]] = {}
        """What the tokens of answers were drawn from, by the answers' turns."""
        self._mine: int | None = None
        """The answer that is written by hand, and may be changed in its place."""
        self._pauses = False
        self._dropped: list[Turn] = []

    def watch_steps(self) -> None:
        """Say what the keys do now."""
        self._show_view()

    def _show_view(self) -> None:
        super()._show_view()
        if self.steps and self.view in (ViewName.TOKENS, ViewName.NEXT):
            self.query_one("#caption", Static).update(BRIEF_LOOP if self.has_class("-low") else LOOP)
            self.query_one(KeyRow).show(_STEP_KEYS)

    def forget_steps(self) -> None:
        """The answer is not written by hand any more."""
        self.steps, self._mine, self._pauses = False, None, False

    def stepped(self, turn_id: int) -> None:
        """An answer ended or waits; where it was made by hand, it goes on so."""
        if self._pauses:
            self.steps, self._pauses = True, False
            self.view = ViewName.NEXT
        if self.steps:
            self._mine = turn_id

    def on_token_view_ended(self, event: TokenView.Ended) -> None:
        """Behind the last token comes the next one, where the answer is written by hand."""
        event.stop()
        if self.steps:
            self.action_step()

    def action_step(self) -> None:
        """Let a running answer wait; else draw its next token."""
        if self.chat is not None and self.chat.is_written_here:
            if self._says_why_not():
                return
            self._pauses = True
            self.post_message(self.PauseWanted())
            return
        if (answer := self._answer()) is None or not self._can_begin():
            return
        measures = self.measures_of(answer)
        if measures and measures[-1].is_end:
            self._say("The answer is complete: backspace takes its end back.")
            return
        self._want_step(answer, measures, 1)

    def action_back(self) -> None:
        """Take the last token back."""
        if (answer := self._answer()) is not None and self._can_begin() and (measures := self.measures_of(answer)):
            self._want_step(answer, measures[:-1], 0)

    def action_again(self) -> None:
        """Draw the last token again, with another random number."""
        if (answer := self._answer()) is not None and self._can_begin() and (measures := self.measures_of(answer)):
            self._want_step(answer, measures[:-1], 1, seed=secrets.randbelow(_N_SEEDS))

    def action_run_on(self) -> None:
        """Let the model write the rest."""
        if (answer := self._answer()) is None or not self._can_begin():
            return
        measures = self.measures_of(answer)
        if measures and measures[-1].is_end:
            self._say("The answer is complete: backspace takes its end back.")
            return
        self._want_step(answer, measures, None)
        self.steps = False

    def action_take(self) -> None:
        """Take the candidate under the cursor, or open the answer."""
        row, token = self.body.row, self.current
        match self.view, self.sighting.seen:
            case ViewName.BRANCHES, BranchesSeen() as seen if seen.branches:
                self._open(seen.branches[branches.tree(seen)[row].number].turn_id)
            case ViewName.NEXT, _ if token is not None and token.measured is not None:
                found = lens.candidates(token.measured)
                if row < len(found):
                    self._take(token, candidates.chosen(token.measured, found[row]))

    def _take(self, token: GlassToken, chosen: Measured) -> None:
        """Another token in the place of one: a branch from there, or where it is written by hand that token."""
        if self.chat is None or not self._can_begin():
            return
        if chosen.id is None:
            self._say("This engine does not tell the token's number.")
            return
        answers = [turn for turn in self.chat.turns if turn.role is Role.ASSISTANT]
        answer = next((turn for turn in answers if turn.id == token.turn), answers[-1] if answers else None)
        if answer is None:
            return
        measures = [*self.measures_of(answer)[: chosen.index], chosen]
        self.token_view.focus()
        if self.steps and answer.id == self.chat.turns[-1].id:
            self._want_step(answer, measures, 0)
        else:
            self._want(answer, measures, None)

    def measures_of(self, answer: Turn) -> list[Measured]:
        """The tokens of an answer; without measures, where none were kept."""
        if answer.id in self.measures:
            return self.measures[answer.id]
        tokens = [token for token in self.tokens if token.turn == answer.id]
        return [Measured(i, token.piece, token.id) for i, token in enumerate(tokens)]

    def _answer(self) -> Turn | None:
        """The last answer, which the keys go on with."""
        last = self.chat.turns[-1] if self.chat is not None and self.chat.turns else None
        if last is None or last.role is not Role.ASSISTANT:
            self._say("There is no answer yet: ask something first.")
            return None
        return last

    def _can_begin(self) -> bool:
        """Whether an answer can begin with given tokens now; says why not."""
        assert self.chat is not None
        if self._says_why_not():
            return False
        if self.chat.is_replying:
            self._say("Pause the answer first: space.")
        return not self.chat.is_replying

    def _says_why_not(self) -> bool:
        """Say why the engine cannot begin an answer with given tokens, where it cannot."""
        why_not = self.chat.engine.capabilities.why_not("branches") if self.chat is not None else ""
        if why_not:
            self._say(why_not)
        return bool(why_not)

    def _want_step(
        self, answer: Turn, measures: Sequence[Measured], n_tokens: int | None, seed: int | None = None
    ) -> None:
        """Go on by hand; in the same answer, unless that was complete before."""
        assert self.chat is not None
        self.steps = True
        self._want(answer, measures, n_tokens, seed, in_place=answer.id == self._mine or self.chat.can_resume)

    def _want(
        self,
        answer: Turn,
        measures: Sequence[Measured],
        n_tokens: int | None,
        seed: int | None = None,
        *,
        in_place: bool = False,
    ) -> None:
        assert self.chat is not None
        assert answer.parent_id is not None
        sampling = self.chat.effective.sampling
        if seed is None and answer.record is not None:
            seed = answer.record.seed  # which draws what it would have drawn there
        if seed is not None:
            sampling = msgspec.structs.replace(sampling, seed=seed)
        begun = Begun(tuple(measures), tuple(self.tokens[: self._start_of(answer)]))
        self.post_message(self.AnswerWanted(Wish(answer.parent_id, begun, sampling, n_tokens, in_place)))

    def _start_of(self, answer: Turn) -> int:
        """Where an answer begins among the tokens; while it is new, it is what was written last."""
        start = next((i for i, token in enumerate(self.tokens) if token.turn == answer.id), None)
        if start is None:
            start = len(self.tokens)
            while start and self.tokens[start - 1].turn is None and self.tokens[start - 1].part == "answer":
                start -= 1
        return start

    @work(exclusive=True, group="branch")
    async def _open(self, turn_id: int) -> None:
        """Show another answer."""
        if self.chat is None or self.chat.is_replying:
            return
        try:
            is_open = await self.chat.switch(turn_id)
        except ChattermError as error:
            self._fail(error)
        else:
            if is_open:
                self.post_message(self.Switched())

    @work(exclusive=True, group="branch")
    async def action_drop(self) -> None:
        """Take the answer under the cursor out of the conversation."""
        seen = self.sighting.seen
        if self.chat is None or not isinstance(seen, BranchesSeen) or not seen.branches:
            return
        fork = branches.tree(seen)[self.body.row]
        try:
            self._dropped.append(await self.chat.drop(seen.branches[fork.number].turn_id))
        except ChattermError as error:
            self._fail(error)
        else:
            self._say("The answer is dropped. u brings it back.")
            self.post_message(self.Switched())

    @work(exclusive=True, group="branch")
    async def action_put_back(self) -> None:
        """Bring back the answer that was dropped last."""
        here = self.chat.conversation.id if self.chat is not None and self.chat.conversation is not None else None
        mine = [turn for turn in self._dropped if turn.conversation_id == here]
        if self.chat is None or not mine or self.chat.is_replying:
            return
        try:
            is_open = await self.chat.put_back(mine[-1])
        except ChattermError as error:
            self._fail(error)
        else:
            self._dropped.remove(mine[-1])
            if is_open:
                self.post_message(self.Switched())

    def action_compare(self) -> None:
        """The same question at several temperatures."""
        self.post_message(RunCommand("temperatures"))

    def action_close(self) -> None:
        """Let the answer be as it stands, else as before."""
        if self.steps and not self.body.has_focus:
            self.steps = False
        else:
            super().action_close()

    def _say(self, text: str) -> None:
        self.notify(text, timeout=4, markup=False)

    def _fail(self, error: ChattermError) -> None:
        self.notify(str(error), title=error.title, severity="error", markup=False)
