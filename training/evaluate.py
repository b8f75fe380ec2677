"""Asks the tutor the questions of `eval/` through the engine of the app, and counts how many answers are on topic.

The questions were written by somebody who had not seen the training text, and are never trained on.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from pathlib import Path

import msgspec

from chatterm.conversation import Role
from chatterm.engine.base import Prompt, PromptTurn
from chatterm.engine.local import LocalEngine
from chatterm.events import Token
from chatterm.settings import LoadOptions, Sampling
from training.corpus import choices, normal, read
from training.judge import Verdict, judge

HERE = Path(__file__).parent / "eval"
REFUSALS = {"refusal: out_of_scope", "refusal: advanced", "refusal: again", "refusal: why"}


@dataclasses.dataclass(frozen=True)
class Case:
    """What is asked, and which topics the answer may have."""

    part: str
    messages: tuple[str, ...]
    """The last one is judged; the ones before it are answered, too."""
    accepted: frozenset[str]
    kind: str = ""
    """Which part of the topic a follow-up asks for."""


def cases() -> Iterator[Case]:
    """The questions of `eval/`."""
    for left, question in _pairs("first.txt"):
        yield Case("first questions", (question,), frozenset(name.strip() for name in left.split(",")))
    for line in _lines("follow_ups.txt"):
        topic, kind, messages = (part.strip() for part in line.split("|", 2))
        yield Case("follow-ups", tuple(m.strip() for m in messages.split("||")), frozenset({topic}), kind)
    for kind, message in _pairs("small_talk.txt"):
        yield Case("small talk", (message,), frozenset({kind}))
    for message in _lines("out_of_scope.txt"):
        yield Case("out of scope", (message,), frozenset(REFUSALS))


def held_out_cases(n_each: int = 6) -> Iterator[Case]:
    """Messages of the corpus that are kept out of training, to tune by.

    Args:
        n_each: Of each topic and kind; of what is out of scope ten times as many of each file.
    """
    corpus = read(is_held_out=True)
    for topic in corpus.topics.values():
        for wording in topic.wordings[:n_each]:
            yield Case("first questions", (wording,), frozenset({topic.id}))
    for kind, (messages, _) in corpus.small_talk.items():
        for message in messages[:n_each]:
            yield Case("small talk", (message,), frozenset({kind}))
    for messages in (corpus.out_of_scope, corpus.traps, corpus.advanced):
        for message in messages[: 10 * n_each]:
            yield Case("out of scope", (message,), frozenset(REFUSALS))


def evaluate(
    model: Path, temperature: float, *, held_out: bool = False, bare: bool = False, answers: Path | None = None
) -> dict[str, float]:
    """Ask everything, and print the share of right topics in each part.

    Args:
        model: A GGUF file.
        temperature: At which it is asked.
        held_out: Ask messages that are kept out of training, instead of `eval/`.
        bare: Draw from all tokens; else unlikely ones are dropped, as the app does by default.
        answers: Where every question, answer and verdict is written.
    """
    sampling = Sampling(temperature=temperature, seed=1)
    if bare:
        sampling = msgspec.structs.replace(sampling, top_k=0, top_p=1.0, min_p=0.0)
    results = asyncio.run(_ask(model, list(held_out_cases() if held_out else cases()), sampling))
    asked, right = Counter[str](), Counter[str]()
    for case, _, verdict in results:
        for part in (case.part, f"{case.part}: {case.kind}") if case.kind else (case.part,):
            asked[part] += 1
            right[part] += verdict.topic in case.accepted
    for part in asked:
        print(f"{part:24} {right[part]:4} of {asked[part]:4}  {right[part] / asked[part]:6.1%}")
    pure = sum(verdict.purity for _, _, verdict in results) / len(results)
    print(f"{'of one piece':24} {pure:20.1%}")
    if answers is not None:
        answers.write_text("\n".join(_shown(*result) for result in results), "utf-8")
    return {part: right[part] / asked[part] for part in asked}


def _shown(case: Case, said: Sequence[str], verdict: Verdict) -> str:
    mark = "ok  " if verdict.topic in case.accepted else "MISS"
    talk = "\n".join(f"    > {question}\n    {answer}" for question, answer in zip(case.messages, said, strict=True))
    return f"{mark} {case.part} [{', '.join(sorted(case.accepted))}] -> {verdict.topic}/{verdict.kind} {verdict.purity:.2f}\n{talk}\n"


async def _ask(model: Path, wanted: list[Case], sampling: Sampling) -> list[tuple[Case, list[str], Verdict]]:
    """The answers to all cases, each in a conversation of its own."""
    engine = LocalEngine()
    results = []
    try:
        async with aclosing(engine.load(model, LoadOptions())) as events:
            async for _ in events:
                pass
        for case in wanted:
            turns: list[PromptTurn] = []
            said: list[str] = []
            for message in case.messages:
                turns.append(PromptTurn(Role.USER, message))
                async with aclosing(engine.reply(Prompt(tuple(turns)), sampling)) as events:
                    said.append("".join([event.text async for event in events if isinstance(event, Token)]))
                turns.append(PromptTurn(Role.ASSISTANT, said[-1]))
            results.append((case, said, judge(said[-1])))
    finally:
        await engine.close()
    return results


def leaks() -> list[str]:
    """Questions of `eval/` that training has seen, letter by letter but for case and punctuation."""
    seen: set[str] = set()
    for corpus in (read(), read(is_held_out=True)):
        seen |= {normal(text) for topic in corpus.topics.values() for text in topic.wordings}
        seen |= {normal(text) for topic in corpus.topics.values() for questions, _ in topic.asked for text in questions}
        seen |= {normal(text) for messages, _ in corpus.small_talk.values() for text in messages}
        seen |= {normal(text) for text in (*corpus.out_of_scope, *corpus.traps, *corpus.advanced)}
    seen |= {normal(text) for frame in read().trap_frames for text in choices(frame)}
    return [
        f"{case.part}: {case.messages[-1]}"
        for case in cases()
        if case.part != "follow-ups" and normal(case.messages[-1]) in seen
    ]


def _lines(name: str) -> list[str]:
    return [line.strip() for line in (HERE / name).read_text("utf-8").splitlines() if line.strip()]


def _pairs(name: str) -> Iterator[tuple[str, str]]:
    for line in _lines(name):
        left, _, right = line.partition("|")
        yield left.strip(), right.strip()
