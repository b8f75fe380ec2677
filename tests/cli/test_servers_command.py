"""`chatterm models servers`, `key` and `list --remote`, and `ask` with a server, as a person at a shell sees them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from support.command import environment, events, run
from support.fake_server import FakeServer, chunk, event, refused, said
from support.terminal import Terminal

from chatterm import paths
from chatterm.engine.servers import PRESETS
from chatterm.settings import load, save

KEY = "sk-very-secret-4711"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A server that the settings name "fake"."""
    with FakeServer() as fake:
        save(paths.settings_file(), {"servers": {"fake": {"base_url": fake.url, "key_env": "FAKE_KEY"}}})
        yield fake


def everything_written() -> bytes:
    """All files that chatterm has made."""
    folders = (paths.config_folder(), paths.data_folder(), paths.log_folder())
    return b"".join(file.read_bytes() for folder in folders for file in folder.rglob("*") if file.is_file())


def test_servers_are_listed_with_what_is_known_of_them(server: FakeServer) -> None:
    server.models = {"data": [{"id": "tiny"}, {"id": "text-embedding-3"}]}
    done = run("models", "servers", FAKE_KEY=KEY)
    assert done.returncode == 0, done.stderr
    rows = {row.split()[0]: row for row in done.stdout.splitlines()}
    assert list(rows) == ["SERVER", "fake", *PRESETS]
    assert rows["fake"].split() == ["fake", server.url, "from", "FAKE_KEY", "1", "model"]
    assert rows["openai"].split() == ["openai", "https://api.openai.com/v1", "none", "set", "OPENAI_API_KEY"]
    assert KEY not in done.stdout + done.stderr
    assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"


def test_servers_as_json_say_why_one_does_not_answer(server: FakeServer) -> None:
    server.models_answer = refused(401, f"Bad key {KEY}")
    done = run("models", "servers", "--json", FAKE_KEY=KEY)
    first = json.loads(done.stdout.splitlines()[0])
    assert (first["name"], first["key_source"], first["state"]) == ("fake", "FAKE_KEY", "refuses the key")
    assert "chatterm models key fake" in first["error"]
    assert KEY not in done.stdout + done.stderr


def test_models_of_servers_are_listed(server: FakeServer) -> None:
    server.models = {"data": [{"id": "tiny", "max_model_len": 4096}, {"id": "evil\x1b[31m"}, {"id": "two"}]}
    done = run("models", "list", "--remote")
    assert done.returncode == 0, done.stderr
    assert [row.split() for row in done.stdout.splitlines()] == [
        ["MODEL", "CONTEXT", "AT"],
        ["fake:tiny", "4,096", server.host],
        ["fake:two", "-", server.host],
    ]
    one, _ = map(json.loads, run("models", "list", "--remote", "--json").stdout.splitlines())
    assert one == {"name": "fake:tiny", "server": "fake", "host": server.host, "n_ctx": 4096}


def test_without_a_server_it_is_said_how_one_is_set_up() -> None:
    done = run("models", "list", "--remote")
    assert (done.returncode, done.stdout) == (0, "")
    assert "OPENAI_API_KEY" in done.stderr


def test_a_server_that_does_not_answer_is_named_beside_the_others(server: FakeServer) -> None:
    save(paths.settings_file(), {"servers": {"gone": {"base_url": "http://127.0.0.1:9/v1"}}})
    done = run("models", "list", "--remote")
    assert "fake:tiny" in done.stdout
    assert "gone: Nothing answers at 127.0.0.1:9" in done.stderr


def test_a_key_that_is_piped_in_is_stored_for_its_owner_alone(server: FakeServer) -> None:
    done = run("models", "key", "fake", stdin=f"{KEY}\n")
    assert done.returncode == 0, done.stderr
    path = paths.keys_file()
    assert (path.read_text(), path.stat().st_mode & 0o777) == (f'fake = "{KEY}"\n', 0o600)
    assert KEY not in done.stdout + done.stderr
    asked = run("ask", "hello", "--model", "fake:tiny")
    assert asked.stdout == "Hello there"
    assert server.questions[0].headers["authorization"] == f"Bearer {KEY}"
    assert f"from {path}" in run("models", "servers").stdout
    path.chmod(0o644)
    refused_file = run("ask", "hello", "--model", "fake:tiny")
    assert refused_file.returncode == 1
    assert "chmod 600" in refused_file.stderr
    path.chmod(0o600)
    assert run("models", "key", "fake", "--forget").returncode == 0
    assert KEY not in path.read_text()


def test_a_key_is_typed_without_being_seen(server: FakeServer) -> None:
    with Terminal([sys.executable, "-m", "chatterm", "models", "key", "fake"]) as terminal:
        terminal.wait_for(lambda screen: "Key of fake" in screen and terminal.hides_typing)
        terminal.send(KEY, "enter")
        assert terminal.wait_for_end() == 0
        assert KEY.encode() not in terminal.written
    assert KEY in paths.keys_file().read_text()


def test_a_preset_whose_key_is_stored_is_offered_from_then_on() -> None:
    done = run("models", "key", "mistral", stdin=KEY)
    assert "in the settings now" in done.stderr
    assert load(paths.settings_file()).servers["mistral"].preset == "mistral"
    unknown = run("models", "key", "nosuch", stdin=KEY)
    assert unknown.returncode == 1
    assert "mistral" in unknown.stderr
    empty = run("models", "key", "mistral", stdin="\n")
    assert (empty.returncode, "No key was given" in empty.stderr) == (1, True)


def test_ask_streams_what_a_server_says(server: FakeServer) -> None:
    server.answers.append(said("Grüße,", " Welt"))
    done = run("ask", "Say it.", "--model", "fake:tiny")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Grüße, Welt", "")


def test_a_server_is_told_what_is_stated_although_it_is_the_default(server: FakeServer) -> None:
    assert run("ask", "Say it.", "--model", "fake:tiny").returncode == 0
    assert run("ask", "Say it.", "--model", "fake:tiny", "--temperature", "0.8").returncode == 0
    save(paths.settings_file(), {"for_model": {"fake:tiny": {"sampling": {"top_p": 0.95}}}})
    assert run("ask", "Say it.", "--model", "fake:tiny").returncode == 0
    settings = [
        {name: seen.body[name] for name in ("temperature", "top_p") if name in seen.body} for seen in server.questions
    ]
    assert settings == [{}, {"temperature": 0.8}, {"top_p": 0.95}]


@pytest.mark.parametrize("command", [("ask",), ("explain", "--next")])
def test_what_a_server_does_not_take_is_said_where_no_terminal_reads_it(
    server: FakeServer, command: tuple[str, ...]
) -> None:
    done = run(*command, "hello", "--model", "fake:tiny", "--top-k", "5")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "chatterm: fake does not know top_k, so your choice does not count.\n"


def test_ask_as_json_tells_the_same_events(server: FakeServer) -> None:
    got = events("hello", "--model", "fake:tiny", "--top-k", "5")
    kinds = [each["event"] for each in got]
    assert kinds == ["loading", "loaded", "prompted", "token", "token", "finished"]
    assert (got[1]["model"]["name"], got[1]["model"]["host"]) == ("fake:tiny", server.host)
    assert "does not know top_k" in got[2]["notes"][0]
    assert (got[-1]["n_prompt"], got[-1]["n_generated"]) == (7, 3)


def test_ask_says_what_went_wrong_and_what_had_arrived(server: FakeServer) -> None:
    answer = said("one", " two")
    answer.stream, answer.is_cut = [event(chunk("one")), event(chunk(" two"))], True
    server.answers.append(answer)
    done = run("ask", "count", "--model", "fake:tiny")
    assert (done.returncode, done.stdout) == (1, "one two")
    assert "broke in the middle" in done.stderr
    assert "Traceback" not in done.stderr


def test_interrupting_closes_the_connection(server: FakeServer) -> None:
    answer = said("one", " two")
    answer.hold_before = 2
    server.answers.append(answer)
    command = [sys.executable, "-m", "chatterm", "ask", "count", "--model", "fake:tiny"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        assert process.stdout
        assert os.read(process.stdout.fileno(), 3) == b"one"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, b"")
    assert answer.left.wait(60)


def test_the_key_is_in_no_file_and_no_output(server: FakeServer) -> None:
    server.answers += [refused(401, f"Bad key {KEY}")]
    failed = run("ask", "hello", "--model", "fake:tiny", FAKE_KEY=KEY)
    asked = run("ask", "hello", "--json", "--model", "fake:tiny", FAKE_KEY=KEY)
    doctor = run("doctor", "--json", FAKE_KEY=KEY)
    assert failed.returncode == 1
    for done in (failed, asked, doctor):
        assert KEY not in done.stdout + done.stderr
    assert KEY.encode() not in everything_written()


def test_info_and_rm_want_a_file(server: FakeServer) -> None:
    done = run("models", "info", "fake:tiny")
    assert (done.returncode, done.stdout) == (1, "")
    assert "on a server" in done.stderr
    assert run("models", "rm", "fake:tiny", "--yes").returncode == 1


def test_help_tells_of_servers() -> None:
    for arguments in (("servers",), ("key",), ("list",)):
        assert run("models", *arguments, "--help").returncode == 0
    assert "SERVER:MODEL" in run("ask", "--help", COLUMNS="200").stdout
