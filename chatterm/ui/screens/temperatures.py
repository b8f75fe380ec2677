"""Temperature, side by side: the same question with the same random numbers at three temperatures.

The three are written in turns, since there is one model. Nothing is saved unless one is kept.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import aclosing
from typing import ClassVar

import msgspec
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.reactive import var
from textual.widgets import Static

from chatterm import lens
from chatterm.engine.base import Engine, Prompt
from chatterm.engine.in_turns import Lane, in_turns
from chatterm.errors import ChattermError
from chatterm.settings import Sampling, Settings, fields_of
from chatterm.text import line
from chatterm.ui.glass.marks import MUTED, bar, named, percent
from chatterm.ui.glass.shown_token import shown
from chatterm.ui.screens.glass_by_hand import Begun, Wish
from chatterm.ui.widgets.control import Control
from chatterm.ui.widgets.key_row import Hint, KeyRow
from chatterm.ui.widgets.modal import Modal
from chatterm.ui.widgets.slider import Slider

TEMPERATURES = (0.0, 0.7, 1.5)
N_TOKENS = 200
"""Tokens that each gets; what is kept goes on to its end."""
CAPTION = (
    "The same question, the same random numbers, another temperature: "
    "low keeps to the likeliest token, high evens the chances out."
)
_N_SEEDS = 2**31
_KEYS = (
    Hint("tab", "next", ""),
    Hint("← →", "change", ""),
    Hint("enter", "again", "run"),
    Hint("↑ ↓", "token", ""),
    Hint("k", "keep", "keep"),
    Hint("n", "seed", "reseed"),
    Hint("esc", "close", "leave"),
)


class Column(Vertical):
    """One temperature: its slider, what was written at it, and the distribution of the token under the cursor."""

    DEFAULT_CSS = """
    Column {
        width: 1fr; padding: 0 1; border-right: vkey $panel;
        &.-current { background: $surface; }
        & > .state { height: 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
        & > VerticalScroll {
            height: 1fr; margin-top: 1; scrollbar-size-vertical: 1; scrollbar-background: $background;
            scrollbar-background-hover: $background; scrollbar-background-active: $background;
        }
        & > .chances { height: auto; max-height: 45%; border-top: hkey $panel; }
    }
    """
    at: var[int] = var(0, init=False)
    """Of which token the distribution is shown, counted from 0."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.lane: Lane | None = None
        self.state = ""

    def compose(self) -> ComposeResult:
        """The slider above, the chances below."""
        field = next(field for field in fields_of("sampling") if field.name == "temperature")
        yield Slider(field, self.temperature, reach=2.0)
        yield Static(classes="state", markup=False)
        with VerticalScroll(can_focus=False):
            yield Static(classes="text", markup=False)
        yield Static(classes="chances", markup=False)

    def tell(self, state: str) -> None:
        """What it is at, and what it has."""
        self.state = state
        self.show()
        self.query_one(VerticalScroll).scroll_end(animate=False)

    def watch_at(self) -> None:
        """Another token."""
        self.show()

    def show(self) -> None:
        """Draw what there is."""
        lane = self.lane
        if lane is None:
            return
        bits = [seen.surprise for seen in lane.measures if seen.surprise is not None]
        mean = f" · {sum(bits) / len(bits):.1f} bits each" if bits else ""
        self.query_one(".state", Static).update(f"{self.state} · {lane.n_tokens} tokens{mean}")
        self.query_one(".text", Static).update(self._text(lane))
        self.query_one(".chances", Static).update(Content("\n").join(self._chances(lane)))

    def _text(self, lane: Lane) -> Content:
        """The tokens, with the one under the cursor marked; the text alone where they are not told."""
        if not lane.measures:
            return Content.assemble((line(lane.reasoning), MUTED), lane.text)
        marked = {self.at: "reverse bold"}
        return Content.assemble(
            *((shown(seen.piece), marked.get(i, MUTED if seen.is_end else "")) for i, seen in enumerate(lane.measures))
        )

    def _chances(self, lane: Lane) -> list[Content]:
        """From what the token under the cursor was drawn."""
        if self.at >= len(lane.measures):
            return [Content.styled(f"token {self.at + 1}: not written", MUTED)]
        seen = lane.measures[self.at]
        width = max(self.content_size.width, 16)
        n_rows = 4 if self.size.height < 24 else 8
        name, cells = min(12, width // 3), max(width - min(12, width // 3) - 10, 2)
        rows = [Content.styled(f"token {self.at + 1}: chances at {lane.sampling.temperature:g}", MUTED)]
        for one in lens.candidates(seen)[:n_rows]:
            is_drawn = one.piece == seen.piece
            rows.append(
                Content.assemble(
                    (named(one.piece, name), "bold" if is_drawn else "" if one.share else MUTED),
                    " ",
                    (bar(one.share, cells), "$text-accent" if is_drawn else "$text-primary"),
                    (f"{percent(one.share):>7}", "") if one.share else (f"{'cut':>7}", MUTED),
                    ("◀" if is_drawn else " ", "$text-accent"),
                )
            )
        return rows


class Temperatures(Modal[Wish | None]):
    """Three columns; gives the answer that shall be kept, or None."""

    DEFAULT_CSS = """
    Temperatures {
        background: $background;
        & > #title { height: 1; padding: 0 1; background: $panel; text-style: bold; }
        & > .about { height: auto; max-height: 2; padding: 0 1; color: $text-muted; }
        & > #question { height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
        & > Horizontal { height: 1fr; margin-top: 1; }
    }
    """
    AUTO_FOCUS = "Slider"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "run", "Write again", show=False),
        Binding("up", "token(-1)", "Token before", show=False),
        Binding("down", "token(1)", "Next token", show=False),
        Binding("k", "keep", "Keep this one", show=False),
        Binding("n", "reseed", "Other random numbers", show=False),
        Binding("escape,q", "leave", "Close", show=False),
    ]

    seed: var[int] = var(0, init=False)

    def __init__(
        self, engine: Engine, prompt: Prompt, question_id: int, settings: Settings, engine_free: asyncio.Lock
    ) -> None:
        """Nothing is written yet.

        Args:
            engine: Who writes.
            prompt: What is asked; ends in the question.
            question_id: The question's turn.
            settings: All settings but the temperature.
            engine_free: Held while it writes.
        """
        super().__init__()
        self._engine = engine
        self._prompt = prompt
        self._question_id = question_id
        self._sampling = settings.sampling
        self._stated = {*settings.stated, "temperature"}  # what the columns differ in is left to no server
        self._engine_free = engine_free
        seed = settings.sampling.seed
        self.set_reactive(Temperatures.seed, seed if seed >= 0 else secrets.randbelow(_N_SEEDS))

    def compose(self) -> ComposeResult:
        """What is seen, the question, the columns, the keys."""
        yield Static("Temperature, side by side", id="title", markup=False)
        yield Static(CAPTION, classes="about", markup=False)
        yield Static(id="question", markup=False)
        with Horizontal():
            for temperature in TEMPERATURES:
                yield Column(temperature)
        yield KeyRow()

    def on_mount(self) -> None:
        """Begin at once."""
        self.query_one(KeyRow).show(_KEYS)
        self.action_run()

    @property
    def columns(self) -> list[Column]:
        """From left to right."""
        return list(self.query(Column))

    @property
    def current(self) -> Column:
        """The column that has the focus."""
        return next((column for column in self.columns if column.has_focus_within), self.columns[0])

    def on_descendant_focus(self) -> None:
        """Show which column the keys are for."""
        for column in self.columns:
            column.set_class(column is self.current, "-current")

    @on(Control.Changed)
    def _take(self, event: Control.Changed) -> None:
        event.stop()
        column = next(column for column in self.columns if column in event.control.ancestors)
        if isinstance(event, Control.ResetWanted):
            event.control.show(TEMPERATURES[self.columns.index(column)])
        if not event.control.problem and event.control.value != column.temperature:
            column.temperature = event.control.value
            column.tell("enter writes at this temperature")

    @work(exclusive=True, group="lanes")
    async def action_run(self) -> None:
        """Write all three from their beginning."""
        how = f"  in turns, up to {self._n_tokens} tokens each · seed {self.seed}"
        question = f"“{line(self._prompt.turns[-1].text)}”"
        room = max(self.size.width - len(how) - 2, 12)
        self.query_one("#question", Static).update(
            Content.assemble(question if len(question) <= room else f"{question[: room - 2]}…”", (how, MUTED))
        )
        for column in self.columns:
            column.lane = Lane(self._sampling_at(column.temperature))
            column.tell("waits")
        lanes = {id(column.lane): column for column in self.columns}
        wanted = [column.lane for column in self.columns if column.lane is not None]
        writing: Column | None = None
        try:
            async with (
                self._engine_free,
                aclosing(in_turns(self._engine, self._prompt, wanted, self._n_tokens, self._stated)) as grown,
            ):
                async for lane in grown:
                    if writing is not None and writing.lane is not lane:
                        writing.tell(_state(writing.lane))
                    writing = lanes[id(lane)]
                    writing.tell("writes")
        except ChattermError as error:
            self.notify(str(error), title=error.title, severity="error", markup=False)
        for column in self.columns:
            column.tell(_state(column.lane, is_running=False))

    @property
    def _n_tokens(self) -> int:
        """How many tokens each may have."""
        return min(self._sampling.max_tokens or N_TOKENS, N_TOKENS)

    def _sampling_at(self, temperature: float) -> Sampling:
        """The settings of a column."""
        return msgspec.structs.replace(self._sampling, temperature=temperature, seed=self.seed)

    def action_reseed(self) -> None:
        """Write with other random numbers."""
        self.seed = secrets.randbelow(_N_SEEDS)
        self.action_run()

    def action_token(self, step: int) -> None:
        """Show from what another token was drawn, in all columns."""
        last = max((len(column.lane.measures) for column in self.columns if column.lane is not None), default=1) - 1
        for column in self.columns:
            column.at = min(max(column.at + step, 0), max(last, 0))

    def action_keep(self) -> None:
        """Make this column the answer; it goes on to its end."""
        lane = self.current.lane
        if why_not := self._engine.capabilities.why_not("branches"):
            self.notify(why_not, title="It cannot be kept", severity="warning", markup=False)
        elif lane is None or not lane.measures or None in [seen.id for seen in lane.measures]:
            self.notify("Wait for its first token.", title="Nothing is written yet", markup=False)
        else:
            # As many tokens as have arrived whole: a measure comes before its token.
            measures = tuple(lane.measures[: lane.n_tokens])
            settings = msgspec.structs.replace(lane.sampling, max_tokens=self._sampling.max_tokens)
            self.dismiss(Wish(self._question_id, Begun(measures), settings))

    async def action_leave(self) -> None:
        """Keep none."""
        self.dismiss(None)

    @on(KeyRow.Wanted)
    async def _run_hint(self, event: KeyRow.Wanted) -> None:
        event.stop()
        await self.run_action(event.action)


def _state(lane: Lane | None, *, is_running: bool = True) -> str:
    """How far one is, in a word."""
    if lane is None or not lane.n_tokens:
        return "waits" if is_running else "not written"
    if lane.is_complete:
        return "complete"
    return "waits" if is_running and not lane.is_over else "cut"
