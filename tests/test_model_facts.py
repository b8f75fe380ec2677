"""What a header tells to somebody who wonders whether to take the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.shaped_models import Shape, Type, write_shaped
from support.tiny_models import write_model

from chatterm.gguf import GgufHeader, Tensor, read_header
from chatterm.model_facts import (
    base_models,
    can_think,
    facts,
    licence,
    n_parameters,
    recommended_sampling,
    type_shares,
)


def header(**metadata: Any) -> GgufHeader:
    """A header with general keys; "__" stands for a dot."""
    keys = {f"general.{key.replace('__', '.')}": value for key, value in metadata.items()}
    tensors = (
        Tensor("a.weight", (256, 64), "Q4_K", 0, 9216),
        Tensor("b.weight", (256, 32), "Q6_K", 9216, 6720),
        Tensor("c.weight", (256,), "F32", 15_936, 1024),
    )
    return GgufHeader(3, keys, tensors, 0)


def test_a_file_tells_what_its_model_is(tmp_path: Path) -> None:
    metadata = {"general.license": "apache-2.0", "general.sampling.temp": 0.6, "general.sampling.top_k": 20}
    told = dict(facts(read_header(write_model(tmp_path / "m.gguf", "qwen3", n_layers=3, metadata=metadata))))
    assert told["Architecture"] == "qwen3"
    assert told["Layers"] == "3"
    assert told["Heads"] == "4, 2 of keys and values"
    assert told["Chat template"] == "yes"
    assert told["Recommended"] == "temperature 0.6, top k 20"
    assert told["Licence"] == "apache-2.0"
    assert "Experts" not in told
    assert "Parts" not in told


def test_experts_and_types_are_told(tmp_path: Path) -> None:
    shape = Shape(
        "qwen3moe", 2, 256, 4, 2, 256, 2000, matrices=Type.Q4_K, some=Type.Q6_K, n_experts=8, n_experts_used=2
    )
    model = read_header(write_shaped(tmp_path / "m.gguf", shape))
    told = dict(facts(model))
    assert told["Experts"] == "8, 2 of them for each token"
    assert told["Types"].startswith("Q4_K ")
    assert sum(share.size_bytes for share in type_shares(model)) == model.size_bytes
    assert sum(share.share for share in type_shares(model)) == pytest.approx(1)
    assert sum(share.n_tensors for share in type_shares(model)) == len(model.tensors)


def test_only_what_can_be_used_is_recommended() -> None:
    said = {
        "sampling__temp": 0.6000000238418579,
        "sampling__top_k": 20,
        "sampling__top_p": 7.5,
        "sampling__min_p": "lots",
        "sampling__penalty_repeat": True,
        "sampling__penalty_last_n": [1],
        "sampling__mirostat": 2,
    }
    assert recommended_sampling(header(**said)) == {"temperature": 0.6, "top_k": 20}
    assert recommended_sampling(header()) == {}


@pytest.mark.parametrize(
    ("template", "thinks"),
    [
        ("{% if enable_thinking %}a{% endif %}", True),
        ("<|im_start|>assistant\n<think>\n", True),
        ("{{ messages }}", False),
        (None, False),
    ],
)
def test_a_template_for_thinking_is_noticed(template: str | None, thinks: bool) -> None:
    metadata = {} if template is None else {"tokenizer.chat_template": template}
    assert can_think(GgufHeader(3, metadata, (), 0)) is thinks


def test_where_a_model_comes_from_is_told() -> None:
    made = header(
        base_model__count=3,
        base_model__0__name="Qwen3 0.6B Base",
        base_model__0__organization="Qwen",
        base_model__1__name="Other",
    )
    assert base_models(made) == ["Qwen: Qwen3 0.6B Base", "Other"]
    assert base_models(header(base_model__count="x")) == []
    assert licence(header(license="other", license__name="Gemma terms")) == "Gemma terms"


def test_of_a_split_model_it_is_said_what_the_first_part_knows() -> None:
    split = GgufHeader(3, {"split.count": 3, "split.tensors.count": 12}, header().tensors, 100)
    told = dict(facts(split, 3 * split.size_bytes))
    assert told["Parts"] == "3 files; types are told of the first one (3 of 12 tensors)"
    assert told["Parameters"].startswith("about ")
    assert n_parameters(split, 3 * split.size_bytes) == 3 * split.n_parameters
    assert n_parameters(split) == split.n_parameters
    assert n_parameters(GgufHeader(3, {"split.count": 3}, (), 100), 1000) == 0


def test_nothing_in_a_header_can_steer_the_terminal() -> None:
    evil = "\x1b[31mA\u202e\nB" + "x" * 10_000
    keys = {
        "name": evil,
        "architecture": evil,
        "license": evil,
        "base_model__count": 1 << 40,
        "base_model__0__name": evil,
    }
    for _, value in facts(header(**keys)):
        assert not {"\x1b", "\n", "\u202e"} & set(value)
        assert len(value) < 500
