"""What can be done on the chat screen now: the names that the commands' rows ask for (`Command.when`)."""

from __future__ import annotations

from chatterm import tutor
from chatterm.address import Address
from chatterm.chat import Chat
from chatterm.conversation import Role, Turn


class State:
    """Where the chat screen is at."""

    def __init__(self) -> None:
        self.chat: Chat | None = None
        """None until the store is open."""
        self.replying = False
        self.stopping = False
        """Whether the reply was told to stop and has not yet."""
        self.loading_model = False
        self.closing = False
        """Whether chatterm is being closed: nothing new is begun."""
        self.address: Address | None = None
        """The model that was asked for last, loaded or not."""
        self.answers = (0, 0)
        """Which answer to the last question is shown, counted from 0, and how many there are."""
        self.has_queue = False
        """Whether messages wait to be sent."""
        self.has_deleted = False
        """Whether a deletion can be taken back."""
        self.has_notice = False
        """Whether there is a notice above the prompt."""

    @property
    def is_open(self) -> bool:
        """Whether the store is open, and with it the chat."""
        return self.chat is not None

    @property
    def is_closed(self) -> bool:
        """Whether the store is not open, or not yet."""
        return self.chat is None

    @property
    def has_model(self) -> bool:
        """Whether there is a model that can be asked."""
        return self.chat is not None and self.chat.model is not None

    @property
    def can_suggest(self) -> bool:
        """Whether the tutor waits for a first question."""
        model = self.chat.model if self.chat is not None else None
        return model is not None and tutor.is_tutor(model.path) and not self.turns and not self.busy

    @property
    def busy(self) -> bool:
        """Whether there is something to stop."""
        return self.replying or self.loading_model

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to stop."""
        return not self.busy

    @property
    def can_send(self) -> bool:
        """Whether a message can be sent at once."""
        return self.has_model and self.is_idle

    @property
    def turns(self) -> list[Turn]:
        """The open branch."""
        return self.chat.turns if self.chat is not None else []

    @property
    def last_question(self) -> Turn | None:
        """The question that was asked last in the open branch."""
        return next((turn for turn in reversed(self.turns) if turn.role is Role.USER), None)

    @property
    def has_reply(self) -> bool:
        """Whether there is an answer."""
        return any(turn.role is Role.ASSISTANT for turn in self.turns)

    @property
    def can_regenerate(self) -> bool:
        """Whether there is a question that can be answered again."""
        return self.can_send and self.chat is not None and self.chat.can_regenerate

    @property
    def can_resume(self) -> bool:
        """Whether there is a reply that can be written on."""
        return self.can_send and self.chat is not None and self.chat.can_resume

    @property
    def has_siblings(self) -> bool:
        """Whether the last question has several answers."""
        return self.answers[1] > 1 and not self.replying

    @property
    def has_conversation(self) -> bool:
        """Whether the open conversation exists yet."""
        return self.chat is not None and self.chat.conversation is not None

    @property
    def can_reload(self) -> bool:
        """Whether a model was asked for that can be loaded again."""
        return self.is_open and self.address is not None and not self.loading_model
