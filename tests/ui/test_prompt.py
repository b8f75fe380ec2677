"""Promises of the prompt, alone on a bare app."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.waiting import wait_for
from textual import events
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import Static

from chatterm.ui.widgets.prompt import Prompt, PromptHistory


class Bare(App[None]):
    """A prompt at the bottom of nothing."""

    CSS = "Static { height: 1fr; }"

    def __init__(self, keymap: dict[str, str] | None = None) -> None:
        super().__init__()
        self.prompt = Prompt(keymap)
        self.sent: list[str] = []

    def compose(self) -> ComposeResult:
        yield Static()
        yield self.prompt

    def on_mount(self) -> None:
        self.prompt.focus()

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        if event.text.strip():
            self.sent.append(self.prompt.take())


@asynccontextmanager
async def prompt(keymap: dict[str, str] | None = None) -> AsyncIterator[tuple[Pilot[Any], Prompt, list[str]]]:
    app = Bare(keymap)
    async with app.run_test(size=(60, 24)) as pilot:
        yield pilot, app.prompt, app.sent


def burst(prompt: Prompt, text: str) -> None:
    """Keys that arrive together, as a terminal without bracketed paste sends a paste."""
    now = prompt._last_key_time + 100.0
    for i, character in enumerate(text):
        key = events.Key("enter" if character == "\r" else character, character)
        key.time = now + i * 0.0001
        prompt.post_message(key)


@pytest.mark.parametrize("key", ["ctrl+j", "shift+enter", "alt+enter"])
async def test_newline_keys_break_the_line_and_enter_sends_all_of_it(key: str) -> None:
    async with prompt() as (pilot, field, sent):
        await pilot.press("a", key, "b", "enter")
        await wait_for(pilot, lambda: sent == ["a\nb"])
        assert field.text == ""


async def test_a_paste_of_many_lines_is_not_sent() -> None:
    async with prompt() as (pilot, field, sent):
        field.post_message(events.Paste("one\r\ntwo\rthree\n\x1b[31mfour\x07"))
        await wait_for(pilot, lambda: "four" in field.text)
        assert field.text == "one\ntwo\nthree\n[31mfour"
        assert sent == []


async def test_a_paste_without_brackets_is_not_sent_either() -> None:
    async with prompt() as (pilot, field, sent):
        burst(field, "one\rtwo\rthree\r")
        await wait_for(pilot, lambda: field.text == "one\ntwo\nthree\n")
        assert sent == []
        await pilot.press("x", "enter")
        await wait_for(pilot, lambda: sent == ["one\ntwo\nthree\nx"])


async def test_a_line_typed_by_a_program_is_sent() -> None:
    async with prompt() as (pilot, field, sent):
        burst(field, "hello\r")
        await wait_for(pilot, lambda: sent == ["hello"])


async def test_it_grows_with_its_text_and_then_scrolls() -> None:
    async with prompt() as (pilot, field, _):
        assert field.size.height == 1
        for n in (2, 5, 10):
            field.text = "\n".join(["line"] * n)
            await wait_for(pilot, lambda n=n: field.size.height == n)
        field.put("\n".join(["line"] * 50))
        await wait_for(pilot, lambda: field.scroll_y > 0)
        assert field.size.height == 10
        field.text = ""
        await wait_for(pilot, lambda: field.size.height == 1)


async def test_up_and_down_walk_what_was_asked_and_keep_the_draft() -> None:
    async with prompt() as (pilot, field, _):
        field.asked = PromptHistory(["newest", "two\nlines", "oldest"])
        await pilot.press(*"draft", "up")
        assert field.text == "newest"
        await pilot.press("up", "up", "up")
        assert field.text == "oldest"
        await pilot.press("down")
        assert field.text == "two\nlines"
        await pilot.press("down", "down")
        assert field.text == "draft"
        await pilot.press("down")
        assert field.text == "draft"


async def test_up_inside_a_long_text_moves_the_cursor() -> None:
    async with prompt() as (pilot, field, _):
        field.asked = PromptHistory(["before"])
        field.put("one\ntwo")
        await pilot.press("up")
        assert (field.text, field.cursor_location[0]) == ("one\ntwo", 0)
        await pilot.press("up")
        assert field.text == "before"


async def test_what_is_sent_becomes_the_newest_of_the_history() -> None:
    async with prompt() as (pilot, field, sent):
        field.asked = PromptHistory(["old", "same"])
        await pilot.press(*"same", "enter")
        await wait_for(pilot, lambda: sent == ["same"])
        await pilot.press("up")
        assert field.text == "same"
        await pilot.press("up")
        assert field.text == "old"
        await pilot.press("up")
        assert field.text == "old"


async def test_own_keys_send_and_break_lines() -> None:
    async with prompt({"send": "f12", "newline": "enter"}) as (pilot, field, sent):
        await pilot.press("a", "enter", "b")
        assert field.text == "a\nb"
        await pilot.press("f12")
        await wait_for(pilot, lambda: sent == ["a\nb"])


async def test_a_very_large_paste_is_taken_whole() -> None:
    text = "\n".join(f"{n}: the quick brown fox jumps over the lazy dog" for n in range(5_000))
    async with prompt() as (pilot, field, _):
        field.post_message(events.Paste(text))
        await wait_for(pilot, lambda: field.text == text)
        await pilot.press("x")
        assert field.text == f"{text}x"
