"""Follows the downloads for the whole app: the status row, what is said when one ends, and who is chatted with then."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

from chatterm.downloads import Download, Downloads, DownloadState
from chatterm.ui.screens.models import words
from chatterm.ui.widgets.status import Status

Tell = Callable[[Download], None]


class Arrivals:
    """What becomes of downloads while the user does something else."""

    def __init__(self, downloads: Downloads, status: Status, chat_with: Callable[[Path], None], tell: Tell) -> None:
        """Nothing is followed yet.

        Args:
            downloads: The queue.
            status: Its row says how far they are.
            chat_with: Called with a file that is here and was waited for.
            tell: Called with another download that ended, well or not.
        """
        self.wanted = ""
        """The download that the user waits for, to chat with; empty for none."""
        self._downloads = downloads
        self._status = status
        self._chat_with = chat_with
        self._tell = tell
        self._states: dict[str, DownloadState] = {}

    async def follow(self) -> None:
        """Follow the queue until it is closed."""
        self._states = {each.id: each.state for each in self._downloads.all}
        async with aclosing(self._downloads.changes()) as changes:
            async for downloads in changes:
                self._take(downloads)

    def _take(self, downloads: tuple[Download, ...]) -> None:
        """Something changed."""
        said, is_wrong = words.in_status(downloads)
        self._status.tell(downloads=said, has_failed_download=is_wrong)
        before, self._states = self._states, {each.id: each.state for each in downloads}
        for each in downloads:
            if each.state is before.get(each.id):
                continue
            if each.state is DownloadState.DONE and each.id == self.wanted:
                self.wanted = ""
                self._chat_with(Path(each.path))
            elif each.state in (DownloadState.DONE, DownloadState.FAILED):
                self._tell(each)
        if self.wanted not in self._states:  # it was taken out
            self.wanted = ""
