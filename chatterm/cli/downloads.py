"""`chatterm models pull` and `downloads`: fetch a model by way of the queue, and list what is in it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from chatterm.cli.terminal import aligned, say, told, write_json
from chatterm.text import amount, line

if TYPE_CHECKING:
    from chatterm.downloads import Download


def pull_model(
    repo: Annotated[str, typer.Argument(help="OWNER/NAME on the Hugging Face Hub, or OWNER/NAME:QUANTIZATION.")],
    file: Annotated[str, typer.Argument(help="Which file, or its quantization; left out takes the obvious one.")] = "",
    revision: Annotated[str, typer.Option("--revision", help="A branch, tag or commit; else main.")] = "",
) -> None:
    """Fetch a model from the Hugging Face Hub, and print where it lies."""
    from chatterm.cli.progress import shown
    from chatterm.downloads import foreground
    from chatterm.hub.progress import Pulled

    path = ""
    try:
        with told(), shown(sys.stderr) as screen:
            for event in foreground.pull(repo, file, revision):
                screen.show(event)
                if isinstance(event, Pulled):
                    path = str(event.path)
    except KeyboardInterrupt:
        say("Stopped. What arrived is kept: run the same command again, or resume it in the app, and it goes on.")
        raise typer.Exit(130) from None
    sys.stdout.write(f"{path}\n")


def list_downloads(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """List the downloads of all chatterms on this machine: what runs, waits, was paused, failed, or is done."""
    from chatterm.downloads import foreground

    found, complaints = foreground.listed()
    if json:
        for download in found:
            write_json(download)
    else:
        rows = [_row(download) for download in found]
        for row in aligned([("NAME", "STATE", "HERE", "SIZE", "FROM"), *rows] if rows else []):
            sys.stdout.write(f"{row}\n")
        for download in found:
            if reason := " ".join(filter(None, (download.problem, download.note))):
                say(f"{line(download.name)}: {line(reason)}")
        if not found:
            say("There are no downloads. Fetch a model with `chatterm models pull OWNER/NAME`.")
    for complaint in complaints:
        say(f"chatterm: {complaint}")


def _row(download: Download) -> tuple[str, ...]:
    """A download in the list."""
    here = f"{download.n_done * 100 // download.n_total} %" if download.n_total else "-"
    size = amount(download.n_total) if download.n_total else "-"
    return download.name, download.state.value, here, size, download.repo
