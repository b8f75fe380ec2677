"""What a view of the glass box is: what it asks of the source, and what it says of the answer.

No widget is known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec
from textual.content import Content

from chatterm.glass import GlassResult
from chatterm.ui.glass import tokens
from chatterm.ui.glass.aim import Aim, Angle, Room
from chatterm.ui.glass.branches import BranchesSeen
from chatterm.ui.glass.marks import MUTED
from chatterm.ui.glass.source import GlassSource, WindowSeen
from chatterm.ui.glass.tinting import Tint
from chatterm.ui.glass.tokens import Cuts

Seen = GlassResult | Cuts | WindowSeen | BranchesSeen

NOT_HERE = "Not available here"


class Sight:
    """One view; as long as it has seen nothing it says so, and copies the tokens."""

    has_rows: ClassVar = False
    """Whether it is a list to choose from."""
    first_line: ClassVar = 0
    """On which line its rows begin."""
    takes_keys: ClassVar = False
    """Whether the keys go to its rows as soon as there are any."""

    async def look(self, source: GlassSource, aim: Aim) -> Seen | None:
        """Ask for what it shows of a token; None where nothing needs to be asked.

        Raises:
            ChattermError: it cannot be told; says why.
        """
        raise NotImplementedError

    def lines(self, seen: Seen | None, aim: Aim, room: Room) -> list[Content]:  # noqa: ARG002
        """What it says."""
        return [muted("looking …")]

    def n_rows(self, seen: Seen | None, aim: Aim) -> int:  # noqa: ARG002
        """How many rows can be chosen."""
        return 0

    def first_row(self, seen: Seen | None, aim: Aim) -> int:  # noqa: ARG002
        """Where the cursor on its rows begins."""
        return 0

    def text(self, seen: Seen | None, aim: Aim) -> str:  # noqa: ARG002
        """The same as plain text."""
        return tokens.text(aim.tokens)

    def data(self, seen: Seen | None, aim: Aim) -> Any:
        """The same for a program, as what JSON can tell."""
        return tokens.as_json(aim.tokens) if seen is None else seen

    def tints(self, seen: Seen | None, aim: Aim) -> Sequence[float | None] | None:  # noqa: ARG002
        """How it colours the tokens; None leaves that to what was measured."""
        return None

    def first_tint(self, before: Tint) -> Tint:
        """Which colours it begins with, by those that were shown before."""
        return before

    def another_layer(self, seen: Seen | None, aim: Aim, step: int) -> Angle:  # noqa: ARG002
        """At another layer, or after another stage of the sampler; before the first one come all together."""
        return aim.angle

    def another_head(self, seen: Seen | None, aim: Aim, step: int) -> Angle:  # noqa: ARG002
        """At another head; before the first one come all together."""
        return aim.angle

    def verified(self, seen: Seen | None, aim: Aim) -> str:  # noqa: ARG002
        """What was checked of these very numbers just now, and is right; empty where nothing was."""
        return ""

    def legend(self, aim: Aim) -> str:  # noqa: ARG002
        """What its colours say; empty where they are not its own."""
        return ""


def json_of(data: Any) -> str:
    """JSON with line breaks, as a person copies it."""
    return msgspec.json.format(msgspec.json.encode(data)).decode()


def muted(text: str) -> Content:
    """A sentence that explains."""
    return Content.styled(text, MUTED)
