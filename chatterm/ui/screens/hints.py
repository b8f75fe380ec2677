"""What the empty conversation says: what to do first, and never a dead end."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content


def no_model_hint(names: Sequence[str]) -> Content:
    """How to come to a model, with those that are here already."""
    if names:
        shown = "\n".join(f"  {name}" for name in names[:8])
        more = f"\n  … and {len(names) - 8} more" if len(names) > 8 else ""
        return Content.assemble(
            ("Which model shall answer?\n\n", "bold"),
            ("On this machine:\n", "$text-muted"),
            f"{shown}{more}\n\n",
            ("ctrl+l", "$text-accent"),
            " chooses one",
        )
    return Content.assemble(
        ("Welcome to chatterm\n\n", "bold"),
        "There is no model on this machine yet. Ways to one:\n\n",
        ("chatterm models pull OWNER/NAME", "$text-accent"),
        "   fetches one from the Hugging Face Hub\n",
        ("chatterm --model FILE.gguf", "$text-accent"),
        "        opens a file that you have\n",
        ("F2", "$text-accent"),
        "  settings: choose a file, or name a folder of GGUF files",
    )


def hello_hint(model: str) -> Content:
    """A model is there, and nothing was said yet."""
    return Content.assemble(
        (f"{model}\n\n", "bold"),
        ("Ask something below. All of it stays on this machine.\n\n", "$text-muted"),
        ("enter", "$text-accent"), (" sends   ", "$text-muted"),
        ("ctrl+j", "$text-accent"), (" new line   ", "$text-muted"),
        ("F1", "$text-accent"), (" all keys", "$text-muted"),
    )  # fmt: skip
