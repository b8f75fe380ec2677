"""Waits for what blocks without holding up anything else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What a function gives that blocks; when the task is cancelled, its answer is dropped.

    A thread of its own, that ends with the program: the Hub may hang, and neither the event loop's few
    threads nor the end of the program shall wait for it.
    """
    loop, future = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

    def tell(result: R | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> None:
        result, problem = None, None
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            problem = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, result, problem)

    threading.Thread(target=run, name="library", daemon=True).start()
    answer: R = await future
    return answer
