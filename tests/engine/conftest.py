"""What tests of the engine share: one worker for each module, and models that cost little to make."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.tiny_models import write_chain, write_model

from chatterm.engine.local import LocalEngine

PATIENCE_SECONDS = 60
"""No worker is replaced because the machine that runs the tests is busy."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalEngine]:
    """An engine whose worker lives as long as the module's tests."""
    engine = LocalEngine(patience_seconds=PATIENCE_SECONDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHATTERM_LOG_HOME", str(tmp_path_factory.mktemp("log")))
        await engine.start()
        yield engine
        await engine.close()


@pytest_asyncio.fixture(loop_scope="module")
async def own_engine(own_folders: Path) -> AsyncIterator[LocalEngine]:
    """An engine for one test alone, which may do with it what it likes."""
    engine = LocalEngine(patience_seconds=PATIENCE_SECONDS)
    yield engine
    await engine.close()


@pytest.fixture
def says(tmp_path: Path) -> Callable[..., Path]:
    """Makes a model that says the given tokens at temperature 0."""

    def make(*pieces: bytes | str, **options: Any) -> Path:
        return write_chain(tmp_path / "chain.gguf", pieces, **options)

    return make


@pytest.fixture(scope="session")
def rambler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights, which writes nonsense until it is stopped."""
    return write_model(tmp_path_factory.mktemp("models") / "rambler.gguf", n_ctx=2048)


@pytest.fixture(scope="session")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes seconds to read a long prompt, and writes until it is stopped."""
    return write_model(
        tmp_path_factory.mktemp("models") / "slow.gguf",
        n_layers=8,
        width=512,
        n_heads=8,
        n_ff=2048,
        n_vocab=8000,
        quantization="Q8_0",
        n_ctx=8192,
    )
