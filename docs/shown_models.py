"""What the pictures of the models screen show: a library and a queue that say always the same, without a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from chatterm.downloads import Download, Downloads, DownloadState
from chatterm.fit import Fit, Verdict
from chatterm.gguf import GgufHeader
from chatterm.hub.catalogue import Found, OfferedModel, Query
from chatterm.library import Library, LocalModel
from chatterm.need import MemoryNeed
from chatterm.quantizations import meaning

FREE_BYTES = 11_200_000_000
REPO = "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF"
N_LAYERS, N_CTX = 32, 131072
FILES = {
    "Q2_K": 3.18, "Q3_K_M": 4.02, "IQ4_XS": 4.45, "Q4_K_S": 4.69, "Q4_K_M": 4.92, "Q5_K_M": 5.73, "Q6_K": 6.60,
    "Q8_0": 8.54, "F16": 16.07,
}  # fmt: skip
"""Sizes in GB."""
DOWNLOADS = (
    Download("1", REPO, "Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", state=DownloadState.RUNNING,
             n_done=2_120_000_000, n_total=4_920_000_000, bytes_per_second=24_300_000),
    Download("2", "Qwen/Qwen3-4B-GGUF", "Qwen3-4B-Q4_K_M.gguf", n_total=2_500_000_000),
    Download("3", "google/gemma-3-4b-it-qat-q4_0-gguf", "gemma-3-4b-it-q4_0.gguf", state=DownloadState.FAILED,
             n_total=3_160_000_000, problem_title="A licence must be accepted",
             problem="google/gemma-3-4b-it-qat-q4_0-gguf asks for its conditions to be accepted before it can be fetched."),
    Download("4", "Qwen/Qwen2.5-0.5B-Instruct-GGUF", "qwen2.5-0.5b-instruct-q4_k_m.gguf", state=DownloadState.DONE,
             n_done=491_000_000, n_total=491_000_000),
)  # fmt: skip


class ShownLibrary(Library):
    """Has one repository on its Hub."""

    async def search(self, query: Query) -> list[Found]:  # noqa: ARG002
        """That one."""
        return [Found(REPO, 720_000, 540, "2026-10-24", "llama", 8_030_000_000, N_CTX, "llama3.1")]

    async def offers(self, repo: str) -> list[OfferedModel]:
        """Its files."""
        return [
            OfferedModel(
                repo,
                "0" * 40,
                f"Meta-Llama-3.1-8B-Instruct-{name}",
                name,
                meaning(name),
                (f"{name}.gguf",),
                round(size * 1e9),
            )
            for name, size in FILES.items()
        ]

    async def header_of(self, model: LocalModel | OfferedModel) -> GgufHeader:  # noqa: ARG002
        """Nothing that is asked for."""
        return GgufHeader(3, {}, (), 0)

    async def fit_of(self, model: LocalModel | OfferedModel, header: GgufHeader | None = None) -> Fit:  # noqa: ARG002
        """As on a laptop with 16 GB."""
        need = MemoryNeed(model.size_bytes, 1_074_000_000, 266_000_000)
        bytes_per_token = need.kv_cache_bytes / 8192
        largest = max(0, min(N_CTX, int((FREE_BYTES - model.size_bytes - 366_000_000) / bytes_per_token) // 256 * 256))
        share = need.total_bytes / FREE_BYTES
        verdict = Verdict.FITS if share < 0.85 else Verdict.TIGHT if share < 1 else Verdict.TOO_BIG
        return Fit(verdict, need, FREE_BYTES, 8192, largest)


class ShownDownloads(Downloads):
    """Four downloads that stand still."""

    @property
    def all(self) -> tuple[Download, ...]:
        """All four."""
        return DOWNLOADS

    async def start(self) -> None:
        """Nothing is fetched."""

    def add(self, *_: Any) -> Download:
        """The first one."""
        return DOWNLOADS[0]

    async def changes(self) -> AsyncGenerator[tuple[Download, ...], None]:
        """Once, and nothing more."""
        yield DOWNLOADS
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Nothing is fetched."""
