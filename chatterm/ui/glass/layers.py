"""What each layer would have said, in characters: one row a layer, with the chosen token's rank and two rivals."""

from __future__ import annotations

from textual.content import Content

from chatterm.glass import Lens, LensLayer
from chatterm.ui.glass.marks import MUTED, bar, named, percent

_TOKEN_CELLS = 12
_BAR_CELLS = 10
_OTHER_CELLS = 6 + _BAR_CELLS + 13
"""Layer, bars, rank and bits."""
_RIVALS = ("$text-primary", "$text-warning")


def lines(seen: Lens, width: int) -> list[Content]:
    """A heading and a row for each layer, the last layer first, since it is what the model said."""
    n_best = max(1, min(3, (width - _OTHER_CELLS) // (_TOKEN_CELLS + 8)))
    rivals = [named(rival.piece, 10).strip() for rival in seen.rivals[:2]]
    chosen = named(seen.chosen.piece, 12).strip()
    names = zip(rivals, _RIVALS, strict=False)
    followed = [part for name, colour in names for part in ((name, colour), "  ")]
    heads = [
        Content.assemble(("bars follow ", MUTED), *followed, (f" the rank is that of {chosen}", MUTED)),
        Content.styled(
            f"{'layer':<7}{'likeliest tokens':<{n_best * (_TOKEN_CELLS + 8)}}{'':{_BAR_CELLS}}   rank  bits", MUTED
        ),
    ]
    return [*heads, *(_row(layer, seen, n_best) for layer in reversed(seen.layers))]


def _row(layer: LensLayer, seen: Lens, n_best: int) -> Content:
    is_last = layer.layer == seen.layers[-1].layer
    best = [
        part
        for number, piece in enumerate(layer.best[:n_best])
        for part in (
            (named(piece.piece, _TOKEN_CELLS), "bold" if not number else ""),
            (f"{percent(piece.value):>6}  ", MUTED),
        )
    ]
    rivals = [
        (bar(share, _BAR_CELLS // 2 if len(layer.rivals) > 1 else _BAR_CELLS), colour)
        for share, colour in zip(layer.rivals[:2], _RIVALS, strict=False)
    ]
    return Content.assemble(
        (f"{layer.layer + 1:>4}{'▸' if is_last else ' '} ", "bold" if is_last else MUTED),
        *best,
        *rivals,
        (f" {layer.rank:>6,} {layer.bits:>5.1f}", MUTED),
    )


def text(seen: Lens) -> str:
    """The same as tab-separated lines."""
    said = [
        f"Raw logit lens after token {seen.position + 1}; the token that came is {named(seen.chosen.piece, 40).strip()}:",
        "layer\tlikeliest\tprobability\trank of the token that came\tits probability\tentropy in bits",
    ]
    for layer in seen.layers:
        best = layer.best[0]
        said.append(
            f"{layer.layer + 1}\t{named(best.piece, 40).strip()}\t{best.value:.4f}\t{layer.rank}\t{layer.probability:.4f}\t{layer.bits:.2f}"
        )
    return "\n".join(said)
