"""The built-in model: where its file is, what it is called, and what one may ask it first.

How it was made is told in `MODEL_CARD.md` beside it. Nothing here is loaded before it is needed.
"""

from __future__ import annotations

from pathlib import Path

from chatterm.address import Address
from chatterm.text import line

NAME = "Tutor (built in)"
"""What people read in lists of models."""
SHORT_NAME = "tutor"
"""What it is called on the command line, in the settings and in memory, wherever the package lies."""

FILE = Path(__file__).parent / "tutor-q8_0.gguf"

QUESTIONS = (
    "What is a token?",
    "How does a language model write an answer?",
    "What does temperature do?",
    "Why do models make things up?",
)
"""Good first questions, shown in an empty conversation."""


TEMPERATURE = 0.2
"""At which it is asked where nobody has set another: being tiny, it misunderstands more when it is bold."""


def is_tutor(address: str | Address | None) -> bool:
    """Whether this is the built-in model's file, also that of another installation.

    Example: Path("/old/venv/chatterm/tutor/tutor-q8_0.gguf") -> True
    """
    return isinstance(address, str | Path) and Path(address).parts[-2:] == FILE.parts[-2:]


def name_of(address: Address) -> str:
    """What people call a model before it is loaded, fit to be shown.

    Example: Path("qwen-q8_0.gguf") -> "qwen-q8_0"; the tutor's file -> "Tutor (built in)"
    """
    if is_tutor(address):
        return NAME
    return line(address.stem if isinstance(address, Path) else str(address))
