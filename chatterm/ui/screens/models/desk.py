"""What keeps models and downloads at hand while the app runs: opens the models screen, follows the queue behind it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import App

from chatterm.conversation import ModelUse
from chatterm.downloads import Download, Downloads, DownloadState
from chatterm.library import Library, LocalModel
from chatterm.ui.commands import key_of
from chatterm.ui.screens.models import words
from chatterm.ui.screens.models.arrivals import Arrivals
from chatterm.ui.screens.models.screen import ModelsScreen, Page

if TYPE_CHECKING:
    from chatterm.ui.screens.chat import ChatScreen


class Desk:
    """Joins the models screen and the queue with the chat."""

    def __init__(self, app: App[Any], chat: ChatScreen, library: Library, downloads: Downloads) -> None:
        """Nothing is open, nothing is followed.

        Args:
            app: Shows screens and notices.
            chat: Loads what was chosen; its status row says how far downloads are.
            library: The models.
            downloads: The queue.
        """
        self._app, self._chat, self._library, self._downloads = app, chat, library, downloads
        self.arrivals = Arrivals(downloads, chat.status, self.chat_with, self.tell)

    async def follow(self) -> None:
        """Go on with the downloads, and follow them."""
        await self._downloads.start()
        await self.arrivals.follow()

    async def close(self) -> None:
        """Stop fetching; the next start goes on."""
        await self._downloads.close()

    @property
    def is_open(self) -> bool:
        """Whether the models screen is open, with or without something over it."""
        return any(isinstance(screen, ModelsScreen) for screen in self._app.screen_stack)

    def open(self, page: Page) -> None:
        """Show the models screen, if nothing else is over the chat."""
        if self._app.screen is not self._chat:
            return
        model = self._chat.state.chat.model if self._chat.state.chat else None
        screen = ModelsScreen(
            self._library, self._downloads, self.arrivals, page, model.path if model else "", self._usage
        )
        self._app.push_screen(screen, self._take)

    async def toggle(self) -> None:
        """Open the screen, or close it; somebody who has no model yet sees what is recommended."""
        if isinstance(self._app.screen, ModelsScreen):
            self._app.screen.dismiss(None)
        else:
            self.open("here" if await self._library.has_others() else "recommended")

    def _take(self, path: Path | None) -> None:
        """The models screen was closed."""
        if path is not None:
            self.arrivals.wanted = ""
            self._chat.models.load(path, is_pick=True)

    def chat_with(self, path: Path) -> None:
        """A download that was waited for is here: load it, and go to the chat if it is watched there."""
        screen = self._app.screen
        if isinstance(screen, ModelsScreen) and screen.page == "downloads":
            screen.dismiss(path)
            return
        self._chat.models.load(path, is_pick=True)
        if self.is_open:
            self._app.notify("It is being loaded; escape goes to the chat.", title=f"{path.stem} is here", markup=False)

    def tell(self, download: Download) -> None:
        """A download that was not waited for has ended."""
        name = words.name_of(download)
        if download.state is DownloadState.DONE:
            self._app.notify(
                f"{key_of('choose_model', self._chat.keymap)} chooses it.", title=f"{name} is here", markup=False
            )
        else:
            more = f"{key_of('models', self._chat.keymap)}, Downloads tells more."
            title = download.problem_title or "The download failed"
            self._app.notify(
                f"{name}: {download.problem} {more}", title=title, severity="error", timeout=12, markup=False
            )

    async def _usage(self, model: LocalModel) -> ModelUse:
        """How a model was used here so far."""
        chat = self._chat.state.chat
        return await chat.store.model_use(str(model.path), model.hash) if chat else ModelUse()
