"""What a model takes in memory, against what llama.cpp allocates for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.latent_model import write_latent
from support.shaped_models import Shape, Type, write_shaped
from support.tiny_models import ARCHITECTURES, write_model, write_recurrent

from chatterm.gguf import Array, GgufHeader, Tensor, read_header
from chatterm.need import compute_bytes, kv_cache_bytes, memory_needed

MIB = 1 << 20
X86 = "CPU : SSE3 = 1 | AVX2 = 1 | AVX512 = 1 | REPACK = 1 | "
ARM = "CPU : NEON = 1 | ARM_FMA = 1 | MATMUL_INT8 = 1 | DOTPROD = 1 | REPACK = 1 | "


def header(*tensors: Tensor, **metadata: Any) -> GgufHeader:
    """A header with keys of an architecture called "x"."""
    keys = {"general.architecture": "x"} | {f"x.{key}": value for key, value in metadata.items()}
    return GgufHeader(3, keys, tensors, 0)


LLAMA_8B = header(
    block_count=32,
    embedding_length=4096,
    feed_forward_length=14_336,
    vocab_size=128_256,
    **{"attention.head_count": 32, "attention.head_count_kv": 8},
)


def test_the_kv_cache_takes_what_the_architecture_says() -> None:
    assert kv_cache_bytes(LLAMA_8B, 8192) == 1 << 30
    assert kv_cache_bytes(LLAMA_8B, 8192, "q8_0", "q8_0") == (1 << 30) * 34 // 64
    assert kv_cache_bytes(LLAMA_8B, 8192, "q4_0", "f16") == (1 << 29) + (1 << 29) * 18 // 64
    assert kv_cache_bytes(LLAMA_8B, 8100) == kv_cache_bytes(LLAMA_8B, 8192)
    assert kv_cache_bytes(header(block_count=4, **{"attention.head_count": 0}), 8192) == 0


def test_layers_with_a_state_have_no_cache() -> None:
    keys = {"block_count": 8, "embedding_length": 512, "attention.head_count": 8}
    all_layers = kv_cache_bytes(header(**keys), 1024)
    assert kv_cache_bytes(header(**keys, full_attention_interval=4), 1024) == all_layers // 4
    assert kv_cache_bytes(header(**keys | {"attention.head_count_kv": [0, 0, 0, 8] * 2}), 1024) == all_layers // 4


def test_memory_is_weights_cache_working_memory_and_process() -> None:
    need = memory_needed(LLAMA_8B, 8192)
    assert need.kv_cache_bytes == 1 << 30
    assert need.compute_bytes == compute_bytes(LLAMA_8B, 8192)
    parts = need.weights_bytes, need.kv_cache_bytes, need.compute_bytes, need.process_bytes
    assert need.total_bytes == need.resident_bytes == sum(parts)


def test_a_large_vocabulary_counts() -> None:
    keys = {"tokenizer.ggml.tokens": Array(262_144), "tokenizer.ggml.merges": Array(500_000)}
    large = memory_needed(GgufHeader(3, keys, (), 0), 512).process_bytes
    assert 80e6 < large - memory_needed(header(), 512).process_bytes < 120e6


@pytest.mark.parametrize(
    ("type", "x86", "arm"),
    [("Q4_0", 1, 1), ("Q4_K", 1, 1), ("Q2_K", 1, 0), ("Q6_K", 0, 1), ("Q8_0", 0, 1), ("F16", 0, 0)],
)
def test_copies_are_counted_where_the_processor_has_a_layout_of_its_own(type: str, x86: int, arm: int) -> None:
    matrix = Tensor("blk.0.ffn_up.weight", (256, 64), type, 0, 1000)
    odd = Tensor("blk.0.odd.weight", (256, 63), type, 0, 1000)
    embeddings = Tensor("token_embd.weight", (256, 64), type, 0, 1000)
    output = Tensor("output.weight", (256, 64), "F32", 0, 1000)
    for info, copies in ((X86, x86), (ARM, arm), ("", 0), (f"{X86}AMX_INT8 = 1 | ", 0), ("AVX2 = 1", 0)):
        own = memory_needed(header(matrix, odd, embeddings, output), 512, system_info=info)
        tied = memory_needed(header(matrix, odd, embeddings), 512, system_info=info)
        assert own.copied_bytes == 1000 * copies
        assert tied.copied_bytes == 2000 * copies
        assert own.resident_bytes == own.total_bytes + own.copied_bytes


def test_the_other_parts_of_a_split_model_are_like_the_first() -> None:
    first = header(Tensor("a.weight", (256, 64), "Q4_0", 0, 600), Tensor("b.weight", (256, 64), "F32", 0, 400))
    need = memory_needed(first, 512, size_bytes=10_000, system_info=X86)
    assert (need.weights_bytes, need.copied_bytes) == (10_000, 6000)
    assert memory_needed(header(), 512, size_bytes=10_000, system_info=X86).weights_bytes == 10_000


class Llama:
    """llama.cpp in this process, for what it says about its buffers."""

    def __init__(self, llama: Any) -> None:
        self.llama = llama
        self.lines: list[bytes] = []
        self.listener = llama.llama_log_callback(lambda _level, text, _data: self.lines.append(text))
        llama.llama_log_set(self.listener, None)

    def buffers(self, path: Path, n_ctx: int, **parameters: Any) -> dict[str, float]:
        """Sizes by kind ("KV", "compute", "CPU_REPACK model"), in bytes."""
        model = self.llama.llama_model_load_from_file(str(path).encode(), self.llama.llama_model_default_params())
        wanted = self.llama.llama_context_default_params()
        wanted.n_ctx, wanted.n_batch, wanted.n_outputs_max, wanted.n_threads = n_ctx, 512, 1, 1
        for name, value in parameters.items():
            setattr(wanted, name, value)
        context = self.llama.llama_init_from_model(model, wanted)
        self.llama.llama_free(context)
        self.llama.llama_model_free(model)
        sizes: dict[str, float] = {}
        for kind, mib in re.findall(
            r"(KV|RS|compute|\w+ model) buffer size = +([\d.]+) MiB", b"".join(self.lines).decode()
        ):
            sizes[kind] = sizes.get(kind, 0) + float(mib) * MIB
        return sizes


@pytest.fixture
def llama() -> Iterator[Llama]:
    library = pytest.importorskip("llama_cpp.llama_cpp")
    yield Llama(library)
    silent = library.llama_log_callback(lambda *_: None)
    library.SILENT_FOR_TESTS = silent  # llama.cpp keeps the pointer, so the callback must live on
    library.llama_log_set(silent, None)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize(("type_k", "type_v"), [("f16", "f16"), ("q8_0", "f16")])
def test_the_kv_cache_is_what_llama_cpp_allocates(
    tmp_path: Path, llama: Llama, arch: str, type_k: str, type_v: str
) -> None:
    path = write_model(tmp_path / "m.gguf", arch, n_layers=3, width=256, n_kv_heads=2)
    sizes = llama.buffers(path, 1000, type_k={"f16": 1, "q8_0": 8}[type_k])
    assert kv_cache_bytes(read_header(path), 1000, type_k, type_v) == pytest.approx(sizes["KV"], abs=2**14)


@pytest.mark.parametrize("arch", ["mamba", "lfm2"])
def test_states_of_recurrent_layers_count(tmp_path: Path, llama: Llama, arch: Any) -> None:
    path = write_recurrent(tmp_path / "m.gguf", arch)
    sizes = llama.buffers(path, 1024)
    allocated = sizes.get("KV", 0) + sizes["RS"]
    assert kv_cache_bytes(read_header(path), 1024) == pytest.approx(allocated, abs=2**14)


@pytest.mark.parametrize("is_flash", [True, False])
def test_latent_attention_keeps_no_values(tmp_path: Path, llama: Llama, is_flash: bool) -> None:
    path = write_latent(tmp_path / "m.gguf")
    sizes = llama.buffers(path, 4096, flash_attn_type=int(is_flash))
    assert kv_cache_bytes(read_header(path), 4096) == pytest.approx(sizes["KV"], abs=2**14)
    told = compute_bytes(read_header(path), 4096, flash_attention=is_flash)
    assert told == pytest.approx(sizes["compute"], rel=0.1)


@pytest.mark.parametrize("is_flash", [True, False])
@pytest.mark.parametrize(
    "shape",
    [
        Shape("llama", 2, 512, 8, 2, 1536, 2000),
        Shape("llama", 2, 1024, 16, 16, 4096, 2000),
        Shape("qwen3", 2, 512, 16, 4, 512, 2000, head=128),
        Shape("gemma3", 6, 640, 4, 1, 2048, 2000, head=256, sliding_window=512),
        Shape("qwen3moe", 2, 1024, 16, 4, 384, 2000, head=64, n_experts=16, n_experts_used=8),
        Shape("llama", 2, 512, 8, 2, 896, 2000, n_experts=8, n_experts_used=2),
    ],
    ids=lambda shape: f"{shape.arch}-{shape.width}-{shape.n_ff}",
)
def test_the_working_memory_is_what_llama_cpp_allocates(
    tmp_path: Path, llama: Llama, shape: Shape, is_flash: bool
) -> None:
    path = write_shaped(tmp_path / "m.gguf", shape)
    sizes = llama.buffers(path, 4096, flash_attn_type=int(is_flash))
    told = compute_bytes(read_header(path), 4096, flash_attention=is_flash)
    assert told == pytest.approx(sizes["compute"], rel=0.1, abs=3 * MIB)


@pytest.mark.parametrize("type", [Type.Q4_0, Type.Q4_K, Type.Q6_K, Type.Q8_0, Type.F16])
@pytest.mark.parametrize("output", [None, Type.F16])
def test_copies_are_those_that_llama_cpp_makes(tmp_path: Path, llama: Llama, type: Type, output: Type | None) -> None:
    path = write_shaped(
        tmp_path / "m.gguf",
        Shape("llama", 2, 512, 8, 2, 1536, 2000, matrices=type, embeddings=type, output=output),
    )
    info = llama.llama.llama_print_system_info().decode()
    if "AMX_INT8 = 1" in info:
        pytest.skip("the worker lets llama.cpp make no copies on this processor")
    copied = memory_needed(read_header(path), 512, system_info=info).copied_bytes
    assert copied == pytest.approx(llama.buffers(path, 512).get("CPU_REPACK model", 0), abs=2**14)
