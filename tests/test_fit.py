"""Whether a model fits into memory, and with what context window."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from chatterm.fit import Fit, FreeMemory, Verdict, fit, free_memory, gpu_layers, needed, over_context
from chatterm.gguf import GgufHeader, Tensor
from chatterm.settings import LoadOptions

GB = 10**9
AUTOMATIC = LoadOptions()


def model(gigabytes: float, n_ctx_train: int = 131_072, **more: Any) -> GgufHeader:
    """The header of a model with 32 layers, 8 KV heads of 128: 128 KiB of KV cache a token."""
    keys: dict[str, Any] = {
        "block_count": 32,
        "embedding_length": 4096,
        "feed_forward_length": 14_336,
        "context_length": n_ctx_train,
        "vocab_size": 32_000,
        "attention.head_count": 32,
        "attention.head_count_kv": 8,
    }
    metadata = {"general.architecture": "llama"} | {f"llama.{key}": value for key, value in (keys | more).items()}
    n_rows = round(gigabytes * GB / (4096 / 256 * 144))
    tensors = (Tensor("blk.0.ffn_down.weight", (4096, n_rows), "Q4_K", 0, n_rows * 16 * 144),)
    return GgufHeader(3, metadata, tensors, 5_000_000)


def on(gigabytes: float, header: GgufHeader, load: LoadOptions = AUTOMATIC, vram: float = 0) -> Fit:
    """How a model fits with so much that is free."""
    return fit(header, header.file_bytes, load, FreeMemory(round(gigabytes * GB), round(vram * GB)))


def test_a_model_that_leaves_room_fits_with_the_usual_window() -> None:
    found = on(16, model(4.9))
    assert (found.verdict, found.n_ctx) == (Verdict.FITS, 8192)
    assert found.needed.total_bytes < 0.85 * found.free_bytes
    assert found.largest_n_ctx > 32_768
    assert on(200, model(4.9)).largest_n_ctx == 131_072


def test_a_model_that_leaves_little_is_tight() -> None:
    need = on(100, model(4.9)).needed.total_bytes / GB
    assert on(need / 0.84, model(4.9)).verdict is Verdict.FITS
    assert on(need / 0.86, model(4.9)).verdict is Verdict.TIGHT
    assert on(need * 1.001, model(4.9)).verdict is Verdict.TIGHT


def test_a_model_that_fits_with_a_smaller_window_only_is_tight_and_gets_it() -> None:
    found = on(5.6, model(4.9))
    assert found.verdict is Verdict.TIGHT
    assert 512 <= found.n_ctx == found.largest_n_ctx < 8192
    assert found.needed.total_bytes <= found.free_bytes


def test_a_window_is_not_made_tiny_only_to_keep_all_weights_in_memory() -> None:
    smallest = on(100, model(4.9), LoadOptions(n_ctx=768)).needed.total_bytes / GB
    found = on(smallest, model(4.9))
    assert (found.verdict, found.n_ctx, found.largest_n_ctx) == (Verdict.TIGHT, 2048, 768)
    assert on(smallest, model(4.9), LoadOptions(mmap=False)).n_ctx == 768


def test_a_window_that_was_asked_for_is_reckoned_with_and_the_largest_told() -> None:
    found = on(8, model(4.9), LoadOptions(n_ctx=65_536))
    assert (found.verdict, found.n_ctx) == (Verdict.TIGHT, 65_536)
    assert found.needed.total_bytes > found.free_bytes
    assert f"Up to {found.largest_n_ctx:,} tokens fit." in found.sentence
    small = on(8, model(4.9), LoadOptions(n_ctx=found.largest_n_ctx))
    assert small.needed.total_bytes <= small.free_bytes


def test_the_largest_window_is_the_last_that_fits() -> None:
    header = model(4.9)
    for free in (5.5, 6.1, 8, 12.3):
        found = on(free, header)
        more = needed(header, header.file_bytes, AUTOMATIC, found.largest_n_ctx + 256)
        assert more.total_bytes > found.free_bytes
        assert needed(header, header.file_bytes, AUTOMATIC, found.largest_n_ctx).total_bytes <= found.free_bytes


def test_a_model_much_larger_than_memory_is_too_big() -> None:
    found = on(4, model(40))
    assert (found.verdict, found.largest_n_ctx) == (Verdict.TOO_BIG, 0)
    assert found.sentence.endswith("4.0 GB are free.")
    assert on(0, model(4.9)).verdict is Verdict.TOO_BIG


def test_a_model_a_little_larger_than_memory_runs_from_the_disk_if_it_may_be_mapped() -> None:
    found = on(5, model(4.9))
    assert found.verdict is Verdict.TIGHT
    assert "from the disk" in found.sentence
    assert on(5, model(4.9), LoadOptions(mmap=False)).verdict is Verdict.TOO_BIG


def test_a_mixture_of_experts_may_lack_more() -> None:
    assert on(30, model(40)).verdict is Verdict.TOO_BIG
    assert on(30, model(40, expert_count=64)).verdict is Verdict.TIGHT
    assert on(12, model(40, expert_count=64)).verdict is Verdict.TOO_BIG


def test_a_gpu_counts_where_layers_may_go_there() -> None:
    header = model(4.9)
    assert on(2, header, vram=24).free_bytes == 24 * GB
    assert on(2, header, vram=24).verdict is Verdict.FITS
    assert on(2, header, LoadOptions(n_gpu_layers=0), vram=24).verdict is Verdict.TOO_BIG
    assert on(16, header, vram=4).free_bytes > 16 * GB - 1


def test_as_many_layers_go_to_the_gpu_as_it_has_room_for() -> None:
    header = model(4.9)
    layers = [gpu_layers(header, 0, AUTOMATIC, round(vram * GB)) for vram in (24, 6.6, 5, 3, 1, 0.1, 0)]
    assert layers[:2] == [-1, -1]
    assert layers[2:] == sorted(layers[2:], reverse=True)
    assert 0 < layers[3] < layers[2] < 32
    assert layers[-2:] == [0, 0]
    need = needed(header, 0, AUTOMATIC, 8192)
    taken = (need.weights_bytes + need.kv_cache_bytes) * layers[2] / 32 + need.compute_bytes
    assert 0.85 * 5 * GB < taken < 5 * GB
    assert gpu_layers(header, 0, LoadOptions(n_ctx=65_536), 5 * GB) < layers[2]


def test_the_models_own_limit_counts() -> None:
    found = on(16, model(4.9, n_ctx_train=2048))
    assert (found.n_ctx, found.largest_n_ctx) == (2048, 2048)
    tiny = on(16, model(4.9, n_ctx_train=128))
    assert (tiny.n_ctx, tiny.largest_n_ctx) == (128, 128)
    assert on(16, model(4.9, n_ctx_train=0)).n_ctx == 8192


def test_the_other_parts_of_a_split_model_count() -> None:
    header = model(4.9)
    whole = fit(header, header.file_bytes + 10 * GB, AUTOMATIC, FreeMemory(64 * GB))
    assert whole.needed.weights_bytes == header.size_bytes + 10 * GB


def test_the_sentence_says_what_is_needed_and_what_is_free() -> None:
    found = on(11.2, model(4.9))
    needed_words = f"{found.needed.total_bytes / GB:.1f} GB"
    assert found.sentence == f"Needs {needed_words} with 8,192 tokens of context; 11.2 GB are free."


def test_memory_over_context_rises_to_the_models_limit() -> None:
    points = over_context(model(4.9), 0, AUTOMATIC)
    assert points[0][0] == 512
    assert points[-1][0] == 131_072
    assert 10 <= len(points) <= 40
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(points))
    assert len(over_context(model(4.9, n_ctx_train=256), 0, AUTOMATIC)) == 1


@pytest.mark.parametrize("damage", [{}, {"block_count": 1 << 40}, {"context_length": 1 << 62, "vocab_size": -5}])
def test_nonsense_in_a_header_is_survived(damage: dict[str, Any]) -> None:
    assert on(8, model(1, **damage)).sentence
    assert over_context(model(1, **damage), 0, AUTOMATIC)
    assert fit(GgufHeader(3, {}, (), 0), 0, AUTOMATIC, FreeMemory(GB)).sentence


def test_what_is_free_is_told() -> None:
    free = free_memory(5)
    assert free.ram_bytes > 0
    assert free.vram_bytes == 5
