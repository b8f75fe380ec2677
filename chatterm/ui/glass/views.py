"""The views of the glass box by name: what each is called, what it says in one sentence, and which keys it has."""

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
    keys: tuple[tuple[str, str, str], ...] = ()
    """Key, word and action of what can be done there."""


VIEWS = {
    ViewName.TOKENS: View(
        "Tokens",
        "What was really sent: the text is cut into tokens, and each is only a number to the model. "
        "Pale ones were added by the chat template.",
        (("t", "colours", "tint"),),
    ),
    ViewName.NEXT: View(
        "Next",
        "Before each token the model gives every token of its vocabulary a probability; sampling cuts and reshapes "
        "them, then one is drawn.",
        (
            ("enter", "another token", "candidates"),
            ("space", "step", "step"),
            ("s", "reshape", "reshape"),
            ("c", "temperatures", "compare"),
            ("[ ]", "stage", "layer(1)"),
            ("t", "colours", "tint"),
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
            ("[ ]", "layer", "layer(1)"),
            (", .", "head", "head(1)"),
            ("f", "first token", "hide_first"),
            ("v", "map", "form"),
        ),
    ),
    ViewName.LAYERS: View(
        "Layers",
        "What the model would have said if it had stopped after each layer (the raw logit lens; early layers often make no sense).",
    ),
    ViewName.VECTORS: View(
        "Vectors",
        "A token's meaning as numbers: tokens that are used alike have similar numbers, so they lie near each other.",
        (("v", "words on a plane, one word in two sentences", "form"),),
    ),
    ViewName.BRANCHES: View(
        "Branches",
        "The road not taken: all answers to this question, where they part, and how likely the model found each.",
        (("↑ ↓", "answer", ""), ("enter", "open", "take"), ("x", "drop", "drop"), ("u", "bring back", "put_back")),
    ),
}
