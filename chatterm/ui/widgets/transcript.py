"""The transcript: a conversation as one page of lines, however long it is.

One widget on Textual's line API. Turns are set when they come into view, a turn that is being
written is set again at most 20 times a second. Following, the cursor, folding, selecting and
copying live here; what text looks like is in `reading`, what a turn consists of in `turn`, which
turns are set in `pages`. It knows turns, and neither engine nor store.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Offset, Region, Size
from textual.message import Message
from textual.reactive import reactive, var
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.timer import Timer
from textual.visual import Visual
from textual.widget import Widget

from chatterm.conversation import Turn
from chatterm.ui.widgets.pages import Pages, Place
from chatterm.ui.widgets.reading.lines import Code, Line
from chatterm.ui.widgets.reading.look import COMPONENTS, Look, look_from
from chatterm.ui.widgets.selection import END, Point, Selection, copied, painted_range, word_at
from chatterm.ui.widgets.turn import OpenTurnView, TurnView

DRAW_SECONDS = 0.05
"""Between two drawings of a reply that is being written."""
LEFT, RIGHT = 2, 2
"""Margins: the cursor's bar and a blank; a blank and the scrollbar."""
NEW_TEXT = " ↓ new text below "


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


class Transcript(ScrollView, can_focus=True):
    """A conversation to read."""

    class CopyRequested(Message):
        """The user wants a text in the clipboard."""

        def __init__(self, text: str, what: str) -> None:
            super().__init__()
            self.text = text
            self.what = what
            """What was copied, in words: "selection", "message", "code"."""

    class LinkClicked(Message):
        """The user clicked a link; its target is http, https or mailto."""

        def __init__(self, url: str) -> None:
            super().__init__()
            self.url = url

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = set(COMPONENTS)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "scroll_up", "Scroll up", show=False),
        Binding("down", "scroll_down", "Scroll down", show=False),
        Binding("pageup", "page_up", "Page up", show=False),
        Binding("pagedown", "page_down", "Page down", show=False),
        Binding("home", "scroll_home", "Top", show=False),
        Binding("end", "scroll_end", "Bottom", show=False),
        Binding("k,ctrl+up", "previous_turn", "Previous turn", show=False),
        Binding("j,ctrl+down", "next_turn", "Next turn", show=False),
        Binding("enter,space", "toggle_reasoning", "Fold reasoning", show=False),
        Binding("y", "copy", "Copy", show=False),
        Binding("ctrl+c,super+c", "copy_selection", "Copy selection", show=False),
        Binding("c", "copy_code", "Copy code", show=False),
        Binding("v", "select_lines", "Select lines", show=False),
        Binding("shift+up", "extend(-1)", "Select up", show=False),
        Binding("shift+down", "extend(1)", "Select down", show=False),
        Binding("escape", "clear_selection", "Clear selection", show=False),
    ]
    DEFAULT_CSS = """
    Transcript {
        background: $background;
        color: $text;
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
        scrollbar-background: $background;
        scrollbar-background-hover: $background;
        scrollbar-background-active: $background;
        scrollbar-color: $panel;
    }
    Transcript > .transcript--muted, Transcript > .transcript--note { color: $text-muted; }
    Transcript > .transcript--h1 { color: $text-primary; text-style: bold underline; }
    Transcript > .transcript--h2 { color: $text-primary; text-style: bold; }
    Transcript > .transcript--h3 { text-style: bold; }
    Transcript > .transcript--inline-code { color: $text-accent; background: $surface; }
    Transcript > .transcript--link { color: $text-primary; text-style: underline; }
    Transcript > .transcript--bullet { color: $text-primary; }
    Transcript > .transcript--quote { color: $text-muted; text-style: italic; }
    Transcript > .transcript--rule { color: $foreground 25%; }
    Transcript > .transcript--code { background: $surface; }
    Transcript > .transcript--code-label { color: $text-muted; background: $surface; }
    Transcript > .transcript--user { color: $text-accent; text-style: bold; }
    Transcript > .transcript--model { color: $text-success; text-style: bold; }
    Transcript > .transcript--error { color: $text-error; }
    Transcript > .transcript--bar { color: $primary; }
    Transcript > .transcript--selection { background: $primary 40%; }
    Transcript > .transcript--mark { color: $text; background: $primary-muted; }
    Transcript > .transcript--syntax-keyword { color: $text-primary; }
    Transcript > .transcript--syntax-name { color: $text-accent; }
    Transcript > .transcript--syntax-type { color: $text-secondary; }
    Transcript > .transcript--syntax-string { color: $text-success; }
    Transcript > .transcript--syntax-number { color: $text-warning; }
    Transcript > .transcript--syntax-comment { color: $text-muted; text-style: italic; }
    Transcript > .transcript--syntax-operator { color: $foreground 80%; }
    Transcript > .transcript--syntax-inserted { color: $text-success; }
    Transcript > .transcript--syntax-deleted { color: $text-error; }
    """

    unseen: var[frozenset[int]] = var(frozenset())
    """Ids of the turns that the model no longer sees; they are dimmed, with a rule below the last one."""
    empty: var[str | Content] = var("")
    """Shown in the middle while there is no turn."""
    cursor: reactive[int | None] = reactive(None, repaint=False)
    """Index of the turn under the cursor; None while nothing was chosen."""
    following: var[bool] = var(True)
    """Whether the view stays at the end while text arrives."""
    selection: var[Selection | None] = var(None)
    """What is selected."""

    def __init__(
        self, *, name: str | None = None, id: str | None = None, classes: str | None = None, disabled: bool = False
    ) -> None:
        super().__init__(name=name, id=id, classes=classes, disabled=disabled)
        self._pages = Pages()
        self._anchor = Place(0, 0)
        """The first visible line, while the view does not follow."""
        self._shown: list[Strip] = []
        """The strips of the screen's rows."""
        self._open: OpenTurnView | None = None
        self._has_new_text = False
        self._is_arranging = False
        self._draw_timer: Timer | None = None
        self._drawn_at = 0.0
        self._draw_cost = 0.0
        self._pressed: Point | None = None
        self._pressed_at: Offset | None = None
        self._drag_timer: Timer | None = None
        self._drag_rows = 0
        self._drag_x = 0
        self._picked_code: Code | None = None

    # What the owner calls

    def show(self, turns: Sequence[Turn]) -> None:
        """Show a conversation, from its end. Costs one screenful, whatever its length."""
        self._open = None
        self._pages.fill([TurnView(turn) for turn in turns])
        self._mark_unseen()
        self.selection = None
        self.set_reactive(Transcript.cursor, None)
        self.follow()

    def append(self, turn: Turn) -> None:
        """Add a finished turn, such as a question."""
        self._pages.add(TurnView(turn))
        self._mark_unseen()
        self._arrange()

    def begin(self, turn: Turn) -> OpenTurn:
        """Begin a reply that is going to be written; one that is here already goes on in its place."""
        view = OpenTurnView(turn)
        self._open = view
        index = self._index_of(turn.id)
        if index is None:
            self._pages.add(view)
        else:
            view.is_unfolded = self._pages.views[index].is_unfolded
            self._pages.change(index, view)
        self._mark_unseen()
        self._arrange()
        return OpenTurn(self, view)

    def update_turn(self, turn: Turn) -> None:
        """A turn's text or state has changed."""
        index = self._index_of(turn.id)
        if index is None:
            return
        view = self._pages.views[index]
        view.turn = turn
        self._pages.change(index)
        self._arrange()

    def follow(self) -> None:
        """Go to the end and stay there."""
        self.following = True
        self._has_new_text = False
        self._arrange()

    @property
    def turns(self) -> list[Turn]:
        """What is shown, oldest first."""
        return [view.turn for view in self._pages.views]

    @property
    def selected_text(self) -> str:
        """The selected text as it was written; empty without a selection."""
        if self.selection is None:
            return ""
        start, end = self.selection.start, self.selection.end
        lines = []
        for turn in range(start.turn, min(end.turn, len(self._pages.views) - 1) + 1):
            for row, line in enumerate(self._pages.lines_of(turn)):
                cells = self.selection.cells_in(turn, row)
                if cells is not None:
                    lines.append((line, cells))
                elif (start.turn, start.row) <= (turn, row) < (end.turn, end.row):
                    lines.append((line, (0, 0)))
        return copied(lines)

    # Drawing what arrives

    def draw_soon(self) -> None:
        """Draw the open turn, at most 20 times a second and at most a third of the time."""
        if self._draw_timer is not None or not self.is_attached:
            return
        pause = max(DRAW_SECONDS, 3 * self._draw_cost)
        wait = max(self._drawn_at + pause - monotonic(), 0.0)
        self._draw_timer = self.set_timer(max(wait, 0.001), self._draw)

    def _draw(self) -> None:
        """Set the open turn again and show it."""
        self._draw_timer = None
        if self._open is None:
            return
        began = monotonic()
        index = self._pages.views.index(self._open)
        if self._pages.width:
            self._pages.reset_open(index)
            if not self.following:
                self._has_new_text = True
            self._arrange()
        self._drawn_at = monotonic()
        self._draw_cost = self._drawn_at - began

    def settle(self, view: OpenTurnView, turn: Turn) -> None:
        """Take the place of an open turn by the finished one, set as a whole."""
        if view not in self._pages.views:
            return
        index = self._pages.views.index(view)
        settled = TurnView(turn)
        settled.is_unfolded = view.is_unfolded
        self._pages.change(index, settled)
        if self._open is view:
            self._open = None
        self._mark_unseen()
        self._arrange()

    # Arranging: which turns are set, where the view is, what the screen shows

    def _arrange(self) -> None:
        """Set what is near the view, keep the view where it is, and draw what changed."""
        size = self.scrollable_content_region.size
        if not size or self._is_arranging or not self.is_attached:
            return
        self._is_arranging = True
        try:
            self._set_width(size.width)
            pages = self._pages
            if self.following:
                pages.set_end(size.height)
            else:
                self._anchor = pages.set_around(self._anchor, size.height)
            height = pages.n_rows
            if self.virtual_size != Size(size.width, height):
                self.set_reactive(Widget.virtual_size, Size(size.width, height))
                self._scroll_update(self.virtual_size)
            top = self.max_scroll_y if self.following else min(pages.row_of(self._anchor), self.max_scroll_y)
            if top != self.scroll_y:
                self.scroll_target_y = self.scroll_y = top
            elif self.scroll_target_y != top:
                self.scroll_target_y = top
            pages.drop_far_from(pages.place_at(top))
        finally:
            self._is_arranging = False
        self._paint()

    def _set_width(self, width: int) -> None:
        """Begin again when the width has changed; what was read stays at the top."""
        inner = max(width + 1 - LEFT - RIGHT, 8)
        look = self._pages.look
        if look is not None and inner == self._pages.width:
            return
        self._pages.reset(inner, look or self._make_look())

    def _make_look(self) -> Look:
        """The styles of the theme."""
        return look_from(self.get_component_rich_style, self.app.theme_variables)

    def _paint(self) -> None:
        """Make the strips of the screen and refresh the rows that changed."""
        width, height = self.size
        strips = self._strips(width, height)
        if len(strips) != len(self._shown):
            self._shown = strips
            self.refresh()
            return
        changed = [y for y, (new, old) in enumerate(zip(strips, self._shown, strict=True)) if new is not old]
        self._shown = strips
        if changed:
            self.refresh(Region(0, changed[0], width, changed[-1] + 1 - changed[0]))

    def _strips(self, width: int, height: int) -> list[Strip]:
        """A strip for each row of the screen."""
        look = self._pages.look
        if look is None:
            return []
        if not self._pages.views:
            return self._empty_strips(width, height)
        strips: list[Strip] = []
        place = self._pages.place_at(self.scroll_offset.y)
        index, row = place
        while index < len(self._pages.views) and len(strips) < height:
            lines = self._pages.lines_of(index)
            view = self._pages.views[index]
            rows = range(row, min(len(lines), row + height - len(strips)))
            strips += [self._strip(lines[number], view, index, number, width, look) for number in rows]
            index, row = index + 1, 0
        strips += [Strip.blank(width, look.text)] * (height - len(strips))
        if self._has_new_text and not self.following and strips:
            at = max(width - len(NEW_TEXT) - RIGHT, 0)
            strips[-1] = Strip.join(
                [strips[-1].crop(0, at), Strip([Segment(NEW_TEXT, look.mark)]), strips[-1].crop(at + len(NEW_TEXT))]
            )
        return strips

    def _strip(self, line: Line, view: TurnView, index: int, row: int, width: int, look: Look) -> Strip:
        """A line ready for the terminal, with margins, cursor, selection and dimming."""
        has_bar = self.cursor == index
        cells = self.selection.cells_in(index, row) if self.selection else None
        variant = (width, has_bar, view.is_unseen, cells)
        if line.strip is not None and line.variant == variant:
            return line.strip
        room = width - LEFT - RIGHT
        body = Strip(line.segments).adjust_cell_length(room, line.fill or look.text)
        if view.is_unseen:
            body = body.apply_style(Style(dim=True))
        if cells is not None:
            start, end = painted_range(line, cells)
            start, end = max(start, line.indent), min(end, room)
            if end > start:
                middle = Strip(Segment.apply_style(body.crop(start, end), None, Style(bgcolor=look.selection.bgcolor)))
                body = Strip.join([body.crop(0, start), middle, body.crop(end)])
        left = Segment("▌ " if has_bar else "  ", look.bar if has_bar else look.text)
        strip = Strip([left, *body, Segment(" " * RIGHT, look.text)], width)
        for line_filter in self.get_line_filters():
            strip = strip.apply_filter(line_filter, self.background_colors[1])
        line.strip, line.variant = strip, variant
        return strip

    def _empty_strips(self, width: int, height: int) -> list[Strip]:
        """The hint in the middle of an empty page."""
        content = self.empty if isinstance(self.empty, Content) else Content(self.empty)
        style = self.visual_style
        strips = Visual.to_strips(self, content, width, None, style) if str(content) else []
        return (
            list(Strip.align(strips, style.rich_style, width, height, "center", "middle"))
            or [Strip.blank(width, style.rich_style)] * height
        )

    def render_line(self, y: int) -> Strip:
        """A row of the screen."""
        if y < len(self._shown):
            return self._shown[y]
        return Strip.blank(self.size.width, self.visual_style.rich_style)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Rows of the screen, as they are: strips carry their colours, so nothing is laid over them again."""
        strips = [self.render_line(y) for y in crop.line_range]
        if crop.column_span == (0, self.size.width):
            return strips
        return [strip.crop(*crop.column_span) for strip in strips]

    # What changes the view

    def on_mount(self) -> None:
        """Learn of changes of the theme."""
        self.app.theme_changed_signal.subscribe(self, lambda _theme: self.call_after_refresh(self._restyle))

    def _restyle(self) -> None:
        """Paint everything again in the theme's colours."""
        if self._pages.width:
            self._pages.reset(self._pages.width, self._make_look())
            self._shown = []
            self._arrange()

    def on_resize(self) -> None:
        """Wrap again what is visible."""
        self._arrange()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Scrolling chooses what is read; the end means following."""
        super().watch_scroll_y(old_value, new_value)
        if self._is_arranging or round(old_value) == round(new_value):
            return
        self.following = round(new_value) >= self.max_scroll_y
        self._anchor = self._pages.place_at(round(new_value))
        if self.following:
            self._has_new_text = False
        self._arrange()

    def watch_cursor(self) -> None:
        """Draw the bar."""
        self._paint()

    def watch_selection(self) -> None:
        """Paint the selection."""
        self._paint()

    def watch_empty(self) -> None:
        """Show the hint."""
        self._shown = []
        self._paint()

    def watch_unseen(self) -> None:
        """Dim what the model no longer sees."""
        self._mark_unseen()
        self._arrange()

    def _mark_unseen(self) -> None:
        """Tell the turns whether they are seen."""
        last = max((i for i, view in enumerate(self._pages.views) if view.turn.id in self.unseen), default=-1)
        for i, view in enumerate(self._pages.views):
            view.is_unseen = view.turn.id in self.unseen
            if view.ends_unseen != (i == last):
                view.ends_unseen = i == last
                self._pages.change(i)

    def _index_of(self, turn_id: int) -> int | None:
        """Where a turn is, looked for from the end."""
        views = self._pages.views
        return next((i for i in range(len(views) - 1, -1, -1) if views[i].turn.id == turn_id), None)

    # Keys

    def action_scroll_up(self) -> None:
        """One line up, or the selection's end."""
        self._scroll_rows(-1)

    def action_scroll_down(self) -> None:
        """One line down, or the selection's end."""
        self._scroll_rows(1)

    def action_page_up(self) -> None:
        """A screenful up."""
        self._scroll_rows(2 - self.size.height)

    def action_page_down(self) -> None:
        """A screenful down."""
        self._scroll_rows(self.size.height - 2)

    def action_scroll_home(self) -> None:
        """To the first line."""
        self.scroll_to(y=0, animate=False)

    def action_scroll_end(self) -> None:
        """To the end, and follow."""
        self.follow()

    def _scroll_rows(self, n: int) -> None:
        """Move the view."""
        self.scroll_to(y=self.scroll_offset.y + n, animate=False)

    def action_previous_turn(self) -> None:
        """The cursor to the turn above."""
        self._move_cursor(-1)

    def action_next_turn(self) -> None:
        """The cursor to the turn below."""
        self._move_cursor(1)

    def _move_cursor(self, step: int) -> None:
        """Move the cursor over turns, and the view with it."""
        n_turns = len(self._pages.views)
        if not n_turns:
            return
        if self.cursor is None:
            self.cursor = self._pages.place_at(self.scroll_offset.y + self.size.height - 1).turn
        else:
            self.cursor = min(max(self.cursor + step, 0), n_turns - 1)
        self._reveal(self.cursor)

    def _reveal(self, index: int) -> None:
        """Bring a turn into view: its head, unless all of it is there."""
        start = self._pages.starts[index]
        end = start + self._pages.views[index].height
        top = self.scroll_offset.y
        if start >= top and end <= top + self.size.height + 1:
            return
        if index == len(self._pages.views) - 1 and self._pages.views[index].height <= self.size.height:
            self.follow()
            return
        self.following = False
        self._anchor = Place(index, 0)
        self._arrange()

    def action_toggle_reasoning(self) -> None:
        """Fold or unfold what the model thought."""
        if self.cursor is None:
            self._move_cursor(0)
        if self.cursor is not None:
            self._fold(self.cursor)

    def _fold(self, index: int) -> None:
        """Fold or unfold the reasoning of a turn."""
        view = self._pages.views[index]
        view.is_unfolded = not view.is_unfolded
        if view.lines is not None and not self.following:
            self._anchor = self._pages.place_at(self.scroll_offset.y)
        elif self.following and index < len(self._pages.views):
            self._anchor = self._pages.place_at(self.scroll_offset.y)
            self.following = False
        self._pages.change(index)
        self._arrange()

    def action_copy(self) -> None:
        """Copy the selection, else the turn under the cursor as it was written."""
        if text := self.selected_text:
            self.post_message(self.CopyRequested(text, "selection"))
        elif self._pages.views:
            index = self.cursor if self.cursor is not None else len(self._pages.views) - 1
            view = self._pages.views[index]
            text = view.text if isinstance(view, OpenTurnView) else view.turn.text
            self.post_message(self.CopyRequested(text, "message"))

    def action_copy_selection(self) -> None:
        """Copy the selection; without one the key is someone else's."""
        text = self.selected_text
        if not text:
            raise SkipAction
        self.post_message(self.CopyRequested(text, "selection"))

    def action_copy_code(self) -> None:
        """Copy a code block of the turn under the cursor; again copies the next one."""
        index = self.cursor if self.cursor is not None else len(self._pages.views) - 1
        if index < 0:
            return
        blocks = list(dict.fromkeys(line.code for line in self._pages.lines_of(index) if line.code is not None))
        if not blocks:
            return
        at = blocks.index(self._picked_code) + 1 if self._picked_code in blocks else 0
        self._picked_code = blocks[at % len(blocks)]
        self.post_message(self.CopyRequested(self._picked_code.source, "code"))

    def action_select_lines(self) -> None:
        """Begin a selection of lines at the cursor."""

    def action_extend(self, rows: int) -> None:
        """Select more or fewer lines."""

    def action_clear_selection(self) -> None:
        """Select nothing; without a selection the key is someone else's."""
        if self.selection is None:
            raise SkipAction
        self.selection = None

    # Mouse

    def _point_at(self, x: int, y: int) -> Point:
        """The cell under a position on the screen."""
        place = self._pages.place_at(self.scroll_offset.y + max(y, 0))
        if self.scroll_offset.y + y >= self._pages.n_rows:
            return Point(place.turn, place.row, END)
        return Point(place.turn, place.row, max(x - LEFT, 0))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """A press sets the cursor and may begin a selection."""
        if event.button != 1 or not self._pages.views:
            return
        if self._is_on_mark(event.x, event.y):
            return
        self._pressed = self._point_at(event.x, event.y)
        self._pressed_at = event.offset
        self.selection = None
        self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Dragging selects."""
        if self._pressed is None or event.offset == self._pressed_at:
            return
        self.selection = Selection(self._pressed, self._point_at(event.x, event.y))

    def on_mouse_up(self) -> None:
        """The end of a press."""
        self.release_mouse()
        self._pressed = None

    def on_click(self, event: events.Click) -> None:
        """A click opens, folds, copies or sets the cursor; two select a word, three a line."""
        if self._is_on_mark(event.x, event.y):
            self.follow()
            return
        if not self._pages.views or self.selection is not None:
            return
        point = self._point_at(event.x, event.y)
        self.cursor = point.turn
        line = self._line_at(point)
        if line is None:
            return
        if event.chain == 2:
            start, end = word_at(line, point.cell)
            self.selection = Selection(point._replace(cell=start), point._replace(cell=end))
        elif event.chain >= 3:
            self.selection = Selection(point._replace(cell=0), point._replace(cell=END))
        elif line.mark is not None and line.code is not None and line.mark.start <= point.cell < line.mark.end:
            self.post_message(self.CopyRequested(line.code.source, "code"))
        elif point.row == self._pages.views[point.turn].fold_row:
            self._fold(point.turn)
        else:
            for link in line.links:
                if link.start <= point.cell < link.end:
                    self.post_message(self.LinkClicked(link.url))

    def _line_at(self, point: Point) -> Line | None:
        """The line of a point."""
        lines = self._pages.lines_of(point.turn)
        return lines[point.row] if point.row < len(lines) else None

    def _is_on_mark(self, x: int, y: int) -> bool:
        """Whether a position is on the mark that says that there is new text."""
        at = self.size.width - len(NEW_TEXT) - RIGHT
        return self._has_new_text and not self.following and y == self.size.height - 1 and at <= x < at + len(NEW_TEXT)
