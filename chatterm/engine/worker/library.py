"""llama.cpp as a library: imported, checked, silenced, and asked what it can compute on.

Everything else in the worker gets the module of C functions from here, as `llama`. Nothing here knows
models or requests.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections import deque
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import psutil

from chatterm.engine.base import Device, EngineReport
from chatterm.engine.worker.layout import VERSION, mismatches
from chatterm.engine.worker.rpc import RpcServers
from chatterm.errors import LibraryMissing
from chatterm.text import line

REMEDY = f"Run: python -m pip install --force-reinstall --no-cache-dir llama-cpp-python=={VERSION}"
_INFO, _WARNING, _ERROR, _CONTINUED = 2, 3, 4, 5
_KINDS = {0: "CPU", 1: "GPU", 2: "integrated GPU", 3: "accelerator", 4: "several devices"}


class Log:
    """What llama.cpp says: into the log file, and kept for a while to be searched."""

    def __init__(self) -> None:
        self._lines: deque[tuple[int, str]] = deque(maxlen=2_000)
        self._last_level = _INFO

    def write(self, level: int, text: bytes | None, _: object) -> None:
        """Called by llama.cpp for each line or part of one; must never raise."""
        if text is None:
            return
        if level == _CONTINUED:
            level = self._last_level
        self._last_level = level
        decoded = text.decode("utf-8", "replace")
        self._lines.append((level, decoded))
        if level >= _INFO:
            sys.stderr.write(decoded)

    def clear(self) -> None:
        """Forget what was said so far."""
        self._lines.clear()

    @property
    def text(self) -> str:
        """Everything since the last `clear`."""
        return "".join(text for _, text in self._lines)

    @property
    def errors(self) -> list[str]:
        """The error lines since the last `clear`, fit to be shown, without the name of the C function before them.

        They quote what stands in the model's file.
        """
        said = "".join(text for level, text in self._lines if level == _ERROR).splitlines()
        return [
            re.sub(r"^[a-z_0-9]+: (error loading model( \w+)?: )*", "", line(each)) for each in said if each.strip()
        ]


class Library:
    """llama.cpp, ready for use."""

    def __init__(self, llama: Any, version: str) -> None:
        self.llama = llama
        self.version = version
        self.log = Log()
        self._log_callback = llama.llama_log_callback(self.log.write)  # a reference must live as long as the library
        llama.llama_log_set(self._log_callback, ctypes.c_void_p(0))
        llama.llama_backend_init()

    def devices(self) -> tuple[Device, ...]:
        """What this build of llama.cpp can compute on, on this machine."""
        ggml = _declared(self.llama._lib)  # the package declares no ggml functions
        found = []
        for i in range(ggml.ggml_backend_dev_count()):
            device = ggml.ggml_backend_dev_get(i)
            free, total = ctypes.c_size_t(), ctypes.c_size_t()
            ggml.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
            kind = _KINDS.get(ggml.ggml_backend_dev_type(device), "unknown")
            found.append(
                Device(
                    name=(ggml.ggml_backend_dev_name(device) or b"").decode("utf-8", "replace"),
                    description=(ggml.ggml_backend_dev_description(device) or b"").decode("utf-8", "replace"),
                    kind=kind,
                    free_bytes=psutil.virtual_memory().available if kind == "CPU" else free.value,
                    total_bytes=total.value,
                )
            )
        return tuple(found)

    def gpus(self) -> tuple[Device, ...]:
        """The devices that layers can be moved to."""
        return tuple(device for device in self.devices() if "GPU" in device.kind)

    @cached_property
    def rpc(self) -> RpcServers:
        """Other machines that take a part of the layers."""
        return RpcServers(_declared(self.llama._lib))

    def use_servers(self, wanted: Sequence[str]) -> list[str]:
        """Let layers go to other machines from the next load on, as HOST:PORT; gives what there is to be said of it."""
        return self.rpc.use(wanted)

    @property
    def can_repack(self) -> bool:
        """Whether weights may be laid out anew for this processor, which makes them quicker.

        Not where llama.cpp would do so for AMX: with that it ends in SIGSEGV at the first token, whatever the model
        (https://github.com/ggml-org/llama.cpp/issues/20824).
        """
        return b"AMX_INT8 = 1" not in self.llama.llama_print_system_info()

    def report(self) -> EngineReport:
        """Versions and devices."""
        return EngineReport(
            library_version=f"llama-cpp-python {self.version}",
            system_info=self.llama.llama_print_system_info().decode("utf-8", "replace").strip(),
            devices=self.devices(),
            can_offload=bool(self.llama.llama_supports_gpu_offload()),
            has_rpc=self.rpc.is_known,
            library_path=str(getattr(self.llama._lib, "_name", "")),
        )


def open_library() -> Library:
    """llama.cpp, imported and checked.

    Raises:
        LibraryMissing: the package cannot be imported, or is not the version that was checked.
    """
    try:
        import llama_cpp
        import llama_cpp.llama_cpp as llama
    except Exception as error:  # a shared library that does not load comes as almost any class
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise LibraryMissing(f"llama-cpp-python cannot be imported: {reason}.", _remedy()) from error
    version = getattr(llama_cpp, "__version__", "unknown")
    if version != VERSION:
        raise LibraryMissing(f"llama-cpp-python is {version}, but chatterm was checked with {VERSION}.", REMEDY)
    if problem := next(mismatches(llama), ""):
        raise LibraryMissing(f"llama.cpp is not the build that chatterm was checked with: {problem}.", _remedy())
    return Library(llama, version)


def _remedy() -> str:
    """What to do about a library that cannot be used: another one may be meant than the package's."""
    folder = os.environ.get("LLAMA_CPP_LIB_PATH")
    if folder is None:
        return REMEDY
    return f"LLAMA_CPP_LIB_PATH names {folder}: unset it, or put the libraries of {VERSION} there. Else: {REMEDY}"


def is_about_memory(line: str) -> bool:
    """Whether one of llama.cpp's error lines says that there is not enough memory."""
    return bool(re.search(r"alloc|out of memory|insufficient memory", line, re.IGNORECASE))


def missing_report(error: LibraryMissing) -> EngineReport:
    """What can be reported without the library: what is wrong with it."""
    return EngineReport(library_version="", system_info="", problems=(f"{error.message}\n{error.remedy}",))


def _declared(ggml: Any) -> Any:
    """The library with the functions of ggml declared that tell and add devices."""
    ggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    ggml.ggml_backend_dev_get.restype = ctypes.c_void_p
    ggml.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    for name in ("name", "description"):
        function = getattr(ggml, f"ggml_backend_dev_{name}")
        function.restype, function.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
    ggml.ggml_backend_dev_type.restype = ctypes.c_int
    ggml.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    ggml.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p] + 2 * [ctypes.POINTER(ctypes.c_size_t)]
    ggml.ggml_backend_dev_memory.restype = None
    ggml.ggml_backend_reg_by_name.restype = ctypes.c_void_p
    ggml.ggml_backend_reg_by_name.argtypes = [ctypes.c_char_p]
    ggml.ggml_backend_reg_get_proc_address.restype = ctypes.c_void_p
    ggml.ggml_backend_reg_get_proc_address.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    ggml.ggml_backend_register.restype = None
    ggml.ggml_backend_register.argtypes = [ctypes.c_void_p]
    return ggml
