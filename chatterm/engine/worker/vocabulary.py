"""Text to tokens and back, with llama.cpp's tokenizer, so that user text cannot command the model.

A chat prompt mixes the template's own text, whose control tokens (`<|im_start|>`) are meant, with
what people typed, whose control tokens are not. Here both become token ids in one go, just as the
whole text would, except where user text spells a control token: that place is tokenized as the
letters it consists of. Knows nothing of turns and templates beyond their parts.
"""

from __future__ import annotations

import ctypes
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

from chatterm.engine.worker.stream import MARKS
from chatterm.engine.worker.template import Part

_LONGEST_PIECE = 128
"""Bytes that the first attempt at a piece has room for; longer ones are asked for again."""


class Vocabulary:
    """The tokens of one model; valid as long as the model is loaded."""

    n_tokens: int
    bos: int | None
    """Id of the token that begins a text; None where the model has none."""
    eos: int | None
    add_bos: bool
    """Whether the GGUF wants every prompt to begin with BOS."""

    def __init__(self, model: Any, llama: Any) -> None:
        """Wrap a loaded model's vocabulary.

        Args:
            model: Pointer as `llama_model_load_from_file` returns it.
            llama: The module `llama_cpp.llama_cpp`, given so that this one imports without it.
        """
        self._llama = llama
        self._vocab = llama.llama_model_get_vocab(model)
        self._buffer = ctypes.create_string_buffer(_LONGEST_PIECE)
        self.n_tokens = llama.llama_vocab_n_tokens(self._vocab)
        self.bos = _id(llama.llama_vocab_bos(self._vocab))
        self.eos = _id(llama.llama_vocab_eos(self._vocab))
        self.add_bos = bool(llama.llama_vocab_get_add_bos(self._vocab)) and self.bos is not None

    def tokenize(self, text: str, *, parse_special: bool, add_special: bool = False) -> list[int]:
        """The token ids of a text.

        Args:
            text: Lone surrogates, which UTF-8 cannot express, count as "?".
            parse_special: Whether control tokens that are spelled in the text become control tokens.
            add_special: Whether BOS (and EOS, in the few models that ask for it) is put around it.
        """
        encoded = text.encode("utf-8", "replace")
        size = len(encoded) + 8
        while True:
            ids = (self._llama.llama_token * size)()
            n = self._llama.llama_tokenize(self._vocab, encoded, len(encoded), ids, size, add_special, parse_special)
            if n >= 0:
                return list(ids[:n])
            size = -n

    def piece(self, id: int, special: bool = False) -> bytes:
        """The bytes of a token, which need not be whole characters.

        Args:
            id: A token of this vocabulary.
            special: Whether control tokens are spelled; otherwise they have no bytes.
        """
        while True:
            size = len(self._buffer)
            n = self._llama.llama_token_to_piece(self._vocab, id, self._buffer, size, 0, special)
            if n >= 0:
                return self._buffer.raw[:n]
            self._buffer = ctypes.create_string_buffer(-n)

    def reply_piece(self, id: int) -> bytes:
        """The bytes that a sampled token gives to a `ReplyStream`: control tokens only where they mark reasoning."""
        return self.piece(id, special=id in self._marks)

    def is_eog(self, id: int) -> bool:
        """Whether a token ends the generation."""
        return bool(self._llama.llama_vocab_is_eog(self._vocab, id))

    def is_control(self, id: int) -> bool:
        """Whether a token is an instruction to the model rather than text."""
        return bool(self._llama.llama_vocab_is_control(self._vocab, id))

    def is_text(self, id: int) -> bool:
        """Whether a token is ordinary text: no instruction, no place that is kept free, no single byte."""
        llama = self._llama
        others = llama.LLAMA_TOKEN_ATTR_CONTROL | llama.LLAMA_TOKEN_ATTR_UNKNOWN | llama.LLAMA_TOKEN_ATTR_UNUSED
        return not llama.llama_vocab_get_attr(self._vocab, id) & (others | llama.LLAMA_TOKEN_ATTR_BYTE)

    def word(self, text: str) -> list[int]:
        """The tokens of a word as it stands in the middle of a text, with a space before it where that is usual."""
        alone = self.tokenize(text, parse_special=False)
        if self._adds_space:
            return alone
        spaced = self.tokenize(f" {text}", parse_special=False)
        return spaced if len(spaced) <= len(alone) else alone

    def has(self, text: str) -> bool:
        """Whether a text is one special token of this vocabulary, such as "<|im_start|>"."""
        return text in self._special

    @property
    def bos_text(self) -> str:
        """The token that begins a text, spelled out; "" for none."""
        return "" if self.bos is None else self._spelled(self.bos)

    @property
    def eos_text(self) -> str:
        """The token that ends a text, spelled out; "" for none."""
        return "" if self.eos is None else self._spelled(self.eos)

    @cached_property
    def longest_piece(self) -> int:
        """Bytes of the longest token, so that a text has at least its length by this many tokens.

        Asking all of 150,000 tokens takes about a tenth of a second, once.
        """
        return max(len(self.piece(token, special=True)) for token in range(self.n_tokens))

    @cached_property
    def control_letters(self) -> str:
        """The characters with which control tokens begin, and tokens that some files only call user-defined."""
        return "".join({"<", "[", *(text[0] for text, is_control in self._special.items() if is_control)})

    def _spelled(self, id: int) -> str:
        """A token as text, control tokens, too."""
        return self.piece(id, special=True).decode("utf-8", "replace")

    def tokens_of(self, parts: Sequence[Part]) -> list[int]:
        """The token ids of a prompt, with the leading BOS exactly once where the model wants it.

        They are those of the whole text, so a boundary between parts does not show. Only where the
        text of a control token touches a part that is not trusted, it is spelled with ordinary tokens.
        """
        texts = _without_bos(parts, self.bos_text) if self.add_bos else parts
        ids = [self.bos] if self.add_bos and self.bos is not None else []
        for text, is_safe in self._runs(texts):
            if is_safe:
                self._append(ids, text)
            else:
                self._spell(ids, text)
        return ids

    @cached_property
    def _special(self) -> dict[str, bool]:
        """Texts of the tokens that are found in a text before anything else, and whether they are control tokens.

        Reading the attributes of 150,000 tokens takes about a tenth of a second, once.
        """
        llama, vocab = self._llama, self._vocab
        control = llama.LLAMA_TOKEN_ATTR_CONTROL | llama.LLAMA_TOKEN_ATTR_UNKNOWN
        special = control | llama.LLAMA_TOKEN_ATTR_USER_DEFINED
        attribute = llama.llama_vocab_get_attr
        found = [(token, kind) for token in range(self.n_tokens) if (kind := attribute(vocab, token)) & special]
        return {text: bool(kind & control) for token, kind in found if (text := self._spelled(token))}

    @cached_property
    def _marks(self) -> frozenset[int]:
        """Ids of the control tokens that `ReplyStream` has to see."""
        known = [mark for mark in MARKS if self._special.get(mark)]
        return frozenset(self.tokenize(mark, parse_special=True)[-1] for mark in known)

    @cached_property
    def _control(self) -> re.Pattern[str]:
        """Finds control tokens in a text, the longest one at each place, overlapping ones as well."""
        return _any_of([text for text, is_control in self._special.items() if is_control])

    def _runs(self, parts: Sequence[Part]) -> Iterator[tuple[str, bool]]:
        """The text of the prompt, cut where untrusted text takes part in spelling a control token.

        A token that the file calls user-defined is guarded, too, if this very prompt uses it as
        markup: some files say so of `<|im_start|>`. Others of that kind are ordinary text (runs of
        spaces, HTML tags), which nobody wants to see spelled.
        """
        whole = "".join(part.text for part in parts)
        trusted = " ".join(dict.fromkeys(part.text for part in parts if part.trusted))
        markup = [text for text, control in self._special.items() if not control and _is_markup(text, trusted)]
        untrusted = list(_untrusted(parts))
        bad = [span for span in _spans(self._control, whole) if _touches(span, untrusted)]
        if markup:
            bad += [span for span in _spans(_any_of(markup), whole) if _touches(span, untrusted)]
        edges = [0, *(edge for span in _joined(bad) for edge in span), len(whole)]
        for i, (start, end) in enumerate(pairwise(edges)):
            if start < end:
                yield whole[start:end], i % 2 == 0

    def _append(self, ids: list[int], text: str, *, parse_special: bool = True) -> None:
        """Tokenize a run so that it joins what is there without the space that SentencePiece puts before a text."""
        if ids and self._adds_space and not self.is_special(ids[-1]):
            before = self.tokenize("\n", parse_special=False)
            after = self.tokenize("\n" + text, parse_special=parse_special)
            if after[: len(before)] == before:
                ids += after[len(before) :]
                return
        ids += self.tokenize(text, parse_special=parse_special)

    def _spell(self, ids: list[int], text: str) -> None:
        """Tokenize a run that must not become a control token, in ever smaller bits until it does not."""
        start = len(ids)
        self._append(ids, text, parse_special=False)
        if len(text) > 1 and any(map(self.is_special, ids[start:])):
            del ids[start:]
            self._spell(ids, text[: len(text) // 2])
            self._spell(ids, text[len(text) // 2 :])

    def is_special(self, id: int) -> bool:
        """Whether a token is one of those that are found in a text before anything else."""
        llama = self._llama
        attributes = llama.llama_vocab_get_attr(self._vocab, id)
        special = llama.LLAMA_TOKEN_ATTR_CONTROL | llama.LLAMA_TOKEN_ATTR_UNKNOWN | llama.LLAMA_TOKEN_ATTR_USER_DEFINED
        return bool(attributes & special)

    @cached_property
    def _adds_space(self) -> bool:
        """Whether the tokenizer puts a space before a text, as SentencePiece does."""
        return self.piece(self.tokenize("a", parse_special=False)[0])[:1] == b" "


def _id(id: int) -> int | None:
    """A token id, or None for llama.cpp's "there is none"."""
    return id if id >= 0 else None


def _without_bos(parts: Sequence[Part], bos: str) -> list[Part]:
    """The parts without the BOS that some templates begin with, once or more."""
    rest = list(parts)
    while rest and rest[0].trusted and (not rest[0].text or (bos and rest[0].text.startswith(bos))):
        text = rest[0].text.removeprefix(bos)
        rest[:1] = [Part(text)] if text else []
    return rest


def _is_markup(text: str, trusted: str) -> bool:
    """Whether a user-defined token looks like a tag and the template itself uses it."""
    return len(text) > 2 and text[0] in "<[" and text in trusted


def _any_of(texts: Sequence[str]) -> re.Pattern[str]:
    """Finds the longest of some texts at each place; the lookahead makes places overlap.

    Grouped by first letter: a vocabulary can have thousands of control tokens, and nearly all begin alike.
    """
    by_letter: dict[str, list[str]] = {}
    for text in sorted(texts, key=len, reverse=True):
        by_letter.setdefault(text[0], []).append(re.escape(text[1:]))
    groups = (re.escape(letter) + "(?:" + "|".join(rests) + ")" for letter, rests in by_letter.items())
    return re.compile("(?=(" + "|".join(groups) + "))" if texts else r"(?!)()")


def _spans(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    """Where a pattern of `_any_of` is found."""
    return (match.span(1) for match in pattern.finditer(text))


def _untrusted(parts: Sequence[Part]) -> Iterator[tuple[int, int]]:
    """Where in the whole text user text stands."""
    position = 0
    for part in parts:
        if not part.trusted and part.text:
            yield position, position + len(part.text)
        position += len(part.text)


def _touches(span: tuple[int, int], others: Sequence[tuple[int, int]]) -> bool:
    """Whether a span shares a character with one of some others, which are in order and do not overlap."""
    i = bisect_left(others, span[1], key=lambda other: other[0])
    return i > 0 and others[i - 1][1] > span[0]


def _joined(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans in order, those that overlap made one."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined
