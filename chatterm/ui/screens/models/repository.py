"""A repository opened: its model files, what their quantization means, and whether each fits this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message

from chatterm.errors import ChattermError, EngineError, RepoNotFound
from chatterm.fit import Fit, Verdict
from chatterm.hub.catalogue import OfferedModel
from chatterm.library import Library
from chatterm.text import amount, line, plain
from chatterm.ui.screens.models import words
from chatterm.ui.screens.models.details import DetailsScreen
from chatterm.ui.screens.models.messages import ShowDetails
from chatterm.ui.screens.models.pane import Pane
from chatterm.ui.widgets.key_row import Hint
from chatterm.ui.widgets.modal import Modal
from chatterm.ui.widgets.table import Column

PREFERRED = "Q4_K_M"


class FilesPane(Pane[OfferedModel]):
    """The models of one repository, smallest first."""

    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("Quantization", least=16),
        Column("Size", is_right=True),
        Column("Fits?", reserved=9),
        Column("Context", is_right=True, leaves=1),
        Column("What it means", least=20, leaves=2),
    )
    ACTS_ON_CLICK: ClassVar[bool] = False
    BACK: ClassVar[Hint] = Hint("esc", "back", "screen.leave")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "only_download", "Download", show=False),
        Binding("i", "details", "Details", show=False),
        Binding("f5", "ask", "Ask again", show=False),
    ]

    class Taken(Message):
        """The user wants this model."""

        def __init__(self, model: OfferedModel, *, to_chat: bool) -> None:
            super().__init__()
            self.model = model
            self.to_chat = to_chat

    def __init__(self, library: Library, repo: str, quantization: str = "") -> None:
        """Nothing is known yet.

        Args:
            library: Asks the Hub.
            repo: The repository.
            quantization: Where the cursor begins; empty for the best one that fits.
        """
        super().__init__()
        self._library = library
        self._repo = repo
        self._quantization = quantization
        self._warned = ""
        """The file that was wanted once although it is too big."""
        self._fits: dict[str, Fit | ChattermError] = {}
        """By file; or why it is not known."""

    def look_at(self) -> None:
        """Ask the Hub."""
        super().look_at()
        self.action_ask()

    def action_ask(self) -> None:
        """Ask once more."""
        self._fits.clear()
        self.ask()

    @work(exclusive=True, group="ask")
    async def ask(self) -> None:
        """Find out which models there are, then whether they fit: first the one under the cursor."""
        self.say("Asking the Hub …")
        try:
            models = await self._library.offers(self._repo)
        except ChattermError as error:
            self.say(words.trouble(error, "F5 asks again. Escape goes back; Hub finds others."))
            return
        if not models:
            self.say("This repository holds no GGUF file.\n\nLook for one of the same model whose name ends in -GGUF.")
            return
        things = {model.files[0]: model for model in models}
        self.show(things, self._first(models))
        await self._judge(things)

    def _first(self, models: list[OfferedModel]) -> str:
        """Where the cursor begins."""
        for wanted in (self._quantization, PREFERRED):
            for model in models:
                if model.quantization == wanted:
                    return model.files[0]
        return models[0].files[0]

    async def _judge(self, things: Mapping[str, OfferedModel]) -> None:
        """Find out whether each fits; one header tells about all models of a kind, so few are read."""
        while waiting := [file for file in things if file not in self._fits]:
            file = self.table.current if self.table.current in waiting else waiting[0]
            try:
                header = await self._library.header_of(things[file])
            except ChattermError as error:
                is_of_file = isinstance(error, RepoNotFound | EngineError)  # else no other file can be read either
                self._fits |= dict.fromkeys([file] if is_of_file else waiting, error)
                self.show(things)
                continue
            for alike in waiting:
                if things[alike].kind == things[file].kind:
                    self._fits[alike] = await self._library.fit_of(things[alike], header)
            self.show(things)

    def cells(self, model: OfferedModel) -> tuple[Content, ...]:
        """Quantization, size, verdict, window, meaning."""
        fit = self._fits.get(model.files[0])
        told, window = words.PENDING, ""
        if isinstance(fit, Fit):
            told, window = words.verdict(fit.verdict), words.window(fit.largest_n_ctx)
        elif fit is not None:
            told = words.UNKNOWN
        is_alone = len({each.kind for each in self.things.values()}) == 1
        what = line(model.quantization if is_alone and model.quantization else model.name)
        here = Content.styled(" here", "$text-accent") if model.is_here else Content("")
        return (
            Content.styled(what, "bold") + here,
            Content(amount(model.size_bytes)),
            told,
            Content(window),
            Content.styled(line(model.meaning), words.MUTED),
        )

    def sentence(self, model: OfferedModel) -> Content:
        """What the quantization means, and what it needs."""
        fit = self._fits.get(model.files[0])
        parts = f", {len(model.files)} files" if len(model.files) > 1 else ""
        if self._warned == model.files[0]:
            told = f"{words.fit_sentence(fit) if isinstance(fit, Fit) else ''} Enter again downloads it all the same."
        elif isinstance(fit, Fit):
            told = words.fit_sentence(fit)
        elif fit is not None:
            told = f"Whether it fits is not known: {plain(str(fit))}"
        else:
            told = "Reading what the file says about itself …"
        return Content.assemble(
            (f"{line(model.name)} · {amount(model.size_bytes)}{parts}", "bold"),
            f"\n{told}",
            (f"\n{line(model.meaning)}", words.MUTED),
        )

    def hints(self) -> list[Hint]:
        """What can be done with it."""
        model = self.current
        if model is None:
            return [Hint("F5", "ask again", "ask")]
        if model.is_here:
            hints = [Hint("enter", "chat with it, it is here", "take")]
        else:
            wish = "download it all the same" if self._warned == model.files[0] else "download, then chat"
            hints = [Hint("enter", wish, "take"), Hint("space", "only download", "only_download")]
        return [*hints, Hint("i", "details", "details")]

    def action_take(self) -> None:
        """Download it, then chat; one that is too big only when that is wanted twice."""
        self._take(to_chat=True)

    def action_only_download(self) -> None:
        """Download it, and go on as before."""
        self._take(to_chat=False)

    def _take(self, *, to_chat: bool) -> None:
        model = self.current
        if model is None or (model.is_here and not to_chat):
            return
        fit = self._fits.get(model.files[0])
        is_too_big = isinstance(fit, Fit) and fit.verdict is Verdict.TOO_BIG and not model.is_here
        if is_too_big and self._warned != model.files[0]:
            self._warned = model.files[0]
            self.show_about()
            return
        self.post_message(self.Taken(model, to_chat=to_chat))

    def action_details(self) -> None:
        """All that its file says."""
        if (model := self.current) is not None:
            self.post_message(ShowDetails(model))


class RepositoryScreen(Modal[FilesPane.Taken | None]):
    """Gives what was taken, or None."""

    CSS_PATH = "models.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Back", show=False)]

    def __init__(self, library: Library, repo: str, quantization: str = "") -> None:
        """A repository.

        Args:
            library: Asks the Hub.
            repo: Its name.
            quantization: Where the cursor begins.
        """
        super().__init__()
        self._library = library
        self._repo = repo
        self.files = FilesPane(library, repo, quantization)

    def compose(self) -> ComposeResult:
        """Its files."""
        with Vertical(id="panel") as panel:
            panel.border_title = Content(line(self._repo))
            yield self.files

    def on_mount(self) -> None:
        """Ask the Hub."""
        self.files.look_at()

    def on_files_pane_taken(self, event: FilesPane.Taken) -> None:
        """That is it."""
        self.dismiss(event)

    def on_show_details(self, event: ShowDetails) -> None:
        """All that its file says."""
        event.stop()
        self.app.push_screen(DetailsScreen(self._library, event.model))

    def action_leave(self) -> None:
        """Take none."""
        self.dismiss(None)
