"""What a server says when it refuses, turned into errors for the person at the keyboard.

Pure. What it says is untrusted: it is shown on one line, cut, and without the key should it repeat that.
"""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from chatterm.engine.keys import Found
from chatterm.engine.servers import Server
from chatterm.errors import (
    EngineError,
    KeyRefused,
    ModelNotFound,
    ModelsNotListed,
    PromptTooLong,
    ServerBusy,
    ServerError,
)
from chatterm.text import line

_LONGEST_WORDS = 300
_IGNORE = re.IGNORECASE | re.DOTALL
_TOO_LONG = re.compile(
    r"context.?(length|window|size)|too long|maximum (prompt|context|number of tokens)|input token count"
    r"|reduce the length|exceeds? the (available|maximum|model)|too large for model",
    _IGNORE,
)
_NO_MODEL = re.compile(
    r"model_not_found|model.{0,200}(not found|not exist|no access|not a valid|not supported|unable to access)|no such model"
    r"|(invalid|unknown|unable to access) model|not a valid model|^models?[:/ ]",
    _IGNORE,
)
_NO_KEY = re.compile(
    r"api.?key.{0,60}(valid|incorrect|missing|expired|provided|required)|(in|not )?(correct|valid|missing) api.?key",
    _IGNORE,
)
_TOO_MUCH = re.compile(r"max_(completion_)?tokens.{0,80}(too (large|high)|at most|exceed|less than|maximum)", _IGNORE)
_NO_CREDIT = re.compile(r"insufficient.(quota|balance|credit|funds)|billing|credit balance", _IGNORE)


class Said(NamedTuple):
    """What an error body says."""

    words: str
    """On one line, harmless, cut."""
    code: str = ""
    parameter: str = ""
    """The name in the request that it is about, where it says so."""


def said_in(content: Any, found: Found) -> Said:
    """What a decoded error body says, in whichever shape."""
    match content:
        case [first, *_]:
            return said_in(first, found)
        case {"error": Mapping() | list() | str() as inner}:
            return said_in(inner, found)
        case {"detail": [*_] as details}:
            each = [_one_detail(detail) for detail in details]
            return Said(_tidy("; ".join(each), found), "invalid_request")
        case Mapping():
            words = content.get("message") or content.get("detail") or content.get("msg") or ""
            codes = [str(content[name]) for name in ("code", "type", "status") if content.get(name)]
            return Said(_tidy(str(words), found), " ".join(codes), str(content.get("param") or ""))
        case str():
            return Said(_tidy(content, found))
    return Said("")


def decoded(body: bytes) -> Any:
    """A body as JSON; as text where it is none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return body.decode("utf-8", "replace")


def is_page(body: bytes, kind: str) -> bool:
    """Whether a body is a page for people, as proxies and login forms send one."""
    return "html" in kind.lower() or body.lstrip()[:15].lower().startswith((b"<!doctype", b"<html", b"<?xml"))


def page(server: Server, status: int) -> ServerError:
    """The error for a web page in the place of an answer."""
    return ServerError(
        f"What answers at {server.host} is no server for models: it sent a web page (HTTP {status}).",
        f"Check base_url of {server.name} (most end in /v1), and whether a proxy or a login page stands in between.",
    )


def refused_names(said: Said, body: Mapping[str, Any], kept: frozenset[str]) -> list[str]:
    """What in a request a refusal is about, among what can be left out.

    Args:
        kept: Names that no request can do without.
    """
    optional = [name for name in body if name not in kept]
    if said.parameter.partition(".")[0] in optional:
        return [said.parameter.partition(".")[0]]
    is_too_long = _TOO_LONG.search(said.words) and not _TOO_MUCH.search(said.words)
    if is_too_long or _NO_KEY.search(said.words):
        return []
    words = f"{said.words} {said.parameter}"
    return [name for name in optional if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", words)]


def refusal(
    server: Server, status: int, headers: Mapping[str, str], body: bytes, found: Found, model: str
) -> EngineError:
    """Our error for an answer that is none."""
    if 300 <= status < 400:
        return ServerError(
            f"{server.host} sends on to {_tidy(headers.get('location', 'nowhere').partition('?')[0], found)}.",
            f"Your key is not taken there. If that is right, make it the base_url of {server.name} in the settings.",
        )
    if is_page(body, headers.get("content-type", "")) and status < 500:
        return page(server, status)
    said = Said("") if is_page(body, headers.get("content-type", "")) else said_in(decoded(body), found)
    return error_for(server, status, said, found, model, _retry_after(headers))


def error_for(
    server: Server, status: int, said: Said, found: Found, model: str, retry_after_seconds: float | None = None
) -> EngineError:
    """Our error for a status and what was said with it; also for one in the middle of a stream, without a status."""
    everything = f"{said.words} {said.code}"
    quoted = f": {said.words}" if said.words else "."
    if status == 402 or (status in {0, 400, 403, 429} and _NO_CREDIT.search(everything)):
        return ServerError(
            f"{server.name} wants to be paid first{quoted}", "See to the account there, or choose another model."
        )
    if status in {401, 403, 407} or (status in {0, 400} and _NO_KEY.search(everything)):
        return key_refused(server, status, said, found)
    if status == 413 or (status in {0, 400, 422} and _TOO_LONG.search(everything)):
        return PromptTooLong(
            f"{server.name} cannot take in so long a conversation{quoted}", "Shorten the question or the system prompt."
        )
    if status in {0, 400, 404} and model and _NO_MODEL.search(everything):
        return ModelNotFound(
            f"{server.name} has no model “{line(model)}”{quoted}",
            f"`chatterm models list --remote` tells which ones it has.{_pull_hint(server, model)}",
        )
    is_overloaded = re.search("overload|unavailable|rate.?limit|internal|server_error|timeout", said.code, _IGNORE)
    if status == 429 or status in {408, 409, 425} or status >= 500 or (status == 0 and is_overloaded):
        how_long = f" It asks to wait {retry_after_seconds:.0f} seconds." if retry_after_seconds else ""
        why = "was asked too often" if status == 429 else f"has trouble of its own (HTTP {status or 'stream'})"
        busy = ServerBusy(f"{server.name} {why}{quoted}{how_long}", "Ask again in a while.")
        busy.retry_after_seconds = retry_after_seconds
        return busy
    if status == 404:
        return ServerError(
            f"There is nothing of the kind at {server.base_url}.", "Check its base_url: most end in /v1."
        )
    return ServerError(
        f"{server.name} refused what it was asked{f' (HTTP {status})' if status else ''}{quoted}",
        "Choose another model, or change the settings that it names.",
    )


def key_refused(server: Server, status: int, said: Said, found: Found) -> EngineError:
    """The error for a key that is not taken, or that is missing."""
    variable = f", or set {server.key_env}" if server.key_env else ""
    remedy = f"`chatterm models key {server.name}` stores one{variable}."
    if status == 407:
        return ServerError("The proxy wants a login.", "Put it into the variable that names the proxy.")
    if found.key is None:
        return KeyRefused(f"{server.name} wants a key, and {', '.join(found.tried) or 'there is none'}.", remedy)
    quoted = f": {said.words}" if said.words else "."
    return KeyRefused(f"{server.name} refused the key from {found.key.source}{quoted}", remedy)


def not_listed(server: Server, status: int) -> ModelsNotListed:
    """The error for a server that does not say which models it has."""
    return ModelsNotListed(
        f"{server.name} does not list its models (HTTP {status}).",
        f"Name one, such as --model {server.name}:MODEL; if that fails, check its base_url (most end in /v1).",
    )


def _pull_hint(server: Server, model: str) -> str:
    return f" `ollama pull {line(model)}` fetches it." if server.name == "ollama" else ""


def _one_detail(detail: Any) -> str:
    """One of several reasons, with the place that it is about."""
    if not isinstance(detail, Mapping):
        return str(detail)
    place = detail.get("loc")
    where = ".".join(str(part) for part in place if part != "body") if isinstance(place, list) else ""
    return f"{where}: {detail.get('msg', '')}".removeprefix(": ")


def _tidy(words: str, found: Found) -> str:
    """Words of a stranger, made fit to be shown."""
    words = line((found.key.out_of(words) if found.key else words)[: 20 * _LONGEST_WORDS])
    return words if len(words) <= _LONGEST_WORDS else f"{words[:_LONGEST_WORDS]}…"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """How long an answer asks to wait, in seconds: it says so in seconds, or as a date."""
    asked = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d*)?", asked):
        return float(asked)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(asked).timestamp() - time.time())
    except ValueError:
        return None
