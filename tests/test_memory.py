"""How much memory there is to spare."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

from chatterm import memory


def test_a_containers_memory_counts(tmp_path: Path) -> None:
    assert memory._container_free(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 200\n")
    assert memory._container_free(tmp_path) == 500
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._container_free(tmp_path) is None


def test_a_reserve_is_left_to_everything_else() -> None:
    assert 0 <= memory.free_bytes() < psutil.virtual_memory().total - memory._RESERVE_BYTES


def test_what_a_model_of_our_own_holds_is_counted() -> None:
    before = memory.held_by_models()
    hold = "held = b'1' * 100_000_000; print('ready', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        held = memory.held_by_models() - before
        process.communicate("\n")
    assert 100e6 < held < 150e6
    assert memory.held_by_models() < before + 50e6
