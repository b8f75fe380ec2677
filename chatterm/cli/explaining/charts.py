"""The sections of an explanation as pictures: SVG that needs no network, no script and no font of its own.

Everything that comes from a model or a text is escaped. Blue stands for more, orange for below zero: the
two can be told apart by nearly everybody, and each number stands beside its mark or in its tooltip.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from html import escape

from rich.cells import cell_len

from chatterm.cli.explaining.explanation import Explanation, Layers, Looks, Meaning, Next, TokenRow
from chatterm.cli.explaining.tables import CAPTIONS, TITLES, percent
from chatterm.text import plain

WIDTH = 860
STYLE = """
svg{--ink:#1c2430;--soft:#66707f;--paper:#ffffff;--line:#d9dee6;--more:#1f66c7;--below:#c4621d;--tint:#eef2f8;
--tint2:#dfe8f5;font:14px ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace}
@media (prefers-color-scheme:dark){svg{--ink:#e4e8ee;--soft:#98a2b1;--paper:#14181e;--line:#323a46;--more:#6ea8ff;
--below:#f0a05c;--tint:#1f262f;--tint2:#2a3543}}
svg text{fill:var(--ink);white-space:pre}svg .soft{fill:var(--soft)}svg .small{font-size:11px}
svg .title{font:bold 18px system-ui,sans-serif}svg .say{font:13px system-ui,sans-serif;fill:var(--soft)}
svg .more{fill:var(--more)}svg .below{fill:var(--below)}svg .line{fill:var(--line)}svg .tint{fill:var(--tint)}
svg .tint2{fill:var(--tint2)}svg .paper{fill:var(--paper)}svg .edge{fill:none;stroke:var(--line)}
"""
_LETTER = 8.45
"""Width of a letter of the font, as nearly all monospaced fonts of 14 pixels have it."""
_ROW = 24
_BAR = 300
_SAY_LETTERS = 118


class Canvas:
    """A picture that grows downwards."""

    def __init__(self) -> None:
        self.y = 0.0
        self._parts: list[str] = []

    @property
    def body(self) -> str:
        """All that was drawn."""
        return "\n".join(self._parts)

    def text(self, x: float, y: float, text: str, classes: str = "", anchor: str = "start") -> None:
        """A line of text; its middle height is at y."""
        mark = f' class="{classes}"' if classes else ""
        place = f' text-anchor="{anchor}"' if anchor != "start" else ""
        self._parts.append(f'<text x="{x:.1f}" y="{y + 5:.1f}"{mark}{place}>{_escaped(text)}</text>')

    def box(
        self, x: float, y: float, width: float, height: float, classes: str, *, opacity: float = 1, note: str = ""
    ) -> None:
        """A filled rectangle, with a tooltip."""
        shade = f' fill-opacity="{max(0.0, min(opacity, 1.0)):.3f}"' if opacity < 1 else ""
        inner = f"><title>{_escaped(note)}</title></rect>" if note else "/>"
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" rx="2" '
            f'class="{classes}"{shade}{inner}'
        )

    def dot(self, x: float, y: float) -> None:
        """A point."""
        self._parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="more"/>')

    def say(self, sentence: str) -> None:
        """A sentence below what is there, in as many lines as it takes."""
        for line in _wrapped(sentence):
            self.text(0, self.y + 9, line, "say")
            self.y += 19

    def tokens(self, tokens: Sequence[tuple[str, str, float, str]]) -> None:
        """Tokens as in a text, one after the other in lines.

        Args:
            tokens: Of each its text, the class of its ground, how strong that is, and its tooltip.
        """
        x = 0.0
        for text, classes, opacity, note in tokens:
            width = _width(text) + 8
            if x and x + width > WIDTH:
                x, self.y = 0.0, self.y + _ROW + 4
            self.box(x, self.y, width, _ROW, "tint")
            self.box(x, self.y, width, _ROW, classes, opacity=opacity, note=note)
            self.text(x + 4, self.y + _ROW / 2, text)
            x += width + 2
        self.y += _ROW + 10

    def heat(
        self, x: float, rows: Sequence[Sequence[float]], cell: float, note: Callable[[int, int], str], most: float = 1
    ) -> None:
        """A field of cells, the stronger the more; below zero in the other colour."""
        for i, row in enumerate(rows):
            for j, value in enumerate(row):
                classes = "more" if value >= 0 else "below"
                self.box(x + j * cell, self.y + i * cell, cell - 1, cell - 1, "tint")
                if value:
                    self.box(
                        x + j * cell,
                        self.y + i * cell,
                        cell - 1,
                        cell - 1,
                        classes,
                        opacity=abs(value) / most,
                        note=note(i, j),
                    )


def picture(explanation: Explanation, sections: Sequence[str]) -> str:
    """All sections below each other, as one SVG document."""
    canvas = Canvas()
    canvas.y = 20
    for section in sections:
        canvas.text(0, canvas.y, TITLES[section], "title")
        canvas.y += 18
        canvas.say(explanation.missing.get(section) or CAPTIONS[section])
        canvas.y += 8
        draw(canvas, explanation, section)
        canvas.y += 30
    return _document(canvas, 'xmlns="http://www.w3.org/2000/svg" ', ground=True)


def chart(explanation: Explanation, section: str) -> str:
    """One section as an SVG element for a page, without title and caption."""
    canvas = Canvas()
    draw(canvas, explanation, section)
    return _document(canvas, f'role="img" aria-label="{_escaped(TITLES[section])}" ')


def draw(canvas: Canvas, explanation: Explanation, section: str) -> None:
    """A section's picture, below what is there."""
    match getattr(explanation, section):
        case None:
            return
        case Next() as found:
            _next(canvas, found)
        case Looks() as found:
            _looks(canvas, found)
        case Layers() as found:
            _layers(canvas, found)
        case Meaning() as found:
            _meaning(canvas, found)
        case rows:
            _tokens(canvas, rows)


def _document(canvas: Canvas, attributes: str, *, ground: bool = False) -> str:
    margin = 16 if ground else 1
    width, height = WIDTH + 2 * margin, math.ceil(canvas.y) + margin
    paper = f'<rect x="{-margin}" y="0" width="{width}" height="{height}" class="paper"/>' if ground else ""
    style = f"<style>{STYLE}</style>" if ground else ""
    return (
        f'<svg {attributes}viewBox="{-margin} 0 {width} {height}" width="{width}" height="{height}">'
        f"{style}{paper}\n{canvas.body}\n</svg>"
    )


_GROUNDS: Mapping[str, tuple[str, float]] = {"special": ("below", 0.35), "template": ("line", 1.0)}


def _tokens(canvas: Canvas, rows: Sequence[TokenRow]) -> None:
    """Neighbouring tokens in different tints; what the template adds is grey, instructions are orange."""

    def drawn() -> Iterator[tuple[str, str, float, str]]:
        for row in rows:
            classes, opacity = _GROUNDS.get(row.kind, (("tint2", "tint")[row.number % 2], 1.0))
            yield row.token.text, classes, opacity, f"token {row.number}, id {row.token.id}, bytes {row.token.bytes}"

    canvas.tokens(list(drawn()))
    canvas.text(
        0, canvas.y + 4, f"{len(rows):,} tokens; grey from the chat template, orange instructions to the model", "say"
    )
    canvas.y += 16


def _next(canvas: Canvas, found: Next) -> None:
    """Two bars a token: what the model says in light, what it is drawn from in full colour."""
    left = 190
    if found.number is not None:
        canvas.say(f"After token {found.number}, the last one.")
        canvas.y += 6
    for row in found.candidates:
        y = canvas.y
        canvas.text(left - 10, y + _ROW / 2, _short(row.token.text, 20), anchor="end")
        canvas.box(left, y + 3, _BAR * row.probability, 9, "more", opacity=0.4, note=percent(row.probability))
        cut = f"cut by {row.cut_by.replace('_', '-')}" if row.cut_by else ""
        if row.share is not None:
            canvas.box(left, y + 13, _BAR * row.share, 7, "more", note=percent(row.share))
            cut = cut or f"{percent(row.share)} to be drawn"
        is_drawn = "  ◀ drawn" if row.token == found.drawn else ""
        canvas.text(left + _BAR + 10, y + _ROW / 2, f"{percent(row.probability):>6}  {cut}{is_drawn}", "small")
        canvas.y += _ROW
    canvas.text(left - 10, canvas.y + _ROW / 2, "all others", "soft", anchor="end")
    canvas.box(left, canvas.y + 3, _BAR * found.others, 9, "line", note=percent(found.others))
    canvas.text(left + _BAR + 10, canvas.y + _ROW / 2, f"{percent(found.others):>6}", "small")
    canvas.y += _ROW + 8
    canvas.say(f"Light: what the model says. Full: what is left at temperature {found.temperature:g} and drawn from.")


def _looks(canvas: Canvas, found: Looks) -> None:
    """The text with its weights as ground, then the heads, then the map."""
    most = max((row.without_first for row in found.row), default=0) or 1
    canvas.tokens(
        [
            (row.token.text, "more", 0.75 * row.without_first / most, f"{percent(row.without_first)} ({row.number})")
            for row in found.row
        ]
    )
    canvas.say(
        f"Token {found.number} looks back, in layer {found.layer}, head {found.head}; the first token, on which "
        f"{percent(found.row[0].weight)} rests, is left out."
    )
    canvas.y += 10
    top, cell = canvas.y, min(18.0, 340 / max(1, *map(len, found.first_by_head)))
    canvas.say(
        "Each layer (down) and head (across). Left: the stronger the colour, the less rests on the first token. "
        "Right: the stronger, the fewer tokens it looks at."
    )
    canvas.y += 4
    others = [[1 - share for share in row] for row in found.first_by_head]
    focus = [[2**-bits for bits in row] for row in found.bits_by_head]

    def place(i: int, j: int) -> str:
        return f"layer {found.layers[i]}, head {j + 1}"

    canvas.heat(0, others, cell, lambda i, j: f"{place(i, j)}: {percent(others[i][j])} on later tokens")
    canvas.heat(WIDTH / 2, focus, cell, lambda i, j: f"{place(i, j)}: as if evenly at {1 / focus[i][j]:.1f} tokens")
    bottom = canvas.y = canvas.y + len(others) * cell + 14
    if found.number > 1:
        canvas.say(
            f"Tokens {found.map_start} to {found.number} in this head: each (down) and which ones it looks at (across)."
        )
        canvas.y += 4
        size = min(16.0, 420 / len(found.map))
        canvas.heat(
            0,
            [row[: i + 1] for i, row in enumerate(found.map)],
            size,
            lambda i, j: f"{found.map_start + i} looks at {found.map_start + j}: {percent(found.map[i][j])}",
        )
        canvas.y += len(found.map) * size
    canvas.y = max(canvas.y, bottom, top)


def _layers(canvas: Canvas, found: Layers) -> None:
    """A row a layer: its three likeliest tokens, the stronger the likelier, and how it ranks what comes next."""
    canvas.say(f"After token {found.number}. The rank is that of “{found.chosen.text}”, which comes next.")
    canvas.y += 6
    for row in found.rows:
        y, x = canvas.y, 70.0
        canvas.text(60, y + _ROW / 2, f"layer {row.layer}", "soft small", anchor="end")
        for token, probability in zip(row.best, row.probabilities, strict=True):
            canvas.box(x, y + 2, 170, _ROW - 4, "tint")
            canvas.box(x, y + 2, 170, _ROW - 4, "more", opacity=0.75 * probability, note=percent(probability))
            canvas.text(x + 6, y + _ROW / 2, _short(token.text, 13))
            canvas.text(x + 166, y + _ROW / 2, percent(probability), "small", anchor="end")
            x += 176
        canvas.text(x + 8, y + _ROW / 2, f"rank {row.rank:,}, {row.bits:.1f} bits", "small")
        canvas.y += _ROW


def _meaning(canvas: Canvas, found: Meaning) -> None:
    """Each token's numbers as a strip with its neighbours, then the words as places and compared."""
    for each in found.tokens:
        y, most = canvas.y, max(map(abs, each.picture), default=0) or 1
        canvas.text(0, y + 12, _short(each.token.text, 16))
        canvas.y += 3
        canvas.heat(150, [each.picture], 11, partial(_number, each.picture), most)
        near = "   ".join(
            f"{_short(token.text, 12)} {cosine:.2f}" for token, cosine in zip(each.near, each.cosines, strict=True)
        )
        canvas.text(150, y + 27, near, "small soft")
        canvas.y = y + 42
    canvas.say(
        f"Each strip stands for {found.tokens[0].n_dimensions:,} numbers, blue above zero and orange below; under it "
        "the tokens whose numbers are most similar (1.00 is the same direction)."
    )
    if found.words is None:
        return
    words, size = found.words, 300.0
    canvas.y += 14
    top = canvas.y
    canvas.box(0, top, size + 120, size, "edge")
    labels: list[tuple[float, float]] = []
    for word, (x, y) in zip(words.words, words.points, strict=True):
        left, height = 20 + (x + 1) / 2 * (size - 40), top + 20 + (1 - y) / 2 * (size - 40)
        canvas.dot(left, height)
        while any(abs(left - other) < 110 and abs(height - above) < 12 for other, above in labels):
            height += 3
        labels.append((left, height))
        canvas.text(left + 8, height, _short(word, 16), "small")
    cell = min(40.0, 300 / len(words.words))
    canvas.heat(
        size + 150,
        words.cosines,
        cell,
        lambda i, j: f"{words.words[i]} and {words.words[j]}: {words.cosines[i][j]:.2f}",
    )
    for i, word in enumerate(words.words):
        canvas.text(size + 156 + len(words.words) * cell, top + (i + 0.5) * cell, _short(word, 11), "small")
    canvas.y = top + size + 8
    canvas.say(
        f"Left: your words on the plane that shows most of their differences ({words.shown:.0%}). "
        "Right: each word with each, the stronger the more similar."
    )


def _number(picture: Sequence[float], _: int, place: int) -> str:
    return f"{picture[place]:.3f}"


def _short(text: str, n: int) -> str:
    return text if len(text) <= n else f"{text[: n - 1]}…"


def _width(text: str) -> float:
    """How wide a text is drawn; letters of East Asia take two cells."""
    return _LETTER * cell_len(text)


def _escaped(text: str) -> str:
    return escape(plain(text))


def _wrapped(sentence: str) -> list[str]:
    """A sentence in lines."""
    lines = [""]
    for word in sentence.split(" "):
        if len(lines[-1]) + len(word) > _SAY_LETTERS:
            lines.append("")
        lines[-1] += f"{' ' if lines[-1] else ''}{word}"
    return lines
