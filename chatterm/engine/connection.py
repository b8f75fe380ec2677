"""One server over HTTP: its list of models, and the chunks of an answer while they come.

Redirects are not followed, so that neither key nor text goes where nobody sent them. What goes wrong
becomes one of our errors here, and nowhere else. What chunks mean, `delta` knows.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from chatterm import __version__
from chatterm.engine import keys
from chatterm.engine.asking import Question
from chatterm.engine.keys import Found
from chatterm.engine.refusal import Said, decoded, error_for, is_page, key_refused, not_listed, page, refusal, said_in
from chatterm.engine.servers import Server
from chatterm.engine.sse import data_of
from chatterm.errors import EngineError, ReplyCut, ServerError, ServerUnreachable
from chatterm.text import is_name, line

if TYPE_CHECKING:
    import httpx2

_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 600.0
"""How long a model may think without a word."""
_LIST_SECONDS = 10.0
_LARGEST_BODY_BYTES = 1 << 23
_MOST_MODELS = 2000
_NO_CHAT = re.compile(
    r"embed|whisper|\btts\b|-tts|dall-e|moderation|transcribe|realtime|rerank|-image|imagen|veo-|sora|babbage|davinci|ocr"
)


class Refused(Exception):
    """The server does not take the request as it is; `error` is ours for it."""

    def __init__(self, error: EngineError, said: Said) -> None:
        super().__init__(str(error))
        self.error = error
        self.said = said


class ListedModel(msgspec.Struct, frozen=True):
    """A model as its server lists it; 0 where it says nothing."""

    name: str
    n_ctx: int = 0
    n_ctx_train: int = 0
    n_parameters: int = 0
    size_bytes: int = 0
    is_chat: bool = True
    """False where it is surely of another kind, such as an embedding."""


class Connection:
    """A way to one server, with the key that was found for it."""

    def __init__(self, server: Server, found: Found, client: httpx2.AsyncClient) -> None:
        self.server = server
        self.found = found
        self._client = client

    @classmethod
    async def to(cls, server: Server) -> Connection:
        """A connection, its key looked for; nothing is sent yet.

        Raises:
            KeyRefused: it answers nobody without a key, and none was found.
            KeyUnusable: its key is kept where others can read it, or is damaged.
        """
        found = await asyncio.to_thread(keys.find, server)
        if server.needs_key and found.key is None:
            raise key_refused(server, 401, Said(""), found)
        return cls(server, found, await asyncio.to_thread(_make_client, server))

    async def close(self) -> None:
        """Close what is open."""
        await self._client.aclose()

    async def models(self, deadline_seconds: float = _LIST_SECONDS) -> list[ListedModel]:
        """What the server has, in its order.

        Raises:
            ServerUnreachable, KeyRefused, ServerBusy, ServerError: as for any question.
            ModelsNotListed: it does not say.
        """
        import httpx2

        url = f"{self.server.base_url}/models"
        try:
            async with (
                asyncio.timeout(deadline_seconds),
                self._client.stream(
                    "GET",
                    url,
                    auth=self._signed(self.server.preset.lists_with),
                    headers=dict(self.server.preset.headers),
                ) as response,
            ):
                body = await _body(response)
        except TimeoutError as error:
            raise ServerUnreachable(
                f"{self.server.name} did not answer within {deadline_seconds:.0f} seconds.", _START_OR_CHECK
            ) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._translated(error) from error
        if response.status_code in {404, 405, 501}:
            raise not_listed(self.server, response.status_code)
        if response.status_code != 200:
            raise refusal(self.server, response.status_code, response.headers, body, self.found, "")
        return list(_listed(decoded(body), self.server, body, response.headers.get("content-type", "")))

    async def chunks(self, question: Question) -> AsyncGenerator[Any, None]:
        """The chunks of an answer, decoded; closing the iterator closes the connection, and the server stops.

        Raises:
            Refused: the request is not taken as it is.
            ReplyCut: the connection broke after the answer had begun.
            ServerUnreachable, ServerBusy, KeyRefused, ModelNotFound, PromptTooLong, ServerError.
        """
        import httpx2

        url, model = f"{self.server.base_url}/{question.path}", str(question.body["model"])
        has_begun = is_whole = False
        n_events = 0
        try:
            async with self._client.stream("POST", url, json=question.body, auth=self._signed()) as response:
                kind = response.headers.get("content-type", "")
                if response.status_code != 200:
                    body = await _body(response)
                    error = refusal(self.server, response.status_code, response.headers, body, self.found, model)
                    if response.status_code in {400, 413, 422}:
                        raise Refused(error, said_in(decoded(body), self.found))
                    raise error
                if "event-stream" not in kind.lower():
                    yield self._whole(await _body(response), kind, model)
                    return
                has_begun = True
                async with aclosing(data_of(response.aiter_bytes())) as events:
                    async for data in events:
                        if data.strip() == "[DONE]":
                            return
                        n_events += 1
                        chunk = self._checked(data.encode(), model)
                        is_whole = is_whole or _is_last(chunk)
                        yield chunk
                if not n_events:  # what llama-cpp-python's server does when the prompt does not fit
                    raise ServerError(
                        f"{self.server.name} ended its answer before it had begun.",
                        "It may have failed, or the conversation may be too long for it: its log tells, or a new chat.",
                    )
                if not is_whole and not {"transfer-encoding", "content-length"} & response.headers.keys():
                    raise self._cut()  # nothing else tells the end of the answer from a lost connection
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            if is_whole:
                return
            raise (self._cut() if has_begun else self._translated(error)) from error

    def _whole(self, body: bytes, kind: str, model: str) -> Any:
        """An answer that came at once, from a server that does not stream."""
        if is_page(body, kind):
            raise page(self.server, 200)
        return self._checked(body, model)

    def _checked(self, data: bytes, model: str) -> Any:
        """A chunk, decoded.

        Raises:
            EngineError: it is an error, or no JSON.
        """
        chunk = decoded(data)
        if not isinstance(chunk, Mapping):
            raise ServerError(
                f"{self.server.name} sent something that is no answer: {line(str(chunk))[:80]}",
                f"Check base_url of {self.server.name} (most end in /v1).",
            )
        if chunk.get("error") or chunk.get("object") == "error":
            said = said_in(chunk, self.found)
            number = next((int(word) for word in said.code.split() if word.isdecimal() and len(word) == 3), 0)
            raise error_for(self.server, number, said, self.found, model)
        return chunk

    def _cut(self) -> ReplyCut:
        return ReplyCut(
            f"The connection to {self.server.name} broke in the middle of the reply; what arrived is kept.",
            "Go on with the reply, or ask again.",
        )

    def _signed(self, header: str = "") -> Callable[[httpx2.Request], httpx2.Request]:
        """What puts the key into a request: it stands nowhere else, so that no traceback shows it."""

        def sign(request: httpx2.Request) -> httpx2.Request:
            if self.found.key is not None:
                self.found.key.sign(request.headers, header)
            return request

        return sign

    def _translated(self, error: Exception) -> EngineError:
        """Our error for what the HTTP client raises before there is an answer."""
        import httpx2

        server = self.server
        reason = line(re.sub(r"^\[Errno -?\d+\] ", "", str(error))).rstrip(".")
        if self.found.key is not None:
            reason = self.found.key.out_of(reason)
        if _has_cause(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in reason:
            return ServerError(
                f"{server.host} shows a certificate that is not trusted here: {reason[:200]}.",
                "If it is your own server, name its certificate's authority in SSL_CERT_FILE.",
            )
        match error:
            case httpx2.ConnectTimeout() | httpx2.TimeoutException():
                return ServerUnreachable(f"{server.name} did not answer in time ({server.host}).", _START_OR_CHECK)
            case httpx2.ProxyError():
                return ServerUnreachable(f"The proxy does not let {server.name} be reached: {reason}.", _START_OR_CHECK)
            case httpx2.InvalidURL() | httpx2.UnsupportedProtocol() | httpx2.LocalProtocolError():
                return ServerError(f"{server.base_url} cannot be asked.", f"Mend base_url of {server.name}.")
        start = f"Start it with `{server.preset.start}`." if server.is_here and server.preset.start else _START_OR_CHECK
        if server.is_here:
            return ServerUnreachable(f"Nothing answers at {server.host}, where {server.name} should be.", start)
        return ServerUnreachable(f"{server.name} cannot be reached at {server.host}: {reason}.", start)


_START_OR_CHECK = "Check that it runs and that this machine is connected, then try again."


def _make_client(server: Server) -> httpx2.AsyncClient:
    """A client that follows nothing and trusts what is trusted usually; to be made in a thread."""
    import httpx2  # late: this takes a while, and most need no server

    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS, write=60.0),
        follow_redirects=False,
        trust_env=not server.is_here,  # what is for this machine does not go through a proxy elsewhere
        headers={"User-Agent": f"chatterm/{__version__}"},
    )


async def _body(response: httpx2.Response) -> bytes:
    """A body up to a size that no honest one has."""
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > _LARGEST_BODY_BYTES:
            break
    return bytes(body)


def _is_last(chunk: Mapping[str, Any]) -> bool:
    """Whether a chunk says why the reply ends."""
    choices = chunk.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return isinstance(first, Mapping) and bool(first.get("finish_reason"))


def _listed(content: Any, server: Server, body: bytes, kind: str) -> Iterator[ListedModel]:
    """The models in a list, in whichever shape."""
    if is_page(body, kind):
        raise page(server, 200)
    rows = content.get("data", content.get("models")) if isinstance(content, Mapping) else content
    if not isinstance(rows, list):
        raise not_listed(server, 200)
    for row in rows[:_MOST_MODELS]:
        name = row.get("id") or row.get("name") if isinstance(row, Mapping) else None
        if isinstance(name, str) and 0 < len(name) <= 200 and is_name(name):
            yield _model(name.removeprefix("models/"), row)


def _model(name: str, row: Mapping[str, Any]) -> ListedModel:
    """A row of the list."""
    meta = row.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    can = row.get("capabilities")
    kind = row.get("type")
    is_chat = (
        not _NO_CHAT.search(name.lower())
        and not (isinstance(can, Mapping) and can.get("completion_chat") is False)
        and (not isinstance(kind, str) or kind in {"model", "chat", "language", "code", "llm", "vlm", "base"})
    )
    sizes = (row.get(size) for size in ("max_model_len", "context_length", "context_window", "max_context_length"))
    return ListedModel(
        name,
        n_ctx=next((size for size in map(_count, (*sizes, meta.get("n_ctx"))) if size), 0),
        n_ctx_train=_count(meta.get("n_ctx_train")),
        n_parameters=_count(meta.get("n_params")),
        size_bytes=_count(meta.get("size")),
        is_chat=is_chat,
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 < value < 2**53 else 0


def _has_cause(error: BaseException | None, kind: type[BaseException]) -> bool:
    """Whether an error of a kind is behind another one."""
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False
