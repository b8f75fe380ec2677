"""The list of conversations, newest first, in groups of days. It reads them in pages as they are wanted.

It renames, deletes and restores them through `Chat`; opening one is the screen's, to which it says so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive, var
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from chatterm.chat import Chat
from chatterm.conversation import Conversation
from chatterm.errors import StoreError
from chatterm.ui.commands import bindings
from chatterm.ui.messages import RunCommand
from chatterm.ui.widgets.banner import Action

PAGE = 200
"""Conversations that are read at once."""


class ConversationList(OptionList):
    """The rows; says when its end comes into view."""

    DEFAULT_CSS = """
    ConversationList {
        height: 1fr;
        border: none;
        padding: 0;
        background: $surface;
        scrollbar-size-vertical: 1;
        &:focus { border: none; background-tint: transparent 0%; }
        & > .option-list--option { padding: 0; }
        & > .option-list--option-disabled { color: $foreground 50%; text-style: none; }
        & > .option-list--option-highlighted { background: $surface; color: $foreground; text-style: none; }
        &:focus > .option-list--option-highlighted {
            background: $block-cursor-background;
            color: $block-cursor-foreground;
        }
    }
    """

    class EndReached(Message):
        """There may be more to show."""

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Ask for the next page when less than a screenful is left."""
        super().watch_scroll_y(old_value, new_value)
        if new_value > old_value and new_value + 2 * self.size.height >= self.max_scroll_y:
            self.post_message(self.EndReached())


class Sidebar(Vertical):
    """Filter, list, and the buttons below it."""

    DEFAULT_CSS = """
    Sidebar {
        width: 32;
        background: $surface;
        padding: 0;
        & > Input { height: 1; border: none; padding: 0 1; margin: 0 0 1 0; background: $panel; }
        & > Input:focus { border: none; }
        & > Action { width: 1fr; margin: 0; background: $surface; color: $text-muted; }
        & > Action:hover { background: $primary; color: $background; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings("sidebar")

    current_id: reactive[int | None] = reactive(None)
    """The conversation that is open."""

    is_wanted: var[bool] = var(True)
    """Whether it is shown where it has a place of its own."""
    is_narrow: var[bool] = var(False)
    """Whether there is no room for it beside the conversation."""
    is_over: var[bool] = var(False)
    """Whether it lies over the conversation, where it has no place of its own."""

    has_deleted: var[bool] = var(False)
    """Whether a deletion can be taken back."""

    class Opened(Message):
        """The user wants to see this conversation."""

        def __init__(self, conversation_id: int) -> None:
            super().__init__()
            self.conversation_id = conversation_id

    class RenameRequested(Message):
        """The user wants to give it another title."""

        def __init__(self, conversation: Conversation) -> None:
            super().__init__()
            self.conversation = conversation

    class Deleted(Message):
        """It was deleted, and can be brought back until chatterm is closed, if anything of it was saved."""

        def __init__(self, conversation: Conversation, was_open: bool, saved_id: int | None) -> None:
            super().__init__()
            self.conversation = conversation
            self.was_open = was_open
            self.saved_id = saved_id
            """What brings it back; None where nothing of it could be saved."""

    class Restored(Message):
        """A deletion was taken back."""

        def __init__(self, conversation: Conversation, was_open: bool) -> None:
            super().__init__()
            self.conversation = conversation
            self.was_open = was_open
            """Whether it was the one that was read when it was deleted."""

    class Changed(Message):
        """A conversation has another title."""

    class Failed(Message):
        """The store could not do it."""

        def __init__(self, error: StoreError) -> None:
            super().__init__()
            self.error = error

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.chat: Chat | None = None
        """Whose conversations these are; set by the screen when the store is open."""
        self.rows = ConversationList(id="conversations", compact=True)
        self.filter = Input(placeholder="Find a title", id="find", select_on_focus=False)
        self._shown: list[Conversation] = []
        self._deleted: list[Sidebar.Deleted] = []
        self._is_whole = True

    def on_resize(self) -> None:
        """Cut titles at the width that there is."""
        if self._shown:
            self._show(self._shown)

    def compose(self) -> ComposeResult:
        """Filter above, list below."""
        yield self.filter
        yield self.rows
        yield Action("+ New chat", "new_chat")

    @property
    def conversations(self) -> Sequence[Conversation]:
        """What is listed now."""
        return self._shown

    @property
    def highlighted(self) -> Conversation | None:
        """The conversation under the cursor."""
        option = self.rows.highlighted_option
        wanted = option.id if option else None
        return next((c for c in self._shown if str(c.id) == wanted), None)

    def toggle(self) -> None:
        """Show it, or hide it, where it is shown now."""
        if self.is_narrow:
            self.is_over = not self.is_over
        else:
            self.is_wanted = not self.is_wanted

    def watch_is_wanted(self) -> None:
        """Take the place that there is."""
        self._place()

    def watch_is_narrow(self) -> None:
        """Take the place that there is."""
        self._place()

    def watch_is_over(self) -> None:
        """Take the place that there is."""
        self._place()

    def _place(self) -> None:
        self.display = self.is_over if self.is_narrow else self.is_wanted
        self.set_class(self.is_narrow, "-over")

    def focus_list(self) -> None:
        """Put the cursor into the list, on the conversation that is open."""
        rows = self.rows
        rows.highlighted = self._row_of(self.current_id)
        rows.focus()

    def reload(self) -> None:
        """Read again as many as are shown, at least a page."""
        self._read(0, max(PAGE, len(self._shown)))

    @on(ConversationList.EndReached)
    def _more(self) -> None:
        if not self._is_whole:
            self._read(len(self._shown), PAGE)

    @work(exclusive=True, group="sidebar")
    async def _read(self, offset: int, limit: int) -> None:
        """Read a page, and show it below those before it."""
        if self.chat is None or not self.rows.is_attached:
            return
        try:
            found = await self.chat.conversations(self.filter.value.strip(), limit, offset)
        except StoreError as error:
            self.post_message(self.Failed(error))
            return
        if not self.rows.is_attached:  # closed meanwhile
            return
        self._is_whole = len(found) < limit
        known = {c.id for c in self._shown[:offset]}
        self._show([*self._shown[:offset], *(c for c in found if c.id not in known)])

    @work(group="conversations")
    async def rename(self, conversation: Conversation, title: str) -> None:
        """Give it another title."""
        if self.chat is None:
            return
        try:
            await self.chat.rename(conversation.id, title)
        except StoreError as error:
            self.post_message(self.Failed(error))
            return
        self.reload()
        self.post_message(self.Changed())

    @work(group="conversations")
    async def delete(self, conversation: Conversation) -> None:
        """Delete it; `undo_delete` brings it back."""
        if self.chat is None:
            return
        was_open = self.chat.is_open(conversation.id)
        try:
            saved_id = await self.chat.delete(conversation.id)
        except StoreError as error:
            self.post_message(self.Failed(error))
            return
        deleted = self.Deleted(conversation, was_open, saved_id)
        if saved_id is not None:
            self._deleted.append(deleted)
            self.has_deleted = True
        self.reload()
        self.post_message(deleted)

    @work(group="conversations")
    async def undo_delete(self) -> None:
        """Bring back what was deleted last."""
        if self.chat is None or not self._deleted:
            return
        deleted = self._deleted.pop()
        assert deleted.saved_id is not None
        try:
            conversation = await self.chat.restore(deleted.saved_id)
        except StoreError as error:
            self._deleted.append(deleted)
            self.post_message(self.Failed(error))
            return
        self.has_deleted = bool(self._deleted)
        self.reload()
        self.post_message(self.Restored(conversation, deleted.was_open))

    def action_rename(self) -> None:
        """Rename the one under the cursor."""
        if (conversation := self.highlighted) is not None:
            self.post_message(self.RenameRequested(conversation))

    def action_delete(self) -> None:
        """Delete the one under the cursor."""
        if (conversation := self.highlighted) is not None:
            self.delete(conversation)

    def action_undo_delete(self) -> None:
        """Bring back what was deleted last."""
        self.undo_delete()

    def action_new_chat(self) -> None:
        """A wish for the screen."""
        self.post_message(RunCommand("new_chat"))

    def action_find_conversation(self) -> None:
        """Go to the filter."""
        self.filter.focus()

    def _show(self, conversations: list[Conversation]) -> None:
        """Put them in the list, with the cursor and the scroll position where they were."""
        self._shown = conversations
        rows = self.rows
        option, row, top = rows.highlighted_option, rows.highlighted, rows.scroll_y
        wanted = option.id if option and rows.has_focus else str(self.current_id)
        with self.app.batch_update():
            rows.set_options(self._options())
            rows.highlighted = self._row_of(wanted)
            if rows.highlighted is None and rows.has_focus and row is not None:
                rows.highlighted = self._row_near(row)  # it is gone: the next one takes its place
            rows.scroll_to(y=top, animate=False)

    def _options(self) -> Iterator[Option]:
        group, now, width = "", time.time(), max(10, self.size.width - 4)
        if not self._shown:
            yield Option(" Nothing here yet" if not self.filter.value else " No such title", disabled=True)
        for conversation in self._shown:
            if (day := day_group(conversation.updated_at, now)) != group:
                if group:
                    yield Option("", disabled=True)
                yield Option(Content.styled(f" {day}", "$foreground 50%"), disabled=True)
                group = day
            title = Content(" ".join(conversation.title.split()) or "Untitled").truncate(width, ellipsis=True)
            is_current = conversation.id == self.current_id
            mark = Content.styled("▌", "$primary") if is_current else Content(" ")
            yield Option(mark + (title.stylize("bold") if is_current else title), id=str(conversation.id))

    def _row_of(self, wanted: int | str | None) -> int | None:
        """Where a conversation stands in the list; None when it is not there."""
        ids = [option.id for option in self.rows.options]
        return ids.index(str(wanted)) if str(wanted) in ids else None

    def _row_near(self, row: int) -> int | None:
        """Where the first conversation from a row on stands, else the last one before it; None when there is none."""
        taken = [each for each, option in enumerate(self.rows.options) if not option.disabled]
        return next((each for each in taken if each >= row), taken[-1] if taken else None)

    def watch_current_id(self) -> None:
        """Mark the conversation that is open."""
        if self._shown:
            self._show(self._shown)

    @on(OptionList.OptionSelected)
    def _open(self, event: OptionList.OptionSelected) -> None:
        """Enter or a click opens."""
        event.stop()
        if event.option.id:
            self.post_message(self.Opened(int(event.option.id)))

    @on(Input.Changed)
    def _filter(self, event: Input.Changed) -> None:
        """Show only titles with what is typed."""
        event.stop()
        self._shown = []
        self.reload()

    @on(Input.Submitted)
    def _to_list(self, event: Input.Submitted) -> None:
        """Enter in the filter goes to what was found."""
        event.stop()
        rows = self.rows
        rows.focus()
        rows.action_first()


def day_group(seconds: float, now: float) -> str:
    """The heading under which a time stands.

    Example: an hour ago -> "Today"; in last year's May -> "May 2025"
    """
    day, today = _local_day(seconds), _local_day(now)
    age = (today - day).days
    if age <= 0:
        return "Today"
    if age == 1:
        return "Yesterday"
    if age < 7:
        return "Last 7 days"
    if day > today - timedelta(days=30):
        return "Last 30 days"
    return day.strftime("%B %Y")


def _local_day(seconds: float) -> date:
    """The day of a time, as the clock on the wall has it."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().date()
