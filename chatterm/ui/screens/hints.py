"""What the empty conversation says: what to do first, and never a dead end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual.content import Content

from chatterm.ui.commands import key_of


def no_model_hint(names: Sequence[str], keymap: Mapping[str, str]) -> Content:
    """How to come to a model, with those that are here already."""
    if names:
        shown = "\n".join(f"  {name}" for name in names[:8])
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
        ("chatterm models pull OWNER/NAME", "$text-accent"),
        "   fetches one from the Hugging Face Hub\n",
        ("chatterm --model FILE.gguf", "$text-accent"),
        "        opens a file that you have\n",
        (key_of("settings", keymap), "$text-accent"),
        "  settings: choose a file, or name a folder of GGUF files",
    )


def hello_hint(model: str, keymap: Mapping[str, str]) -> Content:
    """A model is there, and nothing was said yet."""
    return Content.assemble(
        (f"{model}\n\n", "bold"),
        ("Ask something below. All of it stays on this machine.\n\n", "$foreground 60%"),
        (key_of("send", keymap), "$text-accent"), (" sends   ", "$foreground 60%"),
        (key_of("newline", keymap), "$text-accent"), (" new line   ", "$foreground 60%"),
        (key_of("help", keymap), "$text-accent"), (" all keys", "$foreground 60%"),
    )  # fmt: skip
