"""The reply that is being written: how fast it comes, and where it is shown, if it is."""

from __future__ import annotations

from typing import Any

from chatterm.conversation import Turn
from chatterm.events import Event, Finished, Prefilling, Token
from chatterm.ui.widgets.status import Speed
from chatterm.ui.widgets.transcript import OpenTurn, Transcript


class LiveReply:
    """Passes the tokens of one reply on to where it is shown; it may be left and shown again."""

    def __init__(self) -> None:
        self.turn: Turn | None = None
        """The reply's row; None before it was begun."""
        self.renumbered = False
        """Whether turns got other ids, since they could not be saved at first."""
        self.n_prompt = 0
        self._speed = Speed()
        self._shown: OpenTurn | None = None

    def open(self, transcript: Transcript, turn: Turn) -> None:
        """Show it in a transcript, beginning with the text that the turn has already."""
        self.turn = turn
        self._shown = transcript.begin(turn)

    def leave(self) -> None:
        """Another conversation is shown now."""
        self._shown = None

    def write(self, token: Token) -> None:
        """One more token; drawn some time soon."""
        self._speed.count()
        if self._shown is not None:
            self._shown.write(token.text, token.reasoning)

    def settle(self, turn: Turn) -> None:
        """Show it as it ended."""
        if self._shown is not None:
            self._shown.settle(turn)
            self._shown = None

    @property
    def measures(self) -> dict[str, Any]:
        """What the status row says of it."""
        return {
            "n_used": self.n_prompt + self._speed.n_tokens,
            "tokens_per_second": self._speed.tokens_per_second,
            "first_token_seconds": self._speed.first_token_seconds,
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
