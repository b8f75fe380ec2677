"""The whole app on a scripted engine and a real store, for tests of the screen and for pictures."""

from __future__ import annotations

from pathlib import Path

from chatterm import paths
from chatterm.engine.scripted import Line, ScriptedEngine
from chatterm.events import ModelInfo
from chatterm.library import Library
from chatterm.settings import Settings
from chatterm.store import Store
from chatterm.ui.app import ChatApp

MODEL = ModelInfo(
    path="/models/tiny-4b-instruct-q4_k_m.gguf", name="Tiny 4B Instruct", quantization="Q4_K_M", n_ctx=4096
)


def make_app(
    *script: Line | str,
    engine: ScriptedEngine | None = None,
    settings: Settings | None = None,
    with_model: bool = True,
    model: str = "",
    continue_latest: bool = False,
    built_in: Path | None = None,
) -> ChatApp:
    """An app whose model says what is scripted; one that has none yet where `with_model` is false, nor the tutor."""
    chosen = settings or Settings()
    engine = engine or ScriptedEngine(*script)
    if with_model and engine.model is None:
        engine.model = MODEL

    return ChatApp(
        lambda: Store.open(paths.store_file()),
        lambda: engine,
        lambda: Library(chosen, built_in),
        chosen,
        model=model,
        continue_latest=continue_latest,
    )


def model_file(folder: Path, name: str = "second-model-q8_0.gguf") -> Path:
    """A file that a scripted engine takes for a model."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(b"GGUF")
    return path
