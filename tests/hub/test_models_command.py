"""`chatterm models` as a person at a shell sees it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.fake_hub import PIECE, FakeHub
from support.tiny_models import write_model
from typer.testing import CliRunner, Result

from chatterm import paths
from chatterm.cli.models import app
from chatterm.downloads.ledger import Ledger, Wish
from chatterm.hub import cache
from chatterm.settings import save

REPO, FILE = "lab/Tiny-GGUF", "Tiny-Q4_K_M.gguf"
DEADLINE = 60
PULL = [sys.executable, "-m", "chatterm", "models", "pull", REPO]


def models(*arguments: str, answer: str = "") -> Result:
    return CliRunner().invoke(app, list(arguments), input=answer)


def test_pull_prints_the_path_and_says_how_it_goes(hub: FakeHub) -> None:
    done = models("pull", REPO)

    assert done.exit_code == 0, done.output
    assert Path(done.stdout.strip()).read_bytes() == hub.repos[REPO].files[FILE]
    assert "1 MB" in done.stderr
    assert "100 %" in done.stderr
    assert "\x1b" not in done.output


def test_pull_again_says_that_it_is_here(hub: FakeHub) -> None:
    models("pull", REPO)

    assert "here already" in models("pull", REPO, FILE).stderr


def test_pull_lists_what_there_is_to_choose_from(hub: FakeHub) -> None:
    hub.add("lab/Two", "a-Q8_0.gguf", b"1" * 2_000_000)
    hub.add("lab/Two", "a-Q5_K_M\x1b[31m.gguf", b"2")

    done = models("pull", "lab/Two")

    assert done.exit_code == 2
    assert "2 MB" in done.stderr
    assert "a-Q8_0.gguf" in done.stderr
    assert "\x1b" not in done.output
    assert done.stdout == ""


def test_an_error_says_what_to_do(hub: FakeHub) -> None:
    hub.add("lab/Gated", "g.gguf", b"gated", is_gated=True)

    done = models("pull", "lab/Gated")

    assert done.exit_code == 1
    assert "accept" in done.stderr
    assert "Traceback" not in done.output
    assert models("pull", "lab/None").exit_code == 1


def test_offline_is_said(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    done = models("pull", REPO)

    assert done.exit_code == 1
    assert "HF_HUB_OFFLINE" in done.stderr


def test_ctrl_c_keeps_what_came_and_says_so(hub: FakeHub) -> None:
    hub.faults.hold_after = 8 * PIECE
    child = subprocess.Popen(
        [sys.executable, "-m", "chatterm", "models", "pull", REPO],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert hub.faults.reached.wait(DEADLINE)
    while sum(size for *_, size in cache.unfinished()) < 8 * PIECE:
        assert child.poll() is None
    child.send_signal(signal.SIGINT)
    output, errors = child.communicate(timeout=DEADLINE)
    hub.faults.release.set()

    assert child.returncode == 130, errors
    assert output == ""
    assert "run the same command again" in errors
    assert "Traceback" not in errors
    assert "paused" in models("downloads").stdout
    n_before = hub.n_sent
    assert models("pull", REPO).exit_code == 0
    assert hub.n_sent - n_before < 1_000_000
    assert "done" in models("downloads").stdout


def test_downloads_are_listed_with_what_is_the_matter(hub: FakeHub) -> None:
    assert "no downloads" in models("downloads").stderr
    hub.add("lab/Evil", "evil\x1b[31m.gguf", b"1")
    hub.faults.flip_byte = 3
    assert models("pull", REPO).exit_code == 1

    done = models("downloads")

    assert [row.split() for row in done.stdout.splitlines()] == [
        ["NAME", "STATE", "HERE", "SIZE", "FROM"],
        ["Tiny-Q4_K_M", "failed", "100", "%", "1", "MB", REPO],
    ]
    assert "its hash differs" in done.stderr
    (record,) = [json.loads(row) for row in models("downloads", "--json").stdout.splitlines()]
    assert (record["repo"], record["state"], record["n_total"]) == (REPO, "failed", 1_000_000)


def test_a_damaged_list_of_downloads_is_said() -> None:
    folder = paths.ensure(paths.downloads_folder())
    (folder / "0123456789abcdef0123.json").write_text("{")

    done = models("downloads")

    assert done.exit_code == 0
    assert "is damaged" in done.stderr


def test_a_pull_of_which_nothing_came_is_not_kept_in_the_list(hub: FakeHub) -> None:
    assert models("pull", "lab/None").exit_code == 1
    assert models("downloads").stdout == ""


def test_pull_follows_what_another_chatterm_fetches(hub: FakeHub) -> None:
    hub.faults.hold_after = 8 * PIECE
    pulls = [subprocess.Popen(PULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert hub.faults.reached.wait(DEADLINE)
    follower = next(pull for pull in pulls if follows(pull))
    hub.faults.release.set()

    outputs = {pull: pull.communicate(timeout=DEADLINE) for pull in pulls}

    assert [pull.returncode for pull in pulls] == [0, 0]
    assert len({output for output, _ in outputs.values()}) == 1
    assert Path(outputs[follower][0].strip()).read_bytes() == hub.repos[REPO].files[FILE]
    assert hub.n_sent == 1_000_000


def test_pull_says_that_the_other_chatterm_cancelled_it(hub: FakeHub) -> None:
    hub.faults.hold_after = 8 * PIECE
    pulls = [subprocess.Popen(PULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert hub.faults.reached.wait(DEADLINE)
    assert any(follows(pull) for pull in pulls)
    hub.faults.before_piece = lambda _: False
    hub.faults.release.set()
    (record,) = paths.downloads_folder().glob("*.json")
    Ledger().wish(record.stem, Wish.CANCEL)

    errors = [pull.communicate(timeout=DEADLINE)[1] for pull in pulls]

    assert [pull.returncode for pull in pulls] == [1, 1]
    assert all("was cancelled in another chatterm" in said for said in errors), errors
    assert models("downloads").stdout == ""
    assert cache.unfinished() == []


def follows(pull: subprocess.Popen[str]) -> bool:
    """Whether a pull says that another chatterm fetches it; the other one of two says something else first."""
    assert pull.stderr
    return "Another chatterm is fetching" in pull.stderr.readline()


def test_a_bar_is_drawn_on_a_terminal(hub: FakeHub) -> None:
    import pty

    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100"}
    child = subprocess.Popen(
        [sys.executable, "-m", "chatterm", "models", "pull", REPO],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=environment,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    output, _ = child.communicate(timeout=DEADLINE)
    os.close(ours)

    assert child.returncode == 0, shown
    assert output.decode().strip().endswith(FILE)
    assert b"its hash is right" in shown
    assert "━".encode() in shown


def test_list_tells_models_in_columns_and_as_json(hub: FakeHub, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "evil\x1b[31m[red].gguf").write_bytes(b"x" * 1500)
    save(paths.settings_file(), {"models": {"folders": [str(folder)]}})
    models("pull", REPO)

    done = models("list")

    assert done.exit_code == 0
    header, evil, tiny, _tutor = done.stdout.splitlines()
    assert header.split() == ["NAME", "QUANT", "SIZE", "FROM", "PATH"]
    assert tiny.split()[:4] == ["Tiny-Q4_K_M", "Q4_K_M", "1", "MB"]
    assert "1.5 kB" in evil
    assert "[red]" in evil
    assert "\x1b" not in done.output

    records = [json.loads(row) for row in models("list", "--json").stdout.splitlines()]
    assert [(record["repo"], record["size_bytes"]) for record in records[:-1]] == [("", 1500), (REPO, 1_000_000)]


def test_list_of_the_tutor_alone_says_how_to_get_another() -> None:
    done = models("list")

    assert done.exit_code == 0
    assert [line.split("  ")[0] for line in done.stdout.splitlines()[1:]] == ["Tutor (built in)"]
    assert "no other model" in done.stderr
    assert "models pull" in done.stderr


def test_rm_of_the_tutor_is_refused() -> None:
    done = models("rm", "tutor", "--yes")

    assert done.exit_code == 1
    assert "part of chatterm" in done.stderr


def test_rm_asks_and_says_what_is_free(hub: FakeHub) -> None:
    models("pull", REPO)

    kept = models("rm", "tiny", answer="n\n")
    assert kept.exit_code == 1
    assert "Nothing was removed" in kept.stderr
    assert "tiny" in models("list").stdout.lower()

    done = models("rm", "tiny", answer="y\n")
    assert done.exit_code == 0
    assert "1 MB are free again" in done.stderr
    assert "tiny" not in models("list").stdout.lower()


def test_rm_with_yes_does_not_ask(hub: FakeHub) -> None:
    models("pull", REPO)

    assert models("rm", FILE, "--yes").exit_code == 0
    assert not cache.repo_folder(REPO).exists()


def test_rm_of_what_is_not_there(hub: FakeHub) -> None:
    done = models("rm", "nope", "--yes")

    assert done.exit_code == 1
    assert "no model “nope”" in done.stderr
    assert models("rm").exit_code == 2


def test_what_downloads_left_can_be_removed(hub: FakeHub) -> None:
    hub.faults.flip_byte = 3
    assert models("pull", REPO).exit_code == 1

    assert "1 MB" in models("list").stderr
    done = models("rm", "--unfinished", "--yes")

    assert "1 MB are free again" in done.stderr
    assert cache.unfinished() == []
    assert models("downloads").stdout == ""


def test_info_tells_what_the_header_says(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.gguf", "qwen3", quantization="Q8_0", name="evil\x1b[31m", n_ctx=2048)

    done = models("info", str(path))

    assert done.exit_code == 0, done.output
    for told in ("qwen3", "Q8_0: 8 bits", "trained for 2,048 tokens", "carries one for chats", "KV cache"):
        assert told in done.stdout
    assert "\x1b" not in done.output

    record = json.loads(models("info", str(path), "--json").stdout)
    assert (record["architecture"], record["n_layers"], record["has_template"]) == ("qwen3", 2, True)
    assert record["kv_cache_bytes"] == 2 * 2048 * 2 * (16 + 16) * 2  # layers, tokens, heads, key and value, f16
    assert record["memory_bytes"] > record["weights_bytes"] + record["kv_cache_bytes"]


def test_info_finds_a_model_by_name_and_counts_all_parts(tmp_path: Path) -> None:
    for n in (1, 2):
        write_model(tmp_path / f"Part-0000{n}-of-00002.gguf")
    save(paths.settings_file(), {"models": {"folders": [str(tmp_path)]}})

    one = json.loads(models("info", str(write_model(tmp_path / "whole.gguf")), "--json").stdout)
    both = json.loads(models("info", "part", "--json").stdout)

    assert both["n_files"] == 2
    assert both["n_parameters"] == 2 * one["n_parameters"]
    assert both["weights_bytes"] == pytest.approx(2 * one["weights_bytes"], rel=0.02)  # with the second part's header


def test_info_says_what_is_missing(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.gguf")
    path.write_bytes(path.read_bytes()[:-5000])

    assert "are missing at the end" in models("info", str(path)).stdout
    part = path.rename(tmp_path / "m-00001-of-00002.gguf")
    assert "m-00002-of-00002.gguf" in models("info", str(part)).stdout


def test_info_of_what_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_text("version https://git-lfs")

    done = models("info", str(tmp_path / "m.gguf"))

    assert done.exit_code == 1
    assert "not a usable GGUF" in done.stderr
    assert models("info", "nope").exit_code == 1
