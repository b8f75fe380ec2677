"""A remote engine on a fake server, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from support.fake_server import FakeServer

from chatterm.address import RemoteModel
from chatterm.engine.remote import RemoteEngine
from chatterm.engine.remote_reply import Patience
from chatterm.events import LoadEvent
from chatterm.settings import LoadOptions, ServerSettings


class Waits(list[float]):
    """How long would have been waited, each time."""

    async def wait(self, seconds: float) -> None:
        self.append(seconds)


def engine_for(server: FakeServer, waits: Waits | None = None, **about: Any) -> RemoteEngine:
    """An engine that knows the server as "fake"; `about` is what the settings say of it besides."""
    chosen: Mapping[str, ServerSettings] = {"fake": ServerSettings(base_url=server.url, **about)}
    return RemoteEngine(chosen, Patience(wait=(Waits() if waits is None else waits).wait))


async def load_remote(engine: RemoteEngine, model: str = "tiny", server: str = "fake") -> list[LoadEvent]:
    """All events of a load."""
    return [event async for event in engine.load(RemoteModel(server, model), LoadOptions())]
