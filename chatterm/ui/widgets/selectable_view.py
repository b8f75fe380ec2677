"""Selecting text by mouse and by keys, over any number of turns."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.geometry import Offset
from textual.timer import Timer

from chatterm.ui.widgets.page_view import PageView
from chatterm.ui.widgets.pages import Place
from chatterm.ui.widgets.selection import END, Point, Selection

DRAG_SECONDS = 0.05
"""Between two lines that scroll by while the pointer is held beyond an edge."""


class SelectableView(PageView):
    """Pages whose text can be selected: dragged over by characters, or by lines with keys."""

    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "select_lines", "Select lines", show=False),
        Binding("shift+up", "extend(-1)", "Select up", show=False),
        Binding("shift+down", "extend(1)", "Select down", show=False),
        Binding("escape", "clear_selection", "Clear selection", show=False),
    ]

    def __init__(
        self, *, name: str | None = None, id: str | None = None, classes: str | None = None, disabled: bool = False
    ) -> None:
        super().__init__(name=name, id=id, classes=classes, disabled=disabled)
        self.selects_lines = False
        """Whether up and down move the selection's end."""
        self._pressed: Point | None = None
        """Where the mouse button went down and still is."""
        self._pointer = Offset()
        self._drag_timer: Timer | None = None

    @property
    def is_dragging(self) -> bool:
        """Whether the mouse button is held down."""
        return self._pressed is not None

    def action_select_lines(self) -> None:
        """Begin a selection of lines at the cursor, or end it."""
        if not self.pages.views:
            return
        if self.selects_lines:
            self.selection = None
            return
        top = self.pages.place_at(self.scroll_offset.y)
        turn = self.cursor if self.cursor is not None else self.last_visible()
        row = top.row if top.turn == turn else 0
        self.selection = Selection(Point(turn, row, 0), Point(turn, row, END))
        self.selects_lines = True
        self._reveal_row(self.pages.row_of(Place(turn, row)))

    def action_extend(self, rows: int) -> None:
        """Move the end of a selection of lines; begins one where there is none."""
        if not self.selects_lines:
            self.action_select_lines()
        if self.selection is None:
            return
        anchor, head = self.selection
        row = min(max(self.pages.row_of(Place(head.turn, head.row)) + rows, 0), self.pages.n_rows - 1)
        self._reveal_row(row)
        place = self.pages.place_at(min(row, self.pages.n_rows - 1))
        downwards = (place.turn, place.row) >= (anchor.turn, anchor.row)
        self.selection = Selection(
            anchor._replace(cell=0 if downwards else END), Point(place.turn, place.row, END if downwards else 0)
        )

    def _reveal_row(self, row: int) -> None:
        """Bring a row into view."""
        top, height = self.scroll_offset.y, self.size.height
        if row < top:
            self.scroll_to(y=row, animate=False)
        elif row >= top + height:
            self.scroll_to(y=row + 1 - height, animate=False)

    def action_clear_selection(self) -> None:
        """Select nothing; without a selection the key is someone else's."""
        if self.selection is None:
            raise SkipAction
        self.selection = None

    def watch_selection(self) -> None:
        """Without a selection, up and down scroll again."""
        if self.selection is None:
            self.selects_lines = False
        super().watch_selection()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """A press may begin a selection."""
        if event.button == 1 and self.pages.views and not self.is_on_mark(event.x, event.y):
            self.selection = None
            self._pressed = self.point_at(event.x, event.y)
            self._pointer = event.offset
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Dragging selects."""
        if self._pressed is None or event.offset == self._pointer:
            return
        self._pointer = event.offset
        self._select_to_pointer()
        if self._drag_timer is None:
            self._drag_timer = self.set_interval(DRAG_SECONDS, self._drag)

    def _drag(self) -> None:
        """Scroll while the pointer is held beyond an edge."""
        y, height = self._pointer.y, self.size.height
        beyond = min(y, 0) if y <= 0 else max(y - height + 1, 0)
        if beyond or y == 0:
            self.scroll_to(y=self.scroll_offset.y + (beyond or -1), animate=False)
            self._select_to_pointer()

    def _select_to_pointer(self) -> None:
        """Select from where the button was pressed."""
        if self._pressed is not None:
            x, y = self._pointer
            head = self.point_at(x, min(max(y, 0), self.size.height - 1))
            self.selection = Selection(self._pressed, head) if head != self._pressed else None

    def on_mouse_up(self) -> None:
        """The end of a press."""
        self.release_mouse()
        self._pressed = None
        if self._drag_timer is not None:
            self._drag_timer.stop()
            self._drag_timer = None
