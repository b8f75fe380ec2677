"""The chat screen: conversations on the left, the open one in the middle, the prompt below.

It joins the widgets with `Chat`: what is typed goes there, what happens comes back as events. How a
turn is saved, what the model gets to read and where models lie, it does not know.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.command import Provider
from textual.containers import Horizontal, Vertical
from textual.dom import DOMNode
from textual.message import Message
from textual.screen import Screen
from textual.worker import Worker, get_current_worker

from chatterm.chat import Chat, ChatEvent, TurnAdded
from chatterm.conversation import Role, TurnState
from chatterm.errors import ChattermError, EngineError, LoadCancelled, StoreError
from chatterm.events import Loaded, Trimmed
from chatterm.ui.commands import CommandSearch, bindings, is_possible, possible_in_footer, where_is
from chatterm.ui.messages import RunCommand
from chatterm.ui.screens import hints
from chatterm.ui.screens.dialogs import RenameDialog
from chatterm.ui.screens.live import LiveReply
from chatterm.ui.screens.memory import Memory
from chatterm.ui.screens.model_sign import ModelSign
from chatterm.ui.screens.opening import WIDE
from chatterm.ui.screens.state import State
from chatterm.ui.widgets.banner import Banner
from chatterm.ui.widgets.composer import Composer
from chatterm.ui.widgets.footer import Footer
from chatterm.ui.widgets.header import Header
from chatterm.ui.widgets.prompt import Prompt, PromptHistory
from chatterm.ui.widgets.sidebar import Sidebar
from chatterm.ui.widgets.status import Status
from chatterm.ui.widgets.transcript import Transcript


class ChatScreen(Screen[None]):
    """One conversation, and the way to all others."""

    CSS_PATH = "chat.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("chat")
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {CommandSearch}
    AUTO_FOCUS = "#prompt"

    class ModelWanted(Message):
        """The conversation that was opened has a model of its own."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    chat: Chat
    memory: Memory
    """Both are set by `begin`; nothing asks for them before `state.is_open`."""

    def __init__(self, keymap: dict[str, str]) -> None:
        super().__init__()
        self.state = State()
        self.keymap = keymap
        self.live: LiveReply | None = None
        self.loader: Worker[None] | None = None
        """What loads a model now, or did last."""
        self.header = Header()
        self.sidebar = Sidebar(id="sidebar")
        self.transcript = Transcript(id="transcript")
        self.banner = Banner()
        self.composer = Composer(keymap)
        self.queue, self.prompt = self.composer.queue, self.composer.prompt
        self.status = Status()
        self.footer = Footer(keymap)
        self.sign = ModelSign(self.status, self.banner, self.transcript, keymap)
        self._engine_free = asyncio.Lock()

    def compose(self) -> ComposeResult:
        """The list beside a column of everything else."""
        yield self.header
        with Horizontal():
            yield self.sidebar
            with Vertical(id="middle"):
                yield self.transcript
                yield self.banner
                yield self.composer
        yield self.status
        yield self.footer

    def on_mount(self) -> None:
        """Show what is possible while the store is not open yet."""
        self.refresh_state()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """As the command's row says."""
        return True if is_possible(self.state, action) else None

    @on(Composer.QueueChanged)
    @on(Sidebar.Changed)
    def refresh_state(self) -> None:
        """Draw what depends on what is possible now."""
        conversation = self.state.chat.conversation if self.state.chat else None
        self.header.title = conversation.title if conversation else ""
        self.sidebar.current_id = conversation.id if conversation else None
        self.state.has_queue = bool(self.queue.waiting)
        self.state.has_deleted = self.sidebar.has_deleted
        self.prompt.placeholder = hints.placeholder(self.state, self.keymap)
        self.footer.possible = possible_in_footer(self.state)

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
        self.sidebar.reload()
        self.go_on()

    @on(Composer.Settled)
    async def save_draft(self) -> None:
        """Keep what is typed and what waits, for the next start."""
        if self.state.is_open:
            await self.memory.keep_draft(self.prompt.text, self.queue.waiting)

    @on(Prompt.Submitted)
    def submit(self, event: Prompt.Submitted) -> None:
        """Send it, or let it wait for the reply or the model that is on its way."""
        text = event.text.strip()
        if not text:
            self.send_next()
        elif self.state.busy or not self.state.is_open:
            self.composer.enqueue()
        elif self.chat.model is None:
            self.notify("What you typed stays in the prompt.", title="Choose a model first", severity="warning")
            self.post_message(RunCommand("choose_model"))
        else:
            self.prompt.take()
            self.answer(self.chat.reply(text))

    def go_on(self) -> None:
        """Send what waits, unless it waits for the user."""
        if not self.queue.held and not self.state.closing:
            self.send_next()

    def send_next(self) -> None:
        """Send the message that has waited longest."""
        if self.queue.waiting and self.state.can_send:
            self.answer(self.chat.reply(self.composer.next()))

    @work(exclusive=True, group="reply")
    async def answer(self, reply: AsyncGenerator[ChatEvent, None]) -> None:
        """Show a reply while it arrives; it goes on while another conversation is looked at."""
        self.live = live = LiveReply(self.chat, self.transcript, self.status)
        self.state.replying = True
        self.header.answers = (0, 0)
        self.refresh_state()
        self.status.tell(activity="asking", is_busy=True, is_wrong=False, tokens_per_second=0.0)
        try:
            async with self._engine_free, aclosing(reply) as happenings:  # closed, so what arrived is saved
                async for event in happenings:
                    live.take(event)
                    match event:
                        case TurnAdded():
                            self.refresh_state()
                            self.sidebar.reload()
                        case Trimmed():
                            self.notify(**hints.trimmed_notice(len(event.dropped)))
        except ChattermError as error:
            self.show_error(error)
        finally:
            self.end_reply(live)

    def end_reply(self, live: LiveReply) -> None:
        """The reply is over, well or not: settle what is shown, and go on with what waits."""
        self.state.replying, self.state.stopping, self.live = False, False, None
        last = self.state.turns[-1] if self.state.turns else None
        if last is not None and live.turn is not None and last.id == live.turn.id:
            live.settle(last)
        if last is not None and last.state is TurnState.STOPPED:
            self.status.tell(activity="stopped")
        if self.state.closing:
            return
        self.follow_ids()
        self.status.tell(is_busy=self.state.busy)
        self.refresh_state()
        self.count_answers()
        self.sidebar.reload()
        self.call_later(self.go_on)

    def follow_ids(self) -> None:
        """Show turns under the ids that they have now: they change when what could not be saved is saved after all."""
        if [turn.id for turn in self.transcript.turns] != [turn.id for turn in self.state.turns]:
            top, follows = self.transcript.scroll_y, self.transcript.following
            self.transcript.show(self.state.turns)
            if not follows:
                self.transcript.scroll_to(y=top, animate=False)
        self.transcript.unseen = self.chat.unseen

    async def finish(self) -> None:
        """chatterm is about to close: stop the reply, and keep what is typed."""
        self.state.closing = True
        self.sidebar.chat = None
        await self.save_draft()
        for group in ("conversation", "answers", "load", "reply"):
            self.workers.cancel_group(self, group)
        async with self._engine_free:  # until both have let go of it
            return

    def action_stop(self) -> None:
        """Stop what runs; what waits in the queue is held."""
        if self.state.replying and not self.state.stopping:
            self.state.stopping = True
            self.composer.hold()
            self.status.tell(activity="stopping")
            self.workers.cancel_group(self, "reply")
        elif self.state.loading_model and not self.state.replying:
            self.workers.cancel_group(self, "load")

    def action_resume(self) -> None:
        """Go on with a reply that was cut."""
        self.answer(self.chat.resume())

    def action_regenerate(self) -> None:
        """Answer the last question again."""
        questions = [place for place, turn in enumerate(self.state.turns) if turn.role is Role.USER]
        self.transcript.show(self.state.turns[: questions[-1] + 1])
        self.answer(self.chat.regenerate())

    def action_previous_reply(self) -> None:
        """The answer before this one to the same question."""
        self.flip(-1)

    def action_next_reply(self) -> None:
        """The answer after this one to the same question."""
        self.flip(1)

    @work(exclusive=True, group="conversation")
    async def flip(self, step: int) -> None:
        """Show another answer to the last question."""
        try:
            await self.chat.flip(step)
        except StoreError as error:
            self.show_error(error)
        else:
            self.show_conversation()

    @work(exclusive=True, group="answers")
    async def count_answers(self) -> None:
        """Find out how many answers the last question has, and which one is shown."""
        place, n = 0, 0
        with suppress(StoreError):
            place, n = await self.chat.answers()
        self.state.n_answers, self.header.answers = n, (place, n)
        self.refresh_state()

    def action_unqueue(self) -> None:
        """Take the last queued message back into the prompt."""
        self.composer.take_back()

    def action_toggle_reasoning(self) -> None:
        """Fold or unfold what the model thought last."""
        replies = [i for i, turn in enumerate(self.state.turns) if turn.role is Role.ASSISTANT]
        if self.transcript.cursor is None:
            self.transcript.cursor = replies[-1]
        self.transcript.action_toggle_reasoning()

    def action_copy_reply(self) -> None:
        """Copy the last reply."""
        self.copy([turn.text for turn in self.state.turns if turn.role is Role.ASSISTANT][-1])

    @on(Transcript.CopyRequested)
    def _copy(self, event: Transcript.CopyRequested) -> None:
        self.copy(event.text)

    def copy(self, text: str) -> None:
        """Copy, and say so."""
        self.app.copy_to_clipboard(text)
        self.notify(f"Copied {len(text):,} characters", timeout=2)

    @on(Transcript.LinkClicked)
    def _open_link(self, event: Transcript.LinkClicked) -> None:
        self.app.open_url(event.url)

    @work(exclusive=True, group="load")
    async def load_model(self, path: Path, *, is_pick: bool = False) -> None:
        """Load a model with progress, after the reply that runs; the conversation stays readable.

        Args:
            path: The file.
            is_pick: Whether the user chose it for all that comes, so that the next start begins with it.
        """
        self.loader = loader = get_current_worker()
        self.state.model_path, self.state.loading_model = path, True
        if self.state.replying:
            self.sign.queued(path)
            self.notify(**hints.queued_model_notice(path.stem, self.keymap))
        self.refresh_state()
        try:
            async with self._engine_free, aclosing(self.chat.load(path)) as happenings:
                self.sign.loading(path)
                async for event in happenings:
                    self.sign.progress(event)
                    if isinstance(event, Loaded) and event.notes:
                        self.notify("\n".join(event.notes), title=event.model.name, markup=False)
            if is_pick:
                await self.memory.keep_last_model(path)
        except (LoadCancelled, asyncio.CancelledError):
            if self.loader is loader:
                self.sign.stopped()
        except ChattermError as error:
            self.show_error(error)
        finally:
            if self.loader is loader and not self.state.closing:  # else another one is being loaded instead
                self.state.loading_model = False
                self.show_model()
                self.call_later(self.go_on)

    def show_model(self) -> None:
        """Say which model answers now."""
        self.sign.show(self.chat, is_busy=self.state.busy)
        self.refresh_state()

    def action_reload_model(self) -> None:
        """Load the model again."""
        assert self.state.model_path is not None
        self.load_model(self.state.model_path)

    def show_error(self, error: ChattermError) -> None:
        """Say what went wrong; what can be answered here stays until it is."""
        if isinstance(error, EngineError) and self.chat.model is None:
            self.sign.lost(error, can_reload=self.state.model_path is not None)
        else:
            self.notify(str(error), title=error.title, severity="error", timeout=12, markup=False)

    def show_conversation(self) -> None:
        """Draw the conversation that is open now."""
        turns = self.state.turns
        self.transcript.show(turns)
        if self.live is not None:
            self.live.leave()
            self.live.show()
        self.transcript.unseen = self.chat.unseen
        self.sidebar.is_over = False
        if turns and turns[-1].state is TurnState.INTERRUPTED:
            self.notify(**hints.interrupted_notice(self.keymap))
        if not self.state.replying:
            record = turns[-1].record if turns else None
            self.status.tell(n_used=record.n_prompt + record.n_generated if record else 0)
        self.state.n_answers, self.header.answers = 0, (0, 0)
        self.show_model()
        self.count_answers()

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
        if wanted and (self.chat.model is None or self.chat.model.path != wanted):
            self.post_message(self.ModelWanted(wanted))

    def action_new_chat(self) -> None:
        """Begin a new conversation."""
        self.composer.hold()
        self.chat.new()
        self.show_conversation()
        self.prompt.focus()

    def action_rename(self) -> None:
        """Rename the open conversation."""
        assert self.chat.conversation is not None
        self.post_message(Sidebar.RenameRequested(self.chat.conversation))

    @on(Sidebar.RenameRequested)
    def ask_for_title(self, event: Sidebar.RenameRequested) -> None:
        """Ask for the new title."""

        def rename(title: str | None) -> None:
            if title is not None:
                self.sidebar.rename(event.conversation, title)

        self.app.push_screen(RenameDialog(event.conversation.title), rename)

    def action_delete(self) -> None:
        """Delete the open conversation."""
        assert self.chat.conversation is not None
        self.sidebar.delete(self.chat.conversation)

    @on(Sidebar.Deleted)
    def offer_undo(self, event: Sidebar.Deleted) -> None:
        """Say how it can be brought back; a new chat takes the place of the open one."""
        if self.live is not None and self.live.turn and self.live.turn.conversation_id == event.conversation.id:
            self.action_stop()
        if event.was_open:
            self.show_conversation()
        self.refresh_state()
        self.notify(**hints.deleted_notice(event.conversation.title, self.keymap))

    def action_undo_delete(self) -> None:
        """Bring back the conversation that was deleted last."""
        self.sidebar.undo_delete()

    @on(Sidebar.Restored)
    def show_restored(self, event: Sidebar.Restored) -> None:
        """Open it again, if it was open."""
        self.notify(f"“{event.conversation.title}” is back", timeout=3, markup=False)
        if event.was_open:
            self.open_conversation(event.conversation.id)
        self.refresh_state()

    @on(Sidebar.Failed)
    def _show_failure(self, event: Sidebar.Failed) -> None:
        self.show_error(event.error)

    def action_focus_prompt(self) -> None:
        """Back to writing."""
        self.sidebar.is_over = False
        self.prompt.focus()

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
        if self.focused is None and event.is_printable and event.character:
            self.prompt.insert(event.character)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """A list that lies over the conversation goes when it is left."""
        if self.sidebar not in event.widget.ancestors:
            self.sidebar.is_over = False

    def on_resize(self) -> None:
        """The list has a place of its own where there is room."""
        self.sidebar.is_narrow = self.app.size.width < WIDE

    @on(RunCommand)
    async def run_command(self, event: RunCommand) -> None:
        """Something that stands for a command was clicked."""
        event.stop()
        owners: dict[str, DOMNode] = {"app": self.app, "prompt": self.prompt}
        await self.app.run_action(event.action, owners.get(where_is(event.action), self))

    def action_dismiss_banner(self) -> None:
        """Take down the notice."""
        self.banner.clear()
