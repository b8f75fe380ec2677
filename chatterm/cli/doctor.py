"""`chatterm doctor`: what is here, what is wrong, and the command that mends it."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from chatterm import __version__, paths
from chatterm.cli.terminal import has_colour, write_json
from chatterm.engine.base import EngineReport
from chatterm.errors import ChattermError
from chatterm.settings import Settings
from chatterm.text import amount, plain


class Finding(msgspec.Struct, frozen=True):
    """One line of the report."""

    topic: str
    text: str
    is_problem: bool = False
    remedy: str = ""


def doctor(json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False) -> None:
    """Say what is installed, what is wrong, and how to mend it. Ends with 1 when something is wrong."""
    found = []
    for finding in examine():
        found.append(finding)
        if json:
            write_json(finding)
        else:
            _print(finding)
        sys.stdout.flush()
    raise typer.Exit(1 if any(finding.is_problem for finding in found) else 0)


def examine() -> Iterator[Finding]:
    """All findings, the quick ones first."""
    yield Finding("chatterm", f"{__version__} on Python {platform.python_version()}, {platform.platform(terse=True)}")
    yield from _packages()
    chosen = Settings()
    try:
        from chatterm.cli.join import load_settings

        chosen = load_settings()
        yield Finding("settings", str(paths.settings_file()))
    except ChattermError as error:
        yield _problem("settings", error)
    yield from _folders()
    yield from _store()
    yield from _memory()
    yield from _terminal()
    yield from _engine(chosen)
    yield from _models(chosen)


def _problem(topic: str, error: ChattermError) -> Finding:
    return Finding(topic, error.message, True, error.remedy)


def _packages() -> Iterator[Finding]:
    names = ("textual", "llama-cpp-python", "huggingface-hub")
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            yield Finding("packages", f"{name} is not installed.", True, f"python -m pip install {name}")
    yield Finding("packages", ", ".join(found))


def _folders() -> Iterator[Finding]:
    for topic, folder in {
        "conversations": paths.data_folder(),
        "configuration": paths.config_folder(),
        "logs": paths.log_folder(),
    }.items():
        there = _nearest(folder)
        if not os.access(there, os.W_OK | os.X_OK):
            yield Finding(topic, f"{folder} cannot be written.", True, _how_to_open(folder, there))
        else:
            yield Finding(topic, f"{folder}, {amount(shutil.disk_usage(there).free)} free")


def _nearest(folder: Path) -> Path:
    """A folder, or the nearest one above it that can be seen."""
    return next(each for each in (folder, *folder.parents) if os.access(each, os.F_OK))


def _how_to_open(folder: Path, there: Path) -> str:
    """The command that lets a folder be written; where it is not there, by way of the nearest one that is."""
    if there.stat().st_uid == os.getuid():
        return f"chmod u+rwx '{there}'"
    own = f"sudo chown -R \"$USER\" '{folder}'"
    return own if there == folder else f"sudo mkdir -p '{folder}' && {own}"


def _store() -> Iterator[Finding]:
    if not os.access(paths.store_file(), os.F_OK):
        if os.access(_nearest(paths.data_folder()), os.X_OK):  # else nobody can tell, which is said above
            yield Finding("conversations", "none saved yet")
        return
    from chatterm.cli.join import open_store

    async def count() -> int:
        store = await open_store()
        try:
            return len(await store.conversations(limit=100_000))
        finally:
            await store.close()

    try:
        yield Finding("conversations", f"{asyncio.run(count())} saved")
    except ChattermError as error:
        yield _problem("conversations", error)


def _memory() -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    yield Finding("memory", f"{amount(memory.available)} of {amount(memory.total)} free")
    yield Finding("processor", f"{cores} physical cores")


def _terminal() -> Iterator[Finding]:
    if not sys.stdout.isatty():
        return
    width, height = shutil.get_terminal_size()
    colours = "24-bit colours" if os.environ.get("COLORTERM") in {"truecolor", "24bit"} else "colours as TERM tells"
    text = f"{os.environ.get('TERM', 'unknown')}, {width}x{height}, {colours}"
    if width < 60 or height < 16:
        yield Finding("terminal", f"{text}: that is small.", True, "Enlarge the window to 80x24 or more.")
    else:
        yield Finding("terminal", text)


def _engine(chosen: Settings) -> Iterator[Finding]:
    from chatterm.cli.join import make_engine

    async def ask() -> EngineReport:
        engine = make_engine(Settings())
        try:
            return await engine.report()
        finally:
            await engine.close()

    try:
        report = asyncio.run(ask())
    except ChattermError as error:
        yield _problem("llama.cpp", error)
        return
    if report.library_version:
        yield Finding("llama.cpp", f"{report.library_version}: {report.system_info}".rstrip(": "))
    if (folder := os.environ.get("LLAMA_CPP_LIB_PATH")) is not None and report.library_path:
        yield Finding("llama.cpp", f"loaded from {report.library_path}, since LLAMA_CPP_LIB_PATH is {folder}")
    for device in report.devices:
        yield Finding(
            "device",
            f"{device.kind} {device.name}: {device.description}, "
            f"{amount(device.free_bytes)} of {amount(device.total_bytes)} free",
        )
    if report.library_version:
        yield from _gpu(report)
        yield from _rpc(report, chosen)
    for problem in report.problems:
        message, _, remedy = problem.partition("\n")
        yield Finding("llama.cpp", message, True, remedy)


def _gpu(report: EngineReport) -> Iterator[Finding]:
    """Whether the GPU of this machine is used, and what would let it be."""
    from chatterm.cli.gpus import find_gpu

    if any("GPU" in device.kind for device in report.devices):
        return
    gpu = find_gpu()
    if report.can_offload:
        why = f"; {gpu.name} was seen, which needs {gpu.backend.needs}" if gpu else ""
        yield Finding("GPU", f"this build of llama.cpp can use a GPU, but finds none{why}")
    elif gpu is None:
        yield Finding("GPU", "this build of llama.cpp computes on the processor only, and no GPU was seen")
    else:
        version = report.library_version.rpartition(" ")[2]
        yield Finding(
            "GPU",
            f"{gpu.name} was seen, but this build of llama.cpp computes on the processor only. To use it, install"
            f" {gpu.backend.needs}, then run (docs/gpu.md tells more):",
            remedy=gpu.build_command(version),
        )


def _rpc(report: EngineReport, chosen: Settings) -> Iterator[Finding]:
    """Whether layers can go to other machines."""
    if report.has_rpc:
        yield Finding("RPC", "this build of llama.cpp can use other machines (docs/gpu.md)")
    elif chosen.load.rpc_servers:
        yield Finding(
            "RPC",
            "RPC servers are set, but this build of llama.cpp has no RPC, so they are left out.",
            True,
            "docs/gpu.md tells how to build one that has it.",
        )


def _models(chosen: Settings) -> Iterator[Finding]:
    from chatterm.cli.join import HOW_TO_GET_ONE, make_library
    from chatterm.hub import cache

    for folder in chosen.models.folders:
        if not os.path.isdir(cache.expanded(folder)):  # noqa: PTH112 - Path.is_dir raises where it may not look
            yield Finding("models", f"{folder} is no folder.", True, "Correct models.folders in the settings.")
    models = make_library(chosen).local_models()
    if not models:
        yield Finding("models", f"none on this machine. {HOW_TO_GET_ONE}")
    else:
        size = amount(sum(model.size_bytes for model in models))
        yield Finding("models", f"{len(models)} on this machine, {size}")


def _print(finding: Finding) -> None:
    """A line with a mark; the remedy below a problem, or below what could be better."""
    mark, colour = ("✗", 1) if finding.is_problem else ("→", 3) if finding.remedy else ("✓", 2)
    if has_colour(sys.stdout):
        mark = f"\x1b[3{colour}m{mark}\x1b[0m"
    sys.stdout.write(f"{mark} {finding.topic:<14} {plain(finding.text)}\n")
    if finding.remedy:
        sys.stdout.write(f"  {'':<14} {plain(finding.remedy)}\n")
