"""What several servers have, asked all at once: each answers, or is given up, by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

import msgspec

from chatterm.engine.connection import Connection, ListedModel
from chatterm.engine.servers import Server
from chatterm.errors import EngineError

_SECONDS = 6.0


class Listing(msgspec.Struct, frozen=True):
    """What came of asking one server for its models."""

    server: Server
    models: tuple[ListedModel, ...] = ()
    """Those that one can chat with."""
    key_source: str = ""
    """Where its key was found, never the key; empty where there is none."""
    error: EngineError | None = None
    """Why there are no models."""


async def listings(servers: Iterable[Server], deadline_seconds: float = _SECONDS) -> AsyncGenerator[Listing, None]:
    """One listing for each server, in the order in which they answer; closing the iterator asks no further."""
    asked = [asyncio.create_task(_list(server, deadline_seconds), name=f"list {server.name}") for server in servers]
    try:
        for done in asyncio.as_completed(asked):
            yield await done
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


async def all_listings(servers: Iterable[Server]) -> list[Listing]:
    """All listings, when the last server has answered or was given up; in the order of the servers."""
    servers = list(servers)
    async with aclosing(listings(servers)) as found:
        by_name = {listing.server.name: listing async for listing in found}
    return [by_name[server.name] for server in servers]


async def _list(server: Server, deadline_seconds: float) -> Listing:
    """What one server has."""
    source = ""
    try:
        connection = await Connection.to(server)
        try:
            source = connection.found.key.source if connection.found.key else ""
            models = await connection.models(deadline_seconds)
        finally:
            await connection.close()
    except EngineError as error:
        return Listing(server, key_source=source, error=error)
    return Listing(server, tuple(model for model in models if model.is_chat), source)
