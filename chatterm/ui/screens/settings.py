"""The settings panel: every setting that there is, for this conversation, this model or as the default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widget import Widget
from textual.widgets import Button, Static, TabbedContent, TabPane, Tabs

from chatterm.address import Address
from chatterm.events import ModelInfo
from chatterm.layers import layered
from chatterm.settings import Settings, about
from chatterm.text import line
from chatterm.ui import themes as looks
from chatterm.ui.form import EVERYWHERE, Draft, Scope, SettingsResult, chosen_automatically
from chatterm.ui.screens.model_picker import ModelPicker, Models, RemoteModels, listed
from chatterm.ui.widgets.choice import Choice
from chatterm.ui.widgets.control import Control
from chatterm.ui.widgets.controls import control_for
from chatterm.ui.widgets.field_row import FieldRow
from chatterm.ui.widgets.modal import Modal
from chatterm.ui.widgets.model_button import ModelButton

__all__ = ["SettingsResult", "SettingsScreen"]

PAGES: dict[str, tuple[str, ...]] = {
    "Model": ("chat", "models"),
    "Sampling": ("sampling",),
    "Loading": ("load",),
    "Look": ("look",),
}
"""What the tabs are called, and which sections of the settings stand there."""


class Page(VerticalScroll, can_focus=False, inherit_bindings=False):
    """The rows below a tab; empty until it is looked at."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "page_up", "Page up", show=False),
        Binding("pagedown", "page_down", "Page down", show=False),
    ]

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Tabs would open the page that has the focus; told late, that would turn back a page that was turned since."""
        event.stop()


class SettingsScreen(Modal[SettingsResult | None]):
    """Gives what was changed and for what it counts, or None."""

    AUTO_FOCUS = ""  # the open page brings the focus, once it is filled
    CSS_PATH = "settings.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", show=False),
        Binding("ctrl+s", "apply", "Apply", show=False, priority=True),
        Binding("ctrl+r", "reset", "Default", show=False),
        Binding("ctrl+pageup", "page(-1)", "Previous page", show=False, priority=True),
        Binding("ctrl+pagedown", "page(1)", "Next page", show=False, priority=True),
        Binding("up", "app.focus_previous", show=False),
        Binding("down", "app.focus_next", show=False),
    ]

    def __init__(
        self,
        settings: Settings,
        overrides: Mapping[str, Any],
        models: Models,
        themes: Sequence[str],
        model: ModelInfo | None = None,
        has_conversation: bool = True,
        automatic_theme: str = looks.DEFAULT_DARK,
        page: str = "Sampling",
        remote: RemoteModels | None = None,
    ) -> None:
        """A panel that edits settings; it saves nothing itself.

        Args:
            settings: The defaults, as they are in the file.
            overrides: What the open conversation has of its own.
            models: For the model picker.
            themes: Names of themes that the app has registered.
            model: The one that is loaded, for its limits.
            has_conversation: Whether there is a conversation (also a new one) to set things for.
            automatic_theme: The one that follows the terminal.
            page: Which of `PAGES` is open at first.
            remote: What servers have, for the model picker.
        """
        super().__init__()
        scope: Scope = "conversation" if has_conversation else "default"
        self.draft = Draft(settings, overrides, scope, can_think=bool(model and model.can_think), model=model)
        self.automatic = chosen_automatically(model, layered(settings, model, overrides).load)
        self.models, self.remote, self.themes, self.model = models, remote, themes, model
        self.has_conversation, self.automatic_theme, self.first_page = has_conversation, automatic_theme, page
        self.theme_before = ""

    def compose(self) -> ComposeResult:
        """Pages above, scope and buttons below."""
        with Vertical(id="panel") as panel:
            panel.border_title = "Settings"
            panel.border_subtitle = "↑↓ field · ←→ change · 0-9 type · del default · ctrl+s apply · esc cancel"
            with TabbedContent(initial=self.first_page.lower()):
                for title in PAGES:
                    with TabPane(title, id=title.lower()):
                        yield Page()
            with Horizontal(id="bottom"):
                yield self.scope_choice()
                yield Button("Cancel", id="cancel", compact=True)
                yield Button("Apply", id="apply", variant="primary", compact=True)

    @on(TabbedContent.TabActivated)
    async def open_page(self, event: TabbedContent.TabActivated) -> None:
        """Fill a page when it is looked at for the first time, and begin with its first field."""
        page = event.pane.query_one(Page)
        if not page.children:
            await page.mount_all(row for section in PAGES[str(event.tab.label)] for row in self.rows(section))
            self.show_marks()
            if page.query(ModelButton):
                self.name_model()
        is_open = event.tabbed_content.active == event.pane.id  # else another one was opened meanwhile
        if is_open and not isinstance(self.focused, Tabs):
            page.query(FieldRow).first().take_focus()

    def rows(self, section: str) -> Iterator[Widget]:
        """A line about the section, then a row for each of its fields."""
        more = self.now() if section == "load" else " Counts for all conversations." if section in EVERYWHERE else ""
        yield Static(f"{about(section)}{more}", classes="about", markup=False)
        themes = {name: self.app.get_theme(name) for name in self.themes}
        for field in self.draft.fields(section):
            yield FieldRow(field, control_for(field, self.draft.value(field), self.model, themes, self.automatic))

    def now(self) -> str:
        """How the model that answers is loaded."""
        if not (model := self.model):
            return ""
        if model.host:
            return f"\nNow: {model.name} answers, to which these settings do not apply."
        layers = f"{model.n_gpu_layers} of {model.n_layers} layers on a GPU" if model.n_gpu_layers else "no GPU"
        flash = "flash attention" if model.flash_attention else "no flash attention"
        template = "" if model.template in ("", "model") else f" Template: {line(model.template)}."
        return (
            f"\nNow: a window of {model.n_ctx:,} tokens (the model is trained for {model.n_ctx_train:,}), "
            f"{model.n_threads} {'thread' if model.n_threads == 1 else 'threads'}, {layers}, {flash}.{template}"
            f"\nWhat is set for this model counts for {line(self.draft.model_key)} in all conversations."
        )

    def scope_choice(self) -> Static | Choice:
        """For what the changes count."""
        options = [("conversation", "for this conversation")] if self.has_conversation else []
        options += [("model", "this model")] if self.draft.model_key else []
        if not options:
            return Static("Changes count as default.", id="scope", markup=False)
        return Choice([*options, ("default", "default")], self.draft.scope, id="scope")

    def on_mount(self) -> None:
        """Remember how it looked."""
        self.theme_before = self.app.theme

    @work(exclusive=True, group="models")
    async def name_model(self) -> None:
        """Show the chosen model's name, once the models that are here are known."""
        button = self.query_one(ModelButton)
        for model in await listed(self.models):
            if str(model.path) == button.value:
                button.name_shown = " · ".join(part for part in (model.name, model.quantization) if part)

    def show_marks(self) -> None:
        """Say of each field whether it is the default, and what that is."""
        for row in self.query(FieldRow):
            self.show_mark(row)

    def show_mark(self, row: FieldRow) -> None:
        """Likewise, of one field."""
        row.mark = self.draft.mark(row.field)
        row.source = self.draft.source(row.field)
        row.default = self.draft.default(row.field)
        row.note = self.draft.note(row.field)

    @on(Control.Changed)
    def take_change(self, event: Control.Changed) -> None:
        """Keep what was changed, and show what it means."""
        event.stop()
        row = next((row for row in self.query(FieldRow) if row.control is event.control), None)
        match event:
            case Control.ResetWanted() if row:
                self.draft.reset(row.field)
                event.control.show(self.draft.value(row.field))
                self.show_change(row)
            case ModelButton.Pressed():
                self.pick_model(event.control)
            case _ if row is None:
                self.change_scope(event.control.value)
            case _:
                self.draft.edit(row.field, event.control.value)
                self.show_change(row)

    def show_change(self, row: FieldRow) -> None:
        """What a change of a field means, and a theme at once."""
        row.problem = row.control.problem
        self.show_mark(row)
        if row.field.name == "theme":
            self.preview(row.control.value)

    def change_scope(self, scope: Scope) -> None:
        """Show what counts there; what was changed stays changed."""
        self.draft.scope = scope
        for row in self.query(FieldRow):
            if not row.control.problem and row.control.value != self.draft.value(row.field):
                row.control.show(self.draft.value(row.field))
        self.show_marks()

    def preview(self, theme: str) -> None:
        """Put a theme on at once; Cancel takes it off again."""
        name = theme or self.automatic_theme
        if name in self.app.available_themes:
            self.app.theme = name

    @work(exclusive=True, group="pick")
    async def pick_model(self, button: Control) -> None:
        """Ask which model shall answer."""
        current = button.value or (self.model.address if self.model else "")
        picker = ModelPicker(self.models, current, self.remote)
        address: Address | None = await self.app.push_screen_wait(picker)
        if address is not None and isinstance(button, ModelButton):
            button.name_shown = ""
            button.choose(str(address))
            self.name_model()

    @on(Button.Pressed, "#apply")
    def action_apply(self) -> None:
        """Give the changes back; not while a value is refused, to which the focus goes instead."""
        for row in self.query(FieldRow):
            if row.control.problem:
                self.query_one(TabbedContent).active = next(
                    pane.id or "" for pane in row.ancestors if isinstance(pane, TabPane)
                )
                self.call_after_refresh(row.take_focus)
                return
        changes = self.draft.changes()
        if "look" not in changes:
            self.app.theme = self.theme_before
        model_key = self.draft.model_key if self.draft.scope == "model" else ""
        self.dismiss(SettingsResult(changes, self.draft.scope, model_key) if changes else None)

    @on(Button.Pressed, "#cancel")
    def action_cancel(self) -> None:
        """Leave everything as it was."""
        self.app.theme = self.theme_before
        self.dismiss(None)

    def action_reset(self) -> None:
        """Take the default back in the field that has the focus."""
        for node in self.focused.ancestors_with_self if self.focused else ():
            if isinstance(node, Control):
                node.action_reset()
                return

    def action_page(self, by: int) -> None:
        """Open the next page."""
        pages = [title.lower() for title in PAGES]
        sections = self.query_one(TabbedContent)
        sections.active = pages[(pages.index(sections.active) + by) % len(pages)]
