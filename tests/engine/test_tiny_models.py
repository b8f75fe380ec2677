"""The models that other tests stand on do what they promise, asked without a line of chatterm."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.tiny_models import ARCHITECTURES, write_chain, write_model, write_recurrent

PLAIN_LOOP = Path(__file__).resolve().parents[1] / "support" / "plain_loop.py"
SAYS = (" the", b"\xf0\x9f", b"\x98", b"\x80", b"\xc3", b" " * 64, "<think>", "x", "</think>", "\n", "漢字")


def greedy(path: Path, n: int) -> list[int]:
    """What a model says at temperature 0."""
    command = [sys.executable, str(PLAIN_LOOP), str(path), "hello world", str(n)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout.splitlines()[-1])["ids"]


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("vocabulary", ["bpe", "spm"])
def test_a_chain_says_its_list_and_ends(tmp_path: Path, arch: str, vocabulary: Any) -> None:
    from gguf import GGUFReader

    options = {"control": ["</think>"], "user_defined": ["<think>"]}
    path = write_chain(tmp_path / "m.gguf", SAYS, arch, vocabulary, **options)
    ids = greedy(path, 30)
    assert len(ids) == len(SAYS)
    texts = GGUFReader(path).fields["tokenizer.ggml.tokens"]
    said = [bytes(texts.parts[texts.data[token]]).decode("utf-8", "replace") for token in ids]
    assert said[6] == "<think>"
    assert said[8] == "</think>"
    assert said[0] == {"bpe": "Ġthe", "spm": "\u2581the"}[vocabulary]


def test_an_endless_chain_begins_again(tmp_path: Path) -> None:
    path = write_chain(tmp_path / "m.gguf", ["a", "b", "c"], ends=False)
    ids = greedy(path, 7)
    assert ids == [*ids[:3], *ids[:3], ids[0]]


@pytest.mark.parametrize("make", [write_model, write_recurrent])
def test_random_weights_write_on_and_are_the_same_every_time(tmp_path: Path, make: Any) -> None:
    one, two = make(tmp_path / "1.gguf"), make(tmp_path / "2.gguf")
    assert one.read_bytes() == two.read_bytes()
    ids = greedy(one, 40)
    assert len(ids) == 40
    assert len(set(ids)) > 15


def test_a_chain_refuses_to_say_a_token_twice(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="twice"):
        write_chain(tmp_path / "m.gguf", ["a", b"a"])
