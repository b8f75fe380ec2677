"""A token as numbers, in characters: its embedding as a strip, and the tokens whose embeddings are most similar."""

from __future__ import annotations

import re

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from chatterm.glass import Drift, DriftRequest, Neighbours, Similarity
from chatterm.text import line
from chatterm.ui.glass.marks import MUTED, bar, named, strip

_TOKEN_CELLS = 18
_BAR_CELLS = 20
MOST_WORDS = 24


def lines(seen: Neighbours, width: int) -> list[Content]:
    """The strip, then the neighbours with their cosines."""
    return [
        Content.assemble(
            (named(seen.token.piece, _TOKEN_CELLS).strip(), "bold"),
            (
                f" is {seen.n_dimensions:,} numbers, looked up in a table; the vector's length is {seen.token.value:.2f}",
                MUTED,
            ),
        ),
        strip(seen.picture, width),
        Content.styled("above zero", "$text-primary") + Content("  ") + Content.styled("below zero", "$text-warning"),
        Content(""),
        Content.styled("most similar tokens, by the cosine of the angle between them", MUTED),
        *(
            Content.assemble(
                (named(near.piece, _TOKEN_CELLS), ""),
                " ",
                (bar(max(near.value, 0.0), _BAR_CELLS), "$text-primary"),
                f" {near.value:.3f}",
            )
            for near in seen.neighbours
        ),
    ]


def drift_lines(seen: Drift, asked: DriftRequest, width: int = 80) -> list[Content]:
    """How similar a word stays to itself in two sentences, layer by layer."""
    return [
        Content.assemble(("1  ", MUTED), *_around(asked.word, asked.first, width - 3)),
        Content.assemble(("2  ", MUTED), *_around(asked.word, asked.second, width - 3)),
        Content.assemble(
            (line(seen.word), "bold"), (" drifts apart from layer to layer; a cosine of 1.000 is the same", MUTED)
        ),
        *(
            Content.assemble(
                ("table" if not layer else f"{layer:>5}", MUTED),
                " ",
                (bar(max(cosine, 0.0), _BAR_CELLS), "$text-primary"),
                f" {cosine:.3f}",
            )
            for layer, cosine in enumerate(seen.cosines)
        ),
    ]


def _around(word: str, sentence: str, cells: int) -> list[tuple[str, str]]:
    """A sentence on one line, cut on both sides of the word where it is too long; only what stands before it counts."""
    before, _, after = line(sentence).rpartition(line(word))
    room = max(cells - cell_len(word), 8)
    if cell_len(before) > room:
        while before and cell_len(before) > room - 1:
            before = before[1:]
        before = f"…{before}"
    room -= cell_len(before)
    if cell_len(after) > room:
        after = set_cell_size(after, room - 1) + "…" if room > 1 else ""
    return [(before, ""), (line(word), "bold"), (after, MUTED)]


def scatter(seen: Similarity, width: int, height: int) -> list[Content]:
    """The words on a plane, as well as a plane can show their differences."""
    rows = [[" "] * width for _ in range(height)]
    xs, ys = [x for x, _ in seen.points], [y for _, y in seen.points]
    for word, (x, y) in zip(seen.words, seen.points, strict=True):
        label = f"•{named(word.encode(), 12).strip()}"
        column = round(_share(x, xs) * max(width - len(label), 0))
        line = round((1 - _share(y, ys)) * (height - 1))
        for place in sorted(range(height), key=lambda row: abs(row - line)):
            if all(cell == " " for cell in rows[place][column : column + len(label) + 1]):
                rows[place][column : column + len(label)] = label
                break
    note = f"{seen.shown:.0%} of the differences between the words show on this plane".replace("%", " %")
    return [*(Content("".join(row).rstrip()) for row in rows), Content.styled(note, MUTED)]


def _share(value: float, values: list[float]) -> float:
    """Where a value lies between the least and the largest."""
    least, most = min(values), max(values)
    return (value - least) / (most - least) if most > least else 0.5


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text, each once, as they are written, at most so many as a plane can hold."""
    return tuple(dict.fromkeys(re.findall(r"[^\W\d_]{2,}", text)))[:MOST_WORDS]


def two_sentences(word: str, text: str) -> DriftRequest:
    """A word in two sentences of a text; a well-known example where the text has no two."""
    found = (
        [one.strip() for one in re.split(r"[.!?\n]+", text) if re.search(rf"\b{re.escape(word)}\b", one)]
        if word
        else []
    )
    sentences = list(dict.fromkeys(found))
    if len(sentences) < 2:
        return DriftRequest("bank", "They sat on the river bank", "They opened a bank account at the bank")
    return DriftRequest(word, sentences[0], sentences[-1])


def text(seen: Neighbours) -> str:
    """The same as tab-separated lines."""
    said = [
        f"{named(seen.token.piece, 40).strip()}: {seen.n_dimensions} numbers, length {seen.token.value:.3f}; nearest by cosine:"
    ]
    said += [f"{named(near.piece, 40).strip()}\t{near.value:.4f}" for near in seen.neighbours]
    return "\n".join(said)
