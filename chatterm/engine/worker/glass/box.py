"""Answers to what is asked about the inside of one model.

What can be answered is found out when it is first asked, by comparing what is read with what is known: a
view whose numbers do not hold is off, with the reason. Nothing is kept but the last token that was looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from chatterm.engine.worker.context import StopFlag
from chatterm.engine.worker.glass import embeddings, weighing
from chatterm.engine.worker.glass.ggml import FloatArray, Ggml
from chatterm.engine.worker.glass.lens import Distribution, Head, difference, is_right
from chatterm.engine.worker.glass.observe import Observatory, Observed
from chatterm.engine.worker.glass.weights import Weights
from chatterm.engine.worker.load import LoadedModel
from chatterm.engine.worker.memory import give_back
from chatterm.errors import ChattermError, NotVisible
from chatterm.glass import (
    LONGEST_SPAN,
    AbilitiesRequest,
    Attention,
    AttentionMap,
    AttentionRequest,
    Drift,
    DriftRequest,
    GlassAbilities,
    GlassRequest,
    GlassResult,
    Lens,
    LensLayer,
    LensRequest,
    LetGo,
    MapRequest,
    Neighbours,
    NeighboursRequest,
    Piece,
    Similarity,
    SimilarityRequest,
    no_such_head,
)

_PROBE = "The cat sat on the mat. The dog sat on it, too."
"""What is evaluated to find out what can be seen."""
_MOST_BEST = 50
_MOST_WORDS = 64


class GlassBox:
    """Looks inside one loaded model; made when it is first asked to."""

    def __init__(self, model: LoadedModel, flag: StopFlag) -> None:
        """Nothing is computed yet."""
        self._model = model
        self._flag = flag
        self._abilities: GlassAbilities | None = None
        self._observatory: Observatory | None = None
        self._head: Head | None = None
        self._table: embeddings.Table | None = None
        self._last: tuple[tuple[int, ...], Observed] | None = None

    def close(self) -> None:
        """Free all that looking inside takes."""
        if self._observatory is not None:
            self._observatory.close()
        self._last = None
        give_back()

    def answer(self, request: GlassRequest) -> GlassResult:
        """What was asked.

        Raises:
            NotVisible: it cannot be seen here, or makes no sense; says why.
            OutOfMemory: there is no room for it now; there may be later.
            LoadCancelled: it was stopped.
        """
        if isinstance(request, LetGo):
            self.close()
            return self._abilities or GlassAbilities.none("Nothing was looked at yet.")
        abilities = self.abilities()
        match request:
            case AbilitiesRequest():
                return abilities
            case AttentionRequest():
                _require(abilities.attention)
                return self._attention(request)
            case MapRequest():
                _require(abilities.attention)
                return self._map(request)
            case LensRequest():
                _require(abilities.lens)
                return self._lens(request)
            case NeighboursRequest():
                return self._neighbours(request)
            case SimilarityRequest():
                return self._similarity(request)
            case DriftRequest():
                _require(abilities.embeddings or abilities.lens)
                return self._drift(request)

    def abilities(self) -> GlassAbilities:
        """What can be seen, found out once.

        Raises:
            LoadCancelled, OutOfMemory: it is found out the next time.
        """
        if self._abilities is None:
            self._abilities = self._examine()
        return self._abilities

    def _examine(self) -> GlassAbilities:
        """Read the file, evaluate a short text, and see what holds."""
        model = self._model
        try:
            ggml = Ggml(model.library.llama)
            weights = Weights(ggml, model.path)
            is_sized = weights.find("rope_factors_long.weight", "blk.0.rope_factors_long.weight") is not None
        except (AttributeError, OSError, ValueError, ChattermError) as error:
            return GlassAbilities.none(_because(f"the model's file or llama.cpp cannot be read as expected: {error}"))
        self._observatory = Observatory(model, ggml, self._flag, is_sized)
        tokens = model.vocabulary.tokenize(_PROBE, parse_special=False, add_special=True)
        attention, seen = self._probe(tokens)
        if seen is None:
            return GlassAbilities(attention, attention, self._examine_table(weights, None, tokens[-1]))
        return GlassAbilities(
            attention, self._examine_lens(weights, seen), self._examine_table(weights, seen, tokens[-1])
        )

    def _probe(self, tokens: Sequence[int]) -> tuple[str, Observed | None]:
        """Why attention cannot be seen ("" where it can), and what was seen; flash attention is tried first."""
        observatory = self._opened()
        reason = ""
        for has_flash in dict.fromkeys((observatory.has_flash, False)):
            if has_flash != observatory.has_flash:
                observatory.close()
                observatory.has_flash = has_flash
            try:
                seen = observatory.observe(tokens, reduce=_checked(len(tokens) - 1))
            except NotVisible as error:
                reason = _because(str(error).rstrip(".")[:1].lower() + str(error).rstrip(".")[1:])
                continue
            if seen.output is None or not np.array_equal(seen.output, seen.logits) or not seen.states:
                return _because("this build of llama.cpp keeps its numbers elsewhere"), None
            if seen.weights:
                return "", seen
            reason = _because("llama.cpp computes no attention weights for this model")
        try:
            return reason, observatory.observe(tokens)
        except NotVisible:
            return reason, None

    def _examine_lens(self, weights: Weights, seen: Observed) -> str:
        """Why the lens cannot be used; "" where it can."""
        try:
            self._head = Head(weights, self._model.tuner.careful)
            last = self._head.logits(seen.states[max(seen.states)][None])[0]
        except ValueError as error:
            return _because(str(error))
        if not is_right(last, seen.logits):
            return _because("the model's last step is not one that is known: it gives other scores than the model")
        return ""

    def _examine_table(self, weights: Weights, seen: Observed | None, token: int) -> str:
        """Why the table of embeddings cannot be used; "" where it can."""
        try:
            matrix = weights.find("token_embd.weight")
            if matrix is None:
                return _because("its file has no table of embeddings")
            table = embeddings.Table(matrix, self._model.vocabulary)
            row = table.vector(token)
        except ValueError as error:
            return _because(str(error))
        if seen is not None and seen.start is not None and not np.allclose(row, seen.start, rtol=1e-3, atol=1e-6):
            return _because("the vectors in its file are not those that the model uses")
        self._table = table
        return ""

    def _seen(self, tokens: Sequence[int], position: int) -> Observed:
        """One token of a text, evaluated with all that stands before it; the last one is remembered.

        Raises:
            NotVisible: there is no such token.
        """
        text = self._text(tokens, position)
        if self._last is None or self._last[0] != text:
            self._last = None  # before the next one takes its memory
            self._last = text, self._opened().observe(text, reduce=lambda _, rows: rows[:, 0, : len(text)].copy())
        return self._last[1]

    def _text(self, tokens: Sequence[int], position: int) -> tuple[int, ...]:
        """The tokens up to a position."""
        end = len(tokens) + position + 1 if position < 0 else position + 1
        if not 0 < end <= len(tokens):
            raise NotVisible(f"There is no token {position} in a text of {len(tokens):,} tokens.")
        if any(not 0 <= token < self._model.vocabulary.n_tokens for token in tokens[:end]):
            raise NotVisible("The text has tokens that this model does not know.")
        return tuple(tokens[:end])

    def _attention(self, request: AttentionRequest) -> Attention:
        seen = self._seen(request.tokens, request.position)
        layers = sorted(seen.weights)
        rows = {layer: seen.weights[layer] for layer in layers}  # (H, N) each
        chosen = _chosen(request.layer, request.head, {layer: len(rows[layer]) for layer in layers})
        row = np.mean([_head_of(rows[layer], request.head) for layer in chosen], axis=0)
        return Attention(
            position=row.size - 1,
            layer=request.layer,
            head=request.head,
            row=tuple(row.tolist()),
            layers=tuple(layers),
            first=tuple(tuple(rows[layer][:, 0].tolist()) for layer in layers),
            bits=tuple(tuple(weighing.entropies(rows[layer]).tolist()) for layer in layers),
            strongest=tuple(tuple(weighing.strongest(rows[layer]).tolist()) for layer in layers),
        )

    def _map(self, request: MapRequest) -> AttentionMap:
        n_last = request.end - request.start
        if not 0 < n_last <= LONGEST_SPAN or request.start < 0:
            raise NotVisible(f"A map is made for 1 to {LONGEST_SPAN} tokens, not for {n_last:,}.")
        text = self._text(request.tokens, request.end - 1)
        n_heads: dict[int, int] = {}  # by layer

        def reduce(layer: int, weights: FloatArray) -> FloatArray:
            n_heads[layer] = len(weights)
            if request.layer not in (None, layer) or not _has(len(weights), request.head):
                return np.empty((0, 0), np.float32)
            return _head_of(weights, request.head)[:, : len(text)].copy()

        seen = self._opened().observe(text, n_last, reduce)
        chosen = _chosen(request.layer, request.head, n_heads)
        rows = np.mean([seen.weights[layer] for layer in chosen], axis=0)  # (Q, N)
        return AttentionMap(
            start=request.start,
            layer=request.layer,
            head=request.head,
            rows=tuple(tuple(row) for row in rows[:, request.start :].tolist()),
            before=tuple(rows[:, : request.start].sum(axis=1).tolist()),
        )

    def _lens(self, request: LensRequest) -> Lens:
        seen = self._seen(request.tokens, request.position)
        assert self._head is not None
        text = self._text(request.tokens, request.position)
        logits = self._head.logits(np.stack([seen.states[layer] for layer in sorted(seen.states)]))  # (L, V)
        if not is_right(logits[-1], seen.logits):
            raise NotVisible(_because("for this text the last layer does not give the model's own scores"))
        real = Distribution(seen.logits)
        after = request.tokens[len(text)] if len(text) < len(request.tokens) else real.best(1)[0]
        chosen = self._known(after if request.chosen is None else request.chosen)
        rivals = [self._known(each) for each in request.rivals] or real.best(2)
        n_best = max(1, min(request.n_best, _MOST_BEST))
        return Lens(
            position=len(text) - 1,
            chosen=self._piece(chosen, real.probability(chosen)),
            rivals=tuple(self._piece(each, real.probability(each)) for each in rivals),
            layers=tuple(
                self._lens_layer(layer, Distribution(row), n_best, chosen, rivals)
                for layer, row in zip(sorted(seen.states), logits, strict=True)
            ),
            error=difference(logits[-1], seen.logits),
        )

    def _lens_layer(self, layer: int, says: Distribution, n_best: int, chosen: int, rivals: Sequence[int]) -> LensLayer:
        return LensLayer(
            layer=layer,
            best=tuple(self._piece(token, says.probability(token)) for token in says.best(n_best)),
            rank=says.rank(chosen),
            probability=says.probability(chosen),
            bits=says.bits,
            rivals=tuple(map(says.probability, rivals)),
        )

    def _neighbours(self, request: NeighboursRequest) -> Neighbours:
        table = self._opened_table()
        token = self._known(request.token)
        if token >= table.n_tokens:
            raise NotVisible(f"Token {token} has no vector in this model's file.")
        return table.neighbours(token, max(0, min(request.n, _MOST_BEST)), lambda: self._flag.is_set)

    def _similarity(self, request: SimilarityRequest) -> Similarity:
        words = request.words[:_MOST_WORDS]
        if not words or not all(word.strip() for word in words):
            raise NotVisible("There is no word to compare.", "Give two words or more.")
        return self._opened_table().similarity(words)

    def _drift(self, request: DriftRequest) -> Drift:
        """The word's last token in both sentences, behind each layer."""
        texts = [self._up_to(request.word, sentence) for sentence in (request.first, request.second)]
        if texts[0][-1] != texts[1][-1]:
            raise NotVisible(
                "The word is cut into other tokens in the one sentence than in the other.",
                "Write it the same way in both, with a space before it.",
            )
        first, second = (self._opened().observe(text) for text in texts)
        pairs = [(first.start, second.start)] if first.start is not None and second.start is not None else []
        pairs += [(first.states[layer], second.states[layer]) for layer in sorted(first.states)]
        return Drift(request.word, tuple(embeddings.cosine(a, b) for a, b in pairs))

    def _up_to(self, word: str, sentence: str) -> list[int]:
        """The tokens of a sentence, to the end of the last time that a word stands in it."""
        found = list(re.finditer(rf"(?<!\w){re.escape(word.strip())}(?!\w)", sentence, re.IGNORECASE))
        if not word.strip() or not found:
            raise NotVisible(f"“{word}” does not stand in “{sentence}”.", "Give two sentences with the word in them.")
        return self._model.vocabulary.tokenize(sentence[: found[-1].end()], parse_special=False, add_special=True)

    def _known(self, token: int) -> int:
        if not 0 <= token < self._model.vocabulary.n_tokens:
            raise NotVisible(f"This model has no token {token}.")
        return token

    def _piece(self, token: int, value: float) -> Piece:
        return Piece(token, self._model.vocabulary.piece(token, special=True), value)

    def _opened(self) -> Observatory:
        assert self._observatory is not None
        return self._observatory

    def _opened_table(self) -> embeddings.Table:
        _require(self.abilities().embeddings)
        assert self._table is not None
        return self._table


def _checked(n_before: int) -> Callable[[int, FloatArray], FloatArray]:
    """Keeps the weights, and objects to numbers that cannot be attention."""

    def check(layer: int, weights: FloatArray) -> FloatArray:
        if not weighing.is_attention(weights, n_before):
            raise ValueError(f"the numbers of layer {layer} are no attention")
        return weights[:, 0].copy()

    return check


def _chosen(layer: int | None, head: int | None, n_heads: Mapping[int, int]) -> list[int]:
    """The layers that are meant; of all layers, those that have the head.

    Args:
        n_heads: By layer, of those whose attention was seen.

    Raises:
        NotVisible: there is no such layer or head.
    """
    if layer is not None and layer not in n_heads:
        raise NotVisible(f"Layer {layer} of this model has no attention that can be seen.")
    meant = sorted(n_heads) if layer is None else [layer]
    chosen = [each for each in meant if _has(n_heads[each], head)]
    if head is not None and not chosen:
        raise NotVisible(no_such_head(head, layer, [n_heads[each] for each in meant]))
    return chosen


def _has(n_heads: int, head: int | None) -> bool:
    """Whether a layer with so many heads has that one."""
    return head is None or 0 <= head < n_heads


def _head_of(weights: FloatArray, head: int | None) -> FloatArray:
    """One head of some, or their mean."""
    found: FloatArray = weights.mean(axis=0) if head is None else weights[head]
    return found


def _require(reason: str) -> None:
    """Raise unless a view is available."""
    if reason:
        raise NotVisible(reason)


def _because(reason: str) -> str:
    """A reason as the sentence that a view shows in its place.

    Example: "it has none" -> "Not available here, because it has none."
    """
    return f"Not available here, because {reason.rstrip('.')}."
