"""Promises of `chatterm ask`: one answer on stdout, the manners of a Unix tool."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from support.command import environment, events, run
from support.tiny_models import write_chain, write_model

from chatterm import paths
from chatterm.events import FinishReason, LoadEvent, LoadStage, ModelInfo, ReplyEvent

UNICODE = "Grüße, naïve café. 日本語 مرحبا שלום 👩‍👩‍👧‍👦 🇩🇪 ẞ @#"


def cut(text: bytes) -> list[bytes]:
    """A text in pieces of one to four bytes, in the middle of characters where it comes so; no piece twice."""
    pieces: list[bytes] = []
    while text:
        size = next(size for size in (1, 2, 3, 4, 5, 6) if text[:size] not in pieces)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that always says the same sentence in letters of all kinds, cut inside its characters."""
    return write_chain(tmp_path_factory.mktemp("models") / "speaker.gguf", cut(UNICODE.encode()))


@pytest.fixture(scope="module")
def rambler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights, which writes until it is stopped."""
    return write_model(tmp_path_factory.mktemp("models") / "rambler.gguf")


def test_a_trained_model_writes_its_published_text(stories: Path) -> None:
    expected = stories.with_name("stories260K.expected.txt").read_text().rstrip("\n")
    done = run("ask", "--raw", "", "--model", stories, "--temperature", "0", "--max-tokens", "250")
    assert done.returncode == 0, done.stderr
    assert done.stdout.lstrip(" ").startswith(expected)


def test_letters_of_all_scripts_come_through_whole(speaker: Path) -> None:
    done = run("ask", "Say it.", "--model", speaker, "--temperature", "0")
    assert done.returncode == 0, done.stderr
    assert done.stdout == UNICODE


def test_stdout_of_a_pipe_is_the_answer_alone(speaker: Path) -> None:
    done = run("ask", "Say it.", "--model", speaker, "--temperature", "0")
    assert done.stderr == ""
    assert "\x1b" not in done.stdout


def test_what_becomes_of_an_option_is_said_although_no_terminal_reads_it(speaker: Path) -> None:
    done = run("ask", "Say it.", "--model", speaker, "--temperature", "0", "--n-ctx", "8192")
    assert done.stdout == UNICODE
    assert "trained for 4,096" in done.stderr


def test_what_is_piped_in_is_put_below_the_question(rambler: Path) -> None:
    one = events("Translate:\n\nBonjour", "--model", rambler, "--max-tokens", "1")
    two = events("Translate:", "--model", rambler, "--max-tokens", "1", stdin="Bonjour\n")
    alone = events("--model", rambler, "--max-tokens", "1", stdin="Translate:\n\nBonjour")
    prompts = [next(e["token_ids"] for e in each if e["event"] == "prompted") for each in (one, two, alone)]
    assert prompts[0] == prompts[1] == prompts[2]


def test_json_gives_an_event_a_line_with_token_ids(speaker: Path) -> None:
    got = events("Say it.", "--model", speaker, "--temperature", "0")
    assert [got[0]["event"], got[-1]["event"]] == ["loading", "finished"]
    tokens = [event for event in got if event["event"] == "token"]
    assert all(isinstance(event["id"], int) for event in tokens if event["id"] is not None)
    assert "".join(event["text"] for event in tokens) == UNICODE
    assert got[-1]["n_generated"] == len(cut(UNICODE.encode()))


def test_the_same_seed_and_settings_give_the_same_tokens(rambler: Path) -> None:
    def ids(*arguments: str) -> list[int]:
        got = events("Go on.", "--model", rambler, "--max-tokens", "24", "--temperature", "1.5", *arguments)
        return [event["id"] for event in got if event["event"] == "token" and event["id"] is not None]

    assert ids("--seed", "11") == ids("--seed", "11")
    assert ids("--seed", "11") != ids("--seed", "12")
    assert ids() != ids(), "without a seed every process draws its own"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "QUESTION"),
        (("hi", "--temperature", "warm"), 2, "temperature"),
        (("hi", "--no-such-flag"), 2, "no-such-flag"),
        (("hi", "--temperature", "9"), 2, "--temperature"),
        (("hi", "--raw", "--system", "Be brief."), 2, "--system: --raw uses no chat template"),
        (("hi", "--raw", "--template-variable", "a=1"), 2, "--template-variable: --raw uses no chat template"),
        (("hi", "--model", "nowhere.gguf"), 1, "nowhere.gguf"),
        (("hi", "--model", "nowhere"), 1, "There is no model"),
    ],
)
def test_wrong_usage_ends_with_2_and_failure_with_1(arguments: tuple[str, ...], code: int, said: str) -> None:
    done = run("ask", *arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_model_is_named_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "page.gguf"
    path.write_text("<!DOCTYPE html><html>Not found</html>")
    done = run("ask", "hi", "--model", path)
    assert done.returncode == 1
    assert "page.gguf" in done.stderr
    assert "Traceback" not in done.stderr


def test_interrupting_keeps_what_arrived_and_ends_with_130(rambler: Path) -> None:
    command = [sys.executable, "-m", "chatterm", "ask", "Go on.", "--model", str(rambler), "--n-ctx", "4096"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        assert process.stdout
        assert process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == b""


def test_a_reader_that_leaves_ends_it_quietly(rambler: Path) -> None:
    command = [sys.executable, "-m", "chatterm", "ask", "Go on.", "--model", str(rambler), "--n-ctx", "4096"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
        process.wait(60)
    assert process.returncode == 128 + signal.SIGPIPE


def read_terminal(command: list[str], **changes: str) -> str:
    """What a command writes to a terminal."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, env=environment(**changes)
    ) as process:
        os.close(follower)
        written = b""
        while True:
            try:
                chunk = os.read(leader, 65536)
            except OSError:  # the other side is closed
                break
            if not chunk:
                break
            written += chunk
        process.wait(60)
    os.close(leader)
    return written.decode()


def test_a_model_cannot_steer_the_terminal(tmp_path: Path) -> None:
    model = write_chain(tmp_path / "rude.gguf", [b"\x1b", b"]0;", b"owned", b"\x07", b"ok"])
    command = [sys.executable, "-m", "chatterm", "ask", "hi", "--model", str(model), "--temperature", "0"]
    shown = read_terminal(command, TERM="xterm-256color")
    assert "owned" in shown
    assert "\x1b]0;" not in shown
    assert "\x07" not in shown


def test_a_raw_escape_reaches_a_pipe_as_it_is(tmp_path: Path) -> None:
    model = write_chain(tmp_path / "rude.gguf", [b"\x1b", b"ok"])
    assert run("ask", "hi", "--model", model, "--temperature", "0").stdout == "\x1bok"


@pytest.mark.parametrize("arch", ["llama", "qwen2", "qwen3", "gemma3", "phi3"])
def test_greedy_tokens_equal_a_plain_llama_loop(arch: str, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model.gguf", arch, "spm" if arch in {"llama", "gemma3", "phi3"} else "bpe")
    got = events("the cat sat on", "--raw", "--model", model, "--temperature", "0", "--max-tokens", "32")
    prompt = next(event["token_ids"] for event in got if event["event"] == "prompted")
    ids = [event["id"] for event in got if event["event"] == "token" and event["id"] is not None]
    loop = Path(__file__).parents[1] / "support" / "plain_loop.py"
    done = subprocess.run(
        [sys.executable, loop, model, "the cat sat on", "32"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == {"prompt": prompt, "ids": ids}


def written(content: str) -> None:
    paths.ensure(paths.settings_file().parent)
    paths.settings_file().write_text(content, encoding="utf-8")


def is_settled(model: Path, *arguments: str) -> bool:
    """Whether a model that rambles is asked for its likeliest token alone, so that all its replies are the same."""
    first, second = (
        [e["id"] for e in events("Go on.", "--model", model, "--max-tokens", "24", *arguments) if e["event"] == "token"]
        for _ in range(2)
    )
    return first[:24] == second[:24]


def test_each_layer_of_settings_wins_over_those_below_it(tmp_path: Path) -> None:
    calm = write_model(tmp_path / "calm.gguf", metadata={"general.sampling.temp": 0.0})
    assert is_settled(calm), "the model's file recommends it"
    written("[sampling]\ntemperature = 1.0\n")
    assert not is_settled(calm), "the user's file wins over it"
    written('[sampling]\ntemperature = 1.0\n[for_model."calm.gguf".sampling]\ntemperature = 0\n')
    assert is_settled(calm), "what is set for the model wins over what is set for all"
    assert not is_settled(calm, "--temperature", "1.0"), "and a flag over everything"


def test_settings_for_a_model_count_when_it_is_loaded_and_asked(speaker: Path) -> None:
    written(
        f'[for_model."{speaker.name}".load]\nn_ctx = 768\n'
        f'[for_model."{speaker.name}".chat]\nsystem_prompt = "Be brief."\n[for_model."b.gguf".load]\nn_ctx = 512\n'
    )
    with_own = events("Say it.", "--model", speaker, "--max-tokens", "1")
    loaded = next(event for event in with_own if event["event"] == "loaded")
    assert loaded["model"]["n_ctx"] == 768
    paths.settings_file().unlink()
    by_flag = events("Say it.", "--model", speaker, "--max-tokens", "1", "--system", "Be brief.")
    prompts = [next(e["token_ids"] for e in each if e["event"] == "prompted") for each in (with_own, by_flag)]
    assert prompts[0] == prompts[1]


def test_every_field_of_the_json_events_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs/json.md").read_text(encoding="utf-8")
    for event in typing.get_args(LoadEvent | ReplyEvent):
        row = next(line for line in text.splitlines() if line.startswith(f"| `{event.__struct_config__.tag}` |"))
        for field in event.__struct_fields__:
            assert f"`{field}`" in row, (event, field)
    for choice in (*LoadStage, *FinishReason):
        assert f"`{choice}`" in text
    for field in ModelInfo.__struct_fields__:
        assert f"`{field}`" in text.split("The fields of `model`")[1]


def test_without_a_model_the_tutor_answers() -> None:
    done = run("ask", "What is a token?", "--temperature", "0")

    assert done.returncode == 0, done.stderr
    assert "token" in done.stdout
