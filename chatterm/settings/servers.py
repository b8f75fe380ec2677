"""What the user says of a server to chat with, and whether one could be reached by it.

What is known of each preset is in `engine.servers`; nothing here knows a server's key.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

import msgspec

PresetName = Literal[
    "llama-server", "vllm", "ollama", "lmstudio",
    "openai", "gemini", "anthropic", "mistral", "xai", "groq", "together", "openrouter",
]  # fmt: skip
PRESET_NAMES: tuple[PresetName, ...] = get_args(PresetName)


class ServerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A server that speaks OpenAI's protocol; its models are named SERVER:MODEL. Its key is never in this file."""

    preset: PresetName | Literal[""] = ""
    """What kind of server it is; by default that of its name, else only what all of them have in common."""
    base_url: str = ""
    """Where it is, such as "http://127.0.0.1:8080/v1"; by default the preset's."""
    key_env: str = ""
    """The environment variable that holds its key; by default the preset's."""


def wrong_with(name: str, server: ServerSettings) -> str:
    """Why a server cannot be used, "" if it can; repeats no values, since a key may stand in the wrong place."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        return "the name of a server is made of letters, digits, dots, - and _"
    if not (server.preset or server.base_url or name in PRESET_NAMES):
        return "it needs a preset or a base_url"
    if reason := _wrong_with_address(server.base_url):
        return reason
    if server.key_env and not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", server.key_env):
        return "key_env takes the name of an environment variable, not the key itself"
    return ""


def _wrong_with_address(base_url: str) -> str:
    """Why an address cannot be used; "" if it can, or if there is none."""
    if not base_url:
        return ""
    from urllib.parse import urlsplit  # late: there may be no server

    try:
        url = urlsplit(base_url)
        is_plain = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        is_plain = False
    if not is_plain:
        return "base_url is no address; write it like http://127.0.0.1:8080/v1"
    if url.username is not None or url.query or url.fragment:
        return "base_url must hold no password, ? or #"
    return ""
