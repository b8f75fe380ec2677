"""Which model answers, and what becomes of it, said in the status row, the banner and the empty conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from chatterm.chat import Chat
from chatterm.errors import EngineError
from chatterm.events import LoadEvent
from chatterm.ui.commands import key_of
from chatterm.ui.screens.hints import hello_hint, no_model_hint
from chatterm.ui.widgets.banner import Banner
from chatterm.ui.widgets.status import Status, activity_of
from chatterm.ui.widgets.transcript import Transcript


class ModelSign:
    """Says it in all three places alike; decides nothing."""

    def __init__(self, status: Status, banner: Banner, transcript: Transcript, keymap: Mapping[str, str]) -> None:
        self._status = status
        self._banner = banner
        self._transcript = transcript
        self._keymap = keymap

    def queued(self, path: Path) -> None:
        """It is loaded when the reply that runs has ended; until then the other one answers."""
        self._status.tell(next_model=path.stem)

    def loading(self, path: Path) -> None:
        """It takes the place of the one before from now on."""
        self._banner.clear("model")
        self._status.tell(
            model=path.stem,
            next_model="",
            quantization="",
            activity="waiting",
            n_used=0,
            is_busy=True,
            is_wrong=False,
        )

    def progress(self, event: LoadEvent) -> None:
        """How far it is."""
        self._status.tell(activity=activity_of(event))

    def stopped(self) -> None:
        """It was not loaded, since the user did not want it any more."""
        self._status.tell(activity="loading stopped", next_model="")

    def show(self, chat: Chat, *, is_busy: bool) -> None:
        """The model that answers now, if any does, and its temperature in this conversation."""
        if (model := chat.model) is not None:
            self._status.tell(model=model.name, quantization=model.quantization, n_ctx=model.n_ctx)
            self._transcript.empty = hello_hint(model.name, self._keymap)
            self._banner.clear("model")
        elif not is_busy:
            self._status.tell(model="", quantization="", n_ctx=0)
        self._status.tell(temperature=chat.effective.sampling.temperature, is_busy=is_busy)

    def offer(self, names: Sequence[str]) -> None:
        """None was chosen yet: how to come to one."""
        self._transcript.empty = no_model_hint(names, self._keymap)
        self._status.tell(activity="no model")

    def lost(self, error: EngineError, *, can_reload: bool) -> None:
        """There is none any more, and what can be done about it; stays until that is done."""
        actions = [("Choose another model", "choose_model", key_of("choose_model", self._keymap))]
        if can_reload:
            actions.insert(0, ("Start again", "reload_model", key_of("reload_model", self._keymap)))
        self._banner.show("model", error.title, str(error), actions)
        self._status.tell(activity=error.title[0].lower() + error.title[1:], is_wrong=True, next_model="")
