"""Conversations as data: turns that form a tree, and what is remembered about each answer.

No I/O here. A conversation is a tree because a question can be answered twice and an earlier
question asked differently; what the screen shows and the model reads is one *branch* of it, the
path from a root to a leaf.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec


class Role(StrEnum):
    """Who speaks in a turn."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class TurnState(StrEnum):
    """How far a turn has come. A question is always FINISHED."""

    WRITING = "writing"
    """The model is at it now, in this process or in another one that is alive."""
    FINISHED = "finished"
    STOPPED = "stopped"
    """The user stopped it; the text is what had arrived."""
    FAILED = "failed"
    """The engine failed; `Turn.error` says why, the text is what had arrived."""
    INTERRUPTED = "interrupted"
    """chatterm itself ended while it was being written."""


class ReplyRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an answer was made: enough to make it again, and to compare it with another."""

    model_name: str = ""
    """As shown: the GGUF's own name, or its file name."""
    model_path: str = ""
    model_hash: str = ""
    """`sha256:...` where the file's hash is known from the Hub, else `quick:...` (size, both ends)."""
    model_repo: str = ""
    """`owner/name` on the Hub, where the file came from there."""
    quantization: str = ""
    template: str = ""
    """Which chat template was used: "model", or the stated fallback."""
    system_prompt: str = ""
    sampling: dict[str, Any] = {}
    """All sampling settings in force, by field name of `settings.Sampling`."""
    seed: int = 0
    """The seed that was used, also when it was chosen at random."""
    n_ctx: int = 0
    n_prompt: int = 0
    """Tokens of the prompt, with what was reused."""
    n_reused: int = 0
    """Tokens of the prompt that were already in the KV cache."""
    n_generated: int = 0
    prefill_seconds: float = 0.0
    first_token_seconds: float = 0.0
    """From asking to the first token, with everything in between."""
    decode_seconds: float = 0.0
    reason: str = ""
    """Why it ended: a value of `events.FinishReason`."""
    dropped_turns: tuple[int, ...] = ()
    """Ids of the turns that the model did not see, since the context window was full."""

    @property
    def tokens_per_second(self) -> float:
        """Decode rate; 0 where nothing was measured."""
        return self.n_generated / self.decode_seconds if self.decode_seconds > 0 else 0.0


class Turn(msgspec.Struct, frozen=True):
    """One thing that was said, by the user or by the model."""

    id: int
    conversation_id: int
    parent_id: int | None
    """The turn before it; None at the start of a conversation."""
    role: Role
    text: str
    """What was said so far; grows while the reply streams."""
    reasoning: str = ""
    """What the model thought before it answered, where it says so (`<think>` and its kin)."""
    state: TurnState = TurnState.FINISHED
    error: str = ""
    created_at: float = 0.0
    """Seconds since the epoch, UTC."""
    record: ReplyRecord | None = None
    """How it was made; None for questions."""


class Conversation(msgspec.Struct, frozen=True):
    """A tree of turns and what was chosen for it; the turns themselves are read from the store."""

    id: int
    title: str
    created_at: float
    updated_at: float
    head_id: int | None = None
    """The leaf of the branch that is open; None while nothing was said."""
    overrides: dict[str, Any] = {}
    """Settings for this conversation only, shaped like `settings.Settings`, only what differs."""
    n_turns: int = 0


class UsedIn(msgspec.Struct, frozen=True):
    """A conversation in which a model answered."""

    id: int
    title: str
    n_replies: int
    last_used_at: float
    """Seconds since the epoch, UTC."""


class ModelUse(msgspec.Struct, frozen=True):
    """What a model was used for on this machine so far."""

    n_replies: int = 0
    tokens_per_second: float = 0.0
    """Over all its replies; 0 where nothing was measured."""
    prompt_tokens_per_second: float = 0.0
    """How quickly it read what it had not read before; 0 where nothing was measured."""
    last_used_at: float = 0.0
    """Seconds since the epoch, UTC; 0 for never."""
    conversations: tuple[UsedIn, ...] = ()
    """In which conversations, the latest first."""


def branch(turns: Mapping[int, Turn], leaf: int | None) -> list[Turn]:
    """The turns from the root to a leaf, oldest first.

    Example: turns 1 <- 2 <- 3 and 1 <- 4, leaf 4 -> [1, 4]
    """
    path: list[Turn] = []
    while leaf is not None:
        turn = turns[leaf]
        path.append(turn)
        leaf = turn.parent_id
    return path[::-1]


def siblings(turns: Sequence[Turn], turn: Turn) -> list[Turn]:
    """All answers to the same question (or all wordings of it), oldest first, with the turn itself."""
    return sorted((t for t in turns if t.parent_id == turn.parent_id and t.role == turn.role), key=lambda t: t.id)
