"""Which model answers, and what becomes of it: loads it, and says so in the status row and the empty conversation.

It is the banner itself, since what goes wrong with a model stays there until it is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing

from textual import work
from textual.message import Message
from textual.worker import Worker, get_current_worker

from chatterm import tutor
from chatterm.address import Address
from chatterm.chat import Chat
from chatterm.errors import ChattermError, LoadCancelled, WorkerDied
from chatterm.events import Loaded
from chatterm.settings import Sampling
from chatterm.ui.commands import key_of
from chatterm.ui.messages import RunCommand
from chatterm.ui.screens import hints
from chatterm.ui.screens.memory import Memory
from chatterm.ui.screens.state import State
from chatterm.ui.widgets.banner import Banner
from chatterm.ui.widgets.status import Status, activity_of
from chatterm.ui.widgets.transcript import Transcript


class ModelNotice(Banner):
    """Loads models."""

    class Changed(Message):
        """What is possible now may be something else."""

    class LoadEnded(Message):
        """A model is loaded, or is not; nothing else is loading."""

    class Failed(Message):
        """Something went wrong that the user must know of."""

        def __init__(self, error: ChattermError) -> None:
            super().__init__()
            self.error = error

    def __init__(
        self,
        state: State,
        status: Status,
        transcript: Transcript,
        engine_free: asyncio.Lock,
        keymap: Mapping[str, str],
    ) -> None:
        """No notice.

        Args:
            state: Where the screen is at; the model that is loaded is entered there.
            status: The row that says which model it is and how far it is.
            transcript: Says what can be done while nothing was said.
            engine_free: Held while a model is loaded.
            keymap: The user's own keys.
        """
        super().__init__()
        self._state = state
        self._status = status
        self._transcript = transcript
        self._engine_free = engine_free
        self._keymap = keymap
        self.n_others = 0
        """How many models are here besides the tutor."""
        self._loss: ChattermError | None = None  # why there is no model any more
        self._loader: Worker[None] | None = None  # what loads a model now, or did last

    @property
    def chat(self) -> Chat:
        """What is open; there is one before anything is asked of this widget."""
        assert self._state.chat is not None
        return self._state.chat

    def watch_subject(self, subject: str) -> None:
        """What is shown can be dismissed."""
        self._state.has_notice = bool(subject)

    @work(exclusive=True, group="load")
    async def load(self, address: Address, *, is_pick: bool = False) -> None:
        """Load a model with progress, after the reply that runs; the conversation stays readable.

        Args:
            address: The model.
            is_pick: Whether the user chose it for all that comes, so that the next start begins with it.
        """
        self._loader = loader = get_current_worker()
        self._state.address, self._state.loading_model = address, True
        if self._state.replying:
            self._status.tell(next_model=tutor.name_of(address))
            self.notify(**hints.queued_model_notice(tutor.name_of(address), self._keymap))
        self.post_message(self.Changed())
        try:
            async with self._engine_free:
                await self._load(address)
            if is_pick:
                await Memory(self.chat.store).keep_last_model(address)
        except (LoadCancelled, asyncio.CancelledError):
            if self._loader is loader:
                self._status.tell(activity="loading stopped", next_model="")
        except ChattermError as error:
            self.post_message(self.Failed(error))
        finally:
            if self._loader is loader and not self._state.closing:  # else another one is being loaded instead
                self._state.loading_model = False
                self.show_model()
                self.post_message(self.LoadEnded())

    def load_again(self) -> None:
        """Load the model that was asked for last, if there is one."""
        if self._state.address is not None:
            self.load(self._state.address)

    async def _load(self, address: Address) -> None:
        """Load it now."""
        self.clear("model")
        self._loss = None
        self._status.tell(
            model=tutor.name_of(address),
            next_model="",
            quantization="",
            host="",
            activity="waiting",
            n_used=0,
            tokens_per_second=0.0,
            first_token_seconds=0.0,
            is_busy=True,
            is_wrong=False,
        )
        async with aclosing(self.chat.load(address)) as happenings:
            async for event in happenings:
                self._status.tell(activity=activity_of(event))
                if isinstance(event, Loaded) and event.notes:
                    self.notify("\n".join(event.notes), title=event.model.name, markup=False)

    def cancel(self) -> None:
        """Load nothing after all."""
        self.workers.cancel_group(self, "load")

    def show_model(self) -> None:
        """The model that answers now, if any does, and its temperature in this conversation."""
        is_busy = self._state.busy
        if (model := self.chat.model) is not None:
            self._status.tell(
                model=model.name,
                quantization=model.quantization,
                host=model.host if model.is_elsewhere else "",
                n_ctx=model.n_ctx,
            )
            if tutor.is_tutor(model.path):
                self._transcript.empty = hints.tutor_hint(self.n_others, self._keymap)
            else:
                self._transcript.empty = hints.hello_hint(model, self._keymap)
            self.clear("model")
        elif not is_busy:
            self._status.tell(model="", quantization="", host="", n_ctx=0)
        self._status.tell(temperature=self._temperature, is_busy=is_busy)
        self.post_message(self.Changed())

    @property
    def _temperature(self) -> float | None:
        """The temperature that counts; None where it is left to a server."""
        settings, model = self.chat.effective, self.chat.model
        chosen = settings.sampling.temperature
        is_chosen = "temperature" in settings.stated or chosen != Sampling().temperature
        return None if model is not None and model.host and not is_chosen else chosen

    def offer(self, names: Sequence[str]) -> None:
        """None was chosen yet: how to come to one."""
        self._transcript.empty = hints.no_model_hint(names, self._keymap)
        self._status.tell(activity="no model")

    def ask_for_one(self) -> None:
        """Nothing answers: say how that changes; what is typed stays in the prompt."""
        if self._state.can_reload:
            self.show_loss()
        else:
            self.notify("What you typed stays in the prompt.", title="Choose a model first", severity="warning")
            self.post_message(RunCommand("choose_model"))

    def show_loss(self, error: ChattermError | None = None) -> None:
        """There is no model any more, and what can be done about it; stays until that is done.

        Args:
            error: Why; by default as the last time, or that nothing is known of it.
        """
        error = self._loss = (
            error
            or self._loss
            or WorkerDied(
                "The model's process ended while nothing was asked.", "Start it again; the conversation is kept."
            )
        )
        actions = [("Choose another model", "choose_model", key_of("choose_model", self._keymap))]
        if self._state.address is not None:
            actions.insert(0, ("Start again", "reload_model", key_of("reload_model", self._keymap)))
        self.show("model", error.title, str(error), actions)
        self._status.tell(activity=error.title[0].lower() + error.title[1:], is_wrong=True, next_model="")
