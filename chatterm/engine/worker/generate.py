"""One reply: read the prompt, then sample, show and evaluate token after token until something ends it.

Everything that happens is sent as an event; a stop just ends it early. What was decoded stays in
the KV cache and in `Cut`, so that the same reply can go on later from its very last token. A reply can
also be begun with given tokens: a branch of one that is there, or the next step of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from chatterm.engine.base import Prompt
from chatterm.engine.wire import WriteReply
from chatterm.engine.worker.aside import Aside
from chatterm.engine.worker.compose import Composed, Composer
from chatterm.engine.worker.context import StopFlag
from chatterm.engine.worker.load import LoadedModel
from chatterm.engine.worker.sample import Sampler, seed_of
from chatterm.engine.worker.stream import Chunk
from chatterm.engine.worker.vocabulary import Vocabulary
from chatterm.errors import EngineError, PromptTooLong
from chatterm.events import Event, Finished, FinishReason, Measured, Prefilling, Prompted, Token, Trimmed, Tuned

if TYPE_CHECKING:
    from chatterm.engine.worker.measure import Meter

_PROGRESS_SECONDS = 0.05


class Cut(msgspec.Struct):
    """The last reply, as tokens."""

    prompt: Prompt
    """What was asked, without what there was of the reply."""
    composed: Composed
    reply: list[int]
    n_reused: int = 0
    """Tokens of prompt and reply that were in the KV cache when they were read."""
    stop: tuple[str, ...] = ()
    """Where the reply was to end."""


class Reply:
    """What is needed while one reply is written."""

    def __init__(
        self,
        model: LoadedModel,
        ask: WriteReply,
        flag: StopFlag,
        send: Callable[[Event], None],
        last: Cut | None,
        between: Callable[[], None],
    ) -> None:
        """Put the prompt together.

        Args:
            between: Called after each token; what it takes is not counted as the token's time.

        Raises:
            PromptTooLong: it does not fit.
            EngineError: the reply shall begin with tokens that there are none of.
        """
        self.begin = time.perf_counter()
        self.model = model
        self.context = model.context
        self.prompt = ask.prompt
        self.begins_with = ask.begins_with
        self.sampling = ask.sampling
        self.flag = flag
        self.send = send
        self.between = between
        self.seed = seed_of(ask.sampling)
        self.composer = Composer(model.vocabulary, model.template, model.context.n_ctx)
        self.asked = self.prompt
        """What is composed; the tokens of the reply come after it."""
        self.is_over = False
        """Whether the reply is begun with its end."""
        self.composed, self.ids, heard = self._begun(last) if ask.begins_with else self._compose(last)
        self.meter = self._meter(heard) if ask.measure else None
        self.aside = Aside()
        self.sampler = self.meter.sampler if self.meter else self._sampler()
        self.sampler.accept(heard)
        self.sampler.skip(len(ask.begins_with))
        self.stream = self.composed.stream(self.sampling.stop)
        self.known = [chunk for token in self.ids for chunk in self.stream.push(model.vocabulary.reply_piece(token))]
        """What there is of the text already."""
        self.n_resumed = len(self.ids)
        self.n_prompt = len(self.composed.tokens) + self.n_resumed
        self.n_reused = self.n_kept = 0
        self.prefill_seconds = 0.0
        self.first_token = 0.0
        self.last_token = 0.0

    @property
    def cut(self) -> Cut:
        """What there is of the reply now."""
        return Cut(self.asked, self.composed, self.ids, self.n_kept, self.sampling.stop)

    def run(self) -> None:
        """Write the reply, or as much of it as there is until it is stopped."""
        composed = self.composed
        if composed.dropped:
            self._send_trimmed()
        tokens = composed.tokens + self.ids
        self.n_reused = self.n_kept = self.context.reuse(tokens)
        self.send(Prompted(self.n_prompt, self.n_reused, self.seed, composed.template, composed.notes, tuple(tokens)))
        reason = self._reason_to_end()
        if reason is None and not self._read(tokens):
            return
        self.prefill_seconds = time.perf_counter() - self.begin
        if self.begins_with:
            self._show(joined(self.known), None)
        try:
            reason = reason or self._write()
        finally:
            self.aside.wait()
        self.model.tuner.pause()
        if reason is not None:
            self._show(self.stream.finish(), None)
            self.send(self._finished(reason))

    def close(self) -> None:
        """Free the sampler, and end the thread that measures."""
        self.aside.close()
        self.sampler.close()

    def _compose(self, last: Cut | None) -> tuple[Composed, list[int], list[int]]:
        """The prompt; the tokens of the reply that goes on, where they are known; what the penalties know of it."""
        prompt, max_tokens = self.prompt, self.sampling.max_tokens
        if not prompt.continues or not prompt.turns:
            return self.composer.fitting(prompt, max_tokens), [], []
        text = prompt.turns[-1].text
        if last is not None and (ids := known_tokens(self.model.vocabulary, last, text)):
            before = without_reply(prompt)
            composed = self.composer.fitting(before, max_tokens, len(ids))
            if composed.tokens == last.composed.tokens:
                self.asked = before
                return composed, ids, ids
        heard = self.model.vocabulary.tokenize(text, parse_special=False)
        return self.composer.fitting(prompt, max_tokens), [], heard

    def _begun(self, last: Cut | None) -> tuple[Composed, list[int], list[int]]:
        """The same for a reply that is begun with given tokens: after the prompt that it had, where that has room."""
        ids, n_ctx = self._checked(self.begins_with), self.context.n_ctx
        self.asked = without_reply(self.prompt)
        if last is not None and last.prompt == self.asked and len(last.composed.tokens) + len(ids) < n_ctx:
            return last.composed, ids, ids
        composed = self.composer.fitting(self.asked, self.sampling.max_tokens)
        if len(composed.tokens) + len(ids) >= n_ctx:
            composed = self.composer.fitting(self.asked, self.sampling.max_tokens, len(ids))
        return composed, ids, ids

    def _checked(self, begins_with: Sequence[int]) -> list[int]:
        """Tokens to begin with; the one that ends a reply is no part of it.

        Raises:
            EngineError: this model has no such tokens.
        """
        ids, n_vocab = list(begins_with), self.model.vocabulary.n_tokens
        if not all(0 <= token < n_vocab for token in ids):
            raise EngineError("The reply should begin with tokens that this model does not have.", "Ask it anew.")
        self.is_over = self.model.vocabulary.is_eog(ids[-1])
        return ids[:-1] if self.is_over else ids

    def _sampler(self) -> Sampler:
        """What draws the tokens where nobody watches."""
        return Sampler(self.model.library.llama, self.model.vocabulary.n_tokens, self.sampling, self.seed)

    def _meter(self, heard: Sequence[int]) -> Meter:
        """What measures the tokens; numpy is imported with it."""
        from chatterm.engine.worker.measure import Meter

        meter = Meter(self.model.library.llama, self.model.vocabulary, self.sampling, self.seed, heard)
        meter.skip(len(self.begins_with))
        return meter

    def _reason_to_end(self) -> FinishReason | None:
        """Why a reply is over that was begun with given tokens; None where it goes on."""
        if self.is_over:
            return FinishReason.END
        return FinishReason.STOP if self.stream.stopped else None

    def _read(self, tokens: list[int]) -> bool:
        """Evaluate the prompt; False when it was stopped."""
        n_total, n_reused = len(tokens), len(self.context.tokens)
        threads = self.model.prompt_threads
        self.context.set_threads(self._n_decode_threads, threads.begin())
        last, slice_start = 0.0, (n_reused, 0.0)

        def progress(n_done: int, seconds: float) -> None:
            nonlocal last, slice_start
            if threads.took(n_done - slice_start[0], seconds - slice_start[1]):
                self.context.set_threads(self._n_decode_threads, threads.n_threads)
            slice_start = n_done, seconds
            if n_done == n_total or seconds - last >= _PROGRESS_SECONDS:
                last = seconds
                self.send(Prefilling(n_done, n_total, n_reused, (n_done - n_reused) / max(seconds, 1e-9)))

        self.send(Prefilling(n_reused, n_total, n_reused))
        return self.context.prefill(tokens, self.model.slices, progress)

    def _write(self) -> FinishReason | None:
        """Sample until something ends the reply; None when it was stopped."""
        vocabulary, context = self.model.vocabulary, self.context
        while not self.flag.is_set:
            if self.meter is None:
                token, measure = self.sampler.sample(context.pointer), None
            else:
                token, measure = self.meter.sample(context.pointer)
            self._took(time.perf_counter())
            start = self.stream.n_characters
            if vocabulary.is_eog(token):
                self._tell(measure, start, [], None)
                return FinishReason.END
            self._tell(measure, start, self.stream.push(vocabulary.reply_piece(token)), token)
            self.ids.append(token)
            if self.stream.stopped:
                return FinishReason.STOP
            if len(self.ids) - self.n_resumed == self.sampling.max_tokens:
                return FinishReason.LENGTH
            if len(context.tokens) == context.n_ctx:
                self.aside.wait()
                if not self._make_room():
                    return None if self.flag.is_set else FinishReason.CONTEXT
            elif not context.extend([token]):
                return None
            self.aside.wait()
            now = time.perf_counter()
            self.between()
            self.last_token += time.perf_counter() - now
        return None

    def _make_room(self) -> bool:
        """The window is full: leave out more turns and read the rest again; False when that cannot be."""
        try:
            composed = self.composer.fitting(self.asked, self.sampling.max_tokens, len(self.ids))
        except PromptTooLong:
            return False
        if len(composed.dropped) <= len(self.composed.dropped):
            return False
        self.composed = composed
        self._send_trimmed()
        tokens = composed.tokens + self.ids
        self.n_kept = self.context.reuse(tokens)
        done = self._read(tokens)
        self.last_token = time.perf_counter()
        return done

    def _show(self, chunks: list[Chunk], token: int | None, *, in_reasoning: bool | None = None) -> None:
        """Send what can be shown; the token's id goes with the last of it."""
        for i, chunk in enumerate(chunks, start=1):
            start = None if self.meter is None else chunk.start
            self.send(Token(chunk.text, token if i == len(chunks) else None, chunk.reasoning, start))
        if not chunks and token is not None:
            self.send(Token("", token, self.stream.in_reasoning if in_reasoning is None else in_reasoning))

    def _tell(self, measure: Callable[[], Measured] | None, start: int, chunks: list[Chunk], token: int | None) -> None:
        """Send what can be shown of a token; with what was measured before it, aside. Without token, it is the end."""
        if measure is None:
            self._show(chunks, token)
            return
        index, end, in_reasoning = len(self.ids), self.stream.n_characters, self.stream.in_reasoning

        def tell() -> None:
            place = {"index": index, "start": start, "end": end, "is_end": token is None}
            self.send(msgspec.structs.replace(measure(), **place))
            self._show(chunks, token, in_reasoning=in_reasoning)

        self.aside.do(tell)

    def _took(self, now: float) -> None:
        """Note the time of a token, and learn from it how many threads to use."""
        if self.first_token == 0.0:
            self.first_token = self.last_token = now
            return
        seconds, self.last_token = now - self.last_token, now
        if self.sampling.seed >= 0:
            return
        tuner = self.model.tuner
        n_before = tuner.n_threads
        if tuner.took(seconds):
            self.send(Tuned(tuner.n_threads, 1 / tuner.seconds))
        if tuner.n_threads != n_before:
            self.context.set_threads(tuner.n_threads, tuner.n_threads)

    @property
    def _n_decode_threads(self) -> int:
        """A chosen seed promises the same tokens, and sums over a long cache depend on the number of threads."""
        tuner = self.model.tuner
        return tuner.careful if self.sampling.seed >= 0 else tuner.n_threads

    def _send_trimmed(self) -> None:
        n_after = len(self.composed.tokens) + len(self.ids)
        n_before = self.composed.n_whole + len(self.ids)
        self.send(Trimmed(self.composed.dropped, n_before, n_after, self.context.n_ctx))

    def _finished(self, reason: FinishReason) -> Finished:
        """All counts and times."""
        return Finished(
            reason,
            n_prompt=self.n_prompt,
            n_reused=self.n_reused,
            n_generated=len(self.ids) - self.n_resumed,
            seed=self.seed,
            prefill_seconds=self.prefill_seconds,
            first_token_seconds=self.first_token - self.begin if self.first_token else 0.0,
            decode_seconds=self.last_token - self.first_token,
            n_used=len(self.context.tokens),
            n_ctx=self.context.n_ctx,
        )


def without_reply(prompt: Prompt) -> Prompt:
    """A prompt up to where the reply begins that goes on in it."""
    if not prompt.continues or not prompt.turns:
        return prompt
    return msgspec.structs.replace(prompt, turns=prompt.turns[:-1], continues=False)


def known_tokens(vocabulary: Vocabulary, last: Cut, text: str) -> list[int]:
    """As many tokens of the last reply as make up a text; none where it is another text."""
    stream = last.composed.stream(last.stop)
    shown, n_known = "", 0
    for i, token in enumerate(last.reply, start=1):
        chunks = stream.push(vocabulary.reply_piece(token))
        shown += "".join(chunk.text for chunk in chunks if not chunk.reasoning)
        if shown == text:
            n_known = i
    return last.reply[:n_known]


def joined(chunks: Sequence[Chunk]) -> list[Chunk]:
    """Neighbours of one kind made one, where nothing was left out between them."""
    told: list[Chunk] = []
    for chunk in chunks:
        last = told[-1] if told else None
        if last and last.reasoning == chunk.reasoning and last.start + len(last.text) == chunk.start:
            told[-1] = msgspec.structs.replace(last, text=last.text + chunk.text)
        else:
            told.append(chunk)
    return told
