"""The models that are on this machine: chat with one, look into one, delete one and bring it back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.content import Content

from chatterm.errors import ChattermError
from chatterm.fit import Fit
from chatterm.library import Library, LocalModel
from chatterm.text import amount, line
from chatterm.ui.screens.models import words
from chatterm.ui.screens.models.messages import Chat, ShowDetails
from chatterm.ui.screens.models.pane import Pane
from chatterm.ui.widgets.key_row import Hint
from chatterm.ui.widgets.table import Column

LOOKING = "Looking for models …"
EMPTY = """\
There is no model on this machine yet, besides the tutor.

Recommended (ctrl+pagedown) lists some to begin with, Hub searches for all others.
Files that you have: name their folder in the settings (F2, Model, Model folders).\
"""


class HerePane(Pane[LocalModel]):
    """What is here, by name."""

    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("Model", least=20),
        Column("Quantization", least=7),
        Column("Size", is_right=True),
        Column("Fits?", reserved=9),
        Column("From", least=10, leaves=1),
    )
    ACTS_ON_CLICK: ClassVar[bool] = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i", "details", "Details", show=False),
        Binding("d,delete", "delete", "Delete", show=False),
        Binding("u,ctrl+z", "undo_delete", "Undo", show=False),
        Binding("f5", "look_again", "Look again", show=False),
    ]

    def __init__(self, library: Library, in_use: Callable[[], str], *, id: str | None = None) -> None:
        """An empty list.

        Args:
            library: Knows what is here.
            in_use: Tells the file of the model that answers now; empty for none.
            id: As any widget's.
        """
        super().__init__(id=id)
        self._library = library
        self._in_use = in_use
        self._fits: dict[str, Fit | None] = {}
        """By path; None where the file does not tell."""

    def look_at(self) -> None:
        """Show what is here now."""
        super().look_at()
        if not self.things:
            self.say(LOOKING)
        self.look()

    @work(exclusive=True, group="look")
    async def look(self, current: str = "") -> None:
        """Find what is here, then whether each fits."""
        models = await asyncio.to_thread(self._library.local_models)
        if not self.is_attached:
            return
        things = {str(model.path): model for model in models}
        self._show_all(things, current or ("" if self.things else self._in_use()))
        await self._judge(things)

    def _show_all(self, things: Mapping[str, LocalModel], current: str = "") -> None:
        """Show these, or how to come to some."""
        if things:
            self.show(things, current)
        else:
            self.say(EMPTY)

    async def _judge(self, things: Mapping[str, LocalModel]) -> None:
        """Reckon for each model whether it fits; their headers are read from the disk, quickly."""
        for path, model in things.items():
            if path in self._fits:
                continue
            try:
                self._fits[path] = await self._library.fit_of(model)
            except ChattermError:  # loading it says what is wrong with it
                self._fits[path] = None
            if not self.is_attached or self.things is not things:
                return
            self.show(things)

    def cells(self, model: LocalModel) -> tuple[Content, ...]:
        """Name, quantization, size, verdict, origin."""
        path = str(model.path)
        mark = ("● ", "bold $success") if self._is_in_use(model) else ("  ", "")
        fit = self._fits.get(path)
        told = words.verdict(fit.verdict) if fit else words.UNKNOWN if path in self._fits else words.PENDING
        return (
            Content.assemble(mark, (line(model.name), "bold")),
            Content(line(model.quantization)),
            Content(amount(model.size_bytes)),
            told,
            Content.styled(line(_origin(model)), words.MUTED),
        )

    def sentence(self, model: LocalModel) -> Content:
        """Where it lies, and what it needs."""
        fit = self._fits.get(str(model.path))
        now = "It answers now. " if self._is_in_use(model) else ""
        return Content.assemble(
            (line(model.repo or str(model.path)), words.MUTED),
            f"\n{now}{words.fit_sentence(fit) if fit else ''}",
            (self._told_of_deleted(), "$text-warning"),
        )

    def _told_of_deleted(self) -> str:
        """What can be brought back, on a line of its own; empty for nothing."""
        deleted = self._library.deleted
        if not deleted:
            return ""
        freed = amount(sum(aside.size_bytes for aside in deleted))
        return f"\nDeleted {line(deleted[-1].model.name)}. {freed} are free again when chatterm closes."

    def hints(self) -> list[Hint]:
        """What can be done with it."""
        model, hints = self.current, []
        if model is not None:
            hints = [Hint("enter", "chat", "take"), Hint("i", "details", "details")]
            if not model.is_built_in:
                hints.append(Hint("d", "delete", "delete"))
        if self._library.deleted:
            hints.append(Hint("u", "bring it back", "undo_delete"))
        return hints

    def _is_in_use(self, model: LocalModel) -> bool:
        return str(model.path) == self._in_use()

    def action_take(self) -> None:
        """Chat with it."""
        if (model := self.current) is not None:
            self.post_message(Chat(model.path))

    def action_details(self) -> None:
        """All that is known about it."""
        if (model := self.current) is not None:
            self.post_message(ShowDetails(model))

    def action_look_again(self) -> None:
        """Files may have come meanwhile."""
        self._fits.clear()
        self.look()

    @work(group="delete")
    async def action_delete(self) -> None:
        """Take it off the disk; it can be brought back until chatterm closes."""
        model = self.current
        if model is None:
            return
        if self._is_in_use(model):
            self.notify("Choose another model first.", title="It answers now", severity="warning")
            return
        self._show_all({path: each for path, each in self.things.items() if each is not model})
        try:
            await asyncio.to_thread(self._library.put_aside, model)
        except ChattermError as error:
            self.notify(str(error), title=error.title, severity="error", markup=False)
        self.look()

    @work(group="delete")
    async def action_undo_delete(self) -> None:
        """Bring back what was deleted last."""
        if not self._library.deleted:
            return
        aside = self._library.deleted[-1]
        try:
            await asyncio.to_thread(self._library.bring_back, aside)
        except ChattermError as error:
            self.notify(str(error), title=error.title, severity="error", markup=False)
        self.look(str(aside.model.path))


def _origin(model: LocalModel) -> str:
    """Where it is from, in short."""
    if model.is_built_in:
        return "built in"
    if model.source == "Hugging Face cache":
        return "Hub"
    return f"{model.path.parent.name}/" if model.source == "folder" else model.source
