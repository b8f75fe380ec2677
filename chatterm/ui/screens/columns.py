"""What stands side by side: the list of conversations, the open one, and the glass box once it is wanted.

Where there is no room for all of them, one lies over another or takes its place. What happens in the others is
seen in the glass box, and what it shows, in the conversation; what it wants of the model, the screen knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import TextArea

from chatterm.ui.screens.conversation_view import ConversationView
from chatterm.ui.screens.opening import WIDE
from chatterm.ui.widgets.prompt import Prompt
from chatterm.ui.widgets.sidebar import Sidebar

if TYPE_CHECKING:
    from chatterm.ui.glass.panel import GlassPanel
    from chatterm.ui.screens.glass_dock import GlassDock

WIDE_ENOUGH = 110
"""Columns from which the glass box stands beside the conversation."""
GLASS_WIDTH = 60
"""Columns that it takes at least, beside which the list of conversations has no place of its own."""


class Columns(Horizontal):
    """The list beside a column of everything else, and beside that the glass box."""

    def __init__(
        self, sidebar: Sidebar, transcript: ConversationView, *below: Widget, prompt: Prompt, id: str | None = None
    ) -> None:
        """Without a glass box, until one is wanted.

        Args:
            sidebar: The list of conversations.
            transcript: The open one; it knows the glass box, which follows what is written there.
            below: What stands below it.
            prompt: Where the keys go when the glass box is left.
            id: As for any widget.
        """
        super().__init__(id=id)
        self._sidebar = sidebar
        self._transcript = transcript
        self._prompt = prompt
        self._middle = Vertical(transcript, *below, id="middle")

    def compose(self) -> ComposeResult:
        """The list and the middle."""
        yield self._sidebar
        yield self._middle

    def fit(self) -> None:
        """The glass box stands beside the conversation, or in its place where there is no room for both."""
        glass = self._transcript.glass
        is_open = glass is not None and glass.is_open
        self._middle.display = self.app.size.width >= WIDE_ENOUGH or not is_open
        self._sidebar.is_narrow = self.app.size.width < (WIDE + GLASS_WIDTH if is_open else WIDE)

    async def visit_glass(self) -> None:
        """Open the glass box beside the conversation, go there, or close it."""
        glass = await self._glass()
        if glass.is_open and glass.has_focus_within:
            self.close_glass()
        elif glass.is_open:
            glass.focus()
        else:
            self._open(glass)

    async def begin_tour(self) -> None:
        """Begin the tour in the glass box."""
        glass = await self._glass()
        if not glass.is_open:
            self._open(glass)
        glass.tours(True)

    def close_glass(self) -> None:
        """Close the glass box; the prompt has the focus again."""
        if self._transcript.glass is not None:
            self._transcript.glass.close()
        self.fit()
        self._prompt.focus()

    async def _glass(self) -> GlassDock:
        """The glass box, made when it is first wanted."""
        if self._transcript.glass is None:
            from chatterm.ui.screens.glass_dock import GlassDock  # late: many never open it

            self._transcript.glass = GlassDock(id="glass")
            await self.mount(self._transcript.glass)
        return self._transcript.glass

    def show_settings(self) -> None:
        """The glass box begins with the settings that count now."""
        if self._transcript.glass is not None:
            self._transcript.glass.sampling = self._transcript.chat.effective.sampling

    @on(TextArea.Changed, "#prompt")
    def _show_typed(self) -> None:
        """What is typed is seen in the glass box as it would be sent."""
        if self._transcript.glass is not None:
            self._transcript.glass.type(self._prompt.text)

    def on_model_notice_load_ended(self) -> None:
        """The conversation as the model reads it that was loaded, or why nothing reads it."""
        if self._transcript.glass is not None:
            self._transcript.glass.show_open()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """A list that lies over the conversation goes when it is left."""
        if self._sidebar not in event.widget.ancestors:
            self._sidebar.is_over = False

    def _open(self, glass: GlassDock) -> None:
        glass.open(self._transcript.chat)
        self.fit()

    def on_glass_panel_closed(self) -> None:
        """The user wants the glass box away."""
        self.close_glass()

    def on_glass_panel_left(self) -> None:
        """The user goes on writing beside the glass box, or without it where there is no room for both."""
        if not self._middle.display and self._transcript.glass is not None:
            self._transcript.glass.step_aside()
            self.fit()
        self._prompt.focus()

    def on_glass_panel_copy_requested(self, event: GlassPanel.CopyRequested) -> None:
        """Copy what a view shows."""
        self._transcript.copy(event.text)

    def on_glass_dock_tinted(self, event: GlassDock.Tinted) -> None:
        """Colour the answers as their tokens are."""
        self._transcript.tint(event.tints)

    def on_by_hand_switched(self) -> None:
        """Another answer is open."""
        self._transcript.show_open()
