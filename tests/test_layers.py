"""Which value of a setting counts: each layer wins over those below it, and says so by nothing but what was chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chatterm import settings as rules
from chatterm import tutor
from chatterm.address import Address, RemoteModel
from chatterm.events import ModelInfo
from chatterm.layers import key_of, layered, recommended, recommended_by
from chatterm.settings import Settings

MODEL = ModelInfo("/models/a-Q4_K_M.gguf", "A", recommended={"temperature": 0.6, "top_k": 20})
HUB = Path("/hf/hub/models--owner--some-name/snapshots/0123abcd")


def written(folder: Path, content: str) -> Settings:
    path = folder / "settings.toml"
    path.write_text(content, encoding="utf-8")
    return rules.load(path)


def test_what_the_model_file_recommends_counts_where_nothing_was_chosen():
    sampling = layered(Settings(), MODEL).sampling
    assert (sampling.temperature, sampling.top_k, sampling.top_p) == (0.6, 20, 0.95)
    assert layered(Settings(), Path(MODEL.path)).sampling.temperature == 0.8, "nothing is known before it is loaded"


@pytest.mark.parametrize("temperature", [0.8, 1.1])
def test_what_the_user_states_wins_over_the_model_file_even_if_it_is_the_default(tmp_path: Path, temperature: float):
    sampling = layered(written(tmp_path, f"[sampling]\ntemperature = {temperature}\n"), MODEL).sampling
    assert (sampling.temperature, sampling.top_k) == (temperature, 20)


def test_each_layer_wins_over_those_below_it(tmp_path: Path):
    settings = written(
        tmp_path,
        """
        [sampling]
        top_k = 30
        top_p = 0.9
        min_p = 0.2
        [for_model."a-Q4_K_M.gguf".sampling]
        top_p = 0.8
        min_p = 0.1
        [for_model."a-Q4_K_M.gguf".load]
        n_ctx = 2048
        [for_model."a-Q4_K_M.gguf".chat]
        system_prompt = "Be brief."
        [for_model."other.gguf".load]
        n_ctx = 1024
        """,
    )
    counts = layered(settings, MODEL, {"sampling": {"min_p": 0.0}})
    sampling = counts.sampling
    assert (sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p) == (0.6, 30, 0.8, 0.0)
    assert (counts.load.n_ctx, counts.chat.system_prompt) == (2048, "Be brief.")
    assert layered(settings, Path("/elsewhere/a-Q4_K_M.gguf")).load.n_ctx == 2048, "wherever the file lies"
    assert layered(settings, Path("/models/b.gguf")).load.n_ctx == 0
    assert layered(settings, None).sampling.top_p == 0.9


def test_a_value_for_one_model_wins_although_it_is_the_default(tmp_path: Path):
    content = '[sampling]\ntop_k = 30\n[for_model."a-Q4_K_M.gguf".sampling]\ntop_k = 40\ntemperature = 0.8\n'
    sampling = layered(written(tmp_path, content), MODEL).sampling
    assert (sampling.top_k, sampling.temperature) == (40, 0.8)


def test_what_is_stated_is_known_to_be_although_it_is_the_default(tmp_path: Path):
    """A server decides about what nobody has stated."""
    content = """
        [sampling]
        top_p = 0.95
        min_p = 0.2
        [for_model."lab:big".sampling]
        temperature = 0.8
        [for_model."other".sampling]
        repeat_penalty = 1.0
        """
    settings = written(tmp_path, content)
    counts = layered(settings, RemoteModel("lab", "big"), {"sampling": {"top_k": 40}})
    assert counts.stated == {"top_p", "temperature", "top_k"}
    assert counts.merged({"sampling": {"min_p": 0.05, "top_k": 7}}).stated == {"top_p", "temperature", "min_p"}
    assert settings.stated == {"top_p"}


@pytest.mark.parametrize(
    ("model", "key"),
    [
        (Path("/models/a.gguf"), "a.gguf"),
        (Path("/models/big-00001-of-00003.gguf"), "big.gguf"),
        (HUB / "some-name-q4_k_m.gguf", "owner/some-name:Q4_K_M"),
        (HUB / "Q8_0" / "some-name-Q8_0-00001-of-00002.gguf", "owner/some-name:Q8_0"),
        (HUB / "plain.gguf", "owner/some-name/plain.gguf"),
        (tutor.FILE, "tutor"),
        (RemoteModel("ollama", "qwen3:4b"), "ollama:qwen3:4b"),
        (ModelInfo("", "ollama:qwen3:4b"), "ollama:qwen3:4b"),
        (MODEL, "a-Q4_K_M.gguf"),
        (None, ""),
    ],
)
def test_models_are_called_the_same_wherever_they_lie(model: ModelInfo | Address | None, key: str):
    assert key_of(model) == key


def test_the_tutor_is_careful_unless_its_file_says_otherwise():
    assert recommended(ModelInfo(str(tutor.FILE), "Tutor")) == {"temperature": tutor.TEMPERATURE}
    assert recommended(ModelInfo(str(tutor.FILE), "Tutor", recommended={"temperature": 0.3})) == {"temperature": 0.3}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"temp": "0.600000", "top_k": "20", "top_p": "0.950000"}, {"temperature": 0.6, "top_k": 20, "top_p": 0.95}),
        ({"temp": 0.20000000298023224, "min_p": 0}, {"temperature": 0.2, "min_p": 0.0}),
        ({"penalty_repeat": "1.05", "penalty_last_n": "64"}, {"repeat_penalty": 1.05, "repeat_last_n": 64}),
        ({"temp": "warm", "top_k": "", "top_p": None, "min_p": []}, {}),
        ({"temp": "9", "top_k": "-1", "top_p": "nan", "penalty_last_n": "inf"}, {}),
        ({"mirostat": "2", "sequence": "top_k;temperature"}, {}),
    ],
)
def test_recommendations_that_cannot_be_used_are_left_out(values: dict[str, Any], expected: dict[str, Any]):
    assert recommended_by(values) == expected
