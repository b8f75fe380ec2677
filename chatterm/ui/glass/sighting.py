"""What a view has seen: of which text, or why it could not.

It asks the source, and drops the answer when the text is another one. When to look, and where what is
said of it stands, the panel knows.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from chatterm.errors import ChattermError
from chatterm.text import plain
from chatterm.ui.glass import tokens
from chatterm.ui.glass.aim import Aim, Room
from chatterm.ui.glass.sight import NOT_HERE, Seen, Sight, json_of
from chatterm.ui.glass.source import GlassSource, GlassToken
from chatterm.ui.glass.tinting import Tint, tints


class Sighting:
    """What one view saw when it looked last; nothing yet at first."""

    def __init__(self, sight: Sight) -> None:
        self.sight = sight
        self.seen: Seen | None = None
        """None where nothing was looked for, too: what was measured while sampling is there already."""
        self.why_not = ""
        """Why the view cannot say anything of this token."""
        self._seen_in: list[bytes] = []
        """The tokens up to the one for which that was looked for."""

    async def look(self, source: GlassSource, aim: Aim) -> None:
        """Ask the source for what the view shows of a token; where it fails, keep the reason."""
        before = aim.pieces[: aim.place + 1]
        try:
            self.seen, self.why_not = await self.sight.look(source, aim), ""
        except ChattermError as error:
            self.seen, self.why_not = None, f"{NOT_HERE}, because: {plain(str(error))}"
        self._seen_in = before

    def forget_another_text(self, tokens: Sequence[GlassToken]) -> None:
        """Drop what was seen, unless the text still begins with what it was seen in."""
        if [token.piece for token in tokens[: len(self._seen_in)]] != self._seen_in:
            self.seen, self.why_not, self._seen_in = None, "", []

    def n_rows(self, aim: Aim) -> int:
        """How many rows can be chosen."""
        return 0 if self.why_not else self.sight.n_rows(self.seen, aim)

    def lines(self, aim: Aim, room: Room) -> list[Content]:
        """What the view says, and what was checked of it; or why it says nothing."""
        if self.why_not:
            return [Content.styled(self.why_not, "$text-warning")]
        lines, verified = self.sight.lines(self.seen, aim, room), self.sight.verified(self.seen, aim)
        return [*lines, Content.styled(f"✓ verified: {verified}", "$text-success")] if verified else lines

    def tints(self, aim: Aim, tint: Tint) -> Sequence[float | None] | None:
        """How the tokens are coloured: by the view, else by what was measured; None shows where each begins."""
        own = self.sight.tints(self.seen, aim)
        return own if own is not None else tints([token.measured for token in aim.tokens], tint)

    def legend(self, aim: Aim, tint: Tint) -> str:
        """What the colours say."""
        return self.sight.legend(aim) or tokens.legend(aim.tokens, tint)

    def text(self, aim: Aim) -> str:
        """What the view shows as plain text."""
        return self.sight.text(self.seen, aim)

    def json(self, aim: Aim) -> str:
        """What the view shows as JSON."""
        return json_of(self.sight.data(self.seen, aim))
