"""What can go wrong, phrased for the person at the keyboard.

Every error says what happened and what it means (`str(error)`) and what to do about it (`remedy`).
This module knows nobody: rooms translate foreign exceptions into these at their own edge.
"""

from __future__ import annotations

from typing import ClassVar


class ChattermError(Exception):
    """Something that chatterm expected might fail; anything else is a programming error."""

    title: ClassVar[str] = "Something went wrong"
    """A headline of two to five words."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        """The message and the remedy as one paragraph."""
        return f"{self.message} {self.remedy}".strip()


class SettingsError(ChattermError):
    """The settings file, or a value in it, cannot be used."""

    title = "Settings not used"


class ThemeError(ChattermError):
    """A theme file cannot be used; names the file, the key and the reason."""

    title = "Theme not used"


class EngineError(ChattermError):
    """The engine could not do what it was asked."""

    title = "The model could not answer"


class LibraryMissing(EngineError):
    """llama.cpp's Python package cannot be imported, or is not the version that was checked."""

    title = "llama.cpp is not usable"


class ModelNotFound(EngineError):
    """There is no model file where one was expected, or no model was chosen."""

    title = "No such model"


class ModelKept(ChattermError):
    """A model file could not be removed, or is not ours to remove."""

    title = "The model was not removed"


class ModelUnreadable(EngineError):
    """The file is there, but llama.cpp cannot load it: damaged, unknown architecture, not a GGUF."""

    title = "The model cannot be loaded"


class OutOfMemory(EngineError):
    """The model or its context window does not fit into the memory that is free."""

    title = "Not enough memory"


class PromptTooLong(EngineError):
    """The system prompt and the last question alone are longer than the context window."""

    title = "The message is too long"


class LoadCancelled(EngineError):
    """Loading was stopped by the user; nothing is loaded now."""

    title = "Loading stopped"


class WorkerDied(EngineError):
    """The process that runs llama.cpp ended unexpectedly; the next request starts it again."""

    title = "The model's process stopped"


class NotVisible(EngineError):
    """What was to be looked at inside the model cannot be seen with this model, build or device."""

    title = "Not available here"


class ServerError(EngineError):
    """A server refused what it was asked, or answered with something that is no answer."""

    title = "The server did not answer"


class ServerUnreachable(ServerError):
    """No connection to the server could be made."""

    title = "The server cannot be reached"


class ServerBusy(ServerError):
    """The server answered 429 or 5xx even after waiting."""

    title = "The server is busy"

    retry_after_seconds: float | None = None
    """How long the server asked to wait, if it did."""


class ReplyCut(ServerError):
    """The connection broke in the middle of a reply; what arrived is kept."""

    title = "The reply was cut"


class ModelsNotListed(ServerError):
    """The server does not say which models it has; it may answer all the same."""

    title = "No list of models"


class KeyRefused(ServerError):
    """The server does not take the key, or wants one and none was found."""

    title = "The key was refused"


class KeyUnusable(EngineError):
    """A key for a server is kept where others can read it, is damaged, or could not be stored."""

    title = "The key cannot be used"


class StoreError(ChattermError):
    """The conversations cannot be read or saved."""

    title = "Conversations cannot be saved"


class StoreLocked(StoreError):
    """Another program kept the database locked for longer than the time-out."""


class StoreReadOnly(StoreError):
    """The database or its folder cannot be written."""


class StoreFull(StoreError):
    """The disk that holds the database is full."""


class StoreDamaged(StoreError):
    """The file is not a database, is damaged, or was written by a newer chatterm."""


class NotFound(StoreError):
    """There is no such conversation or turn."""

    title = "Not found"


class TurnKept(StoreError):
    """An answer cannot be taken out of its conversation; says why."""

    title = "The answer stays"


class HubError(ChattermError):
    """The Hugging Face Hub could not be asked, or what it sent cannot be used."""

    title = "The Hub could not help"


class RepoNotFound(HubError):
    """No repository, revision or file of that name, or it is private and no token was sent."""

    title = "Not on the Hub"


class GatedRepo(HubError):
    """The repository asks for an accepted licence and a token."""

    title = "A licence must be accepted"


class TokenRefused(HubError):
    """The Hub does not know the token that was sent, or it may not do this."""

    title = "The token was refused"


class FileNotChosen(HubError):
    """A repository holds several models, and none of them is the obvious one."""

    title = "Which file?"

    candidates: tuple[tuple[str, int], ...] = ()
    """What there is to choose from: (file, size in bytes of all its parts)."""


class NoNetwork(HubError):
    """The Hub cannot be reached, or offline mode is set."""

    title = "The Hub cannot be reached"


class HubBusy(HubError):
    """The Hub answered 429 or 5xx even after waiting."""

    title = "The Hub is busy"

    retry_after_seconds: float | None = None
    """How long the Hub asked to wait, if it did."""


class DownloadStopped(HubError):
    """A download was stopped by the user; what arrived is kept."""

    title = "Download stopped"


class HashMismatch(HubError):
    """A downloaded file is not the one that the Hub announced; it was set aside."""

    title = "The download is damaged"


class DiskFull(HubError):
    """There is not enough free space for the file."""

    title = "Not enough disk space"
