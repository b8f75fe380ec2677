"""A small disk of its own: to be filled to the brim, or made read only, which even root must respect."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    """A mounted file system in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filling = folder / "filling"

    def fill(self) -> None:
        """Leave not one block."""
        with self._filling.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 4096)
            except OSError:
                return

    def clear(self) -> None:
        """Give back what was filled."""
        self._filling.unlink()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Refuse every write for a while."""
        _mount("-o", "remount,ro", str(self.folder))
        try:
            yield
        finally:
            _mount("-o", "remount,rw", str(self.folder))


@contextmanager
def mounted(folder: Path, size_kilobytes: int) -> Iterator[SmallDisk]:
    """A small disk at a folder; skips the test where mounting is not permitted."""
    folder.mkdir()
    try:
        _mount("-t", "tmpfs", "-o", f"size={size_kilobytes}k", "tmpfs", str(folder))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk cannot be mounted here: {error}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)
