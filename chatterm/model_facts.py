"""What the header of a model's file tells to somebody who wonders whether to take it.

Pure; all texts come from strangers and are made fit to be shown here.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from chatterm.gguf import GgufHeader
from chatterm.layers import RECOMMENDATIONS, recommended_by
from chatterm.text import amount, line

_LONGEST = 200
_THINKING = re.compile(r"enable_thinking|reasoning_effort|<think>|\[THINK\]|<\|channel\|>|<seed:think>|thinking")
"""What chat templates of models that can think have in common."""


class TypeShare(msgspec.Struct, frozen=True):
    """How much of a model is kept in one type of numbers."""

    type: str
    n_tensors: int
    size_bytes: int
    share: float
    """Of all weights that the header knows, 0 to 1."""


def facts(header: GgufHeader, size_bytes: int = 0) -> list[tuple[str, str]]:
    """What a header says, each with its name; what it does not say is left out.

    Args:
        header: Of its file, or of the first part of a split one.
        size_bytes: Of all its files, where it is split.
    """
    n = n_parameters(header, size_bytes)
    about = "about " if header.n_parts > 1 else ""
    n_kv_heads = max(header.n_kv_heads, default=0)
    rows = [
        ("Name", _shown(header.name)),
        ("Architecture", _shown(header.architecture)),
        ("Parameters", f"{about}{_count(n)}" if n else ""),
        ("Layers", f"{header.n_layers:,}" if header.n_layers else ""),
        ("Heads", f"{header.n_heads:,}, {n_kv_heads:,} of keys and values" if header.n_heads else ""),
        ("Width", f"{header.n_embedding:,}" if header.n_embedding else ""),
        ("Experts", _experts(header)),
        ("Trained for", f"{header.n_ctx_train:,} tokens of context" if header.n_ctx_train else ""),
        ("Vocabulary", f"{header.n_vocab:,} tokens" if header.n_vocab else ""),
        ("Quantization", _shown(header.quantization)),
        ("Types", _types(header)),
        ("Chat template", _template(header)),
        ("Recommended", ", ".join(f"{_words(name)} {value:g}" for name, value in recommended_sampling(header).items())),
        ("Licence", licence(header)),
        ("Made from", ", ".join(base_models(header))),
        ("Parts", _parts(header)),
    ]
    return [(label, value) for label, value in rows if value]


def type_shares(header: GgufHeader) -> list[TypeShare]:
    """By type of numbers, what the weights take, the most first; of a split model those of the part that was read."""
    sizes: dict[str, list[int]] = {}
    for tensor in header.tensors:
        sizes.setdefault(tensor.type, []).append(tensor.size_bytes)
    whole = max(1, header.size_bytes)
    shares = [TypeShare(kind, len(each), sum(each), sum(each) / whole) for kind, each in sizes.items()]
    return sorted(shares, key=lambda share: -share.size_bytes)


def n_parameters(header: GgufHeader, size_bytes: int = 0) -> int:
    """Weights of all parts; a split model's header knows those of one, from which the others are guessed by size."""
    if header.n_parts < 2 or not header.size_bytes:
        return header.n_parameters
    return header.n_parameters * max(header.size_bytes, size_bytes) // header.size_bytes


def can_think(header: GgufHeader) -> bool:
    """Whether its template speaks of thinking; certain only once it is loaded."""
    return bool(_THINKING.search(header.template or ""))


def licence(header: GgufHeader) -> str:
    """The licence's name, as its maker calls it; "" where the file does not say."""
    return _shown(header.text("general.license.name") or header.text("general.license"))


def base_models(header: GgufHeader) -> list[str]:
    """The models that it was made from.

    Example: organization "Qwen", name "Qwen3 0.6B Base" -> ["Qwen: Qwen3 0.6B Base"]
    """
    count = header.metadata.get("general.base_model.count", 0)
    found = []
    for i in range(min(count, 8) if isinstance(count, int) else 0):
        name, maker = (_shown(header.text(f"general.base_model.{i}.{key}")) for key in ("name", "organization"))
        if name:
            found.append(f"{maker}: {name}" if maker else name)
    return found


def recommended_sampling(header: GgufHeader) -> dict[str, Any]:
    """The sampling settings that the file recommends, by their names in `settings.Sampling`, as far as they are valid.

    Example: general.sampling.temp 0.6, general.sampling.top_k 20 -> {"temperature": 0.6, "top_k": 20}
    """
    said = {key: header.metadata.get(f"general.sampling.{key}") for key in RECOMMENDATIONS}
    return recommended_by({key: value for key, value in said.items() if not isinstance(value, bool)})


def _shown(text: str) -> str:
    """A text of a file, on one line and not endless."""
    short = line(text[: 4 * _LONGEST])
    return short if len(short) <= _LONGEST else f"{short[: _LONGEST - 1]}…"


def _count(n: int) -> str:
    """A number of parameters, in words and exactly.

    Example: 7_615_616_512 -> "7.6 billion"
    """
    if n >= 1e9:
        return f"{n / 1e9:.1f} billion"
    return f"{n / 1e6:.0f} million" if n >= 1e7 else f"{n:,}"


def _experts(header: GgufHeader) -> str:
    """How many experts there are, and how many of them write a token."""
    n_used = header.number("expert_used_count")
    used = f", {n_used:,} of them for each token" if n_used else ""
    return f"{header.n_experts:,}{used}" if header.n_experts else ""


def _types(header: GgufHeader) -> str:
    """The types that take more than a trace."""
    shares = [share for share in type_shares(header) if share.share >= 0.005]
    return ", ".join(f"{_shown(share.type)} {share.share:.0%} ({amount(share.size_bytes)})" for share in shares)


def _template(header: GgufHeader) -> str:
    """Whether it can chat."""
    if header.template is None:
        return "none: it continues text, but may not chat well"
    return "yes, with thinking" if can_think(header) else "yes"


def _parts(header: GgufHeader) -> str:
    """Of a split model, what the part that was read does not know."""
    if header.n_parts < 2:
        return ""
    n_all = header.metadata.get("split.tensors.count", 0)
    n_own = len(header.tensors)
    of = f"{n_own:,} of {n_all:,}" if isinstance(n_all, int) and n_all >= n_own else f"{n_own:,}"
    return f"{header.n_parts:,} files; types are told of the first one ({of} tensors)"


def _words(name: str) -> str:
    """A setting's name to be read.

    Example: "repeat_penalty" -> "repeat penalty"
    """
    return name.replace("_", " ")
