"""Promises of the local engine when something goes wrong: a cause, a remedy, and it goes on."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest
from support.engines import ask, ask_until, first, load, signal_worker, user
from support.tiny_models import write_model

from chatterm import paths
from chatterm.engine.local import LocalEngine
from chatterm.errors import LibraryMissing, ModelNotFound, ModelUnreadable, OutOfMemory, WorkerDied
from chatterm.events import Finished, Loading, LoadStage, Prefilling, Token
from chatterm.settings import LoadOptions, Sampling

pytestmark = pytest.mark.asyncio(loop_scope="module")
LONG = "the cat and the dog " * 400
ENDLESS = Sampling(temperature=0)
OPTIONS = LoadOptions(n_ctx=4096, n_threads=1)


def is_prefilling(event: object) -> bool:
    return isinstance(event, Prefilling) and event.n_done > event.n_reused


def is_written(event: object) -> bool:
    return isinstance(event, Token) and bool(event.text)


async def works_again(engine: LocalEngine, path: Path) -> bool:
    """Whether a new worker loads and answers."""
    await load(engine, path)
    return bool((await ask(engine, "hello", Sampling(max_tokens=3))).ids)


async def test_killed_while_it_loads(own_engine: LocalEngine, slow: Path) -> None:
    events = own_engine.load(slow, OPTIONS)
    await first(events, lambda event: isinstance(event, Loading) and event.stage == LoadStage.READING)
    signal_worker(own_engine, signal.SIGKILL)
    with pytest.raises(WorkerDied, match=r"SIGKILL.*memory") as died:
        await first(events, lambda _: False)
    assert "smaller" in died.value.remedy
    assert own_engine.model is None
    assert own_engine.last_load == (slow, OPTIONS)
    assert await works_again(own_engine, slow)


@pytest.mark.parametrize(("stage", "condition"), [("reads", is_prefilling), ("writes", is_written)])
async def test_killed_while_it_is_busy(
    own_engine: LocalEngine, slow: Path, stage: str, condition: Callable[[object], bool]
) -> None:
    await load(own_engine, slow, n_ctx=4096)
    replying = own_engine.reply(user(LONG if stage == "reads" else "hello"), ENDLESS)
    await first(replying, condition)
    signal_worker(own_engine, signal.SIGKILL)
    with pytest.raises(WorkerDied, match="SIGKILL"):
        await first(replying, lambda _: False)
    assert own_engine.model is None
    with pytest.raises(ModelNotFound):
        await ask(own_engine, "hello")
    assert await works_again(own_engine, slow)


@pytest.mark.parametrize(
    ("number", "words"),
    [(signal.SIGSEGV, "crashed"), (signal.SIGBUS, "changed or cut"), (signal.SIGTERM, "Somebody ended")],
)
async def test_a_crash_is_named(own_engine: LocalEngine, rambler: Path, number: int, words: str) -> None:
    await load(own_engine, rambler)
    replying = own_engine.reply(user("go on"), ENDLESS)
    await first(replying, is_written)
    signal_worker(own_engine, number)
    with pytest.raises(WorkerDied, match=words):
        await first(replying, lambda _: False)


async def test_an_abort_tells_the_assertion_that_failed(rambler: Path, own_folders: Path) -> None:
    code = "import os, sys; os.read(0, 1); os.write(2, b'ggml.c:7: GGML_ASSERT(n > 0) failed\\n'); os.abort()"
    engine = LocalEngine((sys.executable, "-c", code))
    with pytest.raises(WorkerDied, match=r"SIGABRT.*GGML_ASSERT\(n > 0\) failed"):
        await load(engine, rambler)
    assert "GGML_ASSERT" in paths.engine_log_file().read_text()
    await engine.close()


async def test_a_programming_error_in_the_worker_is_told(rambler: Path) -> None:
    engine = LocalEngine((sys.executable, "-c", "import os; os.read(0, 1); raise ValueError('boom')"))
    with pytest.raises(WorkerDied, match="exit code 1: ValueError: boom"):
        await engine.report()
    await engine.close()


async def test_a_death_in_idle_time_is_noticed(own_engine: LocalEngine, rambler: Path) -> None:
    await load(own_engine, rambler)
    signal_worker(own_engine, signal.SIGKILL)
    async with asyncio.timeout(20):
        while own_engine.model is not None:
            await asyncio.sleep(0.01)
    assert own_engine.pid is None
    with pytest.raises(WorkerDied, match="SIGKILL"):
        await ask(own_engine, "hello")
    assert await works_again(own_engine, rambler)
    await own_engine.unload()
    with pytest.raises(ModelNotFound):
        await ask(own_engine, "hello")


async def test_a_worker_that_does_not_stop_is_replaced_unnoticed(rambler: Path) -> None:
    engine = LocalEngine(patience_seconds=0.2)
    await load(engine, rambler)
    replying = engine.reply(user("go on"), ENDLESS)
    await first(replying, is_written)
    frozen = engine.pid
    signal_worker(engine, signal.SIGSTOP)
    await replying.aclose()
    assert engine.model is not None, "the model is the user's, and it comes back by itself"
    assert (await ask(engine, "hello", Sampling(max_tokens=3))).ids
    assert engine.pid != frozen
    await engine.close()


@pytest.mark.parametrize("stage", [LoadStage.READING, LoadStage.WEIGHTS, LoadStage.CONTEXT])
async def test_a_load_can_be_stopped_at_any_stage(own_engine: LocalEngine, slow: Path, stage: LoadStage) -> None:
    async with aclosing(own_engine.load(slow, OPTIONS)) as events:
        await first(events, lambda event: isinstance(event, Loading) and event.stage == stage)
    assert own_engine.model is None
    assert await works_again(own_engine, slow)


async def test_stopping_in_the_middle_of_the_prompt_keeps_the_worker_and_what_it_read(
    own_engine: LocalEngine, slow: Path
) -> None:
    await load(own_engine, slow, n_ctx=4096)
    pid = own_engine.pid
    stopped = await ask_until(own_engine, user(LONG), ENDLESS, is_prefilling)
    n_read = stopped.prefilling[-1].n_done
    assert n_read < stopped.prompted.n_prompt
    again = await ask(own_engine, user(LONG), Sampling(temperature=0, max_tokens=4))
    assert own_engine.pid == pid
    assert again.prompted.n_reused >= n_read
    await load(own_engine, slow, n_ctx=4096)
    fresh = await ask(own_engine, user(LONG), Sampling(temperature=0, max_tokens=4))
    assert fresh.prompted.n_reused == 0
    assert fresh.ids == again.ids


async def test_stopping_while_it_writes_keeps_the_worker(own_engine: LocalEngine, rambler: Path) -> None:
    await load(own_engine, rambler)
    pid = own_engine.pid
    for _ in range(3):
        await ask_until(own_engine, user("go on"), ENDLESS, is_written)
    assert own_engine.pid == pid
    assert (await ask(own_engine, "hello", Sampling(max_tokens=3))).ids


async def test_a_cancelled_task_stops_its_reply(own_engine: LocalEngine, rambler: Path) -> None:
    await load(own_engine, rambler)
    begun = asyncio.Event()

    async def reply() -> None:
        async with aclosing(own_engine.reply(user("go on"), ENDLESS)) as events:
            async for event in events:
                if is_written(event):
                    begun.set()

    task = asyncio.create_task(reply())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await ask(own_engine, "hello", Sampling(max_tokens=3))).finished.n_generated == 3


async def test_closing_the_engine_ends_a_reply_that_is_running(own_engine: LocalEngine, rambler: Path) -> None:
    await load(own_engine, rambler)
    replying = own_engine.reply(user("go on"), ENDLESS)
    await first(replying, is_written)
    await own_engine.close()
    with pytest.raises(WorkerDied):
        await first(replying, lambda event: isinstance(event, Finished))


async def test_the_worker_ends_when_its_parent_is_killed(slow: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from support.engines import load, user\n"
        "from chatterm.engine.local import LocalEngine\n"
        "from chatterm.events import Prefilling\n"
        "from chatterm.settings import Sampling\n"
        "async def main():\n"
        "    engine = LocalEngine()\n"
        "    await load(engine, Path(sys.argv[1]), n_ctx=4096)\n"
        f"    async for event in engine.reply(user({LONG!r}), Sampling()):\n"
        "        if isinstance(event, Prefilling) and event.n_done == 0:\n"
        "            print(engine.pid, flush=True)\n"
        "asyncio.run(main())\n"
    )
    tests = Path(__file__).parents[1]
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, slow, stdout=subprocess.PIPE, cwd=tests.parent, env=_with_path(tests)
    )
    assert parent.stdout is not None
    worker = psutil.Process(int(await parent.stdout.readline()))
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(20):
        while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.01)


def _with_path(tests: Path) -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(tests)}


def damaged(kind: str, good: Path, path: Path) -> None:
    """Write a file that is not a model."""
    content = good.read_bytes()
    match kind:
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("<!DOCTYPE html><html>not found</html>")
        case "pointer":
            path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n")
        case "half":
            path.write_bytes(content[: len(content) // 2])
        case "nearly whole":
            path.write_bytes(content[:-64])
        case "header":
            path.write_bytes(content[:100])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("empty", "not a GGUF.*empty"),
        ("text", "not a GGUF"),
        ("pointer", "LFS pointer"),
        ("half", "fetch it again"),
        ("nearly whole", "not within the file bounds.*fetch it again"),
        ("header", "fetch it again"),
    ],
)
async def test_a_damaged_file_is_refused_with_the_reason(
    engine: LocalEngine, rambler: Path, tmp_path: Path, kind: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.gguf"
    damaged(kind, rambler, path)
    with pytest.raises(ModelUnreadable, match=words) as refused:
        await load(engine, path)
    assert refused.value.remedy
    assert await works_again(engine, rambler)
    assert capfd.readouterr() == ("", "")


async def test_a_file_that_cannot_be_a_model_does_not_cost_the_one_that_is_loaded(
    engine: LocalEngine, rambler: Path, tmp_path: Path
) -> None:
    await load(engine, rambler)
    with pytest.raises(ModelNotFound):
        await load(engine, tmp_path / "nowhere.gguf")
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(ModelUnreadable):
        await load(engine, tmp_path / "text.gguf")
    assert engine.model is not None
    assert (await ask(engine, "hello", Sampling(max_tokens=2))).ids


async def test_an_unknown_architecture_is_named(engine: LocalEngine, tmp_path: Path) -> None:
    with pytest.raises(ModelUnreadable, match=r"unknown model architecture: 'novel'.*does not know it yet"):
        await load(engine, write_model(tmp_path / "novel.gguf", "novel"))
    assert engine.model is None


async def test_a_context_that_does_not_fit_is_refused_before_it_is_tried(engine: LocalEngine, slow: Path) -> None:
    n_ctx = 2 * psutil.virtual_memory().total // 4096  # this model takes 4 kB a token
    pid = engine.pid
    with pytest.raises(OutOfMemory, match=r"needs [\d.]+ GB, [\d.]+ GB are free.*smaller context window") as refused:
        await load(engine, slow, n_ctx=min(n_ctx, 2**24))
    assert "tokens fit" in refused.value.remedy
    assert engine.pid == pid, "nothing was killed"
    assert await works_again(engine, slow)


async def test_without_the_library_the_command_that_mends_it_is_told(
    own_engine: LocalEngine, rambler: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(tmp_path))
    with pytest.raises(LibraryMissing, match=r"pip install --force-reinstall --no-cache-dir llama-cpp-python==0.3.36"):
        await load(own_engine, rambler)
    report = await own_engine.report()
    assert "pip install" in report.problems[0]
    assert report.devices == ()


async def test_nothing_that_llama_prints_reaches_the_terminal(
    own_engine: LocalEngine, rambler: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    await load(own_engine, rambler)
    await ask(own_engine, "hello", Sampling(max_tokens=3))
    assert capfd.readouterr() == ("", "")
    assert "llama_context" in paths.engine_log_file().read_text()


async def test_the_log_is_kept_small(own_engine: LocalEngine) -> None:
    log = paths.engine_log_file()
    paths.ensure(log.parent)
    log.write_bytes(b"x" * 1_100_000)
    await own_engine.report()
    assert log.stat().st_size < 100_000


async def test_a_log_that_cannot_be_written_costs_nothing_else(
    own_engine: LocalEngine, rambler: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CHATTERM_LOG_HOME", str(tmp_path / "file"))
    await load(own_engine, rambler)
    assert (await ask(own_engine, "hello", Sampling(max_tokens=2))).ids
