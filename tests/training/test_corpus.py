"""Promises of the tutor's training text: whole, consistent, made again from its seed, and apart from the evaluation."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest

from training.conversations import Message, Writer, n_exchanges, subjects
from training.corpus import Corpus, all_answers, choices, choose, is_kept_out, normal, read
from training.evaluate import cases, leaks
from training.judge import judge
from training.typing_noise import as_read

MOST_SENTENCES = 4


def test_every_topic_has_answers_of_all_kinds_and_many_wordings():
    topics = read().topics
    assert len(topics) >= 45
    for topic in topics.values():
        assert len(topic.define) == 3
        assert all((topic.more, topic.example, topic.why, topic.simple)), topic.id
        assert len(topic.wordings) >= 100, topic.id


def test_answers_are_short_and_their_choices_close():
    rng = random.Random(1)
    for text in all_answers(read()):
        answer = choose(text, rng)
        assert not re.search(r"[\[\]|]|:\d", answer), answer
        assert len(re.split(r"(?<=[.?])\s", answer)) <= MOST_SENTENCES, answer


def test_choices_follow_their_weights():
    rng = random.Random(1)
    drawn = [choose("[often:9|seldom] so", rng) for _ in range(1000)]
    assert 850 < drawn.count("often so") < 950
    assert set(drawn) == {"often so", "seldom so"}


def test_all_choices_are_those_that_are_drawn():
    text = "[what is:3|what's] the [|high ]temperature [of [my|your] oven|outside]"
    rng = random.Random(1)
    assert len(set(choices(text))) == 12
    assert set(choices(text)) == {choose(text, rng) for _ in range(1000)}


@pytest.mark.parametrize("question", ["what's a token?", "What\u2019s A TOKEN?", "  what's\n a\ttoken? "])
def test_a_question_is_read_the_same_however_it_is_written(question: str):
    assert as_read(question) == " what's a token?"


def test_a_seed_makes_the_same_conversations_again():
    def made(seed: int) -> list[list[Message]]:
        rng = random.Random(seed)
        return [Writer(read(), rng).conversation(n_exchanges(rng)) for _ in range(50)]

    assert made(1) == made(1)
    assert made(1) != made(2)


def test_messages_that_are_kept_out_are_never_asked():
    kept_out = {normal(text) for text in messages(read(is_held_out=True))}
    assert len(kept_out) > 1000
    assert all(is_kept_out(text) for text in kept_out)
    assert not kept_out & {normal(text) for text in messages(read())}
    rng = random.Random(1)
    asked = {normal(Writer(read(), rng).first()[0]) for _ in range(5000)}
    assert len(asked & kept_out) < 10  # what a frame makes by chance


def messages(corpus: Corpus) -> Iterator[str]:
    """What people ask, without what frames make."""
    for topic in corpus.topics.values():
        yield from topic.wordings
    for talk, _ in corpus.small_talk.values():
        yield from talk
    yield from (*corpus.out_of_scope, *corpus.traps, *corpus.advanced)


def test_the_evaluation_asks_nothing_that_training_has_seen():
    assert leaks() == []
    counts = [case.part for case in cases()]
    assert len(counts) >= 300


@pytest.mark.parametrize("kind", ["define", "more", "example", "why", "simple"])
def test_the_judge_knows_what_is_written(kind: str):
    rng = random.Random(1)
    corpus = read()
    for topic in corpus.topics.values():
        writer = Writer(corpus, rng)
        writer.state.topic = topic
        answer = writer.definition(topic) if kind == "define" else getattr(writer, kind)(topic)
        assert judge(answer).topic == topic.id, answer


def test_what_is_answered_about_a_subject_is_about_it():
    for subject in subjects(read()):
        if subject == "completion":  # which only its own question asks for
            continue
        writer = Writer(read(), random.Random(1))
        assert judge(writer.about(subject)).topic == subject
        assert writer.subject[0] == subject


def test_the_judge_knows_refusals_and_small_talk():
    writer = Writer(read(), random.Random(1))
    assert judge(writer.refusal("out_of_scope")).topic == "refusal: out_of_scope"
    assert judge(writer.small_talk(["bye"])[1]).topic == "bye"
    assert judge("Nobody has written this sentence before.").topic == "?"
