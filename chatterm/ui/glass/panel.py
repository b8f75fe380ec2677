"""The glass box: one cursor on the tokens of the conversation, and views that all speak of that token.

It asks its source, and draws what comes; nothing here changes the chat. What it wants of the owner, it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import var
from textual.timer import Timer
from textual.widgets import Static

from chatterm.errors import ChattermError
from chatterm.events import Measured
from chatterm.settings import Sampling
from chatterm.text import plain
from chatterm.ui.glass.aim import Aim, Angle
from chatterm.ui.glass.glossary import TERM_OF, Glossary
from chatterm.ui.glass.keys import KEYS, hints
from chatterm.ui.glass.marks import MUTED
from chatterm.ui.glass.shaper import Shaper
from chatterm.ui.glass.shown_token import TokenKind
from chatterm.ui.glass.sight import Sight
from chatterm.ui.glass.sighting import Sighting
from chatterm.ui.glass.sights import SIGHTS
from chatterm.ui.glass.source import GlassSource, GlassToken
from chatterm.ui.glass.tabs import Tabs
from chatterm.ui.glass.tinting import Tint
from chatterm.ui.glass.token_view import TokenView
from chatterm.ui.glass.tour import ASK_FIRST, STATIONS, TourBar
from chatterm.ui.glass.view_body import ViewBody
from chatterm.ui.glass.views import VIEWS, ViewName
from chatterm.ui.widgets.key_row import KeyRow

PAUSE_SECONDS = 0.08
"""The cursor rests so long before the model is looked into."""
SECONDS_BETWEEN_DRAWINGS = 0.1
LOW = 27
"""Rows below which everything is said in one line."""
TINY = 11
"""Rows below which nothing but the tokens and the view is said."""


class GlassPanel(Vertical):
    """The views and the tokens that they speak of."""

    class CopyRequested(Message):
        """The user wants a view as text or as JSON."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Closed(Message):
        """The user wants it away."""

    class Left(Message):
        """The user goes on writing."""

    DEFAULT_CSS = """
    GlassPanel {
        background: $background; border-left: vkey $panel;
        & > #caption { height: auto; max-height: 3; padding: 0 1; color: $text-muted; }
        & > TokenView { height: 2fr; min-height: 3; margin-top: 1; }
        & > #legend { height: auto; max-height: 3; padding: 0 1; color: $text-muted; border-bottom: hkey $panel; }
        & > #view { height: 3fr; }
        & > Shaper { display: none; }
        & > KeyRow { height: 2; }
        &.-low {
            & > #caption, & > #legend { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
            & > #legend { border-bottom: none; background: $panel; }
            & > TokenView { margin-top: 0; }
            & > KeyRow { height: 1; }
        }
        &.-tour > #caption { display: none; }
        &.-tiny {
            & > #caption, & > #legend, & > KeyRow { display: none; }
            & > TokenView { height: 1fr; min-height: 1; }
            & > Shaper { max-height: 50%; overflow-y: auto; }
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = KEYS

    view: var[ViewName] = var(ViewName.TOKENS, init=False)
    tint: var[Tint] = var(Tint.BOUNDARIES, init=False)
    angle: var[Angle] = var(Angle(), init=False)
    """How the token is looked at, beside that."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.source: GlassSource | None = None
        self.tokens: list[GlassToken] = []
        self.sampling = Sampling()
        """The settings that count in the conversation."""
        self.sighting = Sighting(SIGHTS[ViewName.TOKENS])
        """What the view has seen."""
        self._no_tokens = ""
        """Why there are no tokens."""
        self._wants_rows = False
        """Whether the keys go to the rows of the view as soon as there are any."""
        self._pause: Timer | None = None
        self._draw_soon: Timer | None = None

    def compose(self) -> ComposeResult:
        """The views' names, what is seen, the tokens, the view, and its keys."""
        yield Tabs()
        yield TourBar()
        yield Static(id="caption", markup=False)
        yield TokenView(id="tokens")
        yield Static(id="legend", markup=False)
        yield ViewBody(id="view")
        yield Shaper()
        yield KeyRow()

    def on_mount(self) -> None:
        """Draw the first view."""
        self._show_view()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self.set_class(self.size.height < TINY, "-tiny")
        if self.has_class("-low") != (is_low := self.size.height < LOW):
            self.set_class(is_low, "-low")
            self._show_view()
        self.call_after_refresh(self._draw)

    @property
    def token_view(self) -> TokenView:
        """Where the cursor is."""
        return self.query_one(TokenView)

    @property
    def body(self) -> ViewBody:
        """What the view says."""
        return self.query_one(ViewBody)

    @property
    def shaper(self) -> Shaper:
        """The sliders; away at first."""
        return self.query_one(Shaper)

    @property
    def tour_bar(self) -> TourBar:
        """Where the tour is at; away at first."""
        return self.query_one(TourBar)

    @property
    def current(self) -> GlassToken | None:
        """The token under the cursor."""
        place = self.token_view.cursor
        return self.tokens[place] if 0 <= place < len(self.tokens) else None

    @property
    def sight(self) -> Sight:
        """What the view asks for and says."""
        return self.sighting.sight

    @property
    def _aim(self) -> Aim:
        """What is looked at, and how."""
        shaper, place, token = self.shaper, max(self.token_view.cursor, 0), self.current
        if shaper.display:
            return Aim(self.tokens, place, self.angle, shaper.sampling, has_sliders=True)
        drawn_at = self.source.drawn_at(token.turn) if self.source is not None and token is not None else None
        return Aim(self.tokens, place, self.angle, self.sampling, drawn_at=drawn_at)

    def focus(self, scroll_visible: bool = True) -> GlassPanel:
        """Keys go to the tokens, at once: the next one may be here already."""
        self.screen.set_focus(self.token_view, scroll_visible)
        return self

    @work(exclusive=True, group="tokens")
    async def reload(self) -> None:
        """Ask which tokens there are now, and show them."""
        await self.fill()

    async def fill(self) -> None:
        """The same, waited for."""
        if self.source is None:
            return
        try:
            found = await self.source.tokens()
        except ChattermError as error:
            self.tokens, self._no_tokens = [], plain(str(error))
        else:
            self.tokens, self._no_tokens = found, ""
        if self.display:  # else it was closed meanwhile, perhaps with the whole app
            self._show_tokens()
            if self.tour_bar.waits and any(token.part == "answer" for token in self.tokens):
                self._go_to_station(0)

    def add(self, seen: Measured) -> None:
        """A token was drawn."""
        kind = TokenKind.SPECIAL if seen.is_end else TokenKind.DRAWN
        self.tokens.append(GlassToken(seen.piece, seen.id, kind, "answer", measured=seen))
        if self._draw_soon is None:
            self._draw_soon = self.set_timer(SECONDS_BETWEEN_DRAWINGS, self._draw_added)

    def _draw_added(self) -> None:
        self._draw_soon = None
        if self.display:
            self._show_tokens()

    def _show_tokens(self) -> None:
        """Draw the tokens, and what is seen of the one under the cursor."""
        self.sighting.forget_another_text(self.tokens)
        self.token_view.show([token.drawn for token in self.tokens], self._tints())
        self._show_legend()
        self._look_soon()
        self._draw()

    @on(TokenView.Moved)
    def _follow_cursor(self) -> None:
        self._look_soon()
        self._draw()

    def _look_soon(self) -> None:
        """Look into the model, once the cursor rests; not while nobody sees it."""
        self.look_no_more()
        if self.display:
            self._pause = self.set_timer(PAUSE_SECONDS, self._look)

    def look_no_more(self) -> None:
        """Let be what the cursor was about to rest for."""
        if self._pause is not None:
            self._pause.stop()
            self._pause = None

    @work(exclusive=True, group="look")
    async def _look(self) -> None:
        """Ask the source for what the view shows of the token under the cursor."""
        if self.source is None or self.current is None:
            return
        sighting = self.sighting
        await sighting.look(self.source, self._aim)
        sighting.forget_another_text(self.tokens)  # it can have changed meanwhile
        if self.display:
            self.token_view.tint(self._tints())
            self._draw()

    @on(Tabs.Chosen)
    def _choose(self, event: Tabs.Chosen) -> None:
        self.view = event.name

    def action_view(self, name: str) -> None:
        """Open a view."""
        self.view = ViewName(name)

    def watch_view(self) -> None:
        """Another view."""
        self.sighting = Sighting(SIGHTS[self.view])
        self.set_reactive(GlassPanel.angle, self.angle._replace(form=0, n_stages=None))
        self.set_reactive(GlassPanel.tint, self.sight.first_tint(self.tint))
        self.colours_changed()
        self._wants_rows = self.sight.takes_keys
        if self.body.has_focus:
            self.screen.set_focus(self.token_view)  # at once: the sliders may want it next
        self._show_view()
        self.token_view.tint(self._tints())
        self._draw()
        self._look_soon()

    def _show_view(self) -> None:
        """Draw the parts that belong to a view."""
        view = VIEWS[self.view]
        self.query_one(Tabs).current = self.view
        self.query_one("#caption", Static).update(view.brief if self.has_class("-low") else view.caption)
        self.query_one(KeyRow).show(hints(self.view))
        if self.view is not ViewName.NEXT:
            self.shaper.display = False
        self._show_legend()

    def _draw(self) -> None:
        """Draw the view."""
        if self.display:
            self._offer_rows()
            self.body.say(self._lines())

    def _lines(self) -> list[Content]:
        """What the view says."""
        if self._no_tokens:
            return [Content.styled(self._no_tokens, "$text-warning")]
        if self.current is None:
            return [Content.styled("Nothing was said yet.", MUTED)]
        return self.sighting.lines(self._aim, self.body.room)

    def action_scroll_view(self, pages: int) -> None:
        """Scroll what a view says, where it is longer than the screen."""
        self.body.scroll_relative(y=pages * max(self.body.size.height - 1, 1), animate=False)

    def _offer_rows(self) -> None:
        """Say which rows of the view can be chosen; without any, the keys go to the tokens."""
        n_rows = self.sighting.n_rows(self._aim) if self.current is not None else 0
        if self.body.has_focus and not self.sight.has_rows:
            self.screen.set_focus(self.token_view)
        self.body.offer(self.sight.first_line, n_rows)
        if self._wants_rows and self.sighting.seen is not None:
            if self.token_view.has_focus:
                self._go_to_rows()
            self._wants_rows = False

    def _go_to_rows(self) -> None:
        """Keys go to the rows of the view."""
        self.body.focus()
        self.body.go_to(self.sight.first_row(self.sighting.seen, self._aim))

    @on(ViewBody.Moved)
    def _follow_row(self) -> None:
        self._draw()

    @on(ViewBody.TokenWanted)
    def _go_on(self, event: ViewBody.TokenWanted) -> None:
        self.token_view.action_step(event.step)

    @on(ViewBody.Taken)
    def _take_row(self) -> None:
        self.action_take()

    def action_take(self) -> None:
        """Take what is under the cursor of the view; what comes of it, the owner knows."""

    @on(TokenView.Opened)
    def _open_alternatives(self) -> None:
        self.view = ViewName.NEXT
        self.action_candidates()

    def action_candidates(self) -> None:
        """Go through the candidates; without any, stay at the tokens."""
        self._draw()
        if self.body.n_rows:
            self._go_to_rows()

    def watch_angle(self, before: Angle, now: Angle) -> None:
        """Seen in another way; the model is asked again only where that needs another answer."""
        if now.form != before.form:
            self.sighting.seen = None
        self._show_colours()
        self._draw()
        if now.asked != before.asked:
            self._look_soon()

    def action_layer(self, step: int) -> None:
        """Another layer, or stage of the sampler; before the first one come all together."""
        self.angle = self.sight.another_layer(self.sighting.seen, self._aim, step)

    def action_head(self, step: int) -> None:
        """Another head; before the first one come all together."""
        self.angle = self.sight.another_head(self.sighting.seen, self._aim, step)

    def action_form(self) -> None:
        """The next form of a view that has several."""
        self.angle = self.angle._replace(form=self.angle.form + 1)

    def action_hide_first(self) -> None:
        """Leave the first token out, or show it."""
        self.angle = self.angle._replace(hides_first=not self.angle.hides_first)

    def watch_tint(self) -> None:
        """Other colours."""
        self._show_colours()
        self.colours_changed()

    def action_tint(self) -> None:
        """The next way to colour."""
        all_tints = list(Tint)
        self.tint = all_tints[(all_tints.index(self.tint) + 1) % len(all_tints)]

    def colours_changed(self) -> None:
        """What was measured is coloured in another way; where else that is seen, the owner knows."""

    def _show_colours(self) -> None:
        """Colour the tokens, and say what that says."""
        self._show_legend()
        self.token_view.tint(self._tints())

    def _tints(self) -> Sequence[float | None] | None:
        """How the tokens are coloured now."""
        return self.sighting.tints(self._aim, self.tint)

    def _show_legend(self) -> None:
        """Say what the colours of the tokens say."""
        self.query_one("#legend", Static).update(self.sighting.legend(self._aim, self.tint))

    def action_reshape(self) -> None:
        """Show the sliders, or go back to what happened."""
        self.view = ViewName.NEXT
        shaper = self.shaper
        shaper.display = not shaper.display
        if shaper.display:
            shaper.show(self.sampling)
        self._draw()
        if shaper.display:
            shaper.focus_first()
        else:
            self.token_view.focus()

    @on(Shaper.Reshaped)
    def _reshape(self) -> None:
        self._draw()

    def action_copy_text(self) -> None:
        """Copy the view as text."""
        self.post_message(self.CopyRequested(self.sighting.text(self._aim)))

    def action_copy_json(self) -> None:
        """Copy what the view shows as JSON."""
        self.post_message(self.CopyRequested(self.sighting.json(self._aim)))

    def action_glossary(self) -> None:
        """Say what the words mean, first of all that of this view."""
        self.app.push_screen(Glossary(TERM_OF.get(self.view, "Token")))

    def action_tour(self) -> None:
        """Begin the tour, or end it."""
        self.tours(not self.tour_bar.display)

    def tours(self, is_on: bool) -> None:
        """Begin the tour, or end it."""
        self.tour_bar.display = is_on
        self.set_class(is_on, "-tour")
        if is_on:
            self._go_to_station(0)

    def action_station(self, step: int) -> None:
        """On in the tour, or back."""
        if self.tour_bar.display:
            self.tour_bar.go(step)

    @on(TourBar.Went)
    def _tour_went(self, event: TourBar.Went) -> None:
        if event.number < 0:
            self.action_tour()
        else:
            self._go_to_station(event.number)

    def _go_to_station(self, number: int) -> None:
        """Open a station: its view, on its token, with its sentence."""
        bar, station = self.tour_bar, STATIONS[number]
        bar.number = number
        if not self.tokens:
            bar.sentence = ASK_FIRST
            return
        self.view = station.view
        self.token_view.go_to(station.place(self.tokens))
        bar.sentence = station.says(self.tokens, self.token_view.cursor)
        if self.shaper.display != station.has_sliders:
            self.action_reshape()
        if not station.has_sliders:
            self.token_view.focus()

    @on(KeyRow.Wanted)
    async def _run_hint(self, event: KeyRow.Wanted) -> None:
        event.stop()
        await self.run_action(event.action)

    def action_leave(self) -> None:
        """Go on writing."""
        self.screen.set_focus(None)  # at once: the next key may be here already, and is not meant for a view
        self.post_message(self.Left())

    def action_close(self) -> None:
        """Leave the rows of the view, close the sliders, else the panel."""
        if self.body.has_focus:
            self.token_view.focus()
        elif self.shaper.display:
            self.action_reshape()
        else:
            self.post_message(self.Closed())
