"""An explanation as plain tables, each under one sentence that says what it shows."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

from chatterm.cli.explaining.explanation import Explanation, Layers, Looks, Meaning, Next, TokenRow
from chatterm.cli.terminal import aligned
from chatterm.text import line

TITLES: Mapping[str, str] = {
    "tokens": "Tokens",
    "next": "What may come next",
    "attention": "Where it looks",
    "layers": "Layer by layer",
    "neighbours": "Meaning as numbers",
}
CAPTIONS: Mapping[str, str] = {
    "tokens": "This is what the model really reads: your text, and what the chat template puts around it, "
    "cut into tokens, each with its number in the vocabulary.",
    "next": "For every token of its vocabulary the model says how probable it is as the next one; "
    "the settings leave some of them, and one of those is drawn at random.",
    "attention": "To read a token, the model looks back at earlier ones; these weights say how much at which, "
    "in one head of one layer, which is no explanation of what it makes of them.",
    "layers": "If the model stopped after each layer, this is what it would say next (the raw logit lens); "
    "early layers often make no sense.",
    "neighbours": "Each token is looked up as a row of numbers before anything is computed; "
    "tokens with similar rows are neighbours.",
}
_BAR = 24
_LINE = 96
_MOST_LOOKS = 8
_LEAST_LOOK = 0.005


def text(explanation: Explanation, sections: tuple[str, ...]) -> str:
    """All sections, with a line between them."""
    return "\n".join("\n".join(_section(explanation, section)) + "\n" for section in sections)


def _section(explanation: Explanation, section: str) -> Iterator[str]:
    yield TITLES[section].upper()
    if reason := explanation.missing.get(section):
        yield line(reason)
        return
    yield from textwrap.wrap(CAPTIONS[section], _LINE)
    yield ""
    yield from numbers(explanation, section)


def numbers(explanation: Explanation, section: str) -> Iterator[str]:
    """A section's table alone, in lines."""
    match getattr(explanation, section):
        case Next() as found:
            yield from _next(found)
        case Looks() as found:
            yield from _looks(found)
        case Layers() as found:
            yield from _layers(found)
        case Meaning() as found:
            yield from _meaning(found)
        case None:
            return
        case rows:
            yield from _tokens(rows)


def _tokens(rows: tuple[TokenRow, ...]) -> Iterator[str]:
    head = ("token", "id", "text", "")
    yield from _table(
        [head, *((str(row.number), str(row.token.id), quoted(row.token.text), _kind(row.kind)) for row in rows)]
    )


def _kind(kind: str) -> str:
    return {"special": "an instruction to the model", "template": "from the chat template"}.get(kind, "")


def _next(found: Next) -> Iterator[str]:
    if found.number is not None:
        yield f"After token {found.number}, the last one."
        yield ""
    to_be_drawn = "to be drawn" if found.candidates[0].share is not None else ""
    rows: list[tuple[str, ...]] = [("text", "probability", "", to_be_drawn, "")]
    rows += [
        (
            quoted(row.token.text),
            percent(row.probability),
            bar(row.probability),
            "" if row.share is None else percent(row.share),
            f"cut by {row.cut_by.replace('_', '-')}" if row.cut_by else "drawn" if row.token == found.drawn else "",
        )
        for row in found.candidates
    ]
    rows.append(("all others", percent(found.others), bar(found.others), "", ""))
    yield from _table(rows)
    yield ""
    drawn = "" if any(row.token == found.drawn for row in found.candidates) else f" Drawn: {quoted(found.drawn.text)}."
    if found.bits is None:
        yield f"The server tells no more than these.{drawn}"
    else:
        yield f"Uncertainty: {found.bits:.2f} bits, as if among {2**found.bits:,.1f} equally likely tokens.{drawn}"


def _looks(found: Looks) -> Iterator[str]:
    yield f"Token {found.number}, {quoted(found.row[-1].token.text)}, in layer {found.layer}, head {found.head}."
    yield f"{percent(found.row[0].weight)} rests on the first token, which is left out below."
    yield ""
    rows = sorted(found.row, key=lambda row: -row.without_first)[:_MOST_LOOKS]
    shown = [row for row in rows if row.without_first >= _LEAST_LOOK] or list(found.row[:1])
    head = ("token", "text", "share", "")
    yield from _table(
        [
            head,
            *(
                (str(row.number), quoted(row.token.text), percent(row.without_first), bar(row.without_first))
                for row in shown
            ),
        ]
    )
    yield ""
    counts = sorted({len(heads) for heads in found.first_by_head})
    told = f"{counts[0]} heads each" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} heads"
    yield f"The model has {len(found.layers)} such layers with {told}:"
    yield "--layer and --head choose another one, --token another token."


def _layers(found: Layers) -> Iterator[str]:
    yield f"After token {found.number}. The rank is that of {quoted(found.chosen.text)}, which comes next."
    yield ""
    rows: list[tuple[str, ...]] = [("layer", "says", "", "rank", "uncertainty")]
    rows += [
        (
            str(row.layer),
            f"{quoted(row.best[0].text)} {percent(row.probabilities[0])}",
            ", ".join(quoted(token.text) for token in row.best[1:]),
            f"{row.rank:,}",
            f"{row.bits:.1f} bits",
        )
        for row in found.rows
    ]
    yield from _table(rows)


def _meaning(found: Meaning) -> Iterator[str]:
    yield f"Each row has {found.tokens[0].n_dimensions:,} numbers; 1.00 is exactly the same direction."
    yield ""
    rows = [
        (
            quoted(each.token.text),
            ", ".join(
                f"{quoted(near.text)} {cosine:.2f}" for near, cosine in zip(each.near, each.cosines, strict=True)
            ),
        )
        for each in found.tokens
    ]
    yield from _table([("text", "neighbours"), *rows])
    if found.words is None:
        return
    yield ""
    yield "Your words compared with each other:"
    yield ""
    words = found.words
    yield from _table(
        [
            ("", *words.words),
            *(
                (word, *(f"{cosine:.2f}" for cosine in row))
                for word, row in zip(words.words, words.cosines, strict=True)
            ),
        ]
    )


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    return (f"  {each}" for each in aligned(rows))


def quoted(text: str) -> str:
    """A token so that its spaces are seen.

    Example: " the" -> "“ the”"
    """
    return f"“{text.replace(' ', '·')}”"


def percent(share: float) -> str:
    """A share as people read it.

    Example: 0.1234 -> "12.3%", 0.00001 -> "<0.1%"
    """
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def bar(share: float) -> str:
    """A bar of up to two dozen cells, in eighths of a cell."""
    eighths = round(max(0.0, min(share, 1.0)) * _BAR * 8)
    return "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "")
