"""The estimate of memory holds for the real worker process, with models of realistic shape."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.shaped_models import Shape, Type, write_shaped
from support.tiny_models import write_model
from support.worker_memory import measure

from chatterm.engine.local import LocalEngine
from chatterm.events import Loaded
from chatterm.fit import FreeMemory, Verdict, fit
from chatterm.gguf import read_header
from chatterm.settings import LoadOptions

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systems count mapped memory differently")

MIB = 1 << 20
SHAPES = {
    "dense, large vocabulary": Shape("qwen2", 8, 512, 8, 2, 1536, 151_936),
    "sliding window": Shape(
        "gemma3", 18, 640, 4, 1, 2048, 32_000, head=256, matrices=Type.Q8_0, embeddings=Type.F16, sliding_window=512
    ),
    "mixture of experts": Shape(
        "qwen3moe", 8, 512, 8, 4, 512, 32_000, matrices=Type.Q4_K, some=Type.Q6_K, embeddings=Type.Q4_K,
        output=Type.Q6_K, n_experts=16, n_experts_used=4,
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=list(SHAPES))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shaped(tmp_path_factory.mktemp("shaped") / "model.gguf", SHAPES[request.param])


@pytest.mark.parametrize("n_ctx", [2048, 16_384])
async def test_the_estimate_is_what_the_process_takes(model: Path, n_ctx: int) -> None:
    measured = await measure(model, n_ctx)
    assert measured.error == pytest.approx(0, abs=0.1), measured


async def test_what_was_copied_is_not_read_from_the_file_again(model: Path) -> None:
    measured = await measure(model, 2048)
    need = measured.need
    assert measured.used_file_bytes <= need.weights_bytes - need.copied_bytes + MIB


_POOR_WORKER = """
import psutil, runpy
from chatterm import memory

def free_bytes():
    now = psutil.Process().memory_info()
    return max(0, {free} - (now.rss - min(now.shared, {weights})))

memory.free_bytes = free_bytes
runpy.run_module("chatterm.engine.worker", run_name="__main__")
"""


@pytest.mark.parametrize("rest", [0.2, 0.6])
async def test_the_window_that_is_told_is_about_the_one_that_is_chosen(model: Path, rest: float) -> None:
    header = read_header(model)

    def needed(n_ctx: int) -> int:
        return fit(header, 0, LoadOptions(n_ctx=n_ctx), FreeMemory(10**12)).needed.total_bytes

    free = round(needed(512) + rest * (needed(8192) - needed(512)))
    told = fit(header, 0, LoadOptions(), FreeMemory(free))
    loaded = await _loaded_with(free, model, header.size_bytes)
    assert told.verdict is Verdict.TIGHT
    assert 512 < loaded.model.n_ctx < 8192
    assert needed(loaded.model.n_ctx) == pytest.approx(needed(told.n_ctx), rel=0.05)
    assert any(f"The context window is {loaded.model.n_ctx:,} tokens" in note for note in loaded.notes)


async def _loaded_with(free: int, model: Path, weights: int) -> Loaded:
    """What is said of a model by a worker that has so much memory for itself."""
    engine = LocalEngine(command=(sys.executable, "-c", _POOR_WORKER.format(free=free, weights=weights)))
    try:
        events = [event async for event in engine.load(model, LoadOptions())]
    finally:
        await engine.close()
    assert isinstance(events[-1], Loaded)
    return events[-1]


@pytest.mark.parametrize("n_ctx_train", [256, 1024])
async def test_little_memory_gives_no_window_larger_than_the_model_was_trained_for(
    tmp_path: Path, n_ctx_train: int
) -> None:
    path = write_model(tmp_path / "model.gguf", n_ctx=n_ctx_train, n_vocab=100_000)
    own = 8 * MIB  # less than the weights, more than the window
    engine = LocalEngine(command=(sys.executable, "-c", _WORKER_THAT_HAS.format(free=own)))
    try:
        events = [event async for event in engine.load(path, LoadOptions())]
    finally:
        await engine.close()
    assert isinstance(events[-1], Loaded)
    assert events[-1].model.n_ctx == events[-1].model.n_ctx_train == n_ctx_train
    assert any("Memory is tight" in note for note in events[-1].notes)


_WORKER_THAT_HAS = """
import runpy
from chatterm import memory

memory.free_bytes = lambda: {free}
runpy.run_module("chatterm.engine.worker", run_name="__main__")
"""


_WORKER_WITH_A_SMALL_GPU = """
import runpy
from chatterm.engine.base import Device
from chatterm.engine.worker.library import Library

Library.gpus = lambda self: (Device("GPU0", "a small one", "GPU", 80_000_000, 100_000_000),)
runpy.run_module("chatterm.engine.worker", run_name="__main__")
"""


async def test_it_is_said_that_a_gpu_has_no_room_for_all_layers(model: Path) -> None:
    """llama.cpp knows nothing of this GPU; what is tested is what is asked of it, and said."""
    engine = LocalEngine(command=(sys.executable, "-c", _WORKER_WITH_A_SMALL_GPU))
    try:
        asked = [event async for event in engine.load(model, LoadOptions(n_ctx=1024))]
        given = [event async for event in engine.load(model, LoadOptions(n_ctx=1024, n_gpu_layers=3))]
    finally:
        await engine.close()
    assert isinstance(asked[-1], Loaded)
    assert isinstance(given[-1], Loaded)
    n_layers = read_header(model).n_layers
    (note,) = asked[-1].notes
    assert f" of {n_layers} layers go to the GPU: no more fit into the 80 MB" in note
    assert 0 <= int(note.split()[0]) < n_layers
    assert not any("layers go to the GPU" in note for note in given[-1].notes)
