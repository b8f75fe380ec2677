"""A small Hugging Face Hub on this machine: enough of its HTTP for the real client, and faults on demand.

    with FakeHub() as hub:
        hub.add("owner/name", "model.gguf", content)
        hub.faults.cut_after = 1000          # then HF_ENDPOINT=hub.url

Served: `GET /api/models/{repo}[/revision/{rev}]`, `HEAD` and `GET /{repo}/resolve/{rev}/{file}` with
ranges, sent on to a second address when `has_storage`, as the Hub does. It is no test of its own.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote, urlsplit

PIECE = 1 << 16


@dataclass
class Faults:
    """What goes wrong; all off at first."""

    cut_after: int | None = None
    """Close the connection after so many bytes of a body."""
    n_cuts: int = -1
    """How often; -1 is always."""
    hold_after: int | None = None
    """After so many bytes of a body set `reached` and wait for `release`, once."""
    reached: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    flip_byte: int | None = None
    """The byte at this place of a file arrives changed."""
    ignores_range: bool = False
    wrong_range: bool = False
    """Send a part of the file that begins elsewhere."""
    page: bytes | None = None
    """Answer every request for bytes with this page and status 200, as hotels do."""
    extra: bytes = b""
    """Sent after each body, beyond its announced length."""
    refusals: list[tuple[str, int, dict[str, str]]] = field(default_factory=list)
    """(start of a path, status, headers): each is used up by one request."""
    refuses_always: dict[str, int] = field(default_factory=dict)
    """Start of a path -> status, for every request."""
    hangs: bool = False
    """Never answer `/api/` requests (until the server is closed)."""
    before_body: Callable[[], None] | None = None
    """Called before each body is sent."""
    renames_etag: bool = False
    """The body carries another ETag than the announcement, as mirrors do."""


@dataclass
class Repo:
    """A repository: its files, and who may have them."""

    files: dict[str, bytes] = field(default_factory=dict)
    is_gated: bool = False
    is_private: bool = False
    token: str = "hf_good"
    commits: list[str] = field(default_factory=list)


@dataclass
class Seen:
    """A request that arrived."""

    method: str
    path: str
    range: str
    token: str
    at_storage: bool


class FakeHub:
    """The server; a context manager."""

    def __init__(self, *, has_storage: bool = False) -> None:
        self.repos: dict[str, Repo] = {}
        self.faults = Faults()
        self.seen: list[Seen] = []
        self.n_sent = 0
        """Bytes of bodies that were handed to the network."""
        self.has_storage = has_storage
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._servers = [self._serve(at_storage=False), self._serve(at_storage=True)]
        self.url, self.storage_url = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)

    def __enter__(self) -> FakeHub:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self.faults.release.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def add(self, repo: str, file: str, content: bytes, **about: Any) -> str:
        """Put a file into a repository; gives its SHA-256. `about` sets attributes of the repository."""
        found = self.repos.setdefault(repo, Repo())
        for name, value in about.items():
            setattr(found, name, value)
        found.files[file] = content
        names = json.dumps({name: sha256(content) for name, content in sorted(found.files.items())})
        found.commits.append(hashlib.sha1((repo + names).encode()).hexdigest())
        return sha256(content)

    def bodies(self) -> list[Seen]:
        """The requests for bytes of files."""
        return [seen for seen in self.seen if seen.method == "GET" and "/api/" not in seen.path]

    def _serve(self, *, at_storage: bool) -> ThreadingHTTPServer:
        handler = type("Handler", (_Handler,), {"hub": self, "at_storage": at_storage})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    def count(self, n_bytes: int) -> None:
        with self._lock:
            self.n_sent += n_bytes

    def wait_for_close(self) -> None:
        self._closing.wait(60)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub
    at_storage: bool

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._route()

    def do_GET(self) -> None:
        self._route()

    def _route(self) -> None:
        hub, faults = self.hub, self.hub.faults
        path = unquote(urlsplit(self.path).path)
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        hub.seen.append(Seen(self.command, path, self.headers.get("Range", ""), token, self.at_storage))
        for start, status in faults.refuses_always.items():
            if path.startswith(start):
                return self._refuse(status)
        for refusal in faults.refusals:
            if path.startswith(refusal[0]):
                faults.refusals.remove(refusal)
                return self._refuse(refusal[1], **refusal[2])
        if path.startswith("/api/") and faults.hangs:
            return hub.wait_for_close()
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            return self._model(found[1], found[2] or "main", token)
        if found := re.fullmatch(r"/(?:storage/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._file(found[1], found[2], found[3], token)
        return self._refuse(404)

    def _repo(self, name: str, revision: str, token: str) -> Repo | None:
        """The repository, or None after a refusal was sent."""
        repo = self.hub.repos.get(name)
        if token and not token.startswith("hf_"):
            return self._refuse(401, **{"X-Error-Message": "Invalid credentials in Authorization header"})
        if repo is None or (repo.is_private and token != repo.token):
            return self._refuse(404 if token else 401, **{"X-Error-Code": "RepoNotFound"})
        if revision != "main" and revision not in repo.commits:
            return self._refuse(404, **{"X-Error-Code": "RevisionNotFound"})
        return repo

    def _model(self, name: str, revision: str, token: str) -> None:
        repo = self._repo(name, revision, token)
        if repo is None:
            return
        siblings = [
            {
                "rfilename": file,
                "size": len(content),
                "blobId": git_hash(content),
                **(
                    {"lfs": {"size": len(content), "sha256": sha256(content), "pointerSize": 135}}
                    if is_lfs(file)
                    else {}
                ),
            }
            for file, content in repo.files.items()
        ]
        about = {"_id": "1", "id": name, "sha": repo.commits[-1], "siblings": siblings, "gated": repo.is_gated}
        body = json.dumps(about | {"private": repo.is_private, "tags": ["gguf"], "downloads": 1}).encode()
        self._answer(200, {"Content-Type": "application/json", "Content-Length": str(len(body))}, body)

    def _file(self, name: str, revision: str, file: str, token: str) -> None:
        hub, faults = self.hub, self.hub.faults
        if self.at_storage:
            return self._body(hub.repos[name].files[file], {"ETag": '"of-the-storage"'})
        repo = self._repo(name, revision, token)
        if repo is None:
            return None
        if repo.is_gated and token != repo.token:
            return self._refuse(403 if token else 401, **{"X-Error-Code": "GatedRepo"})
        if file not in repo.files:
            return self._refuse(404, **{"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repo.commits[-1]})
        if self.command == "GET" and faults.before_body:
            faults.before_body()
        content = repo.files[file]
        headers = {"X-Repo-Commit": repo.commits[-1], "ETag": f'"{etag_of(file, content)}"'}
        if self.command == "GET" and faults.renames_etag:
            headers["ETag"] = '"of-the-mirror"'
        if is_lfs(file) and not faults.renames_etag:
            headers |= {"X-Linked-ETag": headers["ETag"], "X-Linked-Size": str(len(content))}
        if hub.has_storage:
            target = f"{hub.storage_url}/storage/{name}/resolve/{revision}/{quote(file)}"
            return self._answer(302, headers | {"Location": target, "Content-Length": "0"})
        return self._body(content, headers)

    def _body(self, content: bytes, headers: dict[str, str]) -> None:
        faults = self.hub.faults
        if self.command == "GET" and faults.page is not None:
            return self._answer(200, {"Content-Length": str(len(faults.page))}, faults.page)
        start, status = 0, 200
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and not faults.ignores_range:
            start, status = int(asked[1]), 206
            if start >= len(content):
                return self._answer(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"})
            if faults.wrong_range:
                start = 0
            headers = headers | {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        if faults.flip_byte is not None:
            place = faults.flip_byte
            content = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        length = len(content) - start + len(faults.extra)
        self._answer(status, headers | {"Accept-Ranges": "bytes", "Content-Length": str(length)})
        if self.command == "GET":
            self._send(content[start:] + faults.extra)
        return None

    def _send(self, rest: bytes | memoryview) -> None:
        """A body, piece by piece, until a fault ends it."""
        faults, n_sent = self.hub.faults, 0
        rest = memoryview(rest)
        while rest:
            n_piece = PIECE
            if faults.cut_after is not None and faults.n_cuts != 0:
                n_piece = min(n_piece, faults.cut_after - n_sent)
                if n_piece <= 0:
                    faults.n_cuts -= 1
                    self.close_connection = True
                    return
            if faults.hold_after is not None:
                n_piece = min(n_piece, faults.hold_after - n_sent)
                if n_piece <= 0:
                    faults.hold_after = None
                    faults.reached.set()
                    faults.release.wait(60)
                    continue
            piece, rest = rest[:n_piece], rest[n_piece:]
            try:
                self.wfile.write(piece)
            except OSError:
                self.close_connection = True
                return
            n_sent += len(piece)
            self.hub.count(len(piece))

    def _refuse(self, status: int, **headers: str) -> None:
        self._answer(status, {"Content-Length": "0", **headers})

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
        except OSError:
            self.close_connection = True


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_lfs(file: str) -> bool:
    """Whether the Hub keeps a file by its SHA-256; small ones are named `plain...` here."""
    return not file.rsplit("/", 1)[-1].startswith("plain")


def etag_of(file: str, content: bytes) -> str:
    return sha256(content) if is_lfs(file) else git_hash(content)
