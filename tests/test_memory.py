"""How much memory there is to spare."""

from __future__ import annotations

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
