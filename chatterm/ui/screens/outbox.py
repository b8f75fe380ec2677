"""What is asked next, and when: what is typed, what waits, and a question that another model shall answer, too."""

from __future__ import annotations

from chatterm.address import Address
from chatterm.ui.screens.conversation_view import ConversationView
from chatterm.ui.screens.model_notice import ModelNotice
from chatterm.ui.screens.state import State
from chatterm.ui.widgets.composer import Composer


class Outbox:
    """Sends what can be sent, and lets wait what cannot."""

    def __init__(self, state: State, composer: Composer, transcript: ConversationView, models: ModelNotice) -> None:
        """Nothing is to be sent.

        Args:
            state: Where the screen is at.
            composer: Where messages are made, and wait.
            transcript: Where they are answered.
            models: Loads a model, or says that there is none.
        """
        self._state = state
        self._composer = composer
        self._transcript = transcript
        self._models = models
        self._again: tuple[str, int] | None = None
        """The model that shall answer a question again as soon as it is loaded, and the question's id."""

    def submit(self, typed: str) -> None:
        """Send it, or let it wait for the reply or the model that is on its way; without a text, what waits is sent."""
        text = typed.strip()
        if not text:
            self.send_waiting()
        elif self._state.busy or not self._state.is_open:
            self._composer.enqueue()
        elif not self._state.has_model:
            self._models.ask_for_one()
        else:
            self._composer.prompt.take()
            self.ask(text)

    def ask(self, text: str) -> None:
        """Ask at once; what is typed stays in the prompt."""
        self._transcript.answer(self._transcript.chat.reply(text))

    def send_waiting(self) -> None:
        """Send the message that has waited longest."""
        if self._composer.queue.waiting and self._state.can_send:
            self.ask(self._composer.next())

    def go_on(self) -> None:
        """The engine is free: answer again where that was wanted, or send what waits and is not held."""
        if self._answers_again():
            self._transcript.regenerate()
        elif not self._composer.queue.held and not self._state.closing:
            self.send_waiting()

    def answer_with(self, address: Address) -> None:
        """Let another model answer the last question, too; it goes on with the conversation."""
        question, chat = self._state.last_question, self._state.chat
        if question is None or chat is None:
            return
        self._again = str(address), question.id
        if chat.model is not None and chat.model.address == str(address):
            self.go_on()
        else:
            self._models.load(address)

    def _answers_again(self) -> bool:
        """Whether the model that was wanted for another answer is here, and so is the question; asked once."""
        wanted, self._again = self._again, None
        question, model = self._state.last_question, self._state.chat.model if self._state.chat else None
        if wanted is None or question is None or model is None:
            return False
        return self._state.can_regenerate and not self._state.closing and wanted == (model.address, question.id)
