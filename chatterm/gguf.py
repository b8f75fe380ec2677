"""What the header of a GGUF file says about the model, without loading it.

Reads names, sizes and the chat template in some milliseconds, from a file or from the first
megabytes of one that still lies elsewhere. The long lists of the vocabulary are stepped over. Knows
neither llama.cpp nor the network.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from chatterm.errors import ModelNotFound, ModelUnreadable
from chatterm.quantizations import FILE_TYPES, TENSOR_TYPES
from chatterm.text import line

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")

_LONGEST_HEADER = 1 << 28
_FIRST_READ_BYTES = 1 << 20
_LONGEST_KEPT_ARRAY = 1024
_MOST_ENTRIES = 1 << 20

Fetch = Callable[[int, int], bytes]
"""Gives the bytes of a file from one offset to another, fewer only at its end."""


class Array(msgspec.Struct, frozen=True):
    """A list of the header that is too long to be kept."""

    length: int


class Tensor(msgspec.Struct, frozen=True):
    """One matrix of the model, as the header announces it."""

    name: str
    shape: tuple[int, ...]
    """Innermost dimension first, as ggml has it."""
    type: str
    """"F32", "Q4_K"; "type 99" where it is not known."""
    offset: int
    """From the start of the weights."""
    size_bytes: int

    @property
    def n_values(self) -> int:
        """How many weights it holds."""
        return math.prod(self.shape)


class GgufHeader(msgspec.Struct, frozen=True):
    """The header of one file; of a split model, each part has its own, and the first tells about the model."""

    version: int
    metadata: dict[str, Any]
    """All keys; long lists as `Array`."""
    tensors: tuple[Tensor, ...]
    data_offset: int
    """Where the weights begin, which is the size of the header."""

    @property
    def architecture(self) -> str:
        """Such as "llama" or "qwen3"."""
        return self.text("general.architecture")

    @property
    def name(self) -> str:
        """As its maker calls it; "" where it does not say."""
        return self.text("general.name")

    @property
    def quantization(self) -> str:
        """As in file names: "Q4_K_M"; the commonest type of the matrices where the file does not say."""
        told = self.metadata.get("general.file_type")
        if isinstance(told, int) and told in FILE_TYPES:
            return FILE_TYPES[told]
        sizes: dict[str, int] = {}
        for tensor in self.tensors:
            sizes[tensor.type] = sizes.get(tensor.type, 0) + tensor.n_values
        return max(sizes, key=sizes.__getitem__, default="")

    @property
    def template(self) -> str | None:
        """The chat template; None where the model carries none."""
        return self.text("tokenizer.chat_template") or None

    @property
    def n_layers(self) -> int:
        """Blocks of attention and feed-forward."""
        return self.number("block_count")

    @property
    def n_embedding(self) -> int:
        """Width of the residual stream."""
        return self.number("embedding_length")

    @property
    def n_heads(self) -> int:
        """Attention heads of a layer, the most where layers differ."""
        return max(self._per_layer("attention.head_count", 0), default=0)

    @property
    def n_kv_heads(self) -> tuple[int, ...]:
        """Key and value heads of each layer; 0 for layers without attention."""
        return self._per_layer("attention.head_count_kv", self.n_heads)

    @property
    def key_length(self) -> int:
        """Width of a key in one head."""
        return self.number("attention.key_length") or (self.n_embedding // self.n_heads if self.n_heads else 0)

    @property
    def value_length(self) -> int:
        """Width of a value in one head."""
        return self.number("attention.value_length") or (self.n_embedding // self.n_heads if self.n_heads else 0)

    @property
    def n_ctx_train(self) -> int:
        """Context window that the model was trained for, tokens."""
        return self.number("context_length")

    @property
    def n_vocab(self) -> int:
        """Tokens in the vocabulary."""
        return self.length("tokenizer.ggml.tokens") or self.number("vocab_size")

    @property
    def n_experts(self) -> int:
        """Experts of a mixture; 0 for a dense model."""
        return self.number("expert_count")

    @property
    def n_parts(self) -> int:
        """Into how many files the model is split; 1 for one that is not."""
        return max(1, _whole(self.metadata.get("split.count", 1)))

    @property
    def n_parameters(self) -> int:
        """Weights in this file."""
        return sum(tensor.n_values for tensor in self.tensors)

    @property
    def size_bytes(self) -> int:
        """What the weights of this file take in memory."""
        return sum(tensor.size_bytes for tensor in self.tensors)

    @property
    def file_bytes(self) -> int:
        """How long the file must be; a shorter one is incomplete."""
        return self.data_offset + max((tensor.offset + tensor.size_bytes for tensor in self.tensors), default=0)

    def text(self, key: str) -> str:
        """A key's text; "" where there is none."""
        value = self.metadata.get(key, "")
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> int:
        """A number of the architecture's own keys, such as "context_length"; 0 where there is none."""
        return _whole(self.metadata.get(f"{self.architecture}.{key}", 0))

    def length(self, key: str) -> int:
        """How long a list is; 0 where there is none."""
        value = self.metadata.get(key)
        return value.length if isinstance(value, Array) else len(value) if isinstance(value, list) else 0

    def _per_layer(self, key: str, default: int) -> tuple[int, ...]:
        """A value for each layer, from a list or from one number for all."""
        value = self.metadata.get(f"{self.architecture}.{key}", default)
        if isinstance(value, list):
            return tuple(map(_whole, value))
        return (_whole(value),) * min(self.n_layers, _LONGEST_KEPT_ARRAY)


def read_header(path: Path) -> GgufHeader:
    """The header of a GGUF file.

    Raises:
        ModelNotFound: there is no such file.
        ModelUnreadable: it is no GGUF, is cut off inside its header, or may not be read; says which.
    """
    try:
        with path.open("rb") as file:

            def fetch(start: int, end: int) -> bytes:
                file.seek(start)
                return file.read(end - start)

            return parse_header(fetch, path.name)
    except FileNotFoundError as error:
        raise ModelNotFound(f"There is no file {path}.", "Check the name, or choose another model.") from error
    except OSError as error:
        reason = "it is a folder" if path.is_dir() else error.strerror or str(error)
        raise ModelUnreadable(f"{path.name} cannot be read: {reason}.", "Choose a GGUF file.") from error


def parse_header(fetch: Fetch, name: str) -> GgufHeader:
    """The header of a GGUF file that is read bit by bit, from wherever it lies.

    Args:
        fetch: Asked for ever larger pieces, in order: 1 MB, 2 MB, 4 MB...
        name: What to call the file in errors.

    Raises:
        ModelUnreadable: it is no GGUF, or is cut off inside its header; says which.
    """
    reader = _Reader(fetch)
    try:
        return _parse(reader)
    except _Bad as error:
        remedy = "Choose a GGUF file, or fetch it again."
        raise ModelUnreadable(f"{name} is not a usable GGUF file: {error}.", remedy) from error


class _Bad(Exception):
    """Why a header cannot be read."""


class _Reader:
    """Bytes from the start of a file, fetched as they are needed."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._step = _FIRST_READ_BYTES
        self._at_end = False
        self.data = bytearray()
        self.position = 0

    def need(self, end: int) -> None:
        """Have all bytes up to a place.

        Raises:
            _Bad: the file ends before it, or no header is that long.
        """
        if end > _LONGEST_HEADER:
            raise _Bad(f"its header would be longer than {_LONGEST_HEADER >> 20} MB, so it is damaged")
        while len(self.data) < end and not self._at_end:
            start = len(self.data)
            asked = start + max(self._step, end - start)
            got = self._fetch(start, asked)
            self.data += got
            self._at_end = start + len(got) < asked
            self._step *= 2
        if len(self.data) < end:
            raise _Bad(f"it ends after {len(self.data):,} bytes, inside its header: it is incomplete")

    def skip(self, size: int) -> None:
        """Step over some bytes."""
        self.need(self.position + size)
        self.position += size

    def number(self, format: struct.Struct) -> Any:
        """One number."""
        start = self.position
        self.skip(format.size)
        return format.unpack_from(self.data, start)[0]

    def text(self) -> str:
        """One string."""
        size = self.number(_U64)
        start = self.position
        self.skip(size)
        return self.data[start : start + size].decode("utf-8", "replace")

    def skip_texts(self, n: int) -> None:
        """Step over many strings, such as a vocabulary."""
        unpack, position = _U64.unpack_from, self.position
        for _ in range(n):
            if position + 8 > len(self.data):
                self.need(position + 8)
            position += 8 + unpack(self.data, position)[0]
        self.need(position)
        self.position = position

    def value(self, kind: int, depth: int = 0) -> Any:
        """One value of a kind; lists that are long are stepped over."""
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY and depth < 3:
            return self._array(depth)
        if kind not in _NUMBERS:
            raise _Bad(f"it holds a value of the unknown kind {kind}, so it is damaged")
        return self.number(struct.Struct("<" + _NUMBERS[kind]))

    def _array(self, depth: int) -> Any:
        """A list, or its length."""
        kind, n = self.number(_U32), self.number(_U64)
        if n <= _LONGEST_KEPT_ARRAY:
            return [self.value(kind, depth + 1) for _ in range(n)]
        if kind == _STRING:
            self.skip_texts(n)
        elif kind in _NUMBERS:
            self.skip(n * struct.calcsize("<" + _NUMBERS[kind]))
        else:
            raise _Bad("it holds lists of lists of an absurd length, so it is damaged")
        return Array(n)


def _parse(reader: _Reader) -> GgufHeader:
    """The header, from its first byte to its last."""
    _check_magic(reader)
    version = reader.number(_U32)
    if version not in (2, 3):
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
        raise _Bad(
            "it was made for big-endian machines"
            if swapped in (2, 3)
            else f"it has version {version} of the format, llama.cpp reads 2 and 3"
        )
    n_tensors, n_keys = reader.number(_U64), reader.number(_U64)
    if max(n_tensors, n_keys) > _MOST_ENTRIES:
        raise _Bad(f"it claims to hold {n_tensors:,} tensors and {n_keys:,} keys, so it is damaged")
    metadata: dict[str, Any] = {}
    for _ in range(n_keys):
        key = reader.text()
        metadata[key] = reader.value(reader.number(_U32))
    tensors = tuple(_tensor(reader) for _ in range(n_tensors))
    alignment = max(1, _whole(metadata.get("general.alignment", 32)))
    return GgufHeader(version, metadata, tensors, -(-reader.position // alignment) * alignment)


def _tensor(reader: _Reader) -> Tensor:
    """One entry of the list of tensors."""
    name, n_dimensions = reader.text(), reader.number(_U32)
    if n_dimensions > 8:
        raise _Bad(f"tensor {line(name[:80])} has {n_dimensions:,} dimensions, so it is damaged")
    shape = tuple(reader.number(_U64) for _ in range(n_dimensions))
    kind, offset = reader.number(_U32), reader.number(_U64)
    type_name, values, size = TENSOR_TYPES.get(kind, (f"type {kind}", 1, 0))
    return Tensor(name, shape, type_name, offset, math.prod(shape) // values * size)


def _check_magic(reader: _Reader) -> None:
    """Raises unless a file begins as a GGUF does; says what it seems to be."""
    try:
        reader.need(4)
    except _Bad:
        raise _Bad("it is empty" if not reader.data else "it is much too short") from None
    if reader.data[:4] == b"GGUF":
        reader.position = 4
        return
    start = bytes(reader.data[:256])
    raise _Bad(f"it begins with {start[:8]!r}, {_guess(start)}")


def _guess(start: bytes) -> str:
    """What a file may be that is no GGUF."""
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page, perhaps an error that was saved in place of the file"
    if text.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, which stands for the file in a repository that was cloned without LFS"
    if start[:4] in (b"lmgg", b"tjgg", b"algg", b"fmgg"):
        return "it is a GGML file, the format before GGUF, which llama.cpp no longer reads"
    if start[:4] == b"PK\x03\x04":
        return "it is a ZIP archive or a PyTorch checkpoint, which has to be converted"
    if start[8:10] == b'{"':
        return "it is a safetensors file, which has to be converted"
    if not start.strip(b"\0"):
        return "it is full of zeros, perhaps a download that did not get far"
    return "a GGUF begins with b'GGUF'"


def _whole(value: Any) -> int:
    """A value of the header as a whole number; 0 where it is none."""
    return int(value) if isinstance(value, int) else 0
