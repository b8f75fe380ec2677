"""How long it takes to look inside a model of half a billion parameters, and whether the chat is slower for it.

Earlier tokens of a text of 300 tokens are looked at one after the other, each for the first time; the
time to read the whole text anew is measured beside it, since a ratio says more than seconds on a busy
machine. Run: python -m benchmarks.inside
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
N_TEXT = 300
POSITIONS = (250, 40, 170, 299, 90)
N_THREADS = 1
N_TOKENS = 40
N_ROUNDS = 6
AIM_SECONDS = 2.0


def measure() -> dict[str, float]:
    """Seconds for a look at an earlier token ("look", of it "lens"), for reading the text ("read"), and ratios.

    "reads" is how many looks could be had while the text is read once; "rate_ratio" the chat's speed
    with a glass box beside it over that without one, and "live_ratio" the same while the attention of the
    current token is asked for all the time.
    """
    sys.path.insert(0, str(ROOT / "tests"))
    from gguf import GGMLQuantizationType as Type
    from support.shaped_models import Shape, write_shaped

    with tempfile.TemporaryDirectory() as folder:
        os.environ["CHATTERM_LOG_HOME"] = folder
        shape = Shape("qwen2", 24, 896, 14, 2, 4864, 151_936, matrices=Type.Q8_0, n_ctx=4096)
        return asyncio.run(_measure(write_shaped(Path(folder) / "half.gguf", shape)))


async def _measure(path: Path) -> dict[str, float]:
    from chatterm.engine.local import LocalEngine
    from chatterm.glass import AbilitiesRequest, AttentionRequest, LensRequest, LetGo, NeighboursRequest
    from chatterm.settings import LoadOptions

    engine = LocalEngine()
    async for _ in engine.load(path, LoadOptions(n_ctx=1024, n_threads=N_THREADS)):
        pass
    tokens, read_seconds = await _read(engine)
    await engine.inspect(AbilitiesRequest())
    looks, lenses = [], []
    for position in POSITIONS:
        begin = time.perf_counter()
        await engine.inspect(AttentionRequest(tokens, position, 12, 3))
        middle = time.perf_counter()
        await engine.inspect(LensRequest(tokens, position))
        looks.append(time.perf_counter() - begin)
        lenses.append(time.perf_counter() - middle)
    begin = time.perf_counter()
    await engine.inspect(NeighboursRequest(tokens[0]))
    near_seconds = time.perf_counter() - begin
    rates: dict[str, list[float]] = {"alone": [], "beside": [], "live": []}
    for _ in range(N_ROUNDS):
        await engine.inspect(LetGo())
        rates["alone"].append(await _rate(engine))
        await engine.inspect(AttentionRequest(tokens, 100))
        rates["beside"].append(await _rate(engine))
        rates["live"].append(await _rate(engine, is_watched=True))
    await engine.close()
    look = statistics.median(looks)
    return {
        "look": look,
        "slowest": max(looks),
        "lens": statistics.median(lenses),
        "neighbours": near_seconds,
        "read": read_seconds,
        "reads": read_seconds / look,
        "rate_ratio": max(rates["beside"]) / max(rates["alone"]),
        "live_ratio": max(rates["live"]) / max(rates["alone"]),
    }


async def _read(engine: Any) -> tuple[tuple[int, ...], float]:
    """A text of the wanted length in the cache, and how long it took to read."""
    from chatterm.engine.base import Prompt
    from chatterm.events import Finished, Prompted
    from chatterm.settings import Sampling

    words = ("the ", "of ", "and ", "cat ", "dog ", "water ", "people ")
    text = "".join(words[i * i % len(words)] for i in range(N_TEXT))
    tokens: tuple[int, ...] = ()
    seconds = 0.0
    async for event in engine.reply(Prompt(raw=text), Sampling(temperature=0, max_tokens=1)):
        if isinstance(event, Prompted):
            tokens = event.token_ids[:N_TEXT]
        elif isinstance(event, Finished):
            seconds = event.prefill_seconds * N_TEXT / event.n_prompt
    assert len(tokens) == N_TEXT
    return tokens, seconds


async def _rate(engine: Any, is_watched: bool = False) -> float:
    """Tokens per second of a short reply, from its first token to its last; watched, as often as it is answered."""
    from chatterm.engine.base import Prompt
    from chatterm.events import Prompted, Token
    from chatterm.glass import AttentionRequest
    from chatterm.settings import Sampling

    times: list[float] = []
    tokens: list[int] = []
    look: asyncio.Task[Any] | None = None
    async for event in engine.reply(Prompt(raw="the cat"), Sampling(temperature=0, max_tokens=N_TOKENS)):
        if isinstance(event, Prompted):
            tokens += event.token_ids
        if isinstance(event, Token) and event.id is not None:
            times.append(time.perf_counter())
            tokens.append(event.id)
            if is_watched and (look is None or look.done()):
                look = asyncio.create_task(engine.inspect(AttentionRequest(tuple(tokens), -1, 12, 3)))
    if look is not None:
        await look
    return (len(times) - 1) / (times[-1] - times[0])


def main() -> None:
    """Print the figures."""
    found = measure()
    print(
        f"inside: attention and lens of an earlier token of {N_TEXT} in {found['look']:.2f} s"
        f" (slowest {found['slowest']:.2f}, aim {AIM_SECONDS:g}), of it the lens {found['lens']:.2f};"
        f" reading the text takes {found['read']:.1f} s, {found['reads']:.0f} times as long;"
        f" neighbours {found['neighbours']:.2f} s;"
        f" the chat writes at {found['rate_ratio']:.2f} of its speed beside a glass box,"
        f" at {found['live_ratio']:.2f} while attention follows it (aim 0.80)",
        flush=True,
    )


if __name__ == "__main__":
    main()
