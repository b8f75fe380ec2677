"""Where a token looked, in characters: which earlier tokens weigh most, and a grid of all layers and heads."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from chatterm.glass import Attention, AttentionMap, hide_first, shares
from chatterm.ui.glass.marks import MUTED, bar, named, percent, shade
from chatterm.ui.glass.source import AROUND

N_STRONGEST = 8
_TOKEN_CELLS = 16
_BAR_CELLS = 20
_MAP_LABEL = 10
_MOST_MESSAGES = 8


def row_of(seen: Attention, *, hides_first: bool) -> list[float]:
    """The weights that are shown."""
    return hide_first(seen.row) if hides_first and len(seen.row) > 1 else list(seen.row)


def tints(row: Sequence[float]) -> list[float | None]:
    """How much each token is coloured: in proportion to the strongest one."""
    most = max(row, default=0.0) or 1.0
    return [weight / most for weight in row]


def lines(
    seen: Attention, pieces: Sequence[bytes], width: int, *, hides_first: bool, n_strongest: int = N_STRONGEST
) -> list[Content]:
    """The strongest tokens as bars, then the grid.

    Args:
        seen: What was measured.
        pieces: The tokens' bytes, at least up to the one that looks.
        width: In cells.
        hides_first: Whether the first token is left out, and the others' weights add up to 1 without it.
        n_strongest: Tokens that get a bar.
    """
    row = row_of(seen, hides_first=hides_first)
    places = sorted(range(len(row)), key=lambda place: -row[place])[:n_strongest]
    drawn = [
        Content.assemble(
            f"{place + 1:>5} ",
            (named(pieces[place], _TOKEN_CELLS), "bold"),
            " ",
            (bar(row[place] / row[places[0]], _BAR_CELLS), "$text-primary"),
            f" {percent(row[place]):>6}",
            (
                "  the first token: a resting place" if place == 0 and not hides_first and len(row) > 1 else "",
                MUTED,
            ),
        )
        for place in places
        if row[place] > 0
    ]
    return [*drawn, Content(""), *grid(seen, width)]


def grid(seen: Attention, width: int) -> list[Content]:
    """A row for each layer, a cell for each head: the darker, the fewer tokens it looks at."""
    n_heads = max((len(heads) for heads in seen.bits), default=0)
    cells = 2 if 8 + 2 * n_heads <= width else 1
    n_shown = min(n_heads, max(width - 8, 1) // cells)
    all_bits = [bits for heads in seen.bits for bits in heads]
    least, most = min(all_bits, default=0.0), max(all_bits, default=0.0)
    drawn = [Content.styled(f"layer  heads 1 to {n_heads}; darker ones look at fewer tokens", MUTED)]
    for layer, heads in zip(seen.layers, seen.bits, strict=True):
        parts = [
            (
                shade((most - bits) / (most - least or 1.0)) * cells,
                "$text-accent reverse" if (layer, number) == (seen.layer, seen.head) else "$text-primary",
            )
            for number, bits in enumerate(heads[:n_shown])
        ]
        is_shown = seen.layer == layer
        mark = (f"{layer + 1:>5}{'▸' if is_shown else ' '} ", "bold" if is_shown else MUTED)
        drawn.append(Content.assemble(mark, *parts))
    return drawn


def share_lines(seen: Attention, messages: Sequence[tuple[str, int]], *, hides_first: bool) -> list[Content]:
    """How much of it falls on each message, what the chat template puts around them taken together.

    Args:
        seen: What was measured.
        messages: What each is, and behind which token it ends.
        hides_first: As for `lines`.
    """
    parts = shares(row_of(seen, hides_first=hides_first), [end for _, end in messages])
    around = sum(share for (name, _), share in zip(messages, parts, strict=True) if name == AROUND)
    said = [(name, share) for (name, _), share in zip(messages, parts, strict=True) if name != AROUND]
    told = " · ".join(f"{name} {percent(share)}" for name, share in [*said[-_MOST_MESSAGES:], (AROUND, around)])
    return [Content(""), Content.assemble(("by message: ", MUTED), told)]


def map_lines(seen: AttentionMap, pieces: Sequence[bytes], width: int) -> list[Content]:
    """A row for each token of a short span: the darker a cell, the more it takes from the token of that column."""
    cells = 2 if _MAP_LABEL + 2 * len(seen.rows) + 8 <= width else 1
    n_shown = min(len(seen.rows), max(width - _MAP_LABEL - 8, 4) // cells)
    first = len(seen.rows) - n_shown
    told = "each row is a token and where it looks, this one first"
    end = "before"
    drawn = [Content.styled(f"{told:<{_MAP_LABEL + n_shown * cells}} {end:>6}", MUTED)]
    for number in range(len(seen.rows) - 1, first - 1, -1):
        row = seen.rows[number]
        most = max(row, default=0.0) or 1.0
        shades = "".join(shade(weight / most) * cells for weight in row[first : number + 1])
        before = seen.before[number] + sum(row[:first])
        drawn.append(
            Content.assemble(
                (named(pieces[seen.start + number], _MAP_LABEL), "bold" if number == len(seen.rows) - 1 else ""),
                (shades.ljust(n_shown * cells), "$text-primary"),
                (f" {percent(before):>6}", MUTED),
            )
        )
    return drawn


def text(seen: Attention, pieces: Sequence[bytes], *, hides_first: bool) -> str:
    """The same as plain sentences and numbers."""
    row = row_of(seen, hides_first=hides_first)
    layer = "all layers" if seen.layer is None else f"layer {seen.layer + 1}"
    head = "all heads" if seen.head is None else f"head {seen.head + 1}"
    said = [
        f"Attention of token {seen.position + 1}, {layer}, {head}{', the first token left out' if hides_first else ''}:"
    ]
    places = sorted(range(len(row)), key=lambda place: -row[place])
    said += [
        f"{place + 1}\t{named(pieces[place], 40).rstrip()}\t{row[place]:.4f}"
        for place in places
        if row[place] >= 0.0005
    ]
    return "\n".join(said)
