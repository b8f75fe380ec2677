"""The written text, as records: topics with their answers, question wordings, small talk, what is out of scope.

Reads the files of `corpus/`; how conversations are made of them it does not know.
"""

from __future__ import annotations

import dataclasses
import random
import re
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "corpus"
HELD_OUT_IN = 20
"""One message in so many is kept out of training, to tune by."""


@dataclasses.dataclass(frozen=True)
class Topic:
    """What the tutor knows about one thing."""

    id: str
    label: str
    names: tuple[str, ...]
    define: tuple[str, ...]
    more: tuple[str, ...]
    example: tuple[str, ...]
    why: tuple[str, ...]
    simple: tuple[str, ...]
    asked: tuple[tuple[tuple[str, ...], str], ...]
    """Special questions, each in several wordings, and their answers."""
    next: tuple[str, ...]
    wordings: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Corpus:
    """All that is written."""

    topics: dict[str, Topic]
    frames: dict[str, tuple[str, ...]]
    small_talk: dict[str, tuple[tuple[str, ...], tuple[str, ...]]]
    """Messages and answers by kind."""
    follow_ups: dict[str, tuple[str, ...]]
    refusals: dict[str, tuple[str, ...]]
    out_of_scope: tuple[str, ...]
    traps: tuple[str, ...]
    advanced: tuple[str, ...]
    nouns: tuple[str, ...]
    trap_frames: tuple[str, ...]
    """Many more traps each, with choices."""
    completions: tuple[tuple[str, str], ...]
    """Beginnings, and how they may go on as a weighted choice."""


@cache
def read(*, is_held_out: bool = False) -> Corpus:
    """The corpus as it is on the disk.

    Args:
        is_held_out: Whether with the messages that training never sees, instead of those that it sees.

    Raises:
        ValueError: something is missing or does not fit together; names it.
    """
    written = _toml("topics.toml")
    facts: dict[str, Any] = {}
    for path in sorted((HERE / "facts").glob("*.toml")):
        facts |= tomllib.loads(path.read_text("utf-8"))
    wordings: dict[str, list[str]] = {name: [] for name in written}
    for path in sorted((HERE / "questions").glob("*.txt")):
        for name, lines in _sections(path).items():
            if name not in wordings:
                raise ValueError(f"{path.name}: there is no topic {name}")
            wordings[name] += lines

    def kept(messages: Sequence[str]) -> tuple[str, ...]:
        return tuple(message for message in messages if is_kept_out(message) == is_held_out)

    topics = {name: _topic(name, about, facts, kept(wordings[name])) for name, about in written.items()}
    for topic in topics.values():
        if strange := set(topic.next) - set(topics):
            raise ValueError(f"{topic.id}: next names {', '.join(strange)}")
    talk = _sections(HERE / "small_talk.txt")
    answers = _toml("small_talk.toml")
    return Corpus(
        topics,
        {name: tuple(frames) for name, frames in _toml("frames.toml").items()},
        {kind: (kept(talk[kind]), tuple(answers[kind])) for kind in answers},
        {kind: tuple(lines) for kind, lines in _sections(HERE / "follow_ups.txt").items()},
        {name: tuple(lines) for name, lines in _toml("refusals.toml").items()},
        *(kept(_lines(HERE / "out_of_scope" / f"{name}.txt")) for name in ("general", "traps", "advanced", "nouns")),
        tuple(_lines(HERE / "out_of_scope" / "trap_frames.txt")),
        tuple(_halves(text) for text in _lines(HERE / "completions.txt")),
    )


def _topic(name: str, about: dict[str, Any], facts: dict[str, Any], wordings: Sequence[str]) -> Topic:
    if name not in facts:
        raise ValueError(f"nothing is written about {name}")
    known = facts[name]
    return Topic(
        name,
        about["label"],
        tuple(about["names"]),
        *(tuple(known[part]) for part in ("define", "more", "example", "why", "simple")),
        tuple((tuple(questions), answer) for questions, answer in known.get("asked", ())),
        tuple(known["next"]),
        tuple(wordings),
    )


def is_kept_out(message: str) -> bool:
    """Whether a message is kept out of training; by its letters alone, so that new ones change nothing for the old."""
    return random.Random(normal(message)).randrange(HELD_OUT_IN) == 0


def normal(text: str) -> str:
    """A message without what does not make it another one: case, punctuation, spaces.

    Example: "What's a  Token??" -> "what s a token"
    """
    return " ".join(re.findall(r"\w+", text.lower()))


def choose(text: str, rng: random.Random) -> str:
    """A text with its choices made.

    Example: "[Low:3|Small] is safe" -> "Low is safe", three times out of four.
    """
    while match := re.search(r"\[([^\[\]]*)\]", text):
        options = [_weighted(option) for option in match.group(1).split("|")]
        [(chosen, _)] = rng.choices(options, [weight for _, weight in options])
        text = text[: match.start()] + chosen + text[match.end() :]
    return re.sub(r" +([.,?!;])", r"\1", re.sub(r"  +", " ", text)).strip()


def choices(text: str) -> Iterator[str]:
    """Every text that `choose` can make."""
    match = re.search(r"\[([^\[\]]*)\]", text)
    if match is None:
        yield re.sub(r" +([.,?!;])", r"\1", re.sub(r"  +", " ", text)).strip()
        return
    for option in match.group(1).split("|"):
        yield from choices(text[: match.start()] + _weighted(option)[0] + text[match.end() :])


def _weighted(option: str) -> tuple[str, float]:
    text, colon, weight = option.rpartition(":")
    return (text, float(weight)) if colon and weight.strip().isdigit() else (option, 1.0)


def _toml(name: str) -> dict[str, Any]:
    return tomllib.loads((HERE / name).read_text("utf-8"))


def _lines(path: Path) -> list[str]:
    """The lines of a file, without empty ones and comments."""
    return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip() and not line.startswith("# ")]


def _sections(path: Path) -> dict[str, list[str]]:
    """Lines below headings: `# name`, then one a line."""
    sections: dict[str, list[str]] = {}
    for line in filter(None, map(str.strip, path.read_text("utf-8").splitlines())):
        if line.startswith("# "):
            current = sections.setdefault(line[2:].strip(), [])
        else:
            current.append(line)
    return sections


def _halves(text: str) -> tuple[str, str]:
    beginning, _, choices = text.partition("::")
    return beginning.strip(), f"[{choices.strip()}]"


def all_answers(corpus: Corpus) -> Iterator[str]:
    """Every written answer, with its choices still open."""
    for topic in corpus.topics.values():
        yield from (*topic.define, *topic.more, *topic.example, *topic.why, *topic.simple)
        yield from (answer for _, answer in topic.asked)
    for _, answers in corpus.small_talk.values():
        yield from answers
    for answers in corpus.refusals.values():
        yield from answers
