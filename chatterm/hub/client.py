"""The Hugging Face Hub as far as chatterm asks it: what a repository holds, what a file is.

The real huggingface_hub asks. This module gives it a deadline on every call, tells it what the
environment says now (it reads that once, at its own import), and turns its exceptions into ours.
It fetches no models (`download`).
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec

from chatterm import __version__, paths
from chatterm.errors import GatedRepo, HubBusy, HubError, NoNetwork, RepoNotFound, TokenRefused
from chatterm.hub import cache, names
from chatterm.hub.repository import RemoteFile, Repository
from chatterm.text import is_name, line

T = TypeVar("T")

_TRUE = frozenset({"1", "ON", "YES", "TRUE"})
_COMMIT = re.compile(r"[0-9a-f]{40}")


class FileFacts(msgspec.Struct, frozen=True):
    """What the Hub says about the bytes of a file."""

    etag: str
    """Names the bytes: the SHA-256 of a large file, the Git hash of a small one."""
    size_bytes: int | None
    url: str
    """Where to ask for them; the Hub may send on from there."""


class Page(NamedTuple):
    """An answer of the Hub's API."""

    content: Any
    """Its JSON; of any shape."""
    next: str
    """The address of the next page; empty after the last one."""


class Hub:
    """The Hub that the environment names, with its token.

    Every method blocks, and answers or raises within its deadline:

    Raises:
        NoNetwork: it cannot be reached or did not answer in time, or offline mode is set.
        HubBusy: it answered 429 or 5xx.
        TokenRefused: the token is not valid, or may not do this.
        RepoNotFound: no such repository, revision or file.
        GatedRepo: a licence must be accepted first.
    """

    def __init__(self, deadline_seconds: float = 30.0) -> None:
        self.endpoint = endpoint()
        self.deadline_seconds = deadline_seconds
        self.timeout_seconds = timeout_seconds()

    def repository(self, repo: str, revision: str = "main") -> Repository:
        """The model files of a repository, and the commit that a revision is now."""
        if not revision or {"", ".", ".."} & set(revision.split("/")) or not is_name(revision):
            raise RepoNotFound(f"“{line(revision)}” is not the name of a revision.")

        def ask() -> Any:
            return self._api().model_info(repo, revision=revision, files_metadata=True, timeout=self.timeout_seconds)

        try:
            with self.translated(repo, revision):
                info = self.answer(ask)
            files = [_remote_file(sibling) for sibling in info.siblings or () if names.is_model(sibling.rfilename)]
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:  # a page where JSON was expected
            raise self.not_a_hub() from error
        if not isinstance(info.sha, str) or not _COMMIT.fullmatch(info.sha):
            raise self.not_a_hub()
        return Repository(
            repo=repo,
            revision=revision,
            commit=info.sha,
            files=tuple(sorted(files, key=lambda file: file.path)),
        )

    def page(self, path: str, query: Mapping[str, Any], repo: str = "") -> Page:
        """What the Hub answers to a question of its API, unchecked.

        huggingface_hub's own search repeats a failed question for half a minute, waits without end for a
        silent server, and gives up a whole page for one odd entry; so its client is asked more directly.

        Args:
            path: Such as "/api/models", or the address that an earlier page gave.
            query: Parameters; a list is sent as several of one name.
            repo: What it is about, for errors; empty for a search.
        """
        url = path if path.startswith(("http://", "https://")) else self.endpoint + path

        def ask() -> Page:
            session = _huggingface().get_session()
            from huggingface_hub.utils._http import hf_raise_for_status

            response = session.get(url, params=query or None, headers=_headers(), timeout=self.timeout_seconds)
            hf_raise_for_status(response)
            return Page(response.json(), self._next_page(response))

        try:
            with self.translated(repo or "the search", "main"):
                return self.answer(ask)
        except (ValueError, RecursionError) as error:  # a page where JSON was expected
            raise self.not_a_hub() from error

    def _next_page(self, response: Any) -> str:
        """The address of the next page; none elsewhere than on this Hub, since the token goes with it."""
        told = response.links.get("next", {}).get("url", "")
        address = str(response.url.join(told)) if told else ""
        return address if address and origin(address) == origin(self.endpoint) else ""

    def facts(self, repo: str, commit: str, file: str) -> FileFacts:
        """What the bytes of a file are called, how many they are and where."""

        def ask() -> FileFacts:
            url = self.address(repo, commit, file)
            found = _huggingface().get_hf_file_metadata(url, timeout=self.timeout_seconds, endpoint=self.endpoint)
            return FileFacts(found.etag or "", found.size, url)

        with self.translated(repo, commit, file):
            return self.answer(ask)

    def address(self, repo: str, commit: str, file: str) -> str:
        """Where to ask for the bytes of a file."""
        return str(_huggingface().hf_hub_url(repo, file, revision=commit, endpoint=self.endpoint))

    def headers(self) -> dict[str, str]:
        """What goes with every request to the Hub itself: who asks, and the token if there is one."""
        return self.answer(_headers)

    def answer(self, ask: Callable[[], T]) -> T:
        """What a call gives, if it does in time; a call that hangs is left behind.

        Some calls of huggingface_hub have no time-out at all, and none covers the look-up of names.
        """
        if is_offline():
            raise NoNetwork(
                "Offline mode is set, so the Hub was not asked.", "Unset HF_HUB_OFFLINE to fetch models from it."
            )
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(ask())
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=run, name="hub", daemon=True).start()
        try:
            return future.result(self.deadline_seconds)
        except TimeoutError as error:
            if future.done():
                raise
            raise NoNetwork(
                f"{self.endpoint} did not answer within {self.deadline_seconds:.0f} seconds.", _TRY_AGAIN
            ) from error

    @contextmanager
    def translated(self, repo: str, revision: str, file: str = "") -> Iterator[None]:
        """Turns what huggingface_hub and httpx2 raise into our errors; the one place for it."""
        try:
            yield
        except HubError:
            raise
        except Exception as error:
            ours = self._translation(error, repo, revision, line(file))
            if ours is error:
                raise
            raise ours from error

    def _translation(self, error: Exception, repo: str, revision: str, file: str) -> Exception:
        """Our error for a foreign one; the same again when it is none that was expected."""
        import httpx2
        from huggingface_hub import errors as hf

        match error:
            case hf.GatedRepoError():
                return self._gated(repo, has_token="authorization" in error.response.request.headers)
            case hf.RevisionNotFoundError():
                return RepoNotFound(f"{repo} has no revision “{revision}”.", "Leave --revision out to take `main`.")
            case hf.EntryNotFoundError():
                return RepoNotFound(f"{repo} holds no file “{file}”.", "Leave the file out to see what there is.")
            case hf.RepositoryNotFoundError():
                return self._missing(repo)
            case hf.HFValidationError():
                return RepoNotFound(f"“{line(repo)}” is not the name of a repository.")
            case hf.HfHubHTTPError():
                return self.refusal(error.response, repo)
            case httpx2.TimeoutException():
                return NoNetwork(f"{self.endpoint} did not answer in time.", _TRY_AGAIN)
            case httpx2.ReadError() | httpx2.RemoteProtocolError() | httpx2.WriteError():
                return NoNetwork(f"The connection to {self.endpoint} broke.", _TRY_AGAIN)
            case httpx2.ProxyError():
                return NoNetwork(
                    f"The proxy does not let this through to {self.endpoint}: {_reason(error)}.",
                    "Check HTTPS_PROXY, and whether the proxy wants a name and a password (http://NAME:PASSWORD@HOST:PORT).",
                )
            case httpx2.UnsupportedProtocol() | httpx2.InvalidURL():
                return HubError(f"“{line(self.endpoint)}” is no address of a Hub.", "Mend HF_ENDPOINT, or unset it.")
            case httpx2.HTTPError() | hf.OfflineModeIsEnabled():
                return NoNetwork(f"{self.endpoint} cannot be reached: {_reason(error)}.", _TRY_AGAIN)
        return error

    def refusal(self, response: Any, repo: str) -> HubError:
        """Our error for a status that has no exception of its own."""
        status = response.status_code
        has_token = "authorization" in response.request.headers
        match status:
            case 429:
                busy = HubBusy("The Hub answers that it was asked too often.", "Wait some minutes and try again.")
                busy.retry_after_seconds = _retry_after(response)
                return busy
            case _ if status >= 500 or status == 408:
                busy = HubBusy(f"The Hub has trouble of its own (HTTP {status}).", "Try again later.")
                busy.retry_after_seconds = _retry_after(response)
                return busy
            case 401 | 403 if has_token:
                return TokenRefused(
                    f"The Hub refused the token (HTTP {status}).",
                    f"Make a new one at {self.endpoint}/settings/tokens, then set HF_TOKEN or run `hf auth login`.",
                )
            case 401 | 404:
                return self._missing(repo)
        said = line(response.headers.get("X-Error-Message", ""))
        return HubError(f"The Hub refused {repo} (HTTP {status}{': ' if said else ''}{said}).", "Try another one.")

    def not_a_hub(self) -> NoNetwork:
        """The error for an answer that no Hub would give."""
        return NoNetwork(
            f"What answers at {self.endpoint} does not speak as the Hugging Face Hub does.",
            "Check HF_ENDPOINT, and whether this network asks for a login in a browser first.",
        )

    def _gated(self, repo: str, *, has_token: bool) -> GatedRepo:
        page = f"{self.endpoint}/{repo}"
        if has_token:
            return GatedRepo(
                f"{repo} asks for its conditions to be accepted, and the account of your token has not, "
                "or was not let in yet.",
                f"Open {page} with that account and accept them, then try again.",
            )
        return GatedRepo(
            f"{repo} asks for its conditions to be accepted before it can be fetched.",
            f"Open {page} and accept them, create a token at {self.endpoint}/settings/tokens, "
            "set HF_TOKEN or run `hf auth login`, then try again.",
        )

    def _missing(self, repo: str) -> RepoNotFound:
        return RepoNotFound(
            f"There is no repository {repo} on the Hub, or it is private.",
            "Check the spelling (OWNER/NAME). For a private one set HF_TOKEN or run `hf auth login`.",
        )

    def _api(self) -> Any:
        return _huggingface().HfApi(endpoint=self.endpoint, library_name="chatterm", library_version=__version__)


_TRY_AGAIN = "Check the connection and try again."


def endpoint() -> str:
    """The address of the Hub; `HF_ENDPOINT` names another one."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an address: what a token is bound to."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    return parts.scheme, (parts.hostname or "").lower(), port


def is_offline() -> bool:
    """Whether the user told Hugging Face tools not to use the network."""
    chosen = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return chosen.upper() in _TRUE


def timeout_seconds() -> float:
    """How long a silent connection is waited for; `HF_HUB_DOWNLOAD_TIMEOUT` changes it."""
    chosen = os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT", "")
    return float(chosen) if chosen.isdigit() and int(chosen) else 10.0


def _headers() -> dict[str, str]:
    """Who asks, and the token if there is one."""
    _huggingface()
    from huggingface_hub.utils._headers import build_hf_headers

    return build_hf_headers(library_name="chatterm", library_version=__version__)


def _remote_file(sibling: Any) -> RemoteFile:
    """A file of a repository, from what huggingface_hub tells of it."""
    size = sibling.size if isinstance(sibling.size, int) and sibling.size > 0 else 0
    if sibling.lfs and isinstance(sibling.lfs.sha256, str):
        return RemoteFile(sibling.rfilename, size, sibling.lfs.sha256)
    return RemoteFile(sibling.rfilename, size, git_hash=sibling.blob_id if isinstance(sibling.blob_id, str) else "")


def _reason(error: Exception) -> str:
    """Why a connection failed, in the system's words."""
    return line(re.sub(r"^\[Errno -?\d+\] ", "", str(error))).rstrip(".") or type(error).__name__


def _retry_after(response: Any) -> float | None:
    """How long a response asks to wait, in seconds."""
    from huggingface_hub.utils._http import parse_ratelimit_headers

    limit = parse_ratelimit_headers(response.headers)
    if limit and not limit.remaining:
        return float(limit.reset_in_seconds)
    asked = response.headers.get("Retry-After", "").strip()
    return float(asked) if asked.isdigit() else None


def _huggingface() -> Any:
    """huggingface_hub, told what the environment says now."""
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.utils.logging import get_logger

    token = cache.expanded(os.environ.get("HF_TOKEN_PATH") or str(cache.home() / "token"))
    settings = {
        "HF_HUB_OFFLINE": False,  # asked by us, before each call
        "HF_HUB_DISABLE_TELEMETRY": True,
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": os.environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").upper() in _TRUE,
        "HF_TOKEN_PATH": str(token),
        "HF_STORED_TOKENS_PATH": str(token.with_name("stored_tokens")),
    }
    for name, value in settings.items():
        setattr(constants, name, value)
    _quiet(get_logger("huggingface_hub"))
    return huggingface_hub


def _quiet(logger: logging.Logger) -> None:
    """Send what huggingface_hub logs to a file of ours, never to the screen."""
    target = paths.hub_log_file()
    if any(getattr(handler, "baseFilename", "") == str(target.absolute()) for handler in logger.handlers):
        return
    handler: logging.Handler
    try:
        paths.ensure(target.parent)
        handler = logging.handlers.RotatingFileHandler(target, maxBytes=1_000_000, backupCount=1, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    except OSError:
        handler = logging.NullHandler()
    for old in list(logger.handlers):
        logger.removeHandler(old)
        old.close()
    logger.addHandler(handler)
    logger.propagate = False
