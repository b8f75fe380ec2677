"""What measuring each token costs while a model of half a billion parameters writes, and what a branch saves.

On and off take turns in one run. Most of the work is done by a thread beside, on a core that is free. So on a busy
machine trust the ratio of the processor time of the thread that computes.
Run: python -m benchmarks.measuring
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

import psutil

ROOT = Path(__file__).resolve().parent.parent
N_ROUNDS = 7
N_TOKENS = 64
N_ANSWER = 300
N_THREADS = 1
N_BRANCHES = 5
N_SLIDES = 50
AIM = 0.95
AIM_BRANCH = 20
AIM_SLIDE_SECONDS = 0.03


def measure() -> dict[str, float]:
    """Tokens a second "off" and "on", their "ratio", and that of processor time, of the thread that computes and of all.

    "branch" is how many times quicker the first token of a branch comes than by reading anew the same
    300 tokens; "slide" the seconds in which a slider's move is computed.
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
    from chatterm.settings import LoadOptions

    engine = LocalEngine()
    async for _ in engine.load(path, LoadOptions(n_ctx=1024, n_threads=N_THREADS)):
        pass
    await _written(engine, measure=False)
    rates: dict[bool, list[tuple[float, float, float]]] = {False: [], True: []}
    for _ in range(N_ROUNDS):
        for is_on in rates:
            rates[is_on].append(await _written(engine, measure=is_on))
    figures = await _costs(engine)
    await engine.close()
    off, on = (max(rate for rate, *_ in rates[is_on]) for is_on in (False, True))
    spent = {
        is_on: [statistics.median(column) for column in zip(*each, strict=True)][1:] for is_on, each in rates.items()
    }
    ratios = [without / using for without, using in zip(spent[False], spent[True], strict=True)]
    return {"off": off, "on": on, "ratio": on / off, "thread_ratio": ratios[0], "cpu_ratio": ratios[1], **figures}


async def _written(engine: Any, *, measure: bool) -> tuple[float, float, float]:
    """Tokens a second from the first to the last; seconds of processor time, of the thread that computes and of all."""
    from chatterm.engine.base import Prompt
    from chatterm.events import Token
    from chatterm.settings import Sampling

    worker = psutil.Process(engine.pid)

    def spent() -> tuple[float, float]:
        threads = {thread.id: thread.user_time + thread.system_time for thread in worker.threads()}
        return threads[engine.pid], sum(worker.cpu_times()[:2])

    before = spent()
    replying = engine.reply(Prompt(raw="Once upon a time"), Sampling(seed=1, max_tokens=N_TOKENS), measure=measure)
    times = [time.perf_counter() async for event in replying if isinstance(event, Token) and event.id is not None]
    thread, whole = (now - then for then, now in zip(before, spent(), strict=True))
    return (len(times) - 1) / (times[-1] - times[0]), thread, whole


async def _costs(engine: Any) -> dict[str, float]:
    """What a branch, a slider's move and a token on the pipe cost."""
    import msgspec

    from chatterm import lens
    from chatterm.engine.base import Prompt
    from chatterm.events import Measured, Token
    from chatterm.settings import Sampling

    async def first_token(prompt: Prompt, ids: list[int]) -> float:
        begin = time.perf_counter()
        async for event in engine.reply(prompt, Sampling(seed=1, max_tokens=1), measure=True, begins_with=ids):
            if isinstance(event, Token) and event.id is not None:
                return time.perf_counter() - begin
        raise AssertionError("no token came")

    prompt = Prompt(raw="Once upon a time")
    events = [event async for event in engine.reply(prompt, Sampling(seed=1, max_tokens=N_ANSWER), measure=True)]
    measured = [event for event in events if isinstance(event, Measured)]
    ids = [event.id for event in measured if event.id is not None]
    branches = [
        await first_token(prompt, [*ids[: len(ids) - place], 300 + place]) for place in range(1, N_BRANCHES + 1)
    ]
    anew = await first_token(Prompt(raw="There was once"), ids)
    begin = time.perf_counter()
    for move in range(N_SLIDES):
        kept = measured[move % len(measured)].kept
        assert kept is not None
        lens.stages(kept, Sampling(temperature=0.2 + move / N_SLIDES, top_k=0))
    return {
        "branch": anew / statistics.median(branches),
        "branch_seconds": statistics.median(branches),
        "slide": (time.perf_counter() - begin) / N_SLIDES,
        "bytes": statistics.mean(
            len(msgspec.msgpack.encode(msgspec.structs.replace(event, kept=None))) for event in measured
        ),
        "kept_bytes": statistics.mean(len(msgspec.msgpack.encode(event.kept)) for event in measured),
    }


def main() -> None:
    """Print all figures."""
    figures = measure()
    print(
        f"measuring: {figures['on']:.1f} tokens/s with it, {figures['off']:.1f} without, ratio {figures['ratio']:.3f}"
        f" (aim {AIM}), of the time of the thread that computes {figures['thread_ratio']:.3f}, of all"
        f" {figures['cpu_ratio']:.3f}\n"
        f"a branch from a token: {1000 * figures['branch_seconds']:.0f} ms, {figures['branch']:.0f} times quicker than"
        f" {N_ANSWER} tokens anew (aim {AIM_BRANCH}); a slider's move: {1000 * figures['slide']:.2f} ms"
        f" (aim {1000 * AIM_SLIDE_SECONDS:.0f}); a token takes {figures['bytes']:.0f} bytes and"
        f" {figures['kept_bytes']:.0f} for reshaping"
    )


if __name__ == "__main__":
    main()
