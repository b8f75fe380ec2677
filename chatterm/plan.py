"""How an answer comes to be: the branch is brought to the place where it is written, and it is said what it begins with.

Nothing is answered here; no engine is known.
"""

from __future__ import annotations

from typing import NamedTuple

from chatterm.conversation import Role, Turn, TurnState
from chatterm.errors import NotFound
from chatterm.events import FinishReason
from chatterm.settings import Sampling
from chatterm.store import Journal


class Beginning(NamedTuple):
    """What an answer shall begin with, and how it goes on."""

    token_ids: tuple[int, ...] = ()
    sampling: Sampling | None = None
    """Instead of the settings that count; its seed draws what it would have drawn there."""
    n_tokens: int | None = None
    """How many tokens are drawn behind them, so that the answer then waits; None goes on to its end."""


class Plan(NamedTuple):
    """How an answer comes to be at the end of a branch."""

    asked: Turn | None = None
    """The question, where it is a new one."""
    resumed: Turn | None = None
    """What was cut, and is grown further."""
    rewritten: Turn | None = None
    """What it takes the place of, as soon as what it begins with was told."""
    beginning: Beginning | None = None


async def ask(journal: Journal, text: str) -> Plan:
    """Put a question at the end of the branch, to be answered."""
    return Plan(asked=await journal.ask(text))


async def answer_again(journal: Journal) -> Plan:
    """Go back to the last question, to be answered once more.

    Raises:
        NotFound: nothing was asked yet.
    """
    places = [place for place, turn in enumerate(journal.turns) if turn.role is Role.USER]
    if not places:
        raise NotFound("Nothing was asked yet.")
    await journal.rewind(places[-1] + 1)
    return Plan()


async def go_on(journal: Journal) -> Plan:
    """Take up the last reply where it was cut.

    Raises:
        NotFound: there is no reply that was cut.
    """
    if not journal.turns or not was_cut(journal.turns[-1]):
        raise NotFound("There is no reply that was cut.")
    return Plan(resumed=journal.turns[-1])


async def branch_off(journal: Journal, question_id: int, beginning: Beginning) -> Plan:
    """Go back to a question of the branch, to be answered from given tokens on.

    Raises:
        NotFound: the question is not in the branch.
    """
    place = next((place for place, turn in enumerate(journal.turns) if turn.id == question_id), None)
    if place is None:
        raise NotFound("The question is not in the open conversation.")
    await journal.rewind(place + 1)
    return Plan(beginning=beginning)


async def write_anew(journal: Journal, beginning: Beginning) -> Plan:
    """Let the last answer go on from other tokens, in the same turn.

    Raises:
        NotFound: nothing was answered yet.
    """
    if not journal.turns or journal.turns[-1].role is not Role.ASSISTANT:
        raise NotFound("There is no answer yet.")
    return Plan(rewritten=journal.turns[-1], beginning=beginning)


def was_cut(turn: Turn) -> bool:
    """Whether a reply ended before the model was done."""
    if turn.role is not Role.ASSISTANT:
        return False
    if turn.state is TurnState.FINISHED:
        return turn.record is not None and turn.record.reason == FinishReason.LENGTH
    return turn.state is not TurnState.WRITING
