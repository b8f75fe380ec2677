"""Promises of the glass box's parts: taps never disturb, tables are read as they are, short sums are right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from support.tiny_models import write_model

from chatterm.engine.worker.context import Context, StopFlag
from chatterm.engine.worker.glass import observe
from chatterm.engine.worker.glass.box import GlassBox
from chatterm.engine.worker.glass.ggml import Ggml
from chatterm.engine.worker.glass.tap import Tap
from chatterm.engine.worker.glass.weighing import is_attention, softmax
from chatterm.engine.worker.glass.weights import Weights
from chatterm.engine.worker.library import Library, open_library
from chatterm.engine.worker.load import load
from chatterm.errors import OutOfMemory
from chatterm.glass import AbilitiesRequest, GlassAbilities, entropy_bits, hide_first, shares
from chatterm.settings import LoadOptions

TEXT = list(range(5, 25))


@pytest.fixture(scope="module")
def library() -> Library:
    return open_library()


def test_an_error_while_copying_changes_no_logits(library: Library, tmp_path: Path) -> None:
    llama = library.llama
    weights = llama.llama_model_load_from_file(
        bytes(write_model(tmp_path / "model.gguf")), llama.llama_model_default_params()
    )
    tap = Tap(llama, Ggml(llama))
    parameters = llama.llama_context_default_params()
    parameters.n_ctx, parameters.n_threads, parameters.cb_eval = 256, 1, tap.callback
    context = Context(llama, llama.llama_init_from_model(weights, parameters), StopFlag(), 64, 0)

    def logits(wants: Any = None, take: Any = None) -> np.ndarray:
        context.clear()
        tap.close()
        assert context.extend(TEXT[::-1])  # or what is left in memory from the last time would do
        context.clear()
        if wants:
            tap.open(wants, True, take)
        assert context.extend(TEXT)
        n = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(weights))
        return np.ctypeslib.as_array(llama.llama_get_logits_ith(context.pointer, -1), (n,)).copy()

    def fail(*_: object) -> bool:
        raise KeyError("on purpose")

    plain = logits()
    assert np.array_equal(logits(lambda _: True, fail), plain)
    assert isinstance(tap.error, KeyError)
    assert np.array_equal(logits(fail, fail), plain)
    assert isinstance(tap.error, KeyError)
    assert np.array_equal(logits(lambda _: True, lambda *_: None), plain)
    assert tap.error is None
    context.close()
    llama.llama_model_free(weights)


@pytest.mark.parametrize("quantization", ["F32", "F16", "Q8_0", "Q4_0"])
def test_rows_of_the_file_are_what_the_reference_reads(library: Library, tmp_path: Path, quantization: Any) -> None:
    path = write_model(tmp_path / "model.gguf", quantization=quantization, width=128)
    matrix = Weights(Ggml(library.llama), path).find("token_embd.weight")
    tensor = next(each for each in gguf.GGUFReader(path).tensors if each.name == "token_embd.weight")
    reference = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
    assert matrix is not None
    assert (matrix.n_rows, matrix.width) == reference.shape
    assert np.array_equal(matrix.rows(0, matrix.n_rows), reference)
    assert np.array_equal(np.concatenate([rows for _, rows in matrix.chunks()]), reference)
    vectors = np.random.default_rng(0).standard_normal((3, 128)).astype(np.float32)
    np.testing.assert_allclose(matrix.times(vectors, 1), vectors @ reference.T, atol=0.5)
    matrix._ggml.can_multiply = False  # as in builds that do not export the function
    np.testing.assert_allclose(matrix.times(vectors, 1), vectors @ reference.T, atol=1e-4)


def test_a_split_model_is_read_from_the_part_that_has_the_tensor(library: Library, tmp_path: Path) -> None:
    whole = write_model(tmp_path / "other.gguf")
    first, second = tmp_path / "m-00001-of-00002.gguf", tmp_path / "m-00002-of-00002.gguf"
    second.write_bytes(whole.read_bytes())
    writer = gguf.GGUFWriter(first, "llama")
    writer.add_uint32("llama.block_count", 2)
    writer.add_tensor("blk.0.extra", np.ones((2, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    weights = Weights(Ggml(library.llama), first)
    extra, table = weights.find("blk.0.extra"), weights.find("nothing", "token_embd.weight")
    assert extra is not None
    assert table is not None
    assert extra.rows(0, 2).tolist() == [[1, 1, 1, 1]] * 2
    assert weights.find("nothing") is None
    assert weights.number("block_count") == 2


def test_a_file_that_was_cut_is_noticed(library: Library, tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf")
    path.write_bytes(path.read_bytes()[:-100_000])
    weights = Weights(Ggml(library.llama), path)
    with pytest.raises(ValueError, match="not whole"):
        weights.find("blk.1.ffn_down.weight")


def test_memory_that_is_short_for_a_while_turns_nothing_off_for_good(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = StopFlag()
    model = load(
        library, write_model(tmp_path / "model.gguf"), LoadOptions(n_ctx=512, n_threads=1), flag, lambda _: None
    )
    box = GlassBox(model, flag)
    with monkeypatch.context() as patch:
        patch.setattr(observe, "free_bytes", lambda: 1000.0)
        with pytest.raises(OutOfMemory, match="are free"):
            box.answer(AbilitiesRequest())
    assert box.answer(AbilitiesRequest()) == GlassAbilities()
    box.close()
    model.close()


def test_a_sink_takes_its_share_of_the_attention() -> None:
    rng = np.random.default_rng(0)
    scores, sinks = rng.standard_normal((4, 3, 7)).astype(np.float32), rng.standard_normal(4).astype(np.float32)
    column = np.broadcast_to(sinks[:, None, None], (4, 3, 1))
    beside = np.exp(np.concatenate([scores, column], axis=-1))
    beside /= beside.sum(axis=-1, keepdims=True)
    found = softmax(scores, sinks)
    np.testing.assert_allclose(found, beside[..., :-1], atol=1e-6)
    assert (found.sum(axis=-1) < 1).all()
    assert is_attention(found, 7)
    np.testing.assert_allclose(softmax(scores).sum(axis=-1), 1, atol=1e-6)


def test_numbers_that_are_no_attention_are_told_apart() -> None:
    sound = np.tril(np.ones((2, 5, 5), np.float32)) / np.arange(1, 6, dtype=np.float32)[:, None]
    assert is_attention(sound, 0)
    assert not is_attention(sound[:, ::-1], 0), "somebody looks ahead"
    assert not is_attention(sound * 1.1, 0)
    assert not is_attention(-sound, 0)
    assert not is_attention(sound * np.nan, 0)
    assert not is_attention(sound * 0, 0)


def test_hiding_the_first_token_leaves_the_others_in_proportion() -> None:
    assert hide_first([0.5, 0.25, 0.25]) == [0.0, 0.5, 0.5]
    assert hide_first([1.0]) == [0.0]
    assert hide_first([1.0, 0.0]) == [0.0, 0.0]
    assert hide_first([]) == []


def test_shares_of_turns_add_up() -> None:
    assert shares([0.1, 0.2, 0.3, 0.4], [1, 3, 4]) == pytest.approx([0.1, 0.5, 0.4])
    assert entropy_bits([0.25] * 4) == pytest.approx(2)
    assert entropy_bits([1.0, 0.0]) == 0
