"""Promises of the worker's parts that need no model: threads, memory, slices, frames, names."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chatterm import errors
from chatterm.conversation import Role
from chatterm.engine import wire
from chatterm.engine.base import Prompt, PromptTurn
from chatterm.engine.worker import identity, layout, memory
from chatterm.engine.worker.compose import _first_kept
from chatterm.engine.worker.context import Context, Slices, StopFlag
from chatterm.engine.worker.library import Library, open_library
from chatterm.engine.worker.memory import ContextCost
from chatterm.engine.worker.threads import PromptThreads, Tuner, _container_cores
from chatterm.engine.worker.window import WindowMaker
from chatterm.events import Token
from chatterm.settings import LoadOptions, Sampling
from chatterm.text import amount


def test_which_turns_stay_follows_from_the_conversation_alone() -> None:
    sizes = [[10, 10]] * 20
    starts = [_first_kept(5, [*sizes[:n], [10]], 100, 50) for n in range(20)]
    assert starts[:5] == [0] * 5
    assert starts == sorted(starts)
    assert len(set(starts)) < 9, "it is cut in steps of several exchanges"
    assert all(5 + 20 * (n - start) + 10 <= 100 for n, start in enumerate(starts))


def test_slices_follow_the_speed_only_where_they_cannot_be_interrupted() -> None:
    on_cpu = Slices(512, 1_000_000_000, can_abort=True)
    on_cpu.took(32, 100.0)
    assert on_cpu.size == Slices(512, 1_000_000_000, can_abort=True).size
    on_gpu = Slices(512, 1_000_000_000, can_abort=False)
    for _ in range(10):
        on_gpu.took(on_gpu.size, on_gpu.size / 10_000)
    assert on_gpu.size == 512
    on_gpu.took(512, 5.12)
    assert on_gpu.size == 16


def run(tuner: Tuner, n_tokens: int, seconds: Callable[[int], float]) -> list[bool]:
    """Tokens that take as long as a function of the number of threads says."""
    return [tuner.took(seconds(tuner.n_threads)) for _ in range(n_tokens)]


def test_all_cores_are_taken_where_they_are_quicker() -> None:
    tuner = Tuner(4)
    assert tuner.n_threads == 3, "the careful choice comes first"
    changes = run(tuner, 30, lambda n: 1 / n)
    assert tuner.n_threads == 4
    assert changes.count(True) == 1
    assert tuner.seconds == 0.25


def test_one_core_is_left_free_on_a_busy_machine_and_little_is_lost_to_find_out() -> None:
    tuner = Tuner(4)
    slow_tokens = 0

    def seconds(n: int) -> float:
        nonlocal slow_tokens
        slow_tokens += n == 4
        return 1.0 if n == 4 else 0.1

    assert not any(run(tuner, 100, seconds))
    assert tuner.n_threads == 3
    assert slow_tokens < 8


def test_threads_are_measured_again_when_the_rate_falls() -> None:
    tuner = Tuner(4)
    run(tuner, 60, lambda n: 1 / n)
    assert tuner.n_threads == 4
    run(tuner, 100, lambda n: 2.0 if n == 4 else 0.5)
    assert tuner.n_threads == 3
    run(tuner, 100, lambda n: 1.0 if n == 4 else 2.0)
    assert tuner.n_threads == 4


def test_a_machine_that_becomes_busy_costs_few_slow_tokens() -> None:
    tuner = Tuner(2)
    run(tuner, 400, lambda n: 0.036 / n)
    assert tuner.n_threads == 2
    n_slow = 0

    def seconds(n: int) -> float:
        nonlocal n_slow
        n_slow += n == 2
        return 0.3 if n == 2 else 0.038

    run(tuner, 40, seconds)
    assert tuner.n_threads == 1
    assert n_slow < 8


def test_a_single_slow_token_changes_nothing() -> None:
    tuner = Tuner(4)
    run(tuner, 60, lambda n: 1 / n)
    times = iter([9.0, 9.0, *[0.25] * 40])
    assert not any(run(tuner, 40, lambda _: next(times)))
    assert tuner.n_threads == 4


def test_rare_long_stalls_count_as_much_as_they_cost() -> None:
    """Threads that wait for a busy core: most tokens are quick, some take a hundred times longer."""
    tuner = Tuner(2)
    run(tuner, 400, lambda n: 0.001 / n)
    assert tuner.n_threads == 2
    stalls = itertools.cycle([0.0005] * 9 + [0.05])
    run(tuner, 400, lambda n: next(stalls) if n == 2 else 0.001)
    assert tuner.n_threads == 1


def test_one_very_long_token_is_enough_to_give_up_a_number() -> None:
    tuner = Tuner(2)
    run(tuner, 60, lambda n: 0.001)
    assert tuner.n_threads == 2, "the other number is tried"
    assert not tuner.took(0.5)
    assert tuner.n_threads == 1


def read(threads: PromptThreads, n_slices: int, seconds: Callable[[int], float]) -> list[int]:
    """With how many threads each slice of a prompt was read, where a slice takes as long as a function says."""
    used = [threads.begin()]
    for _ in range(n_slices):
        threads.took(64, seconds(threads.n_threads))
        used.append(threads.n_threads)
    return used[:-1]


def test_a_prompt_on_a_machine_that_becomes_busy_costs_one_slow_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    threads = PromptThreads(Tuner(2))

    def idle(n: int) -> float:
        return 0.4 / n

    def busy(n: int) -> float:
        return 2.0 if n == 2 else 0.4

    assert read(threads, 6, idle) == [2, 1, 2, 2, 2, 2], "the first prompt tries both"
    assert read(threads, 3, idle) == [2, 2, 2]
    assert read(threads, 5, busy) == [2, 1, 1, 1, 1]


def test_a_prompt_is_read_with_the_number_that_was_asked_for() -> None:
    assert read(PromptThreads(Tuner(8, n_fixed=3)), 4, lambda n: 1.0) == [3] * 4
    assert read(PromptThreads(Tuner(1)), 4, lambda n: 1.0) == [1] * 4


@pytest.mark.parametrize("tuner", [Tuner(1), Tuner(8, n_fixed=5)])
def test_there_is_nothing_to_choose_with_one_core_or_a_number_that_was_asked_for(tuner: Tuner) -> None:
    n = tuner.n_threads
    assert not any(run(tuner, 200, lambda _: 1.0))
    assert not any(run(tuner, 200, lambda _: 9.0))
    assert tuner.n_threads == n in (1, 5)


def test_a_containers_quota_counts(tmp_path: Path) -> None:
    assert _container_cores(tmp_path) > 1000
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert _container_cores(tmp_path) == 2
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert _container_cores(tmp_path) > 1000


def test_the_cost_of_a_window_follows_from_two_small_ones() -> None:
    cost = ContextCost.between(512, 20e6, 1024, 30e6)
    assert cost.bytes_for(512) == pytest.approx(20e6)
    assert cost.bytes_for(8192) == pytest.approx(170e6)
    assert cost.largest(170e6) == pytest.approx(8192, abs=1)
    assert cost.largest(1e6) == 0


def test_buffers_are_read_from_what_llama_says() -> None:
    log = (
        "llama_context:        CPU  output buffer size =     0.50 MiB\n"
        "llama_kv_cache:        CPU KV buffer size =     2.50 MiB\n"
        "load_tensors:   CPU_Mapped model buffer size =     9.00 MiB\n"
        "sched_reserve:        CPU compute buffer size =     5.00 MiB\n"
    )
    assert memory.buffer_bytes(log) == 8 * 1024 * 1024


def test_weights_that_were_laid_out_anew_are_not_counted_as_mapped() -> None:
    log = (
        "load_tensors:   CPU_Mapped model buffer size =     9.00 MiB\n"
        "load_tensors:   CPU_Mapped model buffer size =     5.00 MiB\n"
        "load_tensors:   CPU_REPACK model buffer size =     6.00 MiB\n"
    )
    assert memory.mapped_bytes(log) == 8 * 1024 * 1024
    assert memory.mapped_bytes(log + log[-60:]) == 2 * 1024 * 1024
    assert memory.mapped_bytes("") == 0


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (9_100_000_000, "9.1 GB"),
        (4_920_000_000, "4.9 GB"),
        (639_000_000, "639 MB"),
        (12_000_000, "12 MB"),
        (1_100_000, "1.1 MB"),
        (12, "12 bytes"),
    ],
)
def test_sizes_in_words(size: int, words: str) -> None:
    assert amount(size) == words


def test_a_stop_counts_for_its_own_question_alone() -> None:
    flag = StopFlag()
    flag.begin(1)
    flag.stop(1)
    assert flag.is_set
    flag.begin(2)
    assert not flag.is_set
    flag.stop(1)
    assert not flag.is_set, "it came too late"
    flag.stop(3)
    assert not flag.is_set
    flag.begin(3)
    assert flag.is_set, "it came before the question was taken up"


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_frames_survive_any_cut(size: int) -> None:
    prompt = Prompt((PromptTurn("user", "h\u00e9llo", 3),), template_variables={"enable_thinking": False, "n": 2})  # type: ignore[arg-type]
    questions = [
        wire.Question(1, wire.LoadModel(b"/m\xff.gguf", LoadOptions(n_ctx=77))),
        wire.Question(2, wire.WriteReply(prompt, Sampling(stop=("x",)))),
        wire.Question(2, wire.Stop()),
    ]
    data = b"".join(map(wire.frame, questions))
    reader = wire.QuestionReader()
    assert [q for i in range(0, len(data), size) for q in reader.feed(data[i : i + size])] == questions


def test_answers_and_errors_cross_the_pipe_as_they_are() -> None:
    failure = wire.Failure.of(errors.OutOfMemory("Needs 9 GB.", "Try less."))
    answers = [wire.Answer(7, Token("a", 5, True)), wire.Answer(7, failure), wire.Answer(7, wire.Done())]
    got = wire.AnswerReader().feed(b"".join(map(wire.frame, answers)))
    assert got == answers
    assert isinstance(got[1].event, wire.Failure)
    error = got[1].event.error()
    assert type(error) is errors.OutOfMemory
    assert str(error) == "Needs 9 GB. Try less."


def test_texts_that_are_no_utf8_cross_the_pipe_with_the_bad_bytes_replaced() -> None:
    prompt = Prompt((PromptTurn(Role.USER, "a\udcffb"),), template_variables={"x": "\ud800"})
    got = wire.QuestionReader().feed(wire.frame(wire.Question(1, wire.WriteReply(prompt, Sampling()))))
    assert isinstance(got[0].ask, wire.WriteReply)
    assert got[0].ask.prompt.turns[0].text == "a?b"
    failure = wire.Failure("ModelUnreadable", "\udcff.gguf is damaged.")
    assert wire.AnswerReader().feed(wire.frame(wire.Answer(1, failure)))[0].event == wire.Failure(
        "ModelUnreadable", "?.gguf is damaged."
    )


def test_a_token_takes_few_bytes() -> None:
    assert len(wire.frame(wire.Answer(7, Token(" hello", 12345)))) < 80


def test_a_library_with_another_layout_is_found_out() -> None:
    import ctypes

    import llama_cpp.llama_cpp as llama

    class Moved(ctypes.Structure):
        _fields_ = [("extra", ctypes.c_int32), *llama.llama_batch._fields_]

    names = {name: getattr(llama, name) for name in (*layout.LAYOUTS, *layout.DEFAULTS)}
    assert list(layout.mismatches(SimpleNamespace(**names))) == []
    found = list(layout.mismatches(SimpleNamespace(**names | {"llama_batch": Moved})))
    assert any("llama_batch.n_tokens is at 4 instead of 0" in line for line in found)
    other = llama.llama_context_default_params()
    other.n_ctx = 7
    found = list(layout.mismatches(SimpleNamespace(**names | {"llama_context_default_params": lambda: other})))
    assert found == ["llama_context_default_params gives n_ctx = 7 instead of 512"]


@pytest.mark.parametrize(
    ("system", "expected"), [(b"AVX2 = 1 | AMX_INT8 = 1 |", False), (b"AVX2 = 1 | REPACK = 1", True)]
)
def test_weights_are_not_laid_out_for_amx_on_which_llama_cpp_crashes(system: bytes, expected: bool) -> None:
    silent = SimpleNamespace(
        llama_log_callback=lambda write: write,
        llama_log_set=lambda *_: None,
        llama_backend_init=lambda: None,
        llama_print_system_info=lambda: system,
    )
    assert Library(silent, "0").can_repack is expected


@pytest.mark.parametrize(
    ("file_type", "name", "expected"),
    [
        ("15", "x.gguf", "Q4_K_M"),
        ("0", "x.gguf", "F32"),
        ("", "tiny-Q8_0.gguf", "Q8_0"),
        ("1024", "big.iq2_xs-00001-of-00002.gguf", "IQ2_XS"),
        ("", "x.gguf", ""),
    ],
)
def test_quantizations_have_their_usual_names(file_type: str, name: str, expected: str) -> None:
    assert identity.quantization(file_type, Path(name)) == expected


def test_a_model_without_a_name_is_called_as_its_file() -> None:
    assert identity.name(" ", Path("/m/big-Q4_0-00001-of-00003.gguf")) == "big-Q4_0"
    assert identity.name("Given", Path("/m/x.gguf")) == "Given"


def test_parts_of_a_model_are_counted_together(tmp_path: Path) -> None:
    for i in (1, 2):
        (tmp_path / f"m-0000{i}-of-00002.gguf").write_bytes(b"x" * 10 * i)
    (tmp_path / "m-00001-of-00009.gguf").write_bytes(b"x" * 500)
    assert identity.file_bytes(tmp_path / "m-00001-of-00002.gguf") == 30


def test_the_quick_hash_sees_both_ends_and_the_size(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    seen = set()
    for content in (b"a" * 3_000_000, b"b" + b"a" * 2_999_999, b"a" * 2_999_999 + b"b", b"a" * 3_000_001):
        path.write_bytes(content)
        seen.add(identity.file_hash(path))
    assert len(seen) == 4


@pytest.mark.parametrize(("n_parameters", "size"), [(10**6, 512), (600_000_000, 64), (8 * 10**9, 64)])
def test_slices_are_whole_tiles(n_parameters: int, size: int) -> None:
    assert Slices(512, n_parameters, can_abort=True).size == size
    assert Slices(7, n_parameters, can_abort=True).size == 7


class SlidingCache:
    """llama.cpp's memory of a model whose window has left only the last cells."""

    ggml_abort_callback = StopFlag  # never called

    def __init__(self, oldest: int) -> None:
        self.oldest = oldest
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: object) -> Any:
            self.calls.append(name.removeprefix("llama_memory_"))
            return {"llama_n_ctx": 4096, "llama_memory_seq_pos_min": self.oldest}.get(name, True)

        return call

    def llama_batch_init(self, n: int, *_: int) -> Any:
        return SimpleNamespace(n_seq_id=[0] * n, seq_id=[[0] for _ in range(n)])


@pytest.mark.parametrize(("oldest", "n_kept"), [(0, 500), (430, 500), (437, 0), (900, 0)])
def test_a_window_that_has_moved_on_is_read_again(oldest: int, n_kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StopFlag, "watch", lambda *_: None)
    cache = SlidingCache(oldest)
    context = Context(cache, None, StopFlag(), 8, n_swa=64)
    context.tokens = list(range(1000))
    assert context.reuse([*range(500), -1, -2]) == n_kept
    assert context.tokens == list(range(n_kept))
    assert ("seq_rm" in cache.calls) == bool(n_kept)
    assert ("clear" in cache.calls) == (not n_kept)


@pytest.mark.parametrize(
    ("asked", "free", "mapped", "expected"),
    [
        (0, 100e6, 0, 8192),
        (0, 50e6, 0, 4864),
        (0, 50e6, 45e6, 2048),
        (0, 12e6, 0, 768),
        (0, 4e6, 0, None),
        (4096, 50e6, 0, 4096),
        (4096, 50e6, 30e6, 4096),
        (8192, 50e6, 0, None),
    ],
)
def test_a_window_is_as_large_as_memory_allows(asked: int, free: float, mapped: float, expected: int | None) -> None:
    notes: list[str] = []
    maker = WindowMaker(None, None, LoadOptions(n_ctx=asked), StopFlag(), notes)  # type: ignore[arg-type]
    maker._cost = lambda: ContextCost(2e6, 9_800)  # type: ignore[method-assign]
    if expected is None:
        with pytest.raises(errors.OutOfMemory, match=r"needs .* are free"):
            maker._affordable(asked or 8192, free, mapped)
        return
    assert maker._affordable(asked or 8192, free, mapped) == expected
    assert bool(notes) == (expected * 9_800 + 2e6 > free - mapped)


def test_another_version_of_the_library_is_refused_with_the_command_that_mends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import llama_cpp

    monkeypatch.setattr(llama_cpp, "__version__", "0.3.99")
    with pytest.raises(errors.LibraryMissing, match=r"is 0\.3\.99.*pip install .*llama-cpp-python==0\.3\.36"):
        open_library()


def test_the_version_that_was_checked_is_the_one_that_is_installed() -> None:
    from importlib.metadata import requires

    pinned = [line for line in requires("chatterm") or [] if line.startswith("llama-cpp-python")]
    assert pinned == [f"llama-cpp-python=={layout.VERSION}"]
