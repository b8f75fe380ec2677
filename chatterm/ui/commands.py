"""Every user action once: its name, key, title, help, and when it is possible.

Key bindings, the command palette, the help page, the footer and the user's own keys are all derived
from the rows below. What an action does is not here, but in the app, screen or widget that `where` names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

from textual.binding import Binding, BindingType
from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.keys import Keys, format_key

Where = Literal["app", "chat", "prompt", "sidebar"]

SAME_KEYS = {"ctrl+i": "tab", "ctrl+m": "enter", "ctrl+h": "backspace", "ctrl+left_square_bracket": "escape"}
"""What a terminal cannot tell apart; the left one never arrives."""


RENAMED = {"get_model": "models"}
"""Actions whose key is that of another one since; settings files may still name them."""


@dataclass(frozen=True)
class Command:
    """Something the user can do."""

    action: str
    """Name of the `action_...` method, and of the row in the settings file's `[keys]`."""
    key: str
    """Default key; several with commas, the first is shown; empty for none."""
    title: str
    help: str
    when: str = ""
    """Name of the attribute of the screen's state that must be true; empty when always possible."""
    footer: bool = False
    group: str = "Chat"
    where: Where = "chat"
    palette: bool = True
    """Whether the command palette offers it; what needs a cursor or a text field is left out."""

    @property
    def binding(self) -> Binding:
        """The key binding that Textual needs."""
        return Binding(self.key, self.action, self.title, tooltip=self.help, show=self.footer, id=self.id)

    @property
    def id(self) -> str:
        """What the settings file calls it: the action, told apart where the list has a key of its own for it."""
        return f"list_{self.action}" if self.where == "sidebar" else self.action


COMMANDS: tuple[Command, ...] = (
    Command("send", "enter", "Send", "Send what is typed; while a reply runs, it waits in the queue",
            footer=True, group="Writing", where="prompt", palette=False),
    Command("newline", "ctrl+j,shift+enter,alt+enter", "New line",
            "Begin a new line; ctrl+j works in every terminal, shift+enter and alt+enter in some",
            footer=True, group="Writing", where="prompt", palette=False),
    Command("stop", "escape", "Stop", "Stop the reply, or the loading, and keep what has arrived; a model that was chosen meanwhile is loaded then",
            when="busy", footer=True, group="Writing"),
    Command("focus_prompt", "escape", "Back to the prompt", "Leave the list or the conversation for the prompt",
            when="is_idle", group="Writing", palette=False),
    Command("read", "tab", "To the conversation", "Go to the conversation, to move, select and copy in it, and back to the prompt",
            group="Writing", palette=False),
    Command("resume", "ctrl+g", "Continue", "Go on with the reply where it was cut", when="can_resume", footer=True),
    Command("regenerate", "ctrl+r", "Regenerate", "Answer the last question again; the old answer is kept",
            when="can_regenerate", footer=True),
    Command("ask_another", "alt+r", "Answer with another model", "Let another model answer the last question, too; both answers are kept, and the other model goes on",
            when="can_regenerate", group="Chat", where="app"),
    Command("previous_reply", "alt+left", "Previous answer", "Show the answer before this one to the same question",
            when="has_siblings"),
    Command("next_reply", "alt+right", "Next answer", "Show the answer after this one to the same question",
            when="has_siblings"),
    Command("copy_reply", "f7", "Copy reply", "Copy the last reply to the clipboard", when="has_reply"),
    Command("glass", "f12,alt+g", "Glass box", "Watch the model think: tokens, probabilities, context, attention, layers; closes it again",
            when="is_open", group="Glass box"),
    Command("tour", "", "Tour", "What happens from your text to the answer, in seven stations on your own words",
            when="has_model", group="Glass box"),
    Command("temperatures", "", "Temperature, side by side", "The last question at three temperatures, with the same random numbers; keep the answer that you like",
            when="can_regenerate", group="Glass box"),
    Command("toggle_reasoning", "ctrl+t", "Reasoning", "Unfold what the model thought last, or fold it again",
            when="has_reply"),
    Command("unqueue", "", "Take back queued message", "Put the last queued message back into the prompt; up in an empty prompt does it, too",
            when="has_queue"),
    Command("new_chat", "ctrl+n", "New chat", "Begin a new conversation",
            when="is_open", footer=True, group="Conversations"),
    Command("toggle_sidebar", "ctrl+b,f3", "Chats", "Show or hide the list of conversations",
            footer=True, group="Conversations"),
    Command("rename", "f6", "Rename", "Give this conversation another title",
            when="has_conversation", group="Conversations"),
    Command("delete", "f8", "Delete", "Delete this conversation; it can be undone until chatterm is closed",
            when="has_conversation", group="Conversations"),
    Command("undo_delete", "f9", "Undo delete", "Bring back the conversation that was deleted last",
            when="has_deleted", group="Conversations"),
    Command("rename", "r", "Rename", "Rename the conversation under the cursor",
            group="In the list", where="sidebar", palette=False),
    Command("delete", "d,delete", "Delete", "Delete the conversation under the cursor",
            group="In the list", where="sidebar", palette=False),
    Command("undo_delete", "u,ctrl+z", "Undo", "Bring back the conversation that was deleted last",
            group="In the list", where="sidebar", palette=False),
    Command("new_chat", "n", "New chat", "Begin a new conversation",
            group="In the list", where="sidebar", palette=False),
    Command("find_conversation", "slash", "Find", "Find a conversation by its title",
            group="In the list", where="sidebar", palette=False),
    Command("choose_model", "ctrl+l,f4", "Model", "Choose the model that answers, also at the next start; "
            "a reply that runs is ended by the model that began it, then the new one is loaded",
            when="is_open", footer=True, group="Model", where="app"),
    Command("models", "f10", "Models", "Find, download and look after models",
            when="is_open", group="Model", where="app"),
    Command("get_model", "", "Get a bigger model", "Which models suit this machine; download one, and chat with it",
            when="is_open", group="Model", where="app"),
    Command("downloads", "", "Downloads", "What is being downloaded: how far it is, pause, resume, cancel",
            when="is_open", group="Model", where="app"),
    Command("reload_model", "f5", "Start model again", "Load the model again, after a failure or a change",
            when="can_reload", group="Model"),
    Command("settings", "f2,ctrl+o", "Settings", "Model, temperature, context, looks and all other settings",
            when="is_open", footer=True, group="chatterm", where="app"),
    Command("retry", "", "Open conversations", "Try again to open the conversations, after a failure",
            when="is_closed", group="chatterm", where="app"),
    Command("dismiss_banner", "", "Dismiss the notice", "Take down the notice above the prompt, as its button does",
            when="has_notice", group="chatterm"),
    Command("choose_theme", "", "Theme", "Change the colours", group="chatterm", where="app"),
    Command("help", "f1", "Help", "Show all keys", footer=True, group="chatterm", where="app"),
    Command("command_palette", "ctrl+p", "Palette", "Search for a command by its name",
            group="chatterm", where="app", palette=False),
    Command("quit", "ctrl+q", "Quit", "Close chatterm; a reply that runs is stopped and kept",
            footer=True, group="chatterm", where="app"),
)  # fmt: skip


def bindings(where: Where) -> list[BindingType]:
    """The key bindings of the rows that belong to one place."""
    return [command.binding for command in COMMANDS if command.where == where and command.key]


def is_possible(state: object, action: str) -> bool:
    """Whether an action can be taken now, as the attributes of the screen's state say."""
    when = next((row.when for row in COMMANDS if row.action == action and row.where != "sidebar"), "")
    return not when or bool(getattr(state, when))


def possible_in_footer(state: object) -> frozenset[str]:
    """The actions that the footer can show now."""
    return frozenset(row.action for row in COMMANDS if row.where != "sidebar" and is_possible(state, row.action))


def where_is(action: str) -> Where:
    """Which place does an action, wherever it was asked for; the chat screen what has no row."""
    return next((row.where for row in COMMANDS if row.action == action and row.where != "sidebar"), "chat")


def keys_of(command: Command, keymap: Mapping[str, str]) -> list[str]:
    """The keys that run a command, the user's own instead of the defaults, as shown to people.

    Example: keys_of(newline, {}) -> ["ctrl+j", "shift+enter", "alt+enter"]
    """
    return [shown(key.strip()) for key in keymap.get(command.id, command.key).split(",") if key.strip()]


def key_of(action: str, keymap: Mapping[str, str]) -> str:
    """The key that runs an action, for a sentence; "the palette" where it has none."""
    row = next(row for row in COMMANDS if row.action == action and row.where != "sidebar")
    return next(iter(keys_of(row, keymap)), "the palette").replace("⏎", "enter")


def shown(key: str) -> str:
    """A key as people write it.

    Example: "ctrl+left_square_bracket" -> "ctrl+[", "f1" -> "F1", "slash" -> "/"
    """
    *modifiers, name = key.split("+") if len(key) > 1 else [key]
    name = name.upper() if name[0] == "f" and name[1:].isdigit() else format_key(name)
    return "+".join([*modifiers, name])


def checked_keymap(keys: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The user's own keys that can be used, and what is wrong with the others, in sentences."""
    usable: dict[str, str] = {}
    problems: list[str] = []
    rows = {command.id: command for command in COMMANDS}
    for action, wanted in ((RENAMED.get(action, action), wanted) for action, wanted in keys.items()):
        if action not in rows:
            problems.append(f"keys.{action}: there is no such action; the help page names them.")
        elif problem := next((why for key in wanted.split(",") if (why := _problem(key.strip()))), ""):
            problems.append(f"keys.{action}: {problem}")
        else:
            usable[action] = wanted
    for action, wanted in list(usable.items()):
        if other := _taken_by(rows[action], wanted, usable):
            problems.append(f"keys.{action}: {wanted} is the key of “{other.title}” already.")
            del usable[action]
    return usable, problems


def _taken_by(command: Command, keys: str, keymap: Mapping[str, str]) -> Command | None:
    """The other command in the same place that has one of these keys."""
    mine = {key.strip() for key in keys.split(",")}
    for other in COMMANDS:
        if other.id == command.id or (other.where == "sidebar") != (command.where == "sidebar"):
            continue
        if other.key and other.key in command.key.split(","):
            continue  # never possible at the same time, such as stop and focus_prompt
        if mine & {key.strip() for key in keymap.get(other.id, other.key).split(",") if key.strip()}:
            return other
    return None


def _problem(key: str) -> str:
    """Why a key cannot be used; empty when it can."""
    if not key:
        return "the key is empty."
    if same := SAME_KEYS.get(key):
        return f"a terminal sends the same for {key} and {same}."
    if len(key) == 1:
        return "" if key.isprintable() else "is not a key."
    *modifiers, name = key.split("+")
    if any(modifier not in {"ctrl", "shift", "alt", "super"} for modifier in modifiers):
        return f"{key} is not a key; write it like ctrl+g or f5."
    known = len(name) == 1 or name in {str(k.value) for k in Keys} or format_key(name) != name
    return "" if known else f"{key} is not a key; write it like ctrl+g or f5."


class Palette(CommandPalette):
    """The command palette; chatterm can be quit from it by its key, too."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+q", "app.quit", show=False, id="quit")]


SCORE_OF_HELP = 0.01
"""Less than any title's."""


class CommandSearch(Provider):
    """The command palette's entries: what is possible now."""

    async def discover(self) -> Hits:
        """All commands, in the order of the table."""
        for command in self._possible():
            yield DiscoveryHit(self._titled(command), partial(self._run, command), help=command.help)

    async def search(self, query: str) -> Hits:
        """The commands whose title matches, and behind them those whose help has the words as they are."""
        matcher = self.matcher(query)
        for command in self._possible():
            title = self._titled(command)
            score = matcher.match(title) or SCORE_OF_HELP * (query.casefold() in command.help.casefold())
            if score > 0:
                yield Hit(score, matcher.highlight(title), partial(self._run, command), help=command.help)

    def _titled(self, command: Command) -> str:
        """The title with its key beside it."""
        keys = keys_of(command, getattr(self.app, "keymap", {}))
        return f"{command.title}  ({keys[0]})" if keys else command.title

    def _possible(self) -> Iterable[Command]:
        """What can be done now."""
        return [c for c in COMMANDS if c.palette and self.screen.check_action(c.action, ())]

    async def _run(self, command: Command) -> Any:
        """Do it on the screen (or app) that owns it."""
        target = self.app if command.where == "app" else self.screen
        await target.run_action(command.action)
