"""The downloads: how far each is, what it waits for, why it failed; and pause, resume, cancel."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message

from chatterm.downloads import Download, Downloads, DownloadState
from chatterm.text import amount, duration, line
from chatterm.ui.screens.models import words
from chatterm.ui.screens.models.arrivals import Arrivals
from chatterm.ui.screens.models.messages import Chat
from chatterm.ui.screens.models.pane import Pane
from chatterm.ui.widgets.key_row import Hint
from chatterm.ui.widgets.table import Column

EMPTY = """\
Nothing is being downloaded.

Recommended and Hub (ctrl+pageup) have models. A download goes on while you chat, and after a restart,
wherever it was interrupted.\
"""
ENDED = {DownloadState.DONE, DownloadState.FAILED}
HELD = {DownloadState.PAUSED, DownloadState.FAILED}


class QueuePane(Pane[Download]):
    """The queue, as it changes."""

    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("Model", least=28),
        Column("Done"),
        Column("Of", is_right=True, reserved=7, leaves=2),
        Column("", reserved=15),
        Column("Left", is_right=True, reserved=6, leaves=1),
    )
    ACTS_ON_CLICK: ClassVar[bool] = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "pause_or_resume", "Pause", show=False),
        Binding("x,d,delete", "remove", "Cancel", show=False),
    ]

    def __init__(self, downloads: Downloads, arrivals: Arrivals, *, id: str | None = None) -> None:
        """The queue.

        Args:
            downloads: What it shows.
            arrivals: Knows which one is waited for.
            id: As any widget's.
        """
        super().__init__(id=id)
        self._downloads = downloads
        self._arrivals = arrivals
        self._asked = ""
        """The download whose removal was asked for once."""

    class Changed(Message):
        """The downloads are further, or others."""

        def __init__(self, text: str) -> None:
            """What is said of them.

            Args:
                text: All of them in a few words; empty for nothing to say.
            """
            super().__init__()
            self.text = text

    def on_mount(self) -> None:
        """Follow the queue from now on."""
        self.show_all(self._downloads.all)
        self.follow()

    @work(exclusive=True, group="follow")
    async def follow(self) -> None:
        """Draw what changes."""
        async with aclosing(self._downloads.changes()) as changes:
            async for downloads in changes:
                if self.is_attached:
                    self.show_all(downloads)

    def show_all(self, downloads: tuple[Download, ...], current: str = "") -> None:
        """Draw these."""
        self.post_message(self.Changed(words.in_status(downloads)[0].partition(" · ")[0]))
        if downloads:
            self.show({each.id: each for each in downloads}, current)
        else:
            self.say(EMPTY)

    def show_about(self) -> None:
        """As for all; a question that was not answered is taken back when the cursor moves on."""
        if self.current is None or self.current.id != self._asked:
            self._asked = ""
        super().show_about()

    def cells(self, download: Download) -> tuple[Content, ...]:
        """Name, bar, size, what it does, how long it takes."""
        left = download.seconds_left if download.state is DownloadState.RUNNING else None
        mark = ("▸ ", "$text-accent") if download.id == self._arrivals.wanted else ("  ", "")
        return (
            Content.assemble(mark, (words.name_of(download), "bold")),
            words.bar(download),
            Content(amount(download.n_total) if download.n_total else ""),
            words.state(download),
            Content(duration(left) if left is not None else ""),
        )

    def sentence(self, download: Download) -> Content:
        """What it waits for, why it failed, where it is from."""
        size = f" · {amount(download.n_done)} of {amount(download.n_total)}" if download.n_total else ""
        where = f"{line(download.repo)}{size}"
        said, more = ("", ""), ""
        if self._asked == download.id:
            said = (f"{amount(download.n_done)} that arrived are removed. Press x again to do so.", "$text-warning")
        elif download.state is DownloadState.FAILED:
            said, more = (f"{line(download.problem_title)}. ", "$text-error"), line(download.problem)
        elif download.note:
            said = (line(download.note), "$text-warning")
        elif download.is_elsewhere:
            said = ("Another chatterm on this machine fetches it; it will be here, too.", "")
        elif download.state is DownloadState.DONE:
            said = ("It is here, checked, and the model picker has it, too.", "")
        elif download.id == self._arrivals.wanted:
            said = ("It is opened as soon as it is here; chat on meanwhile (escape).", "")
        return Content.assemble((where, words.MUTED), "\n", said, more)

    def hints(self) -> list[Hint]:
        """What can be done with it."""
        download = self.current
        if download is None:
            return []
        if download.state is DownloadState.DONE:
            return [Hint("enter", "chat", "take"), Hint("x", "take out of the list", "remove")]
        hints = []
        if download.state in HELD:
            again = "try again" if download.state is DownloadState.FAILED else "resume"
            hints.append(Hint("space", again, "pause_or_resume"))
        else:
            hints.append(Hint("space", "pause", "pause_or_resume"))
        if download.state not in HELD:
            wish = "do not chat when it is here" if download.id == self._arrivals.wanted else "chat when it is here"
            hints.append(Hint("enter", wish, "take"))
        hints.append(Hint("x", "yes, cancel" if self._asked == download.id else "cancel", "remove"))
        return hints

    def action_take(self) -> None:
        """Chat with it, now or when it is here; go on with one that was held."""
        download = self.current
        if download is None:
            return
        if download.state is DownloadState.DONE:
            self.post_message(Chat(Path(download.path)))
        elif download.state in HELD:
            self.action_pause_or_resume()
        else:
            self._arrivals.wanted = "" if download.id == self._arrivals.wanted else download.id
            self.show_all(self._downloads.all)

    def action_pause_or_resume(self) -> None:
        """Hold it, or go on."""
        download = self.current
        if download is None or download.state is DownloadState.DONE:
            return
        if download.state in HELD:
            self._downloads.resume(download.id)
        else:
            self._downloads.pause(download.id)

    def action_remove(self) -> None:
        """Take it out; what arrived of an unfinished one is removed only when that is asked for twice."""
        download = self.current
        if download is None:
            return
        if download.state is DownloadState.DONE:
            self._downloads.forget(download.id)
        elif self._asked == download.id or not download.n_done:
            self._asked = ""
            self._downloads.cancel(download.id)
        else:
            self._asked = download.id
            self.show_about()
