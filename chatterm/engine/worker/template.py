"""A conversation as the text that the model was trained on, by the chat template inside the GGUF.

The template is a program from a stranger: it runs in a sandbox, and what it refuses (a system prompt, two questions in a row) is offered again in
another form; each such step is stated for the user. User text is marked on its way through, so that
the vocabulary can tell it from the template's own. Knows no tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from time import monotonic
from typing import Protocol

import msgspec

from chatterm.conversation import Role
from chatterm.engine.base import PromptTurn
from chatterm.engine.worker.sandbox import Overdue, Program, Refused
from chatterm.engine.worker.stream import SPANS, Span
from chatterm.settings import TemplateValue

CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")

_MARK = "\ufdd0"
"""Put before letters of user text that can begin a control token; a code point that no text may contain."""
_CUT = "\ufdd1"
"""Put behind a reply that shall be continued."""


_PROMPT_SPANS = (*SPANS, Span("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"))
"""Tags with which prompts open a thought; Apriel's are plain words, which only count there."""


class Part(msgspec.Struct, frozen=True):
    """A piece of a prompt."""

    text: str
    trusted: bool = True
    """Whether control tokens in it are meant: False where a character comes from what somebody typed."""


class Rendered(msgspec.Struct, frozen=True):
    """A prompt, ready to be tokenized."""

    parts: tuple[Part, ...]
    """Joined, they are the prompt. User text is split finely: only what could begin a control token is not trusted."""
    name: str = "model"
    """"model", or what was used instead of the model's template, in words."""
    notes: tuple[str, ...] = ()
    """What the template refused and what was done instead, in sentences for the user."""
    opened: Span | None = None
    """The tags of the thought in which the prompt ends: the reply begins with reasoning, without an opening tag."""
    stop: tuple[str, ...] = ()
    """Texts that end the reply, where the vocabulary lacks the token for it."""

    @property
    def starts_in_reasoning(self) -> bool:
        """Whether the reply begins inside a thought."""
        return self.opened is not None

    @property
    def text(self) -> str:
        """The whole prompt."""
        return "".join(part.text for part in self.parts)


class Specials(Protocol):
    """What a template needs to know of a vocabulary."""

    @property
    def bos_text(self) -> str:
        """The token that begins a text; "" for none."""
        ...

    @property
    def eos_text(self) -> str:
        """The token that ends a text; "" for none."""
        ...

    @property
    def control_letters(self) -> str:
        """The characters with which control tokens begin."""
        ...

    def has(self, text: str) -> bool:
        """Whether a text is one special token."""
        ...


class ChatTemplate:
    """The chat template of one model, with what is done when it refuses."""

    name: str
    """"model", "settings", or what is used instead, in words."""
    is_chat: bool
    """False for a base model: nothing tells it who speaks, it continues text."""
    can_think: bool
    """Whether `enable_thinking` changes the prompt."""
    defect: str
    """Why the template that was given does not work; "" where it does."""

    def __init__(
        self, source: str | None, vocabulary: Specials, deadline_seconds: float = 2.0, name: str = "model"
    ) -> None:
        """Compile a template and try it out; a broken one is replaced, never raised.

        Args:
            source: As the GGUF has it; None or "" where it has none.
            vocabulary: Of the model that the template came with.
            deadline_seconds: For trying it out.
            name: Where it comes from: "model", or "settings".
        """
        self._vocabulary = vocabulary
        letters = vocabulary.control_letters
        self._dangerous = re.compile(f"(?=[{re.escape(letters)}])" if letters else "(?!)")
        self._program: Program | None = None
        self._takes_system = True
        self._problem = self.defect = ""
        self.can_think = False
        self.is_chat = bool(source) or all(map(vocabulary.has, CHATML_TOKENS))
        self.name = "ChatML, since the model carries no template" if self.is_chat else "none, it continues text"
        if source:
            self.name = name
            try:
                self._try_out(source, monotonic() + deadline_seconds)
            except (Refused, Overdue) as error:
                self._program = None
                self.defect = str(error)
                self.name = "ChatML, since the model's template does not work"
                self._problem = f"The model's chat template does not work ({error}), so ChatML is used instead."

    def render(
        self,
        turns: Sequence[PromptTurn],
        variables: Mapping[str, TemplateValue] | None = None,
        continues: bool = False,
        deadline_seconds: float = 2.0,
    ) -> Rendered:
        """The prompt for some turns; ChatML where the model's template fails in every form.

        Args:
            turns: Oldest first.
            variables: Such as `enable_thinking`; what is not given stays undefined in the template.
            continues: The last turn is a reply that goes on: it is left open.
            deadline_seconds: How long the template may take.
        """
        if not self.is_chat:
            return self._plain(turns)
        marked = [PromptTurn(turn.role, self._mark(turn), turn.id) for turn in turns]
        continues = continues and bool(turns) and turns[-1].role is Role.ASSISTANT
        if self._program is None:
            return self._chatml(marked, continues, self.name, self._problem)
        until = monotonic() + deadline_seconds
        reason = ""
        for attempt, note in self._attempts(marked):
            try:
                text = self._run(self._program, attempt, variables or {}, continues, until)
            except Refused as error:
                reason = reason or str(error)
            except Overdue as error:
                reason = str(error)
                break
            else:
                notes = (note.format(reason=reason or "it leaves it out"),) if note else ()
                if continues:
                    text = _with_thought_closed(text, attempt[-1].text)
                opened = _thought_at_end(text) or (_open_thought(turns[-1].text) if continues else None)
                return Rendered(tuple(_parts(text)), self.name, notes, opened)
        problem = f"The model's chat template failed ({reason}), so ChatML is used instead."
        return self._chatml(marked, continues, "ChatML, since the model's template failed", problem)

    def _try_out(self, source: str, until: float) -> None:
        """Compile, and learn what the template does with a system prompt and with `enable_thinking`.

        Raises:
            Refused: it does not compile, or takes not even one question.
            Overdue: the time was up.
        """
        hello, secret = [PromptTurn(Role.USER, "hello")], "b7d1e0"
        self._program = program = Program(source, until - monotonic())
        if hello[0].text not in self._run(program, hello, {}, False, until):
            raise Refused("it leaves out the question")
        with suppress(Refused, Overdue):  # one that refuses says so each time, in its own words
            with_system = self._run(program, [PromptTurn(Role.SYSTEM, secret), *hello], {}, False, until)
            self._takes_system = secret in with_system
        with suppress(Refused, Overdue):
            thoughts = {self._run(program, hello, {"enable_thinking": on}, False, until) for on in (True, False)}
            self.can_think = len(thoughts) > 1

    def _attempts(self, turns: Sequence[PromptTurn]) -> Iterator[tuple[Sequence[PromptTurn], str]]:
        """The turns as they are, then in forms that stricter templates take, each with its note."""
        merged = _with_system_merged(turns)
        system = "The chat template takes no system prompt ({reason}), so it was put in front of the first question."
        order = "The chat template refused the order of the turns ({reason}), so neighbours of one role were joined."
        tried: list[Sequence[PromptTurn]] = []
        for attempt, note in (
            (turns, ""),
            (merged, system),
            (_alternating(turns), order),
            (_alternating(merged), f"{system} {order}"),
        ):
            is_vain = not self._takes_system and any(turn.role is Role.SYSTEM for turn in attempt)
            if attempt not in tried and not is_vain:
                tried.append(attempt)
                yield attempt, note

    def _run(
        self,
        program: Program,
        turns: Sequence[PromptTurn],
        variables: Mapping[str, TemplateValue],
        continues: bool,
        until: float,
    ) -> str:
        """The template's text; with `continues`, up to the end of the last reply.

        Raises:
            Refused: the template raised something, or dropped the reply that shall go on.
            Overdue: the time was up.
        """
        messages = [{"role": str(turn.role), "content": turn.text} for turn in turns]
        if continues:
            messages[-1]["content"] += _CUT
        given: dict[str, object] = dict(variables)
        if "enable_thinking" in given and "thinking" in program.variables:  # as DeepSeek and Granite call it
            given.setdefault("thinking", given["enable_thinking"])
        given |= {
            "messages": messages,
            "add_generation_prompt": not continues,
            "bos_token": self._vocabulary.bos_text,
            "eos_token": self._vocabulary.eos_text,
        }
        text = program.run(given, until - monotonic())
        if not continues:
            return text
        before, cut, _ = text.rpartition(_CUT)
        if not cut:
            raise Refused("it leaves out the reply that shall go on")
        return before.replace(_CUT, "")

    def _mark(self, turn: PromptTurn) -> str:
        """A turn's text with a mark before what could begin a control token.

        The tags of a thought with which a reply begins stay as they are: templates look for them.
        """
        text = turn.text.replace(_MARK, "").replace(_CUT, "")
        span = _first_thought(text) if turn.role is Role.ASSISTANT else None
        if span is None:
            return self._dangerous.sub(_MARK, text)
        tags = (span.opens, span.closes)
        bits = re.split(f"({'|'.join(map(re.escape, tags))})", text, maxsplit=2)
        return "".join(bit if bit in tags else self._dangerous.sub(_MARK, bit) for bit in bits)

    def _chatml(self, turns: Sequence[PromptTurn], continues: bool, name: str, note: str) -> Rendered:
        """The prompt in ChatML."""
        text = "".join(f"<|im_start|>{turn.role}\n{turn.text}<|im_end|>\n" for turn in turns)
        text = text.removesuffix("<|im_end|>\n") if continues else text + "<|im_start|>assistant\n"
        stop = () if self._vocabulary.has("<|im_end|>") else ("<|im_end|>",)
        return Rendered(tuple(_parts(text)), name, (note,) if note else (), stop=stop)

    def _plain(self, turns: Sequence[PromptTurn]) -> Rendered:
        """The turns as one text, for a model that knows no turns."""
        text = ""
        for turn in turns:
            apart = "" if turn.role is Role.ASSISTANT or not text or text[-1].isspace() else "\n"
            text += apart + self._mark(PromptTurn(Role.USER, turn.text))
        note = "This is a base model without a chat template: it goes on with the text instead of answering."
        return Rendered(tuple(_parts(text)), self.name, (note,))


def _with_system_merged(turns: Sequence[PromptTurn]) -> Sequence[PromptTurn]:
    """The turns with what the system says in front of the first question."""
    system = [turn for turn in turns if turn.role is Role.SYSTEM]
    rest = [turn for turn in turns if turn.role is not Role.SYSTEM]
    if not system:
        return turns
    first = next((i for i, turn in enumerate(rest) if turn.role is Role.USER), None)
    if first is None:
        return [*(msgspec.structs.replace(turn, role=Role.USER) for turn in system), *rest]
    text = "\n\n".join(turn.text for turn in (*system, rest[first]))
    rest[first] = msgspec.structs.replace(rest[first], text=text)
    return rest


def _alternating(turns: Sequence[PromptTurn]) -> Sequence[PromptTurn]:
    """The turns with neighbours of one role joined, and without a reply that answers no question."""
    joined = [
        PromptTurn(role, "\n\n".join(turn.text for turn in group))
        for role, group in groupby(turns, key=lambda turn: turn.role)
    ]
    first = next((i for i, turn in enumerate(joined) if turn.role is not Role.SYSTEM), 0)
    if len(joined) > first + 1 and joined[first].role is Role.ASSISTANT:
        del joined[first]
    return joined if len(joined) < len(turns) else turns


def _parts(text: str) -> Iterator[Part]:
    """A marked text as parts: each character behind a mark is a part that is not trusted."""
    first, *others = text.split(_MARK)
    if first:
        yield Part(first)
    for bit in others:
        yield Part(bit[:1], trusted=False)
        if bit[1:]:
            yield Part(bit[1:])


def _thought_at_end(text: str) -> Span | None:
    """The tags of a thought that a prompt has just opened."""
    end = text.rstrip()
    opened = (span for span in _PROMPT_SPANS if end.endswith(span.opens) and not end.endswith(_MARK + span.opens))
    return next(opened, None)


def _with_thought_closed(text: str, reply: str) -> str:
    """A prompt that ends with a reply, in which some templates open a thought before it: the reply is none."""
    before = text.removesuffix(reply)
    span = _thought_at_end(before)
    return f"{before}{span.closes}\n\n{reply}" if span and reply and text.endswith(reply) else text


def _first_thought(reply: str) -> Span | None:
    """The tags of a thought with which a reply begins."""
    start = reply.lstrip()
    return next((span for span in SPANS if start.startswith(span.opens)), None)


def _open_thought(reply: str) -> Span | None:
    """The tags of a thought in which a reply was cut off."""
    span = _first_thought(reply)
    return span if span and span.closes not in reply else None
