"""Promises of what all commands print with: tables that keep their columns, and names that cannot steer a terminal."""

from __future__ import annotations

import shutil
from pathlib import Path

from support.command import run
from support.tiny_models import write_model

from chatterm import paths
from chatterm.cli.terminal import aligned
from chatterm.settings import save


def test_columns_stay_in_line_beside_letters_that_take_two_cells() -> None:
    rows = [("你好，世界", "1", "x"), ("cat", "22", "y"), ("🙂", "3", "z"), ("e\u0301", "4", "")]
    assert list(aligned(rows)) == [
        "你好，世界  1   x",
        "cat         22  y",
        "🙂          3   z",
        "e\u0301           4",
    ]


def test_the_name_of_a_file_stays_on_its_line(tmp_path: Path) -> None:
    model = write_model(tmp_path / "one.gguf")
    shutil.copy(model, tmp_path / "two\nchatterm: all is well\x1b[8m.gguf")
    save(paths.settings_file(), {"models": {"folders": [str(tmp_path)]}})
    done = run("ask", "hi")
    assert done.returncode == 1
    assert "There are 2 models" in done.stderr
    assert "\x1b" not in done.stderr
    assert not [line for line in done.stderr.splitlines() if line.startswith("chatterm: all")]
