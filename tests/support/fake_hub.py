"""A small Hugging Face Hub on this machine: enough of its HTTP for the real client, and faults on demand.

    with FakeHub() as hub:
        hub.add("owner/name", "model.gguf", content)
        hub.faults.cut_after = 1000          # then HF_ENDPOINT=hub.url

What the search and the pages of models tell can be given along:

        hub.add("owner/name", "model.gguf", content, downloads=1200, licence="mit", architecture="llama",
                parameters=8_000_000_000, size=4_900_000_000)      # announced as larger than it is

Served: `GET /api/models` (search, filter, sort, limit, num_parameters, expand, pages by Link),
`GET /api/models/{repo}[/revision/{rev}]`, `HEAD` and `GET /{repo}/resolve/{rev}/{file}` with
ranges, sent on to a second address when `has_storage`, as the Hub does. It is no test of its own.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

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
    n_piece: int = PIECE
    """Bytes that are sent at once."""
    before_piece: Callable[[int], bool] | None = None
    """Called before each piece with its place in the file; False closes the connection."""
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
    answer: bytes | None = None
    """Answer every `/api/` request with this and status 200."""
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
    downloads: int = 1
    likes: int = 0
    trending: int = 0
    modified: str = "2026-01-01"
    """The day of the last change."""
    licence: str = ""
    """As in tags: "apache-2.0"."""
    base_model: str = ""
    architecture: str = ""
    parameters: int = 0
    context: int = 0
    """What the Hub read in the header of one file; left out where all three are nothing."""
    tags: list[str] = field(default_factory=list)
    """Further ones."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Files that are announced with another length than they have."""
    raw: dict[str, Any] = field(default_factory=dict)
    """Put over what is told of it, as it is: for answers of the wrong shape."""

    def rank(self, sort: str) -> Any:
        """What a search sorts it by."""
        values = {"likes": self.likes, "trendingScore": self.trending, "lastModified": self.modified}
        return values.get(sort, self.downloads)

    def told(self, name: str) -> dict[str, Any]:
        """All that the Hub knows of it."""
        header = {"total": self.parameters, "architecture": self.architecture, "context_length": self.context}
        about = {
            "_id": hashlib.sha1(name.encode()).hexdigest()[:24],
            "id": name,
            "modelId": name,
            "sha": self.commits[-1],
            "private": self.is_private,
            "gated": "auto" if self.is_gated else False,
            "downloads": self.downloads,
            "likes": self.likes,
            "trendingScore": self.trending,
            "lastModified": f"{self.modified}T12:00:00.000Z",
            "tags": self.all_tags(),
            "siblings": [self._sibling(file, content) for file, content in self.files.items()],
        }
        return about | ({"gguf": header} if any(header.values()) else {}) | self.raw

    def all_tags(self) -> list[str]:
        """Its tags, those of the Hub's own included."""
        found = ["gguf"] if any(file.lower().endswith(".gguf") for file in self.files) else []
        found += [f"license:{self.licence}"] if self.licence else []
        if self.base_model:
            found += [f"base_model:{self.base_model}", f"base_model:quantized:{self.base_model}"]
        return found + self.tags

    def _sibling(self, file: str, content: bytes) -> dict[str, Any]:
        size = self.sizes.get(file, len(content))
        about: dict[str, Any] = {"rfilename": file, "size": size, "blobId": git_hash(content)}
        if is_lfs(file):
            about["lfs"] = {"size": size, "sha256": sha256(content), "pointerSize": 135}
        return about


@dataclass
class Seen:
    """A request that arrived."""

    method: str
    path: str
    range: str
    token: str
    at_storage: bool
    query: dict[str, list[str]] = field(default_factory=dict)


class FakeHub:
    """The server; a context manager."""

    def __init__(self, *, has_storage: bool = False) -> None:
        self.repos: dict[str, Repo] = {}
        self.faults = Faults()
        self.seen: list[Seen] = []
        self.n_sent = 0
        """Bytes of bodies that were handed to the network."""
        self.has_storage = has_storage
        self.page_size = 100
        """Entries of a search that are sent at once at most."""
        self.ignores_filters = False
        """A search looks at words only, as that of a mirror may."""
        self.hides: set[str] = set()
        """Repositories that no search finds."""
        self.next_page = ""
        """Where links to further pages lead; empty for this Hub itself."""
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

    def add(self, repo: str, file: str, content: bytes, *, size: int | None = None, **about: Any) -> str:
        """Put a file into a repository; gives its SHA-256.

        Args:
            repo: Made when it is new.
            file: Its path there.
            content: What is sent for it.
            size: How long it is announced to be, where that is not how long it is: large files for pictures.
            about: Attributes of the repository, as `Repo` has them.
        """
        found = self.repos.setdefault(repo, Repo())
        if size is not None:
            found.sizes[file] = size
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
        path, query = unquote(urlsplit(self.path).path), parse_qs(urlsplit(self.path).query)
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        hub.seen.append(Seen(self.command, path, self.headers.get("Range", ""), token, self.at_storage, query))
        for start, status in faults.refuses_always.items():
            if path.startswith(start):
                return self._refuse(status)
        for refusal in faults.refusals:
            if path.startswith(refusal[0]):
                faults.refusals.remove(refusal)
                return self._refuse(refusal[1], **refusal[2])
        if path.startswith("/api/") and faults.hangs:
            return hub.wait_for_close()
        if path.startswith("/api/") and faults.answer is not None:
            return self._answer(200, {"Content-Length": str(len(faults.answer))}, faults.answer)
        if path == "/api/models":
            return self._search(query, token)
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            return self._model(found[1], found[2] or "main", token, query)
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

    def _model(self, name: str, revision: str, token: str, query: dict[str, list[str]]) -> None:
        repo = self._repo(name, revision, token)
        if repo is not None:
            self._json(_expanded(repo.told(name), query))

    def _search(self, query: dict[str, list[str]], token: str) -> None:
        """A page of the repositories that match."""
        if token and not token.startswith("hf_"):
            return self._refuse(401, **{"X-Error-Message": "Invalid credentials in Authorization header"})
        sort = query.get("sort", ["trendingScore"])[0]
        if sort not in SORTS:
            return self._refuse(400, **{"X-Error-Message": "Invalid sort parameter"})
        hub, told = self.hub, []
        for name, repo in sorted(hub.repos.items(), key=lambda each: each[1].rank(sort), reverse=True):
            if not repo.is_private and name not in hub.hides and _is_meant(repo, name, query, hub.ignores_filters):
                told.append(repo.told(name))
        start = int(query.get("cursor", ["0"])[0])
        end = start + min(int(query.get("limit", ["1000"])[0]), self.hub.page_size)
        headers = {}
        if end < len(told):
            following = urlencode({**query, "cursor": [str(end)]}, doseq=True)
            headers["Link"] = f'<{self.hub.next_page or self.hub.url}/api/models?{following}>; rel="next"'
        return self._json([_expanded(each, query) for each in told[start:end]], headers)

    def _json(self, value: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self._answer(
            200, {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}, body
        )

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
        start, status, whole = 0, 200, content
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and not faults.ignores_range:
            start, status = int(asked[1]), 206
            content = content[: int(asked[2]) + 1] if asked[2] else content
            if start >= len(content):
                return self._answer(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"})
            if faults.wrong_range:
                start = 0
            headers = headers | {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(whole)}"}
        if faults.flip_byte is not None:
            place = faults.flip_byte
            content = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        length = len(content) - start + len(faults.extra)
        self._answer(status, headers | {"Accept-Ranges": "bytes", "Content-Length": str(length)})
        if self.command == "GET":
            self._send(content[start:] + faults.extra, start)
        return None

    def _send(self, rest: bytes | memoryview, start: int) -> None:
        """A body, piece by piece, until a fault ends it."""
        faults, n_sent = self.hub.faults, 0
        rest = memoryview(rest)
        while rest:
            n_piece = faults.n_piece
            if faults.before_piece and not faults.before_piece(start + n_sent):
                self.close_connection = True
                return
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


SORTS = ("downloads", "likes", "trendingScore", "lastModified", "createdAt")


def _is_meant(repo: Repo, name: str, query: dict[str, list[str]], words_only: bool) -> bool:
    """Whether a repository is among what a search asks for."""
    words = query.get("search", [""])[0].lower().split()
    if not all(word in name.lower() for word in words):
        return False
    wanted = {"gguf"} if words_only else set(query.get("filter", []))
    if not wanted <= set(repo.all_tags()):
        return False
    limits = dict(part.split(":") for part in query.get("num_parameters", [""])[0].split(",") if part)
    least, most = (_number(limits.get(name, "")) for name in ("min", "max"))
    return words_only or (repo.parameters >= least and (not most or repo.parameters <= most))


def _number(text: str) -> float:
    """ "7B" -> 7e9; "" -> 0."""
    unit = {"K": 1e3, "M": 1e6, "B": 1e9}.get(text[-1:], 1)
    return float(text.rstrip("KMB") or 0) * unit


def _expanded(told: dict[str, Any], query: dict[str, list[str]]) -> dict[str, Any]:
    """What of it is sent: the properties that were asked for, if any were."""
    wanted = query.get("expand")
    return {name: value for name, value in told.items() if not wanted or name in {"_id", "id", *wanted}}


@cache
def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@cache
def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_lfs(file: str) -> bool:
    """Whether the Hub keeps a file by its SHA-256; small ones are named `plain...` here."""
    return not file.rsplit("/", 1)[-1].startswith("plain")


def etag_of(file: str, content: bytes) -> str:
    return sha256(content) if is_lfs(file) else git_hash(content)
