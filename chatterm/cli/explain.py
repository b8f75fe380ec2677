"""`chatterm explain`: how a model reads a text, what it might say next and why, as tables, JSON or a page."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Collection
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatterm.address import Address
from chatterm.cli.ask import check_raw, notes_of, prompt_of, question_text
from chatterm.cli.flags import with_settings
from chatterm.cli.terminal import fail, is_terminal, say, write_json
from chatterm.engine.base import Engine, Prompt
from chatterm.errors import ChattermError
from chatterm.events import Event, ModelInfo
from chatterm.layers import layered
from chatterm.settings import Settings

if TYPE_CHECKING:
    from chatterm.cli.explaining.explanation import Explanation
    from chatterm.cli.explaining.gather import Wanted


@with_settings("sampling", "load")
def explain(
    *,
    text: Annotated[
        str | None, typer.Argument(help="What the model shall read; what is piped in is put below it.")
    ] = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="How the text is cut into tokens.")] = False,
    next: Annotated[bool, typer.Option("--next", help="What may come next, with probabilities.")] = False,
    attention: Annotated[bool, typer.Option("--attention", help="Which earlier tokens the model looks at.")] = False,
    layers: Annotated[bool, typer.Option("--layers", help="What each layer would have said.")] = False,
    neighbours: Annotated[bool, typer.Option("--neighbours", help="Which tokens are similar to yours.")] = False,
    token: Annotated[
        int | None, typer.Option("--token", min=1, help="Look at this token, counted from 1, instead of the last one.")
    ] = None,
    layer: Annotated[int | None, typer.Option("--layer", min=1, help="Show the attention of this layer.")] = None,
    head: Annotated[int | None, typer.Option("--head", min=1, help="Show the attention of this head.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A GGUF file, part of a model's name, or SERVER:MODEL.")
    ] = None,
    system: Annotated[str | None, typer.Option("--system", "-s", help="The system prompt.")] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Give the text to the model as it is, without a chat template.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page to this file; it needs no network.")] = None,
    svg: Annotated[Path | None, typer.Option("--svg", help="Write a picture to this file.")] = None,
    changes: dict[str, dict[str, Any]],
) -> None:
    """Show how a model reads a text and what it might say next. Without a choice, all of it.

    Exit codes: 0 shown, 1 something failed (stderr says what and what to do), 2 wrong usage.
    """
    from chatterm.cli.explaining.gather import SECTIONS, Wanted
    from chatterm.cli.join import default_model, load_settings, make_engine

    chosen = {"tokens": tokens, "next": next, "attention": attention, "layers": layers, "neighbours": neighbours}
    sections = tuple(section for section in SECTIONS if chosen[section] or not any(chosen.values()))
    wanted = Wanted(sections, token, layer, head)
    _check(wanted)
    check_raw(raw, system)
    given = {*changes, "chat"} if system is not None else {*changes}
    try:
        settings = load_settings()
        address = default_model(settings, model)

        def counting(model: ModelInfo | Address) -> Settings:
            """The settings that count with a model: what the command says lies over all others."""
            return layered(settings, model).merged(changes)

        prompt = prompt_of(question_text(text, raw), system, raw, counting(address).chat)
        found = asyncio.run(_explained(make_engine(settings), address, prompt, counting, wanted, given))
        _put_out(found, sections, json, html, svg)
    except ChattermError as error:
        raise fail(error) from error


def _check(wanted: Wanted) -> None:
    """Refuse a choice that nothing of what is wanted has to do with."""
    if (wanted.layer or wanted.head) and "attention" not in wanted.sections:
        flag = "--layer" if wanted.layer else "--head"
        raise typer.BadParameter("it chooses whose attention is shown: add --attention", param_hint=flag)
    if wanted.token and wanted.sections == ("tokens",):
        raise typer.BadParameter(
            "--tokens shows all of them: add what shall be shown of this one", param_hint="--token"
        )


async def _explained(
    engine: Engine,
    address: Address,
    prompt: Prompt,
    counting: Callable[[ModelInfo | Address], Settings],
    wanted: Wanted,
    given: Collection[str],
) -> Explanation:
    """Load and ask."""
    from chatterm.cli.explaining.gather import explain as gather

    def hear(event: Event) -> None:
        for note in notes_of(event, given):
            say(f"chatterm: {note}")

    if is_terminal(sys.stderr):
        say("chatterm: loading the model")
    try:
        async with aclosing(engine.load(address, counting(address).load)) as loading:
            async for step in loading:
                hear(step)
        return await gather(engine, prompt, counting(engine.model or address), wanted, hear)
    finally:
        await engine.close()


def _put_out(found: Explanation, sections: tuple[str, ...], json: bool, html: Path | None, svg: Path | None) -> None:
    """To the files that were named; else, and for JSON, to stdout."""
    from chatterm.cli.explaining import tables

    if html is not None:
        from chatterm.cli.explaining.page import page

        _write(html, page(found, sections))
    if svg is not None:
        from chatterm.cli.explaining.charts import picture

        _write(svg, picture(found, sections))
    if json:
        write_json(found)
    elif html is None and svg is None:
        sys.stdout.write(tables.text(found, sections))


def _write(path: Path, content: str) -> None:
    """A file, in place of one of this name.

    Raises:
        ChattermError: it cannot be written.
    """
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise ChattermError(
            f"{path} cannot be written: {error.strerror or error}.", "Name another file, or make room."
        ) from error
