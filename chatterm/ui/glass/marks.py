"""Small drawings out of characters: bars, shades, percentages, tokens in quotes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from chatterm.ui.glass.shown_token import shown

MUTED = "$foreground 60%"
"""Colour of what explains."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_SHADES = " ░▒▓█"
_HEIGHTS = "▁▂▃▄▅▆▇█"


def bar(fraction: float, cells: int) -> str:
    """A bar of a share of so many cells, exact to an eighth; what is not nothing shows.

    Example: 0.5, 4 -> "██  "
    """
    eighths = round(min(max(fraction, 0.0), 1.0) * cells * 8)
    if fraction > 0 and not eighths:
        eighths = 1
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(cells)


def shade(fraction: float) -> str:
    """A character that is the darker the larger a share is."""
    return _SHADES[min(int(min(max(fraction, 0.0), 1.0) * len(_SHADES)), len(_SHADES) - 1)]


def height(fraction: float) -> str:
    """A character that is the higher the larger a share is."""
    return _HEIGHTS[min(int(min(max(fraction, 0.0), 1.0) * len(_HEIGHTS)), len(_HEIGHTS) - 1)]


def percent(share: float) -> str:
    """A share in at most six characters, never rounded to all or nothing where it is neither.

    Example: 0.0002 -> "0.02 %"
    """
    if 0 < share < 0.00005:
        return "<0.01%"
    if share < 0.0995:
        return f"{share:.2%}".replace("%", " %")
    if share < 0.9995 or share >= 1:
        return f"{share:.1%}".replace("%", " %") if share < 1 else "100 %"
    return ">99.9%"


def named(piece: bytes, cells: int) -> str:
    """A token on one line in so many cells, blanks made visible.

    Example: b" the", 8 -> "·the    "
    """
    text = shown(piece).replace("↵\n", "↵").replace("\n", "↵").replace(" ", "·") or "(no text)"
    if cell_len(text) > cells:
        text = set_cell_size(text, max(cells - 1, 1)) + "…"
    return set_cell_size(text, cells)


def strip(numbers: Sequence[float], width: int) -> Content:
    """Numbers around zero as a strip: the higher the further from it, in one colour above and in another below.

    Where there are more than cells, each cell is the one of its stretch that is furthest from zero.
    """
    n_each = -(-len(numbers) // max(width, 1)) or 1
    numbers = [max(numbers[i : i + n_each], key=abs) for i in range(0, len(numbers), n_each)]
    most = max((abs(number) for number in numbers), default=0.0) or 1.0
    return Content.assemble(
        *((height(abs(number) / most), "$text-primary" if number >= 0 else "$text-warning") for number in numbers)
    )
