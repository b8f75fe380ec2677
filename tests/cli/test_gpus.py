"""Which GPU a machine has, on made-up machines: a folder in place of / and programs in a folder of their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chatterm.cli.gpus import CUDA, HIP, METAL, VULKAN, Backend, find_gpu

NVIDIA_SMI = "GPU 0: NVIDIA GeForce RTX 4090 (UUID: GPU-1)\nGPU 1: NVIDIA T4 (UUID: GPU-2)\n"
ROCMINFO = """\
*******
Agent 1
*******
  Marketing Name:          AMD Ryzen 9 7950X
  Device Type:             CPU
*******
Agent 2
*******
  Marketing Name:          AMD Radeon RX 7900 XTX
  Device Type:             GPU
"""
VULKANINFO = """\
Devices:
========
GPU0:
\tdeviceType         = PHYSICAL_DEVICE_TYPE_CPU
\tdeviceName         = llvmpipe (LLVM 17)
GPU1:
\tdeviceType         = PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU
\tdeviceName         = Intel(R) Iris(R) Xe Graphics
"""


class Machine:
    """A machine without a GPU, until it is given one."""

    def __init__(self, folder: Path) -> None:
        self.root, self.path = folder / "root", folder / "bin"
        self.root.mkdir()
        self.path.mkdir()

    def has_card(self, vendor: str, number: int = 0) -> Machine:
        device = self.root / "sys/class/drm" / f"card{number}" / "device"
        device.mkdir(parents=True)
        (device / "vendor").write_text(f"{vendor}\n")
        return self

    def has_driver(self, model: str) -> Machine:
        gpu = self.root / "proc/driver/nvidia/gpus/0000:01:00.0"
        gpu.mkdir(parents=True)
        (gpu / "information").write_text(f"Model: \t\t {model}\nIRQ:   \t\t 42\n")
        return self

    def has_program(self, name: str, says: str, code: int = 0) -> Machine:
        said = self.path / f"{name}.txt"
        said.write_text(says)
        program = self.path / name
        program.write_text(
            f"#!/bin/sh\nwhile IFS= read -r line; do printf '%s\\n' \"$line\"; done < '{said}'\nexit {code}\n"
        )
        program.chmod(0o755)
        return self

    def gpu(self, system: str = "Linux", machine: str = "x86_64") -> tuple[str, Backend] | None:
        found = find_gpu(self.root, str(self.path), system, machine)
        return found and (found.name, found.backend)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_machine_without_a_gpu_has_none(machine: Machine) -> None:
    assert machine.gpu() is None
    assert machine.has_card("0x1a03").gpu() is None, "what a server draws its console with is no GPU"


def test_nvidia_is_known_by_its_tool_its_driver_or_its_card(tmp_path: Path) -> None:
    for i, (prepare, name) in enumerate(
        {
            (lambda m: m.has_program("nvidia-smi", NVIDIA_SMI)): "NVIDIA GeForce RTX 4090",
            (lambda m: m.has_driver("NVIDIA H100")): "NVIDIA H100",
            (lambda m: m.has_card("0x10de")): "NVIDIA's card",
            (lambda m: m.has_program("nvidia-smi", "no driver", 9).has_driver("NVIDIA T4")): "NVIDIA T4",
        }.items()
    ):
        (tmp_path / str(i)).mkdir()
        assert prepare(Machine(tmp_path / str(i))).gpu() == (name, CUDA)


def test_a_tool_without_a_card_means_nothing(machine: Machine) -> None:
    machine.has_program("nvidia-smi", "No devices were found\n").has_program("rocminfo", "ROCk is not loaded\n", 1)
    machine.has_program("vulkaninfo", VULKANINFO.split("GPU1")[0])
    assert machine.gpu() is None


def test_amd_is_known_by_rocm_or_by_its_card(machine: Machine) -> None:
    assert machine.has_card("0x1002").gpu() == ("AMD's GPU", HIP)
    assert machine.has_program("rocminfo", ROCMINFO).gpu() == ("AMD Radeon RX 7900 XTX", HIP)


def test_everything_else_is_known_by_vulkan(machine: Machine) -> None:
    assert machine.has_card("0x8086").gpu() == ("Intel's GPU", VULKAN)
    assert machine.has_program("vulkaninfo", VULKANINFO).gpu() == ("Intel(R) Iris(R) Xe Graphics", VULKAN)


def test_apples_own_chips_have_metal(machine: Machine) -> None:
    assert machine.gpu("Darwin", "arm64") == ("Apple's GPU", METAL)
    assert machine.gpu("Darwin", "x86_64") is None


def test_the_most_capable_of_several_is_taken(machine: Machine) -> None:
    machine.has_card("0x8086", 0).has_card("0x10de", 1).has_program("vulkaninfo", VULKANINFO)
    assert machine.gpu() == ("NVIDIA's card", CUDA)


def test_a_name_cannot_steer_the_terminal(machine: Machine) -> None:
    found = machine.has_driver("evil\x1b[31m card").gpu()
    assert found is not None
    assert "\x1b" not in found[0]


def test_the_command_builds_the_same_version_for_this_python(machine: Machine) -> None:
    gpu = find_gpu(machine.has_card("0x10de").root, str(machine.path), "Linux", "x86_64")
    assert gpu is not None
    command = gpu.build_command("0.3.36")
    assert re.fullmatch(
        'CMAKE_ARGS="-DGGML_CUDA=on" .+python[^ ]* -m pip install --force-reinstall --no-deps --no-cache-dir'
        " --no-binary llama-cpp-python llama-cpp-python==0.3.36",
        command,
    )
