"""Whose tokens they are: a prompt and the context window, split among the turns and the chat template.

The template is rendered a second time with fences around the text of each turn; what they enclose is
that turn's. Nothing here is needed for a reply.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import msgspec

from chatterm.engine.base import Prompt, PromptPiece, PromptTurn, WindowPart, WindowReport
from chatterm.engine.worker.compose import Composed, Composer
from chatterm.engine.worker.context import n_common
from chatterm.engine.worker.generate import Cut, known_tokens, without_reply
from chatterm.engine.worker.load import LoadedModel
from chatterm.engine.worker.template import ChatTemplate
from chatterm.engine.worker.vocabulary import Vocabulary
from chatterm.errors import PromptTooLong

_OPEN, _CLOSE, _ZERO = "\ufdd2", "\ufdd3", 0xFDE0
"""Code points that no text may contain; sixteen of them, from the last one on, are the digits of a turn's place."""
_FENCE = re.compile("\ufdd2([\ufde0-\ufdef]+)|\ufdd3")
_REPLY = -1
"""Stands for the reply among the places of turns."""
_FAR_BYTES = 64
"""Where a token's bytes are not where they should be, they are looked for so much further on."""


class _Kind(NamedTuple):
    """What is known of a token of the vocabulary."""

    piece: bytes
    is_control: bool
    is_special: bool


class _Stretch(NamedTuple):
    """Where the text of a turn stands in the prompt."""

    start: int
    end: int
    turn: int


def prompt_pieces(model: LoadedModel, prompt: Prompt, last: Cut | None) -> list[PromptPiece]:
    """A prompt as the model would read it now, token by token; with the reply that goes on, where there is one."""
    composed, reply = _as_read(model, prompt, last)
    tokens = composed.tokens + reply
    kinds = _kinds(model.vocabulary, tokens)
    owners = [*_owners(model, composed, prompt, kinds), *[len(prompt.turns) - 1] * len(reply)]
    n_reused = min(n_common(tokens, last.composed.tokens + last.reply), last.n_reused) if last else 0
    n_cached = n_common(tokens, model.context.tokens)
    return [
        PromptPiece(
            token,
            kinds[token].piece,
            _is_instruction(kinds[token], owner),
            owner,
            was_reused=i < n_reused,
            is_cached=i < n_cached,
        )
        for i, (token, owner) in enumerate(zip(tokens, owners, strict=True))
    ]


def window_report(model: LoadedModel, last: Cut | None) -> WindowReport:
    """What is in the context window now, and what was left out for the last reply."""
    context, llama = model.context, model.library.llama
    if last is None:
        return WindowReport(context.n_ctx)
    owners = _owners(model, last.composed, last.prompt, _kinds(model.vocabulary, last.composed.tokens))
    owners += [_REPLY] * len(last.reply)
    owners = owners[: n_common(last.composed.tokens + last.reply, context.tokens)]
    owners += [None] * (len(context.tokens) - len(owners))
    parts, start = [], 0
    for owner, group in groupby(owners):
        n_tokens = len(list(group))
        turn = None if owner in (None, _REPLY) else last.prompt.turns[owner]
        n_reused = min(max(0, last.n_reused - start), n_tokens)
        parts.append(WindowPart(n_tokens, turn, owner == _REPLY, n_reused))
        start += n_tokens
    n_bytes = int(llama.llama_state_seq_get_size(context.pointer, 0)) if owners else 0
    return WindowReport(context.n_ctx, tuple(parts), last.composed.dropped, n_bytes)


def _kinds(vocabulary: Vocabulary, tokens: Sequence[int]) -> dict[int, _Kind]:
    """What is known of each token of a text; asked once, since most come again."""
    return {
        token: _Kind(vocabulary.piece(token, special=True), vocabulary.is_control(token), vocabulary.is_special(token))
        for token in set(tokens)
    }


def _owners(model: LoadedModel, composed: Composed, prompt: Prompt, kinds: Mapping[int, _Kind]) -> list[int | None]:
    """For each token of a prompt, to which of its turns it belongs; None for the template's own."""
    if prompt.raw is not None:
        return [None] * len(composed.tokens)
    turns = [prompt.turns[place] for place in composed.kept]
    text, stretches = _stretches(model.template, turns, prompt)
    whole = text.encode("utf-8", "replace")
    at, owners = 0, list[int | None]()
    for token in composed.tokens:
        start, at = _found(whole, at, kinds[token])
        while stretches and stretches[0].end <= start:
            stretches.pop(0)
        owned = stretches and stretches[0].start < at and start < at
        owners.append(composed.kept[stretches[0].turn] if owned else None)
    return owners


def _as_read(model: LoadedModel, prompt: Prompt, last: Cut | None) -> tuple[Composed, list[int]]:
    """The prompt as it was put together for the last reply, if it is that one, else as it would be now."""
    if last is not None and last.prompt == without_reply(prompt):
        if not prompt.continues:
            return last.composed, []
        if ids := known_tokens(model.vocabulary, last, prompt.turns[-1].text):
            return last.composed, ids
    composer = Composer(model.vocabulary, model.template, model.context.n_ctx)
    try:
        return composer.fitting(prompt), []
    except PromptTooLong:
        return composer.whole(prompt), []


def _stretches(template: ChatTemplate, turns: Sequence[PromptTurn], prompt: Prompt) -> tuple[str, list[_Stretch]]:
    """The text of a prompt, and where in its bytes the turns stand, in order."""

    def rendered(turns: Sequence[PromptTurn]) -> str:
        return template.render(turns, prompt.template_variables, continues=prompt.continues).text

    text = rendered(turns)
    for fenced in (_fenced, _fenced_inside):
        plain, stretches = _without_fences(rendered([fenced(turn, place) for place, turn in enumerate(turns)]))
        if plain == text:
            break
    else:  # the template looks into the texts, and what it sees there counts
        stretches = _searched(text, turns)
    return text, [_in_bytes(text, stretch) for stretch in stretches]


def _in_bytes(text: str, stretch: _Stretch) -> _Stretch:
    """A stretch counted in bytes instead of characters."""
    return _Stretch(_n_bytes(text[: stretch.start]), _n_bytes(text[: stretch.end]), stretch.turn)


def _n_bytes(text: str) -> int:
    """Bytes of a text as it is tokenized."""
    return len(text.encode("utf-8", "replace"))


def _fenced(turn: PromptTurn, place: int) -> PromptTurn:
    """A turn whose text tells where it is."""
    digits = "".join(chr(_ZERO + int(digit, 16)) for digit in f"{place:x}")
    return msgspec.structs.replace(turn, text=f"{_OPEN}{digits}{turn.text}{_CLOSE}") if turn.text else turn


def _fenced_inside(turn: PromptTurn, place: int) -> PromptTurn:
    """The same where a template strips the space around texts."""
    core = turn.text.strip()
    before, _, after = turn.text.partition(core) if core else (turn.text, "", "")
    fenced = _fenced(msgspec.structs.replace(turn, text=core), place)
    return msgspec.structs.replace(turn, text=f"{before}{fenced.text}{after}")


def _without_fences(text: str) -> tuple[str, list[_Stretch]]:
    """A text without fences, and what they enclosed."""
    plain, stretches, at = "", [], 0
    opened: tuple[int, int] | None = None
    for fence in _FENCE.finditer(text):
        plain += text[at : fence.start()]
        at = fence.end()
        if fence[1]:
            opened = len(plain), int("".join(f"{ord(digit) - _ZERO:x}" for digit in fence[1]), 16)
        elif opened:
            stretches.append(_Stretch(opened[0], len(plain), opened[1]))
            opened = None
    return plain + text[at:], stretches


def _searched(text: str, turns: Sequence[PromptTurn]) -> list[_Stretch]:
    """Where the texts of turns are found in a prompt, one behind the other."""
    stretches, at = [], 0
    for place, turn in enumerate(turns):
        core = turn.text.strip()
        start = text.find(core, at) if core else -1
        if start >= 0:
            at = start + len(core)
            stretches.append(_Stretch(start, at, place))
    return stretches


def _found(whole: bytes, at: int, token: _Kind) -> tuple[int, int]:
    """Where in the prompt's bytes a token stands, at or soon after a place.

    A BOS that the template does not write, and the space that SentencePiece puts before a text, stand nowhere.
    """
    piece = token.piece
    if whole.startswith(piece, at):
        return at, at + len(piece)
    if piece[:1] == b" " and whole.startswith(piece[1:], at):
        return at, at + len(piece) - 1
    start = -1 if token.is_special else whole.find(piece, at, at + _FAR_BYTES)
    return (at, at) if start < 0 else (start, start + len(piece))


def _is_instruction(token: _Kind, owner: int | None) -> bool:
    """Whether a token tells the model something; some files call the template's own markup user-defined."""
    return token.is_control or (owner is None and token.is_special and token.piece[:1] in (b"<", b"["))
