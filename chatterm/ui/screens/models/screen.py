"""Every model within reach, on one screen: what is here, what is recommended, what the Hub has, what is on its way.

It gives the model that the user wants to chat with; loading it is for whoever opened it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import TabbedContent, TabPane, Tabs

from chatterm.downloads import Downloads
from chatterm.errors import ChattermError
from chatterm.hub.catalogue import OfferedModel
from chatterm.library import Library
from chatterm.ui.screens.models.arrivals import Arrivals
from chatterm.ui.screens.models.details import DetailsScreen, Usage
from chatterm.ui.screens.models.here import HerePane
from chatterm.ui.screens.models.hub import HubPane
from chatterm.ui.screens.models.messages import Chat, OpenRepository, ShowDetails
from chatterm.ui.screens.models.pane import Pane
from chatterm.ui.screens.models.queue import QueuePane
from chatterm.ui.screens.models.recommended import RecommendedPane
from chatterm.ui.screens.models.repository import RepositoryScreen
from chatterm.ui.widgets.modal import Modal

Page = Literal["here", "recommended", "hub", "downloads"]
PAGES: tuple[Page, ...] = ("here", "recommended", "hub", "downloads")


class ModelsScreen(Modal[Path | None]):
    """Gives the file of the model to chat with, or None."""

    AUTO_FOCUS = ""  # the open page takes the focus
    CSS_PATH = "models.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close", show=False),
        Binding("f10", "leave", show=False, id="models"),
        Binding("ctrl+pageup", "page(-1)", "Previous page", show=False, priority=True),
        Binding("ctrl+pagedown", "page(1)", "Next page", show=False, priority=True),
        Binding("left", "page(-1)", show=False),
        Binding("right", "page(1)", show=False),
    ]

    def __init__(
        self,
        library: Library,
        downloads: Downloads,
        arrivals: Arrivals,
        current: Callable[[], str],
        page: Page = "here",
        usage: Usage | None = None,
    ) -> None:
        """The screen.

        Args:
            library: What is here, and what the Hub has.
            downloads: The queue.
            arrivals: Told when a download is waited for.
            current: Tells the file of the model that answers now; empty for none.
            page: Which one is open at first.
            usage: Tells how a model was used here so far.
        """
        super().__init__()
        self.library, self.downloads, self.arrivals = library, downloads, arrivals
        self.first_page, self.current, self.usage = page, current, usage

    def compose(self) -> ComposeResult:
        """A page for each source, and one for what is on its way."""
        with Vertical(id="panel") as panel:
            panel.border_title = "Models"
            panel.border_subtitle = "ctrl+pageup, ctrl+pagedown: page"
            with TabbedContent(initial=self.first_page):
                with TabPane("Here", id="here"):
                    yield HerePane(self.library, self.current)
                with TabPane("Recommended", id="recommended"):
                    yield RecommendedPane(self.library)
                with TabPane("Hub", id="hub"):
                    yield HubPane(self.library)
                with TabPane("Downloads", id="downloads"):
                    yield QueuePane(self.downloads, self.arrivals)

    @property
    def page(self) -> str:
        """The page that is open."""
        return next((tabs.active for tabs in self.query(TabbedContent)), self.first_page)  # none before it is composed

    @on(TabbedContent.TabActivated)
    def look_at_page(self, event: TabbedContent.TabActivated) -> None:
        """Fill the page that was opened, and begin there; arrow keys in the tabs stay in the tabs."""
        if event.pane.id != self.page:  # another one was opened since
            return
        pane = event.pane.query_one(Pane)
        focused = self.focused
        pane.look_at()
        if isinstance(focused, Tabs):
            self.set_focus(focused)

    @on(QueuePane.Changed)
    def show_progress(self, event: QueuePane.Changed) -> None:
        """Say on the tab how far the downloads are."""
        tab = self.query_one(TabbedContent).get_tab("downloads")
        label = f"Downloads {event.text}".strip()
        if tab.label.plain != label:
            tab.label = Content(label)
            self.call_after_refresh(tab.refresh, layout=True)  # one that is not drawn yet would keep its width

    def open_page(self, page: Page) -> None:
        """Show another page."""
        self.first_page = page
        for tabs in self.query(TabbedContent):
            tabs.active = page

    def show_model(self) -> None:
        """Another model may answer now."""
        for pane in self.query(HerePane):
            pane.look()

    def action_page(self, by: int) -> None:
        """Open the next page."""
        self.open_page(PAGES[(PAGES.index(self.page) + by) % len(PAGES)])

    def action_leave(self) -> None:
        """Back to the chat, with the model that answers now."""
        self.dismiss(None)

    @on(Chat)
    def chat(self, event: Chat) -> None:
        """Back to the chat, with this model."""
        event.stop()
        self.dismiss(event.path)

    @on(ShowDetails)
    def show_details(self, event: ShowDetails) -> None:
        """All about a model."""
        event.stop()
        self.app.push_screen(DetailsScreen(self.library, event.model, self.usage))

    @on(OpenRepository)
    @work(exclusive=True, group="repository")
    async def open_repository(self, event: OpenRepository) -> None:
        """Choose a file, and fetch it."""
        taken = await self.app.push_screen_wait(RepositoryScreen(self.library, event.repo, event.quantization))
        if taken is None:
            return
        if taken.model.is_here:
            await self._chat_with(taken.model)
            return
        try:
            download = self.downloads.add(taken.model.repo, taken.model.files[0])
        except ChattermError as error:  # its name is none that can be asked for
            self.notify(str(error), title=error.title, severity="error", markup=False)
            return
        if taken.to_chat:
            self.arrivals.wanted = download.id
        self.open_page("downloads")
        self.query_one(QueuePane).show_all(self.downloads.all, download.id)

    async def _chat_with(self, model: OfferedModel) -> None:
        """It is here already."""
        for local in await asyncio.to_thread(self.library.local_models):
            if local.repo == model.repo and local.file == model.files[0]:
                self.dismiss_with_all_above(local.path)
                return
        self.notify("F5 in Here looks for it again.", title="It is gone", severity="warning")
