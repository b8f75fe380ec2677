"""What the whole app costs: first paint beside an empty Textual app, memory, keys and streams.

    python -m benchmarks.screen          all measurements
    python -m benchmarks.screen --quick  short ones

The stream comes from an engine that replays Markdown at a set rate, so that all but the model is
measured: chat, store, transcript, status line. On a busy machine trust CPU seconds and ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from benchmarks.drawing import END, measure_stream, pieces
from benchmarks.probe import Program, python

EMPTY = """
from textual.app import App
from textual.widgets import Static
class Empty(App):
    def compose(self):
        yield Static("New chat")
Empty().run()
"""
N_STARTS = 15


def run_app(n_turns: int, rate: float, n_tokens: int) -> None:
    """chatterm with a conversation of so many turns and an engine that writes at a rate."""
    from chatterm import paths
    from chatterm.conversation import ReplyRecord, TurnState
    from chatterm.engine.base import Prompt
    from chatterm.engine.scripted import ScriptedEngine
    from chatterm.events import Finished, FinishReason, ModelInfo, Prompted, ReplyEvent, Token
    from chatterm.library import Library
    from chatterm.settings import Sampling, Settings
    from chatterm.store import Store
    from chatterm.ui.app import ChatApp
    from chatterm.ui.background import Asked

    class Replay(ScriptedEngine):
        """Writes at a rate, and says on the screen when it wrote last."""

        async def reply(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[ReplyEvent, None]:  # noqa: ARG002
            yield Prompted(1, 0, 1)
            began = time.monotonic()
            for number, piece in enumerate(pieces(n_tokens, 99)):
                if (pause := began + number / rate - time.monotonic()) > 0:
                    await asyncio.sleep(pause)
                yield Token(piece, number)
            yield Token(f"\n\n{END}-{time.monotonic():.3f}-\n", n_tokens)
            yield Finished(FinishReason.END, n_generated=n_tokens, n_used=n_tokens, n_ctx=8192)

    async def open_store() -> Store:
        store = await Store.open(paths.store_file())
        record = ReplyRecord(model_name="Model")
        if n_turns and await store.latest() is None:
            conversation, parent = await store.create("History"), None
            for number in range(n_turns // 2):
                question = await store.add_question(conversation.id, parent, f"Question {number}?")
                reply = await store.begin_reply(conversation.id, question.id, record)
                text = "".join(pieces(150, number))
                await store.finish_reply(reply.id, TurnState.FINISHED, text, "", record)
                parent = reply.id
            await store.set_head(conversation.id, parent)
        return store

    settings = Settings()
    engine = Replay(model=ModelInfo(path="model.gguf", name="Model", quantization="Q4_K_M", n_ctx=8192))
    ChatApp(
        open_store,
        lambda: engine,
        lambda: Library(settings),
        settings,
        terminal=Asked(is_dark=True),
        continue_latest=True,
    ).run()


def start(n_turns: int = 0, rate: float = 200, n_tokens: int = 2000) -> Program:
    """The app in a pseudo-terminal."""
    return Program(python("-m", "benchmarks.screen", "--app", *(str(value) for value in (n_turns, rate, n_tokens))))


def first_paint() -> dict[str, float]:
    """Starts in turns with an empty Textual app: CPU seconds and seconds until the prompt is drawn, and memory."""
    commands = {"chatterm": python("-m", "chatterm"), "empty": python("-c", EMPTY)}
    cpu: dict[str, list[float]] = {name: [] for name in commands}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    memory: dict[str, list[float]] = {name: [] for name in commands}
    opened: list[float] = []
    for _ in range(N_STARTS):
        for name, command in commands.items():
            with Program(command) as program:
                seconds[name].append(program.wait_for("New chat") - program.started_at)
                cpu[name].append(program.cpu_seconds())
                if name == "chatterm":
                    opened.append(program.wait_for("Ask, for example") - program.started_at)
                program.wait_until_quiet()
                memory[name].append(program.memory_mb())
    median = statistics.median
    return {
        "over an empty app, CPU": median(cpu["chatterm"]) / median(cpu["empty"]),
        "over an empty app, wall": median(seconds["chatterm"]) / median(seconds["empty"]),
        "CPU s": median(cpu["chatterm"]),
        "s until conversations are read and the tutor is loaded": median(opened),
        "s of an empty app": median(seconds["empty"]),
        "MB": median(memory["chatterm"]),
        "MB of an empty app": median(memory["empty"]),
    }


def first_answer() -> dict[str, float]:
    """Seconds from the command to the first answer of the built-in model, asked as soon as a question can be picked."""
    painted, answered = [], []
    for _ in range(N_STARTS):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["CHATTERM_DATA_HOME"] = folder  # each one is a first start
            with Program(python("-m", "chatterm")) as program:
                painted.append(program.wait_for("New chat") - program.started_at)
                program.wait_for("Ask, for example")
                program.write("\t")
                program.wait_for("press 1")  # the list shows that it has the focus
                program.write("1")
                answered.append(program.wait_for("tok/s") - program.started_at)
    return {
        "s, median": statistics.median(answered),
        "s, slowest": max(answered),
        "over the first paint": statistics.median(answered) / statistics.median(painted),
    }


def streamed(rate: float, n_tokens: int, n_turns: int = 0, *, with_keys: bool = False) -> dict[str, float]:
    """Measure one streamed answer."""
    with start(n_turns, rate, n_tokens) as program:
        program.wait_for("ready")
        return measure_stream(program, rate, n_tokens, with_keys=with_keys)


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of the tokens")
    parser.add_argument("--app", nargs=3, metavar=("TURNS", "RATE", "TOKENS"), help="run what is measured")
    arguments = parser.parse_args()
    if arguments.app:
        n_turns, rate, n_tokens = arguments.app
        run_app(int(n_turns), float(rate), int(n_tokens))
        return
    share = 4 if arguments.quick else 1
    runs = {
        "first paint (aim: 1.25 over an empty app, 60 MB)": first_paint,
        "the tutor's first answer, whole (aim: 2 s)": first_answer,
        "200 tokens/s (aim: 1.0 CPU s per 1,000)": lambda: streamed(200, 2000 // share),
        "400 tokens/s, 8,000 tokens (aim: lag 0.1 s)": lambda: streamed(400, 8000 // share),
        "keys, 50 tokens/s below 200 turns (aim: p99 33 ms)": lambda: streamed(50, 1500 // share, 200, with_keys=True),
    }
    for name, measure in runs.items():
        with tempfile.TemporaryDirectory() as folder:
            for variable in ("CHATTERM_CONFIG_HOME", "CHATTERM_DATA_HOME", "CHATTERM_LOG_HOME", "HF_HOME"):
                os.environ[variable] = str(Path(folder) / variable)
            measured = measure()
        print(f"{name}: " + ", ".join(f"{what} {value:.3g}" for what, value in measured.items()), flush=True)


if __name__ == "__main__":
    sys.exit(main())
