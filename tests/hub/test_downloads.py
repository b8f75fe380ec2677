"""The queue of downloads outlives what happens to the program, and all chatterms share it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.fake_hub import PIECE, FakeHub, sha256
from support.small_disk import mounted

from chatterm import paths
from chatterm.downloads import Download, Downloads, DownloadState
from chatterm.errors import RepoNotFound
from chatterm.hub import cache
from chatterm.hub.download import Patience
from chatterm.library import Library
from chatterm.settings import Settings

REPO, FILE = "lab/Tiny-GGUF", "Tiny-Q4_K_M.gguf"
DEADLINE = 90
WAITING, RUNNING, PAUSED, FAILED, DONE = DownloadState

CHILD = """
import asyncio, sys
from chatterm.downloads import Downloads

async def main():
    queue = Downloads()
    await queue.start()
    for repo in sys.argv[1:]:
        queue.add(repo)
    async for every in queue.changes():
        if every and all(download.state in {"done", "failed"} for download in every):
            break
    await queue.close()
    print(*(download.state for download in every))

asyncio.run(main())
"""


@pytest.fixture
def patience() -> Patience:
    """Gives up as late as the real one, without waiting."""
    return Patience(wait=lambda _: None)


@asynccontextmanager
async def started(**options: Any) -> AsyncIterator[Downloads]:
    """A queue, as a chatterm that is open has one."""
    queue = Downloads(**options)
    await queue.start()
    try:
        yield queue
    finally:
        await queue.close()


async def until(queue: Downloads, condition: Callable[..., Any]) -> tuple[Download, ...]:
    """The first list of downloads that fulfils a condition."""
    async with asyncio.timeout(DEADLINE), aclosing(queue.changes()) as changes:
        async for shown in changes:
            if condition(*shown):
                return shown
    raise AssertionError


async def until_state(queue: Downloads, state: DownloadState) -> Download:
    """The only download, when it has come to a state."""
    (download,) = await until(queue, lambda *shown: len(shown) == 1 and shown[0].state is state)
    return download


async def until_true(condition: Callable[[], Any]) -> None:
    """Wait for what this process or another one does."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.01)


async def held(hub: FakeHub, n_bytes: int = 4 * PIECE) -> None:
    """Wait until the hub holds back the rest of a file, and all that it sent lies on the disk."""
    await until_true(hub.faults.reached.is_set)
    await until_true(lambda: sum(path.stat().st_size for path in partials()) >= n_bytes)


def content(n_bytes: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(n_bytes)


def partials() -> list[Path]:
    return list(cache.folder().glob("*/blobs/*.incomplete"))


def records() -> list[Path]:
    return list(paths.downloads_folder().glob("*.json"))


def hold(hub: FakeHub, n_bytes: int = 4 * PIECE) -> None:
    hub.faults.reached.clear()
    hub.faults.release.clear()
    hub.faults.hold_after = n_bytes


def let_go(hub: FakeHub) -> None:
    """Break the connection that is held, and ask to wait for long: only who is stopped does not do so."""
    hub.faults.refusals = [(f"/{repo}", 503, {"Retry-After": "110"}) for repo in hub.repos]
    hub.faults.before_piece = lambda _: False
    hub.faults.release.set()


def take_up(hub: FakeHub) -> None:
    """Send all that is asked for again."""
    hub.faults.refusals, hub.faults.before_piece = [], None


def nobody_fetches() -> bool:
    """Whether no thread of this process fetches anything."""
    return not any(thread.name == "download" for thread in threading.enumerate())


async def until_paused(hub: FakeHub, n_paused: int = 1) -> int:
    """Wait until so many records say that they are paused, and let bytes come again; gives the bytes that are kept."""
    let_go(hub)
    await until_true(lambda: sum('"paused"' in path.read_text() for path in records()) == n_paused)
    take_up(hub)
    return sum(path.stat().st_size for path in partials())


def start_child(*repos: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *repos], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


async def finished(child: subprocess.Popen[str]) -> str:
    """What a child printed, when it has ended well."""
    output, errors = await asyncio.to_thread(child.communicate, timeout=DEADLINE)
    assert child.returncode == 0, errors
    assert not errors
    return output.strip()


async def test_what_is_added_is_fetched(hub: FakeHub) -> None:
    async with started() as queue:
        added = queue.add(REPO)
        assert (added.state, added.repo, added.name) == (WAITING, REPO, REPO)
        assert queue.all == (added,)

        done = await until_state(queue, DONE)

    assert (done.id, done.n_done, done.n_total, done.files) == (added.id, 1_000_000, 1_000_000, (FILE,))
    assert done.name == "Tiny-Q4_K_M"
    assert Path(done.path).read_bytes() == hub.repos[REPO].files[FILE]
    assert Library(Settings(), None).find(REPO) == Path(done.path)


async def test_other_things_go_on_while_it_is_fetched(hub: FakeHub) -> None:
    hub.faults.hangs = True  # the Hub does not even answer
    async with started() as queue:
        queue.add(REPO)
        await until_true(lambda: hub.seen)
        for _ in range(100):
            await asyncio.sleep(0)
        assert queue.all[0].note == "Asking the Hub."


async def test_changes_tell_how_far_it_is(hub: FakeHub) -> None:
    hold(hub)
    async with started() as queue:
        queue.add(REPO)
        (download,) = await until(queue, lambda *shown: shown and shown[0].n_done)
        assert (download.state, download.n_total, download.note) == (RUNNING, 1_000_000, "")
        hub.faults.release.set()
        await until_state(queue, DONE)


async def test_changes_come_no_more_than_ten_times_a_second(hub: FakeHub) -> None:
    async with started() as queue:
        key = queue.add("lab/None").id
        queue.pause(key)
        n_changes, began = 0, time.monotonic()
        async with asyncio.timeout(DEADLINE), aclosing(queue.changes()) as changes:
            async for (download,) in changes:
                n_changes += 1
                (queue.pause if download.state is WAITING else queue.resume)(key)  # so there is always something new
                if n_changes == 12:
                    break
    assert time.monotonic() - began >= (n_changes - 1) * 0.1


async def test_adding_the_same_again_is_the_same_download(hub: FakeHub) -> None:
    async with started() as queue:
        first = queue.add(REPO, "Q4_K_M")
        for again in (
            queue.add(f"{REPO}:q4_k_m"),
            queue.add(REPO, "q4_k_m", "main"),
            queue.add(f"https://huggingface.co/{REPO}:Q4_K_M"),
        ):
            assert again.id == first.id
        assert queue.add(REPO, FILE).id != first.id
        shown = await until(queue, lambda *shown: all(download.state is DONE for download in shown))

    assert len(shown) == 2
    assert shown[0].path == shown[1].path
    assert hub.n_sent == 1_000_000


async def test_what_names_no_repository_is_refused_at_once() -> None:
    async with started() as queue:
        with pytest.raises(RepoNotFound):
            queue.add("../../etc")
        assert queue.all == ()


async def test_adding_what_is_done_looks_whether_it_is_still_so(hub: FakeHub) -> None:
    async with started() as queue:
        queue.add(REPO)
        done = await until_state(queue, DONE)
        cache.remove(REPO, [FILE])

        assert queue.add(REPO).state is WAITING
        await until_true(lambda: Path(done.path).exists())
        await until_state(queue, DONE)

    assert hub.n_sent == 2_000_000


async def test_one_is_fetched_after_the_other_in_the_order_of_their_turn(hub: FakeHub) -> None:
    for n in range(3):
        hub.add(f"lab/M{n}", "m.gguf", content(300_000, n))
    hold(hub, PIECE)
    async with started() as queue:
        for n in range(3):
            queue.add(f"lab/M{n}")
        await held(hub, PIECE)
        shown = await until(queue, lambda *shown: shown[0].n_done)
        assert [download.state for download in shown] == [RUNNING, WAITING, WAITING]
        hub.faults.release.set()
        shown = await until(queue, lambda *shown: all(download.state is DONE for download in shown))

    assert [download.repo for download in shown] == [f"lab/M{n}" for n in range(3)]
    assert [seen.path.split("/")[2] for seen in hub.bodies()] == ["M0", "M1", "M2"]


async def test_pausing_keeps_what_came_and_resuming_goes_on(hub: FakeHub) -> None:
    hold(hub)
    async with started() as queue:
        key = queue.add(REPO).id
        await held(hub)
        queue.pause(key)
        assert queue.all[0].state is PAUSED  # at once
        n_kept = await until_paused(hub)
        assert n_kept >= 4 * PIECE

        queue.resume(key)
        done = await until_state(queue, DONE)

    assert Path(done.path).read_bytes() == hub.repos[REPO].files[FILE]
    assert hub.bodies()[-1].range == f"bytes={n_kept}-"


async def test_pausing_and_resuming_in_one_breath_goes_on(hub: FakeHub) -> None:
    hold(hub)
    async with started() as queue:
        key = queue.add(REPO).id
        await held(hub)
        queue.pause(key)
        queue.resume(key)
        hub.faults.release.set()
        await until_state(queue, DONE)


async def test_what_waits_can_be_paused_and_stays_so_after_a_restart(hub: FakeHub) -> None:
    hold(hub)
    async with started() as queue:
        queue.add(REPO)
        await held(hub)
        second = queue.add("lab/Later").id
        queue.pause(second)
        assert [download.state for download in queue.all] == [RUNNING, PAUSED]
        queue.pause(queue.all[0].id)
        await until_paused(hub, 2)
        await until(queue, lambda *shown: [download.state for download in shown] == [PAUSED, PAUSED])
    n_asked = len(hub.seen)

    async with started() as queue:
        assert [download.state for download in queue.all] == [PAUSED, PAUSED]
        third = queue.add("lab/None").id
        await until(queue, lambda *shown: shown[-1].state is FAILED)  # its turn came, theirs did not
        assert [download.state for download in queue.all] == [PAUSED, PAUSED, FAILED]
        assert queue.all[-1].id == third

    assert not [seen for seen in hub.seen[n_asked:] if "None" not in seen.path]


async def test_cancelling_removes_what_came(hub: FakeHub) -> None:
    hold(hub)
    async with started() as queue:
        key = queue.add(REPO).id
        await held(hub)
        queue.cancel(key)
        assert queue.all == ()
        let_go(hub)
        await until_true(lambda: not partials() and not records())

    assert not cache.repo_folder(REPO).exists()
    assert not list(paths.downloads_folder().iterdir())


async def test_cancelling_what_is_paused_removes_what_came(hub: FakeHub) -> None:
    hold(hub)
    async with started() as queue:
        key = queue.add(REPO).id
        await held(hub)
        queue.pause(key)
        await until_paused(hub)
    async with started() as queue:
        queue.cancel(key)
        await until_true(lambda: not partials() and not records())
        assert queue.all == ()


async def test_cancelling_leaves_what_another_download_wants(hub: FakeHub) -> None:
    hub.faults.before_body = lambda: hold(hub)
    async with started() as queue:
        keys = [queue.add(REPO).id, queue.add(REPO, FILE).id]
        for n, key in enumerate(keys):
            await until_true(lambda n=n: len(hub.bodies()) == n + 1 and hub.faults.reached.is_set())
            await until(queue, lambda *shown, n=n: shown[n].files)
            queue.pause(key)
            n_kept = await until_paused(hub, n + 1)

        queue.cancel(keys[0])
        await until_true(lambda: len(records()) == 1)
        assert partials()[0].stat().st_size == n_kept
        hub.faults.before_body = None
        queue.resume(keys[1])
        await until_state(queue, DONE)

    assert hub.bodies()[-1].range == f"bytes={n_kept}-"


async def test_cancelling_one_file_lets_another_of_its_repository_end(hub: FakeHub) -> None:
    other = "Tiny-Q8_0.gguf"
    hub.add(REPO, other, content(1_000_000, 2))
    hub.faults.before_body = lambda: hold(hub)
    async with started() as queue:
        key = queue.add(REPO, FILE).id
        await held(hub)
        queue.pause(key)
        n_kept = await until_paused(hub)
        queue.add(REPO, other)
        await until_true(lambda: len(hub.bodies()) == 2)
        await held(hub, n_kept + 4 * PIECE)

        queue.cancel(key)
        await until_true(lambda: len(records()) == 1)
        assert len(list(cache.folder().glob("*/snapshots/*"))) == 1
        hub.faults.release.set()
        done = await until_state(queue, DONE)

    assert Path(done.path).read_bytes() == content(1_000_000, 2)


async def test_cancelling_a_split_model_removes_the_parts_that_it_brought(hub: FakeHub) -> None:
    names = [f"Big-Q4_K_M-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    for n, name in enumerate(names):
        hub.add("lab/Big-GGUF", name, content(500_000, n))
    blob = cache.Slot("lab/Big-GGUF", hub.repos["lab/Big-GGUF"].commits[-1], names[0], sha256(content(500_000, 0)))
    blob.make_folders()
    blob.blob.write_bytes(content(500_000, 0))
    blob.link()  # as if another tool had fetched this part
    n_bodies = 0

    def hold_the_second() -> None:
        nonlocal n_bodies
        n_bodies += 1
        if n_bodies == 2:
            hold(hub, PIECE)

    hub.faults.before_body = hold_the_second
    async with started() as queue:
        key = queue.add("lab/Big-GGUF").id
        await held(hub, PIECE)
        assert len(list(cache.folder().glob("*/snapshots/*/*.gguf"))) == 2
        queue.cancel(key)
        let_go(hub)
        await until_true(lambda: not records())

    assert [path.name for path in cache.folder().glob("*/snapshots/*/*.gguf")] == [names[0]]
    assert len(list(cache.folder().glob("*/blobs/*"))) == 1


async def test_cancelling_what_is_done_keeps_the_model(hub: FakeHub) -> None:
    async with started() as queue:
        key = queue.add(REPO).id
        done = await until_state(queue, DONE)
        queue.cancel(key)
        await until_true(lambda: not records())

    assert Path(done.path).exists()


async def test_only_what_has_ended_can_be_forgotten(hub: FakeHub) -> None:
    hold(hub)
    async with started() as queue:
        key = queue.add(REPO).id
        await held(hub)
        queue.forget(key)
        assert len(queue.all) == 1
        hub.faults.release.set()
        done = await until_state(queue, DONE)
        queue.forget(key)
        assert queue.all == ()
        await until_true(lambda: not records())

    assert Path(done.path).exists()


async def test_what_is_done_is_listed_for_a_day(hub: FakeHub) -> None:
    async with started() as queue:
        queue.add(REPO)
        await until_state(queue, DONE)
    async with started() as queue:
        assert [download.state for download in queue.all] == [DONE]
    (path,) = records()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"ended": time.time() - 25 * 3600}))
    async with started() as queue:
        assert queue.all == ()


async def test_quitting_keeps_what_came_and_the_next_start_goes_on(hub: FakeHub) -> None:
    hold(hub)
    async with started() as queue:
        queue.add(REPO)
        await held(hub)
        let_go(hub)
    await until_true(nobody_fetches)
    n_kept = partials()[0].stat().st_size
    take_up(hub)

    async with started() as queue:
        done = await until_state(queue, DONE)

    assert Path(done.path).read_bytes() == hub.repos[REPO].files[FILE]
    assert hub.bodies()[-1].range == f"bytes={n_kept}-"


async def test_quitting_in_a_silence_loses_nothing(hub: FakeHub) -> None:
    hold(hub)
    queue = Downloads()
    await queue.start()
    queue.add(REPO)
    await held(hub)
    await queue.close()  # the connection is silent: its thread is left behind
    hub.faults.release.set()

    async with started() as queue:
        done = await until_state(queue, DONE)

    assert Path(done.path).read_bytes() == hub.repos[REPO].files[FILE]


async def test_killed_at_ten_random_moments_it_is_whole_at_the_end(hub: FakeHub) -> None:
    """Between the kills the hub is never more than one piece ahead of the disk, so that what is lost is counted."""
    whole = content(32_000_000, 7)
    hub.add("lab/Large", "large.gguf", whole)
    hub.faults.n_piece = n_piece = 16_384
    places = sorted(random.Random(4).sample(range(len(whole)), 10))
    child: subprocess.Popen[str] | None = None

    def size() -> int:
        return sum(path.stat().st_size for path in partials())

    def kill_at_the_place(place: int) -> bool:
        if child is None:
            return True
        while size() < place - n_piece and child.poll() is None:
            time.sleep(0.0005)
        if place >= places[0] and child.poll() is None:
            os.kill(child.pid, signal.SIGKILL)
            return False
        return child.poll() is None

    hub.faults.before_piece = kill_at_the_place
    n_wanted = 0
    while places:
        child = start_child(*(["lab/Large"] if len(places) == 10 else []))
        await asyncio.to_thread(child.communicate, timeout=DEADLINE)
        assert child.returncode == -signal.SIGKILL
        places.pop(0)
        n_wanted += 1
    child = None
    async with started() as queue:
        done = await until_state(queue, DONE)

    assert n_wanted == 10
    assert sha256(Path(done.path).read_bytes()) == sha256(whole)
    assert len(hub.bodies()) == 11
    assert len(whole) <= hub.n_sent <= 1.01 * len(whole)


async def test_two_processes_with_one_queue_fetch_each_file_once(hub: FakeHub) -> None:
    for n in range(4):
        hub.add(f"lab/M{n}", "m.gguf", content(400_000, n))
    children = [start_child(*(f"lab/M{n}" for n in numbers)) for numbers in ((0, 1, 2, 3), (3, 2, 1, 0))]

    assert [await finished(child) for child in children] == ["done done done done"] * 2
    assert hub.n_sent == 4 * 400_000


async def test_what_another_chatterm_fetches_is_shown(hub: FakeHub) -> None:
    hold(hub, 9 * PIECE)
    child = start_child(REPO)
    await held(hub, 9 * PIECE)
    async with started() as queue:
        (download,) = await until(queue, lambda *shown: shown and shown[0].is_elsewhere)
        assert (download.state, download.n_total) == (RUNNING, 1_000_000)
        hub.faults.release.set()
        done = await until_state(queue, DONE)
        assert not done.is_elsewhere
    assert await finished(child) == "done"
    assert hub.n_sent == 1_000_000


async def test_what_another_chatterm_fetches_can_be_paused_and_resumed_here(hub: FakeHub) -> None:
    hold(hub)
    async with started() as theirs, started() as ours:
        key = theirs.add(REPO).id
        await held(hub)
        await until(ours, lambda *shown: shown and shown[0].is_elsewhere)
        ours.pause(key)
        assert ours.all[0].state is PAUSED
        await until_paused(hub)
        await until_state(theirs, PAUSED)
        await until(ours, lambda *shown: shown[0].state is PAUSED and not shown[0].is_elsewhere)
        ours.resume(key)
        await until_state(ours, DONE)
        await until_state(theirs, DONE)
    assert hub.n_sent == 1_000_000


async def test_what_another_chatterm_fetches_can_be_cancelled_here(hub: FakeHub) -> None:
    hold(hub)
    async with started() as theirs, started() as ours:
        key = theirs.add(REPO).id
        await held(hub)
        await until(ours, lambda *shown: shown and shown[0].is_elsewhere)
        ours.cancel(key)
        let_go(hub)
        await until(theirs, lambda *shown: not shown)
        await until(ours, lambda *shown: not shown)
        await until_true(lambda: not partials())


async def test_what_a_killed_chatterm_fetched_is_taken_over_by_one_that_is_open(hub: FakeHub) -> None:
    hold(hub)
    async with started() as queue:
        child = start_child(REPO)
        await held(hub)
        await until(queue, lambda *shown: shown and shown[0].is_elsewhere)
        child.kill()
        await asyncio.to_thread(child.communicate, timeout=DEADLINE)
        hub.faults.release.set()
        done = await until_state(queue, DONE)
    assert Path(done.path).read_bytes() == hub.repos[REPO].files[FILE]


async def test_a_licence_that_must_be_accepted_is_said_with_the_steps(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("lab/Gated", "g.gguf", b"gated", is_gated=True)
    async with started() as queue:
        key = queue.add("lab/Gated").id
        failed = await until_state(queue, FAILED)
        assert failed.problem_title == "A licence must be accepted"
        for step in (f"{hub.url}/lab/Gated", "accept", "settings/tokens", "HF_TOKEN", "hf auth login", "try again"):
            assert step in failed.problem

        monkeypatch.setenv("HF_TOKEN", "hf_good")
        queue.resume(key)
        assert (await until_state(queue, DONE)).problem == ""


async def test_what_only_somebody_can_mend_fails_and_lets_the_next_one_go(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("lab/Two", "a-Q8_0.gguf", b"1" * 2_000_000)
    hub.add("lab/Two", "a-Q5_K_M.gguf", b"2")
    async with started() as queue:
        for repo in ("lab/None", f"{REPO}:nope.gguf", "lab/Two", REPO):
            queue.add(repo)
        shown = await until(queue, lambda *shown: len(shown) == 4 and shown[-1].state is DONE)

    assert [download.state for download in shown] == [FAILED, FAILED, FAILED, DONE]
    assert "no repository lab/None" in shown[0].problem
    assert "no file" in shown[1].problem
    assert "a-Q5_K_M.gguf (1 bytes), a-Q8_0.gguf (2 MB)" in shown[2].problem


async def test_a_refused_token_is_said(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "nonsense")
    async with started() as queue:
        queue.add(REPO)
        failed = await until_state(queue, FAILED)
    assert failed.problem_title == "The token was refused"
    assert "settings/tokens" in failed.problem


async def test_a_wrong_hash_is_said_kept_apart_and_fetched_again_by_resuming(hub: FakeHub) -> None:
    hub.faults.flip_byte = 500_000
    async with started() as queue:
        key = queue.add(REPO).id
        failed = await until_state(queue, FAILED)
        (damaged,) = cache.folder().glob("*/blobs/*.damaged")
        assert failed.problem_title == "The download is damaged"
        assert str(damaged) in failed.problem

        hub.faults.flip_byte = None
        queue.resume(key)
        done = await until_state(queue, DONE)
    assert Path(done.path).read_bytes() == hub.repos[REPO].files[FILE]
    assert not damaged.exists()


async def test_a_file_that_changed_while_it_was_paused_is_fetched_anew(hub: FakeHub) -> None:
    hold(hub)
    async with started() as queue:
        key = queue.add(REPO).id
        await held(hub)
        queue.pause(key)
        await until_paused(hub)
        hub.add(REPO, FILE, new := content(900_000, 9))
        queue.resume(key)
        done = await until_state(queue, DONE)

    assert Path(done.path).read_bytes() == new
    assert not partials()  # what came of the old one is of no use


async def test_without_network_it_is_tried_again_by_itself(
    hub: FakeHub, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    async with started(patience=patience, first_retry_seconds=0.1) as queue:
        queue.add(REPO)
        (waiting,) = await until(queue, lambda *shown: shown and shown[0].problem)
        assert waiting.state is WAITING
        assert "cannot be reached" in waiting.problem
        assert waiting.note.startswith("The Hub cannot be reached. Trying again at ")
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        done = await until_state(queue, DONE)
    assert (done.problem, done.note) == ("", "")


async def test_the_waits_grow_and_resuming_ends_them(
    hub: FakeHub, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    async with started(patience=patience, first_retry_seconds=0.01) as queue:
        key = queue.add(REPO).id
        await until_true(lambda: records() and json.loads(records()[0].read_text()).get("n_failed", 0) >= 5)
    record = json.loads(records()[0].read_text())
    assert record["retry"] - record["tried"] >= 0.01 * 2**4
    assert hub.seen == []

    async with started(patience=patience, first_retry_seconds=60) as queue:
        await until_true(lambda: json.loads(records()[0].read_text())["retry"] > time.time() + 30)
        monkeypatch.delenv("HF_HUB_OFFLINE")
        queue.resume(key)
        await until_state(queue, DONE)


async def test_a_start_does_not_wait_for_what_an_earlier_run_waited_for(
    hub: FakeHub, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    async with started(patience=patience, first_retry_seconds=100) as queue:
        queue.add(REPO)
        await until(queue, lambda *shown: shown and shown[0].problem)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    async with started() as queue:
        await until_state(queue, DONE)


async def test_one_that_waits_for_the_network_does_not_hold_up_the_next(hub: FakeHub, patience: Patience) -> None:
    hub.faults.refuses_always = {"/api/models/lab/Busy": 503}
    async with started(patience=patience, first_retry_seconds=100) as queue:
        queue.add("lab/Busy")
        queue.add(REPO)
        shown = await until(queue, lambda *shown: len(shown) == 2 and shown[1].state is DONE)
    assert (shown[0].state, shown[0].problem_title) == (WAITING, "The Hub is busy")


async def test_a_hub_that_asks_to_wait_for_long_is_obeyed(hub: FakeHub, patience: Patience) -> None:
    hub.faults.refusals = [("/api/", 429, {"Retry-After": "900"})]
    async with started(patience=patience, first_retry_seconds=0.01) as queue:
        queue.add(REPO)
        (waiting,) = await until(queue, lambda *shown: shown and shown[0].problem)
        assert "asked too often" in waiting.problem
        record = json.loads(records()[0].read_text())
        assert record["retry"] - record["tried"] == pytest.approx(900)


async def test_a_cache_whose_name_is_no_utf_8_can_be_used(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "caf\udce9"))
    async with started() as queue:
        queue.add(REPO)
        await until_state(queue, DONE)
    ((_, _, path),) = cache.models()
    assert path.read_bytes() == hub.repos[REPO].files[FILE]


async def test_a_short_wait_is_said_while_it_lasts(hub: FakeHub) -> None:
    hub.faults.refusals = [("/api/", 429, {"Retry-After": "30"})]
    async with started() as queue:
        key = queue.add(REPO).id
        (download,) = await until(queue, lambda *shown: shown and "Trying" in shown[0].note)
        assert download.state is RUNNING
        assert download.note == "The Hub answers that it was asked too often. Trying again in 30 s."
        queue.pause(key)  # does not wait for the rest of it
        await until_true(lambda: '"paused"' in records()[0].read_text())


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b'{"version": 1}',
        b'{"version": 1, "added": 0, "download": {"id": "x", "repo": "a/b"}}',
        b'{"version": 1, "added": 0, "download": {"id": "ID", "repo": "../../etc"}}',
        b'{"version": 1, "added": 0, "download": {"id": "ID", "repo": "a/b", "state": "flying"}}',
        b"\xff\xfe",
        b"x" * 2_000_000,
    ],
)
async def test_a_damaged_record_is_set_aside_and_said(hub: FakeHub, damage: bytes) -> None:
    folder = paths.ensure(paths.downloads_folder())
    name = "0123456789abcdef0123"
    (folder / f"{name}.json").write_bytes(damage.replace(b"ID", name.encode()))
    async with started() as queue:
        assert queue.all == ()
        (complaint,) = queue.complaints
        assert f"{name}.json is damaged" in complaint
        queue.add(REPO)
        await until_state(queue, DONE)
        assert len(queue.complaints) == 1
    assert (folder / f"{name}.damaged").read_bytes() == damage.replace(b"ID", name.encode())


async def test_what_is_not_ours_in_the_folder_is_left_alone(hub: FakeHub) -> None:
    folder = paths.ensure(paths.downloads_folder())
    newer = b'{"version": 2, "wings": 4}'
    (folder / "0123456789abcdef0123.json").write_bytes(newer)
    (folder / "notes.json").write_text("mine")
    os.mkfifo(folder / "00000000000000000000.json")
    async with started() as queue:
        queue.add(REPO)
        await until_state(queue, DONE)
        assert any("newer chatterm" in complaint for complaint in queue.complaints)
    assert (folder / "0123456789abcdef0123.json").read_bytes() == newer
    assert (folder / "notes.json").read_text() == "mine"


async def test_a_record_cannot_lead_out_of_the_cache(hub: FakeHub, tmp_path: Path) -> None:
    hold(hub)
    async with started() as queue:
        key = queue.add(REPO).id
        await held(hub)
        queue.pause(key)
        await until_paused(hub)
    treasure = tmp_path / "treasure"
    treasure.write_text("gold")
    (path,) = records()
    record = json.loads(path.read_text())
    way = os.path.relpath(treasure, cache.repo_folder(REPO) / "snapshots" / record["commit"])
    record |= {"fetched": [[record["commit"], way]], "blobs": [os.path.relpath(treasure, cache.repo_folder(REPO))]}
    path.write_text(json.dumps(record))

    async with started() as queue:
        queue.cancel(key)
        await until_true(lambda: not records())
    assert treasure.read_text() == "gold"


async def test_a_disk_that_others_fill_meanwhile_fails_cleanly_and_resumes(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("lab/Large", "large.gguf", content(3_000_000))
    with mounted(tmp_path / "small", 4096) as disk:
        monkeypatch.setenv("HF_HOME", str(disk.folder))
        hold(hub, 10 * PIECE)
        async with started() as queue:
            key = queue.add("lab/Large").id
            await held(hub, 10 * PIECE)
            disk.fill()
            hub.faults.release.set()
            failed = await until_state(queue, FAILED)
            assert failed.problem_title == "Not enough disk space"
            assert "What arrived is kept" in failed.problem
            n_kept = partials()[0].stat().st_size
            assert n_kept >= 10 * PIECE

            disk.clear()
            queue.resume(key)
            done = await until_state(queue, DONE)
        assert sha256(Path(done.path).read_bytes()) == sha256(content(3_000_000))
        assert hub.bodies()[-1].range == f"bytes={n_kept}-"


async def test_a_disk_is_not_filled_to_the_brim_with_what_will_not_fit(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("lab/Large", "large.gguf", content(3_000_000))
    with mounted(tmp_path / "small", 4096) as disk:
        monkeypatch.setenv("HF_HOME", str(disk.folder))
        hold(hub, 10 * PIECE)
        async with started() as queue:
            queue.add("lab/Large")
            await held(hub, 10 * PIECE)
            (disk.folder / "of others").write_bytes(b"x" * 2_000_000)
            hub.faults.n_piece = PIECE // 4
            hub.faults.before_piece = lambda _: time.sleep(0.02) or True  # slow enough for somebody to notice
            hub.faults.release.set()
            failed = await until_state(queue, FAILED)
        assert "more, " in failed.problem
        assert shutil.disk_usage(disk.folder).free > 500_000


async def test_too_little_space_is_said_before_anything_is_fetched(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mounted(tmp_path / "small", 512) as disk:
        monkeypatch.setenv("HF_HOME", str(disk.folder))
        async with started() as queue:
            queue.add(REPO)
            failed = await until_state(queue, FAILED)
        assert "Needs 1 MB" in failed.problem
        assert hub.n_sent == 0


async def test_a_list_that_cannot_be_saved_hinders_no_download(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mounted(tmp_path / "small", 64) as disk:
        monkeypatch.setenv("CHATTERM_DATA_HOME", str(disk.folder))
        disk.fill()
        hold(hub)
        async with started() as queue:
            key = queue.add(REPO).id
            await held(hub)
            assert "cannot be saved" in queue.complaints[0]
            queue.pause(key)
            let_go(hub)
            await until_true(nobody_fetches)
            assert queue.all[0].state is PAUSED
            take_up(hub)
            queue.resume(key)
            done = await until_state(queue, DONE)
            disk.clear()
            await until_true(records)
        assert Path(done.path).exists()
