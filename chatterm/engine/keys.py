"""Keys of servers: where one is found, where one is kept, and how it gets into a request and nowhere else.

A key is looked for in the environment, in the system's keyring, then in a file that only its owner
can read. It is never a plain text outside of this module: not in records, errors, logs or tracebacks.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from chatterm import paths
from chatterm.engine.servers import Server
from chatterm.errors import KeyUnusable

T = TypeVar("T")

_SERVICE = "chatterm"
"""What the entries in the keyring are called; the user of each is the server's name."""
_KEYRING_SECONDS = 30.0
"""How long a keyring is waited for: it may ask for a password in a window of its own."""


class Key:
    """A key, and where it was found; the key itself cannot be read from outside by accident."""

    __slots__ = ("_value", "source")

    def __init__(self, value: str, source: str) -> None:
        """A key that was found.

        Raises:
            KeyUnusable: no key looks like this.
        """
        if not value.isascii() or not value.isprintable() or " " in value:
            raise KeyUnusable(
                f"What is kept as a key in {source} holds characters that no key has.", "Copy the key again, whole."
            )
        self._value = value
        self.source = source
        """Such as "OPENAI_API_KEY" or "the keyring"."""

    def __repr__(self) -> str:
        return f"Key(from {self.source})"

    def sign(self, headers: Any, name: str = "") -> None:
        """Put it into the headers of a request, under a name of their own or as everybody does."""
        if name:
            headers[name] = self._value
        else:
            headers["Authorization"] = f"Bearer {self._value}"

    def out_of(self, text: str) -> str:
        """A text from outside without the key, should it repeat it."""
        return text.replace(self._value, "…")


class Found(NamedTuple):
    """What a search for a key came to."""

    key: Key | None
    tried: tuple[str, ...] = ()
    """Where there was none, as parts of a sentence: "OPENAI_API_KEY is not set"."""


def find(server: Server) -> Found:
    """The key of a server; blocks, since the keyring may.

    Raises:
        KeyUnusable: one is kept where others can read it, or is damaged.
    """
    tried: list[str] = []
    if server.key_env:
        if value := os.environ.get(server.key_env, "").strip():
            return Found(Key(value, server.key_env))
        tried.append(f"{server.key_env} is not set")
    try:
        if value := (_with_deadline(lambda: _keyring().get_password(_SERVICE, server.name)) or "").strip():
            return Found(Key(value, "the keyring"))
        tried.append("the keyring holds none")
    except _KeyringFailed as error:
        tried.append(str(error))
    path = paths.keys_file()
    if value := _read(path).get(server.name, "").strip():
        return Found(Key(value, str(path)))
    tried.append(f"{path.name} holds none")
    return Found(None, tuple(tried))


def keep(name: str, value: str) -> str:
    """Keep the key of a server; gives where. The file is taken where no keyring works; blocks.

    Raises:
        KeyUnusable: no key looks like this, or it can be kept nowhere.
    """
    value = value.strip()
    Key(value, "what you typed")
    if not value:
        raise KeyUnusable("No key was given.", "Nothing was changed.")
    path = paths.keys_file()
    try:
        _with_deadline(lambda: _keyring().set_password(_SERVICE, name, value))
    except _KeyringFailed:
        _write(path, _read(path) | {name: value})
        return str(path)
    if name in (kept := _read(path)):
        _write(path, {other: key for other, key in kept.items() if other != name})
    return "the keyring"


def forget(name: str) -> bool:
    """Remove the key of a server from the keyring and the file; whether there was one. Blocks.

    Raises:
        KeyUnusable: the file cannot be used or written.
    """
    path, had = paths.keys_file(), False
    with suppress(_KeyringFailed):
        if _with_deadline(lambda: _keyring().get_password(_SERVICE, name)) is not None:
            _with_deadline(lambda: _keyring().delete_password(_SERVICE, name))
            had = True
    if name in (kept := _read(path)):
        _write(path, {other: key for other, key in kept.items() if other != name})
        had = True
    return had


class _KeyringFailed(Exception):
    """The keyring could not be asked; the text is a part of a sentence."""


def _keyring() -> Any:
    """The keyring library with a backend that works."""
    import keyring  # late: it looks for backends, which takes a while
    from keyring.backends import fail

    if isinstance(keyring.get_keyring(), fail.Keyring):
        raise _KeyringFailed("there is no keyring")
    return keyring


def _with_deadline(ask: Callable[[], T]) -> T:
    """What the keyring answers, in time; its errors say nothing of the key.

    Raises:
        _KeyringFailed: it does not work, is locked, or did not answer.
    """
    answer: list[T] = []
    failure: list[Exception] = []

    def run() -> None:
        try:
            answer.append(ask())
        except Exception as error:  # backends raise what they like
            failure.append(error)

    thread = threading.Thread(target=run, name="keyring", daemon=True)
    thread.start()
    thread.join(_KEYRING_SECONDS)
    match failure:
        case [_KeyringFailed() as error]:
            raise error
        case [error]:
            raise _KeyringFailed(f"the keyring does not work ({type(error).__name__})") from None
    if not answer:
        raise _KeyringFailed("the keyring did not answer")
    return answer[0]


def _read(path: Path) -> dict[str, str]:
    """The keys in the file; none where there is no file.

    Raises:
        KeyUnusable: others can read it, or it is damaged.
    """
    import tomllib  # late: there may be no file

    try:
        with path.open("rb") as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise KeyUnusable(
                    f"{path} can be read or changed by others on this machine, so its keys are not used.",
                    f"Run `chmod 600 '{path}'`; if others use the machine, make new keys, too.",
                )
            content = file.read()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise KeyUnusable(f"{path} cannot be read: {error.strerror or error}.", "Make it yours again.") from error
    try:
        kept = tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):  # whose text may repeat what is in the file
        kept = None
    if kept is None or not all(isinstance(value, str) for value in kept.values()):
        raise KeyUnusable(
            f"{path} is damaged.", 'Each line is SERVER = "KEY"; mend it, or remove it and store the keys again.'
        ) from None
    return kept


def _write(path: Path, keys: dict[str, str]) -> None:
    """Write the file, which nobody else can read: a new one from the start, and `_read` refuses an old one that others can.

    Raises:
        KeyUnusable: it cannot be written.
    """
    import tomlkit  # late: only storing needs it

    document = tomlkit.document()
    for name, value in sorted(keys.items()):
        document[name] = value
    try:
        paths.replace(path, tomlkit.dumps(document))
    except OSError as error:
        raise KeyUnusable(
            f"{path} cannot be written: {error.strerror or error}.", "Make its folder writable."
        ) from error
