"""How a download is shown on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Protocol

from chatterm.cli.terminal import has_colour, is_terminal, say
from chatterm.hub.progress import Downloaded, Downloading, Planned, Pulled, PullEvent, Verifying, Waiting
from chatterm.text import amount, duration, line


class Shown(Protocol):
    """Something that shows a download."""

    def show(self, event: PullEvent) -> None:
        """What just happened."""


@contextmanager
def shown(stream: IO[str]) -> Iterator[Shown]:
    """What suits a stream, for as long as the download runs."""
    if not is_terminal(stream):
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(file=stream, no_color=not has_colour(stream), highlight=False, markup=False)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f} %", markup=False),
        TextColumn("{task.fields[numbers]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True, expand=True) as progress:
        yield _Bar(progress)


class _Lines:
    """A line at each tenth of the way, and at what is out of the ordinary."""

    def __init__(self) -> None:
        self.tenth = 0
        self.said = ""

    def show(self, event: PullEvent) -> None:
        text = _told(event)
        match event:
            case Downloading():
                tenth = event.n_done * 10 // event.n_total
                if tenth > self.tenth:
                    self.tenth = tenth
                    say(f"{line(event.file)}: {tenth * 10} %, {_numbers(event)}")
            case _ if text and text != self.said:  # once, however long it lasts
                self.said = text
                say(text)


class _Bar:
    """A bar that moves; what is out of the ordinary stays above it."""

    def __init__(self, progress: object) -> None:
        from rich.progress import Progress

        assert isinstance(progress, Progress)
        self.progress = progress
        self.task = progress.add_task("Asking the Hub", total=None, numbers="")
        self.said = ""

    def show(self, event: PullEvent) -> None:
        text = _told(event)
        match event:
            case Downloading():
                self._move(event.file, event.n_done, event.n_total, _numbers(event))
            case Verifying():
                self._move(f"Checking {event.file}", event.n_done, event.n_total, "what was kept")
            case _ if text and text != self.said:
                self.said = text
                self.progress.console.print(text, markup=False, highlight=False)

    def _move(self, what: str, n_done: int, n_total: int, numbers: str) -> None:
        what = line(what.rsplit("/", 1)[-1])
        self.progress.update(self.task, description=what, completed=n_done, total=n_total, numbers=numbers)


def _numbers(event: Downloading) -> str:
    """How much is here, how fast it comes, and how long the rest takes."""
    parts = [f"{amount(event.n_done)} of {amount(event.n_total)}"]
    if event.seconds_left is not None and event.n_done < event.n_total:
        parts += [f"{amount(event.bytes_per_second)}/s", f"{duration(event.seconds_left)} left"]
    return ", ".join(parts)


def _told(event: PullEvent) -> str:
    """What is said about an event in a sentence; empty for what goes without saying."""
    match event:
        case Planned(n_missing=0):
            return f"{line(event.repo)}: all of it is here already."
        case Planned():
            kept = event.n_total - event.n_missing
            here = f" ({amount(kept)} of it are here)" if kept else ""
            return f"{line(event.repo)}: {line(', '.join(event.files))}, {amount(event.n_total)}{here}."
        case Waiting(seconds=0):
            return line(event.reason)
        case Waiting():
            return line(f"{event.reason} Trying again in {event.seconds:.1f} s.")
        case Downloaded(n_fetched=n_fetched) if n_fetched:
            return f"{line(event.file)} is here, and its hash is right."
        case Pulled() | Downloaded() | Verifying() | Downloading():
            return ""
