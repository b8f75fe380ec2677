"""`chatterm models search` and `files` as a person at a shell sees them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command import run
from support.fake_hub import FakeHub
from support.tiny_models import write_model
from typer.testing import CliRunner, Result

from chatterm.cli.models import app

REPO = "lab/Real-7B-GGUF"


@pytest.fixture
def shelf(hub: FakeHub, tmp_path: Path) -> FakeHub:
    """A Hub with a model whose header is real and whose sizes are those of large ones."""
    hub.repos.clear()
    content = write_model(tmp_path / "tiny.gguf").read_bytes()
    hub.add(REPO, "Real-7B-Q4_K_M.gguf", content, size=5_000_000, downloads=12_345, likes=67, modified="2026-02-03",
            architecture="llama", parameters=7_240_000_000, licence="apache-2.0")  # fmt: skip
    hub.add(REPO, "Real-7B-F16.gguf", content, size=10**15)
    hub.add("evil/Red-GGUF", "r.gguf", b"no gguf", downloads=99_000, likes=99, is_gated=True, licence="\x1b[31mmit")
    return hub


def models(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_a_search_shows_what_there_is(shelf: FakeHub) -> None:
    done = models("search", "real")

    assert done.exit_code == 0, done.output
    head, row = done.stdout.splitlines()
    assert row.split() == [REPO, "7.2B", "llama", "12k", "67", "2026-02-03", "apache-2.0"]
    assert head.split()[0] == "REPOSITORY"
    assert f"models files {REPO}" in done.stderr


def test_a_search_without_words_shows_what_is_asked_for_most(shelf: FakeHub) -> None:
    done = models("search", "--limit", "1")

    assert [row.split()[0] for row in done.stdout.splitlines()[1:]] == ["evil/Red-GGUF"]
    assert "gated" in done.stdout
    assert "\x1b" not in done.output


def test_a_search_can_be_sorted_and_filtered(shelf: FakeHub) -> None:
    shelf.add("lab/New-1B-GGUF", "n.gguf", b"n", modified="2026-11-01", parameters=1_000_000_000, architecture="qwen3")

    assert models("search", "--sort", "modified").stdout.splitlines()[1].startswith("lab/New")
    for chosen in (["--max", "1.5B"], ["--architecture", "qwen3"], ["--min", "500M", "--max", "2b"]):
        assert [row.split()[0] for row in models("search", *chosen).stdout.splitlines()[1:]] == ["lab/New-1B-GGUF"]
    assert models("search", "--licence", "apache-2.0").stdout.splitlines()[1].startswith(REPO)
    assert models("search", "--max", "many").exit_code == 2
    assert models("search", "--sort", "beauty").exit_code == 2


def test_a_search_as_json_is_one_object_a_line(shelf: FakeHub) -> None:
    first, second = map(json.loads, models("search", "--json").stdout.splitlines())

    assert (first["repo"], first["is_gated"]) == ("evil/Red-GGUF", True)
    assert (second["repo"], second["n_parameters"], second["licence"]) == (REPO, 7_240_000_000, "apache-2.0")


def test_finding_nothing_is_said(shelf: FakeHub) -> None:
    done = models("search", "nothing", "like", "this")

    assert (done.exit_code, done.stdout) == (0, "")
    assert "Nothing" in done.stderr


def test_what_is_in_the_way_of_a_search_is_said(shelf: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.faults.refuses_always = {"/api/models": 503}
    done = models("search", "real")
    assert done.exit_code == 1
    assert "503" in done.stderr

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = models("search", "real")
    assert done.exit_code == 1
    assert "Offline" in done.stderr


def test_files_show_size_meaning_and_verdict(shelf: FakeHub) -> None:
    done = models("files", REPO)

    assert done.exit_code == 0, done.output
    head, small, large = done.stdout.splitlines()
    assert small.split()[:5] == ["Real-7B-Q4_K_M", "Q4_K_M", "5", "MB", "-"]
    assert " fits " in small
    assert "the usual choice" in small
    assert " too big " in large
    assert head.index("VERDICT") == large.index("too big")
    assert f"models pull {REPO} Q4_K_M" in done.stderr


def test_one_header_tells_about_all_quantizations(shelf: FakeHub) -> None:
    models("files", REPO)

    assert {seen.path.rsplit("/", 1)[-1] for seen in shelf.bodies()} == {"Real-7B-Q4_K_M.gguf"}


def test_files_that_are_here_are_marked(shelf: FakeHub) -> None:
    shelf.repos[REPO].sizes.clear()
    assert models("pull", REPO, "Q4_K_M").exit_code == 0

    rows = {row.split()[1]: row for row in models("files", f"https://huggingface.co/{REPO}").stdout.splitlines()}
    assert " yes " in rows["Q4_K_M"]
    assert " yes " not in rows["F16"]


def test_files_as_json_carry_the_verdict(shelf: FakeHub) -> None:
    small, large = map(json.loads, models("files", REPO, "--json").stdout.splitlines())

    assert (small["quantization"], small["size_bytes"], small["fit"]["verdict"]) == ("Q4_K_M", 5_000_000, "fits")
    assert (large["files"], large["fit"]["verdict"]) == (["Real-7B-F16.gguf"], "too big")


def test_files_whose_header_cannot_be_read_are_listed_all_the_same(shelf: FakeHub) -> None:
    done = models("files", "evil/Red-GGUF")

    assert done.exit_code == 0
    assert done.stdout.splitlines()[1].split() == ["r", "-", "7", "bytes", "-", "?"]
    assert "accept" in done.stderr

    (row,) = map(json.loads, models("files", "evil/Red-GGUF", "--json").stdout.splitlines())
    assert row["fit"] is None


def test_when_nothing_fits_that_is_said(shelf: FakeHub) -> None:
    shelf.repos[REPO].sizes["Real-7B-Q4_K_M.gguf"] = 10**14

    assert "None of them fits" in models("files", REPO).stderr


def test_a_repository_that_cannot_be_listed_is_an_error(shelf: FakeHub) -> None:
    shelf.add("lab/Empty", "README.md", b"x")

    for name, said in {"lab/Missing": "no repository", "nonsense": "OWNER/NAME", "lab/Empty": "no GGUF"}.items():
        done = models("files", name)
        assert done.exit_code == 1
        assert said in done.stderr
        assert done.stdout == ""


def test_the_whole_command_searches_and_lists(shelf: FakeHub) -> None:
    assert REPO in run("models", "search", "real").stdout
    assert "Q4_K_M" in run("models", "files", REPO).stdout
