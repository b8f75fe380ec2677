"""Records as rows and rows as records; texts as a database can hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from chatterm.conversation import Conversation, ReplyRecord, Role, Turn, TurnState

CONVERSATION = "id, title, created_at, updated_at, head_id, overrides, n_turns"
"""Columns of `conversation_from`, in order."""
TURN = "id, conversation_id, parent_id, role, text, reasoning, state, error, created_at, record, owner"
"""Columns of `turn_from`, in order; the owner comes last and is not part of a turn."""
TITLE_LENGTH = 60
"""Where a title that was derived is cut, characters."""


def conversation_from(row: tuple[Any, ...]) -> Conversation:
    """A conversation out of a row."""
    number, title, created_at, updated_at, head_id, overrides, n_turns = row
    return Conversation(number, title, created_at, updated_at, head_id, msgspec.json.decode(overrides), n_turns)


def turn_from(row: tuple[Any, ...]) -> Turn:
    """A turn out of a row."""
    number, conversation_id, parent_id, role, text, reasoning, state, error, created_at, record, *_ = row
    return Turn(
        number,
        conversation_id,
        parent_id,
        Role(role),
        text,
        reasoning,
        TurnState(state),
        error,
        created_at,
        msgspec.json.decode(record, type=ReplyRecord) if record else None,
    )


def json_of(value: Any) -> str:
    """A value as JSON, with all texts in it cleaned."""
    return msgspec.json.encode(_all_clean(msgspec.to_builtins(value))).decode()


def clean(text: str) -> str:
    """A text as UTF-8 can hold it: half a surrogate pair becomes a replacement character, a whole one its character."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def title_of(text: str) -> str:
    r"""A title from the first line of a question that says something, cut at a word.

    Example: "  Why is\tthe sky blue?\nI wonder" -> "Why is the sky blue?"
    """
    lines = (one_line(line) for line in text.splitlines())
    line = next(filter(None, lines), "")
    if len(line) <= TITLE_LENGTH:
        return line
    head = line[: TITLE_LENGTH - 1]
    if " " in head[TITLE_LENGTH // 2 :]:
        head = head[: head.rindex(" ")]
    return head.rstrip() + "…"


def one_line(text: str) -> str:
    """A text without control characters and line breaks, single-spaced."""
    return " ".join("".join(c if c.isprintable() else " " for c in clean(text)).split())


def _all_clean(value: Any) -> Any:
    match value:
        case str():
            return clean(value)
        case Mapping():
            return {_all_clean(key): _all_clean(item) for key, item in value.items()}
        case list() | tuple():
            return [_all_clean(item) for item in value]
    return value
