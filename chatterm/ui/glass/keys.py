"""The keys of the glass box: what each does, and which of them are named below a view.

The actions are those of the panel, and of what is built on it.
"""

from __future__ import annotations

from textual.binding import Binding, BindingType

from chatterm.ui.glass.views import VIEWS, ViewName
from chatterm.ui.widgets.key_row import Hint

KEYS: list[BindingType] = [
    *(Binding(str(i), f"view('{name.value}')", view.title, show=False) for i, (name, view) in enumerate(VIEWS.items(), start=1)),
    Binding("t", "tint", "Colours", show=False),
    Binding("right_square_bracket", "layer(1)", "Next layer", show=False),
    Binding("left_square_bracket", "layer(-1)", "Layer before", show=False),
    Binding("full_stop", "head(1)", "Next head", show=False),
    Binding("comma", "head(-1)", "Head before", show=False),
    Binding("f", "hide_first", "First token", show=False),
    Binding("v", "form", "Another form", show=False),
    Binding("pageup", "scroll_view(-1)", "Scroll up", show=False),
    Binding("pagedown", "scroll_view(1)", "Scroll down", show=False),
    Binding("s", "reshape", "Reshape", show=False),
    Binding("y", "copy_text", "Copy as text", show=False),
    Binding("Y,shift+y", "copy_json", "Copy as JSON", show=False),
    Binding("question_mark", "glossary", "What the words mean", show=False),
    Binding("g", "tour", "Tour", show=False),
    Binding("n", "station(1)", "Next station", show=False),
    Binding("p", "station(-1)", "Station before", show=False),
    Binding("tab", "leave", "To the prompt", show=False, priority=True),
    Binding("escape,q", "close", "Close", show=False),
]  # fmt: skip

_FIRST = (Hint("← →", "token", ""), Hint("esc", "close", "close"))
_LAST = (
    Hint("?", "words", "glossary"),
    Hint("g", "tour", "tour"),
    Hint("y", "copy", "copy_text"),
    Hint("Y", "JSON", "copy_json"),
)
_OF_VIEW: dict[ViewName, tuple[Hint, ...]] = {
    ViewName.TOKENS: (Hint("t", "colours", "tint"),),
    ViewName.NEXT: (
        Hint("enter", "another token", "candidates"),
        Hint("space", "step", "step"),
        Hint("s", "reshape", "reshape"),
        Hint("c", "temperatures", "compare"),
        Hint("[ ]", "stage", "layer(1)"),
        Hint("t", "colours", "tint"),
    ),
    ViewName.ATTENTION: (
        Hint("[ ]", "layer", "layer(1)"),
        Hint(", .", "head", "head(1)"),
        Hint("f", "first token", "hide_first"),
        Hint("v", "map", "form"),
    ),
    ViewName.VECTORS: (Hint("v", "words on a plane, one word in two sentences", "form"),),
    ViewName.BRANCHES: (
        Hint("↑ ↓", "answer", ""),
        Hint("enter", "open", "take"),
        Hint("x", "drop", "drop"),
        Hint("u", "bring back", "put_back"),
    ),
}
"""What can be done in one view only."""


def hints(view: ViewName) -> list[Hint]:
    """The keys that are named below a view, what matters most first."""
    return [*_FIRST, *_OF_VIEW.get(view, ()), *_LAST]
