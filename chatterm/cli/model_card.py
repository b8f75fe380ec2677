"""What `chatterm models info` tells about a model, from the headers of its files alone."""

from __future__ import annotations

from pathlib import Path

import msgspec

from chatterm import gguf
from chatterm.hub import names
from chatterm.need import memory_needed
from chatterm.quantizations import QUANTIZATIONS
from chatterm.text import amount

_USUAL_N_CTX = 8192
"""The context window that is taken unless more is asked for."""


class ModelCard(msgspec.Struct, frozen=True):
    """What is known of a model that is not loaded."""

    path: str
    name: str
    architecture: str
    quantization: str
    n_parameters: int
    n_layers: int
    n_vocab: int
    n_ctx_train: int
    n_experts: int
    has_template: bool
    n_files: int
    size_bytes: int
    """Of its files, as they are on the disk."""
    missing_bytes: int
    """What its files lack to be whole, missing parts not counted."""
    missing_files: tuple[str, ...]
    """Parts of a split model that are not there."""
    n_ctx: int
    """The context window that the need of memory is told for."""
    weights_bytes: int
    kv_cache_bytes: int
    memory_bytes: int
    """All that it takes while it runs, estimated."""


def card(path: Path) -> ModelCard:
    """What the files of a model say.

    Raises:
        ModelNotFound: there is no such file.
        ModelUnreadable: it is no GGUF, or is cut off inside its header.
    """
    paths = [path.with_name(name) for name in names.parts(path.name)]
    there = [part for part in paths if part.exists()] or [path]
    headers = [gguf.read_header(part) for part in there]
    header = headers[0]
    n_ctx = min(_USUAL_N_CTX, header.n_ctx_train or _USUAL_N_CTX)
    sizes = [part.stat().st_size for part in there]
    need = memory_needed(header, n_ctx, size_bytes=sum(part.file_bytes for part in headers))
    return ModelCard(
        path=str(path),
        name=header.name or names.title(path.name),
        architecture=header.architecture,
        quantization=header.quantization,
        n_parameters=sum(part.n_parameters for part in headers),
        n_layers=header.n_layers,
        n_vocab=header.n_vocab,
        n_ctx_train=header.n_ctx_train,
        n_experts=header.n_experts,
        has_template=header.template is not None,
        n_files=len(paths),
        size_bytes=sum(sizes),
        missing_bytes=sum(max(0, part.file_bytes - size) for part, size in zip(headers, sizes, strict=True)),
        missing_files=tuple(part.name for part in paths if part not in there),
        n_ctx=n_ctx,
        weights_bytes=need.weights_bytes,
        kv_cache_bytes=need.kv_cache_bytes,
        memory_bytes=need.total_bytes,
    )


def lines(card: ModelCard) -> list[tuple[str, ...]]:
    """A card for people: what, and how it is."""
    quality = QUANTIZATIONS.get(card.quantization, "")
    files = f"{amount(card.size_bytes)} in {card.n_files} files" if card.n_files > 1 else amount(card.size_bytes)
    experts = f", a mixture of {card.n_experts} experts" if card.n_experts else ""
    rows = [
        ("Name", card.name),
        ("File", card.path),
        ("Size", files),
        ("Architecture", f"{card.architecture or 'not told'}{experts}"),
        ("Parameters", _count(card.n_parameters)),
        ("Layers", f"{card.n_layers:,}"),
        ("Vocabulary", f"{card.n_vocab:,} tokens"),
        ("Context", f"trained for {card.n_ctx_train:,} tokens" if card.n_ctx_train else "not told"),
        ("Quantization", f"{card.quantization}: {quality}" if quality else card.quantization or "not told"),
        ("Template", "carries one for chats" if card.has_template else "carries none: it continues text"),
        (
            "Memory",
            f"about {amount(card.memory_bytes)} with a context of {card.n_ctx:,} tokens "
            f"(weights {amount(card.weights_bytes)}, KV cache {amount(card.kv_cache_bytes)})",
        ),
    ]
    if card.missing_files:
        rows.append(("Missing", ", ".join(card.missing_files)))
    if card.missing_bytes:
        rows.append(("Damaged", f"{amount(card.missing_bytes)} are missing at the end: fetch it again"))
    return list(rows)


def _count(n: int) -> str:
    """A number of parameters as people say it.

    Example: 7_615_616_512 -> "7.6 billion"
    """
    if n >= 1e9:
        return f"{n / 1e9:.1f} billion"
    return f"{n / 1e6:.0f} million" if n >= 1e7 else f"{n:,}"
