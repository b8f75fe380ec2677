"""Promises of the table of commands, and of what is derived from it."""

from __future__ import annotations

from pathlib import Path

from support.app import make_app, model_file
from support.waiting import wait_for
from textual.pilot import Pilot

from chatterm.engine.scripted import ScriptedEngine
from chatterm.errors import WorkerDied
from chatterm.settings import Settings
from chatterm.ui.app import ChatApp
from chatterm.ui.commands import COMMANDS, SAME_KEYS, checked_keymap, shown
from chatterm.ui.screens.chat import ChatScreen
from chatterm.ui.screens.help import GROUPS, Group, HelpScreen
from chatterm.ui.screens.state import State
from chatterm.ui.widgets.footer import keys_row
from chatterm.ui.widgets.prompt import Prompt
from chatterm.ui.widgets.sidebar import Sidebar

OWNERS = {"app": ChatApp, "chat": ChatScreen, "prompt": Prompt, "sidebar": Sidebar}


def test_every_command_can_be_done_where_it_says() -> None:
    for command in COMMANDS:
        assert hasattr(OWNERS[command.where], f"action_{command.action}"), command.action
        assert not command.when or hasattr(State(), command.when) or command.when in dir(State), command.when
        assert command.group in GROUPS, command.action


def test_no_default_key_is_one_that_terminals_cannot_send() -> None:
    for command in COMMANDS:
        assert not set(command.key.split(",")) & SAME_KEYS.keys(), command.action


def test_no_two_commands_share_a_key() -> None:
    for places in ({"app", "chat", "prompt"}, {"sidebar"}):
        keys = [k for c in COMMANDS if c.where in places for k in c.key.split(",") if k and c.action != "focus_prompt"]
        assert len(keys) == len(set(keys))


def test_own_keys_are_checked_and_what_is_wrong_is_named() -> None:
    usable, problems = checked_keymap(
        {
            "regenerate": "ctrl+y",
            "stop": "escape,f11",
            "regenrate": "f13",
            "new_chat": "ctrl+i",
            "rename": "hyper+x",
            "delete": "ctrl+q",
            "help": "",
            "list_delete": "x",
        }
    )
    assert usable == {"regenerate": "ctrl+y", "stop": "escape,f11", "list_delete": "x"}
    assert sorted(problem.split(":")[0] for problem in problems) == [
        "keys.delete",
        "keys.help",
        "keys.new_chat",
        "keys.regenrate",
        "keys.rename",
    ]
    assert any("no such action" in problem for problem in problems)
    assert any("same for ctrl+i and tab" in problem for problem in problems)
    assert any("“Quit”" in problem for problem in problems)


def test_keys_are_shown_as_people_write_them() -> None:
    assert [shown(k) for k in ("ctrl+j", "f1", "slash", "ctrl+left_square_bracket", "alt+left", "f")] == [
        "ctrl+j",
        "F1",
        "/",
        "ctrl+[",
        "alt+←",
        "f",
    ]


def test_the_footer_keeps_help_and_leaves_out_what_has_no_room() -> None:
    everything = frozenset(command.action for command in COMMANDS)
    for width in (30, 80, 120, 200):
        row = keys_row(everything, {}, width)
        assert row.cell_length <= width
        assert row.plain.endswith("F1 help")
    assert keys_row(everything, {}, 80).plain.startswith("esc stop   enter queue   ctrl+j new line")
    assert "ctrl+y regenerate" in keys_row(everything, {"regenerate": "ctrl+y"}, 200).plain


async def test_own_keys_do_what_they_say_and_unknown_ones_are_named() -> None:
    app = make_app("One.", "Two.", settings=Settings(keys={"regenerate": "ctrl+y", "no_such": "f11"}))
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await wait_for(pilot, lambda: app.chat_screen)
        screen = app.chat_screen
        await wait_for(pilot, lambda: any("keys.no_such" in n.message for n in app._notifications))
        await pilot.press(*"Hi", "enter")
        await wait_for(pilot, lambda: len(screen.state.turns) == 2 and screen.state.is_idle)
        screen.transcript.focus()
        await pilot.press("ctrl+r")
        await pilot.press("ctrl+y")
        await wait_for(pilot, lambda: screen.state.turns[-1].text == "Two." and screen.state.is_idle)
        assert "ctrl+y regenerate" in screen.footer.render().plain


async def test_help_lists_every_command_with_its_key() -> None:
    app = make_app(settings=Settings(keys={"regenerate": "ctrl+y"}))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: app.chat_screen.state.is_open)
        await pilot.press("f1")
        await wait_for(pilot, lambda: isinstance(app.screen, HelpScreen) and len(app.screen.query(Group)) > 6)
        text = " ".join(" ".join(group.render().plain for group in app.screen.query(Group)).split())
        for command in COMMANDS:
            assert command.help.split(";")[0][:30] in text, command.help
        assert "ctrl+y" in text
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is app.chat_screen)


async def choose_in_palette(app: ChatApp, pilot: Pilot[None], words: str) -> None:
    """Take the only command that the palette finds."""
    await wait_for(pilot, lambda: app.chat_screen.state.is_open)
    await pilot.press("ctrl+p")
    await wait_for(pilot, lambda: app.screen is not app.chat_screen)
    await pilot.press(*words)
    await wait_for(pilot, lambda: app.screen.query_one("OptionList").option_count == 1)  # type: ignore[attr-defined]
    await pilot.press("enter")


async def test_the_palette_offers_what_is_possible_and_does_it() -> None:
    app = make_app("Yes.")
    async with app.run_test(size=(120, 36)) as pilot:
        await choose_in_palette(app, pilot, "Quit")
        await wait_for(pilot, lambda: not app.is_running)


async def test_chatterm_is_quit_from_the_palette_by_its_key() -> None:
    app = make_app("Yes.")
    async with app.run_test(size=(120, 36)) as pilot:
        await wait_for(pilot, lambda: app.chat_screen.state.is_open)
        await pilot.press("ctrl+p")
        await wait_for(pilot, lambda: app.screen is not app.chat_screen)
        await pilot.press("ctrl+q")
        await wait_for(pilot, lambda: not app.is_running)


async def test_the_palette_finds_a_command_by_a_word_of_its_help() -> None:
    app = make_app("Yes.")
    async with app.run_test(size=(120, 36)) as pilot:
        await choose_in_palette(app, pilot, "temperature")
        await wait_for(pilot, lambda: type(app.screen).__name__ == "SettingsScreen")


async def test_the_palette_dismisses_a_notice_while_there_is_one(tmp_path: Path) -> None:
    engine = ScriptedEngine(load_error=WorkerDied("It ended.", "Start it again."))
    app = make_app(engine=engine, with_model=False, model=str(model_file(tmp_path)))
    async with app.run_test(size=(120, 36)) as pilot:
        await wait_for(pilot, lambda: app.chat_screen.models.has_class("-shown"))
        await choose_in_palette(app, pilot, "Dismiss")
        await wait_for(pilot, lambda: not app.chat_screen.models.has_class("-shown"))
        assert app.chat_screen.check_action("dismiss_banner", ()) is None


async def test_a_click_in_the_footer_and_in_the_header_does_the_command() -> None:
    app = make_app("Yes.")
    async with app.run_test(size=(120, 36)) as pilot:
        await wait_for(pilot, lambda: app.chat_screen)
        screen = app.chat_screen
        await wait_for(pilot, lambda: screen.state.is_open and "F1 help" in screen.footer.render().plain)
        await pilot.click(screen.footer, offset=(screen.footer.render().plain.index("F1") + 2, 0))
        await wait_for(pilot, lambda: isinstance(app.screen, HelpScreen))
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is screen)
        await pilot.click(screen.header, offset=(2, 0))
        await wait_for(pilot, lambda: not screen.sidebar.display)
        screen.prompt.put("Hi")
        await pilot.click(screen.footer, offset=(2, 0))
        await wait_for(pilot, lambda: len(screen.state.turns) == 2)
