"""Fetching survives what happens on the way, and only what was announced gets its name."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections import namedtuple
from contextlib import closing
from pathlib import Path

import pytest
from support.fake_hub import PIECE, FakeHub, sha256
from support.proxy import Proxy

from chatterm.errors import (
    DiskFull,
    DownloadStopped,
    FileNotChosen,
    GatedRepo,
    HashMismatch,
    HubBusy,
    HubError,
    NoNetwork,
    RepoNotFound,
    TokenRefused,
)
from chatterm.hub import cache, download
from chatterm.hub.client import Hub
from chatterm.hub.download import Patience
from chatterm.hub.progress import Downloaded, Downloading, Planned, Pulled, PullEvent, Verifying, Waiting

REPO, FILE = "lab/Tiny-GGUF", "Tiny-Q4_K_M.gguf"
DEADLINE = 60

CHILD = """
import sys
from chatterm.hub import download
patience = download.Patience(n_failures=1) if "impatient" in sys.argv else None
for event in download.pull(sys.argv[1], patience=patience):
    pass
print(event.path, event.n_fetched)
"""


def pulled(patience: Patience, repo: str = REPO, file: str = "", revision: str = "") -> list[PullEvent]:
    return list(download.pull(repo, file, revision, patience=patience))


def bytes_of(events: list[PullEvent]) -> bytes:
    assert isinstance(events[-1], Pulled)
    return events[-1].path.read_bytes()


def partials() -> list[Path]:
    return list(cache.folder().glob("*/blobs/*.incomplete"))


def start_child(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_pull_tells_what_it_does_and_ends_with_the_path(hub: FakeHub, patience: Patience) -> None:
    events = pulled(patience)

    assert isinstance(events[0], Planned)
    assert (events[0].files, events[0].n_total, events[0].n_missing) == ((FILE,), 1_000_000, 1_000_000)
    progress = [event for event in events if isinstance(event, Downloading)]
    assert progress[0].n_done == 0
    assert progress[-1].n_done == 1_000_000
    assert isinstance(events[-2], Downloaded)
    assert bytes_of(events) == hub.repos[REPO].files[FILE]


def test_the_real_client_finds_what_was_fetched(hub: FakeHub, patience: Patience) -> None:
    path = pulled(patience)[-1].path  # type: ignore[union-attr]

    code = (
        f"import huggingface_hub as h; print(h.hf_hub_download({REPO!r}, {FILE!r}));"
        "print(h.scan_cache_dir().warnings); print([r.repo_id for r in h.scan_cache_dir().repos])"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=DEADLINE
    )

    assert done.stdout.splitlines() == [str(path), "[]", f"['{REPO}']"], done.stderr


def test_what_the_real_client_fetched_is_not_fetched_again(hub: FakeHub, patience: Patience) -> None:
    code = f"import huggingface_hub as h; print(h.hf_hub_download({REPO!r}, {FILE!r}))"
    environment = os.environ | {"HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=DEADLINE
    )
    n_before = hub.n_sent

    events = pulled(patience)

    assert str(events[-1].path) == done.stdout.strip(), done.stderr  # type: ignore[union-attr]
    assert hub.n_sent == n_before


def test_a_second_pull_fetches_nothing(hub: FakeHub, patience: Patience) -> None:
    pulled(patience)
    events = pulled(patience)

    assert events[0].n_missing == 0  # type: ignore[union-attr]
    assert events[-1].n_fetched == 0  # type: ignore[union-attr]
    assert hub.n_sent == 1_000_000


def test_all_parts_of_a_split_model_come(hub: FakeHub, patience: Patience) -> None:
    names = [f"big/Big-Q4_K_M-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    for n, name in enumerate(names):
        hub.add("lab/Big-GGUF", name, bytes([n]) * 1000)

    events = pulled(patience, "lab/Big-GGUF")

    path = events[-1].path  # type: ignore[union-attr]
    assert path.as_posix().endswith(names[0])
    assert [part.read_bytes()[0] for part in sorted(path.parent.iterdir())] == [0, 1, 2]
    assert [event.n_done for event in events if isinstance(event, Downloading)][-1] == 3000


def test_a_small_file_is_checked_by_its_git_hash(hub: FakeHub, patience: Patience) -> None:
    hub.add("lab/Small", "plain.gguf", b"small")
    assert bytes_of(pulled(patience, "lab/Small")) == b"small"

    hub.add("lab/Small", "plain.gguf", b"other")
    hub.faults.flip_byte = 2
    with pytest.raises(HashMismatch):
        pulled(patience, "lab/Small")


def test_after_kill_the_next_run_goes_on(hub: FakeHub, patience: Patience) -> None:
    hub.faults.hold_after = 10 * PIECE
    child = start_child(REPO)
    assert hub.faults.reached.wait(DEADLINE)
    wait_until(lambda: any(path.stat().st_size == 10 * PIECE for path in partials()))
    os.kill(child.pid, signal.SIGKILL)
    child.communicate(timeout=DEADLINE)
    hub.faults.release.set()
    (partial,) = partials()
    n_kept = partial.stat().st_size

    events = pulled(patience)

    assert bytes_of(events) == hub.repos[REPO].files[FILE]
    assert events[-1].n_fetched == 1_000_000 - n_kept  # type: ignore[union-attr]
    assert hub.bodies()[-1].range == f"bytes={n_kept}-"
    assert any(isinstance(event, Verifying) for event in events)
    assert not partials()


def test_an_interrupted_pull_leaves_a_cache_that_other_tools_read(hub: FakeHub) -> None:
    with closing(download.pull(REPO)) as events:
        for event in events:
            if isinstance(event, Downloading):
                break
    assert len(partials()) == 1

    from huggingface_hub import scan_cache_dir

    assert scan_cache_dir(cache.folder()).warnings == []


def test_a_broken_connection_is_taken_up_again(hub: FakeHub, patience: Patience, waits: list[float]) -> None:
    hub.faults.cut_after, hub.faults.n_cuts = 3 * PIECE, 4

    events = pulled(patience)

    assert bytes_of(events) == hub.repos[REPO].files[FILE]
    assert hub.n_sent == 1_000_000
    assert waits == [0.5] * 4  # new bytes came each time
    assert [event.seconds for event in events if isinstance(event, Waiting)] == waits


def test_a_connection_that_brings_nothing_is_given_up(hub: FakeHub, patience: Patience, waits: list[float]) -> None:
    hub.faults.cut_after = 0

    with pytest.raises(NoNetwork):
        pulled(patience)

    assert waits == [0.5, 1, 2, 4, 8]


def test_a_silent_connection_is_given_up(hub: FakeHub, patience: Patience, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "1")
    hub.faults.hold_after = PIECE

    events = pulled(patience)  # the second connection is not held

    assert bytes_of(events) == hub.repos[REPO].files[FILE]
    assert any(isinstance(event, Waiting) for event in events)


def test_a_server_without_ranges_starts_over(hub: FakeHub, patience: Patience) -> None:
    hub.faults.cut_after, hub.faults.n_cuts, hub.faults.ignores_range = 4 * PIECE, 2, True

    assert bytes_of(pulled(patience)) == hub.repos[REPO].files[FILE]


def test_a_wrong_range_is_not_appended(hub: FakeHub, patience: Patience) -> None:
    hub.faults.cut_after, hub.faults.n_cuts, hub.faults.wrong_range = 4 * PIECE, 1, True

    with pytest.raises(NoNetwork):
        pulled(patience)
    hub.faults.wrong_range = False
    assert bytes_of(pulled(patience)) == hub.repos[REPO].files[FILE]


def test_bytes_beyond_the_end_are_left(hub: FakeHub, patience: Patience) -> None:
    hub.faults.cut_after, hub.faults.n_cuts = 4 * PIECE, 1

    def change() -> None:
        hub.faults.extra = b"more" if hub.faults.n_cuts == 0 else b""

    hub.faults.before_body = change
    assert bytes_of(pulled(patience)) == hub.repos[REPO].files[FILE]


def test_a_login_page_is_no_model(hub: FakeHub, patience: Patience) -> None:
    hub.faults.page = b"<html>Welcome to our hotel</html>"

    with pytest.raises(NoNetwork, match="login"):
        pulled(patience)

    assert partials()[0].stat().st_size == 0


def test_a_flipped_byte_is_found_and_set_aside(hub: FakeHub, patience: Patience) -> None:
    hub.faults.flip_byte = 500_000

    with pytest.raises(HashMismatch) as caught:
        pulled(patience)

    (damaged,) = cache.folder().glob("*/blobs/*.damaged")
    assert str(damaged) in str(caught.value)
    assert list(cache.models()) == []

    hub.faults.flip_byte = None
    assert bytes_of(pulled(patience)) == hub.repos[REPO].files[FILE]
    assert not damaged.exists()


def test_damage_to_the_kept_part_is_found(hub: FakeHub, patience: Patience) -> None:
    stop_after_first_bytes()
    (partial,) = partials()
    with partial.open("r+b") as file:
        file.write(b"damage")

    with pytest.raises(HashMismatch):
        pulled(patience)
    assert bytes_of(pulled(patience)) == hub.repos[REPO].files[FILE]


def test_a_kept_part_that_is_too_long_is_left(hub: FakeHub, patience: Patience) -> None:
    stop_after_first_bytes()
    (partial,) = partials()
    partial.write_bytes(b"x" * 2_000_000)

    assert bytes_of(pulled(patience)) == hub.repos[REPO].files[FILE]


def test_a_file_that_changes_under_our_hands_is_fetched_anew(hub: FakeHub, patience: Patience) -> None:
    hub.faults.cut_after, hub.faults.n_cuts = 4 * PIECE, 1
    new = b"new!" * 250_000  # as long as the old one

    def change() -> None:
        if hub.faults.n_cuts == 0:
            hub.faults.before_body = None
            hub.add(REPO, FILE, new)

    hub.faults.before_body = change
    events = pulled(patience)

    assert bytes_of(events) == new
    assert cache.hash_of(events[-1].path) == f"sha256:{sha256(new)}"  # type: ignore[union-attr]


def test_a_mirror_with_names_of_its_own_can_be_used(hub: FakeHub, patience: Patience) -> None:
    hub.faults.renames_etag = True

    assert bytes_of(pulled(patience)) == hub.repos[REPO].files[FILE]


def test_the_hub_is_obeyed_when_it_asks_to_wait(hub: FakeHub, patience: Patience, waits: list[float]) -> None:
    hub.faults.refusals = [("/api/", 429, {"Retry-After": "7"}), (f"/{REPO}", 429, {"Retry-After": "9"})]

    events = pulled(patience)

    assert waits == [7, 9]
    assert bytes_of(events) == hub.repos[REPO].files[FILE]


def test_a_hub_that_asks_to_wait_for_long_is_an_error(hub: FakeHub, patience: Patience, waits: list[float]) -> None:
    hub.faults.refusals = [("/api/", 429, {"ratelimit": '"api";r=0;t=900'})]

    with pytest.raises(HubBusy):
        pulled(patience)

    assert waits == []


@pytest.mark.parametrize("path", ["/api/", f"/{REPO}"])
def test_trouble_of_the_hub_is_waited_out_for_a_while(
    hub: FakeHub, patience: Patience, waits: list[float], path: str
) -> None:
    hub.faults.refusals = [(path, 503, {}), (path, 500, {})]
    assert bytes_of(pulled(patience)) == hub.repos[REPO].files[FILE]

    hub.faults.refuses_always = {"/": 502}
    waits.clear()
    with pytest.raises(HubBusy, match="502"):
        pulled(patience)
    assert len(waits) == 5


def test_trouble_in_the_middle_is_waited_out(hub: FakeHub, patience: Patience) -> None:
    hub.faults.cut_after, hub.faults.n_cuts = 4 * PIECE, 1

    def refuse_next() -> None:
        hub.faults.before_body = None
        hub.faults.refusals = [(f"/{REPO}", 500, {}), (f"/{REPO}", 429, {})]

    hub.faults.before_body = refuse_next
    assert bytes_of(pulled(patience)) == hub.repos[REPO].files[FILE]
    assert hub.n_sent == 1_000_000


def test_a_hub_that_does_not_answer_is_given_up(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "1")
    hub.faults.hangs = True

    with pytest.raises(NoNetwork, match="did not answer"):
        pulled(Patience(n_failures=1))


def test_no_hub_at_all(hub: FakeHub, patience: Patience, monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    with pytest.raises(NoNetwork, match=r"127\.0\.0\.1:9 cannot be reached"):
        pulled(patience)

    assert len(waits) == 2


def test_something_else_than_a_hub(hub: FakeHub, patience: Patience, monkeypatch: pytest.MonkeyPatch) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    try:
        with pytest.raises(NoNetwork, match="does not speak"):
            pulled(patience)
    finally:
        server.shutdown()
        server.server_close()


def test_offline_mode_asks_nobody(hub: FakeHub, patience: Patience, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    with pytest.raises(NoNetwork, match="HF_HUB_OFFLINE"):
        pulled(patience)

    assert hub.seen == []


def test_offline_mode_counts_when_it_is_set_not_when_a_package_was_imported(
    hub: FakeHub, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert bytes_of(pulled(patience)) == hub.repos[REPO].files[FILE]


def test_a_call_that_never_ends_is_left_behind(hub: FakeHub) -> None:
    never = threading.Event()

    with pytest.raises(NoNetwork, match="did not answer within"):
        Hub(deadline_seconds=0.01).answer(lambda: never.wait(DEADLINE))
    never.set()


def test_an_unknown_repository(hub: FakeHub, patience: Patience, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RepoNotFound, match="no repository lab/None"):
        pulled(patience, "lab/None")
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    with pytest.raises(RepoNotFound, match="no repository lab/None"):
        pulled(patience, "lab/None")


@pytest.mark.parametrize("repo", ["", "Tiny", "../../etc", "a/b/../c", "a--b/c", "a/..", "a/b\x1b[31m", "http://"])
def test_what_is_no_name_of_a_repository(hub: FakeHub, patience: Patience, repo: str) -> None:
    with pytest.raises(RepoNotFound) as caught:
        pulled(patience, repo)

    assert "\x1b" not in str(caught.value)
    assert all(".." not in seen.path for seen in hub.seen)


@pytest.mark.parametrize(
    "repo",
    [
        "https://huggingface.co/lab/Tiny-GGUF/tree/main",
        "hf.co/lab/Tiny-GGUF:Q4_K_M",
        "lab/Tiny-GGUF/",
        "https://mirror.example:8443/lab/Tiny-GGUF/blob/main/Tiny-Q4_K_M.gguf",
        "https://huggingface.co/lab/Tiny-GGUF/resolve/main/Tiny-Q4%5FK_M.gguf?download=true",
    ],
)
def test_a_repository_can_be_pasted(hub: FakeHub, patience: Patience, repo: str) -> None:
    hub.add(REPO, "Tiny-Q8_0.gguf", b"another")
    assert bytes_of(pulled(patience, repo)) == hub.repos[REPO].files[FILE]


def test_the_address_of_a_file_means_that_file(hub: FakeHub, patience: Patience) -> None:
    hub.add(REPO, "Tiny-Q8_0.gguf", b"another")
    address = f"https://huggingface.co/{REPO}/resolve/{hub.repos[REPO].commits[-1]}/Tiny-Q8_0.gguf"

    assert bytes_of(pulled(patience, address)) == b"another"


def test_an_unknown_revision(hub: FakeHub, patience: Patience) -> None:
    with pytest.raises(RepoNotFound, match="no revision “nope”"):
        pulled(patience, revision="nope")
    with pytest.raises(RepoNotFound, match="not the name of a revision"):
        pulled(patience, revision="../../../evil")


def test_a_revision_can_be_a_commit(hub: FakeHub, patience: Patience) -> None:
    commit = hub.repos[REPO].commits[0]

    events = pulled(patience, revision=commit)

    assert commit in events[-1].path.parts  # type: ignore[union-attr]
    assert not (cache.repo_folder(REPO) / "refs").exists()


def test_an_unknown_file_names_what_there_is(hub: FakeHub, patience: Patience) -> None:
    with pytest.raises(RepoNotFound, match=FILE):
        pulled(patience, file="nope.gguf")


def test_several_models_without_an_obvious_one(hub: FakeHub, patience: Patience) -> None:
    hub.add("lab/Two", "a-Q8_0.gguf", b"1")
    hub.add("lab/Two", "a-Q5_K_M.gguf", b"22")
    hub.add("lab/Two", "mmproj-a-F16.gguf", b"333")

    with pytest.raises(FileNotChosen) as caught:
        pulled(patience, "lab/Two")

    assert caught.value.candidates == (("a-Q5_K_M.gguf", 2), ("a-Q8_0.gguf", 1))
    assert bytes_of(pulled(patience, "lab/Two", "q8_0")) == b"1"
    hub.add("lab/Two", "a-Q4_K_M.gguf", b"4444")
    assert bytes_of(pulled(patience, "lab/Two")) == b"4444"


def test_a_repository_without_models(hub: FakeHub, patience: Patience) -> None:
    hub.add("lab/Weights", "model.safetensors", b"1")

    with pytest.raises(RepoNotFound, match="no GGUF"):
        pulled(patience, "lab/Weights")


def test_a_gated_repository_says_the_steps(hub: FakeHub, patience: Patience, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("lab/Gated", "g.gguf", b"gated", is_gated=True)

    with pytest.raises(GatedRepo) as caught:
        pulled(patience, "lab/Gated")
    for step in (f"{hub.url}/lab/Gated", "accept", "settings/tokens", "HF_TOKEN", "hf auth login"):
        assert step in caught.value.remedy

    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(GatedRepo, match="account of your token"):
        pulled(patience, "lab/Gated")

    monkeypatch.setenv("HF_TOKEN", "hf_good")
    assert bytes_of(pulled(patience, "lab/Gated")) == b"gated"


def test_the_stored_token_is_used(hub: FakeHub, patience: Patience) -> None:
    hub.add("lab/Private", "p.gguf", b"private", is_private=True)
    with pytest.raises(RepoNotFound, match="private"):
        pulled(patience, "lab/Private")

    cache.home().mkdir(parents=True, exist_ok=True)
    (cache.home() / "token").write_text("hf_good\n")
    assert bytes_of(pulled(patience, "lab/Private")) == b"private"


def test_a_token_that_is_not_valid(hub: FakeHub, patience: Patience, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "nonsense")

    with pytest.raises(TokenRefused, match="settings/tokens"):
        pulled(patience)


def test_a_forbidden_repository(hub: FakeHub, patience: Patience) -> None:
    hub.faults.refuses_always = {"/api/": 403}

    with pytest.raises(HubError, match="403"):
        pulled(patience)


def test_the_token_stays_with_the_hub(patience: Patience, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.has_storage = True
    monkeypatch.setenv("HF_TOKEN", "hf_good")

    events = pulled(patience)

    assert bytes_of(events) == hub.repos[REPO].files[FILE]
    assert {seen.token for seen in hub.seen if not seen.at_storage} == {"hf_good"}
    assert {seen.token for seen in hub.seen if seen.at_storage} == {""}


def test_an_address_of_the_storage_that_ran_out_is_renewed(hub: FakeHub, patience: Patience) -> None:
    hub.has_storage = True
    hub.faults.cut_after, hub.faults.n_cuts = 4 * PIECE, 1
    hub.faults.refusals = [("/storage/", 403, {}), ("/storage/", 503, {"Retry-After": "1"})]

    assert bytes_of(pulled(patience)) == hub.repos[REPO].files[FILE]
    assert hub.n_sent == 1_000_000


def test_an_endless_chain_of_addresses_is_left(hub: FakeHub, patience: Patience) -> None:
    def send_in_a_circle() -> None:
        hub.faults.refusals += [(f"/{REPO}", 307, {"Location": f"/{REPO}/resolve/main/{FILE}"})] * 100

    hub.faults.cut_after, hub.faults.n_cuts = PIECE, 1
    hub.faults.before_body = send_in_a_circle
    with pytest.raises(NoNetwork, match="from one address to the next"):
        pulled(patience)


@pytest.mark.parametrize(
    "name", ["../../../evil.gguf", "/evil.gguf", "a/../../evil.gguf", "a\\..\\evil.gguf", "e\nvil.gguf"]
)
def test_a_file_name_cannot_leave_the_cache(hub: FakeHub, patience: Patience, name: str, tmp_path: Path) -> None:
    hub.add("lab/Evil", name, b"evil")

    with pytest.raises(HubError):
        pulled(patience, "lab/Evil")

    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"evil" in path.read_bytes()]


@pytest.mark.parametrize("etag", ["../evil", "", "a/b", ".hidden", "x" * 300])
def test_an_etag_cannot_leave_the_cache(etag: str) -> None:
    with pytest.raises(HubError):
        cache.Slot("a/b", "0" * 40, "m.gguf", etag)


def test_too_little_space_is_found_before(hub: FakeHub, patience: Patience, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(10**9, 10**9, 999_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    with pytest.raises(DiskFull, match=r"Needs 1 MB, 1 MB are free"):
        pulled(patience)

    assert hub.n_sent == 0
    assert not cache.folder().exists()


def test_a_kept_part_counts_as_space(hub: FakeHub, patience: Patience, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_after_first_bytes()
    usage = namedtuple("usage", "total used free")(10**9, 10**9, 999_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    assert bytes_of(pulled(patience)) == hub.repos[REPO].files[FILE]


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A cache on a disk of 512 kB, where this process may make one."""
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot mount a small disk: {done.stderr.strip()}")
    monkeypatch.setenv("HF_HOME", str(place))
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_fills_up_keeps_what_came(
    hub: FakeHub, patience: Patience, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")(10**9, 0, 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)  # as if another program took it meanwhile

    with pytest.raises(DiskFull, match="kept"):
        pulled(patience)

    (partial,) = partials()
    assert partial.stat().st_size > 400_000
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    n_before = hub.n_sent
    events = pulled(patience)
    assert bytes_of(events) == hub.repos[REPO].files[FILE]
    assert events[-1].n_fetched < 600_000  # type: ignore[union-attr]
    assert hub.n_sent - n_before < 600_000


def test_a_disk_that_fills_up_elsewhere(hub: FakeHub, patience: Patience, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DiskFull, match="kept"):
        pulled(patience)
    assert partials()[0].stat().st_size == 1_000_000


def test_a_cache_that_cannot_be_written(hub: FakeHub, patience: Patience) -> None:
    cache.home().mkdir(parents=True, exist_ok=True)
    cache.folder().write_text("a file where the folder should be")

    with pytest.raises(HubError, match="cannot be used"):
        pulled(patience)


def test_stopping_keeps_what_came(hub: FakeHub, patience: Patience) -> None:
    n_kept = stop_after_first_bytes()

    assert n_kept > 0
    assert pulled(patience)[-1].n_fetched == 1_000_000 - n_kept  # type: ignore[union-attr]


def test_two_processes_fetch_a_file_once(hub: FakeHub) -> None:
    hub.faults.hold_after = PIECE
    first = start_child(REPO)
    assert hub.faults.reached.wait(DEADLINE)
    second = start_child(REPO)
    wait_until(lambda: sum(seen.method == "HEAD" for seen in hub.seen) == 2)
    hub.faults.release.set()

    outputs = [child.communicate(timeout=DEADLINE) for child in (first, second)]

    assert outputs[0][0].split()[0] == outputs[1][0].split()[0], outputs
    assert sorted(int(output[0].split()[1]) for output in outputs) == [0, 1_000_000]
    assert hub.n_sent == 1_000_000


def test_nothing_is_printed(hub: FakeHub) -> None:
    hub.faults.refusals = [("/api/", 500, {"X-HF-Warning": "topic; look here"}), (f"/{REPO}", 500, {})]
    child = start_child(REPO)
    output, errors = child.communicate(timeout=DEADLINE)

    assert len(output.splitlines()) == 1
    assert errors == ""


def test_nobody_is_told_that_we_are_here(hub: FakeHub) -> None:
    start_child(REPO).communicate(timeout=DEADLINE)

    assert hub.seen
    assert not [seen.path for seen in hub.seen if "harness" in seen.path or "telemetry" in seen.path]


def test_a_connection_that_breaks_at_any_byte_is_taken_up_there(hub: FakeHub, patience: Patience) -> None:
    chance, places = random.Random(5), []

    def cut_somewhere() -> None:
        places.append(chance.choice([1, 2, PIECE - 1, PIECE, PIECE + 1, chance.randrange(1, 200_000)]))
        hub.faults.cut_after, hub.faults.n_cuts = places[-1], 1

    hub.faults.before_body = cut_somewhere
    events = pulled(patience)

    assert bytes_of(events) == hub.repos[REPO].files[FILE]
    assert hub.n_sent == 1_000_000
    ranges = [f"bytes={sum(places[:n])}-" for n in range(1, len(places))]
    assert [seen.range for seen in hub.bodies()] == ["", *ranges]
    assert len(places) > 10


@pytest.fixture
def proxy(hub: FakeHub, monkeypatch: pytest.MonkeyPatch):
    """The only way to a Hub whose name nobody else knows."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with Proxy(hub.url) as proxy:
        yield proxy


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_is_used_for_questions_and_bytes(
    hub: FakeHub, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    monkeypatch.setenv(name, f"http://me:secret@{proxy.netloc}")
    child = start_child(REPO)  # a process of its own: huggingface_hub reads the environment once
    output, errors = child.communicate(timeout=DEADLINE)

    assert Path(output.split()[0]).read_bytes() == hub.repos[REPO].files[FILE], errors
    assert set(proxy.asked) == {"GET hub.invalid", "HEAD hub.invalid"}
    assert proxy.credentials == {"Basic bWU6c2VjcmV0"}
    assert "secret" not in errors


def test_no_proxy_is_used_where_the_environment_says_so(
    hub: FakeHub, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    output, errors = start_child(REPO).communicate(timeout=DEADLINE)

    assert Path(output.split()[0]).read_bytes() == hub.repos[REPO].files[FILE], errors
    assert proxy.asked == []


def test_a_proxy_is_asked_for_a_tunnel_to_what_is_encrypted(
    hub: FakeHub, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    hub.has_storage, hub.storage_url = True, "https://storage.invalid"  # from the Hub without, from the storage with it
    _, errors = start_child(REPO, "impatient").communicate(timeout=DEADLINE)
    assert proxy.asked == ["CONNECT storage.invalid:443"]
    assert "The proxy does not let this through" in errors

    proxy.asked.clear()
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid")
    _, errors = start_child(REPO, "impatient").communicate(timeout=DEADLINE)
    assert proxy.asked == ["CONNECT hub.invalid:443"]
    assert "403 Forbidden. Check HTTPS_PROXY" in errors


@pytest.mark.parametrize("address", ["socks5://127.0.0.1:9", "ftp://127.0.0.1:9", "nonsense://"])
def test_a_proxy_that_cannot_be_used_is_said(
    hub: FakeHub, proxy: Proxy, patience: Patience, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    with pytest.raises(HubError, match="proxy that this environment names"):
        pulled(patience)
    assert hub.seen == []


def stop_after_first_bytes() -> int:
    """A pull that its user stops when the first bytes are here; gives how many those are."""
    cancel = threading.Event()
    events = download.pull(REPO, cancel=cancel)
    while not isinstance(next(events), Downloading):
        pass
    cancel.set()
    with pytest.raises(DownloadStopped):
        next(events)
    return partials()[0].stat().st_size


def wait_until(condition) -> None:
    """Wait for something that happens in another process."""
    deadline = threading.Event()
    for _ in range(DEADLINE * 100):
        if condition():
            return
        deadline.wait(0.01)
    raise AssertionError("it did not happen in time")


@pytest.mark.parametrize("address", ["ftp://hub", "nonsense"])
def test_an_address_that_is_none_is_named_at_once(
    hub: FakeHub, patience: Patience, waits: list[float], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(HubError, match=f"“{address}” is no address of a Hub. Mend HF_ENDPOINT"):
        pulled(patience)
    assert not waits
