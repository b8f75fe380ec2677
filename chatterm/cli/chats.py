"""`chatterm chats`: the conversations, without opening the app."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from chatterm.cli.terminal import fail, is_terminal, write_json
from chatterm.conversation import Conversation, Role, Turn
from chatterm.errors import ChattermError, NotFound
from chatterm.text import line, plain

if TYPE_CHECKING:
    from chatterm.store import Store

T = TypeVar("T")

app = typer.Typer(help="The conversations that were saved.", no_args_is_help=True)


@app.command("list")
def list_chats(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, newest first.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """List the conversations, newest first."""
    found = _ask_store(lambda store: store.conversations(limit=limit))
    for each in found:
        if json:
            write_json(each)
        else:
            sys.stdout.write(f"{each.id:>6}  {_when(each.updated_at)}  {line(each.title)}\n")
    if not found and not json and is_terminal(sys.stderr):
        sys.stderr.write("No conversation was saved yet. `chatterm` starts one.\n")


@app.command("show")
def show_chat(
    id: Annotated[int, typer.Argument(help="Its number in `chatterm chats list`.")],
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line: the conversation, then its turns.")
    ] = False,
) -> None:
    """Print one conversation, as Markdown."""

    async def read(store: Store) -> tuple[Conversation, Sequence[Turn]]:
        try:
            conversation = await store.conversation(id)
        except NotFound as error:
            raise NotFound(f"There is no conversation {id}.", "`chatterm chats list` shows their numbers.") from error
        return conversation, await store.branch(conversation.head_id)

    conversation, turns = _ask_store(read)
    if json:
        for record in (conversation, *turns):
            write_json(record)
        return
    clean = plain if is_terminal(sys.stdout) else str
    sys.stdout.write(f"# {line(conversation.title)}\n")
    for turn in turns:
        sys.stdout.write(f"\n## {_speaker(turn)}\n\n{clean(turn.text)}\n")


def _speaker(turn: Turn) -> str:
    """Who said it, and whether it was said to the end."""
    if turn.role is Role.USER:
        return "You"
    name = line(turn.record.model_name) if turn.record and turn.record.model_name else "Model"
    return name if turn.state == "finished" else f"{name} ({turn.state})"


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def _ask_store(question: Callable[[Store], Awaitable[T]]) -> T:
    """What the store answers; an error ends the command with its message."""
    from chatterm.cli.join import open_store

    async def ask() -> T:
        store = await open_store()
        try:
            return await question(store)
        finally:
            await store.close()

    try:
        return asyncio.run(ask())
    except ChattermError as error:
        raise fail(error) from error
