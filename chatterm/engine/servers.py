"""Which servers can be chatted with, and in what they differ, although all of them speak OpenAI's protocol.

The presets are one table. What differs beyond it (where reasoning text comes, errors in odd shapes) the
readers of answers take as it comes. No network here, and no keys.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from chatterm.address import RemoteModel
from chatterm.settings import PresetName, ServerSettings

_COMMON: Mapping[str, str] = MappingProxyType(
    {name: name for name in ("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "stop")}
)
_VARIABLES = {"template_variables": "chat_template_kwargs"}


class Preset(msgspec.Struct, frozen=True):
    """What is known of a kind of server."""

    base_url: str = ""
    key_env: str = ""
    """The environment variable in which its key usually is."""
    start: str = ""
    """The command that starts it, where that is the user's own business."""
    takes: Mapping[str, str] = _COMMON
    """The settings that it obeys, and what each is called in a request; others are not sent."""
    longest: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """How the longest reply is named; the other name is tried where this one is refused."""
    usage: Literal["asked", "always"] = "asked"
    """Whether tokens are only counted in a stream when `stream_options` asks for it."""
    reasoning: Literal["field", "parts", "tags", "none"] = "field"
    """Where the text of a thought comes: in `reasoning_content` or `reasoning`, as parts of a list, between tags in
    the answer, or nowhere."""
    has_logprobs: bool = True
    """Whether it gives the logarithms of probabilities for ordinary models."""
    has_completions: bool = False
    """Whether it also continues text without a chat template (`/completions`)."""
    continues: Mapping[str, Any] | None = None
    """What a request says besides, so that a reply is gone on with; None where it cannot be."""
    continues_turn: Mapping[str, Any] = {}
    """The same, in the turn that is gone on with."""
    extra: Mapping[str, Any] = {}
    """What else makes it tell more; left out where it is refused."""
    lists_with: str = ""
    """The header that holds the key where its models are asked for; by default the one of the chat."""
    headers: Mapping[str, str] = {}


def _named(*names: str) -> dict[str, str]:
    """Settings that are called in a request what we call them."""
    return {name: name for name in names}


_cloud = partial(Preset, has_logprobs=False)

PRESETS: Mapping[PresetName, Preset] = {
    "llama-server": Preset(
        "http://127.0.0.1:8080/v1",
        "LLAMA_API_KEY",
        start="llama-server -m MODEL.gguf",
        takes={**_COMMON, **_VARIABLES, **_named("top_k", "min_p", "typical_p", "repeat_penalty", "repeat_last_n")},
        has_completions=True,
        continues={},
        extra={"return_progress": True},
    ),
    "vllm": Preset(
        "http://127.0.0.1:8000/v1",
        "VLLM_API_KEY",
        start="vllm serve OWNER/MODEL",
        takes={**_COMMON, **_VARIABLES, **_named("top_k", "min_p"), "repeat_penalty": "repetition_penalty"},
        has_completions=True,
        continues={"continue_final_message": True, "add_generation_prompt": False},
    ),
    "ollama": Preset("http://127.0.0.1:11434/v1", start="ollama serve", has_completions=True),
    "lmstudio": Preset(
        "http://127.0.0.1:1234/v1",
        start="lms server start",
        takes={**_COMMON, **_named("top_k", "min_p", "repeat_penalty")},
        has_completions=True,
        has_logprobs=False,
    ),
    "openai": Preset("https://api.openai.com/v1", "OPENAI_API_KEY", longest="max_completion_tokens", reasoning="none"),
    "gemini": _cloud(
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "GEMINI_API_KEY",
        reasoning="tags",
        extra={"extra_body": {"google": {"thinking_config": {"include_thoughts": True}}}},
    ),
    "anthropic": _cloud(
        "https://api.anthropic.com/v1",
        "ANTHROPIC_API_KEY",
        takes=_named("temperature", "top_p", "stop"),
        reasoning="none",
        lists_with="x-api-key",
        headers={"anthropic-version": "2023-06-01"},
    ),
    "mistral": _cloud(
        "https://api.mistral.ai/v1",
        "MISTRAL_API_KEY",
        takes={**_COMMON, "seed": "random_seed"},
        usage="always",
        reasoning="parts",
        continues={},
        continues_turn={"prefix": True},
    ),
    "xai": Preset("https://api.x.ai/v1", "XAI_API_KEY", longest="max_completion_tokens"),
    "groq": _cloud("https://api.groq.com/openai/v1", "GROQ_API_KEY", longest="max_completion_tokens"),
    "together": Preset(
        "https://api.together.xyz/v1",
        "TOGETHER_API_KEY",
        takes={**_COMMON, **_named("top_k", "min_p"), "repeat_penalty": "repetition_penalty"},
        reasoning="tags",
        has_completions=True,
    ),
    "openrouter": Preset(
        "https://openrouter.ai/api/v1",
        "OPENROUTER_API_KEY",
        takes={**_COMMON, **_named("top_k", "min_p"), "repeat_penalty": "repetition_penalty"},
        has_completions=True,
    ),
}
"""Kinds of servers by name. Sources: their own pages for the OpenAI protocol."""

GENERIC = Preset(has_completions=True)
"""What every server is taken for of which nothing else is known."""


class Server(msgspec.Struct, frozen=True):
    """One server: where it is and of which kind. Its key is not here (`keys`)."""

    name: str
    base_url: str
    preset: Preset
    key_env: str = ""
    is_configured: bool = False
    """Whether the settings name it; else it is a preset alone."""

    @property
    def host(self) -> str:
        """Where text goes, as people read it.

        Example: "api.openai.com", "127.0.0.1:8080"
        """
        return urlsplit(self.base_url).netloc

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine."""
        name = urlsplit(self.base_url).hostname or ""
        try:
            return name == "localhost" or ipaddress.ip_address(name).is_loopback
        except ValueError:  # another name
            return False

    @property
    def is_open_to_all(self) -> bool:
        """Whether what is sent there can be read on the way."""
        return not self.is_here and urlsplit(self.base_url).scheme == "http"

    @property
    def needs_key(self) -> bool:
        """Whether it surely answers nobody without a key."""
        return bool(self.key_env) and not self.is_here and self.base_url == self.preset.base_url


def known(settings: Mapping[str, ServerSettings]) -> list[Server]:
    """All servers that can be named: those of the settings, then the presets that are not among them."""
    own = [_configured(name, chosen) for name, chosen in settings.items()]
    return own + [
        Server(name, kind.base_url, kind, kind.key_env) for name, kind in PRESETS.items() if name not in settings
    ]


def offered(settings: Mapping[str, ServerSettings]) -> list[Server]:
    """The servers whose models are listed: those of the settings, and presets whose variable holds a key."""
    return [server for server in known(settings) if server.is_configured or _has_variable(server)]


def find(name: str, settings: Mapping[str, ServerSettings]) -> Server | None:
    """The server of a name, if there is one."""
    return next((server for server in known(settings) if server.name == name), None)


def address(text: str, settings: Mapping[str, ServerSettings]) -> RemoteModel | None:
    """The model that SERVER:MODEL names; None where what stands before the colon is no server.

    Example: "ollama:qwen3:4b" -> RemoteModel("ollama", "qwen3:4b"); "owner/name:Q4_K_M" -> None
    """
    server, colon, model = text.strip().partition(":")
    if not colon or not model.strip() or find(server, settings) is None:
        return None
    return RemoteModel(server, model.strip())


def _configured(name: str, chosen: ServerSettings) -> Server:
    """A server as the settings tell."""
    kind_name = chosen.preset or name
    kind = next((preset for known_name, preset in PRESETS.items() if known_name == kind_name), GENERIC)
    is_elsewhere = bool(chosen.base_url) and _origin(chosen.base_url) != _origin(kind.base_url)
    # The usual variable holds the key of the usual host: it is not sent to another one unless it is named.
    usual_env = "" if is_elsewhere else kind.key_env
    return Server(name, _tidy(chosen.base_url or kind.base_url), kind, chosen.key_env or usual_env, is_configured=True)


def _origin(url: str) -> tuple[str, str | None]:
    """What must be the same for a key that was not named for this server."""
    return urlsplit(url).scheme, urlsplit(url).hostname


def _tidy(url: str) -> str:
    """An address to which paths can be added.

    Example: "http://127.0.0.1:8080" -> "http://127.0.0.1:8080/v1"
    """
    url = url.rstrip("/").removesuffix("/chat/completions")
    return url if urlsplit(url).path else f"{url}/v1"


def _has_variable(server: Server) -> bool:
    """Whether a preset can be used as it is, since its key is there."""
    return server.needs_key and bool(os.environ.get(server.key_env, "").strip())
