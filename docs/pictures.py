"""Draws the README's pictures: the real app, a scripted model, a store of its own.

Usage: python docs/pictures.py [FOLDER]
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.pilot import Pilot

HERE = Path(__file__).resolve().parent
SIZE = (120, 36)
SECONDS_TO_WAIT = 30

EARLIER = (
    ("Plan a weekend in Lisbon", "Saturday: Alfama and the castle."),
    ("Rename files in a folder by date", "Use `exiftool`."),
    ("Explain the chain rule", "Rates multiply."),
)
QUESTION = "How does temperature change what you write?"
ANSWER = """\
At every step I compute a **probability** for each token that could come next. \
Temperature reshapes that distribution before one token is drawn:

| Temperature | Effect | Good for |
| --- | --- | --- |
| 0 to 0.3 | predictable | facts, code |
| 0.7 to 1 | balanced | chat |
| above 1.5 | incoherent | surprises |

```python
def reshape(logits, temperature):
    scaled = [x / temperature for x in logits]
    return softmax(scaled)  # low: one token wins
```

Then the token is appended, and it all *repeats*.
"""


async def draw(folder: Path) -> None:
    """All pictures, as SVG."""
    from glass_pictures import draw_glass

    from chatterm import paths
    from chatterm.chat import Chat
    from chatterm.engine.scripted import ScriptedEngine
    from chatterm.events import ModelInfo
    from chatterm.library import Library
    from chatterm.settings import Settings
    from chatterm.store import Store
    from chatterm.ui.app import ChatApp
    from chatterm.ui.background import Asked

    engine = ScriptedEngine(
        *(answer for _, answer in EARLIER),
        ANSWER,
        model=ModelInfo(
            path="qwen2.5-7b-instruct-q4_k_m.gguf", name="Qwen2.5 7B Instruct", quantization="Q4_K_M", n_ctx=8192
        ),
    )
    chosen = Settings()
    store = await Store.open(paths.store_file())
    chat = Chat(store, engine, chosen)
    for question, _ in EARLIER:
        chat.new()
        async for _event in chat.reply(question):
            pass

    async def open_store() -> Store:
        return store

    app = ChatApp(open_store, lambda: engine, lambda: Library(chosen), chosen, terminal=Asked(is_dark=True))
    async with app.run_test(size=SIZE) as pilot:
        await picture(pilot, "ready")
        await pilot.press(*QUESTION, "enter")
        (folder / "chat.svg").write_text(await picture(pilot, "tok/s"), encoding="utf-8")
        await pilot.press("f2")
        (folder / "settings.svg").write_text(await picture(pilot, "likeliest"), encoding="utf-8")
        await pilot.press("escape")
    await draw_first_start(folder)
    await draw_models(folder)
    await draw_glass(folder, folder_of_store(), picture)


async def draw_first_start(folder: Path) -> None:
    """What is seen where nothing was chosen yet."""
    from chatterm import tutor
    from chatterm.engine.scripted import ScriptedEngine
    from chatterm.events import ModelInfo
    from chatterm.library import Library
    from chatterm.settings import Settings
    from chatterm.store import Store
    from chatterm.ui.app import ChatApp
    from chatterm.ui.background import Asked

    engine = ScriptedEngine("", model=ModelInfo(path=str(tutor.FILE), name="Tutor", quantization="Q8_0", n_ctx=1024))
    chosen = Settings()

    async def open_store() -> Store:
        return await Store.open(folder_of_store() / "first.db")

    app = ChatApp(open_store, lambda: engine, lambda: Library(chosen), chosen, terminal=Asked(is_dark=True))
    async with app.run_test(size=(100, 30)) as pilot:
        (folder / "first.svg").write_text(await picture(pilot, "click", "ready"), encoding="utf-8")


async def draw_models(folder: Path) -> None:
    """A repository with its files, and the downloads."""
    from shown_models import REPO, ShownDownloads, ShownLibrary

    from chatterm import tutor
    from chatterm.engine.scripted import ScriptedEngine
    from chatterm.events import ModelInfo
    from chatterm.settings import Settings
    from chatterm.store import Store
    from chatterm.ui.app import ChatApp
    from chatterm.ui.background import Asked

    engine = ScriptedEngine("", model=ModelInfo(path=str(tutor.FILE), name="Tutor", quantization="Q8_0", n_ctx=1024))
    chosen = Settings()

    async def open_store() -> Store:
        return await Store.open(folder_of_store() / "models.db")

    app = ChatApp(
        open_store,
        lambda: engine,
        lambda: ShownLibrary(chosen),
        chosen,
        terminal=Asked(is_dark=True),
        make_downloads=ShownDownloads,
    )
    async with app.run_test(size=(110, 26)) as pilot:
        await picture(pilot, "ready")
        await pilot.press("f10")
        await picture(pilot, "Memory")
        await pilot.press("ctrl+pagedown")
        await picture(pilot, REPO)
        await pilot.press("enter")
        (folder / "models.svg").write_text(await picture(pilot, "big", "fits"), encoding="utf-8")
        await pilot.press("enter")
        (folder / "downloads.svg").write_text(await picture(pilot, "MB/s", "pause"), encoding="utf-8")


def folder_of_store() -> Path:
    """Where the pictures' own conversations lie."""
    from chatterm import paths

    return paths.ensure(paths.data_folder())


async def picture(pilot: Pilot[None], *words: str) -> str:
    """The screen as SVG, as soon as all words stand on it."""
    deadline = time.monotonic() + SECONDS_TO_WAIT
    while not all(word in (drawn := pilot.app.export_screenshot(title="chatterm")) for word in words):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{words} do not appear on the screen")
        await pilot.pause(0.05)
    without_fonts = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)  # they would be fetched from elsewhere
    return without_fonts.replace("Fira Code", "Menlo, DejaVu Sans Mono")


def main() -> None:
    """Draw into this folder, or another one."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    with tempfile.TemporaryDirectory() as own:
        for variable in ("CHATTERM_CONFIG_HOME", "CHATTERM_DATA_HOME", "CHATTERM_LOG_HOME", "HF_HOME"):
            os.environ[variable] = str(Path(own) / variable)
        asyncio.run(draw(folder))


if __name__ == "__main__":
    main()
