"""What a model was used for, as a question to the tables: how quick it was, and in which conversations.

It is read out of the records that every reply keeps, so nothing is counted that was not measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatterm.conversation import ModelUse, UsedIn
from chatterm.store.rows import clean

if TYPE_CHECKING:
    from sqlite3 import Connection

_BY_MODEL = """
    FROM turns JOIN conversations ON conversations.id = turns.conversation_id
    WHERE turns.role = 'assistant' AND turns.record IS NOT NULL AND conversations.deleted_at IS NULL
    AND (json_extract(turns.record, '$.model_path') = :path
         OR (:hash <> '' AND json_extract(turns.record, '$.model_hash') = :hash))
"""

_MEASURES = f"""
    SELECT count(*),
        coalesce(sum(json_extract(turns.record, '$.n_generated')), 0),
        coalesce(sum(json_extract(turns.record, '$.decode_seconds')), 0),
        coalesce(sum(json_extract(turns.record, '$.n_prompt') - coalesce(json_extract(turns.record, '$.n_reused'), 0)), 0),
        coalesce(sum(json_extract(turns.record, '$.prefill_seconds')), 0),
        coalesce(max(turns.created_at), 0)
    {_BY_MODEL}
"""

_CONVERSATIONS = f"""
    SELECT conversations.id, conversations.title, count(*), max(turns.created_at)
    {_BY_MODEL}
    GROUP BY conversations.id ORDER BY max(turns.created_at) DESC, conversations.id DESC LIMIT :limit
"""


def of_model(connection: Connection, path: str, hash: str, limit: int) -> ModelUse:
    """What a model's file was used for; the same file under another path is known by its hash."""
    values = {"path": clean(path), "hash": hash, "limit": limit}
    n_replies, n_generated, decode_seconds, n_read, prefill_seconds, last = connection.execute(
        _MEASURES, values
    ).fetchone()
    return ModelUse(
        n_replies=n_replies,
        tokens_per_second=n_generated / decode_seconds if decode_seconds > 0 else 0.0,
        prompt_tokens_per_second=n_read / prefill_seconds if prefill_seconds > 0 else 0.0,
        last_used_at=last,
        conversations=tuple(UsedIn(*row) for row in connection.execute(_CONVERSATIONS, values)),
    )
