"""A short list of models to begin with, and which of them suit this machine; needs no network."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.content import Content

from chatterm.fit import COMFORTABLE, FreeMemory, Verdict, free_memory
from chatterm.hub.catalogue import RecommendedModel
from chatterm.library import Library
from chatterm.text import amount, line
from chatterm.ui.screens.models import words
from chatterm.ui.screens.models.messages import Chat, OpenRepository
from chatterm.ui.screens.models.pane import Pane
from chatterm.ui.widgets.key_row import Hint
from chatterm.ui.widgets.table import Column

EASY = 0.5
"""Of the free memory: a first model shall be quick and leave room, rather than be the largest that can be loaded."""


class RecommendedPane(Pane[RecommendedModel]):
    """Smallest first, the cursor on a good one to begin with."""

    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("Model", least=20),
        Column("Memory", is_right=True),
        Column("Fits?", reserved=9),
        Column("Good for", least=16, leaves=1),
    )

    def __init__(self, library: Library, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._library = library
        self._day = ""
        self._free = FreeMemory(0)
        self._here: dict[str, Path] = {}
        """Which of them are on this machine, by repository and quantization."""

    def look_at(self) -> None:
        """Show the list."""
        super().look_at()
        self.look()

    @work(exclusive=True, group="look")
    async def look(self) -> None:
        """Read the list, and what is free."""
        (self._day, models), self._free, here = await asyncio.gather(
            self._library.recommended(),
            asyncio.to_thread(free_memory, self._library.vram_bytes),
            asyncio.to_thread(self._library.others),
        )
        self._here = {f"{model.repo}:{model.quantization}": model.path for model in here if model.repo}
        if self.is_attached:
            things = {_name(model): model for model in models}
            self.show(things, "" if self.things else self._first(things))

    def _first(self, things: Mapping[str, RecommendedModel]) -> str:
        """Where the cursor begins: the largest that is quick and leaves room here, else the largest that fits."""
        easy = [name for name, model in things.items() if model.needs_bytes <= EASY * self._most_free]
        fitting = [name for name, model in things.items() if self._verdict(model) is Verdict.FITS]
        return (easy or fitting or [*things, ""][:1])[-1]

    @property
    def _most_free(self) -> int:
        """Bytes that are free in the larger memory."""
        return max(self._free.ram_bytes, self._free.vram_bytes)

    def _verdict(self, model: RecommendedModel) -> Verdict:
        """Whether it fits, by what the list says of it; its own file tells more."""
        if model.needs_bytes <= COMFORTABLE * self._most_free:
            return Verdict.FITS
        return Verdict.TIGHT if model.needs_bytes <= self._most_free else Verdict.TOO_BIG

    def cells(self, model: RecommendedModel) -> tuple[Content, ...]:
        """Name, memory, verdict, purpose."""
        return (
            Content.styled(line(model.name), "bold"),
            Content(amount(model.needs_bytes)),
            Content.styled("✓ here", "$text-accent")
            if _name(model) in self._here
            else words.verdict(self._verdict(model)),
            Content(line(model.good_for)),
        )

    def sentence(self, model: RecommendedModel) -> Content:
        """All that the list says, and how far it can be trusted."""
        return Content.assemble(
            (f"{line(model.repo)} · {line(model.quantization)}", "bold"),
            f"\n{line(model.good_for)} Wants about {amount(model.needs_bytes)} of memory; {amount(self._most_free)} are free.",
            (
                f"\nLicence {line(model.licence)}. List of {self._day}; the Hub has the last word.",
                words.MUTED,
            ),
        )

    def hints(self) -> list[Hint]:
        """What can be done."""
        if self.current is None:
            return []
        if _name(self.current) in self._here:
            return [Hint("enter", "chat, it is here", "take")]
        return [Hint("enter", "choose a file, and download it", "take")]

    def action_take(self) -> None:
        """See its files, or chat with the one that is here."""
        model = self.current
        if model is None:
            return
        if (path := self._here.get(_name(model))) is not None:
            self.post_message(Chat(path))
        else:
            self.post_message(OpenRepository(model.repo, model.quantization))


def _name(model: RecommendedModel) -> str:
    """Tells it from the others."""
    return f"{model.repo}:{model.quantization}"
