"""Which GPU a machine has, and the command that builds llama.cpp for it.

Looks at what the kernel says and asks the makers' own tools, which are given a few seconds. A GPU that
llama.cpp uses already is none of its business.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from chatterm.text import line

_PATIENCE_SECONDS = 5.0
"""How long a maker's tool may take."""
_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
"""PCI numbers of makers whose GPUs are worth a build; others are mostly what servers and virtual machines draw with."""


class Backend(msgspec.Struct, frozen=True):
    """One of llama.cpp's ways to compute on a GPU."""

    flag: str
    """What turns it on when llama.cpp is built."""
    needs: str
    """What must be installed before."""


CUDA = Backend("-DGGML_CUDA=on", "NVIDIA's driver and its CUDA toolkit (nvcc)")
METAL = Backend("-DGGML_METAL=on", "Xcode's command line tools")
HIP = Backend("-DGGML_HIP=on", "AMD's ROCm; where it does not know the card, take -DGGML_VULKAN=on and the Vulkan SDK")
VULKAN = Backend("-DGGML_VULKAN=on", "the Vulkan SDK (glslc) and a driver for Vulkan")


class Gpu(msgspec.Struct, frozen=True):
    """A GPU that was seen."""

    name: str
    """As its maker calls it, where that can be told."""
    backend: Backend

    def build_command(self, version: str) -> str:
        """The command that builds llama.cpp for it, into this Python's packages."""
        package = f"llama-cpp-python=={version}" if version else "llama-cpp-python"
        return (
            f'CMAKE_ARGS="{self.backend.flag}" {shlex.quote(sys.executable)} -m pip install --force-reinstall --no-deps'
            f" --no-cache-dir --no-binary llama-cpp-python {package}"
        )


def find_gpu(
    root: Path = Path("/"), path: str | None = None, system: str = platform.system(), machine: str = platform.machine()
) -> Gpu | None:
    """The GPU to build for, the most capable kind first; None where there is none.

    Args:
        root: Where `proc` and `sys` lie.
        path: Where programs are looked for, as PATH; by default the environment's.
        system: As Python names it.
        machine: Likewise.
    """
    path = os.environ.get("PATH", os.defpath) if path is None else path
    if system == "Darwin":
        return Gpu("Apple's GPU", METAL) if machine == "arm64" else None
    makers = set(_makers(root))
    if name := _nvidia(root, path) or ("NVIDIA's card" if "NVIDIA" in makers else ""):
        return Gpu(name, CUDA)
    if name := _amd(path) or ("AMD's GPU" if "AMD" in makers else ""):
        return Gpu(name, HIP)
    if name := _vulkan(path) or ("Intel's GPU" if "Intel" in makers else ""):
        return Gpu(name, VULKAN)
    return None


def _makers(root: Path) -> Iterator[str]:
    """Whose GPUs the kernel has."""
    for vendor in sorted(root.glob("sys/class/drm/card*/device/vendor")):
        try:
            yield _VENDORS.get(vendor.read_text().strip(), "")
        except OSError:
            continue


def _nvidia(root: Path, path: str) -> str:
    """The name of NVIDIA's first card, by its tool or its driver; "" without one."""
    if found := re.search(r"^GPU \d+: (.+?)(?: \(UUID:.*)?$", _said(path, "nvidia-smi", "-L"), re.MULTILINE):
        return line(found[1])
    for information in sorted(root.glob("proc/driver/nvidia/gpus/*/information")):
        try:
            found = re.search(r"^Model:\s*(.+)$", information.read_text(errors="replace"), re.MULTILINE)
        except OSError:
            continue
        return line(found[1]) if found else "NVIDIA's card"
    return ""


def _amd(path: str) -> str:
    """The name of the first card that ROCm knows; "" without one."""
    for agent in _said(path, "rocminfo").split("*******"):
        if re.search(r"Device Type:\s*GPU", agent):
            found = re.search(r"Marketing Name:[ \t]*(\S.*)", agent)
            return line(found[1]) if found else "AMD's GPU"
    return ""


def _vulkan(path: str) -> str:
    """The name of the first GPU with a driver for Vulkan, not one that is played on the processor; "" without one."""
    for device in re.split(r"^GPU\d+:", _said(path, "vulkaninfo", "--summary"), flags=re.MULTILINE)[1:]:
        if re.search(r"deviceType\s*=\s*\S*(DISCRETE|INTEGRATED)_GPU", device):
            found = re.search(r"deviceName\s*=\s*(.+)", device)
            return line(found[1]) if found else "a GPU"
    return ""


def _said(path: str, program: str, *arguments: str) -> str:
    """What a program prints; "" where it is not there, fails, or takes too long."""
    file = shutil.which(program, path=path)
    if file is None:
        return ""
    try:
        done = subprocess.run(
            [file, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace")
