"""How much memory a model takes with longer and longer context windows: bars in plain cells, and what is free as a line."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.geometry import Size
from textual.reactive import reactive
from textual.widget import Widget

from chatterm.text import amount

_BLOCKS = " ▁▂▃▄▅▆▇█"
_HEIGHT = 8
_AXIS_CELLS = 9
_FREE = "╌"

Points = Sequence[tuple[int, int]]


class MemoryChart(Widget):
    """Bars over context length; those that stand above the line do not fit."""

    DEFAULT_CSS = "MemoryChart { height: auto; color: $foreground-muted; }"

    points: reactive[Points] = reactive((), layout=True)
    """Context length in tokens, and memory in bytes, rising."""
    free_bytes: reactive[int] = reactive(0)
    """What is free; 0 where that is not known."""

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """Bars, axis, labels."""
        return _HEIGHT + 2 if self.points else 0

    def render(self) -> Content:
        """The chart at this width."""
        return chart(self.points, self.free_bytes, self.content_size.width) if self.points else Content("")


def chart(points: Points, free_bytes: int, width: int) -> Content:
    """Bars from the smallest window to the largest.

    Args:
        points: Context length in tokens, and memory in bytes, rising.
        free_bytes: Where the line is drawn; 0 for none.
        width: Cells.
    """
    n_bars = max(1, min(len(points), (width - _AXIS_CELLS) // 2))
    shown = [points[round(i * (len(points) - 1) / max(1, n_bars - 1))] for i in range(n_bars)]
    bar_cells = max(1, (width - _AXIS_CELLS) // n_bars - 1)
    top = max(shown[-1][1], round(free_bytes * 1.1) if free_bytes < 3 * shown[-1][1] else 0)
    free_row = int(free_bytes / top * _HEIGHT) if 0 < free_bytes <= top else -1
    rows = [_row(shown, row, top, free_bytes, row == free_row, bar_cells) for row in reversed(range(_HEIGHT))]
    axis = Content.styled(" " * (_AXIS_CELLS - 1) + "└" + "─" * (n_bars * (bar_cells + 1)), "$foreground 40%")
    return Content("\n").join([*rows, axis, _labels(shown, bar_cells)])


def _row(shown: Points, row: int, top: int, free_bytes: int, is_free: bool, bar_cells: int) -> Content:
    """One row of cells, from the axis to the last bar."""
    most = shown[-1][1]
    is_highest = row == min(_HEIGHT - 1, int(most / top * _HEIGHT))
    label = "free" if is_free else amount(most) if is_highest else ""
    line = Content.styled(label.rjust(_AXIS_CELLS - 2) + " │", "$text-accent" if is_free else "$foreground-muted")
    for _, n_bytes in shown:
        eighths = max(0, min(8, round((n_bytes / top * _HEIGHT - row) * 8)))
        if row == 0:
            eighths = max(1, eighths)
        colour = "$text-error" if free_bytes and n_bytes > free_bytes else "$text-primary"
        gap = Content.styled(_FREE if is_free else " ", "$text-accent")
        bar = (
            Content.styled(_FREE * bar_cells, "$text-accent")
            if is_free and not eighths
            else Content.styled(_BLOCKS[eighths] * bar_cells, colour)
        )
        line += gap + bar
    return line


def _labels(shown: Points, bar_cells: int) -> Content:
    """Context lengths below their bars, as many as have room."""
    text, room_from = "", 0
    for i, (n_ctx, _) in enumerate(shown):
        label = f"{n_ctx // 1024}k" if n_ctx >= 1024 else str(n_ctx)
        start = _AXIS_CELLS + 1 + i * (bar_cells + 1)
        if start >= room_from:
            text = text.ljust(start) + label
            room_from = start + len(label) + 2
    return Content.styled(text, "$foreground-muted")
