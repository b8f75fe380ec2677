"""A prompt and its sampling settings as the body of a request, in the words of the server that gets it.

Settings that nobody has chosen are not sent: a server knows best what suits its models.
Pure; what is sent where, and what becomes of it, `connection` and `remote` know.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from chatterm.conversation import Role
from chatterm.engine.base import Prompt, PromptTurn
from chatterm.engine.servers import Server
from chatterm.errors import ServerError
from chatterm.settings import Sampling
from chatterm.text import expressible

_LONGEST = ("max_tokens", "max_completion_tokens")
_NOTHING_TO_ASK = frozenset({"max_tokens", "seed", "stop"})
"""Settings whose default leaves all to the server, also where it is stated."""
_GO_ON = "Go on exactly where you stopped. Repeat nothing of it, and say nothing about it."


PROBABILITIES: Mapping[str, Any] = MappingProxyType({"logprobs": True, "top_logprobs": 20})
"""What asks for the probabilities of tokens; more candidates are refused by OpenAI."""
_PROBABILITIES_OF_TEXT: Mapping[str, Any] = MappingProxyType({"logprobs": 5})


class Question(NamedTuple):
    """One request."""

    path: str
    """Below the server's address."""
    body: dict[str, Any]
    notes: tuple[str, ...] = ()
    """What the server does not get although it was set, in sentences for the user."""


def question(
    server: Server,
    model: str,
    prompt: Prompt,
    sampling: Sampling,
    refused: Mapping[str, str] | None = None,
    *,
    measure: bool = False,
    stated: Collection[str] = (),
) -> Question:
    """The request for a reply.

    Args:
        refused: Names in requests that this model has refused, and with which words.
        measure: Whether the probabilities of tokens are asked for, too, where the server may know them.
        stated: Settings that are meant although they are at their defaults.

    Raises:
        ServerError: the server takes no text without a chat template.
    """
    refused = refused or {}
    notes: list[str] = []
    body: dict[str, Any] = {"model": model}
    if prompt.raw is not None:
        if not server.preset.has_completions:
            raise ServerError(
                f"{server.name} takes no text without a chat template.", "Ask a question, or choose another server."
            )
        body["prompt"] = expressible(prompt.raw)
    else:
        body["messages"] = _messages(server, prompt.turns, continues=prompt.continues)
        if prompt.continues and server.preset.continues is None:
            notes.append(f"{server.name} cannot go on inside of a reply, so it was asked to write what follows.")
        elif prompt.continues:
            body |= server.preset.continues or {}
    body |= {"stream": True} if "stream" not in refused else {}
    if server.preset.usage == "asked" and "stream" in body:
        body["stream_options"] = {"include_usage": True}
    if measure and server.preset.has_logprobs:
        body |= PROBABILITIES if prompt.raw is None else _PROBABILITIES_OF_TEXT
    if prompt.raw is None:
        body |= server.preset.extra
    body |= _settings(server, prompt, _wanted(sampling, stated), refused, notes)
    for name in refused.keys() & body.keys():
        del body[name]
    return Question("completions" if prompt.raw is not None else "chat/completions", body, tuple(notes))


def _wanted(sampling: Sampling, stated: Collection[str]) -> dict[str, Any]:
    """The settings that somebody has chosen: those that differ from the defaults, and those that are stated."""
    asked = set(stated) - _NOTHING_TO_ASK
    usual = msgspec.to_builtins(Sampling())
    values = msgspec.to_builtins(sampling).items()
    return {name: value for name, value in values if value != usual[name] or name in asked}


def _settings(
    server: Server, prompt: Prompt, wanted: dict[str, Any], refused: Mapping[str, str], notes: list[str]
) -> dict[str, Any]:
    """The settings that are wanted, as far as the server takes them and named as it names them."""
    longest = wanted.pop("max_tokens", None)
    if prompt.template_variables:
        wanted["template_variables"] = dict(prompt.template_variables)
    takes = server.preset.takes
    if unknown := [name for name in wanted if name not in takes]:
        notes.append(f"{server.name} does not know {_listed(unknown)}, so your choice does not count.")
    settings = {takes[name]: value for name, value in wanted.items() if name in takes}
    if longest:
        settings[_name_of_longest(server, refused)] = longest
    notes += [
        f"{server.name} refused {name}, so it was left out: {said}"
        for name, said in refused.items()
        if name in settings
    ]
    return settings


def _name_of_longest(server: Server, refused: Mapping[str, str]) -> str:
    """How the longest reply is named: by the other name where a refusal of the usual one mentions it."""
    usual = server.preset.longest
    (other,) = (name for name in _LONGEST if name != usual)
    return other if other in refused.get(usual, "") else usual


def _messages(server: Server, turns: Sequence[PromptTurn], *, continues: bool) -> list[dict[str, Any]]:
    """The turns, those of one role in a row as one: some chat templates refuse them otherwise."""
    messages: list[dict[str, Any]] = []
    for turn in turns:
        text = expressible(turn.text)
        if messages and messages[-1]["role"] == turn.role.value:
            messages[-1]["content"] += f"\n\n{text}"
        else:
            messages.append({"role": turn.role.value, "content": text})
    if continues and server.preset.continues is None:
        messages.append({"role": Role.USER.value, "content": _GO_ON})
    elif continues:
        messages[-1] |= server.preset.continues_turn
    return messages


def shortened(turns: Sequence[PromptTurn]) -> tuple[PromptTurn, ...] | None:
    """The turns without the older half of the conversation; None where there is only the last question.

    The system prompt stays, and what is left begins with a question.
    """
    head = [turn for turn in turns[:1] if turn.role is Role.SYSTEM]
    said = list(turns[len(head) :])
    questions = [place for place, turn in enumerate(said) if turn.role is Role.USER]
    n_characters = sum(len(turn.text) for turn in said)
    for place in questions[1:]:
        rest = said[place:]
        if 2 * sum(len(turn.text) for turn in rest) <= n_characters or place == questions[-1]:
            return (*head, *rest)
    return None


def _listed(names: Sequence[str]) -> str:
    """Names as a part of a sentence.

    Example: ["top_k", "min_p", "seed"] -> "top_k, min_p and seed"
    """
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]
