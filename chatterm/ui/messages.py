"""What several widgets say upwards: a wish for a command, whichever widget it was clicked in."""

from __future__ import annotations

from textual.message import Message


class RunCommand(Message):
    """The user clicked on something that stands for a command (`commands.COMMANDS`)."""

    def __init__(self, action: str) -> None:
        super().__init__()
        self.action = action
