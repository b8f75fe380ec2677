"""The reply that is being written: what becomes of each of its events on the screen.

It knows the transcript and the status row, and neither where the events come from nor how they end.
"""

from __future__ import annotations

from typing import Any

from chatterm.chat import Chat, ChatEvent, TurnAdded, TurnSettled
from chatterm.conversation import ReplyRecord, Role, Turn
from chatterm.events import Event, Finished, Prefilling, Prompted, Token, Trimmed
from chatterm.ui.widgets.status import Speed, Status, activity_of
from chatterm.ui.widgets.transcript import OpenTurn, Transcript


class LiveReply:
    """Shows one reply while it arrives; its conversation may be left and shown again meanwhile."""

    def __init__(self, chat: Chat, transcript: Transcript, status: Status) -> None:
        self.turn: Turn | None = None
        """The reply's row, as it was begun or settled; None before."""
        self._chat = chat
        self._transcript = transcript
        self._status = status
        self._speed = Speed()
        self._n_before = 0  # tokens in the window besides those that were counted
        self._shown: OpenTurn | None = None

    def take(self, event: ChatEvent) -> None:
        """Show what happened; text is drawn some time soon."""
        match event:
            case Token():
                self._speed.count()
                if self._shown is not None:
                    self._shown.write(event.text, event.reasoning)
                self._status.tell(activity=activity_of(event), **self._measures)
            case TurnAdded(turn=turn) if turn.role is Role.ASSISTANT:
                self.turn = turn
                self.show()
            case TurnAdded(turn=turn) if self._chat.is_written_here:
                self._transcript.append(turn)
            case TurnSettled(turn=turn):
                self.settle(turn)
            case Trimmed():
                self._n_before = event.n_after - self._speed.n_tokens
                self._transcript.unseen = self._chat.unseen
            case Prompted():
                self._n_before = event.n_prompt
            case Prefilling() | Finished():
                self._status.tell(activity=activity_of(event), **measures_of(event))
            case _:
                pass

    def show(self) -> None:
        """Show it in the transcript, if its conversation is the open one, from the text that it has already."""
        if self.turn is not None and self._chat.is_written_here:
            self._shown = self._transcript.begin(self._chat.turns[-1] if self._speed.n_tokens else self.turn)

    def leave(self) -> None:
        """Another conversation is shown now."""
        self._shown = None

    def settle(self, turn: Turn) -> None:
        """Show it as it ended."""
        self.turn = turn
        if self._shown is not None:
            self._shown.settle(turn)
            self._shown = None

    @property
    def _measures(self) -> dict[str, Any]:
        """What the status row says of it."""
        return {
            "n_used": self._n_before + self._speed.n_tokens,
            "tokens_per_second": self._speed.tokens_per_second,
            "first_token_seconds": self._speed.first_token_seconds,
        }


def measures_of_record(record: ReplyRecord) -> dict[str, Any]:
    """What the status row says of a reply that was saved."""
    return {
        "n_used": record.n_prompt + record.n_generated,
        "tokens_per_second": record.tokens_per_second,
        "first_token_seconds": record.first_token_seconds,
    }


def measures_of(event: Event) -> dict[str, Any]:
    """What the status row says after an event that carries measures of its own."""
    match event:
        case Prefilling(n_done=n_done):
            return {"n_used": n_done}
        case Finished():
            rate = event.n_generated / event.decode_seconds if event.decode_seconds > 0 else 0.0
            return {
                "n_used": event.n_used or event.n_prompt + event.n_generated,
                "tokens_per_second": rate,
                "first_token_seconds": event.first_token_seconds,
            }
        case _:
            return {}
