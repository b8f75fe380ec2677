"""Models that LM Studio and Ollama keep are used where they lie, and are theirs."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.command import run
from support.engines import ask, loaded
from support.tiny_models import write_chain, write_model

from chatterm.address import RemoteModel
from chatterm.engine.local import LocalEngine
from chatterm.errors import ModelKept, ModelNotFound
from chatterm.hub import elsewhere
from chatterm.library import Library, LocalModel
from chatterm.settings import Settings

MODEL, CONFIG = "application/vnd.ollama.image.model", "application/vnd.docker.container.image.v1+json"


@pytest.fixture
def ollama(own_folders: Path) -> Path:
    """Ollama's folder of models."""
    return own_folders / "ollama"


@pytest.fixture
def gguf(tmp_path: Path) -> bytes:
    return write_model(tmp_path / "made.gguf").read_bytes()


def library(*folders: Path) -> Library:
    return Library(Settings().merged({"models": {"folders": [str(folder) for folder in folders]}}), None)


def put_blob(top: Path, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    path = top / "blobs" / f"sha256-{digest}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return f"sha256:{digest}"


def put_manifest(top: Path, place: str, content: Any) -> Path:
    path = top / "manifests" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def pulled(top: Path, place: str, content: bytes, **config: str) -> Path:
    """A model as Ollama leaves it; gives the file."""
    digest = put_blob(top, content)
    layers = [
        {"mediaType": "application/vnd.ollama.image.license", "digest": put_blob(top, b"MIT"), "size": 3},
        {"mediaType": MODEL, "digest": digest, "size": len(content)},
    ]
    told = json.dumps(config).encode()
    about = {"mediaType": CONFIG, "digest": put_blob(top, told), "size": len(told)}
    put_manifest(top, place, {"schemaVersion": 2, "config": about, "layers": layers})
    return top / "blobs" / digest.replace(":", "-")


def test_ollamas_models_are_there_by_their_names(ollama: Path, gguf: bytes) -> None:
    path = pulled(ollama, "registry.ollama.ai/library/llama3.2/1b", gguf, file_type="Q4_K_M")
    others = [gguf + bytes([n]) for n in range(3)]
    pulled(ollama, "registry.ollama.ai/someone/tuned/latest", others[0])
    pulled(ollama, "hf.co/lab/Tiny-GGUF/Q8_0", others[1])

    models = library().local_models()

    assert {model.name for model in models} == {"llama3.2:1b", "someone/tuned:latest", "hf.co/lab/Tiny-GGUF:Q8_0"}
    assert next(model for model in models if model.name == "llama3.2:1b") == LocalModel(
        path=path,
        name="llama3.2:1b",
        repo="",
        quantization="Q4_K_M",
        size_bytes=len(gguf),
        source="Ollama",
        hash=f"sha256:{path.name.removeprefix('sha256-')}",
        file="llama3.2:1b",
    )


def test_the_quantization_is_told_by_name_by_ollama_or_by_the_header(ollama: Path, gguf: bytes) -> None:
    pulled(ollama, "registry.ollama.ai/library/named/7b-instruct-q5_K_M", gguf)
    pulled(ollama, "registry.ollama.ai/library/told/latest", gguf + b"1", file_type="Q6_K")
    pulled(ollama, "registry.ollama.ai/library/read/latest", gguf + b"2", file_type="unknown")

    found = {model.name.partition(":")[0]: model.quantization for model in library().local_models()}

    assert found == {"named": "Q5_K_M", "told": "Q6_K", "read": "F32"}


def test_a_file_with_several_names_is_one_model_that_each_name_finds(ollama: Path, gguf: bytes) -> None:
    path = pulled(ollama, "registry.ollama.ai/library/llama3.2/latest", gguf)
    pulled(ollama, "registry.ollama.ai/library/llama3.2/small", gguf)
    pulled(ollama, "registry.ollama.ai/someone/llama3.2/latest", gguf + b"1")

    model = library().model("llama3.2:small")

    assert (model.name, model.other_names) == ("llama3.2:small", ("llama3.2:latest",))
    for name in ("llama3.2:small", "llama3.2:latest", "LLAMA3.2:Latest", "small"):
        assert library().find(name) == path


def test_where_a_name_can_mean_several_they_are_told_by_their_names(ollama: Path, gguf: bytes) -> None:
    for n, tag in enumerate(("1b", "3b")):
        pulled(ollama, f"registry.ollama.ai/library/llama3.2/{tag}", gguf + bytes([n]))

    with pytest.raises(ModelNotFound, match=r"llama3\.2:1b \(Ollama\), llama3\.2:3b \(Ollama\)"):
        library().find("llama3.2")
    done = run("ask", "Hi")
    assert "llama3.2:1b, llama3.2:3b" in done.stderr


def test_a_model_here_comes_before_a_server_of_the_same_name(ollama: Path, gguf: bytes) -> None:
    path = pulled(ollama, "registry.ollama.ai/library/mistral/7b", gguf)

    assert library().find("mistral:7b") == path
    assert library().find("mistral:large") == RemoteModel("mistral", "large")


async def test_llama_cpp_chats_with_a_model_of_ollamas(ollama: Path, tmp_path: Path) -> None:
    content = write_chain(tmp_path / "chain.gguf", [b"Hello"], quantization="Q8_0").read_bytes()
    pulled(ollama, "registry.ollama.ai/library/tiny/latest", content)
    engine = LocalEngine(patience_seconds=60)
    try:
        model = (await loaded(engine, library().find_file("tiny"))).model
        assert (model.quantization, model.size_bytes) == ("Q8_0", len(content))
        assert (await ask(engine, "Say hello")).text == "Hello"
    finally:
        await engine.close()


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe\x00",
        b"[" * 5000,
        b'"text"',
        {"layers": [{"mediaType": MODEL, "digest": "GOOD"}], "padding": "x" * 2_000_000},
        {},
        {"layers": None},
        {"layers": {"a": 1}},
        {"layers": [1, None, "text", []]},
        {"layers": [{"mediaType": MODEL}]},
        {"layers": [{"mediaType": MODEL, "digest": 5}]},
        {"layers": [{"mediaType": MODEL, "digest": "sha256:folder/../../../secret.gguf"}]},
        {"layers": [{"mediaType": MODEL, "digest": "sha256:" + "0" * 64}]},
        {"layers": [{"mediaType": [], "digest": "sha256:" + "0" * 64}]},
        {"layers": [{"mediaType": "application/vnd.ollama.image.projector", "digest": "GOOD"}]},
        {"layers": [{"mediaType": MODEL, "digest": "GOOD", "size": 10**30}]},
        {"layers": [{"mediaType": MODEL, "digest": "GOOD", "size": -1}]},
        {"layers": [{"mediaType": MODEL, "digest": "NOT A GGUF"}]},
        {"layers": [{"mediaType": MODEL, "digest": "EMPTY"}]},
    ],
)
def test_what_is_damaged_is_left_out(ollama: Path, gguf: bytes, manifest: Any) -> None:
    (ollama.parent / "secret.gguf").write_bytes(gguf)
    (ollama / "blobs/sha256-folder").mkdir(parents=True)
    if isinstance(manifest, dict):
        contents = {"GOOD": gguf, "NOT A GGUF": b"PK\x03\x04 and so on", "EMPTY": b""}
        text = json.dumps(manifest)
        for name, content in contents.items():
            text = text.replace(f'"{name}"', f'"{put_blob(ollama, content)}"')
        manifest = text.encode()
    put_manifest(ollama, "registry.ollama.ai/library/bad/latest", manifest)
    pulled(ollama, "registry.ollama.ai/library/good/latest", gguf + b"1")

    assert [model.name for model in library().local_models()] == ["good:latest"]


def test_configs_of_any_shape_are_borne(ollama: Path, gguf: bytes) -> None:
    model = {"mediaType": MODEL, "digest": put_blob(ollama, gguf)}
    for n, config in enumerate((None, 3, [], {"digest": None}, {"digest": put_blob(ollama, b"[]")}, {"digest": "x"})):
        put_manifest(ollama, f"registry.ollama.ai/library/m/{n}", {"layers": [model], "config": config})

    (found,) = library().local_models()

    assert (found.name, len(found.other_names), found.quantization) == ("m:0", 5, "F32")


def test_odd_things_among_the_names_are_borne(ollama: Path, gguf: bytes) -> None:
    path = pulled(ollama, "registry.ollama.ai/library/good/latest", gguf)
    tags = ollama / "manifests/registry.ollama.ai/library/good"
    (tags / "folder").mkdir()
    (tags / "gone").symlink_to("nowhere")
    os.mkfifo(tags / "pipe")
    (ollama / "manifests/circle").symlink_to(ollama / "manifests")
    (ollama / "manifests/twin").symlink_to(ollama / "manifests/registry.ollama.ai")
    (ollama / "manifests/registry.ollama.ai/library/circle").symlink_to(ollama / "manifests/registry.ollama.ai")
    (ollama / "manifests/.DS_Store").write_text("x")
    os.mkfifo(ollama / "blobs" / f"sha256-{'1' * 64}")
    layer = {"mediaType": MODEL, "digest": "sha256:" + "1" * 64}
    put_manifest(ollama, "registry.ollama.ai/library/pipe/latest", {"layers": [layer]})
    pulled(ollama, "registry.ollama.ai/library/re\x1b[31md/latest", gguf + b"1")

    assert [(model.path, model.other_names) for model in library().local_models()] == [(path, ())]


def test_ollamas_models_are_not_ours_to_remove(ollama: Path, gguf: bytes) -> None:
    path = pulled(ollama, "registry.ollama.ai/library/llama3.2/1b", gguf)

    with pytest.raises(ModelKept, match=r"Ollama.*ollama rm llama3\.2:1b"):
        library().delete(library().model("llama3.2:1b"))
    assert path.exists()


def test_the_folder_of_the_user_is_looked_into_when_none_is_named(
    tmp_path: Path, gguf: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("OLLAMA_MODELS", "LMSTUDIO_HOME"):
        monkeypatch.delenv(name)
    pulled(tmp_path / ".ollama/models", "registry.ollama.ai/library/mine/latest", gguf)
    for n, home in enumerate((".lmstudio", ".cache/lm-studio", "moved")):
        folder = tmp_path / home / "models/lab/Tiny"
        folder.mkdir(parents=True)
        (folder / f"m{n}.gguf").write_bytes(gguf + bytes([n]))
    (tmp_path / ".lmstudio-home-pointer").write_text(f"{tmp_path / 'moved'}\n")

    found = {model.name: model.source for model in library().local_models()}

    assert found.items() >= {"mine:latest": "Ollama", "m0": "LM Studio", "m1": "LM Studio", "m2": "LM Studio"}.items()


@pytest.mark.parametrize("text", ["", "relative/folder", "/nowhere/at/all", "\x00", "a\nb", "~", "x" * 5000])
def test_a_pointer_that_leads_nowhere_is_borne(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LMSTUDIO_HOME")
    (tmp_path / ".lmstudio-home-pointer").write_text(text)

    assert elsewhere.lm_studio_folders() == []


def test_lm_studios_own_choice_of_a_folder_is_followed(own_folders: Path, tmp_path: Path, gguf: bytes) -> None:
    home, chosen = own_folders / "lm-studio", tmp_path / "big disk"
    for folder, n in ((home / "models/lab/One-GGUF", 1), (chosen / "lab/Two-GGUF", 2)):
        folder.mkdir(parents=True)
        (folder / f"m{n}-Q8_0.gguf").write_bytes(gguf + bytes([n]))
    (home / "settings.json").write_text(json.dumps({"downloadsFolder": str(chosen)}))

    models = library().local_models()

    assert [(model.name, model.source, model.file) for model in models] == [
        ("m1-Q8_0", "LM Studio", "lab/One-GGUF/m1-Q8_0.gguf"),
        ("m2-Q8_0", "LM Studio", "lab/Two-GGUF/m2-Q8_0.gguf"),
    ]
    assert library().model("two-gguf q8").name == "m2-Q8_0"
    for damaged in (b"", b"[]", b'{"downloadsFolder": 5}', b'{"downloadsFolder": "\\u0000"}'):
        (home / "settings.json").write_bytes(damaged)
        assert [model.name for model in library().local_models()] == ["m1-Q8_0"]


def test_lm_studios_models_are_not_ours_to_remove_unless_their_folder_was_named(own_folders: Path, gguf: bytes) -> None:
    folder = own_folders / "lm-studio/models/lab/One-GGUF"
    folder.mkdir(parents=True)
    path = folder / "m-Q8_0.gguf"
    path.write_bytes(gguf)

    with pytest.raises(ModelKept, match="LM Studio"):
        library().delete(library().model("m-Q8_0"))
    assert path.exists()

    named = library(own_folders / "lm-studio")
    assert named.model("m-Q8_0").source == "folder"
    assert named.delete(named.model("m-Q8_0")) == len(gguf)
    with pytest.raises(ModelNotFound):
        named.model("m-Q8_0")


def test_the_list_says_who_keeps_a_model(ollama: Path, own_folders: Path, gguf: bytes) -> None:
    pulled(ollama, "registry.ollama.ai/library/llama3.2/1b", gguf, file_type="Q4_K_M")
    folder = own_folders / "lm-studio/models/lab/One-GGUF"
    folder.mkdir(parents=True)
    (folder / "m-Q8_0.gguf").write_bytes(gguf + b"1")

    done = run("models", "list")

    rows = {row.split()[0]: row for row in done.stdout.splitlines()}
    assert " Ollama " in rows["llama3.2:1b"]
    assert " Q4_K_M " in rows["llama3.2:1b"]
    assert " LM Studio " in rows["m-Q8_0"]
