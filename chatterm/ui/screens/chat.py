"""The chat screen: conversations on the left, the open one in the middle, the prompt below.

It joins the widgets with `Chat`: what is typed goes there, what happens comes back as events. How a
turn is saved, what the model gets to read and where models lie, it does not know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from textual import events, on, work
from textual.app import ComposeResult
from textual.dom import DOMNode
from textual.message import Message

from chatterm import tutor
from chatterm.chat import Chat
from chatterm.conversation import TurnState
from chatterm.errors import ChattermError, EngineError, StoreError
from chatterm.ui.commands import key_of, possible_in_footer, where_is
from chatterm.ui.screens import hints
from chatterm.ui.screens.columns import Columns
from chatterm.ui.screens.command_screen import CommandScreen
from chatterm.ui.screens.conversation_view import ConversationView
from chatterm.ui.screens.memory import Memory
from chatterm.ui.screens.model_notice import ModelNotice
from chatterm.ui.screens.outbox import Outbox
from chatterm.ui.screens.shelf import Shelf
from chatterm.ui.widgets.composer import Composer
from chatterm.ui.widgets.footer import Footer
from chatterm.ui.widgets.header import Header
from chatterm.ui.widgets.prompt import Prompt, PromptHistory
from chatterm.ui.widgets.sidebar import Sidebar
from chatterm.ui.widgets.status import Status
from chatterm.ui.widgets.suggestions import Suggestions

if TYPE_CHECKING:
    from chatterm.ui.glass.shaper import Shaper
    from chatterm.ui.screens.glass_by_hand import ByHand

HIGH = 18
"""Rows from which suggestions leave room for what else is there."""


class ChatScreen(CommandScreen):
    """One conversation, and the way to all others."""

    CSS_PATH = "chat.tcss"
    AUTO_FOCUS = "#prompt"

    class DefaultsWanted(Message):
        """Settings that were tried shall count everywhere."""

        def __init__(self, changes: dict[str, Any]) -> None:
            super().__init__()
            self.changes = changes

    class ModelWanted(Message):
        """The conversation that was opened has a model of its own."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    chat: Chat
    memory: Memory
    """Both are set by `begin`; nothing asks for them before `state.is_open`."""

    def __init__(self, keymap: Mapping[str, str]) -> None:
        super().__init__(keymap)
        self._engine_free = asyncio.Lock()
        self.header = Header()
        self.status = Status()
        self.sidebar = Shelf(keymap, id="sidebar")
        self.composer = Composer(keymap)
        self.queue, self.prompt = self.composer.queue, self.composer.prompt
        self.suggestions = Suggestions(tutor.QUESTIONS, key_of("read", keymap))
        self.footer = Footer(keymap)
        self.transcript = ConversationView(self.state, self.status, self._engine_free, id="transcript")
        self.models = ModelNotice(self.state, self.status, self.transcript, self._engine_free, keymap)
        middle = self.transcript, self.suggestions, self.models, self.composer
        self.columns = Columns(self.sidebar, *middle, prompt=self.prompt, id="columns")
        self.outbox = Outbox(self.state, self.composer, self.transcript, self.models)

    def compose(self) -> ComposeResult:
        """The columns between what is said above and below them."""
        yield self.header
        yield self.columns
        yield self.status
        yield self.footer

    def on_mount(self) -> None:
        """Show what is possible while the store is not open yet."""
        self.refresh_state()

    def owner_of(self, action: str) -> DOMNode:
        """What belongs to the prompt is done there."""
        return self.prompt if where_is(action) == "prompt" else super().owner_of(action)

    @on(Composer.QueueChanged)
    @on(ConversationView.Changed)
    @on(ModelNotice.Changed)
    @on(Sidebar.Changed)
    def refresh_state(self) -> None:
        """Draw what depends on what is possible now."""
        conversation = self.state.chat.conversation if self.state.chat else None
        self.header.answers = self.state.answers
        self.header.title = conversation.title if conversation else ""
        self.sidebar.current_id = conversation.id if conversation else None
        self.state.has_queue = bool(self.queue.waiting)
        self.state.has_deleted = self.sidebar.has_deleted
        self.prompt.placeholder = hints.placeholder(self.state, self.keymap)
        self.footer.possible = possible_in_footer(self.state)
        self.suggestions.is_shown = self.state.can_suggest and self.app.size.height >= HIGH
        if self.suggestions.has_focus and not self.suggestions.is_shown:
            self.prompt.focus()

    async def begin(self, chat: Chat, *, continue_latest: bool) -> None:
        """The store is open: show what there is, the latest conversation where it is asked for.

        Raises:
            StoreError: the conversations cannot be read.
        """
        self.chat = self.sidebar.chat = chat
        self.memory = Memory(chat.store)
        left = await self.memory.recall()
        self.prompt.asked = PromptHistory(await chat.prompt_history())
        if continue_latest:
            await chat.open_latest()
        self.sidebar.is_wanted = left.list_wanted
        self.composer.restore(left.draft, left.waiting)
        self.state.chat = chat
        self.show_conversation()
        self.begin_next()

    @on(Composer.Settled)
    async def save_draft(self) -> None:
        """Keep what is typed and what waits, for the next start."""
        if self.state.is_open:
            await self.memory.keep_draft(self.prompt.text, self.queue.waiting)

    @on(Prompt.Submitted)
    def submit(self, event: Prompt.Submitted) -> None:
        """The user wants it sent."""
        self.outbox.submit(event.text)

    @on(Suggestions.Asked)
    def ask_suggested(self, event: Suggestions.Asked) -> None:
        """A suggested question was picked; what is typed stays in the prompt."""
        if self.state.can_suggest:
            self.prompt.focus()
            self.outbox.ask(event.text)

    @on(Suggestions.TypedOn)
    def type_on(self, event: Suggestions.TypedOn) -> None:
        """A letter that was typed in the list goes on in the prompt."""
        self.prompt.focus()
        self.prompt.insert(event.text)

    @on(ConversationView.TurnSaved)
    def show_turn_in_list(self) -> None:
        """The newest conversation stands first, with the title that its first question gave it."""
        self.refresh_state()
        self.sidebar.reload()

    @on(ConversationView.ReplyEnded)
    @on(ModelNotice.LoadEnded)
    def begin_next(self) -> None:
        """The engine is free."""
        self.refresh_state()
        self.sidebar.reload()
        self.outbox.go_on()

    async def finish(self) -> None:
        """chatterm is about to close: stop the reply, and keep what is typed."""
        self.state.closing = True
        self.sidebar.chat = None
        await self.save_draft()
        for node in (self, self.transcript, self.models):
            self.workers.cancel_node(node)
        async with self._engine_free:  # until both have let go of it
            return

    def action_stop(self) -> None:
        """Stop what runs; what waits in the queue is held."""
        if self.state.replying and not self.state.stopping:
            self.composer.hold()
            self.transcript.stop()
        elif self.state.loading_model and not self.state.replying:
            self.models.cancel()

    def action_resume(self) -> None:
        """Go on with a reply that was cut."""
        self.transcript.answer(self.chat.resume())

    def action_regenerate(self) -> None:
        """Answer the last question again."""
        self.transcript.regenerate()

    def action_previous_reply(self) -> None:
        """The answer before this one to the same question."""
        self.transcript.flip(-1)

    def action_next_reply(self) -> None:
        """The answer after this one to the same question."""
        self.transcript.flip(1)

    def action_unqueue(self) -> None:
        """Take the last queued message back into the prompt."""
        self.composer.take_back()

    def action_toggle_reasoning(self) -> None:
        """Fold or unfold what the model thought last."""
        self.transcript.toggle_last_reasoning()

    def action_copy_reply(self) -> None:
        """Copy the last reply."""
        self.transcript.copy_last_reply()

    def action_reload_model(self) -> None:
        """Load the model again."""
        self.models.load_again()

    @on(ConversationView.Failed)
    @on(ModelNotice.Failed)
    @on(Sidebar.Failed)
    def _show_failure(self, event: ConversationView.Failed | ModelNotice.Failed | Sidebar.Failed) -> None:
        self.show_error(event.error)

    def show_error(self, error: ChattermError) -> None:
        """Say what went wrong; what can be answered here stays until it is."""
        if isinstance(error, EngineError) and self.chat.model is None:
            self.models.show_loss(error)
        else:
            self.notify(str(error), title=error.title, severity="error", timeout=12, markup=False)

    def show_conversation(self) -> None:
        """Draw the conversation that is open now."""
        self.transcript.show_open()
        self.models.show_model()
        self.sidebar.is_over = False
        if self.state.turns and self.state.turns[-1].state is TurnState.INTERRUPTED:
            self.notify(**hints.interrupted_notice(self.keymap))
        self.refresh_state()

    @on(Sidebar.Opened)
    def _open(self, event: Sidebar.Opened) -> None:
        self.open_conversation(event.conversation_id)
        self.prompt.focus()

    @work(exclusive=True, group="conversation")
    async def open_conversation(self, conversation_id: int) -> None:
        """Show another conversation; a reply that runs goes on behind it, what waits is held."""
        self.composer.hold()
        try:
            await self.chat.open(conversation_id)
        except StoreError as error:
            self.show_error(error)
            self.sidebar.reload()
            return
        self.show_conversation()
        wanted = self.chat.own_model
        if wanted and (self.chat.model is None or self.chat.model.address != wanted):
            self.post_message(self.ModelWanted(wanted))

    @work(exclusive=True, group="glass")
    async def action_glass(self) -> None:
        """Open the glass box beside the conversation, go there, or close it."""
        await self.columns.visit_glass()

    @work(exclusive=True, group="glass")
    async def action_tour(self) -> None:
        """Walk through what happens from a text to the next one, in the glass box; the tutor is asked something first."""
        await self.columns.begin_tour()
        if self.state.can_suggest:
            self.outbox.ask(tutor.QUESTIONS[1])

    def on_by_hand_answer_wanted(self, event: ByHand.AnswerWanted) -> None:
        """Go on with the answer from given tokens; what waits in the queue is held meanwhile."""
        self.composer.hold()
        self.transcript.begin_with(event.wish)

    def on_by_hand_pause_wanted(self) -> None:
        """Let the reply wait."""
        self.action_stop()

    def action_temperatures(self) -> None:
        """The last question at several temperatures; one may become another answer."""
        if self.state.can_regenerate:
            self.composer.hold()
            self.transcript.compare_temperatures()
        else:
            self.notify("Ask something first, and let the answer end.", title="Nothing to compare yet")

    async def on_shaper_kept(self, event: Shaper.Kept) -> None:
        """Go on with settings that were tried, in this conversation or everywhere."""
        given_up = {section: dict.fromkeys(values) for section, values in event.changes.items()}
        try:
            await self.chat.override(given_up if event.is_default else event.changes)
        except ChattermError as error:
            self.show_error(error)
        else:
            if event.is_default:
                self.post_message(self.DefaultsWanted(event.changes))
                return
            self.models.show_model()
            self.notify("They count in this conversation from the next answer on.", title="Settings kept", timeout=4)
        self.columns.show_settings()

    def action_new_chat(self) -> None:
        """Begin a new conversation."""
        self.composer.hold()
        self.chat.new()
        self.show_conversation()
        self.prompt.focus()

    def action_rename(self) -> None:
        """Rename the open conversation."""
        assert self.chat.conversation is not None
        self.sidebar.ask_for_title(self.chat.conversation)

    def action_delete(self) -> None:
        """Delete the open conversation."""
        assert self.chat.conversation is not None
        self.sidebar.delete(self.chat.conversation)

    @on(Sidebar.Deleted)
    def leave_deleted(self, event: Sidebar.Deleted) -> None:
        """Stop what is written there; a new chat takes the place of the open one."""
        if self.chat.is_written_in(event.conversation.id):
            self.action_stop()
        if event.was_open:
            self.show_conversation()
        self.refresh_state()

    def action_undo_delete(self) -> None:
        """Bring back the conversation that was deleted last."""
        self.sidebar.undo_delete()

    @on(Sidebar.Restored)
    def return_to_restored(self, event: Sidebar.Restored) -> None:
        """Open it again, if it was open."""
        if event.was_open:
            self.open_conversation(event.conversation.id)
        self.refresh_state()

    def action_focus_prompt(self) -> None:
        """Back to writing."""
        self.sidebar.is_over = False
        self.prompt.focus()

    def action_read(self) -> None:
        """To the conversation or the suggestions in its place, and back to writing."""
        there = self.suggestions if self.suggestions.is_shown else self.transcript
        self.set_focus(self.prompt if there.has_focus else there)  # at once: the next key may be here already

    def action_toggle_sidebar(self) -> None:
        """Show or hide the list of conversations."""
        self.sidebar.toggle()
        if self.state.is_open:
            self.run_worker(self.memory.keep_list_wanted(self.sidebar.is_wanted), group="remember")
        if self.sidebar.display:
            self.sidebar.focus_list()
        else:
            self.prompt.focus()

    def on_key(self, event: events.Key) -> None:
        """What is typed before anything has the focus belongs to the prompt."""
        if self.focused is None and event.is_printable and event.character and not event.key.startswith("alt+"):
            self.prompt.insert(event.character)

    def on_resize(self) -> None:
        """The list has a place of its own where there is room; the prompt takes no more than its share."""
        self.composer.fit(self.app.size.height)
        self.columns.fit()
        self.refresh_state()

    def action_dismiss_banner(self) -> None:
        """Take down the notice."""
        self.models.clear()
