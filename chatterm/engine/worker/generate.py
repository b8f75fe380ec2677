"""One reply: read the prompt, then sample, show and evaluate token after token until something ends it.

Everything that happens is sent as an event; a stop just ends it early. What was decoded stays in
the KV cache and in `Cut`, so that the same reply can go on later from its very last token.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from chatterm.engine.wire import WriteReply
from chatterm.engine.worker.compose import Composed, Composer
from chatterm.engine.worker.context import StopFlag
from chatterm.engine.worker.load import LoadedModel
from chatterm.engine.worker.sample import Sampler, seed_of
from chatterm.engine.worker.stream import Chunk, ReplyStream
from chatterm.errors import PromptTooLong
from chatterm.events import Event, Finished, FinishReason, Prefilling, Prompted, Token, Trimmed, Tuned

_PROGRESS_SECONDS = 0.05


class Cut(msgspec.Struct):
    """The last reply, as tokens."""

    composed: Composed
    reply: list[int]


class Reply:
    """What is needed while one reply is written."""

    def __init__(
        self, model: LoadedModel, ask: WriteReply, flag: StopFlag, send: Callable[[Event], None], last: Cut | None
    ) -> None:
        self.begin = time.perf_counter()
        self.model = model
        self.context = model.context
        self.prompt = ask.prompt
        self.sampling = ask.sampling
        self.flag = flag
        self.send = send
        self.seed = seed_of(ask.sampling)
        self.composer = Composer(model.vocabulary, model.template, model.context.n_ctx)
        self.composed, self.ids, heard = self._compose(last)
        self.sampler = Sampler(model.library.llama, model.vocabulary.n_tokens, ask.sampling, self.seed)
        self.sampler.accept(heard)
        self.stream = self._resumed()
        self.n_resumed = len(self.ids)
        self.n_prompt = len(self.composed.tokens) + self.n_resumed
        self.n_reused = 0
        self.prefill_seconds = 0.0
        self.first_token = 0.0
        self.last_token = 0.0

    @property
    def cut(self) -> Cut:
        """What there is of the reply now."""
        return Cut(self.composed, self.ids)

    def run(self) -> None:
        """Write the reply, or as much of it as there is until it is stopped."""
        composed = self.composed
        if composed.dropped:
            self._send_trimmed()
        tokens = composed.tokens + self.ids
        self.n_reused = self.context.reuse(tokens)
        self.send(Prompted(self.n_prompt, self.n_reused, self.seed, composed.template, composed.notes, tuple(tokens)))
        if not self._read(tokens):
            return
        self.prefill_seconds = time.perf_counter() - self.begin
        reason = self._write()
        self.model.tuner.pause()
        if reason is not None:
            self._show(self.stream.finish(), None)
            self.send(self._finished(reason))

    def close(self) -> None:
        """Free the sampler."""
        self.sampler.close()

    def _compose(self, last: Cut | None) -> tuple[Composed, list[int], list[int]]:
        """The prompt; the tokens of the reply that goes on, where they are known; what the penalties know of it."""
        prompt, max_tokens = self.prompt, self.sampling.max_tokens
        if not prompt.continues or not prompt.turns:
            return self.composer.fitting(prompt, max_tokens), [], []
        text = prompt.turns[-1].text
        if last is not None and (ids := self._known(last, text)):
            before = msgspec.structs.replace(prompt, turns=prompt.turns[:-1], continues=False)
            composed = self.composer.fitting(before, max_tokens, len(ids))
            if composed.tokens == last.composed.tokens:
                return composed, ids, ids
        heard = self.model.vocabulary.tokenize(text, parse_special=False)
        return self.composer.fitting(prompt, max_tokens), [], heard

    def _known(self, last: Cut, text: str) -> list[int]:
        """As many tokens of the last reply as make up a text; none where it is another text."""
        stream = last.composed.stream(self.sampling.stop)
        shown, n_known = "", 0
        for i, token in enumerate(last.reply, start=1):
            chunks = stream.push(self.model.vocabulary.reply_piece(token))
            shown += "".join(chunk.text for chunk in chunks if not chunk.reasoning)
            if shown == text:
                n_known = i
        return last.reply[:n_known]

    def _resumed(self) -> ReplyStream:
        """A stream that has seen the tokens which were shown before."""
        stream = self.composed.stream(self.sampling.stop)
        for token in self.ids:
            stream.push(self.model.vocabulary.reply_piece(token))
        return stream

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
            token = self.sampler.sample(context.pointer)
            self._took(time.perf_counter())
            if vocabulary.is_eog(token):
                return FinishReason.END
            self.ids.append(token)
            self._show(self.stream.push(vocabulary.reply_piece(token)), token)
            if self.stream.stopped:
                return FinishReason.STOP
            if len(self.ids) - self.n_resumed == self.sampling.max_tokens:
                return FinishReason.LENGTH
            if len(context.tokens) == context.n_ctx:
                if not self._make_room():
                    return None if self.flag.is_set else FinishReason.CONTEXT
            elif not context.extend([token]):
                return None
        return None

    def _make_room(self) -> bool:
        """The window is full: leave out more turns and read the rest again; False when that cannot be."""
        try:
            composed = self.composer.fitting(self.prompt, self.sampling.max_tokens, len(self.ids))
        except PromptTooLong:
            return False
        if len(composed.dropped) <= len(self.composed.dropped):
            return False
        self.composed = composed
        self._send_trimmed()
        tokens = composed.tokens + self.ids
        self.context.reuse(tokens)
        done = self._read(tokens)
        self.last_token = time.perf_counter()
        return done

    def _show(self, chunks: list[Chunk], token: int | None) -> None:
        """Send what can be shown; the token's id goes with the last of it."""
        for i, chunk in enumerate(chunks, start=1):
            self.send(Token(chunk.text, token if i == len(chunks) else None, chunk.reasoning))
        if not chunks and token is not None:
            self.send(Token("", token, self.stream.in_reasoning))

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
            first_token_seconds=self.first_token - self.begin,
            decode_seconds=self.last_token - self.first_token,
            n_used=len(self.context.tokens),
            n_ctx=self.context.n_ctx,
        )
