"""Promises of `chatterm explain`: the numbers of the engine as tables, JSON, and a page that needs nothing else."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from support.command import run
from support.fake_server import Answer, FakeServer, chunk, event
from support.plain_llama import PlainLlama
from support.tiny_models import write_model, write_recurrent

from chatterm import paths, tutor
from chatterm.cli.explaining import explanation
from chatterm.cli.explaining.tables import CAPTIONS
from chatterm.settings import Sampling, save

TITLES = ("TOKENS", "WHAT MAY COME NEXT", "WHERE IT LOOKS", "LAYER BY LAYER", "MEANING AS NUMBERS")
NASTY = 'the cat </text></pre><script>alert("é🙂")</script> <img src=x onerror=alert(1)> & "dog" [bold] \x1b[31m\u202e'
EXACT = ("--cache-type-k", "f32", "--cache-type-v", "f32", "--flash-attention", "off")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama with random weights."""
    return write_model(tmp_path_factory.mktemp("models") / "tiny.gguf", n_layers=3, name="Tiny <b>model</b>")


def explained(*arguments: str | Path) -> dict[str, Any]:
    """What the command prints as JSON."""
    done = run("explain", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_without_a_choice_all_is_shown_each_with_a_sentence(tiny: Path) -> None:
    done = run("explain", "the cat and the dog", "--model", tiny)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert [line for line in done.stdout.splitlines() if line in TITLES] == list(TITLES)
    said = " ".join(done.stdout.split())
    assert all(caption in said for caption in CAPTIONS.values())


@pytest.mark.parametrize(("flag", "title"), list(zip(CAPTIONS, TITLES, strict=True)))
def test_a_choice_shows_that_alone(tiny: Path, flag: str, title: str) -> None:
    done = run("explain", "the cat and the dog", f"--{flag}", "--model", tiny)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line in TITLES] == [title]
    assert len(done.stdout.splitlines()) > 4
    assert set(explained("the cat and the dog", f"--{flag}", "--model", tiny)) == {"model", flag}


def test_the_numbers_are_those_of_a_forward_pass_in_numpy(tiny: Path) -> None:
    found = explained("the cat and the dog", "--raw", "--model", tiny, "--layer", "2", "--head", "3", *EXACT)
    ids = [row["token"]["id"] for row in found["tokens"]]
    plain = PlainLlama(tiny)(ids)
    likely = [softmax(scores) for scores in plain.lens[:, -1].tolist()]
    for row in found["next"]["candidates"]:
        assert row["probability"] == pytest.approx(likely[-1][row["token"]["id"]], abs=1e-4)
    shown = sum(row["probability"] for row in found["next"]["candidates"])
    assert found["next"]["others"] == pytest.approx(1 - shown, abs=1e-6)
    weights = [row["weight"] for row in found["attention"]["row"]]
    assert weights == pytest.approx(plain.attention[1, 2, -1].tolist(), abs=1e-4)
    assert sum(row["without_first"] for row in found["attention"]["row"]) == pytest.approx(1, abs=1e-6)
    for i, row in enumerate(found["attention"]["map"]):
        assert row == pytest.approx(plain.attention[1, 2, i].tolist(), abs=1e-4)
    chosen = found["layers"]["chosen"]["id"]
    for row, layer in zip(found["layers"]["rows"], likely, strict=True):
        assert row["probability"] == pytest.approx(layer[chosen], abs=1e-4)
        assert row["probabilities"][0] == pytest.approx(max(layer), abs=1e-4)
    assert found["layers"]["rows"][-1]["best"][0]["id"] == found["next"]["candidates"][0]["token"]["id"]
    for each in found["neighbours"]["tokens"]:
        table = plain_cosines(PlainLlama(tiny).table, each["token"]["id"])
        assert each["cosines"] == pytest.approx([table[near["id"]] for near in each["near"]], abs=1e-4)


def softmax(scores: list[float]) -> list[float]:
    import numpy as np

    values = np.exp(np.array(scores) - max(scores))
    return [float(value) for value in values / values.sum()]


def plain_cosines(table: Any, token: int) -> list[float]:
    import numpy as np

    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    return [float(value) for value in unit @ unit[token]]


def test_the_tokens_are_the_prompt_byte_for_byte(tiny: Path) -> None:
    text = "Grüße 🙂 the cat\n\ttab"
    found = explained(text, "--raw", "--tokens", "--model", tiny)
    pieces = b"".join(bytes.fromhex(row["token"]["bytes"]) for row in found["tokens"])
    assert pieces.decode() == text
    templated = explained(text, "--tokens", "--model", tiny)["tokens"]
    said = b"".join(bytes.fromhex(row["token"]["bytes"]) for row in templated if row["kind"] == "text")
    assert text.encode() in said
    assert {"special", "template", "text"} >= {row["kind"] for row in templated}
    assert templated[0]["token"]["text"] == "<|im_start|>"
    assert templated[0]["kind"] == "special"


def test_another_token_is_looked_at_where_it_is_asked_for(tiny: Path) -> None:
    found = explained("the cat and the dog", "--raw", "--model", tiny, "--token", "2")
    assert found["attention"]["number"] == found["layers"]["number"] == 2
    assert len(found["attention"]["row"]) == 2
    assert found["layers"]["chosen"]["id"] == found["tokens"][2]["token"]["id"], "what really came next"
    assert [each["token"]["id"] for each in found["neighbours"]["tokens"]] == [found["tokens"][1]["token"]["id"]]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--token", "999"), 1, "no token 999"),
        (("--layer", "4"), 1, "layers 1 to 3"),
        (("--head", "5"), 1, "each layer has 4"),
        (("--layer", "0"), 2, "--layer"),
        (("--tokens", "--layer", "3", "--head", "2"), 2, "--layer: it chooses whose attention"),
        (("--next", "--head", "2"), 2, "--head: it chooses whose attention"),
        (("--tokens", "--token", "1"), 2, "--token"),
        (("--raw", "--system", "Be brief."), 2, "--system: --raw uses no chat template"),
        (("--html", "/nowhere/page.html"), 1, "cannot be written"),
    ],
)
def test_what_cannot_be_shown_is_said(tiny: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = run("explain", "the cat", "--model", tiny, *arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_section_that_cannot_be_shown_does_not_keep_a_layer_from_being_shown(tmp_path: Path) -> None:
    model = write_model(tmp_path / "spm.gguf", vocabulary="spm")
    found = explained("--raw", "", "--model", model, "--layer", "2", "--head", "1")
    assert set(found["missing"]) == {"neighbours"}, "there is no word"
    assert (found["attention"]["layer"], found["attention"]["head"]) == (2, 1)


def test_what_comes_next_is_said_to_follow_the_last_token_whichever_is_looked_at(tiny: Path) -> None:
    n_tokens = len(explained("the cat and the dog", "--raw", "--tokens", "--model", tiny)["tokens"])
    done = run("explain", "the cat and the dog", "--raw", "--next", "--token", "1", "--model", tiny)
    assert f"\nAfter token {n_tokens}, the last one.\n" in done.stdout
    assert n_tokens > 1


def test_what_becomes_of_an_option_is_said_beside_the_tables(tiny: Path) -> None:
    done = run("explain", "the cat", "--tokens", "--model", tiny, "--n-ctx", "8192")
    assert "trained for 4,096" in done.stderr
    assert "TOKENS" in done.stdout


def test_nothing_to_explain_is_wrong_usage(tiny: Path) -> None:
    done = run("explain", "--model", tiny)
    assert done.returncode == 2
    assert "TEXT" in done.stderr or "pipe" in done.stderr


def test_a_model_without_attention_says_so_and_shows_the_rest(tmp_path: Path) -> None:
    done = run("explain", "the cat", "--model", write_recurrent(tmp_path / "mamba.gguf"))
    assert done.returncode == 0, done.stderr
    looks = done.stdout.partition("WHERE IT LOOKS")[2].partition("LAYER BY LAYER")
    assert looks[0].strip().startswith("Not available here, because")
    assert "layer 4" in looks[2] or "  4  " in looks[2]


def test_terminal_and_markup_codes_are_shown_and_not_obeyed(tiny: Path) -> None:
    done = run("explain", NASTY, "--raw", "--model", tiny)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout


class Page(HTMLParser):
    """What elements and attributes a page has."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs


def test_a_page_and_a_picture_need_nothing_else_and_hold_no_code(tiny: Path, tmp_path: Path) -> None:
    page, picture = tmp_path / "page.html", tmp_path / "picture.svg"
    done = run("explain", NASTY, "--model", tiny, "--html", page, "--svg", picture)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    for source in (page.read_text(), picture.read_text()):
        found = Page(source)
        assert not found.tags & {"script", "img", "link", "iframe", "object", "b", "image", "use", "foreignobject"}
        names = {name for name, _ in found.attributes}
        assert not {name for name in names if name.startswith("on") or name in ("href", "src", "xlink:href")}
        assert "&lt;script&gt;" in source or "&lt;" in source
        assert "url(" not in source
        assert "\x1b" not in source
    root = ElementTree.fromstring(picture.read_text())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "default-src 'none'" in page.read_text()


def test_every_field_of_the_json_is_documented() -> None:
    told = (Path(__file__).parents[2] / "docs" / "json.md").read_text().partition("chatterm explain --json")[2]
    records = [
        each for each in vars(explanation).values() if isinstance(each, type) and issubclass(each, msgspec.Struct)
    ]
    ours = [each for each in records if each.__module__ == explanation.__name__]
    assert len(ours) > 8
    for record in ours:
        for field in record.__struct_fields__:
            assert f"`{field}`" in told, (record, field)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_the_page_opens_in_a_browser_and_shows_each_section(tiny: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = run("explain", NASTY, "--model", tiny, "--html", page)
    assert done.returncode == 0, done.stderr
    assert CHROMIUM is not None
    browser = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--dump-dom",
        page.as_uri(),
    ]
    opened = subprocess.run(browser, capture_output=True, text=True, timeout=120, check=False)
    assert opened.returncode == 0, opened.stderr
    shown = Page(opened.stdout)
    assert not shown.tags & {"script", "img", "b"}
    assert opened.stdout.count("<svg") == len(TITLES)
    for title in ("Tokens", "What may come next", "Where it looks", "Layer by layer", "Meaning as numbers"):
        assert f">{title}</h2>" in opened.stdout
    assert "Tiny &lt;b&gt;model&lt;/b&gt;" in opened.stdout


def test_with_no_model_named_the_tutor_is_explained() -> None:
    found = explained("What is a token?", "--tokens", "--next")
    assert found["model"] in tutor.NAME
    assert found["next"]["temperature"] < Sampling().temperature, "it has one of its own"


def test_of_a_model_on_a_server_is_shown_what_it_tells(tmp_path: Path) -> None:
    def entry(token: str, p: float) -> dict[str, Any]:
        return {"token": token, "bytes": list(token.encode()), "logprob": math.log(p)}

    made = chunk("yes")
    made["choices"][0]["logprobs"] = {
        "content": [{**entry("yes", 0.6), "top_logprobs": [entry("yes", 0.6), entry("no", 0.3)]}]
    }
    with FakeServer() as fake:
        save(paths.settings_file(), {"servers": {"fake": {"base_url": fake.url}}})
        fake.answers = [Answer([event(made), event("[DONE]")]) for _ in range(2)]
        found = explained("Is it?", "--model", "fake:tiny")
        done = run("explain", "Is it?", "--model", "fake:tiny")
    assert set(found["missing"]) == {"tokens", "attention", "layers", "neighbours"}
    assert [row["probability"] for row in found["next"]["candidates"]] == pytest.approx([0.6, 0.3])
    assert found["next"]["candidates"][0]["share"] is None
    assert found["next"]["drawn"]["text"] == "yes"
    assert done.returncode == 0, done.stderr
    assert "“yes”" in done.stdout
    assert "60.0%" in done.stdout
    assert done.stdout.count("\n\n") > 4
