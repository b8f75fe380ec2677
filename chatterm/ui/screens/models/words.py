"""How the models screen says things: verdicts, counts, windows, what went wrong, how far a download is."""

from __future__ import annotations

from textual.content import Content

from chatterm.downloads import Download, DownloadState
from chatterm.errors import ChattermError
from chatterm.fit import Fit, Verdict
from chatterm.hub import names
from chatterm.text import amount, duration, line, plain

MUTED = "$foreground-muted"
PENDING = Content.styled("…", MUTED)
UNKNOWN = Content.styled("? unknown", MUTED)
BAR_CELLS = 12

_VERDICTS = {
    Verdict.FITS: ("● fits", "$text-success"),
    Verdict.TIGHT: ("◐ tight", "$text-warning"),
    Verdict.TOO_BIG: ("✕ too big", "$text-error"),
}


def verdict(verdict: Verdict) -> Content:
    """A verdict as a mark and a word, so that it is not told by colour alone."""
    text, style = _VERDICTS[verdict]
    return Content.styled(text, style)


def fit_sentence(fit: Fit) -> str:
    """What a verdict means, in figures, and what helps."""
    if fit.verdict is Verdict.FITS:
        return f"{fit.sentence} Up to {fit.largest_n_ctx:,} tokens of context fit."
    if fit.needed.total_bytes <= fit.free_bytes:
        return f"{fit.sentence} It will run, but leaves little to other programs."
    if fit.verdict is Verdict.TIGHT:
        return fit.sentence
    return f"{fit.sentence} Take a smaller model, or one of fewer bits."


def count(n: int) -> str:
    """A large number in short.

    Example: 7_600_000_000 -> "7.6B", 310 -> "310"
    """
    for size, letter in ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k")):
        if n >= size:
            return f"{n / size:.1f}{letter}" if n < 10 * size else f"{n / size:.0f}{letter}"
    return str(n)


def window(n_ctx: int) -> str:
    """A context length in short.

    Example: 32768 -> "32k", 40960 -> "40k", 0 -> ""
    """
    if n_ctx < 1024:
        return str(n_ctx) if n_ctx else ""
    return f"{n_ctx // 1024}k"


def trouble(error: ChattermError, meanwhile: str = "") -> Content:
    """What went wrong and what to do, to stand where the answer would have been.

    Args:
        error: What went wrong.
        meanwhile: What can be done all the same.
    """
    parts: list[str | tuple[str, str]] = [(f"{error.title}\n\n", "bold $text-warning"), plain(error.message)]
    if error.remedy:
        parts.append(f"\n{plain(error.remedy)}")
    if meanwhile:
        parts.append((f"\n\n{meanwhile}", MUTED))
    return Content.assemble(*parts)


def name_of(download: Download) -> str:
    """What is fetched, as people say it.

    Example: "q4/Qwen3-4B-Q4_K_M-00001-of-00002.gguf" -> "Qwen3-4B-Q4_K_M"
    """
    if download.file.lower().endswith(".gguf"):
        return line(names.title(download.file))
    return line(f"{download.repo.rpartition('/')[2].removesuffix('-GGUF')} {download.file}")


def share(download: Download) -> str:
    """How much of it is here.

    Example: "43 %"; empty while its size is not known
    """
    if not download.n_total:
        return ""
    return f"{min(99 if download.n_done < download.n_total else 100, 100 * download.n_done // download.n_total)} %"


def bar(download: Download) -> Content:
    """How much of it is here, as a bar with its share behind."""
    done = download.n_done / download.n_total if download.n_total else 0.0
    filled, half = divmod(min(2 * BAR_CELLS, int(2 * done * BAR_CELLS)), 2)
    colour = "$text-primary" if download.state is DownloadState.RUNNING else MUTED
    drawn = ("━" * filled + "╸" * half, colour)
    return Content.assemble(drawn, ("━" * (BAR_CELLS - filled - half), "$foreground 15%"), f" {share(download):>5}")


def state(download: Download) -> Content:
    """What a download does now, in one to three words."""
    match download.state:
        case DownloadState.RUNNING if download.is_elsewhere:
            return Content.styled("another chatterm", MUTED)
        case DownloadState.RUNNING if download.note:
            return Content.styled("waits", "$text-warning")
        case DownloadState.RUNNING if download.bytes_per_second:
            return Content(f"{amount(round(download.bytes_per_second))}/s")
        case DownloadState.RUNNING:
            return Content.styled("begins", MUTED)
        case DownloadState.WAITING:
            return Content.styled("its turn comes", MUTED)
        case DownloadState.PAUSED:
            return Content.styled("paused", "$text-warning")
        case DownloadState.FAILED:
            return Content.styled("✕ failed", "$text-error")
    return Content.styled("● here", "$text-success")


def in_status(downloads: tuple[Download, ...]) -> tuple[str, bool]:
    """All downloads in a few words for the status row, and whether they are a failure; empty for nothing to say.

    Example: "↓ 43 % · 2 min"
    """
    running = [each for each in downloads if each.state is DownloadState.RUNNING]
    if running:
        n_done, n_total = sum(each.n_done for each in running), sum(each.n_total for each in running)
        rate = sum(each.bytes_per_second for each in running)
        parts = [f"↓ {min(99, 100 * n_done // n_total)} %" if n_total else "↓ begins"]
        if rate and n_total:
            parts.append(duration((n_total - n_done) / rate))
        elif running[0].note:
            parts.append("waits")
        return " · ".join(parts), False
    for state, words in (
        (DownloadState.FAILED, "↓ failed"),
        (DownloadState.PAUSED, "↓ paused"),
        (DownloadState.WAITING, "↓ waits"),
    ):
        if any(each.state is state for each in downloads):
            return words, state is DownloadState.FAILED
    return "", False
