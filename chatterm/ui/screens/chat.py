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
from textual.markup import escape
from textual.message import Message
from textual.reactive import var
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import TextArea
from textual.worker import Worker, get_current_worker

from chatterm.chat import Chat, ChatEvent, TurnAdded, TurnRenumbered, TurnSettled
from chatterm.conversation import Role, TurnState
from chatterm.errors import ChattermError, EngineError, LoadCancelled, StoreError
from chatterm.events import Finished, Loaded, Prefilling, Prompted, Token, Trimmed
from chatterm.ui.commands import COMMANDS, CommandSearch, bindings, is_possible, key_of
from chatterm.ui.messages import RunCommand
from chatterm.ui.screens.dialogs import RenameDialog
from chatterm.ui.screens.hints import hello_hint, no_model_hint
from chatterm.ui.screens.live import LiveReply, measures_of
from chatterm.ui.screens.opening import WIDE
from chatterm.ui.screens.state import State
from chatterm.ui.widgets.banner import Banner
from chatterm.ui.widgets.footer import Footer
from chatterm.ui.widgets.header import Header
from chatterm.ui.widgets.prompt import Prompt, PromptHistory
from chatterm.ui.widgets.queue import Queue
from chatterm.ui.widgets.sidebar import Sidebar
from chatterm.ui.widgets.status import Status, activity_of
from chatterm.ui.widgets.transcript import Transcript

SECONDS_TO_SAVE_DRAFT = 1.0
DRAFT, QUEUE, LIST_WANTED = "draft", "queue", "list wanted"
"""What the screen remembers by itself, by its name in the store."""


class ChatScreen(Screen[None]):
    """One conversation, and the way to all others."""

    CSS_PATH = "chat.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("chat")
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {CommandSearch}
    AUTO_FOCUS = "#prompt"
    LAST_MODEL = "last model"
    """Under which name the store remembers the model that was loaded last."""

    list_wanted = var(True)
    """Whether the list is shown where it has a place of its own; kept over restarts."""
    list_over = var(False)
    """Whether the list lies over the conversation, where it has no place of its own."""

    class ModelWanted(Message):
        """The conversation that was opened has a model of its own."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    chat: Chat
    """Set by `begin`; nothing asks for it before `is_open`."""

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
        self.queue = Queue()
        self.prompt = Prompt(keymap, id="prompt")
        self.status = Status()
        self.footer = Footer(keymap)
        self._engine_free = asyncio.Lock()
        self._draft_timer: Timer | None = None

    def compose(self) -> ComposeResult:
        """The list beside a column of everything else."""
        yield self.header
        with Horizontal():
            yield self.sidebar
            with Vertical(id="middle"):
                yield self.transcript
                yield self.banner
                yield self.queue
                yield self.prompt
        yield self.status
        yield self.footer

    def on_mount(self) -> None:
        """Show what is possible while the store is not open yet."""
        self.refresh_state()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """As the command's row says."""
        return True if is_possible(self.state, action) else None

    def refresh_state(self) -> None:
        """Draw what depends on what is possible now."""
        conversation = self.state.chat.conversation if self.state.chat else None
        self.header.title = conversation.title if conversation else ""
        self.sidebar.current_id = conversation.id if conversation else None
        self.state.has_queue = self.prompt.can_recall = bool(self.queue.waiting)
        self.state.has_deleted = self.sidebar.has_deleted
        self.prompt.placeholder = self._placeholder()
        self.footer.possible = frozenset(
            row.action for row in COMMANDS if row.where != "sidebar" and is_possible(self.state, row.action)
        )

    def _placeholder(self) -> str:
        """What can be done in the empty prompt."""
        if self.state.busy:
            return f"Type on; {key_of('send', self.keymap)} puts it in the queue"
        if self.state.is_open and not self.state.has_model:
            return f"Choose a model first: {key_of('choose_model', self.keymap)}"
        return "Ask something"

    async def begin(self, chat: Chat, *, continue_latest: bool) -> None:
        """The store is open: show what there is, the latest conversation where it is asked for.

        Raises:
            StoreError: the conversations cannot be read.
        """
        self.chat = self.sidebar.chat = chat
        self.list_wanted = await chat.store.recall(LIST_WANTED) is not False
        self.prompt.asked = PromptHistory(await chat.prompt_history())
        draft, waiting = await chat.store.recall(DRAFT), await chat.store.recall(QUEUE)
        if isinstance(draft, str) and draft and not self.prompt.text:
            self.prompt.put(draft)
        if isinstance(waiting, list) and waiting and not self.queue.waiting:
            self.queue.waiting, self.queue.held = tuple(map(str, waiting)), True
        if continue_latest:
            await chat.open_latest()
        self.state.chat = chat
        self.show_conversation()
        self.sidebar.reload()
        self.go_on()

    async def save_draft(self) -> None:
        """Keep what is typed and what waits, for the next start."""
        if self.state.is_open:
            with suppress(StoreError):  # it is on the screen still, and the next try is near
                await self.remember(DRAFT, self.prompt.text)
                await self.remember(QUEUE, list(self.queue.waiting))

    async def remember(self, key: str, value: object) -> None:
        """Keep something over restarts, where anything can be kept."""
        with suppress(StoreError):
            await self.chat.store.remember(key, value)

    @on(TextArea.Changed, "#prompt")
    def _save_draft_soon(self) -> None:
        if self._draft_timer is not None:
            self._draft_timer.stop()
        self._draft_timer = self.set_timer(SECONDS_TO_SAVE_DRAFT, self.save_draft)

    @on(Prompt.Submitted)
    def submit(self, event: Prompt.Submitted) -> None:
        """Send it, or let it wait for the reply or the model that is on its way."""
        text = event.text.strip()
        if not text:
            self.send_next()
        elif self.state.busy or not self.state.is_open:
            self.queue.add(text)
            self.prompt.take()
            self.refresh_state()
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
        if self.state.has_queue and self.state.is_open and self.state.is_idle and self.chat.model is not None:
            self.queue.held = False
            self.answer(self.chat.reply(self.queue.pop()))

    @work(exclusive=True, group="reply")
    async def answer(self, reply: AsyncGenerator[ChatEvent, None]) -> None:
        """Show a reply while it arrives; it goes on while another conversation is looked at."""
        self.live = live = LiveReply()
        self.state.replying = True
        self.refresh_state()
        self.status.tell(activity="asking", is_busy=True, is_wrong=False, tokens_per_second=0.0)
        try:
            async with self._engine_free, aclosing(reply) as happenings:  # closed, so what arrived is saved
                async for event in happenings:
                    match event:
                        case Token():
                            live.write(event)
                            self.status.tell(activity=activity_of(event), **live.measures)
                        case TurnAdded(turn=turn) if turn.role is Role.ASSISTANT:
                            live.open(self.transcript, turn)
                            self.refresh_state()
                            self.sidebar.reload()
                        case TurnAdded(turn=turn):
                            self.transcript.append(turn)
                        case TurnSettled(turn=turn):
                            live.settle(turn)
                        case TurnRenumbered():
                            live.renumbered = True
                        case Trimmed():
                            self.show_trimmed(event)
                        case Prompted():
                            live.n_prompt = event.n_prompt
                        case Prefilling() | Finished():
                            self.status.tell(activity=activity_of(event), **measures_of(event))
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
            if last.state is TurnState.STOPPED:
                self.status.tell(activity="stopped")
        if self.state.closing:
            return
        if live.renumbered:
            self.transcript.show(self.state.turns)
        self.status.tell(is_busy=False)
        self.refresh_state()
        self.count_siblings()
        self.sidebar.reload()
        self.call_later(self.go_on)

    async def finish(self) -> None:
        """chatterm is about to close: stop the reply, and keep what is typed."""
        self.state.closing = True
        self.sidebar.chat = None
        if self._draft_timer is not None:
            self._draft_timer.stop()
        await self.save_draft()
        for group in ("conversation", "siblings", "load", "reply"):
            self.workers.cancel_group(self, group)
        async with self._engine_free:  # until both have let go of it
            return

    def show_trimmed(self, event: Trimmed) -> None:
        """Say which turns the model will not see, before it answers without them."""
        self.transcript.unseen = self.chat.unseen
        n = len(event.dropped)
        self.notify(
            f"The model no longer sees the first {n} {'turn' if n == 1 else 'turns'}, "
            "which are dimmed in the conversation. All of them stay saved.",
            title="The context window is full",
            severity="warning",
            timeout=8,
        )

    def action_stop(self) -> None:
        """Stop what runs; what waits in the queue is held."""
        if self.state.replying and not self.state.stopping:
            self.state.stopping = True
            self.queue.held = self.state.has_queue
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
            ids = [turn.id for turn in await self.chat.siblings(self.state.turns[-1].id)]
            place = (ids.index(self.state.turns[-1].id) + step) % len(ids)
            await self.chat.switch(ids[place])
        except StoreError as error:
            self.show_error(error)
            return
        self.show_conversation()
        self.notify(f"Answer {place + 1} of {len(ids)}", timeout=2)

    @work(exclusive=True, group="siblings")
    async def count_siblings(self) -> None:
        """Find out how many answers the last question has."""
        last = self.state.turns[-1] if self.state.turns else None
        self.state.n_siblings = 0
        if last is not None and last.role is Role.ASSISTANT and last.id > 0:
            with suppress(StoreError):
                self.state.n_siblings = len(await self.chat.siblings(last.id))
        self.refresh_state()

    @on(Prompt.RecallRequested)
    def action_unqueue(self) -> None:
        """Take the last queued message back into the prompt."""
        self.take_back(len(self.queue.waiting) - 1)

    @on(Queue.TakenBack)
    def _take_back(self, event: Queue.TakenBack) -> None:
        self.take_back(event.index)

    @on(Queue.Removed)
    def _remove(self, event: Queue.Removed) -> None:
        self.queue.pop(event.index)
        self.refresh_state()

    def take_back(self, index: int) -> None:
        """Take one queued message back into the prompt, above what is typed there."""
        text = self.queue.pop(index)
        self.prompt.put(f"{text}\n{self.prompt.text}" if self.prompt.text else text)
        self.prompt.focus()
        self.refresh_state()

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
    async def load_model(self, path: Path) -> None:
        """Load a model with progress, after the reply that runs; the conversation stays readable."""
        self.loader = loader = get_current_worker()
        self.state.model_path = path
        self.state.loading_model = True
        self.banner.clear("model")
        self.refresh_state()
        self.status.tell(model=path.stem, quantization="", activity="waiting", n_used=0, is_busy=True, is_wrong=False)
        try:
            async with self._engine_free, aclosing(self.chat.load(path)) as happenings:
                async for event in happenings:
                    self.status.tell(activity=activity_of(event))
                    if isinstance(event, Loaded) and event.notes:
                        self.notify("\n".join(event.notes), title=event.model.name, markup=False)
            await self.remember(self.LAST_MODEL, str(path))
        except (LoadCancelled, asyncio.CancelledError):
            self.status.tell(activity="loading stopped")
        except ChattermError as error:
            self.show_error(error)
        finally:
            if self.loader is loader and not self.state.closing:  # else another one is being loaded instead
                self.state.loading_model = False
                self.show_model()
                self.call_later(self.go_on)

    def show_model(self) -> None:
        """Say which model answers now."""
        if (model := self.chat.model) is not None:
            self.status.tell(model=model.name, quantization=model.quantization, n_ctx=model.n_ctx)
            self.transcript.empty = hello_hint(model.name, self.keymap)
            self.banner.clear("model")
        else:
            self.status.tell(model="", quantization="", n_ctx=0)
        self.status.tell(temperature=self.chat.effective.sampling.temperature, is_busy=self.state.busy)
        self.refresh_state()

    def action_reload_model(self) -> None:
        """Load the model again."""
        assert self.state.model_path is not None
        self.load_model(self.state.model_path)

    def offer_models(self, names: list[str]) -> None:
        """No model was chosen yet: say in the empty conversation how to come to one."""
        self.transcript.empty = no_model_hint(names, self.keymap)
        self.status.tell(activity="no model")

    def show_error(self, error: ChattermError) -> None:
        """Say what went wrong; what can be answered here stays until it is."""
        if isinstance(error, EngineError) and self.chat.model is None:
            actions = [("Choose another model", "choose_model", "")]
            if self.state.model_path is not None:
                actions.insert(0, ("Start again", "reload_model", key_of("reload_model", self.keymap)))
            self.banner.show("model", error.title, str(error), actions)
            self.status.tell(activity=error.title[0].lower() + error.title[1:], is_wrong=True)
        else:
            self.notify(str(error), title=error.title, severity="error", timeout=12, markup=False)

    def show_conversation(self) -> None:
        """Draw the conversation that is open now."""
        turns = self.state.turns
        self.transcript.show(turns)
        if self.live is not None and self.live.turn is not None:
            self.live.leave()
            if turns and turns[-1].id == self.live.turn.id:
                self.live.open(self.transcript, turns[-1])
        self.transcript.unseen = self.chat.unseen
        self.list_over = False
        if turns and turns[-1].state is TurnState.INTERRUPTED:
            self.notify(
                f"chatterm ended while it was written; {key_of('resume', self.keymap)} goes on with it.",
                title="The last reply was interrupted",
                severity="warning",
                timeout=8,
            )
        record = turns[-1].record if turns else None
        self.status.tell(n_used=record.n_prompt + record.n_generated if record else 0)
        self.show_model()
        self.count_siblings()

    @on(Sidebar.Opened)
    def _open(self, event: Sidebar.Opened) -> None:
        self.open_conversation(event.conversation_id)
        self.prompt.focus()

    @work(exclusive=True, group="conversation")
    async def open_conversation(self, conversation_id: int) -> None:
        """Show another conversation; a reply that runs goes on behind it, what waits is held."""
        self.queue.held = self.state.has_queue
        try:
            await self.chat.open(conversation_id)
        except StoreError as error:
            self.show_error(error)
            self.sidebar.reload()
            return
        self.show_conversation()
        wanted = self.chat.overrides.get("chat", {}).get("model", "")
        if wanted and (self.chat.model is None or self.chat.model.path != wanted):
            self.post_message(self.ModelWanted(wanted))

    def action_new_chat(self) -> None:
        """Begin a new conversation."""
        self.queue.held = self.state.has_queue
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
        """Say how it can be brought back."""
        if self.live is not None and self.live.turn and self.live.turn.conversation_id == event.conversation.id:
            self.action_stop()
        if self.chat.conversation is None and self.transcript.turns:
            self.show_conversation()
        self.refresh_state()
        title = escape(event.conversation.title or "Untitled")
        self.notify("F9 or [@click=screen.undo_delete]click here[/] to undo", title=f"Deleted “{title}”", timeout=10)

    def action_undo_delete(self) -> None:
        """Bring back the conversation that was deleted last."""
        self.sidebar.undo_delete()

    @on(Sidebar.Restored)
    def show_restored(self, event: Sidebar.Restored) -> None:
        """Open it again, unless another one is being looked at."""
        self.notify(f"“{event.conversation.title}” is back", timeout=3, markup=False)
        if not self.state.turns:
            self.open_conversation(event.conversation.id)
        self.refresh_state()

    @on(Sidebar.Changed)
    def _retitle(self) -> None:
        self.refresh_state()

    @on(Sidebar.Failed)
    def _show_failure(self, event: Sidebar.Failed) -> None:
        self.show_error(event.error)

    def action_focus_prompt(self) -> None:
        """Back to writing."""
        self.list_over = False
        self.prompt.focus()

    def action_toggle_sidebar(self) -> None:
        """Show or hide the list of conversations."""
        if self.size.width >= WIDE:
            self.list_wanted = not self.list_wanted
            if self.state.is_open:
                self.run_worker(self.remember(LIST_WANTED, self.list_wanted), group="remember")
        else:
            self.list_over = not self.list_over
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
        if self.list_over and self.sidebar not in event.widget.ancestors:
            self.list_over = False

    def on_resize(self) -> None:
        """The list has a place of its own where there is room."""
        self._place_sidebar()

    def watch_list_wanted(self) -> None:
        """As on_resize."""
        self._place_sidebar()

    def watch_list_over(self) -> None:
        """As on_resize."""
        self._place_sidebar()

    def _place_sidebar(self) -> None:
        is_wide = self.app.size.width >= WIDE
        self.sidebar.display = self.list_wanted if is_wide else self.list_over
        self.sidebar.set_class(not is_wide, "-over")

    @on(RunCommand)
    async def run_command(self, event: RunCommand) -> None:
        """Something that stands for a command was clicked."""
        event.stop()
        places = [row.where for row in COMMANDS if row.action == event.action and row.where != "sidebar"]
        owners: dict[str, DOMNode] = {"app": self.app, "prompt": self.prompt}
        owner = owners.get(places[0], self) if places else self
        await self.app.run_action(event.action, owner)

    def action_dismiss_banner(self) -> None:
        """Take down the notice."""
        self.banner.clear()
