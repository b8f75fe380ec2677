"""Keys: found in the environment, the keyring or a file, kept in the safest of these, shown nowhere."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

from chatterm import paths
from chatterm.engine import keys
from chatterm.engine.servers import Server, find
from chatterm.errors import KeyUnusable
from chatterm.settings import ServerSettings

KEY = "sk-very-secret-4711"


class InMemory(KeyringBackend):
    """A keyring that works."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.error: Exception | None = None

    def get_password(self, service: str, username: str) -> str | None:
        if self.error:
            raise self.error
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.error:
            raise self.error
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture
def ring() -> Iterator[InMemory]:
    """A keyring that works, for one test."""
    before, mine = keyring.get_keyring(), InMemory()
    keyring.set_keyring(mine)
    yield mine
    keyring.set_keyring(before)


@pytest.fixture
def openai() -> Server:
    server = find("openai", {"openai": ServerSettings(key_env="OWN_KEY")})
    assert server
    return server


def value_of(found: keys.Found) -> str:
    """The key itself, as a request gets it."""
    headers: dict[str, str] = {}
    assert found.key
    found.key.sign(headers)
    return headers["Authorization"].removeprefix("Bearer ")


def write(content: str, mode: int = 0o600) -> Path:
    path = paths.keys_file()
    paths.ensure(path.parent)
    path.write_text(content)
    path.chmod(mode)
    return path


def test_the_environment_comes_before_the_keyring_and_that_before_the_file(
    openai: Server, ring: InMemory, monkeypatch: pytest.MonkeyPatch
):
    write('openai = "of-the-file"\n')
    assert value_of(keys.find(openai)) == "of-the-file"
    ring.kept["chatterm", "openai"] = "of-the-ring"
    found = keys.find(openai)
    assert (value_of(found), found.key and found.key.source) == ("of-the-ring", "the keyring")
    monkeypatch.setenv("OWN_KEY", " of-the-environment\n")
    found = keys.find(openai)
    assert (value_of(found), found.key and found.key.source) == ("of-the-environment", "OWN_KEY")


def test_where_a_key_was_looked_for_is_told(openai: Server):
    found = keys.find(openai)
    assert found.key is None
    assert found.tried == ("OWN_KEY is not set", "there is no keyring", "keys.toml holds none")


def test_a_key_is_kept_in_the_keyring(openai: Server, ring: InMemory):
    write('openai = "old"\nother = "stays"\n')
    assert keys.keep("openai", f" {KEY}\n") == "the keyring"
    assert ring.kept == {("chatterm", "openai"): KEY}
    assert "old" not in paths.keys_file().read_text(), "one key is kept in one place"
    assert "stays" in paths.keys_file().read_text()
    assert keys.forget("openai")
    assert (ring.kept, keys.find(openai).key) == ({}, None)


def test_without_a_keyring_a_file_takes_it_that_nobody_else_can_read(openai: Server):
    where = keys.keep("openai", KEY)
    keys.keep("my.lan", "other")
    path = paths.keys_file()
    assert where == str(path)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert value_of(keys.find(openai)) == KEY
    assert keys.forget("openai")
    assert not keys.forget("openai")
    assert path.read_text() == '"my.lan" = "other"\n'


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_read_is_refused(openai: Server, mode: int):
    path = write(f'openai = "{KEY}"\n', mode)
    with pytest.raises(KeyUnusable, match="can be read or changed by others") as error:
        keys.find(openai)
    assert f"chmod 600 '{path}'" in error.value.remedy
    with pytest.raises(KeyUnusable):
        keys.keep("openai", "new")
    assert KEY in path.read_text()


@pytest.mark.parametrize("content", [f"openai = {KEY}", f'openai = ["{KEY}"]', f'[openai]\nkey = "{KEY}"', "\udcff"])
def test_a_damaged_file_is_named_without_what_is_in_it(openai: Server, content: str):
    path = write("")
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(KeyUnusable, match="is damaged") as error:
        keys.find(openai)
    assert KEY not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize("failure", [KeyringLocked("locked"), RuntimeError(f"no bus for {KEY}")])
def test_a_keyring_that_fails_is_as_none(openai: Server, ring: InMemory, failure: Exception):
    ring.error = failure
    found = keys.find(openai)
    assert found.key is None
    assert f"does not work ({type(failure).__name__})" in found.tried[1]
    assert keys.keep("openai", KEY) == str(paths.keys_file())
    assert value_of(keys.find(openai)) == KEY


def test_a_keyring_that_does_not_answer_is_given_up(openai: Server, ring: InMemory, monkeypatch: pytest.MonkeyPatch):
    gate = threading.Event()
    monkeypatch.setattr(keys, "_KEYRING_SECONDS", 0.01)
    monkeypatch.setattr(ring, "get_password", lambda *_: gate.wait(20))
    assert keys.find(openai).tried[1] == "the keyring did not answer"
    gate.set()


@pytest.mark.parametrize("value", ["two words", "line\nbreak", "ümlaut", "esc\x1b"])
def test_what_can_be_no_key_is_refused_without_repeating_it(value: str):
    with pytest.raises(KeyUnusable, match="holds characters") as error:
        keys.keep("openai", value)
    assert value not in str(error.value)
    with pytest.raises(KeyUnusable, match="No key"):
        keys.keep("openai", "  ")
    assert not paths.keys_file().exists()


def test_a_key_does_not_show_itself():
    key = keys.Key(KEY, "OWN_KEY")
    found = keys.Found(key)
    assert KEY not in f"{key} {key!r} {found} {[key]}"
    assert key.out_of(f"<{KEY}>") == "<…>"
    assert not hasattr(key, "__dict__")
