"""The views of the glass box by name: what each is called, and what you are looking at there."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class ViewName(StrEnum):
    """Which view."""

    TOKENS = "tokens"
    NEXT = "next"
    WINDOW = "window"
    ATTENTION = "attention"
    LAYERS = "layers"
    VECTORS = "vectors"
    BRANCHES = "branches"


class View(NamedTuple):
    """What is said of a view."""

    title: str
    caption: str
    """What you are looking at."""
    brief: str
    """The same on one line, for small terminals."""

    @property
    def short(self) -> str:
        """The title where there is little room."""
        return self.title[:5]


VIEWS = {
    ViewName.TOKENS: View(
        "Tokens",
        "What was really sent: the text is cut into tokens, and each is only a number to the model. "
        "Pale ones were added by the chat template.",
        "What was really sent: text cut into tokens, each only a number.",
    ),
    ViewName.NEXT: View(
        "Next",
        "Before each token the model gives every token of its vocabulary a probability; sampling cuts and reshapes "
        "them, then one is drawn.",
        "How likely each next token was, what sampling made of it, and the draw.",
    ),
    ViewName.WINDOW: View(
        "Context",
        "All that the model can look back on: the whole conversation is read again for each token, until the window is full.",
        "All that the model can look back on, until the window is full.",
    ),
    ViewName.ATTENTION: View(
        "Attention",
        "Where this token looks for context: how much each earlier token flows into it. "
        "It says where information may come from, and is no explanation.",
        "Where this token looks for context. It is no explanation.",
    ),
    ViewName.LAYERS: View(
        "Layers",
        "What the model would have said if it had stopped after each layer (the raw logit lens; early layers often make no sense).",
        "What it would have said after each layer (raw logit lens).",
    ),
    ViewName.VECTORS: View(
        "Vectors",
        "A token's meaning as numbers: tokens that are used alike have similar numbers, so they lie near each other.",
        "Meaning as numbers: what is used alike lies near each other.",
    ),
    ViewName.BRANCHES: View(
        "Branches",
        "The road not taken: all answers to this question, where they part, and how likely the model found each.",
        "The road not taken: all answers, and where they part.",
    ),
}
