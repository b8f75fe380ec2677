"""Promises about the structure: imports point downwards, and heavy things come late."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def loaded_after(code: str) -> set[str]:
    """Top-level modules that are loaded after some code ran in a fresh process."""
    code += "\nimport sys; print('\\n'.join(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return set(done.stderr.split())


def test_imports_point_downwards() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout


BELOW = ("chat", "library", "downloads", "store", "engine.local", "engine.remote", "engine.either", "engine.listing")


@pytest.mark.parametrize("module", [f"chatterm.{name}" for name in BELOW])
def test_rooms_below_the_screen_load_nothing_heavy(module: str) -> None:
    heavy = {"textual", "rich", "llama_cpp", "numpy", "huggingface_hub", "httpx2", "keyring"}
    assert not loaded_after(f"import {module}") & heavy


def test_the_app_loads_nothing_that_its_first_paint_does_not_need() -> None:
    loaded = loaded_after("import chatterm.ui.app")
    assert "textual" in loaded
    assert not loaded & {"llama_cpp", "numpy", "huggingface_hub", "httpx2", "jinja2", "tomlkit", "typer"}


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["ask", "--help"], ["models", "--help"]])
def test_version_and_help_load_no_toolkit(arguments: list[str]) -> None:
    loaded = loaded_after(
        f"import sys; sys.argv = ['chatterm', *{arguments!r}]\n"
        "from chatterm.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code"
    )
    assert not loaded & {"textual", "llama_cpp", "numpy", "huggingface_hub"}
