"""How well the memory that a model will take is told before it is loaded: estimate against measurement.

Five models of realistic shape and three context windows, each loaded by the engine into a process of
its own that answers once. Needs 5 GB on the disk and 6 GB of memory, and a few minutes.
Run: python -m benchmarks.fit
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONTEXTS = 2048, 8192, 32_768


def measure() -> Iterator[tuple[str, int, Any]]:
    """Name of the model, tokens of its context window, and what was measured (`support.worker_memory.Measured`)."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.shaped_models import write_shaped
    from support.worker_memory import measure

    for name, shape in _shapes().items():
        with tempfile.TemporaryDirectory() as folder:
            os.environ["CHATTERM_LOG_HOME"] = folder
            path = write_shaped(Path(folder) / "model.gguf", shape)
            for n_ctx in CONTEXTS:
                yield name, n_ctx, asyncio.run(measure(path, n_ctx))


def main() -> None:
    """Print a line for each case, and the worst."""
    worst = 0.0
    for name, n_ctx, measured in measure():
        need, worst = measured.need, max(worst, abs(measured.error))
        print(
            f"fit: {name:36} {n_ctx:6,} tokens: estimated {_mb(need.resident_bytes)},"
            f" measured {_mb(measured.resident_bytes)}, {measured.error:+6.1%};"
            f" needed {_mb(need.total_bytes)}, of it KV cache {_mb(need.kv_cache_bytes)}",
            flush=True,
        )
    print(f"fit: {worst:.1%} off at worst (aim: 10 %)", flush=True)


def _shapes() -> dict[str, Any]:
    """What is measured: sizes, vocabularies and quantizations as people use them."""
    from support.shaped_models import Shape, Type

    return {
        "dense, GQA, Q8_0": Shape(
            "llama", 12, 512, 8, 2, 1536, 32_000, matrices=Type.Q8_0, embeddings=Type.Q8_0, output=Type.Q8_0
        ),
        "dense, vocabulary of 152k, Q4_0": Shape(
            "qwen2", 24, 896, 14, 2, 4864, 151_936, matrices=Type.Q4_0, embeddings=Type.Q8_0
        ),
        "sliding window, Q4_0": Shape(
            "gemma3", 26, 1152, 4, 1, 6912, 262_144, head=256, matrices=Type.Q4_0, embeddings=Type.Q8_0,
            sliding_window=512,
        ),
        "mixture of experts, Q4_K and Q6_K": Shape(
            "qwen3moe", 24, 1024, 16, 4, 512, 151_936, head=64, matrices=Type.Q4_K, some=Type.Q6_K,
            embeddings=Type.Q4_K, output=Type.Q6_K, n_experts=32, n_experts_used=4,
        ),
        "dense, MHA, Q8_0 and F16": Shape(
            "llama", 20, 2048, 16, 16, 8192, 32_000, matrices=Type.Q8_0, some=Type.F16, embeddings=Type.F16,
            output=Type.F16,
        ),
    }  # fmt: skip


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:6,.0f} MB"


if __name__ == "__main__":
    main()
