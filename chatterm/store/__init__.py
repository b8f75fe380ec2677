"""What remembers: conversations in one SQLite file, and nothing about engines or screens."""

from chatterm.store.journal import Journal
from chatterm.store.store import Store

__all__ = ["Journal", "Store"]
