"""The tour: from a text to the next one in seven stations, on the conversation that is open, and what follows from it.

Each station opens the real view on the real numbers, says one sentence, and offers one thing to try.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget

from chatterm.ui.glass.marks import MUTED, named, percent
from chatterm.ui.glass.shown_token import TokenKind
from chatterm.ui.glass.source import GlassToken
from chatterm.ui.glass.views import ViewName


class Station(NamedTuple):
    """A stop of the tour."""

    title: str
    view: ViewName
    place: Callable[[Sequence[GlassToken]], int]
    """On which token the cursor goes."""
    says: Callable[[Sequence[GlassToken], int], str]
    """One sentence about the tokens and the one under the cursor."""
    to_try: str
    has_sliders: bool = False


def first_of_answer(tokens: Sequence[GlassToken]) -> int:
    """Where the last answer begins; the last token where there is none."""
    last = len(tokens) - 1
    place = next((i for i in range(last, -1, -1) if tokens[i].part == "answer"), last)
    while place > 0 and tokens[place - 1].part == "answer":
        place -= 1
    return place


def first_of_question(tokens: Sequence[GlassToken]) -> int:
    """Where the last message begins."""
    mine = [i for i, token in enumerate(tokens) if token.part == "your message"]
    if not mine:
        return 0
    place = mine[-1]
    while place > 0 and tokens[place - 1].part == "your message":
        place -= 1
    return place


def longest_word(tokens: Sequence[GlassToken]) -> int:
    """The longest word of the last message, which has most to say."""
    start = first_of_question(tokens)
    end = start
    while end < len(tokens) and tokens[end].part == "your message":
        end += 1
    return max(range(start, max(end, start + 1)), key=lambda i: len(tokens[i].piece) if i < len(tokens) else 0)


def undecided(tokens: Sequence[GlassToken]) -> int:
    """The token of the last answer at which the model was most undecided; its first one where nothing was measured."""
    start = first_of_answer(tokens)
    measured = [(token.measured.entropy or 0.0, -i) for i, token in enumerate(tokens) if i >= start and token.measured]
    return -max(measured)[1] if measured else start


def _word(tokens: Sequence[GlassToken], place: int) -> str:
    return named(tokens[place].piece, 20).strip() if 0 <= place < len(tokens) else ""


def _says_text(tokens: Sequence[GlassToken], _: int) -> str:
    n = sum(token.kind in (TokenKind.SPECIAL, TokenKind.TEMPLATE) for token in tokens)
    return f"Your message becomes one long text, with {n} tokens of marks around it that tell who speaks; the model only goes on with that text."


def _says_tokens(tokens: Sequence[GlassToken], place: int) -> str:
    number = tokens[place].id if 0 <= place < len(tokens) else None
    known = f"; “{_word(tokens, place)}” is number {number:,}" if number is not None else ""
    return f"The text is cut into {len(tokens):,} tokens, and to the model each is only a number{known}."


def _says_vectors(tokens: Sequence[GlassToken], place: int) -> str:
    return f"“{_word(tokens, place)}” is looked up in a table and becomes a row of numbers: words that are used alike have similar rows."


def _says_attention(tokens: Sequence[GlassToken], place: int) -> str:
    return f"Layer by layer “{_word(tokens, place)}” gathers from earlier tokens what it means here: the stronger the colour, the more it takes."


def _says_distribution(tokens: Sequence[GlassToken], place: int) -> str:
    measured = tokens[place].measured if 0 <= place < len(tokens) else None
    if measured is None or measured.probability is None:
        return "Out of the last layer comes a probability for every token of the vocabulary, and nothing else."
    return (
        f"Out of the last layer comes a probability for every token of the vocabulary: “{_word(tokens, place)}” "
        f"had {percent(measured.probability)}."
    )


def _says_temperature(_tokens: Sequence[GlassToken], _place: int) -> str:
    return "Temperature reshapes the chances (low: predictable, high: creative, too high: incoherent), then one token is drawn by lot."


def _says_loop(tokens: Sequence[GlassToken], place: int) -> str:
    return f"“{_word(tokens, place)}” was put behind all that came before, the whole went through the model again, and so on, token by token."


def _says_history(tokens: Sequence[GlassToken], _: int) -> str:
    return f"For each token the whole history counts: {len(tokens):,} tokens now; what no longer fits into the window is forgotten."


ASK_FIRST = "First ask something: the tour goes through your own question and its answer."
STATIONS = (
    Station("Text", ViewName.TOKENS, first_of_question, _says_text, "find the marks around your message with ← →"),
    Station("Tokens", ViewName.TOKENS, longest_word, _says_tokens, "look below how the same word is cut with a capital"),
    Station("Vectors", ViewName.VECTORS, longest_word, _says_vectors, "go to another word and see its neighbours"),
    Station("Attention", ViewName.ATTENTION, undecided, _says_attention, "[ and ] for the layers, 5 for what each would say"),
    Station("Distribution", ViewName.NEXT, undecided, _says_distribution, "→ until you find a token that was a surprise"),
    Station("Temperature", ViewName.NEXT, undecided, _says_temperature, "move the temperature with ← →, esc ends it", True),
    Station("Again and again", ViewName.NEXT, first_of_answer, _says_loop, "→ walks through the answer as it was written"),
    Station("The whole history", ViewName.WINDOW, undecided, _says_history, "ask another question and look again"),
)  # fmt: skip
"""Seven stations from text to text, and what follows for a conversation."""


class TourBar(Widget):
    """Where the tour is at: the station's sentence, what to try, and the way on."""

    DEFAULT_CSS = """
    TourBar { height: auto; padding: 0 1; background: $primary 14%; display: none; pointer: pointer; }
    """
    ALLOW_SELECT = False

    number: reactive[int] = reactive(0, layout=True)
    """Of the station, counted from 0."""
    sentence: reactive[str] = reactive("", layout=True)

    class Went(Message):
        """The user wants another station; -1 ends the tour."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    @property
    def waits(self) -> bool:
        """Whether it goes on as soon as something was answered."""
        return bool(self.display) and self.sentence == ASK_FIRST

    def render(self) -> Content:
        """A title, the sentence, and what to try."""
        station = STATIONS[self.number]
        is_last = self.number == len(STATIONS) - 1
        link = Style.from_meta
        where = f"{self.number + 1} of {len(STATIONS)} · "
        on = Content.assemble((" n ", "$text-accent"), "ends" if is_last else "goes on").stylize(link({"tour": "on"}))
        back = Content.assemble((" p ", "$text-accent"), "back").stylize(link({"tour": "back"}))
        return Content.assemble(
            (where, MUTED), (station.title, "bold $text-accent"), "\n", self.sentence, "\n",
            ("Try: ", "bold"), f"{station.to_try} · ", on, *(("  ", back) if self.number else ()),
        )  # fmt: skip

    def on_click(self, event: events.Click) -> None:
        """On, or back."""
        match event.style.meta.get("tour"):
            case "on":
                self.go(1)
            case "back":
                self.go(-1)

    def go(self, step: int) -> None:
        """Ask for the station before or after."""
        number = self.number + step
        if number >= 0:
            self.post_message(self.Went(number if number < len(STATIONS) else -1))
