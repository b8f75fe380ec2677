"""Lines of styled text: what wrapping makes of spans, and what selecting and copying read back.

A line knows which of its cells are text and which are decoration, and how it joins the next one,
so that what is copied is what was written. Knows neither Markdown nor widgets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from unicodedata import category

from rich.cells import cell_len, split_graphemes
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip


class Span(NamedTuple):
    """A run of text in one style."""

    text: str
    style: Style
    url: str = ""
    """What a click opens; empty for plain text."""


class Link(NamedTuple):
    """Where a line can be clicked, in cells."""

    start: int
    end: int
    url: str


class Code:
    """A code block as it was written, shared by its lines; grows while it streams."""

    __slots__ = ("language", "pieces", "rest")

    def __init__(self, language: str, source: str) -> None:
        self.language = language
        self.pieces: list[str] = []
        """What is written and no longer changes."""
        self.rest = source

    @property
    def source(self) -> str:
        """The code, without a last line break."""
        return ("".join(self.pieces) + self.rest).removesuffix("\n")


class Line:
    """One line on the screen, without the margin that the transcript adds."""

    __slots__ = ("code", "fill", "indent", "joint", "links", "mark", "segments", "source", "strip", "variant")

    def __init__(
        self,
        segments: Sequence[Segment] = (),
        *,
        indent: int = 0,
        joint: str = "\n",
        links: Sequence[Link] = (),
        source: str | None = None,
        fill: Style | None = None,
        code: Code | None = None,
    ) -> None:
        self.segments = list(segments)
        self.indent = indent
        """Cells at its start that are decoration: never selected, never copied."""
        self.joint = joint
        """What stands between this line and the next in the text: a line break, or how a wrapped line goes on."""
        self.links = links
        self.source = source
        """The text as written, where the cells show it differently (tabs in code)."""
        self.fill = fill
        """What the rest of the line is painted with; None for the page."""
        self.code = code
        self.mark: Link | None = None
        """Cells whose click copies the code block."""
        self.strip: Strip | None = None
        """Ready to be drawn; kept by the transcript."""
        self.variant: object = None
        """For which width and state `strip` was made."""

    @property
    def cells(self) -> int:
        """Its width without what fills the line."""
        return sum(cell_len(segment.text) for segment in self.segments)

    @property
    def text(self) -> str:
        """What can be selected in it."""
        return "".join(segment.text for segment in self.segments)[self.indent :]

    def prefixed(self, prefix: Sequence[Segment], selectable: bool = False) -> Line:
        """The same line behind a prefix (in place): a list's bullet or the bar of a quote.

        Args:
            prefix: Characters that take one cell each.
            selectable: Whether the prefix is part of the text.
        """
        width = sum(len(segment.text) for segment in prefix)
        self.segments[:0] = prefix
        if not selectable:
            self.indent += width
        if self.links:
            self.links = [Link(start + width, end + width, url) for start, end, url in self.links]
        if self.mark is not None:
            self.mark = Link(self.mark.start + width, self.mark.end + width, self.mark.url)
        return self

    def same(self, other: Line) -> bool:
        """Whether both look alike; they may belong to different states of a code block."""
        return (
            self.segments == other.segments
            and self.indent == other.indent
            and self.joint == other.joint
            and self.fill == other.fill
            and self.links == other.links
            and self.mark == other.mark
        )


def graphemes(text: str) -> list[tuple[int, int, int]]:
    """What a reader takes for characters: start, end and cells of each; the two halves of a flag stay together."""
    spans, _ = split_graphemes(text)
    if not _FLAG.search(text):
        return spans
    joined: list[tuple[int, int, int]] = []
    for start, end, width in spans:
        if joined and _FLAG.fullmatch(text, joined[-1][0], end):
            first, _, cells = joined[-1]
            joined[-1] = (first, end, cells + width)
        else:
            joined.append((start, end, width))
    return joined


def most_cells(text: str) -> int:
    """The cells that a text takes on any terminal: some count the vowel signs of Indic scripts, others do not.

    Example: "日本" -> 4, and 3 for a syllable of a letter and two signs
    """
    if text.isascii():
        return len(text)
    if not FLOWING.search(text):
        return cell_len(text)
    return max(cell_len(text), sum(category(character) not in ("Mn", "Me", "Cf") for character in text))


def cells_to_index(text: str, cells: int) -> int:
    """Index of the character at a cell; a character of two cells is taken whole.

    Example: "日本", 1 -> 0, and 2 -> 1
    """
    if text.isascii():
        return min(max(cells, 0), len(text))
    position = 0
    for start, _end, width in graphemes(text):
        if position + width > cells:
            return start
        position += width
    return len(text)


FLOWING = re.compile(
    "[\u0900-\u0dff\u0f00-\u109f\u1100-\u11ff\u135d-\u135f\u1700-\u1aff\u1b00-\u1cff\ua800-\uabff\ud7b0-\ud7ff]"
)
"""Scripts with vowel signs or parts of syllables that terminals count differently."""
_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]{2}")
_WIDE = "\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\U0001f300-\U0003fffd"
_WIDE_TEXT = re.compile(f"[{_WIDE}]")
_NOT_FIRST = frozenset("、。，．・：；？！」』）］｝〉》】〕ー…―’”,.;:?!)]}")
_NOT_LAST = frozenset("「『（［｛〈《【〔‘“([{")


def wrap(spans: Sequence[Span], width: int) -> list[tuple[list[Span], str]]:
    """Break spans into lines of at most so many cells, never inside a character.

    Breaks at blanks, between wide characters (but not before a closing or after an opening mark), and
    anywhere in a word that is wider than a line.

    Returns:
        Each line's spans, and its joint: a line break of the text, or the blanks ("" for none) where it was wrapped.
    """
    width = max(width, 2)
    text = "".join(span.text for span in spans)
    if "\n" not in text and len(text) <= width and (text.isascii() or most_cells(text) <= width):
        return [(list(spans), "\n")]
    lines: list[tuple[list[Span], str]] = []
    cutter = _Cutter(spans)
    start = 0
    for paragraph in text.split("\n"):
        for begin, end, joint in _ranges(paragraph, width):
            lines.append((cutter.cut(start + begin, start + end), joint))
        start += len(paragraph) + 1
    return lines


class _Cutter:
    """Cuts ranges out of spans; ranges must come in order."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self.spans = spans
        self.index = 0
        self.offset = 0
        """Where the span at `index` starts in the whole text."""

    def cut(self, start: int, end: int) -> list[Span]:
        """The spans of a range of the text."""
        found: list[Span] = []
        while self.index < len(self.spans):
            span = self.spans[self.index]
            after = self.offset + len(span.text)
            if after > start:
                piece = span.text[max(start - self.offset, 0) : end - self.offset]
                if piece:
                    found.append(span._replace(text=piece))
                if after >= end:
                    break
            self.offset = after
            self.index += 1
        return found


def _ranges(text: str, width: int) -> Iterator[tuple[int, int, str]]:
    """Where a paragraph without line breaks is broken: start, end and what was left out after it."""
    if len(text) <= width and (text.isascii() or most_cells(text) <= width):
        yield 0, len(text), "\n"
        return
    start = end = used = 0
    for begin, stop, blanks, cells in _units(text, width):
        gap = blanks if end > start or start == 0 else 0
        if used + gap + cells > width and end > start:
            yield start, end, text[end : begin + blanks]
            start, used, gap = begin + blanks, 0, 0
        elif gap + cells > width:  # an indentation as wide as the line
            start, gap = begin + blanks, 0
        used += gap + cells
        end = stop
    yield start, max(end, start), "\n"


def _units(text: str, width: int) -> Iterator[tuple[int, int, int, int]]:
    """What must stay together: start (with the blanks before it), end, number of blanks, cells without them."""
    for match in re.finditer(r"\s*\S+", text):
        word_start = match.start() + len(match.group()) - len(match.group().lstrip())
        blanks = word_start - match.start()
        word = text[word_start : match.end()]
        if word.isascii() or not _WIDE_TEXT.search(word):
            cells = most_cells(word)
            if cells <= width:
                yield match.start(), match.end(), blanks, cells
                continue
        begin, lead = match.start(), blanks
        for length, cells in _pieces(word, width):
            yield begin, word_start + length, lead, cells
            begin, lead = word_start + length, 0


def _pieces(word: str, width: int) -> Iterator[tuple[int, int]]:
    """Where a word may be broken: the length up to there, and the cells since the piece before."""
    spans = graphemes(word)
    too_long = not _WIDE_TEXT.search(word)
    cells = 0
    for i, (start, end, size) in enumerate(spans):
        cells += max(size, most_cells(word[start:end]))
        if i + 1 == len(spans):
            yield end, cells
            return
        here, following = word[start], word[spans[i + 1][0]]
        next_size = spans[i + 1][2]
        wide = size == 2 or next_size == 2
        breakable = wide and following not in _NOT_FIRST and here not in _NOT_LAST
        if too_long or breakable or cells + next_size > width:
            yield end, cells
            cells = 0
