"""`chatterm ask`: one answer on stdout, as a Unix tool gives it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Collection
from contextlib import aclosing
from typing import Annotated, Any

import typer

from chatterm.address import Address
from chatterm.cli.flags import with_settings
from chatterm.cli.terminal import argument, fail, has_colour, is_terminal, say, write_json
from chatterm.conversation import Role
from chatterm.engine.base import Engine, Prompt, PromptTurn
from chatterm.errors import ChattermError, SettingsError
from chatterm.events import (
    Event,
    Finished,
    FinishReason,
    Loaded,
    Loading,
    LoadStage,
    ModelInfo,
    Prefilling,
    Prompted,
    Token,
    Trimmed,
)
from chatterm.layers import layered
from chatterm.settings import ChatSettings, Settings
from chatterm.text import plain


@with_settings("sampling", "load")
def ask(
    *,
    question: Annotated[str | None, typer.Argument(help="What to ask; what is piped in is put below it.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A GGUF file, part of a model's name, or SERVER:MODEL.")
    ] = None,
    system: Annotated[str | None, typer.Option("--system", "-s", help="The system prompt.")] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Give the text to the model as it is, without a chat template.")
    ] = False,
    variable: Annotated[
        list[str] | None,
        typer.Option("--template-variable", help="For the chat template: NAME=VALUE, such as enable_thinking=false."),
    ] = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON object a line for each event: "
            "loading, loaded, trimmed, prompted, prefilling, token, tuned, finished.",
        ),
    ] = False,
    changes: dict[str, dict[str, Any]],
) -> None:
    """Answer one question on stdout and end.

    Exit codes: 0 answered, 1 something failed (stderr says what and what to do), 2 wrong usage,
    130 interrupted (what had arrived was printed), 141 the reader of stdout had enough.
    """
    from chatterm.cli.join import default_model, load_settings, make_engine

    check_raw(raw, system, variable)
    try:
        settings = load_settings()
    except SettingsError as error:
        raise fail(SettingsError(error.message, "Nothing was asked: mend the file, or move it away.")) from error
    try:
        if variable:
            changes = changes | {"chat": {"template_variables": dict(_variable(each) for each in variable)}}
        text = question_text(question, raw)
        address = default_model(settings, model)

        def counting(answering: ModelInfo | Address) -> Settings:
            """The settings that count with a model: what the command says lies over all others."""
            return layered(settings, answering).merged(changes)

        prompt = prompt_of(text, system, raw, counting(address).chat)
        out = _Json() if json else _Text({*changes, "chat"} if system is not None else {*changes})
        code = asyncio.run(_answer(make_engine(settings), address, prompt, counting, out))
    except ChattermError as error:
        raise fail(error) from error
    raise typer.Exit(code)


def check_raw(raw: bool, system: str | None, variables: list[str] | None = None) -> None:
    """Refuse what only a chat template could take in where there shall be none."""
    for flag, value in (("--system", system), ("--template-variable", variables)):
        if raw and value:
            raise typer.BadParameter("--raw uses no chat template, which is where it would go", param_hint=flag)


def _variable(given: str) -> tuple[str, bool | int | float | str]:
    """A template variable from NAME=VALUE, its value as TOML would read it, else as text."""
    import tomllib

    name, equals, value = given.partition("=")
    if not equals or not name.strip():
        raise typer.BadParameter(f"{given!r} is not NAME=VALUE", param_hint="--template-variable")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value
    return name.strip(), parsed if isinstance(parsed, bool | int | float | str) else value


def question_text(question: str | None, raw: bool) -> str:
    """What is asked, from the argument and what is piped in."""
    piped = "" if is_terminal(sys.stdin) else sys.stdin.buffer.read().decode("utf-8", "replace")
    asked = argument(question or "")
    if raw:
        return asked + piped
    text = "\n\n".join(part for part in (asked, piped.strip("\n")) if part)
    if not text.strip():
        raise typer.BadParameter("say what to ask, or pipe it in", param_hint="QUESTION")
    return text


def prompt_of(text: str, system: str | None, raw: bool, chosen: ChatSettings) -> Prompt:
    """A text as the engine takes it."""
    if raw:
        return Prompt(raw=text)
    said = argument(system) if system is not None else chosen.system_prompt
    turns = (PromptTurn(Role.SYSTEM, said),) if said else ()
    return Prompt((*turns, PromptTurn(Role.USER, text)), template_variables=chosen.template_variables)


def notes_of(event: Event, given: Collection[str]) -> tuple[str, ...]:
    """What a person is told beside an event: on a terminal all that is noted, else what options have brought about.

    Args:
        given: Sections of the settings of which the command line chose something.
    """
    match event:
        case Loaded():
            about = {"load"}
        case Prompted():
            about = {"sampling", "chat"}
        case _:
            return ()
    return event.notes if is_terminal(sys.stderr) or not about.isdisjoint(given) else ()


async def _answer(
    engine: Engine,
    address: Address,
    prompt: Prompt,
    counting: Callable[[ModelInfo | Address], Settings],
    out: _Text | _Json,
) -> int:
    """Load, ask, print; the exit code."""
    task = asyncio.current_task()
    if task is None:  # pragma: no cover - asyncio.run always has one
        raise RuntimeError("not inside a task")
    stopped_by = signal.SIGINT

    def stop(number: signal.Signals) -> None:
        nonlocal stopped_by
        stopped_by = number
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        async with aclosing(engine.load(address, counting(address).load)) as loading:
            async for step in loading:
                out.show(step)
        settings = counting(engine.model or address)
        async with aclosing(engine.reply(prompt, settings.sampling, stated=settings.stated)) as reply:
            async for event in reply:
                out.show(event)
    except asyncio.CancelledError:
        return 128 + stopped_by
    finally:
        out.end()
        await engine.close()
    return 0


class _Text:
    """Prints the answer as text; progress and notes go to stderr when a person reads it.

    Notes on options that were given go there always.
    """

    def __init__(self, given: Collection[str]) -> None:
        """Nothing is printed yet.

        Args:
            given: As for `notes_of`.
        """
        self.given = given
        self.is_read = is_terminal(sys.stderr)
        self.progress = self.is_read and os.environ.get("TERM") != "dumb"
        self.clean = is_terminal(sys.stdout)
        self.dim = has_colour(sys.stderr)
        self.shown = ""
        self.thinks = False

    def show(self, event: Event) -> None:
        """One event."""
        match event:
            case Token(reasoning=True):
                self._think(event.text)
            case Token():
                self._write(event.text)
            case Loading(stage=LoadStage.WEIGHTS):
                self._progress(f"loading {event.fraction:.0%}")
            case Loading(stage=LoadStage.CONNECTING):
                self._progress("asking the server")
            case Loading():
                self._progress("loading")
            case Loaded() | Prompted():
                for note in notes_of(event, self.given):
                    self._progress("")
                    say(f"chatterm: {note}")
            case Trimmed():
                raise RuntimeError("one question alone has no turns to drop")
            case Finished(reason=FinishReason.FILTER):
                self.end()
                say("chatterm: the server's filter held back the rest.")
            case Prefilling():
                self._progress(f"reading the prompt {event.n_done}/{event.n_total}")
            case Finished(reason=FinishReason.CONTEXT):
                self.end()
                say("chatterm: the context window is full; a larger --n-ctx lets the model go on.")
            case _:
                pass

    def end(self) -> None:
        """Leave the terminal tidy, also after an interruption."""
        self._progress("")
        self._leave_thought()
        if self.clean and self.shown and not self.shown.endswith("\n"):
            self._write("\n")
        sys.stdout.flush()

    def _write(self, text: str) -> None:
        if not text:
            return
        self._progress("")
        self._leave_thought()
        sys.stdout.write(plain(text) if self.clean else text)
        sys.stdout.flush()
        self.shown = text

    def _think(self, text: str) -> None:
        """Thoughts are not the answer: a person sees them, a pipe does not get them."""
        if not self.is_read or not text:
            return
        self._progress("")
        if self.dim and not self.thinks:
            sys.stderr.write("\x1b[2m")
        self.thinks = True
        sys.stderr.write(plain(text))
        sys.stderr.flush()

    def _leave_thought(self) -> None:
        if self.thinks:
            sys.stderr.write("\x1b[0m\n\n" if self.dim else "\n\n")
            sys.stderr.flush()
            self.thinks = False

    def _progress(self, text: str) -> None:
        """One line on stderr that is written over, and taken away when the answer begins."""
        if not self.progress or (not text and not self._has_progress):
            return
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
        self._has_progress = bool(text)

    _has_progress = False


class _Json:
    """Prints every event as a JSON object on its own line."""

    def show(self, event: Event) -> None:
        """One event."""
        write_json(event)

    def end(self) -> None:
        """Nothing to tidy."""
