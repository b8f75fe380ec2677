"""The library lists what can be loaded, finds it by what people call it, and removes it whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chatterm import tutor
from chatterm.errors import ModelKept, ModelNotFound
from chatterm.hub import cache, names
from chatterm.library import Library, LocalModel
from chatterm.quantizations import named_in
from chatterm.settings import Settings


def library(*folders: Path, built_in: Path | None = None) -> Library:
    return Library(Settings().merged({"models": {"folders": [str(folder) for folder in folders]}}), built_in)


def in_cache(repo: str, file: str, content: bytes = b"x", *, etag: str = "a" * 64, commit: str = "0" * 40) -> Path:
    """A file in the Hugging Face cache, as its client lays it out."""
    slot = cache.Slot(repo, commit, file, etag)
    slot.make_folders()
    slot.blob.write_bytes(content)
    slot.link()
    cache.point(repo, "main", commit)
    return slot.pointer


def test_a_cached_file_is_told_with_what_is_known() -> None:
    path = in_cache("lab/Tiny-GGUF", "sub/Tiny-1.5B-Instruct-Q4_K_M.gguf", b"12345")

    assert library().local_models() == [
        LocalModel(
            path=path,
            name="Tiny-1.5B-Instruct-Q4_K_M",
            repo="lab/Tiny-GGUF",
            quantization="Q4_K_M",
            size_bytes=5,
            source="Hugging Face cache",
            hash="sha256:" + "a" * 64,
            file="sub/Tiny-1.5B-Instruct-Q4_K_M.gguf",
        )
    ]
    assert path.is_symlink()  # the snapshot's name, by which parts find each other


def test_no_cache_is_no_models() -> None:
    assert library().local_models() == []


def test_what_cannot_be_chatted_with_is_left_out(tmp_path: Path) -> None:
    path = in_cache("lab/Tiny", "mmproj-F16.gguf")
    path.with_name("broken.gguf").symlink_to("../../blobs/gone")
    path.with_name("folder.gguf").mkdir()
    path.with_name("README.md").write_text("hello")
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "imatrix.gguf").write_bytes(b"x")
    (folder / "loop").symlink_to(folder)

    assert library(folder, tmp_path / "missing").local_models() == []


def test_parts_are_one_model_when_all_are_there(tmp_path: Path) -> None:
    for n in (1, 2):
        (tmp_path / f"Big-Q8_0-0000{n}-of-00002.gguf").write_bytes(b"x" * n)
        (tmp_path / f"Half-0000{n}-of-00003.gguf").write_bytes(b"x")

    (model,) = library(tmp_path).local_models()

    assert (model.name, model.size_bytes, model.path.name) == ("Big-Q8_0", 3, "Big-Q8_0-00001-of-00002.gguf")


def test_folders_are_searched_to_a_depth(tmp_path: Path) -> None:
    near, far = tmp_path / "a/b", tmp_path / "1/2/3/4/5/6/7"
    for folder in (near, far):
        folder.mkdir(parents=True)
        (folder / f"{folder.name}.gguf").write_bytes(b"x")

    assert [model.file for model in library(tmp_path).local_models()] == ["a/b/b.gguf"]


def test_a_model_that_is_reached_twice_is_told_once(tmp_path: Path) -> None:
    path = in_cache("lab/Tiny", "Tiny.gguf")
    (tmp_path / "link.gguf").symlink_to(path)

    (model,) = library(tmp_path, tmp_path).local_models()

    assert model.path == path


def test_the_newer_revision_of_a_file_is_taken() -> None:
    in_cache("lab/Tiny", "Tiny.gguf", b"old", etag="a" * 64, commit="0" * 40)
    new = in_cache("lab/Tiny", "Tiny.gguf", b"new", etag="b" * 64, commit="1" * 40)

    (model,) = library().local_models()

    assert model.path == new


def test_the_cache_can_be_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    path = in_cache("lab/Tiny", "Tiny.gguf")

    assert path.is_relative_to(tmp_path / "elsewhere")
    assert [model.path for model in library().local_models()] == [path]


@pytest.mark.parametrize(
    ("name", "quantization"),
    [
        ("Qwen3-0.6B-Q4_K_M.gguf", "Q4_K_M"),
        ("llama.q8_0.gguf", "Q8_0"),
        ("m-UD-IQ2_XXS.gguf", "UD-IQ2_XXS"),
        ("m-fp16.gguf", "F16"),
        ("gpt-oss-20b-MXFP4.gguf", "MXFP4"),
        ("m-BF16-00001-of-00002.gguf", "BF16"),
        ("Q4_Dreams.gguf", ""),
    ],
)
def test_quantizations_are_read_from_names(name: str, quantization: str) -> None:
    assert named_in(names.title(name)) == quantization


@pytest.mark.parametrize(
    "name", ["one-Q4_K_M", "ONE-Q4_K_M.gguf", "lab/One", "lab/One:q4_k_m", "lab/One/one-Q4_K_M.gguf", "one", "lab q4_k"]
)
def test_a_model_is_found_by_what_people_call_it(name: str) -> None:
    path = in_cache("lab/One", "one-Q4_K_M.gguf")
    in_cache("lab/Two", "two-Q8_0.gguf", etag="b" * 64)

    assert library().find(name) == path


def test_a_path_is_a_name_and_stays_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = in_cache("lab/One", "one.gguf")
    assert library().find(str(path)) == path
    (tmp_path / "here.gguf").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    assert library().find("here.gguf") == tmp_path / "here.gguf"


@pytest.mark.parametrize("name", ["~no-such-user/x.gguf", "~no-such-user", "~\x00", "/" + "x" * 5000])
def test_a_path_that_cannot_be_looked_at_is_no_model(name: str) -> None:
    with pytest.raises(ModelNotFound, match="There is no model"):
        library().find(name)
    assert library().first("", Path(name), "") is None, "nor is it missed when it was picked last"


def test_a_folder_of_an_unknown_user_holds_no_models() -> None:
    assert library(Path("~no-such-user")).local_models() == []


def test_an_exact_name_wins_over_parts_of_others() -> None:
    path = in_cache("lab/One", "one.gguf")
    in_cache("lab/One-more", "one-more.gguf", etag="b" * 64)

    assert library().find("one") == path


def test_a_name_that_means_several_says_which() -> None:
    in_cache("lab/One", "one.gguf")
    in_cache("lab/Two", "two.gguf", etag="b" * 64)

    with pytest.raises(ModelNotFound, match=r"2 models: one\.gguf \(lab/One\), two\.gguf \(lab/Two\)"):
        library().find("lab")


def test_a_name_that_means_none_says_what_there_is() -> None:
    with pytest.raises(ModelNotFound, match="models pull"):
        library().find("nope")
    in_cache("lab/One", "one.gguf")
    with pytest.raises(ModelNotFound, match="Here are: one"):
        library().find("nope\x1b[31m")
    with pytest.raises(ModelNotFound, match="No model was chosen"):
        library().find(" ")


def test_a_cached_model_is_removed_in_all_revisions() -> None:
    in_cache("lab/One", "one.gguf", b"old", etag="a" * 64, commit="0" * 40)
    in_cache("lab/One", "one.gguf", b"newer", etag="b" * 64, commit="1" * 40)
    here = library()

    assert here.delete(here.model("one")) == 8
    assert here.local_models() == []
    assert not cache.repo_folder("lab/One").exists()


def test_what_other_names_lead_to_stays() -> None:
    path = in_cache("lab/One", "one.gguf", b"shared")
    in_cache("lab/One", "same.gguf", b"shared")
    in_cache("lab/One", "two/two.gguf", b"12", etag="b" * 64)
    here = library()

    assert here.delete(next(model for model in here.local_models() if model.file == "two/two.gguf")) == 2
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["one.gguf", "same.gguf"]
    assert here.delete(here.model("one")) == 0
    assert path.with_name("same.gguf").read_bytes() == b"shared"
    assert (cache.repo_folder("lab/One") / "refs" / "main").exists()


def test_a_file_gets_its_name_although_its_folder_is_gone() -> None:
    slot = cache.Slot("lab/One", "0" * 40, "sub/one.gguf", "a" * 64)
    slot.make_folders()
    slot.blob.write_bytes(b"1")
    shutil.rmtree(slot.root / "snapshots")
    slot.link()
    assert slot.pointer.read_bytes() == b"1"


def test_other_tools_read_the_cache_after_a_removal() -> None:
    in_cache("lab/One", "one.gguf", b"1", etag="a" * 64, commit="0" * 40)
    in_cache("lab/One", "two.gguf", b"2", etag="b" * 64, commit="1" * 40)
    here = library()
    here.delete(here.model("two"))

    from huggingface_hub import scan_cache_dir

    found = scan_cache_dir(cache.folder())
    assert found.warnings == []
    assert [file.file_name for repo in found.repos for one in repo.revisions for file in one.files] == ["one.gguf"]


def test_all_parts_in_a_folder_are_removed(tmp_path: Path) -> None:
    for n in (1, 2):
        (tmp_path / f"Big-0000{n}-of-00002.gguf").write_bytes(b"xx")
    here = library(tmp_path)

    assert here.delete(here.model("big")) == 4
    assert list(tmp_path.glob("*.gguf")) == []


def test_only_what_is_ours_is_removed(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"x")
    (model,) = library(tmp_path).local_models()

    with pytest.raises(ModelKept, match="in none of the model folders"):
        library().delete(model)

    assert model.path.exists()


def test_a_link_is_removed_not_what_it_leads_to(tmp_path: Path) -> None:
    folder, precious = tmp_path / "models", tmp_path / "precious.gguf"
    folder.mkdir()
    precious.write_bytes(b"xxx")
    (folder / "m.gguf").symlink_to(precious)
    here = library(folder)

    assert here.delete(here.model("m")) == 0
    assert precious.exists()
    assert here.local_models() == []


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from chatterm.library import Library; from chatterm.settings import Settings;"
        "Library(Settings()).local_models(); print([m for m in ('huggingface_hub', 'httpx2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_name_that_tells_no_quantization_leaves_it_to_the_header(stories: Path) -> None:
    (model,) = [one for one in library(stories.parent).local_models() if one.path == stories]

    assert model.quantization == "F32"


def test_a_file_that_is_no_model_stays_in_the_list(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("this is no model")

    assert [model.quantization for model in library(tmp_path).local_models()] == [""]


def test_the_tutor_stands_last_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "zebra.gguf").write_bytes(b"x")
    here = library(tmp_path, built_in=tutor.FILE)

    first, last = here.local_models()

    assert (first.name, last.name, last.source, last.quantization) == ("zebra", tutor.NAME, "chatterm", "Q8_0")
    assert here.others() == [first]


@pytest.mark.parametrize("name", ["tutor", "Tutor (built in)", "TUTOR", tutor.FILE.name])
def test_the_tutor_is_found_by_its_name_whatever_else_is_called_so(tmp_path: Path, name: str) -> None:
    (tmp_path / "another-tutor-7b.gguf").write_bytes(b"x")

    assert library(tmp_path, built_in=tutor.FILE).find(name) == tutor.FILE


def test_the_tutor_is_first_where_nothing_else_was_chosen(tmp_path: Path) -> None:
    here = library(tmp_path, built_in=tutor.FILE)
    assert here.first("", None, "") == tutor.FILE

    only = tmp_path / "only.gguf"
    only.write_bytes(b"x")
    assert here.first("", None, "") == only

    (tmp_path / "second.gguf").write_bytes(b"x")
    assert here.first("", None, "") == tutor.FILE
    assert here.first("", tmp_path / "second.gguf", "") == tmp_path / "second.gguf"


def test_a_tutor_that_was_picked_is_found_after_a_move(tmp_path: Path) -> None:
    (tmp_path / "only.gguf").write_bytes(b"x")
    picked = tmp_path / "gone" / "chatterm" / "tutor" / tutor.FILE.name

    assert library(tmp_path, built_in=tutor.FILE).first("", picked, "") == tutor.FILE


def test_the_tutor_cannot_be_removed() -> None:
    here = library(built_in=tutor.FILE)

    with pytest.raises(ModelKept, match="part of chatterm"):
        here.delete(here.model("tutor"))

    assert tutor.FILE.exists()
