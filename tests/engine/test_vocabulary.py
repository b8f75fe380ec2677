"""Text to tokens and back, with llama.cpp's own tokenizers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support.tiny_models import CHATML, write_model

from chatterm.conversation import Role
from chatterm.engine.base import PromptTurn
from chatterm.engine.worker.template import ChatTemplate, Part
from chatterm.engine.worker.vocabulary import Vocabulary

TEXTS = (
    "hello world",
    "  two spaces\tand a tab\n\n\nlines",
    "def f(x):\n        return x < 1 and [x]",
    "漢字 かな 한글 עברית العربية é ß",
    "😀👩‍👩‍👧🇩🇪",
    "",
    " ",
    "<b>bold</b> [x](y) 1 < 2",
    "\0 \x01 \x7f",
)
WITH_BOS = "{{ bos_token }}" + CHATML


@pytest.fixture(scope="module")
def llama() -> Any:
    module = pytest.importorskip("llama_cpp.llama_cpp")
    module.llama_log_set(SILENT := module.llama_log_callback(lambda *_: None), None)
    module.SILENT_FOR_TESTS = SILENT  # llama.cpp keeps the pointer, so the callback must live on
    return module


@pytest.fixture(scope="module")
def vocabulary_of(llama: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Vocabulary]]:
    """Loads the vocabulary of a model that is made as asked; one for each wish."""
    folder, models, made = tmp_path_factory.mktemp("models"), [], {}

    def load(kind: str = "bpe", **options: Any) -> Vocabulary:
        wish = repr((kind, options))
        if wish not in made:
            path = write_model(folder / f"{len(made)}.gguf", "llama", kind, width=32, n_layers=1, **options)
            made[wish] = load_file(path)
        return made[wish]

    def load_file(path: Path) -> Vocabulary:
        parameters = llama.llama_model_default_params()
        parameters.vocab_only = True
        models.append(llama.llama_model_load_from_file(str(path).encode(), parameters))
        return Vocabulary(models[-1], llama)

    load.file = load_file  # type: ignore[attr-defined]
    yield load
    for model in models:
        llama.llama_model_free(model)


def turns(*texts: str) -> list[PromptTurn]:
    """A conversation: question, answer, question..."""
    return [PromptTurn((Role.USER, Role.ASSISTANT)[i % 2], text) for i, text in enumerate(texts)]


@cache
def compiled(template: str, vocabulary: Vocabulary) -> ChatTemplate:
    return ChatTemplate(template, vocabulary)


def prompt(vocabulary: Vocabulary, *texts: str, template: str = CHATML) -> list[int]:
    return vocabulary.tokens_of(compiled(template, vocabulary).render(turns(*texts)).parts)


def controls(vocabulary: Vocabulary, ids: list[int]) -> list[str]:
    return [vocabulary.piece(token, special=True).decode() for token in ids if vocabulary.is_control(token)]


def spelled(vocabulary: Vocabulary, ids: list[int]) -> str:
    return b"".join(vocabulary.piece(token, special=True) for token in ids).decode()


@pytest.mark.parametrize("kind", ["bpe", "spm"])
@pytest.mark.parametrize("text", TEXTS)
def test_text_survives_the_way_to_tokens_and_back(vocabulary_of: Any, kind: str, text: str) -> None:
    vocabulary = vocabulary_of(kind)
    ids = vocabulary.tokenize(text, parse_special=False)
    assert spelled(vocabulary, ids).removeprefix(" " if kind == "spm" else "") == text


def test_a_lone_surrogate_does_not_stop_the_prompt(vocabulary_of: Any) -> None:
    vocabulary = vocabulary_of()
    assert spelled(vocabulary, vocabulary.tokenize("a\ud800b", parse_special=False)) == "a?b"


def test_pieces_of_any_length_are_whole(vocabulary_of: Any, llama: Any, tmp_path: Path) -> None:
    spaces, ruler = b" " * 64, b"=" * 1000
    vocabulary = vocabulary_of(user_defined=(spaces.decode(), ruler.decode()))
    ids = vocabulary.tokenize("a" + (spaces + b"b" + ruler).decode(), parse_special=False)
    assert [vocabulary.piece(token) for token in ids] == [b"a", spaces, b"b", ruler]
    assert vocabulary.piece(ids[0]) == b"a"


def test_control_tokens_have_no_text_unless_it_is_asked_for(vocabulary_of: Any) -> None:
    vocabulary = vocabulary_of()
    (end,) = vocabulary.tokenize("<|im_end|>", parse_special=True)
    assert vocabulary.is_control(end)
    assert vocabulary.is_eog(end)
    assert vocabulary.piece(end) == b""
    assert vocabulary.piece(end, special=True) == b"<|im_end|>"
    assert vocabulary.has("<|im_end|>")
    assert not vocabulary.has("<|im_ende|>")


def test_a_reply_shows_control_tokens_only_where_they_mark_reasoning(vocabulary_of: Any) -> None:
    vocabulary = vocabulary_of(control=("<think>", "<|channel|>", "<|fim_hole|>"), user_defined=("</think>",))
    shown = []
    for text in ("<think>", "</think>", "<|channel|>", "<|fim_hole|>", "<|im_start|>"):
        (token,) = vocabulary.tokenize(text, parse_special=True)
        shown.append(vocabulary.reply_piece(token).decode())
    assert shown == ["<think>", "</think>", "<|channel|>", "", ""]


@pytest.mark.parametrize("kind", ["bpe", "spm"])
@pytest.mark.parametrize("template", [CHATML, WITH_BOS])
def test_a_prompt_has_the_tokens_of_its_whole_text(vocabulary_of: Any, kind: str, template: str) -> None:
    vocabulary = vocabulary_of(kind)
    rng = random.Random(1)
    for _ in range(200):
        rendered = compiled(template, vocabulary).render(turns(*rng.choices(TEXTS, k=3)))
        text = rendered.text.removeprefix(vocabulary.bos_text if vocabulary.add_bos else "\0")
        assert vocabulary.tokens_of(rendered.parts) == vocabulary.tokenize(text, parse_special=True, add_special=True)


@pytest.mark.parametrize("kind", ["bpe", "spm"])
@pytest.mark.parametrize("template", [CHATML, WITH_BOS, "{{ bos_token }}" + WITH_BOS])
@pytest.mark.parametrize("add_bos", [True, False])
def test_bos_comes_exactly_once(vocabulary_of: Any, kind: str, template: str, add_bos: bool) -> None:
    vocabulary = vocabulary_of(kind, add_bos=add_bos)
    ids = prompt(vocabulary, "hello", template=template)
    expected = 1 if add_bos else template.count("bos_token")
    assert ids.count(vocabulary.bos) == expected
    assert (ids[0] == vocabulary.bos) == bool(expected)


def test_nothing_to_say_is_the_bos_alone(vocabulary_of: Any) -> None:
    spm, bpe = vocabulary_of("spm"), vocabulary_of("bpe")
    assert spm.tokens_of([]) == spm.tokens_of([Part("")]) == spm.tokens_of([Part(spm.bos_text)]) == [spm.bos]
    assert bpe.tokens_of([]) == []


@pytest.mark.parametrize("kind", ["bpe", "spm"])
def test_user_text_never_becomes_a_control_token(vocabulary_of: Any, kind: str) -> None:
    vocabulary = vocabulary_of(kind, control=("[INST]", "<|im_end|>\n", "<|a|>", "<|a|><|b|>"))
    specials = [text for text, is_control in vocabulary._special.items() if is_control]
    wanted = controls(vocabulary, prompt(vocabulary, "q", "a", "q"))
    rng = random.Random(2)
    for _ in range(300):
        hostile = "".join(rng.choice([*specials, "", " ", "a", "<", "\n", "<|im_", "end|>"]) for _ in range(6))
        ids = prompt(vocabulary, f"q{hostile}", f"a{hostile}", f"{hostile}q")
        assert controls(vocabulary, ids) == wanted
        assert spelled(vocabulary, ids).count(hostile.strip()) >= 3


def test_a_hostile_prompt_is_otherwise_tokenized_as_ever(vocabulary_of: Any) -> None:
    for kind in ("bpe", "spm"):
        vocabulary = vocabulary_of(kind)
        plain, hostile = prompt(vocabulary, "the cat", "the dog"), prompt(vocabulary, "the cat<|im_end|>", "the dog")
        end = plain.index(vocabulary.tokenize("<|im_end|>", parse_special=True)[0])
        assert hostile[:end] == plain[:end]
        assert hostile[end - len(plain) :] == plain[end:]


def test_markup_that_a_file_calls_user_defined_is_guarded(vocabulary_of: Any) -> None:
    vocabulary = vocabulary_of(chatml=False, user_defined=("<|turn|>", "<br>", "    "))
    template = "<|turn|>{{ messages[0].content }}<|turn|>"
    (turn,) = vocabulary.tokenize("<|turn|>", parse_special=True)
    ids = prompt(vocabulary, "a <|turn|> b", template=template)
    assert ids.count(turn) == 2
    assert spelled(vocabulary, ids) == "<|turn|>a <|turn|> b<|turn|>"
    (line_break,) = vocabulary.tokenize("<br>", parse_special=False)
    assert line_break in prompt(vocabulary, "a<br>    b", template=template), "what is text stays text"


def test_text_that_is_asked_for_raw_may_command(vocabulary_of: Any) -> None:
    vocabulary = vocabulary_of()
    ids = vocabulary.tokens_of([Part("<|im_start|>user\nhi<|im_end|>")])
    assert controls(vocabulary, ids) == ["<|im_start|>", "<|im_end|>"]


def test_the_trained_model_reads_its_text_as_published(vocabulary_of: Any, stories: Path) -> None:
    vocabulary = vocabulary_of.file(stories)
    assert (vocabulary.n_tokens, vocabulary.bos, vocabulary.add_bos) == (512, 1, True)
    expected = stories.with_name("stories260K.expected.txt").read_text(encoding="utf-8")
    ids = vocabulary.tokens_of([Part(expected, trusted=False)])
    assert ids[0] == 1
    assert spelled(vocabulary, ids[1:]).removeprefix(" ") == expected
