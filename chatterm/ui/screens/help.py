"""The help page: every command with its key, from the same table as the keys themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from chatterm.ui.commands import COMMANDS, keys_of, shown

GROUPS = ("Writing", "Chat", "Conversations", "In the list", "Model", "chatterm")
KEY_CELLS = 30


class HelpScreen(ModalScreen[None]):
    """All keys, in groups."""

    DEFAULT_CSS = """
    HelpScreen {
        align: center middle;
        & > VerticalScroll {
            width: 96;
            max-width: 96%;
            height: auto;
            max-height: 92%;
            padding: 0 2 1 2;
            border: round $border;
            background: $surface;
            scrollbar-size-vertical: 1;
        }
        & .help--group { height: auto; margin-top: 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f1,q", "dismiss", "Close")]

    def __init__(self, keymap: Mapping[str, str], extra: Iterable[BindingType] = (), settings_file: str = "") -> None:
        """All keys.

        Args:
            keymap: The user's own keys.
            extra: Keys of the conversation itself, which its widget knows.
            settings_file: Where keys of one's own are written.
        """
        super().__init__()
        self._keymap = keymap
        self._extra = [b for b in extra if isinstance(b, Binding) and b.description]
        self._settings_file = settings_file

    def compose(self) -> ComposeResult:
        """A text for each group."""
        with VerticalScroll() as box:
            box.border_title = "Keys"
            box.border_subtitle = "escape closes"
            for group in GROUPS:
                yield Static(self._group(group), classes="help--group")
                if group == "Chat" and self._extra:
                    yield Static(self._conversation(), classes="help--group")
            yield Static(self._own_keys(), classes="help--group")

    def _group(self, group: str) -> Content:
        rows = [Content.styled(group, "bold $text-accent")]
        rows += [
            self._row(", ".join(keys_of(command, self._keymap)) or "in the palette", command.help)
            for command in COMMANDS
            if command.group == group
        ]
        return Content("\n").join(rows)

    def _conversation(self) -> Content:
        rows = [Content.styled("In the conversation", "bold $text-accent")]
        for text, same in groupby(self._extra, key=lambda binding: binding.tooltip or binding.description):
            keys = [shown(key) for binding in same for key in binding.key.split(",")]
            rows.append(self._row(", ".join(keys), text))
        return Content("\n").join(rows)

    def _row(self, keys: str, text: str) -> Content:
        key = Content.styled(keys.replace("⏎", "enter"), "$text-primary")
        return Content.assemble("  ", key.pad_right(max(1, KEY_CELLS - key.cell_length)), text)

    def _own_keys(self) -> Content:
        names = ", ".join(command.id for command in COMMANDS)
        return Content.assemble(
            ("Keys of your own", "bold $text-accent"),
            f'\n  In {self._settings_file or "settings.toml"}, below a line [keys], such as: regenerate = "ctrl+g"\n  ',
            ("Actions: " + names, "$text-muted"),
        )
