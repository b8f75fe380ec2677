"""`chatterm models servers`, `key` and `list --remote`: the servers that can be chatted with, and their keys."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatterm.cli.terminal import aligned, fail, is_terminal, say, write_json
from chatterm.errors import (
    ChattermError,
    KeyRefused,
    ModelsNotListed,
    ServerError,
    ServerUnreachable,
    SettingsError,
)
from chatterm.text import line

if TYPE_CHECKING:
    from chatterm.engine.listing import Listing
    from chatterm.settings import Settings


def list_servers(json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False) -> None:
    """List the servers that can be named, whether each can be reached, and where its key was found."""
    from chatterm.engine.listing import all_listings
    from chatterm.engine.servers import known

    found = asyncio.run(all_listings(known(_settings().servers)))
    if json:
        for listing in found:
            write_json(_record(listing))
        return
    rows = [(listing.server.name, listing.server.base_url, _key(listing), _state(listing)) for listing in found]
    for row in aligned([("SERVER", "AT", "KEY", "STATE"), *rows]):
        sys.stdout.write(f"{row}\n")
    for listing in found:
        if listing.error is not None and (listing.server.is_configured or listing.key_source):
            say(f"{listing.server.name}: {listing.error}")


def keep_key(
    server: Annotated[str, typer.Argument(help="A server of the settings, or a preset such as openai.")],
    forget: Annotated[bool, typer.Option("--forget", help="Remove the key that is stored.")] = False,
) -> None:
    """Ask for the key of a server without showing it, and store it in the system's keyring.

    Where there is none, a file in the configuration folder takes it that only you can read. A key that
    is piped in is taken, too.
    """
    from chatterm import paths, settings
    from chatterm.cli.join import load_settings
    from chatterm.engine import keys, servers

    try:
        chosen = load_settings()
        found = servers.find(server, chosen.servers)
        if found is None:
            names = ", ".join(each.name for each in servers.known(chosen.servers))
            raise ServerError(
                f"There is no server “{line(server)}”.", f"Name one of {names}, or add it to the settings."
            )
        if forget:
            say(f"The key of {server} is removed." if keys.forget(server) else f"No key of {server} is stored.")
            return
        say(f"The key of {server} is kept in {keys.keep(server, _asked(server))}.")
        if not found.is_configured:
            settings.save(paths.settings_file(), {"servers": {server: {"preset": server}}})
            say(f"{server} is in the settings now, so that its models are offered.")
        if (first := keys.find(found).key) is not None and first.source == found.key_env:
            say(f"{found.key_env} is set, too, and comes first.")
    except ChattermError as error:
        raise fail(error) from error


def print_models(*, json: bool) -> None:
    """The models of the servers that can be used, those that do not answer named on stderr."""
    from chatterm.address import RemoteModel
    from chatterm.engine.listing import all_listings
    from chatterm.engine.servers import offered

    servers = offered(_settings().servers)
    if not servers:
        say("No server is set up. Set the variable that holds your key, such as OPENAI_API_KEY,")
        say("or name a server in the settings; `chatterm models servers` lists what there is.")
    found = asyncio.run(all_listings(servers))
    models = [(listing.server, model) for listing in found for model in listing.models]
    if json:
        for server, model in models:
            name = str(RemoteModel(server.name, model.name))
            write_json({"name": name, "server": server.name, "host": server.host, "n_ctx": model.n_ctx})
    else:
        rows = [
            (str(RemoteModel(server.name, model.name)), f"{model.n_ctx:,}" if model.n_ctx else "-", server.host)
            for server, model in models
        ]
        for row in aligned([("MODEL", "CONTEXT", "AT"), *rows] if rows else []):
            sys.stdout.write(f"{row}\n")
    for listing in found:
        if listing.error is not None:
            say(f"{listing.server.name}: {listing.error}")


def _asked(server: str) -> str:
    """The key, typed unseen or piped in."""
    if not is_terminal(sys.stdin):
        return sys.stdin.readline()
    return str(typer.prompt(f"Key of {server}", hide_input=True, err=True))


def _settings() -> Settings:
    from chatterm.cli.join import load_settings
    from chatterm.settings import Settings

    try:
        return load_settings()
    except SettingsError as error:
        say(f"chatterm: {error}")
        return Settings()


def _record(listing: Listing) -> dict[str, Any]:
    """What is known about a server, as one JSON object."""
    return {
        "name": listing.server.name,
        "base_url": listing.server.base_url,
        "is_configured": listing.server.is_configured,
        "key_source": listing.key_source,
        "state": _state(listing),
        "n_models": len(listing.models),
        "error": str(listing.error or ""),
    }


def _key(listing: Listing) -> str:
    if listing.key_source:
        return f"from {listing.key_source}"
    return "none" if listing.server.needs_key else "not needed"


def _state(listing: Listing) -> str:
    """How a server is, in a few words."""
    match listing.error:
        case None:
            return f"{len(listing.models)} {'model' if len(listing.models) == 1 else 'models'}"
        case ModelsNotListed():
            return "answers, lists no models"
        case KeyRefused() if not listing.key_source:
            return f"set {listing.server.key_env}" if listing.server.needs_key else "wants a key"
        case KeyRefused():
            return "refuses the key"
        case ServerUnreachable() if listing.server.is_here:
            return "not running"
        case ServerUnreachable():
            return "not reached"
        case _:
            return "answers, but not as it should"
