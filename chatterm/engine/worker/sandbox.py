"""Runs a chat template, a program from a stranger, so that it can only give text or fail.

Jinja's sandbox keeps it away from Python's inside. This adds what the sandbox lacks: an end to
loops that have none, and limits for what it multiplies, prints and allocates. The dialect is the
one of Transformers, for which chat templates are written. Knows no conversations.
"""

from __future__ import annotations

import ctypes
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn, TypeVar

from jinja2 import Template, meta
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from chatterm.text import line

T = TypeVar("T")

_LONGEST_TEXT = 32_000_000
_LONGEST_PRODUCT = 1_000_000
_LARGEST_EXPONENT = 64
_MEMORY_BYTES = 1 << 30
_GRACE_SECONDS = 1.0
"""How long a template that is past its deadline is asked to end before it is left alone."""


class Refused(Exception):
    """The template raised something; the text says what, fit to be shown."""


class Overdue(BaseException):
    """The template's time is up. Not an `Exception`, so that nothing on the way catches it."""


class Program:
    """A compiled template."""

    variables: frozenset[str]
    """Names that it asks for."""

    def __init__(self, source: str, deadline_seconds: float) -> None:
        """Compile a template.

        Raises:
            Refused: it is not a valid template.
            Overdue: compiling took too long.
        """
        environment = _Environment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation], finalize=_bounded
        )
        environment.filters["tojson"] = _tojson
        environment.globals |= {"raise_exception": _raise, "strftime_now": _strftime_now}

        def compiled() -> tuple[Template, frozenset[str]]:
            return environment.from_string(source), frozenset(meta.find_undeclared_variables(environment.parse(source)))

        self._template, self.variables = _guarded(compiled, deadline_seconds)

    def run(self, variables: dict[str, Any], deadline_seconds: float) -> str:
        """The text that it gives.

        Raises:
            Refused: it raised something, or its text or memory outgrew all bounds.
            Overdue: it did not end in time.
        """
        return _guarded(lambda: "".join(_limited(self._template.generate(**variables))), deadline_seconds)


class _Generation(Extension):
    """`{% generation %}`, with which training marks replies; it leaves no trace in a prompt."""

    tags = {"generation"}  # noqa: RUF012 -- Jinja declares it so

    def parse(self, parser: Parser) -> Node | list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with bounds for numbers and repetition."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuses what would make a huge value out of small ones."""
        match operator, left, right:
            case "*", int(), str() | list() | tuple():
                return self.call_binop(context, operator, right, left)
            case "*", str() | list() | tuple(), int():
                _check(len(left) * right <= _LONGEST_PRODUCT)
            case ("*", int(), int()) | ("**", int() | float(), int() | float()):
                _check(abs(left) < 1 << 64 and abs(right) < (1 << 64 if operator == "*" else _LARGEST_EXPONENT))
            case "%", str(), _:
                _check(not re.search(r"%[^%a-zA-Z]*(\*|\d{5})", left))
        return super().call_binop(context, operator, left, right)


def _bounded(value: Any) -> Any:
    """The same value; refuses lists inside lists that would take for ever to print, however small they are."""
    nested, n_seen = [value], 0
    while nested and isinstance(nested[-1], (list, tuple, dict)):
        bundle = nested.pop()
        n_seen += len(bundle)
        _check(n_seen <= _LONGEST_PRODUCT)
        items = bundle.values() if isinstance(bundle, dict) else bundle
        nested += [item for item in items if isinstance(item, (list, tuple, dict))]
    return value


def _check(is_fine: bool) -> None:
    """Raises unless a value keeps within bounds."""
    if not is_fine:
        raise Refused("it computes a value that is too large")


def _limited(pieces: Iterator[str]) -> Iterator[str]:
    """The same pieces, up to the longest text that a prompt may have."""
    length = 0
    for piece in pieces:
        length += len(piece)
        if length > _LONGEST_TEXT:
            raise Refused("it writes without end")
        yield piece


def _raise(message: object) -> NoReturn:
    """What templates call when they do not like a conversation."""
    raise Refused(line(str(message)[:300]))


def _strftime_now(format: str) -> str:
    """Today's date, which some templates tell the model."""
    return datetime.now().astimezone().strftime(format)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as Transformers writes it; Jinja's own filter escapes HTML."""
    return json.dumps(
        _bounded(value), ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _guarded(work: Callable[[], T], deadline_seconds: float) -> T:
    """The outcome of some work, in a thread of its own that is interrupted when the time is up.

    An exception is planted into the thread, which Python raises at the next step of the template.
    A single step in C cannot be interrupted; the ceiling for memory ends the ones that explode.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            failure.append(error)

    thread = Thread(target=run, name="template", daemon=True)
    with _memory_ceiling():
        thread.start()
        thread.join(max(0.0, deadline_seconds))
        for _ in range(20):
            if not thread.is_alive():
                break
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Overdue))
            thread.join(_GRACE_SECONDS / 20)
    if outcome:
        return outcome[0]
    match failure[:1]:
        case [Overdue()] | []:
            raise Overdue(f"it took longer than {deadline_seconds:.2g} seconds")
        case [Refused() as error]:
            raise error
        case [MemoryError() as error]:
            raise Refused("it takes too much memory") from error
        case [error]:
            raise Refused(line(f"{type(error).__name__}: {error}"[:300])) from error
    raise AssertionError(failure)


@contextmanager
def _memory_ceiling() -> Iterator[None]:
    """Lets the process take a gigabyte more than it has, where the system can tell (Linux)."""
    try:
        import resource  # late: not on all systems

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        ceiling = pages * resource.getpagesize() + _MEMORY_BYTES
        if soft != resource.RLIM_INFINITY and soft <= ceiling:
            ceiling = soft
        resource.setrlimit(resource.RLIMIT_AS, (ceiling, hard))
    except (ImportError, OSError, ValueError):
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
