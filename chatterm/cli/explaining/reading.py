"""A text as the model reads it: which of its tokens are text, which of those are words, and which tell most.

Pure; asks no engine. Tokens are counted from 0 here, as engines count them.
"""

from __future__ import annotations

import re

import msgspec

from chatterm.cli.explaining.explanation import TokenRow, shown
from chatterm.engine.base import Prompt, PromptPiece

_MOST_WORDS = 5
_MOST_COMPARED = 8
_LEAST_LETTERS = 3
_TEMPLATE, _TEXT, _SPECIAL = "template", "text", "special"


class Reading(msgspec.Struct, frozen=True):
    """A prompt and its tokens."""

    prompt: Prompt
    pieces: tuple[PromptPiece, ...] = ()
    """Empty where a server does not tell."""

    @property
    def ids(self) -> tuple[int, ...]:
        """The tokens' numbers in the vocabulary."""
        return tuple(piece.id for piece in self.pieces)

    def rows(self) -> tuple[TokenRow, ...]:
        """The tokens as they are shown."""
        return tuple(
            TokenRow(number, shown(piece.id, piece.piece), self._kind(piece))
            for number, piece in enumerate(self.pieces, start=1)
        )

    def places_of_words(self) -> list[int]:
        """Where tokens stand that mean something."""
        return [place for place, piece in enumerate(self.pieces) if self._is_word(piece)]

    def telling(self) -> list[PromptPiece]:
        """Some tokens whose neighbours tell something: the longest words, each once; any text where there is none."""
        said = [piece for piece in self.pieces if self._kind(piece) == _TEXT]
        words = [piece for piece in said if self._is_word(piece)]
        unique = {piece.id: piece for piece in words or said}
        return sorted(unique.values(), key=lambda piece: -len(piece.piece))[:_MOST_WORDS]

    def words(self) -> tuple[str, ...]:
        """Some words of the text, each once, without the shortest where there are many."""
        text = self.prompt.raw if self.prompt.raw is not None else "".join(turn.text for turn in self.prompt.turns[-1:])
        words = dict.fromkeys(re.findall(r"[^\W\d_]+", text))
        longest = sorted(words, key=len, reverse=True)[:_MOST_COMPARED]
        return tuple(word for word in words if word in longest)

    def _kind(self, piece: PromptPiece) -> str:
        if piece.is_special:
            return _SPECIAL
        return _TEXT if piece.turn is not None or self.prompt.raw is not None else _TEMPLATE

    def _is_word(self, piece: PromptPiece) -> bool:
        """Whether a token is of the text, and long enough to mean something."""
        letters = re.findall(r"\w", piece.piece.decode("utf-8", "ignore"))
        return self._kind(piece) == _TEXT and len(letters) >= _LEAST_LETTERS
