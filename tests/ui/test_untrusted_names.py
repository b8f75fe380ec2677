"""What files are called, or call themselves, is shown without what could steer the terminal."""

from __future__ import annotations

from textual.app import App, ComposeResult

from chatterm.ui.screens.hints import no_model_hint
from chatterm.ui.widgets.banner import Banner

ODD = "odd\x1b]52;c;aGk=\x07"


class Bare(App[None]):
    def compose(self) -> ComposeResult:
        yield Banner()


async def test_a_notice_about_a_file_is_only_text():
    app = Bare()
    async with app.run_test():
        banner = app.query_one(Banner)
        banner.show("model", "No such model", f"There is no file /m/{ODD}.gguf.\nFetch it again.", [])
        shown = str(banner.query_one(".banner--text").visual)
    assert shown == "No such model\nThere is no file /m/odd\ufffd]52;c;aGk=\ufffd.gguf.\nFetch it again."


def test_models_that_could_answer_are_only_named():
    assert "  odd\ufffd]52;c;aGk=\ufffd\n" in str(no_model_hint([ODD], {}))
