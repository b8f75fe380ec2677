"""The transcript: a conversation as one page of lines, however long it is.

One widget on Textual's line API. Here is what a reader does with turns: going through them with a
cursor, folding, selecting, copying, opening links; and what the owner calls. What text looks like
is in `reading`, what a turn consists of in `turn`, what is set and drawn in `page_view`,
how text is selected in `selectable_view`. It knows
turns, and neither engine nor store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import ClassVar

from textual import events
from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import var
from textual.timer import Timer

from chatterm.conversation import Turn
from chatterm.ui.widgets.pages import Place
from chatterm.ui.widgets.reading.lines import Code, Line
from chatterm.ui.widgets.reading.look import COMPONENTS, CSS
from chatterm.ui.widgets.reading.tinted import Tint
from chatterm.ui.widgets.selectable_view import SelectableView
from chatterm.ui.widgets.selection import END, Point, Selection, paragraph_at, word_at
from chatterm.ui.widgets.turn import OpenTurnView, TurnView

DRAW_SECONDS = 0.05
"""Between two drawings of a reply that is being written."""
BUSY_SHARE = 3
"""A drawing that took long is followed by a pause of so many times that long."""


class OpenTurn:
    """A reply that is being written, as the transcript's owner holds it."""

    def __init__(self, transcript: Transcript, view: OpenTurnView) -> None:
        self._transcript = transcript
        self._view = view

    def write(self, text: str, reasoning: bool = False) -> None:
        """Add what arrived; it is drawn with what else arrives in the same twentieth of a second."""
        self._view.write(text, reasoning)
        self._transcript.draw_soon()

    def settle(self, turn: Turn) -> None:
        """The reply is over: set it once more as a whole, as the turn that was saved."""
        self._transcript.settle(self._view, turn)


class Transcript(SelectableView, can_focus=True):
    """A conversation to read."""

    class CopyRequested(Message):
        """The user wants a text in the clipboard."""

        def __init__(self, text: str, what: str) -> None:
            super().__init__()
            self.text = text
            self.what = what
            """What was copied, in a word: "selection", "message" or "code"."""

    class LinkClicked(Message):
        """The user clicked a link; its target is http, https or mailto."""

        def __init__(self, url: str) -> None:
            super().__init__()
            self.url = url

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = set(COMPONENTS)
    DEFAULT_CSS = CSS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "scroll_up", "Up", show=False),
        Binding("down", "scroll_down", "Down", show=False),
        Binding("pageup", "page_up", "Page up", show=False),
        Binding("pagedown", "page_down", "Page down", show=False),
        Binding("home", "scroll_home", "First line", show=False),
        Binding("end", "scroll_end", "Last line", show=False),
        Binding("k,ctrl+up", "previous_turn", "Previous turn", show=False),
        Binding("j,ctrl+down", "next_turn", "Next turn", show=False),
        Binding("enter,space", "toggle_reasoning", "Fold reasoning", show=False),
        Binding("y", "copy", "Copy", show=False),
        Binding("ctrl+c,super+c", "copy_selection", "Copy selection", show=False),
        Binding("c", "copy_code", "Copy code", show=False),
    ]

    unseen: var[frozenset[int]] = var(frozenset())
    """Ids of the turns that the model no longer sees; they are faded, with a rule below the last one."""

    def __init__(
        self, *, name: str | None = None, id: str | None = None, classes: str | None = None, disabled: bool = False
    ) -> None:
        super().__init__(name=name, id=id, classes=classes, disabled=disabled)
        self._open: OpenTurnView | None = None
        self._draw_timer: Timer | None = None
        self._drawn_at = 0.0
        self._draw_cost = 0.0
        self._copied_code: Code | None = None

    @property
    def turns(self) -> list[Turn]:
        """What is shown, oldest first."""
        return [view.turn for view in self.pages.views]

    def show(self, turns: Sequence[Turn]) -> None:
        """Show a conversation, from its end. Costs one screenful, whatever its length."""
        self._open = None
        self.pages.fill([TurnView(turn) for turn in turns])
        self._mark_unseen()
        self.selection = None
        self.cursor = None
        self.follow()

    def append(self, turn: Turn) -> None:
        """Add a finished turn, such as a question, and go there."""
        self.pages.add(TurnView(turn))
        self._mark_unseen()
        self.follow()

    def begin(self, turn: Turn) -> OpenTurn:
        """Begin a reply that is going to be written; one that is here already goes on in its place."""
        view = OpenTurnView(turn)
        self._open = view
        index = self._index_of(turn.id)
        if index is None:
            self.pages.add(view)
        else:
            view.is_unfolded = self.pages.views[index].is_unfolded
            self.pages.change(index, view)
        self._mark_unseen()
        self.lay_out()
        return OpenTurn(self, view)

    def update_turn(self, turn: Turn) -> None:
        """A turn's text or state has changed."""
        index = self._index_of(turn.id)
        if index is not None:
            self.pages.views[index].turn = turn
            self.pages.change(index)
            self.lay_out()

    def settle(self, view: OpenTurnView, turn: Turn) -> None:
        """Take the place of an open turn by the finished one, set as a whole."""
        if view not in self.pages.views:
            return
        settled = TurnView(turn)
        settled.is_unfolded = view.is_unfolded
        self.pages.change(self.pages.views.index(view), settled)
        if self._open is view:
            self._open = None
        self._mark_unseen()
        self.lay_out()

    def tint(self, tints: Mapping[int, Sequence[Tint]]) -> None:
        """Colour parts of answers, by the ids of their turns; all others lose their colours."""
        has_changed = False
        for index, view in enumerate(self.pages.views):
            wanted = tuple(tints.get(view.turn.id, ()))
            if view.tints != wanted and view is not self._open:
                view.tints, has_changed = wanted, True
                self.pages.change(index)
        if has_changed:
            self.lay_out()

    def draw_soon(self) -> None:
        """Draw the open turn, at most 20 times a second and at most a quarter of the time."""
        if self._draw_timer is None and self.is_attached:
            pause = max(DRAW_SECONDS, BUSY_SHARE * self._draw_cost)
            self._draw_timer = self.set_timer(max(self._drawn_at + pause - monotonic(), 0.001), self._draw)

    def _draw(self) -> None:
        """Set the open turn again and show it."""
        self._draw_timer = None
        if self._open is None or not self.pages.width:
            return
        began = monotonic()
        self.pages.reset_open(self._open)
        self.has_new_text = not self.following
        self.lay_out()
        self._drawn_at = monotonic()
        self._draw_cost = self._drawn_at - began

    def watch_unseen(self) -> None:
        """Fade what the model no longer sees."""
        self._mark_unseen()
        self.lay_out()

    def _mark_unseen(self) -> None:
        """Tell the turns whether they are seen."""
        views = self.pages.views
        last = max((i for i, view in enumerate(views) if view.turn.id in self.unseen), default=-1)
        for i, view in enumerate(views):
            view.is_unseen = view.turn.id in self.unseen
            if view.ends_unseen != (i == last):
                view.ends_unseen = i == last
                self.pages.change(i)

    def _index_of(self, turn_id: int) -> int | None:
        """Where a turn is, looked for from the end."""
        views = self.pages.views
        return next((i for i in range(len(views) - 1, -1, -1) if views[i].turn.id == turn_id), None)

    def action_scroll_up(self) -> None:
        """A line up."""
        self._move_rows(-1)

    def action_scroll_down(self) -> None:
        """A line down."""
        self._move_rows(1)

    def action_page_up(self) -> None:
        """A screenful up, with a line in common."""
        self._move_rows(1 - self.size.height)

    def action_page_down(self) -> None:
        """A screenful down, with a line in common."""
        self._move_rows(self.size.height - 1)

    def action_scroll_home(self) -> None:
        """To the first line."""
        if self.selects_lines:
            self.action_extend(-self.pages.n_rows)
        else:
            self.scroll_to(y=0, animate=False)

    def action_scroll_end(self) -> None:
        """To the end, and follow."""
        if self.selects_lines:
            self.action_extend(self.pages.n_rows)
        else:
            self.follow()

    def _move_rows(self, n: int) -> None:
        """Move the view, or the end of a selection of lines."""
        if self.selects_lines:
            self.action_extend(n)
        else:
            self.scroll_to(y=self.scroll_offset.y + n, animate=False)

    def action_previous_turn(self) -> None:
        """The cursor to the turn above."""
        self._move_cursor(-1)

    def action_next_turn(self) -> None:
        """The cursor to the turn below."""
        self._move_cursor(1)

    def _move_cursor(self, step: int) -> None:
        """Move the cursor over turns, and the view with it; in a selection of lines, its end."""
        if not self.pages.views:
            return
        if self.selects_lines:
            self.action_extend(step)
            return
        if self.cursor is None:
            self.cursor = self.last_visible()
        else:
            self.cursor = min(max(self.cursor + step, 0), len(self.pages.views) - 1)
        self._reveal(self.cursor)

    def _reveal(self, index: int) -> None:
        """Bring a turn into view: its head, unless all of it is there."""
        start = self.pages.starts[index]
        top = self.scroll_offset.y
        if start < top or start + self.pages.views[index].height > top + self.size.height:
            self.read_from(Place(index, 0))

    def action_toggle_reasoning(self) -> None:
        """Fold or unfold what the model thought."""
        if self.pages.views:
            if self.cursor is None:
                self.cursor = self.last_visible()
            self._fold(self.cursor)

    def _fold(self, index: int) -> None:
        """Fold or unfold the reasoning of a turn; the first visible line stays, and so does the turn's head."""
        view = self.pages.views[index]
        if not view.can_fold:
            return
        view.is_unfolded = not view.is_unfolded
        self.hold()
        self.pages.change(index)
        if self.pages.starts[index] < self.scroll_offset.y:
            self.read_from(Place(index, 0))
        else:
            self.lay_out()

    def action_copy(self) -> None:
        """Copy the selection, else the turn under the cursor as it was written."""
        if text := self.selected_text:
            self.post_message(self.CopyRequested(text, "selection"))
            self.action_clear_selection()
        elif self.pages.views:
            view = self.pages.views[self.cursor if self.cursor is not None else self.last_visible()]
            self.post_message(self.CopyRequested(view.source, "message"))

    def action_copy_selection(self) -> None:
        """Copy the selection; without one the key is someone else's."""
        text = self.selected_text
        if not text:
            raise SkipAction
        self.post_message(self.CopyRequested(text, "selection"))

    def action_copy_code(self) -> None:
        """Copy a code block of the turn under the cursor; again copies the next one."""
        if not self.pages.views:
            return
        index = self.cursor if self.cursor is not None else self.last_visible()
        blocks = list(dict.fromkeys(line.code for line in self.pages.lines_of(index) if line.code is not None))
        if not blocks:
            return
        at = blocks.index(self._copied_code) + 1 if self._copied_code in blocks else 0
        self._copied_code = blocks[at % len(blocks)]
        self.post_message(self.CopyRequested(self._copied_code.source, "code"))

    def on_click(self, event: events.Click) -> None:
        """A click opens, folds, copies or sets the cursor; two select a word, three a paragraph."""
        if self.is_on_mark(event.x, event.y):
            self.follow()
            return
        if not self.pages.views or self.selection is not None:
            return
        point = self.point_at(event.x, event.y)
        self.cursor = point.turn
        lines = self.pages.lines_of(point.turn)
        line = lines[point.row]
        if event.chain == 2:
            start, end = word_at(line, point.cell)
            self.selection = Selection(point._replace(cell=start), point._replace(cell=end)) if end > start else None
        elif event.chain >= 3:
            first, last = paragraph_at(lines, point.row)
            self.selection = Selection(Point(point.turn, first, 0), Point(point.turn, last, END))
        elif line.mark is not None and line.code is not None and line.mark.start <= point.cell < line.mark.end:
            self.post_message(self.CopyRequested(line.code.source, "code"))
        elif point.row == self.pages.views[point.turn].fold_row:
            self._fold(point.turn)
        elif url := _link_at(line, point.cell):
            self.post_message(self.LinkClicked(url))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Say where the link under the pointer leads."""
        url = ""
        if self.pages.views and self.pages.width and not self.is_dragging:
            point = self.point_at(event.x, event.y)
            url = _link_at(self.pages.lines_of(point.turn)[point.row], point.cell)
        hint = Content(url) if url else None
        if hint != self.tooltip:
            self.tooltip = hint


def _link_at(line: Line, cell: int) -> str:
    """What a click on a cell opens; empty for nothing."""
    return next((link.url for link in line.links if link.start <= cell < link.end), "")
