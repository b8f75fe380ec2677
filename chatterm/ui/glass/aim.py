"""What the glass box is aimed at: the tokens, the one under the cursor, and how it is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from chatterm import lens
from chatterm.errors import NotVisible
from chatterm.events import Measured
from chatterm.glass import DriftRequest
from chatterm.settings import Sampling
from chatterm.ui.glass import vectors
from chatterm.ui.glass.shown_token import TokenKind
from chatterm.ui.glass.source import GlassToken


class Angle(NamedTuple):
    """How a token is looked at."""

    form: int = 0
    """Which of its forms a view has: attention as bars or as a map; vectors of one token, of all words, of one word twice."""
    layer: int | None = None
    head: int | None = None
    """None is the mean of all."""
    hides_first: bool = True
    n_stages: int | None = None
    """After how many stages of the sampler the candidates are shown; None for all."""

    @property
    def asked(self) -> tuple[int, int | None, int | None]:
        """What of it the source is asked for; the rest only says how its answer is drawn."""
        return self.form, self.layer, self.head


class Aim(NamedTuple):
    """A token with all others, and what was chosen to see it by."""

    tokens: Sequence[GlassToken]
    place: int
    """Of the token under the cursor; 0 where there are no tokens."""
    angle: Angle
    sampling: Sampling
    """The settings that count, or those that the sliders are at."""
    has_sliders: bool = False
    drawn_at: Sampling | None = None
    """The settings of the answer that the token is part of, as far as they are known."""

    @property
    def own(self) -> Sampling | None:
        """The settings that the token was drawn at; None where they are not known."""
        seen, found = self.measured, self.drawn_at
        return found if seen is not None and found is not None and lens.explains(found, seen) else None

    @property
    def stages_at(self) -> Sampling:
        """The settings at which the stages of the sampler are shown."""
        return self.sampling if self.has_sliders else self.own or self.sampling

    @property
    def is_at_present(self) -> bool:
        """Whether they are shown at the settings that count now, since it is not known which ones counted then."""
        return self.angle.n_stages is not None and not self.has_sliders and self.own is None

    @property
    def tried(self) -> Sampling | None:
        """Settings that the candidates are shown at; None as it was."""
        return self.stages_at if self.has_sliders or self.angle.n_stages is not None else None

    @property
    def token(self) -> GlassToken:
        """The one under the cursor."""
        return self.tokens[self.place]

    @property
    def measured(self) -> Measured | None:
        """What it was drawn from; None where that was not measured, or there is no token."""
        return self.token.measured if self.place < len(self.tokens) else None

    @property
    def pieces(self) -> list[bytes]:
        """The bytes of all tokens."""
        return [token.piece for token in self.tokens]

    def ids(self) -> tuple[int, ...]:
        """The tokens as numbers.

        Raises:
            NotVisible: one is not known.
        """
        ids = tuple(token.id for token in self.tokens if token.id is not None)
        if len(ids) < len(self.tokens):
            raise NotVisible("A server does not tell the tokens' numbers.", "Choose a model on this machine.")
        return ids

    def said(self) -> str:
        """The text of the message that the token is part of, before it and after it."""
        part, start, end = self.token.part, self.place, self.place + 1
        while start and self.tokens[start - 1].part == part:
            start -= 1
        while end < len(self.tokens) and self.tokens[end].part == part:
            end += 1
        return b"".join(self.pieces[start:end]).decode("utf-8", "replace")

    def messages(self) -> list[tuple[str, int]]:
        """The messages up to the token, what stands around them too: what each is, and behind which token it ends."""
        found: list[tuple[str, int]] = []
        for end, token in enumerate(self.tokens[: self.place + 1], start=1):
            part = token.part or token.kind.value
            if found and found[-1][0] == part:
                found.pop()
            found.append((part, end))
        return found

    def drift(self) -> DriftRequest:
        """The word under the cursor in two sentences of the conversation, or an example."""
        said = b"".join(token.piece for token in self.tokens if token.kind in (TokenKind.SAID, TokenKind.DRAWN))
        word = self.token.piece.decode("utf-8", "replace").strip()
        return vectors.two_sentences(word if word.isalpha() else "", said.decode("utf-8", "replace"))


class Room(NamedTuple):
    """What there is to draw on."""

    width: int
    height: int
    row: int | None = None
    """Which row is marked; None where none is."""
    n_rows: int = 0
    """Rows that can be chosen."""


def stepped(value: int | None, step: int, values: Sequence[int]) -> int | None:
    """The value some steps on in a ring that begins with None."""
    ring = [None, *values]
    return ring[(ring.index(value if value in values else None) + step) % len(ring)]
