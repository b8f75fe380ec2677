"""Tokens by themselves, in characters: bytes, number and place, and how the same word is cut in other spellings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from textual.content import Content

from chatterm.ui.glass.marks import MUTED, named
from chatterm.ui.glass.shown_token import TokenKind
from chatterm.ui.glass.source import TYPED, GlassSource, GlassToken
from chatterm.ui.glass.tinting import LEGENDS, Tint


class Cuts(NamedTuple):
    """How a word is cut in other spellings: each as it is shown, and in how many tokens."""

    cuts: tuple[tuple[str, int], ...] = ()


async def cuts_of(source: GlassSource, piece: bytes) -> Cuts:
    """How a word is cut as it is, with a capital, without one, and with a blank before it."""
    word = piece.decode("utf-8", "replace").strip()
    if not re.fullmatch(r"[^\W\d_]{2,30}", word):
        return Cuts()
    spellings = dict.fromkeys((word, f" {word}", word.capitalize(), word.lower(), word.upper()))
    cuts = []
    for spelling in spellings:
        pieces = await source.cut(spelling)
        cuts.append((" ".join(f"[{named(one, 40).strip()}]" for one in pieces), len(pieces)))
    return Cuts(tuple(cuts))


def lines(tokens: Sequence[GlassToken], place: int, seen: Cuts) -> list[Content]:
    """What is known of a token by itself."""
    token = tokens[place]
    number = "its number is not told" if token.id is None else f"number {token.id:,} of the vocabulary"
    rows = [
        Content.assemble((named(token.piece, 40).strip(), "bold"), (f"   {number}", MUTED)),
        Content.assemble(("bytes      ", MUTED), token.piece.hex(" ") or "none"),
        Content.assemble(("place      ", MUTED), f"{place + 1:,} of {len(tokens):,}"),
        Content.assemble(("part of    ", MUTED), token.part or token.kind.value),
    ]
    if token.is_reused:
        rows.append(Content.assemble(("read       ", MUTED), "before; it was still in the KV cache"))
    if seen.cuts:
        rows += [Content(""), Content.styled("The same word in other spellings:", MUTED)]
        rows += [
            Content.assemble(("  ", ""), cut, (f"   {n} token{'' if n == 1 else 's'}", MUTED)) for cut, n in seen.cuts
        ]
    return rows


def legend(tokens: Sequence[GlassToken], tint: Tint) -> str:
    """How many there are, and what their colours say."""
    cut = [token for token in tokens if token.kind is not TokenKind.UNCUT]
    n_typed = sum(token.part == TYPED for token in cut)
    typed = f", {n_typed:,} of them in what you are typing" if n_typed else ""
    return f"{len(cut):,} tokens{typed} · {tint.value}: {LEGENDS[tint]}"


def text(tokens: Sequence[GlassToken]) -> str:
    """All of them as tab-separated lines."""
    rows = [
        f"{place}\t{token.id}\t{named(token.piece, 60).strip()}\t{token.part}" for place, token in enumerate(tokens, 1)
    ]
    return "\n".join(["place\tnumber\ttoken\tpart", *rows])


def as_json(tokens: Sequence[GlassToken]) -> list[dict[str, Any]]:
    """All of them for a program."""
    return [
        {"id": one.id, "piece": one.piece.decode("utf-8", "replace"), "kind": one.kind.value, "part": one.part}
        for one in tokens
    ]
