"""Where config, data, cache and logs live on this machine.

Every folder follows the platform's rules (platformdirs) and can be moved with one variable, which
is what tests do. Nothing is created here until `ensure` or `replace` is called.
"""

from __future__ import annotations

import os
from pathlib import Path


def _folder(variable: str, kind: str) -> Path:
    """The folder named by an environment variable, or the platform's own."""
    if chosen := os.environ.get(variable):
        return expanded(chosen)
    import platformdirs  # late: the variables spare it

    return Path(getattr(platformdirs, f"user_{kind}_dir")("chatterm", appauthor=False))


def config_folder() -> Path:
    """Settings, keys and the user's own themes; `CHATTERM_CONFIG_HOME` moves it."""
    return _folder("CHATTERM_CONFIG_HOME", "config")


def data_folder() -> Path:
    """The conversations; `CHATTERM_DATA_HOME` moves it."""
    return _folder("CHATTERM_DATA_HOME", "data")


def log_folder() -> Path:
    """Log files; `CHATTERM_LOG_HOME` moves it."""
    return _folder("CHATTERM_LOG_HOME", "log")


def settings_file() -> Path:
    """The user's settings, TOML."""
    return config_folder() / "settings.toml"


def keys_file() -> Path:
    """Keys of servers, TOML, where the system has no keyring; nobody else may read it."""
    return config_folder() / "keys.toml"


def user_themes_folder() -> Path:
    """Themes of the user's own, one TOML file each."""
    return config_folder() / "themes"


def downloads_folder() -> Path:
    """What is remembered of downloads."""
    return data_folder() / "downloads"


def aside_folder() -> Path:
    """What is remembered of deleted models that can still be brought back."""
    return data_folder() / "aside"


def store_file() -> Path:
    """The SQLite database of conversations."""
    return data_folder() / "conversations.db"


def engine_log_file() -> Path:
    """What llama.cpp and the worker process print."""
    return log_folder() / "engine.log"


def hub_log_file() -> Path:
    """What the Hugging Face client has to say."""
    return log_folder() / "hub.log"


def shipped_themes_folder() -> Path:
    """Themes that come with chatterm: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parent
    inside = package / "themes"
    return inside if inside.is_dir() else package.parent / "themes"


def expanded(path: str) -> Path:
    """A path with `~` filled in; where there is no user of that name it stays as it was written.

    Example: "~/models" -> /home/ada/models; "~nobody-here/x" -> ~nobody-here/x
    """
    try:
        return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises where there is no such user
    except ValueError:  # a NUL in the user's name
        return Path(path)


def ensure(folder: Path) -> Path:
    """The same folder, made if it was not there, readable by its owner alone."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def replace(path: Path, content: str, *, is_durable: bool = True) -> None:
    """Write a file so that a crash leaves the old one or the new one, never half of it.

    A new file can be read by its owner alone; one that was there keeps its mode, and a link stays a link.

    Args:
        path: Which file.
        content: All of it.
        is_durable: Whether it is waited until it would outlive a loss of power.

    Raises:
        OSError: it cannot be written; the old one is as it was.
    """
    ensure(path.parent)
    target = path.resolve()  # a settings file that is a link into someone's dotfiles stays one
    import tempfile  # late: only saving needs it

    handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".new")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            if target.exists():
                os.fchmod(handle, target.stat().st_mode)
            file.write(content)
            file.flush()
            if is_durable:
                os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
