"""Search the Hub as one types: sorted and filtered; what goes wrong there is said in place of the results."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any, ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Select, Static

from chatterm.errors import ChattermError
from chatterm.hub.catalogue import Found, Query
from chatterm.library import Library
from chatterm.text import line
from chatterm.ui.screens.models import words
from chatterm.ui.screens.models.messages import OpenRepository
from chatterm.ui.screens.models.pane import Pane
from chatterm.ui.widgets.key_row import Hint
from chatterm.ui.widgets.table import Column

SECONDS_BEFORE_SEARCH = 0.3
"""After the last letter."""
NOTHING = "Nothing on the Hub matches.\n\nTry fewer or other words, or wider filters."
ASKING = "Asking the Hub …"
MEANWHILE = "F5 tries again. What is on this machine works without the Hub: see Here."

BILLION = 1_000_000_000
SORTS = [("most downloads", "downloads"), ("most likes", "likes"), ("trending", "trending"), ("newest", "modified")]
SIZES = [
    ("any size", (0, 0)), ("up to 2B", (0, 2 * BILLION)), ("2B to 5B", (2 * BILLION, 5 * BILLION)),
    ("5B to 10B", (5 * BILLION, 10 * BILLION)), ("10B to 35B", (10 * BILLION, 35 * BILLION)),
    ("above 35B", (35 * BILLION, 0)),
]  # fmt: skip
ARCHITECTURES = (
    "llama", "qwen2", "qwen3", "qwen3moe", "gemma2", "gemma3", "phi3", "gpt-oss", "deepseek2", "granite", "command-r",
    "falcon", "olmo2", "smollm3", "lfm2",
)  # fmt: skip
LICENCES = (
    "apache-2.0",
    "mit",
    "llama3.1",
    "llama3.2",
    "llama3.3",
    "gemma",
    "bsd-3-clause",
    "cc-by-4.0",
    "cc-by-nc-4.0",
)


class HubPane(Pane[Found]):
    """Words, filters, and what the Hub answers."""

    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("Repository", least=28),
        Column("Size", is_right=True),
        Column("Kind", least=5, leaves=2),
        Column("Downloads", is_right=True),
        Column("Likes", is_right=True, leaves=3),
        Column("Changed", leaves=4),
        Column("Licence", least=10, leaves=5),
        Column("", leaves=1),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "table('cursor_down')", show=False),
        Binding("up", "table('cursor_up')", show=False),
        Binding("pagedown", "table('page_down')", show=False),
        Binding("pageup", "table('page_up')", show=False),
        Binding("f5", "search_again", "Search again", show=False),
    ]

    def __init__(self, library: Library, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._library = library
        self.words = Input(placeholder="Search the Hugging Face Hub: a name, a maker, a language", compact=True)
        self.progress = Static(id="progress", markup=False)
        self.filters = (
            _select(SORTS, "sort"),
            _select(SIZES, "size"),
            _select([("any kind", ""), *((name, name) for name in ARCHITECTURES)], "architecture"),
            _select([("any licence", ""), *((name, name) for name in LICENCES)], "licence"),
        )
        self._answered: Query | None = None
        self._enter_waits = False

    def above(self) -> Iterator[Widget]:
        """What is searched for."""
        yield Horizontal(self.words, self.progress, id="search")
        yield Horizontal(*self.filters, id="filters")

    def on_mount(self) -> None:
        """Keys stay with the words, which hand on what moves the cursor."""
        self.table.can_focus = self.instead.can_focus = False
        self.table.add_class("-active")

    def look_at(self) -> None:
        """Write; the first time with what is asked for most."""
        self.take_focus()
        if self._answered is None:
            self.say(ASKING)
            self.search(at_once=True)

    def take_focus(self) -> None:
        """Keys go to the words."""
        self.screen.set_focus(self.words)

    @property
    def wanted(self) -> Query:
        """What is asked for now."""
        chosen: dict[str, Any] = {each.id or "": each.value for each in self.filters}
        least, most = chosen["size"]
        return Query(
            words=self.words.value.strip(),
            sort=chosen["sort"],
            architecture=chosen["architecture"],
            licence=chosen["licence"],
            min_parameters=least,
            max_parameters=most,
        )

    @on(Input.Changed)
    def search_soon(self) -> None:
        """Words changed: search when the next letter does not follow at once."""
        self._enter_waits = False
        self.search()

    @on(Select.Changed)
    def search_now(self) -> None:
        """A filter changed."""
        if self._answered is not None:
            self.search(at_once=True)

    def action_search_again(self) -> None:
        """Ask once more."""
        self.search(at_once=True)

    @work(exclusive=True, group="search")
    async def search(self, *, at_once: bool = False) -> None:
        """Ask the Hub; an answer that comes after something else was asked for is dropped."""
        if not at_once:
            await asyncio.sleep(SECONDS_BEFORE_SEARCH)
        query = self.wanted
        try:
            found = await self._waited_for(query)
        except ChattermError as error:
            self._answered, self._enter_waits = query, False
            self.say(words.trouble(error, MEANWHILE))
            return
        finally:
            if self.is_attached:
                self.progress.update("")
        self._answered = query
        if found:
            self.show({each.repo: each for each in found}, found[0].repo)
        else:
            self.say(NOTHING)
        if self._enter_waits:
            self.action_take()

    async def _waited_for(self, query: Query) -> list[Found]:
        """What the Hub answers; says meanwhile that it is asked, and for how long."""
        began = time.monotonic()
        answer = asyncio.ensure_future(self._library.search(query))
        try:
            while not answer.done():
                seconds = int(time.monotonic() - began)
                self.progress.update(f"no answer for {seconds} s" if seconds > 2 else "searching …")
                await asyncio.wait({answer}, timeout=1)
            return answer.result()
        finally:
            answer.cancel()

    def cells(self, found: Found) -> tuple[Content, ...]:
        """Name and figures."""
        return (
            Content(line(found.repo)),
            Content(words.count(found.n_parameters) if found.n_parameters else ""),
            Content.styled(line(found.architecture), words.MUTED),
            Content(words.count(found.n_downloads)),
            Content(words.count(found.n_likes)),
            Content.styled(line(found.modified), words.MUTED),
            Content.styled(line(found.licence), words.MUTED),
            Content.styled("gated" if found.is_gated else "", "$text-warning"),
        )

    def sentence(self, found: Found) -> Content:
        """All that the Hub told about it."""
        facts = (
            f"{words.count(found.n_parameters)} parameters" if found.n_parameters else "",
            line(found.architecture),
            f"trained for {found.n_ctx_train:,} tokens" if found.n_ctx_train else "",
            f"licence {line(found.licence)}" if found.licence else "",
            f"changed {line(found.modified)}" if found.modified else "",
        )
        gated = "\nGated: its makers ask you to accept a licence on the Hub first." if found.is_gated else ""
        return Content.assemble(
            (line(found.repo), "bold"),
            ("\n" + " · ".join(fact for fact in facts if fact), words.MUTED),
            (gated, "$text-warning"),
        )

    def hints(self) -> list[Hint]:
        """What can be done."""
        hints = [Hint("enter", "its files", "take")] if self.current is not None else []
        return [*hints, Hint("tab", "sort and filter", "app.focus_next"), Hint("F5", "again", "search_again")]

    @on(Input.Submitted)
    def take_found(self, event: Input.Submitted) -> None:
        """Enter opens what is under the cursor, once what is typed has been looked for."""
        event.stop()
        self.action_take()

    def action_take(self) -> None:
        """See its files."""
        self._enter_waits = self.wanted != self._answered
        if self._enter_waits:
            return
        if (found := self.current) is not None:
            self.post_message(OpenRepository(found.repo))

    def action_table(self, movement: str) -> None:
        """Move the cursor of the table."""
        getattr(self.table, f"action_{movement}")()


def _select(options: list[tuple[str, Any]], id: str) -> Select[Any]:
    """A filter; the first option is the one that leaves all in."""
    return Select(options, allow_blank=False, value=options[0][1], compact=True, id=id)
