"""What the pages of the models screen share: a table, what is known about its row, and keys for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Generic, TypeVar

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import OptionList, Static

from chatterm.ui.widgets.key_row import Hint, KeyRow
from chatterm.ui.widgets.table import Column, Row, Table, TableHead

T = TypeVar("T")


class Pane(Vertical, Generic[T]):
    """A table of things of one kind; what cannot be shown there is said in its place."""

    COLUMNS: ClassVar[tuple[Column, ...]]
    ACTS_ON_CLICK: ClassVar[bool] = True
    BACK: ClassVar[Hint] = Hint("esc", "close", "screen.leave")

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.things: Mapping[str, T] = {}
        """What stands in the table, by the rows' ids."""
        self.table = Table(*self.COLUMNS, acts_on_click=self.ACTS_ON_CLICK)
        self.head = TableHead(self.table)
        self.instead = VerticalScroll(Static(markup=False), classes="instead")
        """Stands where the table would be while there is nothing to show in it."""
        self.instead.display = False
        self.about = Static(classes="about", markup=False)
        self.keys = KeyRow()

    def compose(self) -> ComposeResult:
        """What stands above, the table, what is known about its row, the keys."""
        yield from self.above()
        yield self.head
        yield self.table
        yield self.instead
        yield self.about
        yield self.keys

    def above(self) -> Iterator[Widget]:
        """What stands over the table."""
        yield from ()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Tabs would open the page that has the focus; told late, that would turn back a page that was turned since."""
        event.stop()

    @property
    def current(self) -> T | None:
        """What the cursor is on; None while there is nothing."""
        return self.things.get(self.table.current) if self.table.display else None

    def look_at(self) -> None:
        """The page is opened: take the focus, and find out what there is to show."""
        self.take_focus()

    def take_focus(self) -> None:
        """Keys go here, at once: another page may be opened before anything that waits is done."""
        self.screen.set_focus(self.table if self.table.display else self.instead)

    def show(self, things: Mapping[str, T], current: str = "") -> None:
        """Show these; the cursor stays where it was, or goes to the one that is named."""
        self.things = things
        self.head.display = self.table.display = True
        if self.screen.focused is self.instead:  # it may not have heard of that yet
            self.screen.set_focus(self.table)
        self.instead.display = False
        self.table.show((Row(name, self.cells(thing)) for name, thing in things.items()), current)
        self.head.refresh()
        self.show_about()

    def say(self, text: Content | str) -> None:
        """Say something in place of the table."""
        self.things = {}
        self.instead.query_one(Static).update(text)
        self.instead.display = True
        if self.screen.focused is self.table:
            self.screen.set_focus(self.instead)
        self.head.display = self.table.display = False
        self.show_about()

    @on(OptionList.OptionHighlighted)
    def show_about(self) -> None:
        """Say what is known about the row under the cursor, and what can be done with it."""
        if self.is_attached:
            thing = self.current
            self.about.update("" if thing is None else self.sentence(thing))
            self.keys.show([*self.hints(), self.BACK])

    @on(OptionList.OptionSelected)
    def take_chosen(self, event: OptionList.OptionSelected) -> None:
        """Enter, or a click."""
        event.stop()
        self.action_take()

    @on(KeyRow.Wanted)
    async def do_clicked(self, event: KeyRow.Wanted) -> None:
        """A hint was clicked: as if its key had been pressed."""
        event.stop()
        await self.run_action(event.action)

    def cells(self, thing: T) -> tuple[Content, ...]:
        """What stands in its row."""
        raise NotImplementedError

    def sentence(self, thing: T) -> Content | str:
        """What is known about it."""
        raise NotImplementedError

    def hints(self) -> list[Hint]:
        """What can be done now, the most likely first."""
        raise NotImplementedError

    def action_take(self) -> None:
        """Enter: what is most likely wanted of the row under the cursor."""
        raise NotImplementedError
