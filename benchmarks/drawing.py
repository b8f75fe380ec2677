"""What drawing a conversation costs: CPU for each token streamed, lag, key-to-screen time, memory.

    python -m benchmarks.drawing          all measurements, beside plain Textual
    python -m benchmarks.drawing --quick  short ones

The app that is measured has a transcript and a text field and makes its own stream of Markdown at a
set rate, so that nothing else is measured. On a busy machine trust CPU seconds and ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import random
import time
from collections.abc import Iterator

from benchmarks.probe import Program, percentile, python

WORDS = [
    "the",
    "cache",
    "keeps",
    "what",
    "the",
    "model",
    "has",
    "read",
    "so",
    "that",
    "no",
    "token",
    "is",
    "read",
    "twice",
    "and",
    "every",
    "step",
    "costs",
    "the",
    "same",
    "as",
    "the",
    "one",
    "before",
    "while",
    "memory",
    "grows",
    "with",
    "each",
    "layer",
    "head",
    "and",
    "position",
    "of",
    "the",
    "context",
    "window",
    "until",
    "it",
    "is",
    "full",
]
END = "END-OF-STREAM"


def pieces(n_tokens: int, seed: int) -> Iterator[str]:
    """A Markdown answer of so many tokens or, to end with a whole block, a few more: prose, lists, code, tables."""
    chance = random.Random(seed)
    makers = [_prose, _prose, _list, _code, _table]
    count = 0
    for section in itertools.count(1):
        for text in (f"## Section {section}\n\n", *(chance.choice(makers)(chance) + "\n\n" for _ in range(4))):
            for start in range(0, len(text), 5):
                yield text[start : start + 5]
                count += 1
            if count >= n_tokens:
                return


def _sentence(chance: random.Random) -> str:
    words = [chance.choice(WORDS) for _ in range(chance.randint(8, 18))]
    words[chance.randrange(len(words))] = chance.choice(
        ["**weight**", "*key*", "`cache[i]`", "[link](https://x.example)"]
    )
    return " ".join(words).capitalize() + "."


def _prose(chance: random.Random) -> str:
    return " ".join(_sentence(chance) for _ in range(chance.randint(3, 7)))


def _list(chance: random.Random) -> str:
    return "\n".join(f"{'  ' * (i % 3 == 2)}- {_sentence(chance)}" for i in range(chance.randint(3, 8)))


def _code(chance: random.Random) -> str:
    lines = [f"    step_{i} = attend(query, keys[{i}], 'layer')  # note {i}" for i in range(chance.randint(4, 20))]
    return "\n".join(["```python", "def read(query, keys):", *lines, "    return step_0", "```"])


def _table(chance: random.Random) -> str:
    rows = [f"| {chance.choice(WORDS)} | {_sentence(chance)} | {chance.randint(1, 9999)} |" for _ in range(6)]
    return "\n".join(["| part | what it does | bytes |", "|---|---|---:|", *rows])


def run_app(kind: str, n_turns: int, rate: float, n_tokens: int) -> None:
    """The app that is measured: "transcript", "static" (plain text in one widget) or "empty"."""
    from textual.app import App, ComposeResult
    from textual.containers import VerticalScroll
    from textual.widgets import Input, Static

    from chatterm.conversation import ReplyRecord, Role, Turn, TurnState
    from chatterm.ui.widgets.transcript import Transcript

    record = ReplyRecord(model_name="Model")

    def turn(id: int, role: Role, text: str, state: TurnState = TurnState.FINISHED) -> Turn:
        return Turn(id, 1, None, role, text, state=state, record=record)

    class Measured(App[None]):
        CSS = "Input { dock: bottom; height: 1; border: none; } Transcript, VerticalScroll { height: 1fr; }"

        def compose(self) -> ComposeResult:
            if kind == "transcript":
                yield Transcript()
            elif kind == "static":
                with VerticalScroll(can_focus=False):
                    yield Static(markup=False)
            yield Input(placeholder="Now Ready")

        def on_mount(self) -> None:
            self.query_one(Input).focus()
            if kind == "transcript":
                history = [
                    turn(i, Role.ASSISTANT, "".join(pieces(150, i))) if i % 2 else turn(i, Role.USER, f"Question {i}?")
                    for i in range(n_turns)
                ]
                self.query_one(Transcript).show(history)
            gc.collect()
            gc.freeze()

        def on_input_submitted(self, event: Input.Submitted) -> None:
            event.input.value = ""
            self.run_worker(self.stream())

        async def stream(self) -> None:
            text: list[str] = []
            if kind == "transcript":
                reply = self.query_one(Transcript).begin(turn(10**6, Role.ASSISTANT, "", TurnState.WRITING))
                write = reply.write
            else:
                static, scroll = self.query_one(Static), self.query_one(VerticalScroll)
                write = text.append
                self.set_interval(0.05, lambda: (static.update("".join(text)), scroll.scroll_end(animate=False)))
            began = time.monotonic()
            for number, piece in enumerate(pieces(n_tokens, 99)):
                pause = began + number / rate - time.monotonic()
                if pause > 0:
                    await asyncio.sleep(pause)
                write(piece)
            write(f"\n\n{END}-{time.monotonic():.3f}-\n")

    Measured().run()


def start(kind: str, n_turns: int = 0, rate: float = 200, n_tokens: int = 2000) -> Program:
    """The app in a pseudo-terminal."""
    arguments = [str(value) for value in (kind, n_turns, rate, n_tokens)]
    return Program(python("-m", "benchmarks.drawing", "--app", *arguments))


def streamed(kind: str, rate: float, n_tokens: int, n_turns: int = 0, *, with_keys: bool = False) -> dict[str, float]:
    """Measure one streamed answer."""
    with start(kind, n_turns, rate, n_tokens) as program:
        program.wait_for("Ready")
        return measure_stream(program, rate, n_tokens, with_keys=with_keys)


def measure_stream(program: Program, rate: float, n_tokens: int, *, with_keys: bool) -> dict[str, float]:
    """Ask, and measure while a program that is ready streams `pieces`; it says with `END` when it wrote last."""
    program.wait_until_quiet()
    found = {}
    if with_keys:
        idle = program.key_latencies(60, 0.05)
        found |= {"idle p50 ms": percentile(idle, 0.5), "idle p99 ms": percentile(idle, 0.99)}
        program.write("\x15")
        program.wait_until_quiet()
    before, since = program.cpu_seconds(), len(program.pieces)
    program.write("go\r")
    began = time.monotonic()
    if with_keys:
        program.wait_for("Section", 20, since)  # the field was emptied
        end = began + n_tokens / rate - 1
        keys = program.key_latencies(10**6, 0.12, lambda: time.monotonic() < end)
        found |= {"keys": len(keys), "p50 ms": percentile(keys, 0.5), "p99 ms": percentile(keys, 0.99)}
    shown_at = program.wait_for(END, n_tokens / rate * 2 + 60, since)
    # the stream says on the screen when it ended, so that both times are of one clock
    said = b"".join(piece for _, piece in program.pieces[since:]).split(f"{END}-".encode(), 1)[1]
    found["lag s"] = shown_at - float(said.split(b"-", 1)[0])
    found["CPU s per 1,000 tokens"] = (program.cpu_seconds() - before) / n_tokens * 1000
    found["MB"] = program.memory_mb()
    return found


def opened(n_turns: int) -> dict[str, float]:
    """Measure opening a conversation."""
    with start("transcript", n_turns) as program:
        first = program.wait_for("Ready") - program.started_at
        program.wait_until_quiet()
        return {"shown after s": first, "CPU s": program.cpu_seconds(), "MB": program.memory_mb()}


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of the tokens")
    parser.add_argument("--app", nargs=4, metavar=("KIND", "TURNS", "RATE", "TOKENS"), help="run what is measured")
    arguments = parser.parse_args()
    if arguments.app:
        kind, n_turns, rate, n_tokens = arguments.app
        run_app(kind, int(n_turns), float(rate), int(n_tokens))
        return
    share = 4 if arguments.quick else 1
    runs = {
        "empty app": _opened_empty,
        "open 0 turns": lambda: opened(0),
        "open 2,000 turns": lambda: opened(2000),
        "200 tokens/s": lambda: streamed("transcript", 200, 2000 // share),
        "200 tokens/s, plain text in a Static": lambda: streamed("static", 200, 2000 // share),
        "400 tokens/s, 8,000 tokens": lambda: streamed("transcript", 400, 8000 // share),
        "50 tokens/s below 200 turns, with keys": lambda: streamed(
            "transcript", 50, 1500 // share, 200, with_keys=True
        ),
    }
    for name, measure in runs.items():
        print(f"{name}: " + ", ".join(f"{what} {value:.3g}" for what, value in measure().items()), flush=True)


def _opened_empty() -> dict[str, float]:
    """Measure a Textual app with nothing but a text field."""
    with start("empty") as program:
        first = program.wait_for("Ready") - program.started_at
        program.wait_until_quiet()
        return {"shown after s": first, "CPU s": program.cpu_seconds(), "MB": program.memory_mb()}


if __name__ == "__main__":
    main()
