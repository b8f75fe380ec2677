"""A Hub of our own for the tests of this folder, and a downloader that does not wait."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from support.fake_hub import FakeHub

from chatterm.hub.download import Patience


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A Hub with one model of 1 MB, and the environment that leads to it."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_DISABLE_IMPLICIT_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with FakeHub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.add("lab/Tiny-GGUF", "Tiny-Q4_K_M.gguf", content(1_000_000))
        yield server


@pytest.fixture
def waits() -> list[float]:
    """How long the downloader would have waited, each time."""
    return []


@pytest.fixture
def patience(waits: list[float]) -> Patience:
    """As patient as the real one, but it only notes how long it would have waited."""
    return Patience(wait=waits.append)


def content(n_bytes: int, seed: int = 1) -> bytes:
    """Bytes that compress badly and differ everywhere, like weights."""
    return random.Random(seed).randbytes(n_bytes)
