"""What the pages of the models screen ask of it."""

from __future__ import annotations

from pathlib import Path

from textual.message import Message

from chatterm.hub.catalogue import OfferedModel
from chatterm.library import LocalModel


class Chat(Message):
    """The user wants to chat with a model that is here."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path


class OpenRepository(Message):
    """The user wants to see what a repository holds."""

    def __init__(self, repo: str, quantization: str = "") -> None:
        """What to open.

        Args:
            repo: Its name.
            quantization: Where the cursor begins; empty for what suits this machine.
        """
        super().__init__()
        self.repo = repo
        self.quantization = quantization


class ShowDetails(Message):
    """The user wants to know all about a model."""

    def __init__(self, model: LocalModel | OfferedModel) -> None:
        super().__init__()
        self.model = model
