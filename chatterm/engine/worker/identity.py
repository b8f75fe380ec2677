"""What a model is: name, quantization, size, hash, and what its file recommends."""

from __future__ import annotations

import ctypes
import hashlib
import re
from pathlib import Path
from typing import Any

from chatterm.layers import RECOMMENDATIONS, recommended_by
from chatterm.quantizations import FILE_TYPES, named_in
from chatterm.text import line

_END_BYTES = 1 << 20
_VALUE_BYTES = 4096


def metadata(llama: Any, model: Any, key: str) -> str:
    """A value of the GGUF's header as text; "" where there is none."""
    buffer = ctypes.create_string_buffer(_VALUE_BYTES)
    n = llama.llama_model_meta_val_str(model, key.encode(), buffer, _VALUE_BYTES)
    return buffer.value.decode("utf-8", "replace") if n >= 0 else ""


def quantization(file_type: str, path: Path) -> str:
    """The usual name of a quantization.

    Example: "15" -> "Q4_K_M"; where the header does not say, the file name may: "tiny-Q8_0.gguf" -> "Q8_0"
    """
    known = FILE_TYPES.get(int(file_type)) if file_type.isdigit() else None
    return known or named_in(path.name)


def name(given: str, path: Path) -> str:
    """What to call a model: its own name, or that of its file, without the number of a part; fit to be shown."""
    return line(given) or line(re.sub(r"-\d{5}-of-\d{5}$", "", path.stem))


def recommended(llama: Any, model: Any) -> dict[str, Any]:
    """The sampling settings that a model's header recommends, as far as they can be used."""
    return recommended_by({key: metadata(llama, model, f"general.sampling.{key}") for key in RECOMMENDATIONS})


def file_hash(path: Path) -> str:
    """`sha256:...` where the cache names the file by it, else `quick:...` of its size and both ends."""
    if path.is_symlink():
        target = path.readlink()
        if target.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", target.name):
            return f"sha256:{target.name}"
    size = path.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with path.open("rb") as file:
        digest.update(file.read(_END_BYTES))
        file.seek(max(0, size - _END_BYTES))
        digest.update(file.read(_END_BYTES))
    return f"quick:{digest.hexdigest()}"


def file_bytes(path: Path) -> int:
    """The size of a model file, all its parts together."""
    if not re.search(r"-\d{5}-of-\d{5}$", path.stem):
        return path.stat().st_size
    parts = path.parent.glob(re.sub(r"-\d{5}-of-(\d{5})$", r"-*-of-\1", path.stem) + path.suffix)
    return sum(part.stat().st_size for part in parts)
