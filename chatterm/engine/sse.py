"""Server-sent events: from the bytes of an answer to the data of each event.

Source: the HTML standard, "Server-sent events". What JSON is in them, this does not know.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator

from chatterm.errors import ServerError

_LONGEST_EVENT_BYTES = 1 << 24
_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")  # what follows a last carriage return may still be its line feed


async def data_of(pieces: AsyncIterator[bytes]) -> AsyncGenerator[str, None]:
    r"""The data of each event; comments, names and ids are passed over.

    Example: b": ping\n\ndata: {}\n\ndata: [DONE]\n\n", however it is cut -> "{}", "[DONE]"

    Raises:
        ServerError: an event is longer than any can be.
    """
    rest = b""
    data: list[bytes] = []
    async for piece in pieces:
        *lines, rest = _LINE_END.split(rest + piece)
        if len(rest) + sum(map(len, data)) > _LONGEST_EVENT_BYTES:
            raise ServerError("The server sent a line without an end.", "Ask again, or choose another server.")
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line and data:
                yield b"\n".join(data).decode("utf-8", "replace")
                data = []
    if (line := rest.rstrip(b"\r")).startswith(b"data:"):
        data.append(line[5:].removeprefix(b" "))
    if data:  # the last empty line is often forgotten
        yield b"\n".join(data).decode("utf-8", "replace")
