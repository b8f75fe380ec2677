"""Which layer and which head are shown of all whose attention was seen.

Pure. What a person names is counted from 1, what is found from 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chatterm.errors import NotVisible
from chatterm.glass import Attention, no_such_head, telling_head


def place_of(seen: Attention, words: Sequence[int], layer: int | None, head: int | None) -> tuple[int, int]:
    """The layer and the head that were named; of those that were not, the ones that tell most.

    Args:
        seen: The attention of all layers and heads.
        words: Positions of the tokens that mean something.
        layer: Counted from 1; None for any.
        head: Likewise.

    Raises:
        NotVisible: there is no such layer or head.
    """
    wanted_layer, wanted_head = ((each - 1 if each else None) for each in (layer, head))
    if wanted_layer is not None and wanted_layer not in seen.layers:
        raise NotVisible(f"There is no attention in a layer {layer}; this model has it in {_few(seen.layers)}.")
    counts = [len(heads) for heads in _only(seen, wanted_layer, None).first]
    if head is not None and head > max(counts):
        raise NotVisible(no_such_head(head, layer, counts))
    found_layer, found_head = telling_head(_only(seen, wanted_layer, wanted_head), words)
    return found_layer, found_head if wanted_head is None else wanted_head


def _only(seen: Attention, layer: int | None, head: int | None) -> Attention:
    """What was seen of one layer, or of one head, which then is the only one."""
    rows = [i for i, each in enumerate(seen.layers) if layer in (None, each)]
    heads = slice(head, None if head is None else head + 1)
    return msgspec.structs.replace(
        seen,
        layers=tuple(seen.layers[i] for i in rows),
        first=tuple(seen.first[i][heads] for i in rows),
        bits=tuple(seen.bits[i][heads] for i in rows),
        strongest=tuple(seen.strongest[i][heads] for i in rows),
    )


def _few(layers: Sequence[int]) -> str:
    """Layers in words.

    Example: [0, 1, 2] -> "layers 1 to 3", [1, 3] -> "layers 2, 4"
    """
    numbers = [layer + 1 for layer in layers]
    if numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"layers {numbers[0]} to {numbers[-1]}"
    return f"layers {', '.join(map(str, numbers))}"
