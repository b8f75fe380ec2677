"""The list of conversations with its words: asks for a title, and says how a deletion is undone."""

from __future__ import annotations

from collections.abc import Mapping

from textual import on

from chatterm.conversation import Conversation
from chatterm.ui.screens import hints
from chatterm.ui.screens.dialogs import RenameDialog
from chatterm.ui.widgets.sidebar import Sidebar


class Shelf(Sidebar):
    """All conversations."""

    def __init__(self, keymap: Mapping[str, str], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._keymap = keymap

    @on(Sidebar.RenameRequested)
    def _ask_for_title(self, event: Sidebar.RenameRequested) -> None:
        self.ask_for_title(event.conversation)

    def ask_for_title(self, conversation: Conversation) -> None:
        """Ask for a new title, and give it."""

        def rename(title: str | None) -> None:
            if title is not None:
                self.rename(conversation, title)

        self.app.push_screen(RenameDialog(conversation.title), rename)

    @on(Sidebar.Deleted)
    def _offer_undo(self, event: Sidebar.Deleted) -> None:
        self.app.clear_notifications()
        if event.saved_id is None:
            self.notify("Nothing of it could be saved, so it cannot be brought back.", title="Deleted", timeout=10)
        else:
            self.notify(**hints.deleted_notice(event.conversation.title, self._keymap))

    @on(Sidebar.Restored)
    def _say_it_is_back(self, event: Sidebar.Restored) -> None:
        self.app.clear_notifications()
        self.notify(f"“{event.conversation.title or 'Untitled'}” is back", timeout=3, markup=False)
