"""How to come to a bigger model: which ones fit, and the command that fetches one."""

from __future__ import annotations

import shutil
import sys
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option


class Recommended(NamedTuple):
    """A model to begin with."""

    repo: str
    needs: str
    """Free memory that it wants."""
    good_for: str


RECOMMENDED = (
    Recommended("Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q4_K_M", "1 GB", "any computer, quick"),
    Recommended("Qwen/Qwen2.5-1.5B-Instruct-GGUF:Q4_K_M", "2 GB", "small laptops"),
    Recommended("Qwen/Qwen2.5-3B-Instruct-GGUF:Q4_K_M", "3 GB", "8 GB laptops, a good start"),
    Recommended("Qwen/Qwen2.5-7B-Instruct-GGUF:Q4_K_M", "6 GB", "16 GB laptops, good answers"),
)


def own_command() -> str:
    """What starts chatterm from a shell here.

    Example: "chatterm" where it is installed, ".venv/bin/chatterm" in a checkout
    """
    started_as = sys.argv[0]
    return "chatterm" if shutil.which("chatterm") or not started_as.endswith("chatterm") else started_as


class GetModel(ModalScreen[str | None]):
    """Gives the command that was chosen to be copied, or None."""

    DEFAULT_CSS = """
    GetModel {
        align: center middle;
        background: $background 60%;
        & > VerticalScroll {
            width: 90%; max-width: 84; height: auto; max-height: 90%; padding: 1 2;
            border: round $primary; border-title-color: $text-primary; border-title-style: bold;
            border-subtitle-color: $text-muted; background: $surface;
        }
        & Static { height: auto; margin-bottom: 1; }
        & OptionList { height: auto; background: $surface; margin-bottom: 1; }
        & OptionList > .option-list--option { padding: 0 1; }
        & OptionList > .option-list--option-highlighted { background: $primary 22%; color: $foreground; text-style: none; }
        & #command { color: $text-accent; margin: 0 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Close", show=False)]

    def __init__(self, choose_key: str) -> None:
        """The recommended models.

        Args:
            choose_key: Opens the model picker, as people read it.
        """
        super().__init__()
        self._choose_key = choose_key

    def compose(self) -> ComposeResult:
        """What to do, the models, the command."""
        with VerticalScroll(can_focus=False) as panel:
            panel.border_title = "Get a bigger model"
            panel.border_subtitle = "↑↓ · enter copies the command · esc"
            yield Static(
                Content.assemble(
                    "Run the command below in another terminal. It fetches the model from the Hugging Face Hub, "
                    "free and without an account. Then ",
                    (self._choose_key, "$text-accent"),
                    " here chooses it.",
                )
            )
            yield OptionList(*map(self._option, RECOMMENDED), compact=True, markup=False)
            yield Static(id="command", markup=False)

    def on_mount(self) -> None:
        """The third fits most computers."""
        self.query_one(OptionList).highlighted = 2
        self.query_one(OptionList).focus()

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Show the command for the model under the cursor."""
        self.query_one("#command", Static).update(self._command(event.option_index))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter or a click takes the command along."""
        self.dismiss(self._command(event.option_index))

    def _command(self, index: int) -> str:
        return f"{own_command()} models pull {RECOMMENDED[index].repo}"

    def _option(self, model: Recommended) -> Option:
        name = model.repo.partition("/")[2].replace("-GGUF", "").replace(":", "  ")
        facts = f"\n  about {model.needs} of free memory · {model.good_for}"
        return Option(Content.assemble((name, "bold"), (facts, "$foreground-muted")))
