"""How fast the engine decodes, over a bare llama.cpp loop on the same model and threads.

The two take turns, so that what else the machine does weighs on both alike; the best round of each
counts, since noise only ever slows. On a busy machine the processor time that each took says more.
Run: python -m benchmarks.decode
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
N_TOKENS = 100
N_ROUNDS = 12
N_THREADS = 1
PROMPT = "the cat and the dog"


def measure() -> dict[str, float]:
    """Tokens per second of both ("engine", "bare"), their "ratio", and that of their processor times ("cpu_ratio")."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.tiny_models import write_model

    with tempfile.TemporaryDirectory() as folder:
        os.environ["CHATTERM_LOG_HOME"] = folder
        path = write_model(
            Path(folder) / "model.gguf",
            n_layers=8,
            width=512,
            n_heads=8,
            n_ff=2048,
            n_vocab=32000,
            quantization="Q8_0",
            n_ctx=2048,
        )
        return asyncio.run(_measure(path))


async def _measure(path: Path) -> dict[str, float]:
    """Both in turns."""
    from chatterm.engine.local import LocalEngine
    from chatterm.settings import LoadOptions

    engine = LocalEngine()
    bare = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs in this loop
        [sys.executable, "-m", "benchmarks.decode", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    async for _ in engine.load(path, LoadOptions(n_ctx=1024, n_threads=N_THREADS)):
        pass
    await _engine_rate(engine)
    _bare_rate(bare)  # both are warm now
    workers = [psutil.Process(engine.pid), psutil.Process(bare.pid)]
    before = [sum(worker.cpu_times()[:2]) for worker in workers]
    rates = [(await _engine_rate(engine), _bare_rate(bare)) for _ in range(N_ROUNDS)]
    seconds = [sum(worker.cpu_times()[:2]) - start for worker, start in zip(workers, before, strict=True)]
    await engine.close()
    bare.communicate("")
    ours, theirs = (max(column) for column in zip(*rates, strict=True))
    return {"engine": ours, "bare": theirs, "ratio": ours / theirs, "cpu_ratio": seconds[1] / seconds[0]}


async def _engine_rate(engine: Any) -> float:
    """Tokens per second as they arrive here, through the pipe, from the first one to the last."""
    from chatterm.engine.base import Prompt
    from chatterm.events import Token
    from chatterm.settings import Sampling

    times = [
        time.perf_counter()
        async for event in engine.reply(Prompt(raw=PROMPT), Sampling(temperature=0, max_tokens=N_TOKENS))
        if isinstance(event, Token) and event.id is not None
    ]
    assert len(times) == N_TOKENS
    return (N_TOKENS - 1) / (times[-1] - times[0])


def _bare_rate(bare: subprocess.Popen[str]) -> float:
    """Tokens per second of the bare loop, which waits for a line in its own process."""
    assert bare.stdin is not None
    assert bare.stdout is not None
    bare.stdin.write("go\n")
    bare.stdin.flush()
    return float(json.loads(bare.stdout.readline()))


def _loop(path: str) -> None:
    """The bare loop: sample, decode, nothing else; a rate for each line that comes in."""
    import llama_cpp.llama_cpp as llama

    quiet = llama.llama_log_callback(lambda *_: None)
    llama.llama_log_set(quiet, ctypes.c_void_p(0))
    llama.llama_backend_init()
    weights = llama.llama_model_default_params()
    weights.use_extra_bufts = b"AMX_INT8 = 1" not in llama.llama_print_system_info()  # as the engine does
    model = llama.llama_model_load_from_file(path.encode(), weights)
    vocab = llama.llama_model_get_vocab(model)
    parameters = llama.llama_context_default_params()
    parameters.n_ctx, parameters.n_threads, parameters.n_threads_batch = 1024, N_THREADS, N_THREADS
    context = llama.llama_init_from_model(model, parameters)
    sampler = llama.llama_sampler_init_greedy()
    buffer = (llama.llama_token * 64)()
    n_prompt = llama.llama_tokenize(vocab, PROMPT.encode(), len(PROMPT), buffer, 64, True, False)
    one = (llama.llama_token * 1)()
    for _ in sys.stdin:
        llama.llama_memory_clear(llama.llama_get_memory(context), True)
        llama.llama_decode(context, llama.llama_batch_get_one(buffer, n_prompt))
        times = []
        for _ in range(N_TOKENS):
            one[0] = llama.llama_sampler_sample(sampler, context, -1)
            times.append(time.perf_counter())
            llama.llama_decode(context, llama.llama_batch_get_one(one, 1))
        print(json.dumps((N_TOKENS - 1) / (times[-1] - times[0])), flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _loop(sys.argv[1])
    else:
        figures = measure()
        print(
            f"decode: {figures['engine']:.1f} tokens/s through the engine, {figures['bare']:.1f} in a bare loop,"
            f" ratio {figures['ratio']:.3f} (aim 0.98), of processor time {figures['cpu_ratio']:.3f}"
        )
