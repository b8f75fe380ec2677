"""A small server on this machine that speaks OpenAI's protocol, with answers and faults on demand.

    with FakeServer() as server:
        server.answers += [said("Hello"), Answer(status=503)]      # one for each question, in this order

Served: `GET /v1/models`, `POST /v1/chat/completions` and `/v1/completions`. It is no test of its own.
"""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DEADLINE_SECONDS = 60


@dataclass
class Answer:
    """What one question gets."""

    stream: Iterable[bytes] = ()
    """Pieces of the body of an event stream."""
    status: int = 200
    body: bytes | None = None
    """Sent whole instead of a stream."""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_cut: bool = False
    """The connection breaks after the last piece."""
    is_chunked: bool = True
    """Else only the end of the connection tells the end of the body."""
    hold_before: int | None = None
    """Wait before this piece until `release` is set, or the client is gone."""
    reached: threading.Event = field(default_factory=threading.Event)
    """Set when it waits there."""
    release: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    """Set when the client closed the connection before the end."""


@dataclass
class Seen:
    """A request that arrived."""

    method: str
    path: str
    headers: dict[str, str]
    """Their names in small letters."""
    body: Any = None


def event(data: Any) -> bytes:
    """An event with some data: text as it is, everything else as JSON."""
    return f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def chunk(content: Any = None, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    """A chunk as most servers send it."""
    if content is not None:
        delta["content"] = content
    return {
        "id": "c1",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def usage(n_prompt: int, n_generated: int, **more: Any) -> dict[str, Any]:
    """The last chunk of a stream that counts."""
    counts = {"prompt_tokens": n_prompt, "completion_tokens": n_generated, "total_tokens": n_prompt + n_generated}
    return {"id": "c1", "object": "chat.completion.chunk", "choices": [], "usage": counts | more}


def said(*words: str, finish: str | None = "stop", counts: tuple[int, int] | None = (7, 3), **more: Any) -> Answer:
    """A whole ordinary answer, a word a chunk."""
    stream = [event(chunk("", role="assistant")), *(event(chunk(word)) for word in words), event(chunk(finish=finish))]
    if counts:
        stream.append(event(usage(*counts)))
    return Answer([*stream, event("[DONE]")], **more)


def refused(status: int, message: str, **more: Any) -> Answer:
    """An error as OpenAI words one."""
    headers = more.pop("headers", {})
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None} | more
    return Answer(
        status=status,
        body=json.dumps({"error": error}).encode(),
        headers={"Content-Type": "application/json", **headers},
    )


class FakeServer:
    """The server; a context manager."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        """For the next questions; without any left, an ordinary one."""
        self.models: Any = {"object": "list", "data": [{"id": "tiny", "object": "model"}]}
        self.models_answer: Answer | None = None
        """Sent instead of the list."""
        self.seen: list[Seen] = []
        self.connections: list[socket.socket] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"server_": self}))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.host}/v1"

    def __enter__(self) -> FakeServer:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for answer in self.answers:
            answer.release.set()
        self._server.shutdown()
        self._server.server_close()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def questions(self) -> list[Seen]:
        """The requests for replies."""
        return [seen for seen in self.seen if seen.method == "POST"]

    def next_answer(self) -> Answer:
        return self.answers.pop(0) if self.answers else said("Hello", " there")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_: FakeServer

    def setup(self) -> None:
        super().setup()
        self.server_.connections.append(self.connection)

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._see()
        if self.path != "/v1/models":
            return self._send(Answer(status=404, body=b'{"detail":"Not Found"}'))
        own = self.server_.models_answer
        models = Answer(body=json.dumps(self.server_.models).encode(), headers={"Content-Type": "application/json"})
        return self._send(own or models)

    def do_POST(self) -> None:
        self._see(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        if self.path not in {"/v1/chat/completions", "/v1/completions"}:
            return self._send(Answer(status=404, body=b'{"detail":"Not Found"}'))
        return self._send(self.server_.next_answer())

    def _see(self, body: Any = None) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server_.seen.append(Seen(self.command, self.path, headers, body))

    def _send(self, answer: Answer) -> None:
        try:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.body is not None:
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)
                return
            self._stream(answer)
        except OSError:
            answer.left.set()
            self.close_connection = True

    def _stream(self, answer: Answer) -> None:
        if "Content-Type" not in answer.headers:
            self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        if answer.is_chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        for place, piece in enumerate(answer.stream):
            if place == answer.hold_before and not self._held(answer):
                self.close_connection = True
                return
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if answer.is_chunked else piece)
            self.wfile.flush()
        if answer.is_cut:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif answer.is_chunked:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True

    def _held(self, answer: Answer) -> bool:
        """Wait for the test's word; False when the client has left first."""
        answer.reached.set()
        while not answer.release.wait(0.01):
            readable, _, _ = select.select([self.connection], [], [], 0)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                answer.left.set()
                return False
        return True
