"""Two chatterms on one store, in two terminals."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from support.terminal import chatterm
from support.tiny_models import write_chain, write_model

from chatterm import paths


def test_two_apps_share_the_conversations_and_do_not_disturb_each_other(tmp_path: Path) -> None:
    rambler = write_model(tmp_path / "rambler.gguf", n_ctx=8192)
    blue = write_chain(tmp_path / "blue.gguf", ["The", " sky", " is", " blue", "."])
    with chatterm("--model", str(rambler)) as one, chatterm("--model", str(blue)) as two:
        one.wait_for(r"\bready\b")
        two.wait_for(r"\bready\b")
        one.send("Go on for long.", "enter")
        one.wait_for(r"\bwriting\b")
        two.send("And you?", "enter")
        two.wait_for(r"The sky is blue\.")
        two.send("ctrl+q")
        assert two.wait_for_end() == 0
        with sqlite3.connect(paths.store_file()) as database:
            (states,) = zip(
                *database.execute("SELECT state FROM turns WHERE role = 'assistant' ORDER BY id"), strict=True
            )
        assert states == ("writing", "finished"), "the other one is alive, and its reply is left alone"
        with chatterm("--continue") as three:
            three.wait_for(r"Go on for long")
            three.wait_for(r"And you\?")
            three.send("ctrl+q")
            assert three.wait_for_end() == 0
        one.send("escape")
        one.wait_for(r"(?i)stopped")
        one.send("ctrl+q")
        assert one.wait_for_end() == 0
    with sqlite3.connect(paths.store_file()) as database:
        (states,) = zip(*database.execute("SELECT state FROM turns WHERE role = 'assistant' ORDER BY id"), strict=True)
    assert states == ("stopped", "finished")
