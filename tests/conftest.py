"""What all tests share: their own folders for config, data and cache, and the way to tests/support."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from chatterm.engine.servers import PRESETS

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background, which all children would inherit
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = HERE.parent.parent / "shared"


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's own folders, keys, or the network."""
    for variable, name in {
        "CHATTERM_CONFIG_HOME": "config",
        "CHATTERM_DATA_HOME": "data",
        "CHATTERM_LOG_HOME": "log",
        "HF_HOME": "hf",
        "LMSTUDIO_HOME": "lm-studio",
        "OLLAMA_MODELS": "ollama",
    }.items():
        monkeypatch.setenv(variable, str(tmp_path / name))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    for preset in PRESETS.values():
        monkeypatch.delenv(preset.key_env or "NO_KEY", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return tmp_path


@pytest.fixture(scope="session")
def stories() -> Path:
    """A real trained model of 260 thousand parameters, where it is at hand."""
    path = SHARED / "models" / "stories260K.gguf"
    if not path.exists():
        pytest.skip("the trained model lies outside the repository and is not here")
    return path
