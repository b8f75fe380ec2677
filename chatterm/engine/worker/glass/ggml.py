"""The part of ggml that llama-cpp-python does not declare: reading tensors, and multiplying by a matrix of the file.

The functions are those of the library that is loaded already, never of a second copy. Nothing here knows
models; whether the struct lies in memory as it is declared here is found out by whoever uses it.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

_F32 = 0
_NAME_BYTES = 64
_SPARE_BYTES = 8 << 20
"""For ggml's own records beside the numbers of a product."""
_FLASH_OP = 74
"""GGML_OP_FLASH_ATTN_EXT."""


class TensorStruct(ctypes.Structure):
    """`struct ggml_tensor` as the pinned version has it."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * 4),
        ("nb", ctypes.c_size_t * 4),
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_int32 * 16),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * 10),
        ("view_src", ctypes.c_void_p),
        ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * _NAME_BYTES),
        ("extra", ctypes.c_void_p),
        ("padding", ctypes.c_char * 8),
    )


class _Traits(ctypes.Structure):
    """The beginning of `struct ggml_type_traits`."""

    _fields_ = (
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.c_void_p),
    )


class _InitParams(ctypes.Structure):
    _fields_ = (("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool))


_ToFloat = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_size_t
_FUNCTIONS: dict[str, tuple[Any, Any]] = {
    "ggml_backend_tensor_get": (None, [_POINTER, _POINTER, _SIZE, _SIZE]),
    "ggml_nbytes": (_SIZE, [_POINTER]),
    "ggml_op_name": (ctypes.c_char_p, [ctypes.c_int]),
    "ggml_get_type_traits": (ctypes.POINTER(_Traits), [ctypes.c_int]),
    "ggml_init": (_POINTER, [_InitParams]),
    "ggml_free": (None, [_POINTER]),
    "ggml_new_tensor_2d": (_POINTER, [_POINTER, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]),
    "ggml_mul_mat": (_POINTER, [_POINTER] * 3),
    "ggml_new_graph": (_POINTER, [_POINTER]),
    "ggml_build_forward_expand": (None, [_POINTER] * 2),
}
_PRODUCT: tuple[Any, Any] = (ctypes.c_int, [_POINTER, _POINTER, ctypes.c_int])
"""Of `ggml_graph_compute_with_ctx`, which builds with loadable backends do not export."""


class Ggml:
    """Functions of the loaded library."""

    def __init__(self, llama: Any) -> None:
        """Declare them.

        Raises:
            AttributeError: this build of the library lacks one.
        """
        self._lib: Any = ctypes.CDLL(llama._lib._name)  # the same library, with declarations of its own
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(self._lib, name)
            function.restype, function.argtypes = result, arguments
        self.can_multiply = hasattr(self._lib, "ggml_graph_compute_with_ctx")
        if self.can_multiply:
            compute = self._lib.ggml_graph_compute_with_ctx
            compute.restype, compute.argtypes = _PRODUCT
        self.flash_op = _FLASH_OP if self._lib.ggml_op_name(_FLASH_OP) == b"FLASH_ATTN_EXT" else -1
        """The operation that does attention in one go, without keeping its weights."""

    def name(self, address: int) -> bytes:
        """A tensor's name."""
        return ctypes.string_at(address + TensorStruct.name.offset, _NAME_BYTES).partition(b"\0")[0]

    def op(self, address: int) -> int:
        """Which operation makes a tensor, as ggml numbers them."""
        return ctypes.c_int.from_address(address + TensorStruct.op.offset).value

    def values(self, address: int) -> FloatArray:
        """A copy of a tensor's numbers, the outermost dimension first, wherever it lies and however it is stored.

        Raises:
            ValueError: its rows are not stored in one piece.
        """
        tensor = TensorStruct.from_address(address)
        traits = self._traits(tensor.type)
        columns, *outer = tensor.ne
        if tensor.nb[0] != traits.type_size or columns % traits.blck_size:
            raise ValueError("a tensor whose rows are scattered")
        raw = np.empty(self._lib.ggml_nbytes(address), np.uint8)
        self._lib.ggml_backend_tensor_get(address, raw.ctypes.data, 0, raw.nbytes)
        row_bytes = columns // traits.blck_size * traits.type_size
        shape, strides = (*outer[::-1], row_bytes), (*tuple(tensor.nb)[:0:-1], 1)
        rows = np.ascontiguousarray(np.lib.stride_tricks.as_strided(raw, shape, strides))
        return self.floats(rows, tensor.type).reshape(*outer[::-1], columns)

    def floats(self, raw: NDArray[np.uint8], type: int) -> FloatArray:
        """Stored numbers of a ggml type as floats, in one row.

        Args:
            raw: Contiguous; whole blocks of the type.

        Raises:
            ValueError: ggml cannot read numbers of this type.
        """
        if type == _F32:
            return raw.reshape(-1).view(np.float32)
        traits = self._traits(type)
        if not traits.to_float:
            raise ValueError(f"numbers of ggml type {type} cannot be read")
        values = np.empty(raw.nbytes // traits.type_size * traits.blck_size, np.float32)
        _ToFloat(traits.to_float)(raw.ctypes.data, values.ctypes.data, values.size)
        return values

    def product(self, matrix: int, type: int, n_rows: int, vectors: FloatArray, n_threads: int) -> FloatArray:
        """Vectors times a matrix that is used where it lies, by the very arithmetic that the model itself uses.

        Args:
            matrix: Address of `n_rows` rows, each as long as a vector.
            vectors: Shape (T, D).

        Returns:
            Shape (T, n_rows).
        """
        lib, (n_vectors, width) = self._lib, vectors.shape
        vectors = np.ascontiguousarray(vectors, np.float32)
        n_bytes = 4 * n_vectors * (n_rows + 4 * width) + _SPARE_BYTES
        numbers, weights = (
            lib.ggml_init(_InitParams(n_bytes, None, False)),
            lib.ggml_init(_InitParams(1 << 20, None, True)),
        )
        try:
            stored = lib.ggml_new_tensor_2d(weights, type, width, n_rows)
            TensorStruct.from_address(stored).data = matrix
            given = lib.ggml_new_tensor_2d(numbers, _F32, width, n_vectors)
            ctypes.memmove(TensorStruct.from_address(given).data, vectors.ctypes.data, vectors.nbytes)
            made = lib.ggml_mul_mat(numbers, stored, given)
            graph = lib.ggml_new_graph(numbers)
            lib.ggml_build_forward_expand(graph, made)
            if lib.ggml_graph_compute_with_ctx(numbers, graph, n_threads):
                raise ValueError("ggml did not compute a product")
            found = np.empty((n_vectors, n_rows), np.float32)
            ctypes.memmove(found.ctypes.data, TensorStruct.from_address(made).data, found.nbytes)
            return found
        finally:
            lib.ggml_free(numbers)
            lib.ggml_free(weights)

    def _traits(self, type: int) -> Any:
        return self._lib.ggml_get_type_traits(type).contents
