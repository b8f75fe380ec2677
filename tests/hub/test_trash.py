"""A model that was deleted can be brought back until the app closes, and after it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.small_disk import mounted

from chatterm import paths, tutor
from chatterm.errors import ModelKept
from chatterm.hub import cache, trash
from chatterm.library import Library
from chatterm.settings import Settings

REPO, FILE = "lab/Tiny-GGUF", "sub/Tiny-Q4_K_M.gguf"

CHILD = """
import sys
from pathlib import Path
from chatterm.library import Library
from chatterm.settings import Settings
library = Library(Settings().merged({"models": {"folders": sys.argv[1:]}}), None)
for model in library.local_models():
    library.put_aside(model)
print("aside", flush=True)
sys.stdin.read()
"""


def library(*folders: Path, built_in: Path | None = None) -> Library:
    return Library(Settings().merged({"models": {"folders": [str(folder) for folder in folders]}}), built_in)


def in_cache(content: bytes = b"12345", *, etag: str = "a" * 64, commit: str = "0" * 40, file: str = FILE) -> Path:
    slot = cache.Slot(REPO, commit, file, etag)
    slot.make_folders()
    slot.blob.write_bytes(content)
    slot.link()
    cache.point(REPO, "main", commit)
    return slot.pointer


def in_folder(tmp_path: Path, *names: str) -> Path:
    folder = tmp_path / "models"
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x" * 7)
    return folder


def files_below(*tops: Path) -> list[str]:
    return sorted(path.name for top in tops for path in top.rglob("*") if path.is_file() or path.is_symlink())


def test_what_is_put_aside_is_not_listed_and_can_be_brought_back() -> None:
    path = in_cache()
    models = library()
    (model,) = models.local_models()

    aside = models.put_aside(model)
    assert models.local_models() == []
    assert (aside.model, aside.size_bytes) == (model, 5)

    models.bring_back(aside)
    assert models.local_models() == [model]
    assert path.read_bytes() == b"12345"
    assert models.empty_aside() == 0
    assert path.exists()


def test_what_was_put_aside_is_removed_at_the_end() -> None:
    in_cache()
    models = library()
    models.put_aside(models.local_models()[0])

    assert models.empty_aside() == 5
    assert not cache.repo_folder(REPO).exists()
    assert files_below(paths.aside_folder()) == []


def test_all_parts_and_all_revisions_go_and_come_together(tmp_path: Path) -> None:
    names = [f"Big-0000{n}-of-00002.gguf" for n in (1, 2)]
    for n, name in enumerate(names):
        for commit in ("0" * 40, "1" * 40):
            in_cache(b"x" * 10, etag=str(n) * 64, commit=commit, file=name)
    folder = in_folder(tmp_path, *names)
    models = library(folder)
    before = files_below(cache.folder(), folder)

    asides = [models.put_aside(model) for model in models.local_models()]
    assert models.local_models() == []
    assert sorted(aside.size_bytes for aside in asides) == [14, 20]
    for aside in asides:
        models.bring_back(aside)
    assert files_below(cache.folder(), folder) == before

    for model in models.local_models():
        models.put_aside(model)
    assert models.empty_aside() == 34
    assert files_below(cache.folder(), folder) == []


def test_bytes_that_another_file_shares_are_not_promised() -> None:
    in_cache()
    in_cache(file="other.gguf")
    models = library()
    (model,) = models.local_models()  # two names of the same bytes are one model

    assert models.put_aside(model).size_bytes == 0
    assert models.empty_aside() == 0
    assert [path.read_bytes() for *_, path in cache.models()] == [b"12345"]


def test_what_was_fetched_again_meanwhile_stays() -> None:
    path = in_cache()
    models = library()
    (model,) = models.local_models()
    aside = models.put_aside(model)
    in_cache()
    assert path.exists()

    models.bring_back(aside)
    assert files_below(path.parent) == [path.name]

    models.put_aside(model)
    in_cache()
    assert models.empty_aside() == 0
    assert path.read_bytes() == b"12345"


def test_another_file_in_its_place_is_not_overwritten(tmp_path: Path) -> None:
    folder = in_folder(tmp_path, "m.gguf")
    models = library(folder)
    aside = models.put_aside(models.local_models()[0])
    (folder / "m.gguf").write_bytes(b"another")

    with pytest.raises(ModelKept, match="something else is there now"):
        models.bring_back(aside)

    assert (folder / "m.gguf").read_bytes() == b"another"


def test_what_is_not_ours_is_not_put_aside(tmp_path: Path) -> None:
    with pytest.raises(ModelKept, match="part of chatterm"):
        library(built_in=tutor.FILE).put_aside(library(built_in=tutor.FILE).local_models()[-1])
    folder = in_folder(tmp_path, "m.gguf")
    with pytest.raises(ModelKept, match="in none of the model folders"):
        library().put_aside(library(folder).local_models()[0])


def test_a_killed_app_loses_nothing(tmp_path: Path) -> None:
    in_cache()
    folder = in_folder(tmp_path, "m.gguf", "n\udcff.gguf")
    before = files_below(cache.folder(), folder)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout
    assert child.stdout.readline() == "aside\n"
    assert library(folder).local_models() == []
    assert trash.bring_back_left() == 0  # it is still there
    assert library(folder).local_models() == []

    os.kill(child.pid, signal.SIGKILL)
    child.communicate()

    assert trash.bring_back_left() == 3
    assert files_below(cache.folder(), folder) == before
    assert files_below(paths.aside_folder()) == []
    assert trash.bring_back_left() == 0


def test_what_took_the_place_of_a_deleted_model_stays(tmp_path: Path) -> None:
    folder = in_folder(tmp_path, "m.gguf")
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout
    assert child.stdout.readline() == "aside\n"
    child.kill()
    child.communicate()
    (folder / "m.gguf").write_bytes(b"another")

    assert trash.bring_back_left() == 0
    assert files_below(folder, paths.aside_folder()) == ["m.gguf"]
    assert (folder / "m.gguf").read_bytes() == b"another"


def test_the_next_command_finds_what_a_killed_app_had_put_aside(tmp_path: Path) -> None:
    in_cache()
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout
    assert child.stdout.readline() == "aside\n"
    child.kill()
    child.communicate()

    done = subprocess.run(
        [sys.executable, "-m", "chatterm", "models", "list"], capture_output=True, text=True, check=True
    )
    assert "Tiny-Q4_K_M" in done.stdout


@pytest.mark.parametrize("damage", [b"", b"{}", b'["relative.chatterm-aside", 3]', b"[", b'["!!"]'])
def test_a_damaged_journal_hinders_nothing(damage: bytes) -> None:
    folder = paths.ensure(paths.aside_folder())
    (folder / "abc.json").write_bytes(damage)
    assert trash.bring_back_left() == 0
    assert files_below(folder) == []


def test_a_journal_renames_nothing_but_what_was_put_aside(tmp_path: Path) -> None:
    import msgspec

    (tmp_path / "treasure").write_text("gold")
    folder = paths.ensure(paths.aside_folder())
    (folder / "abc.json").write_bytes(msgspec.json.encode([str(tmp_path / "treasure").encode()]))
    assert trash.bring_back_left() == 0
    assert (tmp_path / "treasure").read_text() == "gold"


def test_what_could_not_be_undone_is_not_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = in_cache()
    with mounted(tmp_path / "small", 64) as disk:
        monkeypatch.setenv("CHATTERM_DATA_HOME", str(disk.folder))
        disk.fill()
        models = library()
        (model,) = models.local_models()
        with pytest.raises(ModelKept, match="No space left"):
            models.put_aside(model)
        assert path.read_bytes() == b"12345"
        assert models.delete(model) == 5  # which needs no room
