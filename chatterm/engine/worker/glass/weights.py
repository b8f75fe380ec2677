"""Matrices of a model's file, read where they lie.

The model's own copy may be laid out anew for the processor or be on another device; the file is what it
was made from. It is mapped, so that only what is read takes memory. Nothing here knows what is computed.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chatterm.engine.worker.glass.ggml import FloatArray, Ggml
from chatterm.gguf import GgufHeader, Tensor, read_header
from chatterm.quantizations import TENSOR_TYPES

_CHUNK_ROWS = 8192
_TYPES = {name: number for number, (name, _, _) in TENSOR_TYPES.items()}


class Matrix:
    """One matrix, or vector, of the file."""

    def __init__(self, ggml: Ggml, stored: NDArray[np.uint8], tensor: Tensor) -> None:
        """Take the bytes of a tensor.

        Raises:
            ValueError: its type is not known.
        """
        if tensor.type not in _TYPES:
            raise ValueError(f"{tensor.name} is stored as {tensor.type}")
        self._ggml = ggml
        self._type = _TYPES[tensor.type]
        self.width = tensor.shape[0]
        """Numbers in a row."""
        self.n_rows = tensor.n_values // max(self.width, 1)
        self._stored = stored.reshape(self.n_rows, -1)

    def rows(self, start: int, end: int) -> FloatArray:
        """Some rows as floats, shape (end - start, width)."""
        return self._ggml.floats(np.ascontiguousarray(self._stored[start:end]), self._type).reshape(-1, self.width)

    def row(self, number: int) -> FloatArray:
        """One row as floats."""
        row: FloatArray = self.rows(number, number + 1)[0]
        return row

    def chunks(self) -> Iterator[tuple[int, FloatArray]]:
        """All rows in order, some thousands at a time, each time with the number of the first one."""
        for start in range(0, self.n_rows, _CHUNK_ROWS):
            yield start, self.rows(start, min(start + _CHUNK_ROWS, self.n_rows))

    def times(self, vectors: FloatArray, n_threads: int) -> FloatArray:
        """Each vector times each row: (T, width) -> (T, n_rows)."""
        if self._ggml.can_multiply:
            return self._ggml.product(self._stored.ctypes.data, self._type, self.n_rows, vectors, n_threads)
        return np.concatenate([vectors @ rows.T for _, rows in self.chunks()], axis=1)


class Weights:
    """The file of a model, or all of its parts."""

    def __init__(self, ggml: Ggml, path: Path) -> None:
        """Read the headers.

        Raises:
            ModelNotFound, ModelUnreadable: the file is no longer what was loaded.
        """
        self._ggml = ggml
        self._parts = [(part, read_header(part)) for part in _parts(path)]
        self._maps: dict[Path, NDArray[np.uint8]] = {}

    def find(self, *names: str) -> Matrix | None:
        """The first of some tensors that is there; None where the model has none of them.

        Raises:
            ValueError: the file is shorter than its header says, or the tensor's type is not known.
        """
        for name in names:
            for path, header in self._parts:
                for tensor in header.tensors:
                    if tensor.name == name:
                        return Matrix(self._ggml, self._bytes(path, header, tensor), tensor)
        return None

    def number(self, key: str) -> float | None:
        """A number of the architecture's own keys, such as "final_logit_softcapping"."""
        header = self._parts[0][1]
        value: Any = header.metadata.get(f"{header.architecture}.{key}")
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def _bytes(self, path: Path, header: GgufHeader, tensor: Tensor) -> NDArray[np.uint8]:
        if path not in self._maps:
            self._maps[path] = np.asarray(np.memmap(path, np.uint8, "r"))
        start = header.data_offset + tensor.offset
        stored = self._maps[path][start : start + tensor.size_bytes]
        if not tensor.size_bytes or stored.size < tensor.size_bytes:
            raise ValueError(f"{tensor.name} is not whole in the file")
        return stored


def _parts(path: Path) -> list[Path]:
    """All files of a model, the one with the metadata first."""
    part = re.fullmatch(r"(.+)-\d{5}-of-(\d{5})", path.stem)
    if part is None:
        return [path]
    return sorted(path.parent.glob(f"{glob.escape(part[1])}-*-of-{part[2]}{glob.escape(path.suffix)}"))
