"""A view that scrolls over pages: what is near it is set, what changed is drawn, the reading position stays.

It decides nothing about turns; `transcript` does.
"""

from __future__ import annotations

from rich.segment import Segment
from textual.content import Content
from textual.geometry import Region, Size
from textual.reactive import reactive, var
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget

from chatterm.ui.widgets.pages import Pages, Place
from chatterm.ui.widgets.paint import LEFT, RIGHT, Frame, Marks, painted
from chatterm.ui.widgets.reading.look import look_from
from chatterm.ui.widgets.selection import END, Point, Selection, copied

NEW_TEXT = " ↓ new text below "
NARROWEST = 8
"""Cells of text that are laid out even where fewer can be seen."""


class PageView(ScrollView):
    """Scrolls over pages of lines."""

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
        self.pages = Pages()
        self.has_new_text = False
        """Whether text arrived below, out of sight."""
        self._anchor = Place(0, 0)
        """The first visible line, while the view does not follow."""
        self._reading: tuple[Place, float] | None = None
        """The anchor, and how much of its turn stands before it, so that many resizes do not move it."""
        self._shown: list[Strip] = []
        """The strips of the screen's rows."""
        self._is_arranging = False

    def follow(self) -> None:
        """Go to the end and stay there."""
        self.following = True
        self.has_new_text = False
        self.lay_out()

    def read_from(self, place: Place) -> None:
        """Make a line the first one on the screen."""
        self.following = False
        self._anchor = place
        self.lay_out()

    def hold(self) -> None:
        """Keep the first visible line where it is, whatever arrives below."""
        if self.following:
            self._anchor = self.pages.place_at(self.scroll_offset.y)
            self.following = False

    @property
    def selected_text(self) -> str:
        """The selected text as it was written; empty without a selection."""
        if self.selection is None:
            return ""
        start, end = self.selection.start, self.selection.end
        lines = []
        for turn in range(start.turn, min(end.turn, len(self.pages.views) - 1) + 1):
            for row, line in enumerate(self.pages.lines_of(turn)):
                if (start.turn, start.row) <= (turn, row) <= (end.turn, end.row):
                    lines.append((line, self.selection.cells_in(turn, row) or (0, 0)))
        return copied(lines)

    def point_at(self, x: int, y: int) -> Point:
        """The cell under a position in the widget."""
        row = self.scroll_offset.y + y
        place = self.pages.place_at(max(row, 0))
        if row >= self.pages.n_rows:
            return Point(place.turn, place.row, END)
        return Point(place.turn, place.row, max(x - LEFT, 0) if row >= 0 else 0)

    def last_visible(self) -> int:
        """Index of the last turn on the screen."""
        return self.pages.place_at(self.scroll_offset.y + self.size.height - 1).turn

    def is_on_mark(self, x: int, y: int) -> bool:
        """Whether a position is on the mark that says that there is new text."""
        at = self.size.width - len(NEW_TEXT) - RIGHT
        return self.has_new_text and not self.following and y == self.size.height - 1 and at <= x < at + len(NEW_TEXT)

    def lay_out(self) -> None:
        """Set what is near the view, keep the view where it is, and draw what changed."""
        size = self.size
        if not size or self._is_arranging or not self.is_attached:
            return
        self._is_arranging = True
        try:
            self._fit(size.width)
            pages = self.pages
            if self.following:
                pages.set_end(size.height)
            else:
                self._anchor = pages.set_around(self._anchor, size.height)
            self._set_rows(Size(size.width - 1, pages.n_rows))
            wanted = self.max_scroll_y if self.following else pages.row_of(self._anchor)
            top = min(wanted, self.max_scroll_y)
            if not self.following and wanted >= self.max_scroll_y:
                self.following, self.has_new_text = True, False
            self.scroll_target_y = self.scroll_y = top
            pages.drop_far_from(pages.place_at(top))
        finally:
            self._is_arranging = False
        self.paint()

    def _set_rows(self, virtual_size: Size) -> None:
        """Tell the scrollbar, without a new layout of the whole screen."""
        if self.virtual_size != virtual_size:
            self.set_reactive(Widget.virtual_size, virtual_size)
            self._scroll_update(virtual_size)

    def _fit(self, width: int) -> None:
        """Begin again when the width has changed; the first visible line stays the first."""
        inner = max(width - LEFT - RIGHT, NARROWEST)
        pages = self.pages
        if pages.look is not None and inner == pages.width:
            return
        if self._reading is None or self._reading[0] != self._anchor:
            self._reading = (self._anchor, pages.letters_before(self._anchor))
        letters = self._reading[1]
        pages.reset(inner, pages.look or look_from(self.get_component_rich_style, self.app.theme_variables))
        self.selection = None
        if not self.following:
            self._anchor = pages.place_after(self._anchor, letters)
            self._reading = (self._anchor, letters)

    def restyle(self) -> None:
        """Set everything again in the theme's colours."""
        if self.pages.look is not None:
            look = look_from(self.get_component_rich_style, self.app.theme_variables)
            self.pages.reset(self.pages.width, look)
            self.lay_out()
        self._shown = []
        self.refresh()
        self.paint()

    def paint(self) -> None:
        """Make the strips of the screen and refresh the rows that changed."""
        if not self.is_attached or not self.size:
            return
        strips = self._strips(*self.size)
        before, self._shown = self._shown, strips
        if len(strips) != len(before):
            self.refresh()
            return
        changed = [y for y, (new, old) in enumerate(zip(strips, before, strict=True)) if new is not old]
        if changed:
            self.refresh(Region(0, changed[0], self.size.width, changed[-1] + 1 - changed[0]))

    def _strips(self, width: int, height: int) -> list[Strip]:
        """A strip for each row of the screen."""
        pages = self.pages
        if pages.look is None or not pages.views:
            return self._empty_strips(width, height)
        frame = Frame(width, self.region.x, pages.look, tuple(self.get_line_filters()), self.background_colors[1])
        strips: list[Strip] = []
        index, row = pages.place_at(self.scroll_offset.y)
        while index < len(pages.views) and len(strips) < height:
            lines = pages.lines_of(index)
            has_bar = self.cursor == index
            n_faded = pages.views[index].n_faded
            for number in range(row, min(len(lines), row + height - len(strips))):
                selected = self.selection.cells_in(index, number) if self.selection else None
                strips.append(painted(lines[number], frame, Marks(has_bar, number < n_faded, selected)))
            index, row = index + 1, 0
        strips += [Strip.blank(width, pages.look.text)] * (height - len(strips))
        if self.has_new_text and not self.following:
            at = max(width - len(NEW_TEXT) - RIGHT, 0)
            rest = Segment(" " * (width - at - len(NEW_TEXT)), pages.look.text)
            last = [*strips[-1].divide([at, width])[0], Segment(NEW_TEXT, pages.look.mark), rest]
            strips[-1] = Strip(last, width)
        return strips

    def _empty_strips(self, width: int, height: int) -> list[Strip]:
        """The hint in the middle of an empty page."""
        content = self.empty if isinstance(self.empty, Content) else Content(self.empty)
        style = self.visual_style
        room = max(width - LEFT - RIGHT, 1)
        strips = Visual.to_strips(self, content, room, None, style) if content.plain else []
        blank = Strip.blank(width, style.rich_style)
        aligned = list(Strip.align(strips, style.rich_style, width, height, "center", "middle")) or [blank] * height
        return aligned[:height]

    def render_line(self, y: int) -> Strip:
        """A row of the screen."""
        if y < len(self._shown):
            return self._shown[y]
        return Strip.blank(self.size.width, self.visual_style.rich_style)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Rows of the screen, as they are: strips carry their colours, so nothing is laid over them again."""
        strips = [self.render_line(y) for y in crop.line_range]
        start, end = crop.column_span
        if (start, end) == (0, self.size.width):
            return strips
        cuts = [start, end] if start else [end]
        return [strip.divide(cuts)[-1] for strip in strips]

    def on_mount(self) -> None:
        """Learn of changes of the theme."""
        self.app.theme_changed_signal.subscribe(self, lambda _theme: self.call_after_refresh(self.restyle))

    def on_resize(self) -> None:
        """Wrap again what is visible."""
        self._shown = []
        self.lay_out()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Scrolling chooses what is read; the end means following."""
        super().watch_scroll_y(old_value, new_value)
        if self._is_arranging or round(old_value) == round(new_value):
            return
        self.following = round(new_value) >= self.max_scroll_y
        self._anchor = self.pages.place_at(round(new_value))
        if self.following:
            self.has_new_text = False
        self.lay_out()

    def watch_cursor(self) -> None:
        """Draw the bar."""
        self.paint()

    def watch_selection(self) -> None:
        """Paint the selection."""
        self.paint()

    def watch_empty(self) -> None:
        """Show the hint."""
        self.paint()
