"""`chatterm models`: which models are here and on servers, fetch one, remove one, look into one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from chatterm.cli import catalogue, downloads, servers
from chatterm.cli.terminal import aligned, say, told, write_json
from chatterm.errors import SettingsError
from chatterm.text import amount, line

if TYPE_CHECKING:
    from chatterm.library import Library

app = typer.Typer(help="The models on this machine, and on servers.", no_args_is_help=True)
app.command("search")(catalogue.search)
app.command("files")(catalogue.files)
app.command("pull")(downloads.pull_model)
app.command("downloads")(downloads.list_downloads)
app.command("servers")(servers.list_servers)
app.command("key")(servers.keep_key)


@app.command("list")
def list_models(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    remote: Annotated[bool, typer.Option("--remote", help="List the models of servers instead.")] = False,
) -> None:
    """List the models that are on this machine, or those of the servers that can be used."""
    from chatterm.hub import cache

    if remote:
        servers.print_models(json=json)
        return
    with told():
        models = _library().local_models()
        unfinished = cache.unfinished()
    if json:
        for model in models:
            write_json(model)
        return
    rows = [
        (model.name, model.quantization or "-", amount(model.size_bytes), model.repo or model.source, str(model.path))
        for model in models
    ]
    for row in aligned([("NAME", "QUANT", "SIZE", "FROM", "PATH"), *rows] if rows else []):
        sys.stdout.write(f"{row}\n")
    if all(model.is_built_in for model in models):
        other = "other " if models else ""
        say(f"There is no {other}model yet, neither in {cache.folder()} nor in the folders of your settings.")
        say("Fetch one with `chatterm models pull OWNER/NAME`.")
    if unfinished:
        n_bytes = sum(size for *_, size in unfinished)
        hold = "1 unfinished download holds" if len(unfinished) == 1 else f"{len(unfinished)} unfinished downloads hold"
        say(f"{hold} {amount(n_bytes)}: pull again to go on,")
        say("or free the space with `chatterm models rm --unfinished`.")


@app.command("rm")
def remove_model(
    name: Annotated[str, typer.Argument(help="As `chatterm models list` names it.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Remove what downloads left that did not end.")
    ] = False,
) -> None:
    """Remove a model from the disk."""
    if bool(name) == unfinished:
        raise typer.BadParameter("Give the name of a model, or --unfinished.")
    with told():
        if unfinished:
            n_freed = _remove_unfinished(yes)
        else:
            library = _library()
            model = library.model(name)
            origin = line(model.repo or str(model.path))
            _confirm(f"Remove {line(model.name)} ({amount(model.size_bytes)}, {origin})?", yes)
            n_freed = library.delete(model)
    say(f"{amount(n_freed)} are free again.")


@app.command("info")
def describe_model(
    file: Annotated[str, typer.Argument(help="A GGUF file, or a model as `chatterm models list` names it.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what the header of a GGUF file tells about the model, without loading it."""
    from chatterm.cli.model_card import card, lines

    with told():
        found = card(_library().find_file(file))
    if json:
        write_json(found)
        return
    for row in aligned(lines(found)):
        sys.stdout.write(f"{row}\n")


def _remove_unfinished(yes: bool) -> int:
    """Remove what is left of downloads; gives the bytes that were freed."""
    from chatterm.downloads import foreground
    from chatterm.errors import ModelKept
    from chatterm.hub import cache

    for repo, path, size in cache.unfinished():
        say(f"  {amount(size)}  {line(repo)}  {line(path.name)}")
    _confirm("Remove what is left of these downloads?", yes)
    try:
        return foreground.discard_unfinished() + cache.remove_unfinished()
    except OSError as error:
        raise ModelKept(f"Something cannot be removed: {error}.", "Make the cache writable.") from error


def _confirm(question: str, yes: bool) -> None:
    """Ask on the terminal; a no ends the command."""
    try:
        sure = yes or typer.confirm(question, err=True)
    except typer.Abort:  # nobody is there to answer
        say("")
        sure = False
    if not sure:
        say("Nothing was removed. --yes removes without asking.")
        raise typer.Exit(1)


def _library() -> Library:
    from chatterm.cli.join import load_settings, make_library
    from chatterm.settings import Settings

    try:
        return make_library(load_settings())
    except SettingsError as error:
        say(f"chatterm: {error}")
        return make_library(Settings())
