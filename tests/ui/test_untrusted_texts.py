"""What strangers wrote is shown in notices, errors and the status row without what could steer the terminal."""

from __future__ import annotations

from support.app import make_app
from support.seen import sees
from support.waiting import wait_for

from chatterm.errors import ModelUnreadable
from chatterm.ui.screens.models import words
from chatterm.ui.widgets.status import Facts, row

ODD, SHOWN = "odd\x1b]52;c;aGk=\x07", "odd\ufffd]52;c;aGk=\ufffd"


async def test_a_notice_is_only_text() -> None:
    app = make_app()
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await wait_for(pilot, lambda: app.chat_screen.state.is_open)
        app.chat_screen.notify(f"It says: {ODD}\nNo more.", title=f"{ODD}\nand more", markup=False)
        screen = await sees(pilot, "No more")
    assert f"It says: {SHOWN}" in screen
    assert f"{SHOWN} and more" in screen
    assert not {"\x1b", "\x07"} & set(screen)


def test_an_error_in_the_place_of_an_answer_is_only_text() -> None:
    told = words.trouble(ModelUnreadable(f"It says: {ODD}", f"Leave\n{ODD}."))
    assert str(told).endswith(f"It says: {SHOWN}\nLeave\n{SHOWN}.")


def test_the_status_row_is_only_text() -> None:
    shown = str(row(Facts(model=ODD, host=ODD, next_model=ODD), 120))
    assert shown.count(SHOWN) == 3
    assert "\x1b" not in shown
