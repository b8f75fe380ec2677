"""The views of the glass box by name: what each is called, what it says in one sentence, and which keys it has."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from chatterm.ui.widgets.key_row import Hint


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
    keys: tuple[Hint, ...] = ()
    """What can be done there."""

    @property
    def short(self) -> str:
        """The title where there is little room."""
        return self.title[:5]

    @property
    def hints(self) -> list[Hint]:
        """What can be done there and everywhere, what matters most first."""
        return [*_FIRST_KEYS, *self.keys, *_LAST_KEYS]


_FIRST_KEYS = (Hint("← →", "token", ""), Hint("esc", "close", "close"))
_LAST_KEYS = (
    Hint("?", "words", "glossary"),
    Hint("g", "tour", "tour"),
    Hint("y", "copy", "copy_text"),
    Hint("Y", "JSON", "copy_json"),
)


BRIEF = {
    ViewName.TOKENS: "What was really sent: text cut into tokens, each only a number.",
    ViewName.NEXT: "How likely each next token was, what sampling made of it, and the draw.",
    ViewName.WINDOW: "All that the model can look back on, until the window is full.",
    ViewName.ATTENTION: "Where this token looks for context. It is no explanation.",
    ViewName.LAYERS: "What it would have said after each layer (raw logit lens).",
    ViewName.VECTORS: "Meaning as numbers: what is used alike lies near each other.",
    ViewName.BRANCHES: "The road not taken: all answers, and where they part.",
}
"""The captions on one line, for small terminals."""


VIEWS = {
    ViewName.TOKENS: View(
        "Tokens",
        "What was really sent: the text is cut into tokens, and each is only a number to the model. "
        "Pale ones were added by the chat template.",
        (Hint("t", "colours", "tint"),),
    ),
    ViewName.NEXT: View(
        "Next",
        "Before each token the model gives every token of its vocabulary a probability; sampling cuts and reshapes "
        "them, then one is drawn.",
        (
            Hint("enter", "another token", "candidates"),
            Hint("space", "step", "step"),
            Hint("s", "reshape", "reshape"),
            Hint("c", "temperatures", "compare"),
            Hint("[ ]", "stage", "layer(1)"),
            Hint("t", "colours", "tint"),
        ),
    ),
    ViewName.WINDOW: View(
        "Context",
        "All that the model can look back on: the whole conversation is read again for each token, until the window is full.",
    ),
    ViewName.ATTENTION: View(
        "Attention",
        "Where this token looks for context: how much each earlier token flows into it. "
        "It says where information may come from, and is no explanation.",
        (
            Hint("[ ]", "layer", "layer(1)"),
            Hint(", .", "head", "head(1)"),
            Hint("f", "first token", "hide_first"),
            Hint("v", "map", "form"),
        ),
    ),
    ViewName.LAYERS: View(
        "Layers",
        "What the model would have said if it had stopped after each layer (the raw logit lens; early layers often make no sense).",
    ),
    ViewName.VECTORS: View(
        "Vectors",
        "A token's meaning as numbers: tokens that are used alike have similar numbers, so they lie near each other.",
        (Hint("v", "words on a plane, one word in two sentences", "form"),),
    ),
    ViewName.BRANCHES: View(
        "Branches",
        "The road not taken: all answers to this question, where they part, and how likely the model found each.",
        (
            Hint("↑ ↓", "answer", ""),
            Hint("enter", "open", "take"),
            Hint("x", "drop", "drop"),
            Hint("u", "bring back", "put_back"),
        ),
    ),
}
