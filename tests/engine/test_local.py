"""Promises of the local engine, with real llama.cpp on small models."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from support import tiny_models
from support.engines import GREEDY, ask, first, load, loaded, resident_bytes, user
from support.tiny_models import ARCHITECTURES, write_chain, write_model

from chatterm.engine.base import Prompt
from chatterm.engine.local import LocalEngine
from chatterm.errors import ModelNotFound, ModelUnreadable
from chatterm.events import Finished, FinishReason, Loaded, Loading, LoadStage, Prefilling, Prompted, Token, Tuned
from chatterm.settings import LoadOptions, Sampling

pytestmark = pytest.mark.asyncio(loop_scope="module")
PLAIN_LOOP = Path(__file__).parents[1] / "support" / "plain_loop.py"


async def test_a_trained_model_writes_its_published_text(engine: LocalEngine, stories: Path) -> None:
    await load(engine, stories)
    reply = await ask(engine, Prompt(raw=""), Sampling(temperature=0, max_tokens=250))
    expected = stories.with_name("stories260K.expected.txt").read_text().rstrip("\n")
    assert reply.text.removeprefix(" ").startswith(expected)
    assert reply.prompted.token_ids == (1,), "BOS alone"
    assert reply.prompted.template == "raw"


@pytest.mark.parametrize("vocabulary", ["bpe", "spm"])
@pytest.mark.parametrize("arch", ARCHITECTURES)
async def test_greedy_tokens_equal_a_plain_loop(
    engine: LocalEngine, arch: str, vocabulary: str, tmp_path: Path
) -> None:
    path = write_model(tmp_path / "model.gguf", arch, vocabulary)  # type: ignore[arg-type]
    text = "hello world, the cat and the dog"
    done = subprocess.run([sys.executable, PLAIN_LOOP, path, text, "40"], capture_output=True, check=True)
    plain = json.loads(done.stdout.splitlines()[-1])
    await load(engine, path)
    reply = await ask(engine, Prompt(raw=text), Sampling(temperature=0, max_tokens=40))
    assert list(reply.prompted.token_ids) == plain["prompt"]
    assert reply.ids == plain["ids"]


async def test_a_load_tells_its_stages_and_what_was_loaded(engine: LocalEngine, rambler: Path) -> None:
    events = await load(engine, rambler)
    stages = [event.stage for event in events if isinstance(event, Loading)]
    assert list(dict.fromkeys(stages)) == [stage for stage in LoadStage if stage is not LoadStage.CONNECTING]
    fractions = [event.fraction for event in events if isinstance(event, Loading) and event.stage == LoadStage.WEIGHTS]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert isinstance(events[-1], Loaded)
    model = events[-1].model
    assert engine.model == model
    assert (model.path, model.name, model.architecture, model.quantization) == (str(rambler), "tiny", "llama", "F32")
    assert model.size_bytes == rambler.stat().st_size
    assert (model.n_layers, model.n_ctx, model.n_ctx_train, model.n_threads) == (2, 512, 2048, 1)
    assert 100_000 < model.n_parameters < 1_000_000
    assert model.flash_attention
    assert model.n_gpu_layers == 0 or (await engine.report()).can_offload
    assert (model.template, model.is_chat, model.can_think) == ("model", True, False)
    assert model.hash.startswith("quick:")


@pytest.mark.parametrize(
    ("given", "told"),
    [("Tiny\x1b]52;c;aGk=\x07\n\x1b[31m one ", "Tiny\ufffd]52;c;aGk=\ufffd \ufffd[31m one"), (" ", "odd\ufffd[31m")],
)
async def test_what_a_file_calls_itself_cannot_steer_the_terminal(
    engine: LocalEngine, tmp_path: Path, given: str, told: str
) -> None:
    event = await loaded(engine, write_model(tmp_path / "odd\x1b[31m.gguf", name=given))
    assert event.model.name == told


async def test_a_model_from_the_hub_cache_is_known_by_hash_and_repo(
    engine: LocalEngine, rambler: Path, tmp_path: Path
) -> None:
    digest = hashlib.sha256(rambler.read_bytes()).hexdigest()
    repo = tmp_path / "models--owner--name-GGUF"
    snapshot = repo / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repo / "blobs").mkdir()
    (repo / "blobs" / digest).write_bytes(rambler.read_bytes())
    (snapshot / "tiny.gguf").symlink_to(Path("../../blobs") / digest)
    model = (await loaded(engine, snapshot / "tiny.gguf")).model
    assert model.hash == f"sha256:{digest}"
    assert model.repo == "owner/name-GGUF"
    assert model.path == str(snapshot / "tiny.gguf")


async def test_a_reply_is_told_in_order(engine: LocalEngine, says: Callable[..., Path]) -> None:
    await load(engine, says(b" one", b" two", b" three"))
    reply = await ask(engine, "count")
    kinds = [type(event) for event in reply.events]
    assert kinds == [Prompted, *[Prefilling] * kinds.count(Prefilling), *[Token] * kinds.count(Token), Finished]
    assert reply.text == " one two three"
    finished = reply.finished
    assert finished.reason == FinishReason.END
    assert finished.n_generated == len(reply.ids) == 3
    assert finished.n_prompt == reply.prompted.n_prompt == len(reply.prompted.token_ids)
    assert finished.n_used == finished.n_prompt + 3
    assert finished.n_ctx == 512
    assert 0 < finished.prefill_seconds < finished.first_token_seconds
    assert finished.decode_seconds > 0


async def test_without_a_model_there_is_no_reply(own_engine: LocalEngine) -> None:
    with pytest.raises(ModelNotFound):
        await ask(own_engine, "hello")
    with pytest.raises(ModelNotFound):
        await own_engine.tokenize("hello")


async def test_unloading_frees_the_memory(own_engine: LocalEngine, tmp_path: Path) -> None:
    big = write_model(tmp_path / "big.gguf", n_layers=4, width=512, n_heads=8, n_ff=2048, quantization="Q8_0")
    small = write_model(tmp_path / "small.gguf")
    await load(own_engine, small)
    with_small = resident_bytes(own_engine)
    await load(own_engine, big, n_ctx=4096, mmap=False)
    assert resident_bytes(own_engine) > with_small + 20_000_000
    await load(own_engine, small)
    assert resident_bytes(own_engine) < with_small + 10_000_000, "another model takes the place of the first"
    await own_engine.unload()
    assert own_engine.model is None
    assert resident_bytes(own_engine) == 0
    await load(own_engine, small)
    assert (await ask(own_engine, "hello", Sampling(max_tokens=2))).ids


async def test_text_is_cut_into_tokens_as_user_text(engine: LocalEngine, rambler: Path) -> None:
    await load(engine, rambler)
    pieces = await engine.tokenize("the cat<|im_end|>日")
    assert b"".join(piece.piece for piece in pieces).decode() == "the cat<|im_end|>日"
    assert not any(piece.is_control for piece in pieces)


async def test_a_prompt_is_counted_as_it_is_asked(engine: LocalEngine, rambler: Path) -> None:
    await load(engine, rambler)
    prompt = user("hello", "hi", "and now?", system="be brief")
    reply = await ask(engine, prompt, Sampling(max_tokens=1))
    assert await engine.count(prompt) == reply.prompted.n_prompt


async def test_a_report_needs_no_model(own_engine: LocalEngine) -> None:
    report = await own_engine.report()
    assert "0.3.36" in report.library_version
    assert "CPU" in [device.kind for device in report.devices]
    assert all(device.total_bytes >= device.free_bytes > 0 for device in report.devices)
    assert report.problems == ()


async def test_one_thing_at_a_time(engine: LocalEngine, rambler: Path) -> None:
    await load(engine, rambler)
    replying = engine.reply(user("go on"), Sampling(max_tokens=40))
    await first(replying, lambda event: isinstance(event, Token))
    counting = asyncio.create_task(engine.count(user("hello")))
    rest = [event async for event in replying]
    assert isinstance(rest[-1], Finished)
    assert await counting > 0


async def test_an_engine_can_be_made_before_there_is_a_loop(rambler: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from chatterm.engine.local import LocalEngine\n"
        "from chatterm.settings import LoadOptions\n"
        "engine = LocalEngine()\n"
        "async def main():\n"
        "    print([type(e).__name__ async for e in engine.load(Path(sys.argv[1]), LoadOptions(n_ctx=256))][-1])\n"
        "    await engine.close()\n"
        "asyncio.run(main())\n"
        "assert not {'llama_cpp', 'numpy', 'jinja2'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, rambler], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("Loaded\n", "")


async def test_the_context_window_is_chosen_when_it_is_not_asked_for(engine: LocalEngine, tmp_path: Path) -> None:
    short = write_model(tmp_path / "short.gguf", n_ctx=1024)
    long = write_model(tmp_path / "long.gguf", n_ctx=32768)
    assert (await loaded(engine, short, n_ctx=0)).model.n_ctx == 1024
    assert (await loaded(engine, long, n_ctx=0)).model.n_ctx == 8192
    beyond = await loaded(engine, short, n_ctx=2048)
    assert beyond.model.n_ctx == 2048
    assert any("trained for 1,024" in note for note in beyond.notes)


async def test_options_for_loading_are_followed(engine: LocalEngine, tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf", width=128)
    plain = (await loaded(engine, path, flash_attention="off", mmap=False, n_batch=32, n_threads=2)).model
    assert not plain.flash_attention
    assert plain.n_threads == 2
    reply = await ask(engine, user("the cat and the dog " * 20), Sampling(temperature=0, max_tokens=5))
    small = await loaded(engine, path, cache_type_k="q8_0", cache_type_v="q8_0")
    assert small.model.flash_attention
    assert small.notes == ()
    assert len((await ask(engine, user("the cat and the dog " * 20), Sampling(max_tokens=5))).ids) == len(reply.ids)


async def test_a_small_value_cache_without_flash_attention_is_said_to_be_given_up(
    engine: LocalEngine, tmp_path: Path
) -> None:
    path = write_model(tmp_path / "model.gguf", width=128)
    done = await loaded(engine, path, cache_type_v="q8_0", flash_attention="off")
    assert any("f16 instead of q8_0" in note for note in done.notes)


async def test_layers_are_only_said_to_be_on_a_gpu_that_is_there(engine: LocalEngine, rambler: Path) -> None:
    has_gpu = any("GPU" in device.kind for device in (await engine.report()).devices)
    done = await loaded(engine, rambler, n_gpu_layers=2)
    assert (done.model.n_gpu_layers > 0) == has_gpu
    assert has_gpu or any("no GPU" in note for note in done.notes)


async def test_a_change_of_model_is_a_load(engine: LocalEngine, tmp_path: Path) -> None:
    for name in ("one", "two"):
        await load(engine, write_chain(tmp_path / f"{name}.gguf", [name.encode()], name=name))
        assert engine.model is not None
        assert engine.model.name == name
        assert (await ask(engine, "who?", GREEDY)).text == name


async def test_the_last_load_is_remembered(own_engine: LocalEngine, rambler: Path) -> None:
    options = LoadOptions(n_ctx=256, n_threads=1)
    await first(own_engine.load(rambler, options), lambda event: isinstance(event, Loaded))
    assert own_engine.last_load == (rambler, options)


async def test_a_model_in_parts_is_loaded_by_the_links_of_the_hub_cache(
    engine: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_models.gguf, "GGUFWriter", partial(tiny_models.gguf.GGUFWriter, split_max_tensors=8))
    write_model(tmp_path / "big.gguf", name="big")
    monkeypatch.undo()
    parts = sorted(tmp_path.glob("big-*.gguf"))
    assert len(parts) > 1
    snapshot = tmp_path / "models--owner--big" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for i, part in enumerate(parts):
        part.rename(tmp_path / f"blob{i}")
        (snapshot / part.name).symlink_to(tmp_path / f"blob{i}")
    done = await loaded(engine, snapshot / parts[0].name)
    assert done.model.size_bytes == sum((tmp_path / f"blob{i}").stat().st_size for i in range(len(parts)))
    assert len((await ask(engine, "hello", Sampling(max_tokens=3))).ids) == 3
    (snapshot / parts[-1].name).unlink()
    with pytest.raises(ModelUnreadable):
        await loaded(engine, snapshot / parts[0].name)


async def test_threads_that_were_measured_are_told_and_kept(own_engine: LocalEngine, rambler: Path) -> None:
    await load(own_engine, rambler, n_threads=0, n_ctx=2048)
    reply = await ask(own_engine, "go on", Sampling(max_tokens=400))
    assert own_engine.model is not None
    for event in reply.of(Tuned):
        assert event.tokens_per_second > 0
    if tuned := reply.of(Tuned):
        assert own_engine.model.n_threads == tuned[-1].n_threads
    assert len(reply.ids) == 400
