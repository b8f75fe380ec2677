"""All about a model: what its file says, how much memory it takes, how quick it was here, who used it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from chatterm import model_facts
from chatterm.conversation import ModelUse
from chatterm.errors import ChattermError
from chatterm.fit import Fit, over_context
from chatterm.gguf import GgufHeader
from chatterm.hub.catalogue import OfferedModel
from chatterm.library import Library, LocalModel
from chatterm.text import amount, line
from chatterm.ui.screens.models import words
from chatterm.ui.widgets.key_row import Hint, KeyRow
from chatterm.ui.widgets.memory_chart import MemoryChart
from chatterm.ui.widgets.modal import Modal

Usage = Callable[[LocalModel], Awaitable[ModelUse]]
"""How a model was used here so far."""
LABEL_CELLS = 15
MOST_CONVERSATIONS = 8


class DetailsScreen(Modal[None]):
    """A page to read."""

    CSS_PATH = "models.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,i,q,enter", "leave", "Back", show=False),
        Binding("j", "scroll('down')", show=False),
        Binding("k", "scroll('up')", show=False),
    ]

    def __init__(self, library: Library, model: LocalModel | OfferedModel, usage: Usage | None = None) -> None:
        """A model.

        Args:
            library: Reads what its file says.
            model: Here or on the Hub.
            usage: Tells how it was used; None where that is not known.
        """
        super().__init__()
        self._library = library
        self._model = model
        self._usage = usage

    def compose(self) -> ComposeResult:
        """Facts, memory, use."""
        with Vertical(id="page") as page:
            page.border_title = Content(line(self._model.name))
            with VerticalScroll(id="text"):
                yield Static("Reading what the file says about itself …", id="facts", markup=False)
                yield Static(classes="heading", id="memory-heading", markup=False)
                yield MemoryChart()
                yield Static(id="memory", markup=False)
                yield Static(id="use", markup=False)
            yield KeyRow()

    def on_mount(self) -> None:
        """Find all of it out."""
        self.query_one(KeyRow).show([Hint("↑↓", "scroll", ""), Hint("esc", "back", "leave")])
        self.read()
        if self._usage is not None and isinstance(self._model, LocalModel):
            self.read_usage(self._usage, self._model)

    @work(exclusive=True, group="header")
    async def read(self) -> None:
        """What the file says, and what that means for the memory."""
        try:
            header, fit = await self._library.header_of(self._model), await self._library.fit_of(self._model)
        except ChattermError as error:
            self.query_one("#facts", Static).update(words.trouble(error))
            return
        self.query_one("#facts", Static).update(listed(facts(self._model, header)))
        self.query_one("#memory-heading", Static).update("Memory over context length")
        chart = self.query_one(MemoryChart)
        chart.points = over_context(header, self._model.size_bytes, self._library.load_options(self._model))
        chart.free_bytes = fit.free_bytes
        self.query_one("#memory", Static).update(_verdict(fit))

    @work(exclusive=True, group="usage")
    async def read_usage(self, usage: Usage, model: LocalModel) -> None:
        """How it was used."""
        try:
            used = await usage(model)
        except ChattermError:  # the conversations cannot be read, which is said elsewhere
            return
        self.query_one("#use", Static).update(use(used))

    def action_scroll(self, direction: str) -> None:
        """Read on."""
        getattr(self.query_one("#text"), f"scroll_{direction}")(animate=False)

    @on(KeyRow.Wanted)
    def action_leave(self) -> None:
        """Enough."""
        self.dismiss(None)


def facts(model: LocalModel | OfferedModel, header: GgufHeader) -> list[tuple[str, str]]:
    """What a file says about its model, each with its name; what it does not say is left out."""
    told = dict(model_facts.facts(header, model.size_bytes))
    if model.quantization:
        told["Quantization"] = line(model.quantization)  # the file's name can be more precise
    rows = [
        *told.items(),
        ("Size", amount(model.size_bytes)),
        ("From", line(model.repo or "")),
        ("File", line(str(model.path) if isinstance(model, LocalModel) else model.files[0])),
    ]
    return [(label, value) for label, value in rows if value]


def listed(rows: list[tuple[str, str]]) -> Content:
    """Names and values below each other."""
    return Content("\n").join(Content.assemble((label.ljust(LABEL_CELLS), words.MUTED), value) for label, value in rows)


def use(used: ModelUse) -> Content:
    """How a model was used, below its heading."""
    heading = Content.styled("\nOn this machine so far\n", "bold $text-accent")
    if not used.n_replies:
        return heading + Content("It has not answered yet.")
    rows = [("Replies", f"{used.n_replies:,}")]
    if used.tokens_per_second:
        rows.append(("Writes", f"{used.tokens_per_second:,.1f} tokens a second"))
    if used.prompt_tokens_per_second:
        rows.append(("Reads", f"{used.prompt_tokens_per_second:,.0f} tokens a second"))
    titles = [line(each.title) or "Untitled" for each in used.conversations]
    rows += [("Used in" if i == 0 else "", title) for i, title in enumerate(titles[:MOST_CONVERSATIONS])]
    if len(titles) > MOST_CONVERSATIONS:
        rows.append(("", f"and {len(titles) - MOST_CONVERSATIONS} more"))
    return heading + listed(rows)


def _verdict(fit: Fit) -> Content:
    """Whether it fits, in a sentence."""
    return words.verdict(fit.verdict) + Content(f"  {words.fit_sentence(fit)}")
