"""The commands, as Typer knows them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from chatterm.cli import chats, doctor, models
from chatterm.cli.ask import ask
from chatterm.cli.explain import explain

app = typer.Typer(
    name="chatterm",
    help="Chat with a language model that runs on this machine.",
    epilog="Without a command the app opens.",
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("ask")(ask)
app.command("explain")(explain)
app.add_typer(models.app, name="models")
app.add_typer(chats.app, name="chats")
app.command("doctor")(doctor.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        from chatterm import __version__

        sys.stdout.write(f"chatterm {__version__}\n")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def chatterm(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A GGUF file, part of a model's name, or SERVER:MODEL.")
    ] = None,
    latest: Annotated[bool, typer.Option("--continue", "-c", help="Open the latest conversation.")] = False,
    _wants_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Chat with a language model that runs on this machine; without a command the app opens."""
    if (command := context.invoked_subcommand) is not None:
        _check(command, model, latest)
        return
    from chatterm.cli.open import open_app

    raise typer.Exit(open_app(model or "", continue_latest=latest))


def _check(command: str, model: str | None, latest: bool) -> None:
    """Refuse options of the app before a command, which would not get them."""
    if model is not None and command in ("ask", "explain"):
        raise typer.BadParameter(f"put it behind the command: chatterm {command} --model ...", param_hint="--model")
    if model is not None or latest:
        flag = "--continue" if model is None else "--model"
        raise typer.BadParameter(f"it is for the app, and not for chatterm {command}", param_hint=flag)


def run() -> int:
    """Run the command that was given; its exit code."""
    try:
        result = app(standalone_mode=False)
    except typer.Abort:
        return 130
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # Typer makes a plain failure of it
            raise end.__context__ from None
        raise
    except Exception as error:  # click's own errors carry their exit code and know how to be shown
        if not hasattr(error, "show") or not hasattr(error, "exit_code"):
            raise
        error.show()
        return int(error.exit_code)
    return result if isinstance(result, int) else 0
