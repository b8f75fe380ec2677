"""Promises of looking inside a model: the numbers are right, and the chat does not notice."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from support.engines import ask, first, load, resident_bytes, user
from support.plain_llama import PlainLlama
from support.tiny_models import ARCHITECTURES, write_model, write_recurrent
from support.uneven_model import write_uneven

from chatterm.address import RemoteModel
from chatterm.engine.base import Prompt
from chatterm.engine.either import EitherEngine
from chatterm.engine.local import LocalEngine
from chatterm.engine.remote import RemoteEngine
from chatterm.engine.scripted import ScriptedEngine
from chatterm.errors import ModelNotFound, NotVisible
from chatterm.events import Token
from chatterm.glass import (
    AbilitiesRequest,
    Attention,
    AttentionMap,
    AttentionRequest,
    Drift,
    DriftRequest,
    GlassAbilities,
    Lens,
    LensRequest,
    LetGo,
    MapRequest,
    Neighbours,
    NeighboursRequest,
    Similarity,
    SimilarityRequest,
    entropy_bits,
)
from chatterm.settings import LoadOptions, Sampling

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALL = (*ARCHITECTURES, "mistral3", "gemma2")
CAPS = {"gemma2.attn_logit_softcapping": 2.0, "gemma2.final_logit_softcapping": 1.5}
"""So low that leaving one out would be noticed."""
N_LAYERS, N_HEADS = 6, 4
TEXT = tuple(range(5, 95))
EXACT = {"cache_type_k": "f32", "cache_type_v": "f32"}
SEEDED = Sampling(temperature=1.2, seed=7, max_tokens=12)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A model of an architecture, made once."""
    folder, made = tmp_path_factory.mktemp("models"), {}

    def make(arch: str) -> Path:
        if arch not in made:
            made[arch] = write_model(
                folder / f"{arch}.gguf",
                arch,
                n_layers=N_LAYERS,
                width=128,
                sliding_window=16 if arch.startswith("gemma") else None,
                metadata=CAPS if arch == "gemma2" else None,
            )
        return made[arch]

    return make


async def looked(engine: LocalEngine, *place: Any) -> Attention:
    return cast("Attention", await engine.inspect(AttentionRequest(*place)))


async def all_rows(engine: LocalEngine, tokens: tuple[int, ...], position: int, n_layers: int = N_LAYERS) -> np.ndarray:
    """(L, H, N) of one token."""
    rows = [
        [(await looked(engine, tokens, position, layer, head)).row for head in range(N_HEADS)]
        for layer in range(n_layers)
    ]
    return np.array(rows)


@pytest.fixture(scope="module")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama of three layers: each one adds to what rounding makes of a number."""
    return write_model(tmp_path_factory.mktemp("models") / "shallow.gguf", n_layers=3, width=128)


async def test_attention_and_lens_equal_a_forward_pass_in_numpy(engine: LocalEngine, shallow: Path) -> None:
    await load(engine, shallow, flash_attention="off", **EXACT)
    plain = PlainLlama(shallow)(list(TEXT))
    for position in (0, 1, 20, 47):
        rows = await all_rows(engine, TEXT, position, 3)
        np.testing.assert_allclose(rows, plain.attention[:, :, position, : position + 1], atol=1e-5)
        lens = cast("Lens", await engine.inspect(LensRequest(TEXT, position, n_best=3)))
        for layer, scores in zip(lens.layers, plain.lens[:, position], strict=True):
            likely = np.exp(scores - scores.max())
            likely /= likely.sum()
            best = np.argsort(-likely)[:3]
            assert [piece.id for piece in layer.best] == best.tolist()
            np.testing.assert_allclose([piece.value for piece in layer.best], likely[best], atol=1e-5)
            assert layer.rank == (scores > scores[lens.chosen.id]).sum() + 1
            assert layer.probability == pytest.approx(likely[lens.chosen.id], abs=1e-5)
            assert layer.bits == pytest.approx(-(likely * np.log2(likely)).sum(), abs=1e-3)
            np.testing.assert_allclose(layer.rivals, likely[[piece.id for piece in lens.rivals]], atol=1e-5)


async def test_attention_behind_flash_attention_equals_a_forward_pass_in_numpy(
    engine: LocalEngine, shallow: Path
) -> None:
    await load(engine, shallow, flash_attention="on", **EXACT)
    plain = PlainLlama(shallow)(list(TEXT), halves=True)
    for position in (0, 1, 20, 47):
        rows, expected = await all_rows(engine, TEXT, position, 3), plain.attention[:, :, position, : position + 1]
        np.testing.assert_allclose(rows[0], expected[0], atol=1e-5)
        np.testing.assert_allclose(rows, expected, atol=0.02)  # flash attention itself sums in 16 bits


async def test_the_grid_and_the_means_follow_from_the_rows(engine: LocalEngine, model: Callable[[str], Path]) -> None:
    await load(engine, model("llama"), **EXACT)
    rows = await all_rows(engine, TEXT, 50)
    seen = await looked(engine, TEXT, 50)
    np.testing.assert_allclose(seen.first, rows[:, :, 0], atol=1e-6)
    np.testing.assert_allclose(seen.bits, [[entropy_bits(row) for row in layer] for layer in rows], atol=1e-4)
    assert np.array_equal(seen.strongest, rows[:, :, 1:].argmax(axis=-1) + 1)
    np.testing.assert_allclose(seen.row, rows.mean(axis=(0, 1)), atol=1e-6)
    np.testing.assert_allclose((await looked(engine, TEXT, 50, 2)).row, rows[2].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose((await looked(engine, TEXT, 50, None, 3)).row, rows[:, 3].mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("flash", ["off", "on"])
@pytest.mark.parametrize("arch", ALL)
async def test_rows_add_up_to_one_and_nobody_looks_ahead(
    engine: LocalEngine, model: Callable[[str], Path], arch: str, flash: str
) -> None:
    await load(engine, model(arch), flash_attention=flash)
    assert await engine.inspect(AbilitiesRequest()) == GlassAbilities()
    seen = await looked(engine, TEXT, -1, 1, 2)
    assert seen.layers == tuple(range(N_LAYERS))
    assert len(seen.row) == len(TEXT)
    assert sum(seen.row) == pytest.approx(1, abs=1e-5)
    span = cast("AttentionMap", await engine.inspect(MapRequest(TEXT, 30, 70, 1, 2)))
    rows = np.array(span.rows)
    np.testing.assert_allclose(rows.sum(axis=1) + span.before, 1, atol=1e-5)
    assert not np.triu(rows, 1).any()
    assert np.tril(rows).any(axis=1).all()


@pytest.mark.parametrize("flash", ["off", "on"])
async def test_a_map_is_made_of_the_rows(engine: LocalEngine, model: Callable[[str], Path], flash: str) -> None:
    await load(engine, model("qwen3"), flash_attention=flash, **EXACT)
    span = cast("AttentionMap", await engine.inspect(MapRequest(TEXT, 30, 34, 4, 1)))
    mean = cast("AttentionMap", await engine.inspect(MapRequest(TEXT, 30, 34)))
    for i in range(4):
        one, all_of_them = await looked(engine, TEXT, 30 + i, 4, 1), await looked(engine, TEXT, 30 + i)
        np.testing.assert_allclose(span.rows[i][: i + 1], one.row[30:], atol=1e-5)
        np.testing.assert_allclose(mean.rows[i][: i + 1], all_of_them.row[30:], atol=1e-5)
        assert span.before[i] == pytest.approx(sum(one.row[:30]), abs=1e-5)


@pytest.mark.parametrize("flash", ["off", "on"])
async def test_layers_with_a_window_look_no_further(
    engine: LocalEngine, model: Callable[[str], Path], flash: str
) -> None:
    await load(engine, model("gemma3"), flash_attention=flash)
    rows = await all_rows(engine, TEXT, 60)
    assert not rows[:5, :, : 60 - 15].any()
    assert (rows[:5, :, 60 - 15 :] > 0).all()
    assert (rows[5] > 0).all(), "every sixth layer sees everything"


@pytest.mark.parametrize("arch", ALL)
async def test_flash_attention_shows_the_same_weights(
    engine: LocalEngine, model: Callable[[str], Path], arch: str
) -> None:
    await load(engine, model(arch), flash_attention="off")
    plain = await all_rows(engine, TEXT[:40], -1, 1)
    await load(engine, model(arch), flash_attention="on")
    assert engine.model is not None
    assert engine.model.flash_attention
    np.testing.assert_allclose(await all_rows(engine, TEXT[:40], -1, 1), plain, atol=2e-3)


async def test_quantized_keys_are_read_as_well(engine: LocalEngine, model: Callable[[str], Path]) -> None:
    await load(engine, model("llama"), flash_attention="on", **EXACT)
    exact = await all_rows(engine, TEXT, 60)
    await load(engine, model("llama"), flash_attention="on", cache_type_k="q8_0", cache_type_v="q8_0")
    rows = await all_rows(engine, TEXT, 60)
    np.testing.assert_allclose(rows[0], exact[0], atol=0.02)
    np.testing.assert_allclose(rows.sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("arch", ALL)
async def test_the_last_layer_of_the_lens_is_what_the_model_says(
    engine: LocalEngine, model: Callable[[str], Path], arch: str
) -> None:
    await load(engine, model(arch), **EXACT)
    reply = await ask(engine, Prompt(raw="the cat and the dog"), Sampling(temperature=0, max_tokens=1))
    lens = cast("Lens", await engine.inspect(LensRequest(reply.prompted.token_ids, -1)))
    assert lens.error <= 1e-5
    assert lens.layers[-1].best[0].id == reply.ids[0]
    assert lens.chosen.id == reply.ids[0]
    assert [layer.layer for layer in lens.layers] == list(range(N_LAYERS))
    assert len({layer.bits for layer in lens.layers}) == N_LAYERS, "each layer says something else"


@pytest.mark.parametrize("quantization", ["F16", "Q8_0", "Q4_0"])
async def test_a_quantized_head_gives_the_models_own_scores(
    engine: LocalEngine, tmp_path: Path, quantization: Any
) -> None:
    await load(engine, write_model(tmp_path / "model.gguf", quantization=quantization, width=128))
    lens = cast("Lens", await engine.inspect(LensRequest(TEXT, -1)))
    assert lens.error <= 1e-3


async def test_the_token_that_came_next_and_rivals_are_followed(
    engine: LocalEngine, model: Callable[[str], Path]
) -> None:
    await load(engine, model("llama"), **EXACT)
    lens = cast("Lens", await engine.inspect(LensRequest(TEXT, 20)))
    assert lens.chosen.id == TEXT[21]
    own = cast("Lens", await engine.inspect(LensRequest(TEXT, 20, chosen=300, rivals=(301, 302, 303), n_best=1)))
    assert own.chosen.id == 300
    assert [rival.id for rival in own.rivals] == [301, 302, 303]
    assert all(len(layer.rivals) == 3 and len(layer.best) == 1 for layer in own.layers)
    assert own.layers[-1].probability == pytest.approx(own.chosen.value, abs=1e-6)


async def conversation(engine: LocalEngine, path: Path, look: bool) -> list[Any]:
    """What is said and read again in a conversation of three questions, with or without looks in between."""
    await load(engine, path, flash_attention="auto")
    said: list[Any] = []
    texts: list[str] = []
    for question in ("the cat", "and the dog", "what then"):
        texts.append(question)
        reply = await ask(engine, user(*texts), SEEDED)
        said.append((reply.ids, reply.finished.n_reused, reply.finished.n_used))
        texts.append(reply.text)
        if look:
            tokens = (*reply.prompted.token_ids, *reply.ids)
            await looked(engine, tokens, len(tokens) // 2, 1, 1)
            await engine.inspect(LensRequest(tokens, 3))
            await engine.inspect(MapRequest(tokens, 2, 9))
            await engine.inspect(AttentionRequest(tuple(reversed(tokens)), -1))
            await engine.inspect(NeighboursRequest(tokens[-1]))
            await engine.inspect(DriftRequest("cat", "the cat", "dog and cat"))
    return said


@pytest.mark.parametrize("arch", ["llama", "gemma3"])
async def test_the_chat_does_not_notice_that_it_is_looked_at(
    engine: LocalEngine, model: Callable[[str], Path], arch: str
) -> None:
    alone = await conversation(engine, model(arch), look=False)
    watched = await conversation(engine, model(arch), look=True)
    assert watched == alone
    assert alone[1][1] > 0, "the cache was used"


@pytest.mark.parametrize("flash", ["off", "on"])
@pytest.mark.parametrize("arch", ["llama", "gemma3"])
async def test_what_is_copied_from_the_chat_looks_as_if_it_was_read_anew(
    engine: LocalEngine, model: Callable[[str], Path], arch: str, flash: str
) -> None:
    await load(engine, model(arch), flash_attention=flash, **EXACT)
    reply = await ask(engine, Prompt(raw="the cat and the dog " * 6), SEEDED)
    tokens = (*reply.prompted.token_ids, *reply.ids)
    copied = await all_rows(engine, tokens, len(tokens) - 4)
    await load(engine, model(arch), flash_attention=flash, **EXACT)
    close = 1e-5 if flash == "off" else 1e-3  # it sums in 16 bits, in another order for other batches
    np.testing.assert_allclose(await all_rows(engine, tokens, len(tokens) - 4), copied, atol=close)


async def test_a_text_longer_than_the_one_before_makes_room(engine: LocalEngine, model: Callable[[str], Path]) -> None:
    await load(engine, model("llama"), n_ctx=2048, flash_attention="off", **EXACT)
    before = await looked(engine, TEXT, -1, 2, 2)
    long = TEXT * 12
    assert len((await looked(engine, long, -1)).row) == len(long)
    np.testing.assert_allclose((await looked(engine, TEXT, -1, 2, 2)).row, before.row, atol=1e-5)


async def test_neighbours_are_those_with_the_highest_cosines(engine: LocalEngine, model: Callable[[str], Path]) -> None:
    await load(engine, model("llama"))
    table = PlainLlama(model("llama")).table
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    control = range(len(table) - 4, len(table))  # the names of ChatML and the end of text
    between = unit[control] @ unit.T
    token = int(between[0, : len(table) - 4].argmax())  # so near to one of them that it must be left out
    near = cast("Neighbours", await engine.inspect(NeighboursRequest(token, 5)))
    cosines = unit @ unit[token]
    assert np.argsort(-cosines)[1] in control or np.argsort(-cosines)[2] in control
    cosines[[token, *control]] = -2
    best = np.argsort(-cosines)[:5]
    assert [piece.id for piece in near.neighbours] == best.tolist()
    np.testing.assert_allclose([piece.value for piece in near.neighbours], cosines[best], atol=1e-5)
    assert near.token.value == pytest.approx(np.linalg.norm(table[token]), rel=1e-5)
    assert near.n_dimensions == table.shape[1]
    assert near.picture[0] == pytest.approx(max(table[token][:2], key=abs), rel=1e-5)
    assert max(map(abs, near.picture)) == pytest.approx(np.abs(table[token]).max(), rel=1e-5)


async def test_words_are_compared_and_put_on_a_plane(engine: LocalEngine, model: Callable[[str], Path]) -> None:
    await load(engine, model("llama"))
    words = ("the", "cat", "dog", "the")
    seen = cast("Similarity", await engine.inspect(SimilarityRequest(words)))
    cosines = np.array(seen.cosines)
    np.testing.assert_allclose(np.diag(cosines), 1, atol=1e-6)
    np.testing.assert_allclose(cosines, cosines.T, atol=1e-6)
    assert cosines[0, 3] == pytest.approx(1, abs=1e-6), "the same word"
    assert abs(cosines[0, 1]) < 0.9
    np.testing.assert_allclose(seen.points[0], seen.points[3], atol=1e-5)
    assert math.dist(seen.points[0], seen.points[1]) > 0.1
    assert 0.9 < seen.shown <= 1.0001, "three different words span a plane"
    alone = cast("Similarity", await engine.inspect(SimilarityRequest(("cat",))))
    assert alone.cosines[0][0] == pytest.approx(1)


async def test_a_word_drifts_apart_in_two_sentences_and_not_in_one(
    engine: LocalEngine, model: Callable[[str], Path]
) -> None:
    await load(engine, model("llama"), **EXACT)
    same = cast("Drift", await engine.inspect(DriftRequest("dog", "the cat and the dog", "the cat and the dog, too")))
    np.testing.assert_allclose(same.cosines, 1, atol=1e-6)
    drift = cast("Drift", await engine.inspect(DriftRequest("dog", "the cat and the dog", "he saw a dog")))
    assert len(drift.cosines) == N_LAYERS + 1
    assert drift.cosines[0] == pytest.approx(1, abs=1e-6)
    assert all(cosine < 0.99 for cosine in drift.cosines[1:])


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (AttentionRequest((), -1), "no token"),
        (AttentionRequest(TEXT, len(TEXT)), "no token"),
        (AttentionRequest(TEXT, -1, 99), "Layer 99"),
        (AttentionRequest(TEXT, -1, 1, 99), "no head 99"),
        (AttentionRequest((1 << 30,), -1), "does not know"),
        (AttentionRequest((-1, 5), -1), "does not know"),
        (AttentionRequest(TEXT * 100, -1), "context window"),
        (MapRequest(TEXT, 0, 65), "1 to 64"),
        (MapRequest(TEXT, 5, 5), "1 to 64"),
        (MapRequest(TEXT, 0, 9, 0, 99), "no head 99"),
        (MapRequest(TEXT, 0, 9, 99), "Layer 99"),
        (LensRequest(TEXT, -1, chosen=1 << 30), "no token"),
        (NeighboursRequest(-1), "no token"),
        (SimilarityRequest(()), "no word"),
        (SimilarityRequest(("cat", " ")), "no word"),
        (DriftRequest("bird", "the cat", "the dog"), "does not stand"),
        (DriftRequest("", "the cat", "the dog"), "does not stand"),
    ],
)
async def test_what_makes_no_sense_is_refused_and_nothing_breaks(
    engine: LocalEngine, model: Callable[[str], Path], request_: Any, said: str
) -> None:
    if engine.model is None or engine.model.path != str(model("llama")):
        await load(engine, model("llama"))
    pid = engine.pid
    with pytest.raises(NotVisible, match=said):
        await engine.inspect(request_)
    assert len((await looked(engine, TEXT, 3)).row) == 4
    assert engine.pid == pid


async def test_models_without_attention_say_so_and_show_the_rest(engine: LocalEngine, tmp_path: Path) -> None:
    await load(engine, write_recurrent(tmp_path / "mamba.gguf"))
    abilities = cast("GlassAbilities", await engine.inspect(AbilitiesRequest()))
    assert abilities.attention.startswith("Not available here, because")
    assert (abilities.lens, abilities.embeddings) == ("", "")
    with pytest.raises(NotVisible, match="because"):
        await engine.inspect(AttentionRequest(TEXT, -1))
    for position in (50, 20):  # its memory cannot go back, so the text is read again
        lens = cast("Lens", await engine.inspect(LensRequest(TEXT, position)))
        assert lens.error <= 1e-3
        assert lens.position == position


@pytest.mark.parametrize("flash", ["off", "on"])
async def test_of_mixed_models_the_layers_with_attention_are_shown(
    engine: LocalEngine, tmp_path: Path, flash: str
) -> None:
    await load(engine, write_recurrent(tmp_path / "lfm2.gguf", "lfm2"), flash_attention=flash)
    seen = await looked(engine, TEXT, 30)
    assert seen.layers == (1, 3)
    assert sum(seen.row) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("flash", ["off", "on"])
async def test_a_head_that_not_all_layers_have_is_shown_of_those_that_have_it(
    engine: LocalEngine, tmp_path: Path, flash: str
) -> None:
    await load(engine, write_uneven(tmp_path / "uneven.gguf", [4, 2, 8]), flash_attention=flash)
    pid, n = engine.pid, 31
    seen = await looked(engine, TEXT, n - 1, None, 3)
    assert [len(heads) for heads in seen.first] == [4, 2, 8]
    own = [(await looked(engine, TEXT, n - 1, layer, 3)).row for layer in (0, 2)]
    np.testing.assert_allclose(seen.row, np.mean(own, axis=0), atol=1e-6)
    span = cast("AttentionMap", await engine.inspect(MapRequest(TEXT, n - 9, n, None, 3)))
    np.testing.assert_allclose([span.before[-1], *span.rows[-1]], [sum(seen.row[:-9]), *seen.row[-9:]], atol=1e-3)
    for layer, head, said in ((1, 3, "layer 1 has 2"), (None, 8, "the layers have 2 to 8")):
        for request in (AttentionRequest(TEXT, -1, layer, head), MapRequest(TEXT, 0, 9, layer, head)):
            with pytest.raises(NotVisible, match=said):
                await engine.inspect(request)
    assert engine.pid == pid, "the worker lives on"


async def test_a_head_that_is_not_understood_turns_the_lens_off(engine: LocalEngine, tmp_path: Path) -> None:
    path = write_model(tmp_path / "capped.gguf", metadata={"llama.final_logit_softcapping": 0.5})
    await load(engine, path)  # llama.cpp does not know this key for llama, so it does not cap
    abilities = cast("GlassAbilities", await engine.inspect(AbilitiesRequest()))
    assert abilities.lens.startswith("Not available here, because")
    assert abilities.attention == abilities.embeddings == ""
    with pytest.raises(NotVisible):
        await engine.inspect(LensRequest(TEXT, -1))
    assert (await looked(engine, TEXT, -1)).row


async def test_memory_comes_back_when_looking_ends(engine: LocalEngine, tmp_path: Path) -> None:
    path = write_model(tmp_path / "wide.gguf", n_layers=4, width=512, n_heads=8, n_kv_heads=8, n_ctx=32768)
    await load(engine, path, n_ctx=8192, **EXACT)
    await ask(engine, Prompt(raw="the cat " * 1000), Sampling(temperature=0, max_tokens=1))
    before = resident_bytes(engine)
    await looked(engine, TEXT, -1)
    during = resident_bytes(engine)
    await engine.inspect(LetGo())
    assert during - before > 2 * (resident_bytes(engine) - before)
    assert len((await looked(engine, TEXT, -1)).row) == len(TEXT)


async def test_looks_are_answered_while_a_reply_is_written_and_change_none_of_it(
    own_engine: LocalEngine, slow: Path
) -> None:
    await load(own_engine, slow, n_ctx=1024)
    sampling = Sampling(temperature=1.2, seed=7, max_tokens=150)
    alone = await ask(own_engine, Prompt(raw="the cat"), sampling)
    await own_engine.inspect(LetGo())
    seen: list[Attention] = []
    ids: list[int] = []
    asked: list[asyncio.Task[Any]] = []
    reply = own_engine.reply(Prompt(raw="the cat"), sampling)
    async for event in reply:
        if isinstance(event, Token) and event.id is not None:
            ids.append(event.id)
            if all(task.done() for task in asked):
                seen += [task.result() for task in asked]
                tokens = (*alone.prompted.token_ids, *ids)
                asked = [asyncio.create_task(own_engine.inspect(AttentionRequest(tokens, -1, 2)))]
                await asyncio.sleep(0)  # so that it is asked
    assert ids == alone.ids
    assert seen, "while it was written"
    places = [each.position for each in seen]
    assert places == sorted(set(places))
    await asyncio.gather(*asked)
    expected = await looked(own_engine, (*alone.prompted.token_ids, *ids), places[0], 2)
    np.testing.assert_allclose(seen[0].row, expected.row, atol=1e-2)


async def test_a_look_that_is_given_up_leaves_the_reply_alone(own_engine: LocalEngine, slow: Path) -> None:
    await load(own_engine, slow, n_ctx=1024)
    pid, n_tokens = own_engine.pid, 0
    async for event in own_engine.reply(Prompt(raw="the cat"), Sampling(temperature=0, max_tokens=30)):
        if isinstance(event, Token):
            n_tokens += 1
            looking = asyncio.create_task(own_engine.inspect(AttentionRequest(TEXT * 3, -1)))
            await asyncio.sleep(0)
            looking.cancel()
    assert n_tokens >= 30
    assert len((await looked(own_engine, TEXT, 3)).row) == 4
    assert own_engine.pid == pid


async def test_a_reply_can_be_stopped_while_looks_wait(own_engine: LocalEngine, slow: Path) -> None:
    await load(own_engine, slow, n_ctx=8192)
    pid, looks = own_engine.pid, []
    async with aclosing(own_engine.reply(Prompt(raw="the cat"), Sampling(temperature=0))) as reply:
        await first(reply, lambda event: isinstance(event, Token))
        looks = [asyncio.create_task(own_engine.inspect(AttentionRequest(TEXT * n, -1))) for n in (12, 1, 9)]
        await first(reply, lambda event: isinstance(event, Token))
    ended = await asyncio.gather(*looks, return_exceptions=True)
    assert all(isinstance(each, Attention | NotVisible) for each in ended)
    assert (await ask(own_engine, Prompt(raw="the cat"), Sampling(temperature=0, max_tokens=3))).ids
    assert own_engine.pid == pid


async def test_a_look_can_be_given_up(own_engine: LocalEngine, slow: Path) -> None:
    await load(own_engine, slow, n_ctx=8192)
    await own_engine.inspect(AbilitiesRequest())
    pid = own_engine.pid
    looking = asyncio.create_task(own_engine.inspect(AttentionRequest(TEXT * 80, -1)))
    await asyncio.sleep(0)  # so that it has begun
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert len((await looked(own_engine, TEXT, 3)).row) == 4
    assert own_engine.pid == pid


async def test_without_a_model_nothing_can_be_seen(own_engine: LocalEngine) -> None:
    with pytest.raises(ModelNotFound):
        await own_engine.inspect(AbilitiesRequest())


async def test_a_server_shows_nothing_and_says_why() -> None:
    engine = EitherEngine(RemoteEngine(), RemoteEngine())
    abilities = cast("GlassAbilities", await engine.inspect(AbilitiesRequest()))
    assert "runs on a server" in abilities.attention
    assert abilities.attention == abilities.lens == abilities.embeddings
    with pytest.raises(NotVisible, match="server"):
        await engine.inspect(NeighboursRequest(3))


async def test_the_scripted_engine_shows_the_same_every_time() -> None:
    engine = ScriptedEngine()
    async for _ in engine.load(RemoteModel("here", "x"), LoadOptions()):
        pass
    requests = [
        AttentionRequest(TEXT, 20, 1),
        MapRequest(TEXT, 3, 9),
        LensRequest(TEXT, 20),
        NeighboursRequest(7),
        SimilarityRequest(("a", "b")),
        DriftRequest("a", "an a", "the a"),
    ]
    assert await engine.inspect(AbilitiesRequest()) == GlassAbilities()
    for request in requests:
        assert await engine.inspect(request) == await engine.inspect(request)
    row = cast("Attention", await engine.inspect(requests[0])).row
    assert sum(row) == pytest.approx(1)
    assert len(row) == 21
