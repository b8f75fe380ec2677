"""Choose a model: the ones on this machine and on servers, narrowed by typing, or the path of a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import ClassVar, NamedTuple

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from chatterm import paths
from chatterm.address import Address, RemoteModel
from chatterm.engine.listing import Listing
from chatterm.library import LocalModel
from chatterm.text import amount, line
from chatterm.ui.commands import key_of
from chatterm.ui.messages import RunCommand
from chatterm.ui.widgets.banner import Action
from chatterm.ui.widgets.modal import Modal

Models = Sequence[LocalModel] | Callable[[], Sequence[LocalModel]]
"""The models that are here, or what lists them; that is asked in a thread, once the screen is drawn."""

RemoteModels = Callable[[], AsyncGenerator[Listing, None]]
"""Asks servers for their models, and tells what each answers."""

LOOKING = "Looking for models …"
NO_MATCH = "No model matches, and there is no such file."
ABOUT_TUTOR = "knows only how language models work"
EMPTY = """\
There is no model on this machine yet.

Find and download one:   Get more models, below
In a shell:   chatterm models pull OWNER/NAME
Name a folder of GGUF files:   F2, Model, Model folders
Or type the path of a .gguf file above.\
"""


async def listed(models: Models) -> list[LocalModel]:
    """The models that are here."""
    return list(await asyncio.to_thread(models) if callable(models) else models)


def matches(model: LocalModel, words: str) -> bool:
    """Whether all words are somewhere in what is known about a model."""
    known = f"{model.name} {model.repo} {model.quantization} {model.path}".lower()
    return all(word in known for word in words.lower().split())


def typed_files(text: str) -> list[Path]:
    """The GGUF files that a typed path means: the file, or those in the folder; none when it is no path."""
    if not text.startswith(("/", "~", ".")):
        return []
    path = paths.expanded(text)
    try:
        if path.is_file():
            return [path.absolute()]
        folder, start = (path, "") if path.is_dir() else (path.parent, path.name)
        return sorted(file.absolute() for file in folder.glob("*.gguf") if file.name.startswith(start))[:100]
    except OSError:
        return []


class ModelPicker(Modal[Address | None]):
    """Gives the model that was chosen, or None."""

    CSS_PATH = "model_picker.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", show=False),
        Binding("down", "list('cursor_down')", show=False),
        Binding("up", "list('cursor_up')", show=False),
        Binding("pagedown", "list('page_down')", show=False),
        Binding("pageup", "list('page_up')", show=False),
        Binding("f10", "get_more", show=False, id="models"),
    ]

    def __init__(
        self,
        models: Models,
        current: str | Path = "",
        remote: RemoteModels | None = None,
        *,
        title: str = "Choose a model",
        can_get_more: bool = False,
    ) -> None:
        """A list of models.

        Args:
            models: What there is.
            current: The model that answers now, which is marked: its file, or SERVER:MODEL.
            remote: What servers have; shown below the others as it comes. None where there are none.
            title: What it is chosen for.
            can_get_more: Whether it leads to the models screen.
        """
        super().__init__()
        self.heading = title
        self.can_get_more = can_get_more
        self.models = models
        self.remote = remote
        self.current = str(current)
        self.found: list[LocalModel] | None = None
        """None while they are being listed."""
        self.listings: list[Listing] = []
        """What servers have answered so far."""
        self._addresses: dict[str, Address] = {}  # by the options' ids
        self._shown_for: str | None = None  # what was typed when the list was drawn, once there are models
        self._enter_waits = False

    def compose(self) -> ComposeResult:
        """A filter, the list, and what to do."""
        with Vertical(id="panel") as panel:
            panel.border_title = self.heading
            panel.border_subtitle = "type to filter · ↑↓ · enter chooses · esc"
            yield Input(placeholder="Type a part of its name, or the path of a .gguf file", compact=True)
            yield OptionList(compact=True, markup=False)
            yield Static(LOOKING, id="empty", markup=False)
            yield Static(id="servers", markup=False)
            if self.can_get_more:
                yield Action("Get more models", "models", key_of("models", getattr(self.app, "keymap", {})))

    def on_mount(self) -> None:
        """Draw first, then list."""
        self.query_one(OptionList).can_focus = False  # keys go to the filter, which hands on what moves the cursor
        self.query_one("#servers").display = False
        self.call_after_refresh(self.list_models)
        if self.remote is not None:
            self.call_after_refresh(self.list_remote_models, self.remote)

    @work(exclusive=True, group="remote models")
    async def list_remote_models(self, remote: RemoteModels) -> None:
        """Ask servers which models they have; those that do not answer are named below, and nothing waits for them."""
        async with aclosing(remote()) as listings:
            async for listing in listings:
                if not self.is_attached:  # the user has left meanwhile
                    return
                self.listings.append(listing)
                self._show_problems()
                if listing.models and self.found is not None:
                    self.show_matches()

    def _show_problems(self) -> None:
        """Say, in a line, which servers did not answer and why."""
        problems = [
            f"{listing.server.name}: {listing.error.message}" for listing in self.listings if listing.error is not None
        ]
        told = self.query_one("#servers", Static)
        told.update("\n".join(problems))
        told.display = bool(problems)

    @work(exclusive=True, group="models")
    async def list_models(self) -> None:
        """Ask which models are here."""
        self.found = await listed(self.models)
        if self.is_attached:  # else the user has left meanwhile
            self.show_matches()

    @on(Input.Changed)
    @work(exclusive=True, group="filter")
    async def show_matches(self) -> None:
        """Show the models that match what is typed, and the files that it names."""
        text = self.query_one(Input).value
        files = await asyncio.to_thread(typed_files, text.strip())
        if not self.is_attached:  # the user has left meanwhile
            return
        models = [model for model in self.found or () if matches(model, text)]
        remote = [row for listing in self.listings for row in _rows(listing) if row.matches(text)]
        rows: dict[str, tuple[Address, Content]] = {
            str(model.path): (model.path, self._line(model)) for model in models
        }
        rows |= {str(file): (file, _file_line(file)) for file in files if str(file) not in rows}
        rows |= {str(row.address): (row.address, self._remote_line(row)) for row in remote}
        self._addresses = {name: address for name, (address, _) in rows.items()}
        options = self.query_one(OptionList)
        chosen = self._chosen(text)
        options.clear_options()
        options.add_options(Option(shown, id=name) for name, (_, shown) in rows.items())
        current = next((i for i, model in enumerate(models) if self._is_current(model)), 0)
        places = {name: place for place, name in enumerate(rows)}
        options.highlighted = places.get(chosen, places.get(self.current, current)) if rows else None
        options.display = bool(options.option_count)
        empty = self.query_one("#empty", Static)
        empty.display = not options.option_count
        empty.update(LOOKING if self.found is None else NO_MATCH if self.found else EMPTY)
        self._shown_for = text if self.found is not None else None
        if self._enter_waits:
            self.choose_highlighted()

    @on(Input.Submitted)
    def choose_highlighted(self) -> None:
        """Enter takes what is under the cursor, once what is typed has been looked for."""
        self._enter_waits = self._shown_for != self.query_one(Input).value
        options = self.query_one(OptionList)
        if options.highlighted is not None and not self._enter_waits:
            self._choose(options.get_option_at_index(options.highlighted))

    @on(OptionList.OptionSelected)
    def choose_clicked(self, event: OptionList.OptionSelected) -> None:
        """A click takes what is under the mouse."""
        self._choose(event.option)

    def _choose(self, option: Option) -> None:
        self.dismiss(self._addresses[option.id or ""])

    def _chosen(self, text: str) -> str:
        """The option that the cursor is on, as long as the same is typed: more may come in below it."""
        options = self.query_one(OptionList)
        if text != self._shown_for or options.highlighted is None:
            return ""
        return options.get_option_at_index(options.highlighted).id or ""

    @on(RunCommand)
    def action_get_more(self) -> None:
        """Choose none, and see where there are more."""
        if self.can_get_more:
            self.dismiss(None)
            self.app.call_later(self.app.run_action, "app.models")

    def action_list(self, movement: str) -> None:
        """Move the cursor of the list."""
        getattr(self.query_one(OptionList), f"action_{movement}")()

    def _is_current(self, model: LocalModel) -> bool:
        return self.current in (str(model.path), model.name)

    def _remote_line(self, row: _Row) -> Content:
        """A model's name, and below it where it runs."""
        mark = ("● ", "bold $success") if self.current == str(row.address) else ("  ", "")
        window = f" · {row.n_ctx:,} tokens" if row.n_ctx else ""
        where = "a server on this machine" if row.is_here else "what you write is sent there"
        return Content.assemble(
            mark, (str(row.address), "bold"), (f"\n  {row.host}{window} · {where}", "$foreground-muted")
        )

    def _line(self, model: LocalModel) -> Content:
        """A model's name, and below it what is known about it."""
        mark = ("● ", "bold $success") if self._is_current(model) else ("  ", "")
        where = (model.repo or str(model.path.parent), model.source)
        facts = (model.quantization, amount(model.size_bytes), *((ABOUT_TUTOR,) if model.is_built_in else where))
        return Content.assemble(
            mark,
            (line(model.name), "bold"),
            ("\n  " + line(" · ".join(fact for fact in facts if fact)), "$foreground-muted"),
        )


class _Row(NamedTuple):
    """A model on a server."""

    address: RemoteModel
    host: str
    n_ctx: int
    is_here: bool

    def matches(self, words: str) -> bool:
        """Whether all words are somewhere in its name or its server's."""
        known = f"{self.address} {self.host}".lower()
        return all(word in known for word in words.lower().split())


def _rows(listing: Listing) -> list[_Row]:
    """The models of a server."""
    server = listing.server
    return [
        _Row(RemoteModel(server.name, model.name), server.host, model.n_ctx, server.is_here) for model in listing.models
    ]


def _file_line(file: Path) -> Content:
    """A file that was typed."""
    return Content.assemble("  ", (line(file.stem), "bold"), (f"\n  {line(str(file.parent))}", "$foreground-muted"))
