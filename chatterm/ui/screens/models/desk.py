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

if TYPE_CHECKING:
    from chatterm.ui.screens.chat import ChatScreen
    from chatterm.ui.screens.models.screen import ModelsScreen, Page


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
        self._screen: ModelsScreen | None = None
        """The one that is open."""
        self._has_others = False
        """Whether there is a model besides the tutor, as far as is known."""
        self.arrivals = Arrivals(downloads, chat.status, self.chat_with, self.tell)

    async def follow(self) -> None:
        """Go on with the downloads, and follow them."""
        self._has_others = await self._library.has_others()
        await self._downloads.start()
        for complaint in self._downloads.complaints:
            self._app.notify(complaint, title="Downloads", severity="warning", timeout=12, markup=False)
        await self.arrivals.follow()

    async def close(self) -> None:
        """Stop fetching; the next start goes on. What was deleted is gone now."""
        await self._downloads.close()
        await self._library.remove_deleted()

    def open(self, page: Page) -> None:
        """Show the models screen, or this page of it, if nothing else is over the chat."""
        if self._screen is not None and self._app.screen is self._screen:
            self._screen.open_page(page)
        elif self._app.screen is self._chat:
            from chatterm.ui.screens.models.screen import ModelsScreen  # late: not needed at the start

            self._screen = ModelsScreen(self._library, self._downloads, self.arrivals, self._current, page, self._usage)
            self._app.push_screen(self._screen, self._take)

    def toggle(self) -> None:
        """Open the screen, or close it; somebody who has no model yet sees what is recommended."""
        if self._screen is not None and self._app.screen is self._screen:
            self._screen.dismiss(None)
        else:
            self.open("here" if self._has_others else "recommended")

    def show_model(self) -> None:
        """Another model may answer now: say so where they are listed."""
        if self._screen is not None:
            self._screen.show_model()

    def _current(self) -> str:
        """The file of the model that answers now; empty for none."""
        model = self._chat.state.chat.model if self._chat.state.chat else None
        return model.path if model else ""

    def _take(self, path: Path | None) -> None:
        """The models screen was closed."""
        self._screen = None
        if path is not None:
            self.arrivals.wanted = ""
            self._chat.models.load(path, is_pick=True)

    def expect_nothing(self) -> None:
        """Another model was chosen: one that is still on its way will not take its place."""
        self.arrivals.wanted = ""

    def chat_with(self, path: Path) -> None:
        """A download that was waited for is here: load it, and go to the chat if it is watched there."""
        self._has_others = True
        if self._screen is not None and self._app.screen is self._screen and self._screen.page == "downloads":
            self._screen.dismiss(path)
            return
        self._chat.models.load(path, is_pick=True)
        if self._screen is not None:
            self._app.notify("It is being loaded; escape goes to the chat.", title=f"{path.stem} is here", markup=False)

    def tell(self, download: Download) -> None:
        """A download that was not waited for has ended."""
        name = words.name_of(download)
        if download.state is DownloadState.DONE:
            self._has_others = True
            self._chat.models.n_others += 1  # what the empty conversation says, when it is drawn again
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
