"""What is said in words: what to do first in the empty conversation, and notices that name the key that helps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual.content import Content
from textual.markup import escape

from chatterm.events import ModelInfo
from chatterm.text import line
from chatterm.ui.commands import key_of
from chatterm.ui.screens.state import State


def no_model_hint(names: Sequence[str], keymap: Mapping[str, str]) -> Content:
    """How to come to a model, with those that are here already."""
    if names:
        shown = "\n".join(f"  {line(name)}" for name in names[:8])
        more = f"\n  … and {len(names) - 8} more" if len(names) > 8 else ""
        return Content.assemble(
            ("Which model shall answer?\n\n", "bold"),
            ("On this machine:\n", "$foreground 60%"),
            f"{shown}{more}\n\n",
            (key_of("choose_model", keymap), "$text-accent"),
            " chooses one",
        )
    return Content.assemble(
        ("Welcome to chatterm\n\n", "bold"),
        "There is no model on this machine yet. Ways to one:\n\n",
        (key_of("models", keymap), "$text-accent"),
        "  models: find one on the Hugging Face Hub, and download it\n",
        (key_of("settings", keymap), "$text-accent"),
        "  settings: choose a file, or name a folder of GGUF files\n",
        ("chatterm --model FILE.gguf", "$text-accent"),
        "  opens a file that you have",
    )


def tutor_hint(others: int, keymap: Mapping[str, str]) -> Content:
    """The tutor answers, and nothing was said yet.

    Args:
        others: How many other models are here.
        keymap: The user's own keys.
    """
    bigger = (
        Content.assemble(
            (f"{others} other {'model is' if others == 1 else 'models are'} here: ", "$foreground 60%"),
            (key_of("choose_model", keymap), "$text-accent"), (" chooses one", "$foreground 60%"),
        )
        if others
        else Content.assemble(
            ("For everything else: ", "$foreground 60%"),
            (key_of("models", keymap), "$text-accent"), (" gets a bigger model", "$foreground 60%"),
        )
    )  # fmt: skip
    return Content.assemble(
        ("Welcome to chatterm\n\n", "bold"),
        "The tutor is ready: a tiny model, built in,\nthat explains how language models work.\n\n",
        bigger,
    )


def hello_hint(model: ModelInfo, keymap: Mapping[str, str]) -> Content:
    """A model is there, and nothing was said yet."""
    where = (
        Content.assemble(("What you write is sent to ", "$foreground 60%"), (model.host, "$text-warning"), "\n\n")
        if model.is_elsewhere
        else Content.styled("All of it stays on this machine.\n\n", "$foreground 60%")
    )
    return Content.assemble(
        (f"{model.name}\n\n", "bold"),
        ("Ask something below. ", "$foreground 60%"),
        where,
        (key_of("send", keymap), "$text-accent"), (" sends   ", "$foreground 60%"),
        (key_of("newline", keymap), "$text-accent"), (" new line   ", "$foreground 60%"),
        (key_of("help", keymap), "$text-accent"), (" all keys", "$foreground 60%"),
    )  # fmt: skip


def placeholder(state: State, keymap: Mapping[str, str]) -> str:
    """What can be done in the empty prompt."""
    if state.busy:
        return f"Type on; {key_of('send', keymap)} puts it in the queue"
    if state.can_reload and not state.has_model:
        return f"Start the model again first: {key_of('reload_model', keymap)}"
    if state.is_open and not state.has_model:
        return f"Choose a model first: {key_of('choose_model', keymap)}"
    return "Ask something"


def trimmed_notice(n: int) -> dict[str, Any]:
    """The model will not see so many turns; said before it answers without them."""
    return {
        "message": f"The model no longer sees the first {n} {'turn' if n == 1 else 'turns'}, "
        "which are dimmed in the conversation. All of them stay saved.",
        "title": "The context window is full",
        "severity": "warning",
        "timeout": 8,
    }


def interrupted_notice(keymap: Mapping[str, str]) -> dict[str, Any]:
    """The last reply has no end."""
    return {
        "message": f"chatterm ended while it was written; {key_of('resume', keymap)} goes on with it.",
        "title": "The last reply was interrupted",
        "severity": "warning",
        "timeout": 8,
    }


def queued_model_notice(model: str, keymap: Mapping[str, str]) -> dict[str, Any]:
    """A model was chosen while another one writes."""
    return {
        "message": f"It is loaded when the reply has ended; {key_of('stop', keymap)} stops the reply and loads it now.",
        "title": f"Next: {model}",
        "timeout": 6,
        "markup": False,
    }


def deleted_notice(title: str, keymap: Mapping[str, str]) -> dict[str, Any]:
    """How a conversation can be brought back."""
    return {
        "message": f"{key_of('undo_delete', keymap)} or [@click=screen.undo_delete]click here[/] to undo",
        "title": f"Deleted “{escape(title or 'Untitled')}”",
        "timeout": 10,
    }
