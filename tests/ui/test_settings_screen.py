"""The settings panel, driven by keys and by mouse on an app that has nothing else."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.waiting import wait_for
from textual.app import App
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Input, TabbedContent

from chatterm import settings as rules
from chatterm.events import ModelInfo
from chatterm.library import LocalModel
from chatterm.settings import Settings
from chatterm.ui import themes
from chatterm.ui.screens.settings import PAGES, SettingsResult, SettingsScreen
from chatterm.ui.widgets.choice import Choice
from chatterm.ui.widgets.field_row import FieldRow

THINKER = ModelInfo(path="m", name="m", n_ctx=4096, n_ctx_train=32768, n_threads=3, n_layers=28, can_think=True)
MODELS = [
    LocalModel(Path("/models/one-Q4_K_M.gguf"), "one", "", "Q4_K_M", 4_000_000_000, "folder"),
    LocalModel(Path("/models/two-Q8_0.gguf"), "two", "", "Q8_0", 9_000_000, "folder"),
]


class Bare(App[None]):
    """Shows the panel and keeps what it gives."""

    def __init__(self, settings: Settings | None = None, overrides: dict[str, Any] | None = None, **more: Any) -> None:
        super().__init__()
        self.animation_level = "none"
        self.given: list[SettingsResult | None] = []
        self.arguments = {"settings": settings or Settings(), "overrides": overrides or {}, **more}

    def on_mount(self) -> None:
        loaded, _ = themes.load_themes()
        for theme in loaded:
            self.register_theme(theme)
        self.theme = "midnight"
        self.arguments.setdefault("models", MODELS)
        self.arguments.setdefault("themes", [theme.name for theme in loaded])
        self.push_screen(SettingsScreen(**self.arguments), self.given.append)

    @property
    def panel(self) -> SettingsScreen:
        assert isinstance(self.screen, SettingsScreen)
        return self.screen

    def row(self, id: str) -> FieldRow:
        return self.panel.query_one(f"#{id}", FieldRow)


def focused_row(app: Bare) -> str:
    for node in app.focused.ancestors_with_self if app.focused else ():
        if isinstance(node, FieldRow):
            return node.id or ""
    return ""


async def ready(pilot: Pilot[None], first: str = "sampling-temperature") -> None:
    await wait_for(pilot, lambda: focused_row(pilot.app) == first, f"the focus is on {first}")  # type: ignore[arg-type]


async def go_to(pilot: Pilot[None], row: str) -> None:
    """Down to a row by keys alone."""
    for _ in range(40):
        if focused_row(pilot.app) == row:  # type: ignore[arg-type]
            return
        await pilot.press("down")
    raise AssertionError(f"{row} cannot be reached with the arrow keys")


async def go_to_scope(pilot: Pilot[None], app: Bare) -> None:
    """To where it is chosen for what changes count."""
    scope = app.panel.query_one("#scope")
    scope.focus()
    await wait_for(pilot, lambda: scope.has_focus, "the focus is on the scope")


async def test_change_counts_for_this_conversation():
    app = Bare()
    async with app.run_test() as pilot:
        await ready(pilot)
        await pilot.press("right", "ctrl+s")
        await wait_for(pilot, lambda: app.given)
    assert app.given == [SettingsResult({"sampling": {"temperature": 0.85}}, "conversation")]


async def test_change_counts_as_default_when_that_is_chosen_by_keys():
    app = Bare()
    async with app.run_test() as pilot:
        await ready(pilot)
        await pilot.press("right", "up", "up", "up", "up")
        assert app.focused is app.panel.query_one("#scope")
        await pilot.press("right", "ctrl+s")
        await wait_for(pilot, lambda: app.given)
    assert app.given == [SettingsResult({"sampling": {"temperature": 0.85}}, "default")]


async def test_without_a_conversation_changes_are_the_default():
    app = Bare(has_conversation=False)
    async with app.run_test() as pilot:
        await ready(pilot)
        await pilot.press("left", "ctrl+s")
        await wait_for(pilot, lambda: app.given)
    assert app.given[0].scope == "default"  # type: ignore[union-attr]


@pytest.mark.parametrize("how", ["escape", "#cancel"])
async def test_cancel_changes_nothing(how: str):
    app = Bare()
    async with app.run_test() as pilot:
        await ready(pilot)
        await pilot.press("right")
        if how == "escape":
            await pilot.press("escape")
        else:
            await pilot.click(how)
        await wait_for(pilot, lambda: app.given)
    assert app.given == [None]


async def test_applying_no_change_gives_none():
    app = Bare()
    async with app.run_test() as pilot:
        await ready(pilot)
        await pilot.press("right", "left", "ctrl+s")
        await wait_for(pilot, lambda: app.given)
    assert app.given == [None]


async def test_all_is_done_by_mouse_alone():
    app = Bare()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        slider = app.row("sampling-temperature").control
        await pilot.click(slider, offset=(2, 0))
        choice = app.panel.query_one("#scope", Choice)
        await pilot.click(choice, offset=(26, 0))
        assert choice.value == "default"
        await pilot.click("#--content-tab-loading")
        await wait_for(pilot, lambda: app.panel.query("#load-mmap"))
        app.row("load-mmap").scroll_visible(animate=False)
        await pilot.pause()
        await pilot.click(app.row("load-mmap").control, offset=(8, 0))
        await pilot.click("#apply")
        await wait_for(pilot, lambda: app.given)
    assert app.given == [SettingsResult({"sampling": {"temperature": 0.0}, "load": {"mmap": False}}, "default")]


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_every_setting_is_reached_by_keys_and_is_seen(size: tuple[int, int]):
    app = Bare(model=THINKER)
    async with app.run_test(size=size) as pilot:
        await ready(pilot)
        for page, sections in PAGES.items():
            sections_tabs = app.panel.query_one(TabbedContent)
            while sections_tabs.active != page.lower():
                await pilot.press("ctrl+pagedown")
                await pilot.pause()
            fields = [field for section in sections for field in app.panel.draft.fields(section)]
            await ready(pilot, f"{fields[0].section}-{fields[0].name}")
            for field in fields:
                await go_to(pilot, f"{field.section}-{field.name}")
                row = app.row(f"{field.section}-{field.name}")
                await wait_for(pilot, lambda row=row: app.panel.can_view_partial(row.control), f"{row.id} is seen")
                assert row.control.region.right <= size[0]


async def test_pages_that_are_turned_quickly_end_at_the_last():
    app = Bare()
    async with app.run_test() as pilot:
        await ready(pilot)
        for _ in range(2):
            app.post_message(Key("ctrl+pagedown", None))
        await ready(pilot, "look-theme")
        for _ in range(20):
            await pilot.pause()
            assert app.panel.query_one(TabbedContent).active == "look"
        assert focused_row(app) == "look-theme"


async def test_every_field_can_be_changed_to_something_that_the_settings_take():
    """Whatever a control gives passes the check that the file has to pass."""
    app = Bare(model=THINKER)
    async with app.run_test(size=(120, 50)) as pilot:
        await ready(pilot)
        for page, sections in PAGES.items():
            while app.panel.query_one(TabbedContent).active != page.lower():
                await pilot.press("ctrl+pagedown")
                await pilot.pause()
            fields = [field for section in sections for field in app.panel.draft.fields(section)]
            await ready(pilot, f"{fields[0].section}-{fields[0].name}")
            for field in fields:
                row = app.row(f"{field.section}-{field.name}")
                if row.control.can_focus and field.name != "model":
                    row.take_focus()
                    await ready(pilot, row.id or "")
                    await pilot.press("right")
        changes = app.panel.draft.changes()
        await pilot.press("ctrl+s")
        await wait_for(pilot, lambda: app.given)
    assert len(changes["sampling"]) >= 10
    Settings().merged(changes)


async def test_refused_value_is_not_applied_and_nothing_else_is_lost():
    app = Bare()
    async with app.run_test() as pilot:
        await ready(pilot)
        await pilot.press(*"99")
        await go_to(pilot, "sampling-top_k")
        await pilot.press("right")
        row = app.row("sampling-temperature")
        assert row.problem == "Type a number from 0 to 3."
        assert "Type a number from 0 to 3." in str(row.help_line.render())
        await pilot.press("ctrl+pagedown")
        await ready(pilot, "load-n_ctx")
        await pilot.press("ctrl+s")
        await ready(pilot)
        assert app.given == [], "the panel is still open, at the field that is refused"
        await pilot.press("escape", *"2", "ctrl+s")
        await wait_for(pilot, lambda: app.given)
    assert app.given == [SettingsResult({"sampling": {"temperature": 2.0, "top_k": 41}}, "conversation")]


async def test_escape_while_typing_takes_back_the_typing_alone():
    app = Bare()
    async with app.run_test() as pilot:
        await ready(pilot)
        await pilot.press("1", "escape")
        assert app.given == []
        assert app.row("sampling-temperature").control.value == 0.8
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.given)


async def test_what_differs_is_marked_and_can_be_reset():
    settings = Settings().merged({"sampling": {"top_k": 10}})
    app = Bare(settings, {"sampling": {"temperature": 0.2}})
    async with app.run_test() as pilot:
        await ready(pilot)
        temperature, top_k = app.row("sampling-temperature"), app.row("sampling-top_k")
        assert temperature.mark == "only here"
        assert top_k.mark == "", "it is the default"
        await pilot.press("delete")
        await wait_for(pilot, lambda: temperature.control.value == 0.8)
        assert temperature.mark == ""
        await pilot.press("ctrl+s")
        await wait_for(pilot, lambda: app.given)
    assert app.given == [SettingsResult({"sampling": {"temperature": None}}, "conversation")], "no own value any more"


async def test_click_on_the_mark_resets():
    app = Bare(Settings(), {"sampling": {"temperature": 0.2}})
    async with app.run_test() as pilot:
        await ready(pilot)
        row = app.row("sampling-temperature")
        await pilot.click(row.title_line, offset=(2, 1))
        await wait_for(pilot, lambda: row.control.value == 0.8)


async def test_reset_by_key_works_in_a_text():
    app = Bare(Settings().merged({"chat": {"system_prompt": "Be brief."}}), page="Model", has_conversation=False)
    async with app.run_test() as pilot:
        await ready(pilot, "chat-model")
        await go_to(pilot, "chat-system_prompt")
        await pilot.press("ctrl+r")
        await wait_for(pilot, lambda: app.row("chat-system_prompt").control.value == "")
        await pilot.press("ctrl+s")
        await wait_for(pilot, lambda: app.given)
    assert app.given[0].changes == {"chat": {"system_prompt": None}}  # type: ignore[union-attr]


async def test_other_scope_shows_what_counts_there():
    app = Bare(Settings(), {"sampling": {"temperature": 0.2}})
    async with app.run_test() as pilot:
        await ready(pilot)
        await go_to(pilot, "sampling-top_k")
        await pilot.press("right")
        await go_to_scope(pilot, app)
        await pilot.press("right")
        row = app.row("sampling-temperature")
        await wait_for(pilot, lambda: row.control.value == 0.8)
        assert row.note == "This conversation has a value of its own."
        assert app.row("sampling-top_k").control.value == 41, "what was changed stays"
        await pilot.press("ctrl+s")
        await wait_for(pilot, lambda: app.given)
    assert app.given == [SettingsResult({"sampling": {"top_k": 41}}, "default")]


ADVISED = ModelInfo("/models/a.gguf", "A", n_ctx=8192, n_ctx_train=8192, n_threads=3, recommended={"temperature": 0.6})


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_change_counts_for_this_model_by_keys_alone(size: tuple[int, int]):
    app = Bare(model=ADVISED)
    async with app.run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("right", "up", "up", "up", "up")
        assert app.focused is app.panel.query_one("#scope")
        await pilot.press("right")
        row = app.row("sampling-temperature")
        await wait_for(pilot, lambda: row.mark == "for this model")
        await pilot.press("ctrl+s")
        await wait_for(pilot, lambda: app.given)
    result = app.given[0]
    assert result == SettingsResult({"sampling": {"temperature": 0.65}}, "model", "a.gguf")
    assert result.defaults == {"for_model": {"a.gguf": {"sampling": {"temperature": 0.65}}}}


async def test_scope_is_chosen_by_mouse_at_the_smallest_size():
    app = Bare(model=ADVISED)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        choice = app.panel.query_one("#scope", Choice)
        drawn = str(choice.render()).split("\n")
        for word, scope in (("this model", "model"), ("default", "default"), ("this conversation", "conversation")):
            y = next(y for y, text in enumerate(drawn) if word in text)
            await pilot.click(choice, offset=(drawn[y].index(word), y))
            assert choice.value == scope == app.panel.draft.scope


async def test_what_the_model_file_recommends_is_shown_with_its_source():
    app = Bare(model=ADVISED)
    async with app.run_test() as pilot:
        await ready(pilot)
        row = app.row("sampling-temperature")
        assert row.control.value == 0.6
        assert "from the model file" in str(row.title_line.render())
        await pilot.press("right")
        await wait_for(pilot, lambda: "↺ only here" in str(row.title_line.render()))
        assert "default 0.60 from the model file" in str(row.help_line.render())
        await pilot.press("delete")
        await wait_for(pilot, lambda: "from the model file" in str(row.title_line.render()))
        await pilot.press("ctrl+s")
        await wait_for(pilot, lambda: app.given)
    assert app.given == [None], "it was given back what it had"


async def test_a_reset_takes_out_what_was_set_for_the_model():
    settings = Settings().merged({"for_model": {"a.gguf": {"sampling": {"temperature": 0.1}}}})
    app = Bare(settings, model=ADVISED)
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        row = app.row("sampling-temperature")
        assert "for this model" in str(row.title_line.render())
        await go_to_scope(pilot, app)
        await pilot.press("right")
        await wait_for(pilot, lambda: "↺ for this model" in str(row.title_line.render()))
        row.take_focus()
        await ready(pilot)
        await pilot.press("delete")
        await wait_for(pilot, lambda: row.control.value == 0.6)
        await pilot.press("ctrl+s")
        await wait_for(pilot, lambda: app.given)
    assert app.given == [SettingsResult({"sampling": {"temperature": None}}, "model", "a.gguf")]


async def test_automatic_values_say_what_was_chosen():
    app = Bare(model=ADVISED, page="Loading")
    async with app.run_test(size=(100, 60)) as pilot:
        await ready(pilot, "load-n_ctx")
        shown = {
            name: str(app.row(f"load-{name}").control.render()) for name in ("n_ctx", "n_threads", "flash_attention")
        }
    assert "automatic (8,192)" in shown["n_ctx"]
    assert "automatic (3)" in shown["n_threads"]
    assert "auto (off)" in shown["flash_attention"]


async def test_rpc_servers_come_with_their_warning_and_are_checked_at_the_field():
    app = Bare(page="Loading")
    async with app.run_test(size=(100, 60)) as pilot:
        await ready(pilot, "load-n_ctx")
        await go_to(pilot, "load-rpc_servers")
        row = app.row("load-rpc_servers")
        assert "no password and no encryption" in str(row.help_line.render())
        await pilot.press(*"10.0.0.2")
        await wait_for(pilot, lambda: row.problem == "Line 1: write it like 10.0.0.2:50052.")
        await pilot.press(*":50052", "ctrl+s")
        await wait_for(pilot, lambda: app.given)
    assert app.given[0].changes == {"load": {"rpc_servers": ["10.0.0.2:50052"]}}  # type: ignore[union-attr]


async def test_theme_is_shown_at_once_and_taken_off_by_cancel():
    app = Bare(page="Look")
    async with app.run_test() as pilot:
        await ready(pilot, "look-theme")
        await pilot.press("right")
        await wait_for(pilot, lambda: app.theme == app.row("look-theme").control.value != "midnight")
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.given)
        assert app.theme == "midnight"


async def test_theme_is_chosen_from_a_list_by_arrow_keys():
    app = Bare(page="Look")
    async with app.run_test() as pilot:
        await ready(pilot, "look-theme")
        await pilot.press("down", "down", "up")
        assert app.row("look-theme").control.value == app.panel.themes[0]
        await pilot.press("end", "down")
        assert app.focused is app.panel.query_one("#scope")


async def test_theme_that_is_applied_stays():
    app = Bare(page="Look", automatic_theme="paper")
    async with app.run_test() as pilot:
        await ready(pilot, "look-theme")
        await pilot.press("end", "ctrl+s")
        await wait_for(pilot, lambda: app.given)
        result = app.given[0]
        assert result
        assert result.defaults == {"look": {"theme": app.theme}}
        assert result.overrides == {}


async def test_theme_that_follows_the_terminal_is_shown_as_it_is():
    app = Bare(Settings().merged({"look": {"theme": "mist"}}), page="Look", automatic_theme="paper")
    async with app.run_test() as pilot:
        await ready(pilot, "look-theme")
        await pilot.press("home")
        await wait_for(pilot, lambda: app.theme == "paper")


async def test_theme_that_is_gone_is_still_shown_as_chosen():
    app = Bare(Settings().merged({"look": {"theme": "[gone]"}}), page="Look")
    async with app.run_test() as pilot:
        await ready(pilot, "look-theme")
        assert "● [gone] (not found)" in str(app.row("look-theme").control.render())


async def test_temperature_is_explained_live():
    app = Bare()
    async with app.run_test() as pilot:
        await ready(pilot)
        row = app.row("sampling-temperature")
        assert "balanced" in str(row.control.render())
        await pilot.press("end")
        assert "incoherent" in str(row.control.render())
        await pilot.press("home")
        assert "the likeliest" in str(row.control.render())
        assert "Low is predictable, high is creative, too high is incoherent." in str(row.help_line.render())
        assert "from 0 to 3" in str(row.help_line.render())
        assert "default 0.80" in str(row.help_line.render())


async def test_thinking_is_a_plain_switch_where_the_model_can():
    app = Bare(model=THINKER, page="Model")
    async with app.run_test(size=(100, 40)) as pilot:
        await ready(pilot, "chat-model")
        await go_to(pilot, "chat-enable_thinking")
        await pilot.press("end", "ctrl+s")
        await wait_for(pilot, lambda: app.given)
    assert app.given[0].changes == {"chat": {"template_variables": {"enable_thinking": False}}}  # type: ignore[union-attr]


async def test_template_variables_are_checked_at_the_field():
    app = Bare(model=THINKER, page="Model")
    async with app.run_test(size=(100, 40)) as pilot:
        await ready(pilot, "chat-model")
        await go_to(pilot, "chat-template_variables")
        await pilot.press(*"enable_thinking = true")
        row = app.row("chat-template_variables")
        await wait_for(pilot, lambda: row.problem == "enable_thinking has a field of its own: Thinking.")
        await pilot.press("ctrl+s")
        assert app.given == []


async def test_limits_of_the_model_are_shown():
    app = Bare(model=THINKER, page="Loading")
    async with app.run_test(size=(100, 40)) as pilot:
        await ready(pilot, "load-n_ctx")
        assert "automatic (4,096)" in str(app.row("load-n_ctx").control.render())
        await pilot.press("end")
        assert app.row("load-n_ctx").control.value == 32768, "the bar ends where the model's training did"
        await pilot.press(*"65536", "enter")
        assert app.row("load-n_ctx").control.value == 65536, "more can be typed"


async def test_model_is_picked_from_a_list_that_is_made_in_a_thread():
    threads: list[bool] = []

    def local_models() -> Sequence[LocalModel]:
        threads.append(threading.current_thread() is threading.main_thread())
        return MODELS

    app = Bare(Settings().merged({"chat": {"model": "/models/one-Q4_K_M.gguf"}}), page="Model", models=local_models)
    async with app.run_test() as pilot:
        await ready(pilot, "chat-model")
        button = app.row("chat-model").control
        await wait_for(pilot, lambda: "one · Q4_K_M" in str(button.render()))
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.focused, Input))
        await pilot.press(*"two")
        picker = app.screen
        await wait_for(pilot, lambda: picker.query_one("OptionList").option_count == 1)  # type: ignore[attr-defined]
        await pilot.press("enter")
        await wait_for(pilot, lambda: "two · Q8_0" in str(button.render()))
        await pilot.press("ctrl+s")
        await wait_for(pilot, lambda: app.given)
    assert app.given[0].changes == {"chat": {"model": "/models/two-Q8_0.gguf"}}  # type: ignore[union-attr]
    assert not any(threads)


async def test_model_that_answers_without_having_been_chosen_is_named():
    app = Bare(page="Model", model=ModelInfo(path="/models/one-Q4_K_M.gguf", name="One"))
    async with app.run_test() as pilot:
        await ready(pilot, "chat-model")
        assert "One, which was found" in str(app.row("chat-model").control.render())
        await pilot.press("ctrl+s")
        await wait_for(pilot, lambda: app.given)
    assert app.given == [None]


async def test_brackets_in_what_the_user_wrote_are_shown_as_they_are():
    settings = Settings().merged(
        {"chat": {"system_prompt": "[/b] [red]x", "model": "/m/[b].gguf"}, "sampling": {"stop": ["[/INST]"]}}
    )
    app = Bare(settings, page="Model")
    async with app.run_test() as pilot:
        await ready(pilot, "chat-model")
        assert "[b]" in str(app.row("chat-model").control.render())
        await pilot.press("ctrl+pagedown")
        await ready(pilot)
        assert list(app.row("sampling-stop").control.value) == ["[/INST]"]


async def test_applied_changes_survive_in_the_file(tmp_path: Path):
    path = tmp_path / "settings.toml"
    path.write_text("# mine\n[sampling]\ntop_k = 10\n")
    app = Bare(rules.load(path), has_conversation=False)
    async with app.run_test() as pilot:
        await ready(pilot)
        await pilot.press("right")
        await go_to(pilot, "sampling-order")
        await pilot.press("space", "ctrl+s")
        await wait_for(pilot, lambda: app.given)
    result = app.given[0]
    assert result
    saved = rules.save(path, result.defaults)
    assert saved == rules.load(path)
    assert saved.sampling.temperature == 0.85
    assert saved.sampling.order == Settings().sampling.order[1:]
    assert path.read_text().startswith("# mine")
