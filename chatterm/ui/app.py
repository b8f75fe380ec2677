"""The app: themes, keys, settings, clipboard, the start and the end. What is on the screen, screens know.

It opens on outlines of the chat screen at once, so it imports little by itself; the chat screen, the
store, the list of conversations and the model follow behind the first paint, in that order.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, work
from textual.app import App
from textual.binding import BindingType
from textual.command import Provider
from textual.screen import Screen

from chatterm import paths, settings
from chatterm.errors import ChattermError, SettingsError, StoreError
from chatterm.settings import Settings
from chatterm.text import line, plain
from chatterm.ui import ending, themes
from chatterm.ui.background import Asked
from chatterm.ui.commands import COMMANDS, Palette, bindings, checked_keymap, is_possible
from chatterm.ui.looks import Looks
from chatterm.ui.screens.opening import OpeningScreen

if TYPE_CHECKING:
    from textual.notifications import SeverityLevel

    from chatterm.chat import Chat
    from chatterm.downloads import Downloads
    from chatterm.engine.base import Engine
    from chatterm.library import Library
    from chatterm.store import Store
    from chatterm.ui.form import SettingsResult
    from chatterm.ui.screens.chat import ChatScreen
    from chatterm.ui.screens.models.desk import Desk

SECONDS_TO_CLOSE = 3.0
"""How long each step of quitting may take, whatever hangs."""
SECONDS_BETWEEN_THEME_LOOKS = 2.0


class ChatApp(App[None]):
    """chatterm in a terminal."""

    TITLE = "chatterm"
    CSS_PATH = "app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("app")
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = set()  # screens bring ours
    ENABLE_COMMAND_PALETTE = True

    def __init__(
        self,
        open_store: Callable[[], Awaitable[Store]],
        make_engine: Callable[[], Engine],
        make_library: Callable[[], Library],
        chosen: Settings | None = None,
        *,
        problem: SettingsError | None = None,
        model: str = "",
        continue_latest: bool = False,
        terminal: Asked | None = None,
        make_downloads: Callable[[], Downloads] | None = None,
    ) -> None:
        """An app that is not open yet.

        Args:
            open_store: Opens the conversations; called after the first paint, again when it failed.
            make_engine: Gives what runs models; called after the first paint.
            make_library: Gives the models of this machine; called after the first paint.
            chosen: The user's settings; the defaults where the file cannot be used.
            problem: Why it cannot.
            model: A file or a part of a model's name that was asked for on the command line.
            continue_latest: Whether the latest conversation is opened, instead of a new one.
            terminal: What it said of itself, where it was asked.
            make_downloads: Gives the queue; by default the one that all chatterms of this user share.
        """
        super().__init__()
        self.settings = chosen or Settings()
        self._make_library = make_library
        self.keymap, self._key_problems = checked_keymap(self.settings.keys)
        self._open_store = open_store
        self._make_engine = make_engine
        self._problem = problem
        self._model = model
        self._continue_latest = continue_latest
        self.terminal = terminal or Asked()
        self.looks = Looks(self, self.terminal.is_dark)
        self._engine: Engine | None = None
        self._chat: Chat | None = None
        self._chat_screen: ChatScreen | None = None
        self._make_downloads = make_downloads
        self._desk: Desk | None = None
        self._is_closing = False
        """Whether what is open is being closed: nothing new is begun."""
        self._lost = ""
        """What could not be kept, said when the screen is gone."""
        gc.disable()  # until all is there: collections in between only look at what stays
        self.set_keymap(self.keymap)
        self.looks.register_first(self.settings.look.theme)
        self.looks.wear(self.settings.look.theme)

    def get_default_screen(self) -> Screen[None]:
        """What is painted first."""
        return OpeningScreen(self.terminal.typed)

    @property
    def chat_screen(self) -> ChatScreen:
        """The screen that is below all others.

        Raises:
            LookupError: it is not there yet.
        """
        if self._chat_screen is None:
            raise LookupError("the first paint comes before the chat screen")
        return self._chat_screen

    def on_mount(self) -> None:
        """Go on behind the first paint."""
        if not self.is_headless:
            self._listen_to_signals()
        self.call_after_refresh(self.open)

    @work(exclusive=True, group="open")
    async def open(self) -> None:
        """Take the place of the outlines by the chat screen, and start."""
        if self._is_closing:
            return
        self._engine = self._make_engine()
        self.warm_up(self._engine)
        await asyncio.sleep(0)  # the worker process starts beside the imports that follow
        from chatterm.ui.screens.chat import ChatScreen  # late: the first paint comes before it
        from chatterm.ui.screens.model_choice import ModelChoice

        opening, screen = self.screen, ChatScreen(self.keymap)
        self.library = self._make_library()
        self.choice = ModelChoice(self, screen, self.library)
        await self.push_screen(screen)
        screen.prompt.focus()
        if isinstance(opening, OpeningScreen) and opening.typed:
            screen.prompt.put(opening.typed)
        self._chat_screen = screen
        self.looks.register_all()
        self.looks.wear(self.settings.look.theme)
        self.start()

    @work(exclusive=True, group="warm up")
    async def warm_up(self, engine: Engine) -> None:
        """Start the engine while the rest is opened; what is wrong with it, the load says."""
        with suppress(ChattermError):
            await engine.start()

    @work(exclusive=True, group="start")
    async def start(self) -> None:
        """Open the store, show the conversations, load the model."""
        if self._is_closing:
            return
        try:
            chat = self._chat = self._chat or await self._join()
            await self.chat_screen.begin(chat, continue_latest=self._continue_latest)
        except StoreError as error:
            self.chat_screen.models.show("store", error.title, str(error), [("Try again", "retry", "")])
            self.chat_screen.status.tell(activity="no conversations", is_wrong=True)
            gc.enable()
            return
        self.chat_screen.models.clear("store")
        self._tell_problems(chat)
        await self.choice.load_first(self._model)
        self.look_for_gpus(chat.engine)
        self.follow_downloads()
        self.set_interval(SECONDS_BETWEEN_THEME_LOOKS, self.looks.look_again)
        gc.freeze()  # what is here now stays; collections look only at what comes
        gc.enable()

    @work(exclusive=True, group="devices")
    async def look_for_gpus(self, engine: Engine) -> None:
        """Learn how much memory GPUs have, which decides what fits; what is wrong with the engine, the load says."""
        with suppress(ChattermError):
            self.library.vram_bytes = (await engine.report()).vram_bytes

    async def _join(self) -> Chat:
        """The store and the engine as one.

        Raises:
            StoreError: the store cannot be opened.
        """
        from chatterm.chat import Chat  # late: not needed for the first paint

        assert self._engine is not None
        return Chat(await self._open_store(), self._engine, self.settings)

    def action_retry(self) -> None:
        """Try again to open the conversations."""
        self.start()

    def _tell_problems(self, chat: Chat) -> None:
        """Say what could not be used at the start, each once."""
        if self._problem is not None:
            self._tell(self._problem)
        for problem in self._key_problems:
            self.notify(problem, title="Key not used", severity="warning", timeout=12, markup=False)
        self.looks.tell_problems()
        if reason := chat.store.read_only_reason:
            self.chat_screen.models.show("store", "Nothing can be saved", reason, [], severity="warning")

    def _tell(self, error: ChattermError) -> None:
        self.notify(str(error), title=error.title, severity="error", timeout=15, markup=False)

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        """Say something in the corner; what a stranger wrote steers no terminal there."""
        super().notify(plain(message), title=line(title), severity=severity, timeout=timeout, markup=markup)

    async def on_event(self, event: events.Event) -> None:
        """Keep what the terminal answers late from being taken for keys."""
        late = self.terminal.late
        if late is None or not late.is_due or event.is_forwarded or not isinstance(event, events.Key):
            await super().on_event(event)
            return
        for key in late.sort(event, event.character or ""):
            await super().on_event(key)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """As the command's row says."""
        if not any(row.where == "app" and row.action == action and row.when for row in COMMANDS):
            return True
        return (self._chat_screen is not None and is_possible(self._chat_screen.state, action)) or None

    def action_command_palette(self) -> None:
        """Search for a command by its name."""
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    @work(exclusive=True, group="settings")
    async def action_choose_model(self) -> None:
        """Ask which model shall answer, and load it; the conversation goes on with it."""
        address = await self.choice.ask()
        if address is not None:
            self.desk.expect_nothing()
            self.chat_screen.models.load(address, is_pick=True)

    @work(exclusive=True, group="settings")
    async def action_ask_another(self) -> None:
        """Ask which model shall answer the last question, too, and let it."""
        address = await self.choice.ask("Answer with another model")
        if address is not None:
            self.chat_screen.outbox.answer_with(address)

    @property
    def desk(self) -> Desk:
        """The models screen and the downloads; made when first asked for."""
        from chatterm.downloads import Downloads  # late: not needed for the first paint
        from chatterm.ui.screens.models.desk import Desk

        if self._desk is None:
            downloads = self._make_downloads() if self._make_downloads is not None else Downloads()
            self._desk = Desk(self, self.chat_screen, self.library, downloads)
        return self._desk

    def action_models(self) -> None:
        """Open the models screen, or close it."""
        self.desk.toggle()

    def action_get_model(self) -> None:
        """Show models to begin with."""
        self.desk.open("recommended")

    def action_downloads(self) -> None:
        """Show what is being downloaded."""
        self.desk.open("downloads")

    @work(exclusive=True, group="downloads")
    async def follow_downloads(self) -> None:
        """Go on with what an earlier run left, and say how far it is, wherever the user is."""
        await self.desk.follow()

    @work(exclusive=True, group="settings")
    async def action_settings(self) -> None:
        """Open the settings, and apply what was changed there."""
        chat = self._chat
        if chat is None or self.screen is not self.chat_screen:
            return
        from chatterm.ui.screens.settings import SettingsScreen  # late: not needed for the first paint

        result = await self.push_screen_wait(
            SettingsScreen(
                self.settings,
                chat.overrides_now,
                self.library.local_models,
                self.looks.names,
                chat.model,
                has_conversation=True,  # a new one keeps its settings until its first question
                automatic_theme=self.looks.automatic,
                remote=self.library.remote_models,
            )
        )
        if result is not None:
            await self.apply(chat, result)

    async def apply(self, chat: Chat, result: SettingsResult) -> None:
        """Take over what was changed, and load the model again where that is needed."""
        load_before = chat.effective.load
        await self._keep(chat, result)
        self.looks.wear(self.settings.look.theme)
        self.chat_screen.models.show_model()
        if result.names_model:
            await self.choice.load_named(chat.effective.chat.model, is_pick=result.scope == "default")
        elif chat.effective.load != load_before and chat.model is not None:
            self.chat_screen.models.load_again()

    async def _keep(self, chat: Chat, result: SettingsResult) -> None:
        """Save what was changed, and say where that cannot be; it counts all the same."""
        try:
            if result.overrides:
                await chat.override(result.overrides)
            if result.defaults:
                await self._save(result.defaults)
        except SettingsError as error:
            with suppress(SettingsError):
                self._use_settings(self.settings.merged(result.defaults))
            self._tell(error)
        except StoreError as error:
            self._tell(error)

    async def _save(self, changes: Mapping[str, Any]) -> None:
        """Write into the settings file; what is there counts from now on.

        Raises:
            SettingsError: it cannot be written.
        """
        self._use_settings(await asyncio.to_thread(settings.save, paths.settings_file(), changes))

    async def on_chat_screen_defaults_wanted(self, event: ChatScreen.DefaultsWanted) -> None:
        """Settings that were tried in the glass box count everywhere from now on."""
        if self._chat is not None:
            from chatterm.ui import form  # late: not needed for the first paint

            await self.apply(self._chat, form.SettingsResult(event.changes, "default"))
            self.chat_screen.columns.show_settings()
            self.notify(
                "They count from the next answer on, in new conversations, too.", title="Settings kept", timeout=4
            )

    async def on_chat_screen_model_wanted(self, event: ChatScreen.ModelWanted) -> None:
        """A conversation brings its own model."""
        await self.choice.load_named(event.name)

    def on_model_notice_load_ended(self) -> None:
        """Another model may answer now, which the models screen says, too."""
        if self._desk is not None:
            self._desk.show_model()

    def _use_settings(self, chosen: Settings) -> None:
        """These settings count from now on."""
        self.settings = self.library.settings = chosen
        if self._chat is not None:
            self._chat.settings = chosen

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Colours of code and of measures, for themes that come without them."""
        return themes.derived(self.current_theme)

    def action_choose_theme(self) -> None:
        """Choose a theme in the palette; it is kept in the settings."""
        self.search_commands(
            [(name, partial(self.choose_theme, name), "dark" if theme.dark else "light")
             for name, theme in self.available_themes.items() if name in self.looks.names],
            placeholder="Search for a theme…",
        )  # fmt: skip

    async def choose_theme(self, name: str) -> None:
        """Look like this from now on, after a restart, too."""
        self.looks.wear(name)
        try:
            await self._save({"look": {"theme": name}})
        except SettingsError as error:
            self._tell(error)

    def action_help(self) -> None:
        """Show all keys."""
        from chatterm.ui.screens.help import HelpScreen  # late: not needed for the first paint

        if self.screen is self._chat_screen:
            self.push_screen(HelpScreen(self.keymap, self.chat_screen.transcript.BINDINGS, str(paths.settings_file())))

    def action_help_quit(self) -> None:
        """ctrl+c with nothing to copy: stop what runs, as in any terminal program."""
        if self.screen is self._chat_screen and self.chat_screen.state.busy:
            self.chat_screen.action_stop()
        else:
            self.notify("ctrl+q closes chatterm, escape stops a reply", timeout=3)

    def copy_to_clipboard(self, text: str) -> None:
        """Copy through the terminal (also over SSH) and with the system's own tool, where there is one."""
        from chatterm.ui.clipboard import copy_natively  # late: not needed for the first paint

        super().copy_to_clipboard(text)
        self.run_worker(copy_natively(text), group="clipboard", exclusive=True)

    async def action_quit(self) -> None:
        """Stop what runs, keep what arrived, close everything, within a few seconds."""
        await self._close()
        self.exit(message=self._lost or None)

    def _listen_to_signals(self) -> None:
        """End in good order also when the system, or the loss of the terminal, says so."""
        reactions = {"SIGTERM": self.action_quit, "SIGHUP": self._hang_up}
        soon = {name: partial(self.call_later, react) for name, react in reactions.items()}
        ending.end_on(soon, 4 * SECONDS_TO_CLOSE)

    async def _hang_up(self) -> None:
        """The terminal is gone: keep what arrived, and end without drawing, since a write would wait for ever."""
        with self.batch_update():
            await self._close()
        os._exit(128 + signal.SIGHUP)

    async def on_unmount(self) -> None:
        """However the app ends, nothing that arrived is lost."""
        await self._close()

    async def _close(self) -> None:
        """Stop the reply, keep the draft, end the engine and the store; once, whatever hangs."""
        gc.enable()
        self._is_closing = True
        for group in ("open", "start"):
            self.workers.cancel_group(self, group)  # it would go on with what is closed here
        chat, self._chat = self._chat, None
        engine, self._engine = self._engine, None
        desk, self._desk = self._desk, None
        steps: list[Callable[[], Awaitable[None]]] = []
        if chat is not None:
            steps += [self.chat_screen.finish, partial(self._save_rest, chat)]
        if desk is not None:
            self.workers.cancel_group(self, "downloads")
            steps.append(desk.close)
        if engine is not None:
            self.workers.cancel_group(self, "warm up")
            steps.append(engine.close)
        if chat is not None:
            steps.append(chat.store.close)
        await ending.close_all(steps, SECONDS_TO_CLOSE)

    async def _save_rest(self, chat: Chat) -> None:
        """Try once more to save what is only in memory."""
        if not chat.is_saved:
            self._lost = "The last messages could not be saved."
            await chat.save()
            self._lost = ""
