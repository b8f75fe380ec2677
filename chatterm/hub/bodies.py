"""Asks for the bytes of files: by hand along redirects, so that the token goes to the Hub itself and nowhere else.

What is done with the bytes, `download` and `remote_header` know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import httpx2

from chatterm.errors import HubError, NoNetwork
from chatterm.hub.client import Hub, origin

_MAX_REDIRECTS = 10


class Body(NamedTuple):
    """A response that is not yet read; its status can be any but a redirect."""

    response: httpx2.Response
    is_home: bool
    """Whether it came from the Hub itself, not from a storage that it sent to."""


def client(timeout_seconds: float) -> httpx2.Client:
    """What fetches bytes, through the proxy that the environment names.

    Raises:
        HubError: that proxy is none that can be used.
    """
    try:
        return httpx2.Client(timeout=timeout_seconds, follow_redirects=False)
    except (ImportError, ValueError, httpx2.InvalidURL) as error:
        raise HubError(
            "The proxy that this environment names cannot be used.",
            "Set HTTPS_PROXY to one as http://HOST:PORT, and unset ALL_PROXY; SOCKS proxies are not supported.",
        ) from error


@contextmanager
def body(
    hub: Hub,
    client: httpx2.Client,
    url: str,
    headers: Mapping[str, str],
    check: Callable[[httpx2.Response], object] = lambda _: None,
) -> Iterator[Body]:
    """What is sent for an address; closed at the end.

    Args:
        hub: Its deadline holds for each answer.
        client: Sends; follows no redirects itself.
        url: Where to begin.
        headers: As `Hub.headers` gives them, and those of this request.
        check: Called with each response of the Hub itself that is no refusal.

    Raises:
        NoNetwork: there is no end to the redirects, or no answer in time.
    """
    for _ in range(_MAX_REDIRECTS):
        is_home = origin(url) == origin(hub.endpoint)
        sent = {name: value for name, value in headers.items() if is_home or name.lower() != "authorization"}
        request = client.build_request("GET", url, headers={**sent, "Accept-Encoding": "identity"})
        response = hub.answer(partial(client.send, request, stream=True))
        try:
            if is_home and response.status_code < 400:
                check(response)
            if not response.has_redirect_location:
                yield Body(response, is_home)
                return
            url = str(response.url.join(response.headers["Location"]))
        finally:
            response.close()
    raise NoNetwork(f"{hub.endpoint} sends from one address to the next.", "Check HF_ENDPOINT.")


def refused(hub: Hub, sent: Body, repo: str, remedy: str) -> HubError:
    """The error for a status that brings no bytes.

    A storage that refuses counts as no network, such as 403 for a signed address that has run out: asking
    the Hub again gives a new one.

    Raises:
        httpx2.HTTPError: the Hub itself refuses; to be translated.
    """
    from huggingface_hub.utils._http import hf_raise_for_status

    if sent.is_home and sent.response.status_code >= 400:
        hf_raise_for_status(sent.response)
    if sent.response.status_code in {429, 503}:
        return hub.refusal(sent.response, repo)
    return NoNetwork(f"The server that stores the file answers HTTP {sent.response.status_code}.", remedy)
