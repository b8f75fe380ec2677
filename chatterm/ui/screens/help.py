"""The help page: every command with its key, from the same table as the keys themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from textwrap import wrap
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from chatterm.ui.commands import COMMANDS, keys_of, shown
from chatterm.ui.widgets.modal import Modal

GROUPS = ("Writing", "Chat", "Conversations", "In the list", "Model", "Glass box", "chatterm")
KEY_CELLS = 24
IN_THE_PROMPT = ("up, down", "On the first and the last line: what was asked before, and back to what is being written")


class HelpScreen(Modal[None]):
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
                rows = [(keys_of(row, self._keymap), row.help) for row in COMMANDS if row.group == group]
                named = [(", ".join(keys) or "palette", what) for keys, what in rows]
                yield Group(group, [*named, IN_THE_PROMPT] if group == "Writing" else named)
                if group == "Chat" and self._extra:
                    rows = [([shown(key) for key in b.key.split(",")], b.description) for b in self._extra]
                    yield Group("In the conversation", [(", ".join(keys), what) for keys, what in rows])
            yield Group(
                "Keys of your own",
                [
                    ("where", self._settings_file),
                    ("how", 'below a line [keys]: regenerate = "ctrl+y", stop = "escape,f11"'),
                    ("actions", ", ".join(row.id for row in COMMANDS)),
                ],
            )


class Group(Widget):
    """A heading and rows of keys with what they do, wrapped beside each other."""

    DEFAULT_CSS = "Group { height: auto; margin-top: 1; }"

    def __init__(self, heading: str, rows: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._heading = heading
        self._rows = rows

    def _lines(self, width: int) -> list[Content]:
        keys_width = min(KEY_CELLS, width // 3)
        lines = [Content.styled(self._heading, "bold $text-accent")]
        for keys, text in self._rows:
            left = wrap(keys.replace("⏎", "enter"), keys_width) or [""]
            right = wrap(text, max(10, width - keys_width - 4))
            for key, part in zip_longest(left, right, fillvalue=""):
                start = Content.styled(key, "$text-primary")
                lines.append(Content.assemble("  ", start.pad_right(keys_width - start.cell_length), "  ", part))
        return lines

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """As many as the rows take at a width."""
        return len(self._lines(width))

    def render(self) -> Content:
        """All of them."""
        return Content("\n").join(self._lines(self.size.width))
