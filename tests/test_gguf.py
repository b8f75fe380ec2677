"""What the header of a GGUF says, and what is said of files that are none."""

from __future__ import annotations

import random
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import gguf as reference
import pytest
from support.tiny_models import ARCHITECTURES, CHATML, write_chain, write_model

from chatterm import quantizations
from chatterm.errors import ModelNotFound, ModelUnreadable
from chatterm.gguf import Array, GgufHeader, parse_header, read_header
from chatterm.model_facts import facts
from chatterm.need import memory_needed


def header(**metadata: Any) -> GgufHeader:
    """A header with keys of an architecture called "x"."""
    return GgufHeader(3, {"general.architecture": "x"} | {f"x.{key}": value for key, value in metadata.items()}, (), 0)


def key(name: str, kind: int, value: bytes) -> bytes:
    """A key as it stands in a file."""
    return struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", kind) + value


def file_with(*keys: bytes, version: int = 3, n_tensors: int = 0, n_keys: int | None = None) -> bytes:
    """A GGUF of nothing but keys."""
    n = len(keys) if n_keys is None else n_keys
    return b"GGUF" + struct.pack("<IQQ", version, n_tensors, n) + b"".join(keys)


def parsed(data: bytes) -> GgufHeader:
    return parse_header(lambda start, end: data[start:end], "model.gguf")


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("vocabulary", ["bpe", "spm"])
def test_a_header_tells_what_the_model_is(tmp_path: Path, arch: str, vocabulary: Any) -> None:
    path = write_model(tmp_path / "m.gguf", arch, vocabulary, name="Tiny One", n_layers=3, n_ctx=2048)
    model = read_header(path)
    assert (model.architecture, model.name, model.quantization) == (arch, "Tiny One", "F32")
    assert (model.n_layers, model.n_embedding, model.n_heads, model.n_kv_heads) == (3, 64, 4, (2, 2, 2))
    assert (model.key_length, model.value_length, model.n_ctx_train) == (16, 16, 2048)
    assert (model.template, model.n_parts, model.n_experts) == (CHATML, 1, 0)
    assert model.n_vocab == {t.name: t.shape for t in model.tensors}["token_embd.weight"][1]
    assert model.file_bytes == path.stat().st_size


@pytest.mark.parametrize("quantization", ["F32", "F16", "Q8_0", "Q4_0"])
def test_sizes_are_those_of_the_tensors(tmp_path: Path, quantization: Any) -> None:
    path = write_chain(tmp_path / "m.gguf", ["a", "b"], quantization=quantization)
    model, reader = read_header(path), reference.GGUFReader(path)
    assert model.quantization == quantization
    assert model.file_bytes == path.stat().st_size
    assert [(t.name, list(t.shape), t.type, t.size_bytes) for t in model.tensors] == [
        (t.name, t.shape.tolist(), t.tensor_type.name, t.n_bytes) for t in reader.tensors
    ]
    assert model.n_parameters == sum(int(t.n_elements) for t in reader.tensors)


def test_all_tensor_types_have_the_sizes_that_ggml_gives_them() -> None:
    known = {int(kind): (kind.name, *sizes) for kind, sizes in reference.GGML_QUANT_SIZES.items()}
    assert known.items() <= quantizations.TENSOR_TYPES.items()


def test_every_quantization_is_explained() -> None:
    assert set(quantizations.FILE_TYPES.values()) <= set(quantizations.QUANTIZATIONS)


def test_the_commonest_type_names_the_quantization_where_the_file_does_not(tmp_path: Path) -> None:
    model = read_header(write_chain(tmp_path / "m.gguf", ["a"], quantization="Q8_0"))
    metadata = {k: v for k, v in model.metadata.items() if k != "general.file_type"}
    assert GgufHeader(3, metadata, model.tensors, 0).quantization == "Q8_0"
    for nonsense in ([1], "x", 999, 1.5):
        assert GgufHeader(3, {"general.file_type": nonsense}, model.tensors, 0).quantization == "Q8_0"


def test_long_lists_are_stepped_over_and_short_ones_kept(tmp_path: Path) -> None:
    model = read_header(write_model(tmp_path / "m.gguf", n_vocab=5000))
    assert model.metadata["tokenizer.ggml.tokens"] == Array(5000)
    assert model.n_vocab == 5000
    heads = struct.pack("<IQ3i", 5, 3, 0, 2, 0)
    hybrid = parsed(
        file_with(
            key("general.architecture", 8, struct.pack("<Q", 1) + b"x"),
            key("x.attention.head_count_kv", 9, heads),
            key("x.block_count", 4, struct.pack("<I", 3)),
        )
    )
    assert hybrid.n_kv_heads == (0, 2, 0)


@pytest.mark.parametrize(("kind", "value"), [(4, struct.pack("<I", 7)), (7, b"\1"), (8, struct.pack("<Q", 1) + b"x")])
def test_a_vocabulary_that_is_no_list_counts_for_nothing(kind: int, value: bytes) -> None:
    keys = (key("tokenizer.ggml.tokens", kind, value), key("tokenizer.ggml.merges", kind, value))
    model = parsed(file_with(*keys))
    assert model.n_vocab == 0
    assert facts(model)
    assert memory_needed(model, 512).total_bytes > 0


def test_a_header_is_fetched_in_few_pieces_and_no_further(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.gguf", n_vocab=200_000, width=32, n_layers=1)
    data, asked = path.read_bytes(), []

    def fetch(start: int, end: int) -> bytes:
        asked.append((start, end))
        return data[start:end]

    model = parse_header(fetch, "m.gguf")
    assert model.n_vocab == 200_000
    assert 1 < len(asked) <= 4
    assert all(before[1] == after[0] for before, after in pairwise(asked))
    assert asked[-1][1] < len(data)


def test_a_split_model_tells_its_parts() -> None:
    assert parsed(file_with(key("split.count", 2, struct.pack("<H", 7)))).n_parts == 7


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"GG", "much too short"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        (b"PK\x03\x04" + b"\0" * 64, "PyTorch"),
        (b"\x40\0\0\0\0\0\0\0" + b'{"__metadata__"', "safetensors"),
        (b"tjgg\x03\0\0\0", "before GGUF"),
        (b"\0" * 4096, "full of zeros"),
        (b"just some text", r"begins with b'just som'"),
        (file_with(version=1), "version 1"),
        (b"GGUF" + struct.pack(">I", 3), "big-endian"),
        (file_with(n_keys=1 << 60), "so it is damaged"),
        (file_with(n_tensors=1 << 60), "so it is damaged"),
        (file_with(n_keys=1), "incomplete"),
        (file_with(key("a", 77, b"")), "unknown kind 77"),
        (file_with(key("a", 8, struct.pack("<Q", 1 << 62))), "so it is damaged"),
        (file_with(key("a", 8, struct.pack("<Q", 1 << 20))), "incomplete"),
        (file_with(key("a", 9, struct.pack("<IQ", 4, 1 << 62))), "so it is damaged"),
        (file_with(key("a", 9, struct.pack("<IQ", 8, 1 << 62))), "incomplete"),
        (file_with(key("a", 9, struct.pack("<IQQ", 8, 1 << 62, 1 << 62))), "so it is damaged"),
        (file_with(key("a", 9, struct.pack("<IQ", 9, 1 << 62))), "so it is damaged"),
        (file_with(key("a", 9, struct.pack("<IQ", 9, 1) * 5000)), "unknown kind 9"),
        (file_with(struct.pack("<Q", 2) + b"\x1bt" + struct.pack("<I", 1 << 30), n_keys=0, n_tensors=1), "\ufffdt has"),
    ],
)
def test_a_file_that_is_no_gguf_says_why(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelUnreadable, match=reason) as caught:
        read_header(path)
    assert "model.gguf" in caught.value.message
    assert caught.value.remedy


def test_a_file_that_is_cut_anywhere_in_its_header_is_incomplete(tmp_path: Path) -> None:
    data = write_chain(tmp_path / "m.gguf", ["a", "b"]).read_bytes()
    end = read_header(tmp_path / "m.gguf").data_offset - 32
    for size in [*range(4, 600), *range(600, end, 97)]:
        with pytest.raises(ModelUnreadable, match=r"incomplete|too short"):
            parsed(data[:size])


def test_random_damage_is_read_or_refused_but_never_crashes(tmp_path: Path) -> None:
    data = bytearray(write_chain(tmp_path / "m.gguf", ["a", "b"]).read_bytes()[:60_000])
    rng = random.Random(1)
    for _ in range(500):
        damaged = bytearray(data)
        for _ in range(rng.randrange(1, 6)):
            damaged[rng.choice((rng.randrange(4, 800), rng.randrange(4, len(data))))] = rng.randrange(256)
        try:
            model = parsed(bytes(damaged))
        except ModelUnreadable:
            continue
        assert isinstance(memory_needed(model, 512).total_bytes, int)
        assert isinstance((model.name, model.quantization, model.n_kv_heads, model.file_bytes, model.n_parts), tuple)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="There is no file"):
        read_header(tmp_path / "none.gguf")
    with pytest.raises(ModelUnreadable, match="it is a folder"):
        read_header(tmp_path)
