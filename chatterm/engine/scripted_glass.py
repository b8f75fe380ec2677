"""What the scripted engine shows of its inside: made-up numbers, the same every time, of the right form.

For tests of views and for pictures; nothing is computed that means anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from chatterm.glass import (
    PICTURE_CELLS,
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
    entropy_bits,
)

N_LAYERS, N_HEADS = 4, 3
_N_DIMENSIONS = 128


def seen(request: GlassRequest) -> GlassResult:
    """The answer to a request."""
    match request:
        case AbilitiesRequest() | LetGo():
            return GlassAbilities()
        case AttentionRequest():
            return _attention(request)
        case MapRequest():
            return _map(request)
        case LensRequest():
            return _lens(request)
        case NeighboursRequest(token, n):
            near = (_piece(token + i, 0.9 - 0.05 * i) for i in range(1, n + 1))
            picture = tuple(math.sin(token + i * i) for i in range(PICTURE_CELLS))
            return Neighbours(_piece(token, 1.0), _N_DIMENSIONS, picture, tuple(near))
        case SimilarityRequest(words):
            return _similarity(words)
        case DriftRequest(word):
            return Drift(word, tuple(1 / (1 + layer) for layer in range(N_LAYERS + 1)))


def _attention(request: AttentionRequest) -> Attention:
    end = request.position % len(request.tokens) + 1
    grid = [[_row(end, layer, head) for head in range(N_HEADS)] for layer in range(N_LAYERS)]
    return Attention(
        position=end - 1,
        layer=request.layer,
        head=request.head,
        row=tuple(_row(end, request.layer or 0, request.head or 0)),
        layers=tuple(range(N_LAYERS)),
        first=tuple(tuple(row[0] for row in heads) for heads in grid),
        bits=tuple(tuple(map(entropy_bits, heads)) for heads in grid),
        strongest=tuple(tuple(max(range(end), key=lambda i: (i > 0, row[i])) for row in heads) for heads in grid),
    )


def _map(request: MapRequest) -> AttentionMap:
    rows, before = [], []
    for end in range(request.start + 1, request.end + 1):
        row = _row(end, request.layer or 0, request.head or 0)
        before.append(sum(row[: request.start]))
        rows.append(tuple(row[request.start :]) + (0.0,) * (request.end - end))
    return AttentionMap(request.start, request.layer, request.head, tuple(rows), tuple(before))


def _lens(request: LensRequest) -> Lens:
    position = request.position % len(request.tokens)
    tokens = (*request.tokens, 0)
    chosen = tokens[position + 1] if request.chosen is None else request.chosen
    rivals = request.rivals or (chosen, chosen + 1)
    layers = [_lens_layer(layer, chosen, rivals, request.n_best) for layer in range(N_LAYERS)]
    return Lens(
        position=position,
        chosen=_piece(chosen, layers[-1].probability),
        rivals=tuple(_piece(rival, p) for rival, p in zip(rivals, layers[-1].rivals, strict=True)),
        layers=tuple(layers),
        error=0.0,
    )


def _lens_layer(layer: int, chosen: int, rivals: Sequence[int], n_best: int) -> LensLayer:
    """The chosen token rises from layer to layer, to the first place at the end."""
    above = N_LAYERS - 1 - layer
    order = [chosen + above - i for i in range(above)] + [chosen] + [chosen - 1 - i for i in range(n_best)]
    values = [0.5**i * 0.6 for i in range(1, len(order) + 1)]
    return LensLayer(
        layer=layer,
        best=tuple(_piece(token, value) for token, value in zip(order, values, strict=True))[:n_best],
        rank=above + 1,
        probability=values[above],
        bits=1.5 + above,
        rivals=tuple(values[order.index(rival)] if rival in order else 0.001 for rival in rivals),
    )


def _similarity(words: Sequence[str]) -> Similarity:
    n = len(words)
    cosines = tuple(
        tuple(1.0 if a == b else 1 / (2 + abs(i - j)) for j, b in enumerate(words)) for i, a in enumerate(words)
    )
    points = tuple((math.cos(6.28 * i / n), math.sin(6.28 * i / n)) for i in range(n))
    return Similarity(tuple(words), (1,) * n, cosines, points, 0.75)


def _row(n: int, layer: int, head: int) -> list[float]:
    """A row of attention: much on the first token, more on some of the others than on the rest."""
    weights = [1.0 + (i * (layer + 2) + head) % 5 for i in range(n)]
    weights[0] = 2.0 * n
    total = sum(weights)
    return [weight / total for weight in weights]


def _piece(token: int, value: float) -> Piece:
    return Piece(token, f" w{token}".encode(), value)
