"""Promises about wheel and source archive: they carry what they need, and run outside the checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the unpacked wheel, as pip would lay it out."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, ROOT],
        check=True,
        cwd=folder,
    )
    (wheel,) = folder.glob("chatterm-*.whl")
    site = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def run_outside(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, "-P", *arguments],
        capture_output=True, text=True, cwd=site.parent, env=environment, check=False, timeout=120,
    )  # fmt: skip


def test_the_wheel_carries_themes_and_styles(installed: Path) -> None:
    assert len(list((installed / "chatterm" / "themes").glob("*.toml"))) >= 4
    assert list((installed / "chatterm" / "ui").rglob("*.tcss"))
    assert (installed / "chatterm" / "py.typed").exists()


def test_the_wheel_runs_from_another_folder(installed: Path) -> None:
    where = run_outside(installed, "-c", "import chatterm; print(chatterm.__file__)")
    assert where.stdout.startswith(str(installed)), where
    done = run_outside(installed, "-m", "chatterm", "--version")
    assert (done.returncode, done.stdout[:9]) == (0, "chatterm "), done.stderr


def test_the_wheel_finds_its_themes(installed: Path) -> None:
    code = "from chatterm.ui.themes import load_themes; themes, errors = load_themes(); print(len(themes), errors)"
    done = run_outside(installed, "-c", code)
    count, errors = done.stdout.split(maxsplit=1)
    assert int(count) >= 4, done.stderr
    assert errors.strip() == "[]"


def test_the_wheel_carries_the_recommended_models(installed: Path) -> None:
    code = "from chatterm.hub.catalogue import recommended; made, models = recommended(); print(len(models))"
    done = run_outside(installed, "-c", code)
    assert int(done.stdout or 0) >= 10, done.stderr


def test_the_source_archive_has_what_make_and_the_readme_need(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(build, check=True, cwd=ROOT, capture_output=True)
    (path,) = tmp_path.glob("chatterm-*.tar.gz")
    with tarfile.open(path) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    linked = re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / "README.md").read_text("utf-8"))
    assert {"Makefile", "scripts/set_up.py", "constraints.txt", ".ci/run", *linked} <= found
    assert not any(name.startswith("training/build/") for name in found)
