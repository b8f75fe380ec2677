"""From which tokens one was drawn, in characters: bars through the stages of the sampler, and where the draw fell."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from textual.content import Content

from chatterm import lens
from chatterm.events import Measured
from chatterm.glass import Lens
from chatterm.lens import Candidate, StageView
from chatterm.settings import Sampling
from chatterm.ui.glass.marks import MUTED, bar, named, percent

_TOKEN_CELLS = 14
_WIDE = 70
"""Columns from which sentences are whole."""
STAGE_NAMES = {
    "penalties": "penalties",
    "top_k": "top-k",
    "typical": "typical-p",
    "top_p": "top-p",
    "min_p": "min-p",
    "temperature": "temperature",
}
"""As people read them."""


def reshaped(
    seen: Measured, sampling: Sampling, n_stages: int | None = None
) -> tuple[list[Candidate], list[StageView]]:
    """The likeliest tokens as they would be at other settings, and what each stage leaves there.

    Args:
        n_stages: Look at them after so many stages; None for all.
    """
    found = lens.candidates(seen)
    if seen.kept is None:
        return found, []
    stages = lens.stages(seen.kept, sampling)
    stages = stages[: None if n_stages is None else n_stages + 1]
    cut_by = {place: stage.stage for stage in reversed(stages) for place in stage.cut}
    shares = stages[-1].shares
    return [
        msgspec.structs.replace(one, share=shares[place], cut_by=cut_by.get(place, ""))
        for place, one in enumerate(found)
    ], stages


FIRST_LINE = 2
"""On which line the candidates begin."""


def lines(
    seen: Measured,
    width: int,
    n_rows: int = 12,
    sampling: Sampling | None = None,
    *,
    row: int | None = None,
    n_stages: int | None = None,
    is_now: bool = False,
) -> list[Content]:
    """What was drawn, the candidates as bars, all others as one, and the draw.

    Args:
        seen: What was measured.
        width: In cells.
        n_rows: Candidates that are shown.
        sampling: Settings to see them at; None shows what really happened.
        row: The candidate under the cursor.
        n_stages: At those settings, after how many stages of the sampler; None for all.
        is_now: They are those that count now, since it is not known which ones counted then.
    """
    cells = min(max((width - _TOKEN_CELLS - 26) // 2, 6), 24)
    found, stages = reshaped(seen, sampling, n_stages) if sampling is not None else (lens.candidates(seen), [])
    found = _shown(found, seen, n_rows)
    last = stages[-1].stage if stages and n_stages is not None else ""
    after = {"": "after sampling", "raw": "before sampling"}.get(last, f"after {STAGE_NAMES.get(last, last)}")
    drawn = [
        headline(seen, width),
        Content.styled(f"{'':{_TOKEN_CELLS}} {'the model':<{cells + 7}} {after}", MUTED),
    ]
    how = "chosen" if seen.is_chosen else "drawn"
    drawn += [
        _row(candidate, cells, how if candidate.piece == seen.piece else "", is_here=place == row)
        for place, candidate in enumerate(found)
    ]
    rest = 1 - sum(candidate.probability for candidate in found)
    left = 1 - sum(candidate.share for candidate in found)
    if rest > 0:
        drawn.append(_others(max(rest, 0.0), max(left, 0.0), cells))
    if sampling is not None:
        n_left = [(stage.stage, stage.n_left) for stage in stages[1:]]
        return [*drawn, *_stages(seen, n_left, is_now=is_now), *_certainty(stages)]
    return [*drawn, *_stages(seen, [(stage.stage, stage.n_left) for stage in seen.stages]), *draw_lines(seen, width)]


def _shown(found: list[Candidate], seen: Measured, n_rows: int) -> list[Candidate]:
    """As many as there is room for, the one that was drawn in any case."""
    missing = [one for one in found[n_rows:] if one.piece == seen.piece]
    return [*found[: n_rows - 1], missing[0]] if missing else found[:n_rows]


def _certainty(stages: Sequence[StageView]) -> list[Content]:
    """Where what is kept of a distribution is not enough to be exact, that is said."""
    if all(stage.is_exact for stage in stages):
        return []
    return [Content.styled("about: these settings reach tokens that are not kept one by one", "$text-warning")]


def expected_lines(seen: Lens, width: int) -> list[Content]:
    """What the model would have said at a place whose token it did not draw, before any sampling."""
    cells = min(max(width - _TOKEN_CELLS - 12, 6), 30)
    last = seen.layers[-1]
    drawn = [
        Content.assemble(
            (named(seen.chosen.piece, 20).strip(), "bold"),
            f"  {percent(last.probability)}",
            (f" · rank {last.rank:,} · undecided by {last.bits:.1f} bits", MUTED),
        )
    ]
    for one in last.best:
        is_it = one.id == seen.chosen.id
        drawn.append(
            Content.assemble(
                (named(one.piece, _TOKEN_CELLS), "bold" if is_it else ""),
                " ",
                (bar(one.value, cells), "$text-accent" if is_it else "$text-primary"),
                f" {percent(one.value):>6}",
                ("  ◀ stands here" if is_it else "", "$text-accent"),
            )
        )
    return drawn


def headline(seen: Measured, width: int = 80) -> Content:
    """What was drawn, how likely it was, and how undecided the model; in fewer words where there is little room."""
    by, bits = ("by ", " bits") if width >= _WIDE else ("", "")
    parts: list[Content | str | tuple[str, str]] = [
        ("end of the reply" if seen.is_end else named(seen.piece, 20).strip(), "bold")
    ]
    if seen.probability is not None:
        parts.append(f"  {percent(seen.probability)}")
    if seen.rank is not None:
        parts.append((f" · rank {seen.rank:,}", MUTED))
    if seen.surprise is not None:
        parts.append((f" · surprise {seen.surprise:.1f}{bits}", MUTED))
    if seen.entropy is not None:
        parts.append((f" · undecided {by}{seen.entropy:.1f} bits", MUTED))
    while len(parts) > 1 and Content.assemble(*parts).cell_length > width:
        parts.pop()
    return Content.assemble(*parts)


def _row(candidate: Candidate, cells: int, how: str = "", *, is_here: bool = False) -> Content:
    """A candidate; `how` it came to be the one that stands there."""
    is_drawn = bool(how)
    colour = "$text-accent" if is_drawn else "$text-primary"
    after: Sequence[tuple[str, str]]
    if candidate.cut_by:
        after = ((f"cut by {STAGE_NAMES.get(candidate.cut_by, candidate.cut_by)}", MUTED),)
    else:
        after = ((bar(candidate.share, cells), colour), (f" {percent(candidate.share):>6}", ""))
    line = Content.assemble(
        (named(candidate.piece, _TOKEN_CELLS), "bold" if is_drawn or is_here else ""),
        ("▸" if is_here else " ", "$text-accent"),
        (bar(candidate.probability, cells), colour if not candidate.cut_by else "$foreground 40%"),
        f" {percent(candidate.probability):>6} ",
        *after,
        (f"  ◀ {how}" if how else "", "$text-accent"),
    )
    return line.stylize("on $primary 25%") if is_here else line


def chosen(seen: Measured, candidate: Candidate) -> Measured:
    """The measure of a token that a person puts in the place of the one that was drawn."""
    place = next(i for i, other in enumerate(lens.candidates(seen)) if other.id == candidate.id)
    return msgspec.structs.replace(
        seen,
        piece=candidate.piece,
        id=candidate.id,
        end=None,
        is_end=False,
        probability=candidate.probability,
        rank=place + 1,
        surprise=lens.surprise(candidate.probability),
        share=candidate.share,
        point=None,
        segment=None,
        is_chosen=True,
    )


def _others(rest: float, left: float, cells: int) -> Content:
    return Content.assemble(
        ("all others".ljust(_TOKEN_CELLS), MUTED),
        " ",
        (bar(rest, cells), "$foreground 40%"),
        f" {percent(rest):>6} ",
        (bar(left, cells), "$foreground 40%"),
        (f" {percent(left):>6}" if left > 0.00005 else "", ""),
    )


def _stages(seen: Measured, left: Sequence[tuple[str, int]], *, is_now: bool = False) -> list[Content]:
    """How many were left after each stage; said in another way where only today's settings are known."""
    if not left:
        return []
    title = ("left at your present settings: ", "$text-warning") if is_now else ("left after each stage: ", MUTED)
    told = " → ".join(f"{STAGE_NAMES.get(stage, stage)} {n_left:,}" for stage, n_left in left)
    n_vocab = seen.kept.n_vocab if seen.kept is not None else 0
    return [
        Content(""),
        Content.assemble(title, f"{n_vocab:,} → {told}" if n_vocab else told),
    ]


def draw_lines(seen: Measured, width: int) -> list[Content]:
    """The bar from 0 to 1 of all that were left, and the random point on it."""
    if seen.point is None:
        why = "temperature 0: the likeliest token is taken, nothing is drawn" if _is_greedy(seen) else ""
        return [Content.styled(why, MUTED)] if why else []
    cells = max(min(width - 4, 60), 10)
    start, end = seen.segment or (0.0, 0.0)
    at = min(int(seen.point * cells), cells - 1)
    first, behind = int(start * cells), max(int(end * cells), int(start * cells) + 1)
    bar_line = Content.assemble(
        ("─" * first, "$foreground 40%"),
        ("━" * (min(behind, cells) - first), "$text-accent"),
        ("─" * max(cells - behind, 0), "$foreground 40%"),
    )
    said = f"random point {seen.point:.3f} fell on {named(seen.piece, 16).strip()}"
    return [
        Content.assemble(" " * at, ("▼", "$text-accent"), (f"  {said}" if at + len(said) + 4 < width else "", MUTED)),
        bar_line,
        *([Content.styled(said, MUTED)] if at + len(said) + 4 >= width else []),
    ]


def _is_greedy(seen: Measured) -> bool:
    return bool(seen.stages) and seen.stages[-1].stage == "temperature" and seen.stages[-1].n_left == 1


def text(seen: Measured) -> str:
    """The same as plain lines."""
    said = [str(headline(seen)), "token\tthe model\tafter sampling\tcut by"]
    said += [
        f"{named(one.piece, 40).strip()}\t{one.probability:.4f}\t{one.share:.4f}\t{STAGE_NAMES.get(one.cut_by, one.cut_by)}"
        f"{' (drawn)' if one.piece == seen.piece else ''}"
        for one in lens.candidates(seen)
    ]
    if seen.point is not None:
        said.append(f"random point: {seen.point:.4f}")
    return "\n".join(said)
