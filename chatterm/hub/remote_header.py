"""Reads the header of a GGUF file that lies on the Hub, by asking for its first megabytes only."""

from __future__ import annotations

import re
import time
from functools import lru_cache

import httpx2

from chatterm.errors import NoNetwork
from chatterm.gguf import GgufHeader, parse_header
from chatterm.hub.bodies import body, client, refused
from chatterm.hub.client import Hub
from chatterm.text import line

_DEADLINE_SECONDS = 60.0
"""For the whole header, some megabytes."""
_AGAIN = "Check the connection and try again."


@lru_cache(maxsize=64)
def remote_header(endpoint: str, repo: str, commit: str, file: str) -> GgufHeader:  # noqa: ARG001 a part of the key
    """The header of a file at a commit, which never changes; kept for this run of the program.

    Args:
        endpoint: The Hub that is asked, as the environment names it.
        repo: OWNER/NAME there.
        commit: 40 hexadecimal digits.
        file: A path in the repository.

    Raises:
        HubError: as `Hub` tells.
        ModelUnreadable: it is no GGUF.
    """
    hub = Hub()
    with client(hub.timeout_seconds) as sender:
        return parse_header(_Remote(hub, sender, repo, commit, file).fetch, line(file))


class _Remote:
    """A file on the Hub that is read piece by piece."""

    def __init__(self, hub: Hub, client: httpx2.Client, repo: str, commit: str, file: str) -> None:
        self.hub, self.client = hub, client
        self.repo, self.commit, self.file = repo, commit, file
        self._url = hub.address(repo, commit, file)
        self._headers = hub.headers()
        self._ends = time.monotonic() + _DEADLINE_SECONDS

    def fetch(self, start: int, end: int) -> bytes:
        """The bytes from one offset to another, fewer at the end of the file."""
        headers = self._headers | {"Range": f"bytes={start}-{end - 1}"}
        with (
            self.hub.translated(self.repo, self.commit, self.file),
            body(self.hub, self.client, self._url, headers) as sent,
        ):
            match sent.response.status_code:
                case 206:
                    self._check_place(sent.response, start)
                    return self._read(sent.response, end - start)
                case 200:  # it knows no ranges and sends all: what is needed is taken, the rest never read
                    return self._read(sent.response, end)[start:]
                case 416:
                    return b""
            raise refused(self.hub, sent, self.repo, _AGAIN)

    def _check_place(self, response: httpx2.Response, start: int) -> None:
        """Raises unless the part that was asked for comes."""
        found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        if not found or int(found[1]) != start:
            raise NoNetwork("The server sent another part of the file than was asked for.", _AGAIN)

    def _read(self, response: httpx2.Response, n_bytes: int) -> bytes:
        """So many bytes of a response, fewer where it ends before."""
        data = bytearray()
        for chunk in response.iter_raw():
            data += chunk
            if len(data) >= n_bytes:
                break
            if time.monotonic() > self._ends:
                raise NoNetwork(f"{self.hub.endpoint} sends the file too slowly to look into it.", _AGAIN)
        return bytes(data[:n_bytes])
