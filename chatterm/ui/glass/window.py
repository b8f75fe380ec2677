"""The context window in characters: one bar of all tokens, and what each part of it takes."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from chatterm.text import amount, line
from chatterm.ui.glass.marks import MUTED
from chatterm.ui.glass.source import WindowPart, WindowSeen

_COLOURS = ("$text-accent", "$text-primary", "$text-secondary", "$text-success")
_MOST_NAME_CELLS, _LEAST_NAME_CELLS = 30, 10
_OTHER_CELLS = 30
"""Of a row, beside the name."""


def lines(seen: WindowSeen, width: int) -> list[Content]:
    """The bar, then a row for each part and for what is free."""
    n_used = sum(part.n_tokens for part in seen.parts)
    n_free = max(seen.n_ctx - n_used, 0)
    cells = min(max(width - _OTHER_CELLS, _LEAST_NAME_CELLS), _MOST_NAME_CELLS)
    drawn = [strip(seen, min(width, 100)), Content("")]
    drawn += [_row(part, _COLOURS[i % len(_COLOURS)], seen.n_ctx, cells) for i, part in enumerate(seen.parts)]
    drawn.append(_row(WindowPart("free", n_free), "$foreground 30%", seen.n_ctx, cells))
    n_reused = sum(part.n_reused for part in seen.parts)
    said = [f"{n_used:,} of {seen.n_ctx:,} tokens"]
    if n_reused:
        said.append(f"{n_reused:,} were still in the KV cache when the last reply began, {n_used - n_reused:,} are new")
    if seen.kv_bytes:
        said.append(f"the KV cache of these tokens takes {amount(seen.kv_bytes)}")
    if seen.n_dropped:
        said.append(f"{seen.n_dropped} messages no longer fit: the model does not see them")
    return [*drawn, Content(""), *(Content.styled(one, MUTED) for one in said)]


def strip(seen: WindowSeen, width: int) -> Content:
    """All tokens of the window as one bar; what is not nothing shows."""
    pieces: list[tuple[str, str]] = []
    room = width
    for i, part in enumerate(seen.parts):
        cells = min(max(round(part.n_tokens / max(seen.n_ctx, 1) * width), 1 if part.n_tokens else 0), room)
        room -= cells
        pieces.append(("█" * cells, _COLOURS[i % len(_COLOURS)]))
    return Content.assemble(*pieces, ("░" * room, "$foreground 30%"))


def _row(part: WindowPart, colour: str, n_ctx: int, cells: int) -> Content:
    reused = f"  {part.n_reused:,} cached" if part.n_reused else ""
    return Content.assemble(
        ("█ ", colour),
        _fitted(line(part.name), cells),
        f"{part.n_tokens:>7,}",
        (f" {part.n_tokens / max(n_ctx, 1):>6.1%}".replace("%", " %"), MUTED),
        (reused, MUTED),
    )


def _fitted(name: str, cells: int) -> str:
    """A name in so many cells."""
    return set_cell_size(set_cell_size(name, cells - 1) + "…" if cell_len(name) > cells else name, cells)


def text(seen: WindowSeen) -> str:
    """The same as tab-separated lines."""
    rows = [f"{part.name}\t{part.n_tokens}\t{part.n_reused} from the cache" for part in seen.parts]
    n_used = sum(part.n_tokens for part in seen.parts)
    return "\n".join([*rows, f"free\t{seen.n_ctx - n_used}", f"window\t{seen.n_ctx}"])
