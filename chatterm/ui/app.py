"""The app: themes, keys, settings, clipboard, the start and the end. What is on the screen, screens know.

It opens on outlines of the chat screen at once, so it imports little by itself; the chat screen, the
store, the list of conversations and the model follow behind the first paint, in that order.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import App
from textual.binding import BindingType
from textual.command import Provider
from textual.screen import Screen

from chatterm import paths, settings
from chatterm.errors import ChattermError, ModelNotFound, SettingsError, StoreError, ThemeError
from chatterm.settings import Settings
from chatterm.ui import themes
from chatterm.ui.commands import COMMANDS, bindings, checked_keymap, is_possible
from chatterm.ui.screens.opening import OpeningScreen

if TYPE_CHECKING:
    from chatterm.chat import Chat
    from chatterm.library import Library
    from chatterm.ui.form import SettingsResult
    from chatterm.ui.screens.chat import ChatScreen

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
        open_chat: Callable[[], Awaitable[Chat]],
        make_library: Callable[[], Library],
        chosen: Settings | None = None,
        *,
        problem: SettingsError | None = None,
        model: str = "",
        continue_latest: bool = False,
        is_dark: bool | None = None,
    ) -> None:
        """An app that is not open yet.

        Args:
            open_chat: Opens the store and joins it with the engine; called after the first paint.
            make_library: Gives the models of this machine; called after the first paint.
            chosen: The user's settings; the defaults where the file cannot be used.
            problem: Why it cannot.
            model: A file or a part of a model's name that was asked for on the command line.
            continue_latest: Whether the latest conversation is opened, instead of a new one.
            is_dark: Whether the terminal's background is, where it is known.
        """
        super().__init__()
        self.settings = chosen or Settings()
        self._make_library = make_library
        self.keymap, self._key_problems = checked_keymap(self.settings.keys)
        self._open_chat = open_chat
        self._problem = problem
        self._model = model
        self._continue_latest = continue_latest
        self._is_dark = is_dark
        self._theme_errors: list[str] = []
        self._theme_watch = themes.ThemeWatch()
        self._chat: Chat | None = None
        self._chat_screen: ChatScreen | None = None
        gc.disable()  # until all is there: collections in between only look at what stays
        self.set_keymap(self.keymap)
        self._register_first_theme()
        self.use_theme(self.settings.look.theme)

    def get_default_screen(self) -> Screen[None]:
        """What is painted first."""
        return OpeningScreen()

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
        from chatterm.ui.screens.chat import ChatScreen  # late: the first paint comes before it

        opening, screen = self.screen, ChatScreen(self.keymap)
        self.library = self._make_library()
        await self.push_screen(screen)
        screen.prompt.focus()
        if isinstance(opening, OpeningScreen) and opening.typed:
            screen.prompt.put(opening.typed)
        self._chat_screen = screen
        self._register_themes()
        self.use_theme(self.settings.look.theme)
        self.start()

    @work(exclusive=True, group="start")
    async def start(self) -> None:
        """Open the store, show the conversations, load the model."""
        try:
            self._chat = self._chat or await self._open_chat()
            await self.chat_screen.begin(self._chat, continue_latest=self._continue_latest)
        except StoreError as error:
            self.chat_screen.banner.show("store", error.title, str(error), [("Try again", "retry", "")])
            self.chat_screen.status.tell(activity="no conversations", is_wrong=True)
            gc.enable()
            return
        self.chat_screen.banner.clear("store")
        self._tell_problems(self._chat)
        await self._load_first_model(self._chat)
        self.set_interval(SECONDS_BETWEEN_THEME_LOOKS, self._look_at_themes)
        gc.freeze()  # what is here now stays; collections look only at what comes
        gc.enable()

    def action_retry(self) -> None:
        """Try again to open the conversations."""
        self.start()

    async def _load_first_model(self, chat: Chat) -> None:
        """Load the model that was asked for, is set, answered last, or is the only one."""
        if chat.model is not None:
            self.chat_screen.status.tell(activity="ready")
            return
        last = await chat.store.recall(self.chat_screen.LAST_MODEL)
        try:
            path, names = await asyncio.to_thread(
                _first_model, self.library, self._model or chat.effective.chat.model, last
            )
        except ModelNotFound as error:
            self.chat_screen.offer_models([model.name for model in await asyncio.to_thread(self.library.local_models)])
            self.chat_screen.show_error(error)
            return
        if path is not None:
            self.chat_screen.load_model(path)
        else:
            self.chat_screen.offer_models(names)

    def _tell_problems(self, chat: Chat) -> None:
        """Say what could not be used at the start, each once."""
        if self._problem is not None:
            self._tell(self._problem)
        for problem in self._key_problems:
            self.notify(problem, title="Key not used", severity="warning", timeout=12, markup=False)
        for problem in self._theme_errors:
            self.notify(problem, title="Theme not used", severity="warning", timeout=12, markup=False)
        if reason := chat.store.read_only_reason:
            self.chat_screen.banner.show("store", "Nothing can be saved", reason, [], severity="warning")

    def _tell(self, error: ChattermError) -> None:
        self.notify(str(error), title=error.title, severity="error", timeout=15, markup=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """As the command's row says."""
        if not any(row.where == "app" and row.action == action and row.when for row in COMMANDS):
            return True
        return (self._chat_screen is not None and is_possible(self._chat_screen.state, action)) or None

    @work(exclusive=True, group="settings")
    async def action_choose_model(self) -> None:
        """Ask which model shall answer, and load it; the conversation goes on with it."""
        chat = self._chat
        if chat is None or self.screen is not self.chat_screen:
            return
        from chatterm.ui.screens.model_picker import ModelPicker  # late: not needed for the first paint

        current = chat.model.path if chat.model else ""
        path = await self.push_screen_wait(ModelPicker(self.library.local_models, current))
        if path is not None:
            self.chat_screen.load_model(path)

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
                chat.overrides,
                self.library.local_models,
                self._own_themes,
                chat.model,
                chat.conversation is not None,
                themes.automatic(self._is_dark),
            )
        )
        if result is not None:
            await self.apply(chat, result)

    async def apply(self, chat: Chat, result: SettingsResult) -> None:
        """Take over what was changed, and load the model again where that is needed."""
        before = chat.effective
        try:
            if result.overrides:
                await chat.override(result.overrides)
            if result.defaults:
                self._use_settings(await asyncio.to_thread(settings.save, paths.settings_file(), result.defaults))
        except SettingsError as error:  # the file cannot be written; what was chosen counts all the same
            with suppress(SettingsError):
                self._use_settings(self.settings.merged(result.defaults))
            self._tell(error)
        except StoreError as error:
            self._tell(error)
        now = chat.effective
        self.use_theme(self.settings.look.theme)
        self.chat_screen.show_model()
        if now.chat.model != before.chat.model or (now.load != before.load and chat.model is not None):
            await self._load(now.chat.model)

    async def _load(self, name: str) -> None:
        """Load a model by its name, or the one that is loaded again."""
        try:
            if name:
                self.chat_screen.load_model(await asyncio.to_thread(self.library.find, name))
            elif self.chat_screen.state.model_path is not None:
                self.chat_screen.load_model(self.chat_screen.state.model_path)
        except ModelNotFound as error:
            self._tell(error)

    async def on_chat_screen_model_wanted(self, event: ChatScreen.ModelWanted) -> None:
        """A conversation brings its own model."""
        await self._load(event.name)

    def _use_settings(self, chosen: Settings) -> None:
        """These settings count from now on."""
        self.settings = self.library.settings = chosen
        if self._chat is not None:
            self._chat.settings = chosen

    def _register_first_theme(self) -> None:
        """Make the theme that is needed first known, without a look at the others."""
        name = self.settings.look.theme or themes.automatic(self._is_dark)
        for folder in (paths.user_themes_folder(), paths.shipped_themes_folder()):
            with suppress(ThemeError):  # said when all are read
                self.register_theme(themes.read_theme(folder / f"{name}.toml"))
                return

    def _register_themes(self) -> None:
        """Make the theme files known, and keep what is wrong with the others."""
        found, errors = themes.load_themes()
        self._own_themes = [theme.name for theme in found]
        self._theme_errors = [str(error) for error in errors]
        for theme in found:
            self.register_theme(theme)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Colours of code and of measures, for themes that come without them."""
        return themes.derived(self.current_theme)

    def use_theme(self, name: str) -> None:
        """Look like this; empty is as the terminal's background is."""
        wanted = name or themes.automatic(self._is_dark)
        if wanted in self.available_themes:
            self.theme = wanted
        elif self._chat_screen is not None:  # else it may be known in a moment
            self._theme_errors.append(f"There is no theme “{wanted}”.")
            self.theme = themes.automatic(self._is_dark)

    def _look_at_themes(self) -> None:
        """Take over a theme file that was saved."""
        if not self._theme_watch.changed():
            return
        self._register_themes()
        for problem in self._theme_errors:
            self.notify(problem, title="Theme not used", severity="warning", markup=False)
        self.refresh_css(animate=False)

    def action_choose_theme(self) -> None:
        """Choose a theme in the palette; it is kept in the settings."""
        self.search_commands(
            [(name, partial(self.choose_theme, name), "dark" if theme.dark else "light")
             for name, theme in self.available_themes.items() if name in self._own_themes],
            placeholder="Search for a theme…",
        )  # fmt: skip

    async def choose_theme(self, name: str) -> None:
        """Look like this from now on, after a restart, too."""
        self.use_theme(name)
        try:
            self._use_settings(await asyncio.to_thread(settings.save, paths.settings_file(), {"look": {"theme": name}}))
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
        self.exit()

    def _listen_to_signals(self) -> None:
        """End in good order also when the system, or the loss of the terminal, says so."""
        for name, react in {"SIGTERM": self.action_quit, "SIGHUP": self._hang_up}.items():
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), partial(self._end_soon, asyncio.get_running_loop(), react))

    def _end_soon(self, loop: asyncio.AbstractEventLoop, react: Callable[[], Awaitable[None]], *_: object) -> None:
        """A signal says that it is over; whatever hangs then, the alarm ends the process."""
        signal.setitimer(signal.ITIMER_REAL, 4 * SECONDS_TO_CLOSE)  # its default action needs no thread that still runs
        loop.call_soon_threadsafe(self.call_later, react)

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
        chat, self._chat = self._chat, None
        if chat is None:
            return
        for step in (self.chat_screen.finish, chat.engine.close, chat.store.close):
            with suppress(TimeoutError, ChattermError):
                await asyncio.wait_for(step(), SECONDS_TO_CLOSE)


def _first_model(library: Library, wanted: str, last: object) -> tuple[Path | None, list[str]]:
    """The file to load at the start, if there is one to choose, and the names of all models.

    Raises:
        ModelNotFound: one was wanted that is not here.
    """
    if wanted:
        return library.find(wanted), []
    if isinstance(last, str) and (path := Path(last)).is_file():
        return path, []
    local = library.local_models()
    return local[0].path if len(local) == 1 else None, [model.name for model in local]
