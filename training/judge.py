"""Says what an answer is about, by the three-word sequences that it shares with what was written.

It judges the topic, not the truth: what is written is true, and the tutor mostly says it by heart.
"""

from __future__ import annotations

import dataclasses
import random
import re
from functools import cache

from training.conversations import capital
from training.corpus import choose, read

_N_VARIANTS = 80


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What an answer is."""

    topic: str
    """A topic's id, a kind of small talk, a kind of refusal, "completion" or "?"."""
    kind: str
    """Which part of what is written about the topic: "define", "more", "example", ..."""
    purity: float
    """The share of its three-word sequences that belong to the topic."""


def judge(answer: str) -> Verdict:
    """What an answer is about."""
    triples = _triples(answer)
    scores = {key: len(triples & known) for key, known in _bank().items()}
    by_topic: dict[str, int] = {}
    for topic in {topic for topic, _ in scores}:
        by_topic[topic] = len(triples & set().union(*(known for (t, _), known in _bank().items() if t == topic)))
    best = max(by_topic, key=by_topic.__getitem__)
    if not by_topic[best]:
        return Verdict("?", "", 0.0)
    kind = max((key for key in scores if key[0] == best), key=scores.__getitem__)[1]
    return Verdict(best, kind, by_topic[best] / len(triples))


def _triples(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"[a-z0-9'+.-]*[a-z0-9']", text.lower())
    return set(zip(words, words[1:], words[2:], strict=False)) or {tuple(words)}


@cache
def _bank() -> dict[tuple[str, str], set[tuple[str, ...]]]:
    """The sequences of everything written, by topic and kind."""
    corpus, rng = read(), random.Random(0)
    bank: dict[tuple[str, str], set[tuple[str, ...]]] = {}

    def add(topic: str, kind: str, text: str) -> None:
        for _ in range(_N_VARIANTS):
            bank.setdefault((topic, kind), set()).update(_triples(choose(text, rng)))

    for topic in corpus.topics.values():
        label = topic.label
        beginnings = {
            "define": "", "more": f"More about {label}: ", "example": f"An example for {label}: ",
            "why": f"The point of {label}: ", "simple": f"{capital(label)} in simple words: ",
        }  # fmt: skip
        for kind, beginning in beginnings.items():
            for text in getattr(topic, kind):
                add(topic.id, kind, beginning + text)
        for _, answer in topic.asked:
            add(topic.id, "asked", answer)
        add(topic.id, "example", f"Another example for {label}: ")
        add(topic.id, "short", f"{capital(label)} in short: {topic.define[0]}")
        for kind in ("done", "no_other_example", "next", "sure"):
            for text in corpus.refusals[kind]:
                add(topic.id, kind, text.replace("{label}", label).partition(". ")[0])
    for kind, (_, answers) in corpus.small_talk.items():
        for answer in answers:
            add(kind, "small talk", answer)
    for kind in ("out_of_scope", "advanced", "again", "why", "lost"):
        for answer in corpus.refusals[kind]:
            add(f"refusal: {kind}", "refusal", answer)
    for beginning, choices in corpus.completions:
        add("completion", "completion", f"{beginning} {choices}.")
    return bank
