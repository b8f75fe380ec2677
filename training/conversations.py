"""Makes conversations of the written text: what is asked in which words, what follows, what is answered.

One conversation is a function of the corpus and a seed, so that the training text can be made again.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from typing import Literal

from training.corpus import Corpus, Topic, choose
from training.typing_noise import typed

Role = Literal["user", "assistant", "text"]

ADJUSTABLE = (
    "temperature", "temperature_low", "temperature_high", "temperature_too_high", "top_k", "top_p", "min_p", "seed",
    "sampling", "repetition", "context_window", "system_prompt", "stopping", "app_help", "logits", "distribution",
)  # fmt: skip
"""Topics after which "how do I set it" means the settings panel."""
VISIBLE = (
    "token", "tokenizer", "token_id", "special_tokens", "embedding", "context_embedding", "attention", "qkv", "heads",
    "layers", "next_token", "distribution", "logits", "sampling", "loop", "context_window", "history", "top_k", "top_p",
    "min_p", "temperature", "transformer", "chat_template", "kv_cache",
)  # fmt: skip
"""Topics after which "can I see it" means the glass box."""
OBTAINABLE = (
    "language_model", "known_models", "open_models", "abilities", "model_sizes", "gguf", "quantization", "memory",
    "choosing", "hallucination", "finetuning", "parameters", "cutoff", "arithmetic", "app_switch_model",
)  # fmt: skip
"""Topics after which "how do I get one" means a bigger model."""


@dataclasses.dataclass(frozen=True)
class Message:
    """One message, or plain text outside any conversation."""

    role: Role
    text: str
    about: tuple[str, str] = ("", "")
    """Of an answer: its topic (or kind of small talk, or of refusal), and which part of what is written about it."""


@dataclasses.dataclass
class State:
    """What was talked about last."""

    topic: Topic | None = None
    has_refused: bool = False
    n_more: int = 0
    n_examples: int = 0
    n_simple: int = 0
    n_why: int = 0


class Writer:
    """Writes one conversation."""

    def __init__(self, corpus: Corpus, rng: random.Random, *, noise: float = 1.0) -> None:
        """A conversation that has not begun.

        Args:
            corpus: The written text.
            rng: Decides everything.
            noise: How carelessly people type.
        """
        self.corpus = corpus
        self.rng = rng
        self.noise = noise
        self.state = State()
        self.subject = ("", "")
        """What the last answer is about."""

    def conversation(self, n_exchanges: int) -> list[Message]:
        """Questions and answers in turn."""
        messages: list[Message] = []
        for i in range(n_exchanges):
            question, answer = self.first() if i == 0 else self.later()
            messages += [Message("user", question), Message("assistant", answer, self.subject)]
        return messages

    def about(self, subject: str) -> str:
        """What is answered to a first message about a subject, one of `subjects`."""
        if subject in self.corpus.topics:
            return self.definition(self.corpus.topics[subject])
        if subject in self.corpus.small_talk:
            return self.small_talk([subject])[1]
        return self.refusal(subject.removeprefix("refusal: "))

    def first(self) -> tuple[str, str]:
        """A question and answer that need nothing before them."""
        dice = self.rng.random()
        if dice < 0.36:
            return self.about_topic()
        if dice < 0.56:
            return self.small_talk()
        if dice < 0.96:
            return self.out_of_scope()
        return self.completion() if dice < 0.985 else self.lost()

    def later(self) -> tuple[str, str]:
        """A question and answer that follow others."""
        dice = self.rng.random()
        if self.state.topic is not None:
            if dice < 0.58:
                return self.follow_up(self.state.topic)
            if dice < 0.72:
                return self.switch()
            if dice < 0.82:
                return self.about_topic()
            return (
                self.small_talk(("thanks", "ok", "praise", "bye", "complaint")) if dice < 0.92 else self.out_of_scope()
            )
        if self.state.has_refused and dice < 0.4:
            return self.after_refusal()
        if dice < 0.72:
            return self.about_topic()
        if dice < 0.77:
            return self.lost()
        return self.small_talk() if dice < 0.88 else self.out_of_scope()

    def about_topic(self, topic: Topic | None = None) -> tuple[str, str]:
        """A topic, asked in one of many ways."""
        topic = topic or self.rng.choice(list(self.corpus.topics.values()))
        self.state = State(topic)
        dice = self.rng.random()
        if dice < 0.15 and topic.asked:
            questions, answer = self.rng.choice(topic.asked)
            self.subject = (topic.id, "asked")
            return self.typed(self.rng.choice(questions)), self.chosen(answer)
        if dice < 0.84:
            return self.typed(self.rng.choice(topic.wordings)), self.definition(topic)
        return self.framed(topic)

    def framed(self, topic: Topic) -> tuple[str, str]:
        """A topic by its name, in a frame that says what is wanted of it."""
        [kind] = self.rng.choices(("define", "why", "example", "simple", "more"), (64, 12, 9, 9, 6))
        question = self.in_frame(kind, self.rng.choice(topic.names))
        if kind == "define":
            if self.rng.random() < 0.12 and not topic.id.startswith("app_"):
                question += f" {self.rng.choice(self.corpus.frames['in_models'])}"
            return self.typed(question), self.definition(topic)
        return self.typed(question), getattr(self, kind)(topic)

    def in_frame(self, kind: str, name: str) -> str:
        """A question made of a frame."""
        return self.chosen(self.rng.choice(self.corpus.frames[kind])).replace("{n}", name)

    def definition(self, topic: Topic) -> str:
        """What a topic is."""
        self.subject = (topic.id, "define")
        [text] = self.rng.choices(topic.define, (5, 3, 2)[: len(topic.define)])
        answer = self.chosen(text)
        if self.rng.random() < 0.12:
            answer += f" {self.named(self.rng.choice(self.corpus.refusals['offer']), topic)}"
        return answer

    def more(self, topic: Topic) -> str:
        """What else there is to know about a topic."""
        self.subject = (topic.id, "more")
        if self.state.n_more >= len(topic.more):
            return self.named(self.rng.choice(self.corpus.refusals["done"]), topic)
        self.state.n_more += 1
        return f"More about {topic.label}: {self.chosen(topic.more[self.state.n_more - 1])}"

    def example(self, topic: Topic) -> str:
        """An example, then another one."""
        self.subject = (topic.id, "example")
        if self.state.n_examples >= len(topic.example):
            return self.named(self.rng.choice(self.corpus.refusals["no_other_example"]), topic)
        self.state.n_examples += 1
        article = "An example for" if self.state.n_examples == 1 else "Another example for"
        return f"{article} {topic.label}: {self.chosen(topic.example[self.state.n_examples - 1])}"

    def why(self, topic: Topic) -> str:
        """What a topic is good for."""
        self.subject = (topic.id, "why")
        self.state.n_why += 1
        return f"The point of {topic.label}: {self.chosen(topic.why[(self.state.n_why - 1) % len(topic.why)])}"

    def simple(self, topic: Topic) -> str:
        """A topic as a picture from everyday life."""
        self.subject = (topic.id, "simple")
        self.state.n_simple += 1
        text = self.chosen(topic.simple[(self.state.n_simple - 1) % len(topic.simple)])
        return f"{capital(topic.label)} in simple words: {text}"

    def short(self, topic: Topic) -> str:
        """The first sentence about a topic."""
        self.subject = (topic.id, "short")
        sentence, _, _ = self.chosen(topic.define[0]).partition(". ")
        return f"{capital(topic.label)} in short: {sentence.rstrip('.')}."

    def next(self, topic: Topic) -> str:
        """What to ask after a topic."""
        self.subject = (topic.id, "next")
        return self.named(self.rng.choice(self.corpus.refusals["next"]), topic)

    def sure(self, topic: Topic) -> str:
        """How far the tutor can be trusted."""
        self.subject = (topic.id, "sure")
        return self.named(self.rng.choice(self.corpus.refusals["sure"]), topic)

    def follow_up(self, topic: Topic) -> tuple[str, str]:
        """A message that means something only after the topic."""
        kinds = {"more": 26, "example": 20, "why": 18, "simple": 18, "short": 7, "next": 5, "sure": 4}
        kinds |= {"set_it": 8} if topic.id in ADJUSTABLE else {}
        kinds |= {"see_it": 6} if topic.id in VISIBLE else {}
        kinds |= {"get_it": 8} if topic.id in OBTAINABLE else {}
        [kind] = self.rng.choices(list(kinds), list(kinds.values()))
        question = self.short_typed(kind)
        if target := {"set_it": "app_temperature", "see_it": "app_glass_box", "get_it": "app_bigger_model"}.get(kind):
            self.state = State(self.corpus.topics[target])
            return question, self.definition(self.corpus.topics[target])
        return question, getattr(self, kind)(topic)

    def switch(self) -> tuple[str, str]:
        """Another topic in a few words, as in "and top-p?"."""
        before = self.state.topic
        assert before is not None
        near = self.rng.random() < 0.5
        topic = (
            self.corpus.topics[self.rng.choice(before.next)]
            if near
            else self.rng.choice(list(self.corpus.topics.values()))
        )
        self.state = State(topic)
        question = self.rng.choice(self.corpus.follow_ups["switch"]).replace("{name}", self.rng.choice(topic.names))
        return self.typed(question), self.definition(topic)

    def small_talk(self, kinds: Sequence[str] = ()) -> tuple[str, str]:
        """A greeting and the like; the topic stays what it was."""
        kind = self.rng.choice(tuple(kinds) or tuple(self.corpus.small_talk))
        messages, answers = self.corpus.small_talk[kind]
        self.subject = (kind, "talk")
        self.state.has_refused = False
        [answer] = self.rng.choices(answers, (3, 2)[: len(answers)])
        return self.typed(self.rng.choice(messages), is_short=True), self.chosen(answer)

    def out_of_scope(self) -> tuple[str, str]:
        """Something that the tutor knows nothing about."""
        self.state = State(has_refused=True)
        corpus, dice = self.corpus, self.rng.random()
        if dice < 0.15:
            return self.typed(self.rng.choice(corpus.advanced)), self.refusal("advanced")
        if dice < 0.39:
            question = self.rng.choice(corpus.traps)
        elif dice < 0.47:
            question = self.chosen(self.rng.choice(corpus.trap_frames))
        elif dice < 0.78:
            question = self.rng.choice(corpus.out_of_scope)
        elif dice < 0.81:
            question = self.sum()
        elif dice < 0.85:
            question = self.rng.choice(corpus.follow_ups["switch"]).replace("{name}", self.noun())
        else:
            kind = self.rng.choice(("define", "define", "define", "why", "example", "simple", "more"))
            question = self.in_frame(kind, self.noun())
        return self.typed(question), self.refusal("out_of_scope")

    def noun(self) -> str:
        """A thing that has nothing to do with language models, or a word that does not exist."""
        if self.rng.random() < 0.08:
            return "".join(
                self.rng.choice("bdfgklmnprstvz") + self.rng.choice("aeiou") for _ in range(self.rng.randint(2, 4))
            )
        noun = self.rng.choice(self.corpus.nouns)
        return f"{self.rng.choice(('a', 'the', 'my', 'your'))} {noun}" if self.rng.random() < 0.25 else noun

    def sum(self) -> str:
        """A small calculation."""
        a, b = self.rng.randint(0, 999), self.rng.randint(0, 99)
        frame = self.rng.choice(("{}", "what is {}", "{} =", "how much is {}", "calculate {}", "solve {}", "whats {}"))
        return frame.format(
            f"{a}{self.rng.choice((' + ', '+', ' - ', '*', ' times ', ' plus ', ' x ', '/', ' minus '))}{b}"
        )

    def after_refusal(self) -> tuple[str, str]:
        """A message that holds on to what was refused, or takes the offer."""
        dice = self.rng.random()
        if dice < 0.5:
            self.state = State(self.corpus.topics["app_bigger_model"])
            question = (
                self.short_typed("get_it")
                if dice < 0.2
                else self.typed(self.rng.choice(("bigger model",) * 4 + self.state.topic.names))
            )
            return question, self.definition(self.state.topic)
        if dice < 0.7:
            return self.short_typed("why"), self.refusal("why")
        return self.short_typed(self.rng.choice(("more", "example", "simple", "short"))), self.refusal("again")

    def lost(self) -> tuple[str, str]:
        """A message that would need something before it."""
        self.state = State()
        return self.short_typed(self.rng.choice(("more", "example", "why", "short", "simple", "set_it"))), self.refusal(
            "lost"
        )

    def completion(self) -> tuple[str, str]:
        """A sentence to be completed."""
        self.state = State()
        self.subject = ("completion", "completion")
        beginning, choices = self.rng.choice(self.corpus.completions)
        frame = self.rng.choice(
            (
                "{}",
                "{}",
                "{} ...",
                "complete: {}",
                "complete the sentence: {}",
                "finish this: {}",
                "continue: {}",
                "go on: {}",
            )
        )
        return frame.format(beginning), f"{beginning} {self.chosen(choices)}."

    def document(self) -> list[Message]:
        """Plain text: facts one after another, or sentences as they may go on."""
        if self.rng.random() < 0.5:
            sentences = []
            for _ in range(self.rng.randint(1, 6)):
                beginning, choices = self.rng.choice(self.corpus.completions)
                sentences.append(f"{beginning} {self.chosen(choices)}.")
            return [Message("text", " ".join(sentences))]
        paragraphs = []
        topic = self.rng.choice(list(self.corpus.topics.values()))
        for _ in range(self.rng.choice((1, 1, 2, 3))):
            facts = [
                self.rng.choice(topic.define),
                *topic.more,
                self.rng.choice(topic.example),
                self.rng.choice(topic.why),
            ]
            paragraphs.append(" ".join(self.chosen(fact) for fact in facts if self.rng.random() < 0.8))
            topic = self.corpus.topics[self.rng.choice(topic.next)]
        return [Message("text", "\n\n".join(filter(None, paragraphs)))]

    def refusal(self, kind: str) -> str:
        """What is said instead of an answer."""
        self.subject = (f"refusal: {kind}", "refusal")
        return self.chosen(self.rng.choice(self.corpus.refusals[kind]))

    def named(self, text: str, topic: Topic) -> str:
        """A text with the topic and two that follow it put in."""
        a, b = (self.corpus.topics[name].label for name in self.rng.sample(topic.next, 2))
        return self.chosen(text.replace("{label}", topic.label).replace("{a}", a).replace("{b}", b))

    def chosen(self, text: str) -> str:
        """A text with its choices made."""
        return choose(text, self.rng)

    def typed(self, message: str, *, is_short: bool = False) -> str:
        """A message as somebody types it."""
        return typed(message, self.corpus.frames, self.rng, is_short=is_short, noise=self.noise)

    def short_typed(self, kind: str) -> str:
        """A follow-up as somebody types it."""
        return self.typed(self.rng.choice(self.corpus.follow_ups[kind]), is_short=True)


def subjects(corpus: Corpus) -> list[str]:
    """Everything that an answer can be about."""
    refusals = (f"refusal: {kind}" for kind in ("out_of_scope", "advanced", "again", "why", "lost"))
    return [*corpus.topics, *corpus.small_talk, *refusals, "completion"]


PARTS = (
    "define", "asked", "more", "example", "why", "simple", "short", "next", "sure", "talk", "refusal", "completion",
)  # fmt: skip
"""Which parts of what is written an answer can be."""


def capital(text: str) -> str:
    """With a capital at the beginning."""
    return text[0].upper() + text[1:]


def n_exchanges(rng: random.Random) -> int:
    """How long a conversation is."""
    [n] = rng.choices((1, 2, 3, 4, 5, 6, 12), (34, 22, 18, 12, 7, 4, 3))
    return rng.randint(8, 16) if n == 12 else n
