"""Controls can be used by keys alone and by mouse alone."""

from __future__ import annotations

from typing import Any

import pytest
from textual import on
from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Button

from chatterm.settings import STAGES, Field, fields_of
from chatterm.ui import written
from chatterm.ui.widgets.choice import Choice
from chatterm.ui.widgets.control import Control
from chatterm.ui.widgets.slider import Scale, Slider
from chatterm.ui.widgets.stages import Stages
from chatterm.ui.widgets.text_field import TextField


def field(name: str, section: str = "sampling") -> Field:
    return next(each for each in fields_of(section) if each.name == name)


class Form(App[None]):
    """One control alone, between two buttons."""

    def __init__(self, control: Control) -> None:
        super().__init__()
        self.control = control
        self.said: list[Any] = []

    def compose(self) -> ComposeResult:
        with VerticalScroll(can_focus=False):
            yield Button("before", id="before")
            yield self.control
            yield Button("after", id="after")

    @on(Control.Changed)
    def note(self, event: Control.Changed) -> None:
        self.said.append("reset" if isinstance(event, Control.ResetWanted) else event.control.value)


def shown(control: Control) -> str:
    return str(control.render())


async def test_arrow_keys_step_and_shift_steps_further():
    app = Form(slider := Slider(field("temperature"), 0.8))
    async with app.run_test() as pilot:
        slider.focus()
        await pilot.press("right")
        assert slider.value == 0.85
        await pilot.press("left", "left")
        assert slider.value == 0.75
        await pilot.press("shift+right")
        assert slider.value == 1.25
        await pilot.press("home")
        assert slider.value == 0.0
        await pilot.press("left")
        assert slider.value == 0.0
        await pilot.press("end")
        assert slider.value == 3.0
        assert app.said[-1] == 3.0


async def test_wide_scale_doubles_and_halves():
    app = Form(slider := Slider(field("n_ctx", "load"), 0))
    async with app.run_test() as pilot:
        slider.focus()
        assert "automatic" in shown(slider)
        await pilot.press("right", "shift+right", "shift+right")
        assert slider.value == 4096
        await pilot.press("shift+left")
        assert slider.value == 2048
        assert isinstance(slider.value, int)
        await pilot.press("shift+left", "shift+left")
        assert slider.value == 0


async def test_digits_type_a_value():
    app = Form(slider := Slider(field("temperature"), 0.8))
    async with app.run_test() as pilot:
        slider.focus()
        await pilot.press(*"0.37", "enter")
        assert slider.value == 0.37
        assert "0.37" in shown(slider)
        await pilot.press("right")
        assert slider.value == 0.4, "the next step, from wherever it is"


async def test_value_is_taken_while_it_is_typed():
    app = Form(slider := Slider(field("max_tokens"), 0))
    async with app.run_test() as pilot:
        slider.focus()
        await pilot.press(*"250")
        assert slider.value == 250
        await pilot.press("backspace")
        assert slider.value == 25
        await pilot.press("escape")
        assert slider.value == 0
        assert slider.typed == ""


async def test_refused_value_stays_to_be_mended_and_changes_nothing():
    app = Form(slider := Slider(field("temperature"), 0.8))
    async with app.run_test() as pilot:
        slider.focus()
        await pilot.press(*"99", "tab")
        assert not slider.has_focus
        assert slider.problem == "Type a number from 0 to 3."
        assert slider.value == 0.8
        assert "99" in shown(slider)
        slider.focus()
        await pilot.press("backspace", "backspace")
        assert slider.problem == ""
        assert slider.value == 0.8


async def test_negative_numbers_are_typed_where_there_are_any():
    app = Form(slider := Slider(field("presence_penalty"), 0.0))
    async with app.run_test() as pilot:
        slider.focus()
        await pilot.press("minus", *"1.5", "enter")
        assert slider.value == -1.5


@pytest.mark.parametrize("key", ["delete", "backspace"])
async def test_delete_asks_for_the_default(key: str):
    app = Form(slider := Slider(field("temperature"), 0.3))
    async with app.run_test() as pilot:
        slider.focus()
        await pilot.press(key)
        assert app.said == ["reset"]


async def test_mouse_clicks_drags_and_wheels_a_slider():
    app = Form(slider := Slider(field("top_p"), 0.5))
    async with app.run_test(size=(80, 10)) as pilot:
        bar = slider._bar()
        await pilot.click(slider, offset=(2, 0))
        assert slider.value == 0.0
        await pilot.click(slider, offset=(bar + 1, 0))
        assert slider.value == 1.0
        await pilot.click(slider, offset=(0, 0))
        assert slider.value == 0.99
        await pilot.click(slider, offset=(bar + 3, 0))
        assert slider.value == 1.0
        await pilot.mouse_down(slider, offset=(10, 0))
        await pilot.hover(slider, offset=(20, 0))
        halfway = slider.value
        await pilot.hover("#after", offset=(70, 2))
        assert 0.0 < halfway < slider.value == 1.0, "a drag goes on beside the bar"
        await pilot.mouse_up(slider, offset=(20, 0))
        dropped = slider.value
        await pilot.hover(slider, offset=(5, 0))
        assert slider.value == dropped


async def test_wheel_changes_only_the_slider_that_has_the_focus():
    app = Form(slider := Slider(field("top_k"), 40))
    async with app.run_test(size=(80, 4)) as pilot:
        await pilot._post_mouse_events([_wheel()], slider, (5, 0))
        assert slider.value == 40
        slider.focus()
        await pilot._post_mouse_events([_wheel()], slider, (5, 0))
        assert slider.value == 41


def _wheel() -> Any:
    from textual.events import MouseScrollUp

    return MouseScrollUp


async def test_seed_has_no_bar():
    app = Form(slider := Slider(field("seed"), -1))
    async with app.run_test() as pilot:
        slider.focus()
        assert shown(slider) == "‹  › random"
        await pilot.press("right")
        assert slider.value == 0
        await pilot.click(slider, offset=(0, 0))
        assert slider.value == -1


@pytest.mark.parametrize("name", [("sampling", "temperature"), ("load", "n_ctx"), ("sampling", "top_k")])
def test_every_place_on_a_bar_has_a_value_that_lies_there(name: tuple[str, str]):
    what = field(name[1], name[0])
    scale = Scale(what.minimum or 0, what.maximum or 0, what.step or 1)
    assert scale.at(0.0) == what.minimum
    assert scale.at(1.0) == what.maximum
    values = [scale.at(i / 100) for i in range(101)]
    assert values == sorted(values)
    for value in values:
        assert abs(scale.at(scale.fraction(value)) - value) <= scale.step


async def test_choice_is_made_by_keys_and_by_mouse():
    app = Form(choice := Choice([(kind, kind) for kind in ("auto", "on", "off")], "auto"))
    async with app.run_test() as pilot:
        choice.focus()
        assert shown(choice).startswith("● auto   ○ on   ○ off")
        await pilot.press("right")
        assert choice.value == "on"
        await pilot.press("right", "right")
        assert choice.value == "auto", "after the last comes the first"
        await pilot.press("left")
        assert choice.value == "off"
        await pilot.click(choice, offset=(10, 0))
        assert choice.value == "on"
        await pilot.click(choice, offset=(60, 0))
        assert choice.value == "on", "beside the options is none"


async def test_many_choices_take_several_lines():
    app = Form(choice := Choice([(n, f"choice {n}") for n in range(9)], 0))
    async with app.run_test(size=(40, 20)) as pilot:
        assert choice.size.height == 3
        await pilot.click(choice, offset=(2, 2))
        assert choice.value == 6


async def test_stages_are_moved_and_switched_off_by_keys():
    app = Form(stages := Stages({stage: stage for stage in STAGES}, STAGES))
    async with app.run_test() as pilot:
        stages.focus()
        await pilot.press("shift+down")
        assert stages.value[:2] == ["top_k", "penalties"]
        assert stages.cursor == 1
        await pilot.press("space")
        assert "penalties" not in stages.value
        assert stages.lines[-1] == "penalties"
        assert "✗ penalties" in shown(stages)
        await pilot.press("space", "shift+up")
        assert stages.value[-2:] == ["penalties", "temperature"]
        await pilot.press("home", *["down"] * 6)
        assert app.focused is app.query_one("#after")


async def test_stages_are_moved_and_switched_off_by_mouse():
    app = Form(stages := Stages({stage: stage for stage in STAGES}, STAGES))
    async with app.run_test() as pilot:
        await pilot.click(stages, offset=(2, 0))
        assert stages.value[:2] == ["top_k", "penalties"]
        await pilot.click(stages, offset=(0, 1))
        assert stages.value[:2] == ["penalties", "top_k"]
        await pilot.click(stages, offset=(12, 2))
        assert stages.value == [stage for stage in STAGES if stage != "typical"]


async def test_text_says_what_it_stands_for():
    app = Form(text := TextField(("a",), written.escaped, written.unescaped))
    async with app.run_test() as pilot:
        text.area.focus()
        await pilot.press("end", "enter", "b", "\\", "n")
        assert text.value == ("a", "b\n")
        assert text.size.height == 2
        await pilot.press("backspace")
        assert text.problem.startswith("Line 2")
        assert text.value == ("a", "b\n")
        await pilot.press("backspace")
        assert text.problem == ""
        assert text.value == ("a", "b")


async def test_cursor_leaves_a_text_at_both_ends():
    app = Form(text := TextField("one\ntwo"))
    async with app.run_test() as pilot:
        text.area.focus()
        await pilot.press("down")
        assert text.area.has_focus
        await pilot.press("down")
        assert app.focused is app.query_one("#after")
        text.area.focus()
        await pilot.press("up", "up")
        assert app.focused is app.query_one("#before")


async def test_what_is_shown_from_outside_is_not_said_again():
    app = Form(text := TextField("one"))
    async with app.run_test() as pilot:
        text.show("two")
        await pilot.pause()
        assert text.area.text == "two"
        assert app.said == []
