"""The Hugging Face cache on this disk: where it is, how it is laid out, which models lie in it.

All of it by walking folders, without huggingface_hub: a model picker wants its list in milliseconds.
The layout is `models--owner--name/{blobs/<etag>, refs/<revision>, snapshots/<commit>/<file> -> blob}`.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from chatterm import paths
from chatterm.errors import HubError
from chatterm.hub import names
from chatterm.text import line

_MAX_DEPTH = 6
"""Folders inside a snapshot that are looked into."""
_ETAG = re.compile(r"[A-Za-z0-9][\w.-]{0,199}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PARTIAL, _DAMAGED = ".chatterm.incomplete", ".damaged"


class Slot:
    """Where one file of a repository lies in the cache, and where it lies while it is fetched.

    Names come from the network: what would lead outside of the repository's folder is refused.

    Raises:
        HubError: one of the names cannot be a place in the cache.
    """

    def __init__(self, repo: str, commit: str, file: str, etag: str) -> None:
        is_path = names.is_safe(file)
        if not is_path or not _COMMIT.fullmatch(commit) or not _ETAG.fullmatch(etag) or repo.count("/") != 1:
            raise HubError(
                f"{line(repo)} names a file in a way that is not safe: “{line(file)}”.",
                "Nothing was fetched. Tell the owner of the repository, or take another one.",
            )
        self.file = file
        self.commit = commit
        self.root = repo_folder(repo)
        self.blob = self.root / "blobs" / etag
        """The bytes, when they are whole."""
        self.partial = self.blob.with_name(f"{etag}{_PARTIAL}")
        """The bytes that arrived so far. Other tools know by the ending that it is not whole."""
        self.damaged = self.blob.with_name(f"{etag}{_DAMAGED}")
        """Bytes that were not what the Hub had announced."""
        self.pointer = self.root / "snapshots" / commit / file
        """What programs open: a link to the blob."""
        self.lock = folder() / ".locks" / self.root.name / f"{etag}.lock"
        """The lock that huggingface_hub takes while it fetches these bytes."""

    def make_folders(self) -> None:
        """Make the folders that the file needs; the snapshot's too, without which other tools see damage."""
        for path in (self.blob, self.pointer, self.lock):
            path.parent.mkdir(parents=True, exist_ok=True)

    def link(self) -> None:
        """Let the snapshot's name lead to the blob; on a disk without links it becomes the file itself."""
        self.pointer.parent.mkdir(parents=True, exist_ok=True)  # it may have been taken for one that is left empty
        self.pointer.unlink(missing_ok=True)
        try:
            self.pointer.symlink_to(os.path.relpath(self.blob, self.pointer.parent))
        except OSError:
            self.blob.replace(self.pointer)


def point(repo: str, revision: str, commit: str) -> None:
    """Note which commit a branch or tag is, so that it is found by its name offline."""
    if revision == commit:
        return
    reference = repo_folder(repo) / "refs" / revision
    reference.parent.mkdir(parents=True, exist_ok=True)
    new = reference.with_name(f"{reference.name}.{os.getpid()}.tmp")
    new.write_text(commit, encoding="utf-8")
    new.replace(reference)


def home() -> Path:
    """Where Hugging Face tools keep cache and token; `HF_HOME` moves it."""
    if chosen := os.environ.get("HF_HOME"):
        return expanded(chosen)
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"


def folder() -> Path:
    """The cache itself; `HF_HUB_CACHE` moves it."""
    chosen = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return expanded(chosen) if chosen else home() / "hub"


def expanded(path: str) -> Path:
    """A path with `~` and variables filled in, as huggingface_hub does."""
    return paths.expanded(os.path.expandvars(path))


def repo_folder(repo: str) -> Path:
    """The folder of a model repository, whether or not it is there."""
    return folder() / f"models--{repo.replace('/', '--')}"


def models() -> Iterator[tuple[str, str, Path]]:
    """Each GGUF file that is whole and can be read, once: (repository, path inside it, path on disk).

    Where several revisions have a file of the same name, the one of `main` comes, else the newest.
    """
    for root in _subfolders(folder()):
        if not root.name.startswith("models--"):
            continue
        repo = _repo_of(root)
        seen: set[str] = set()
        for snapshot in snapshots(root):
            for inside in _ggufs(snapshot, _MAX_DEPTH):
                if inside not in seen:
                    seen.add(inside)
                    yield repo, inside, snapshot / inside


def _repo_of(root: Path) -> str:
    """The repository that a folder of the cache is for."""
    return root.name.removeprefix("models--").replace("--", "/", 1)


def snapshots(root: Path) -> list[Path]:
    """The snapshot folders of a repository, that of `main` first, then the newest."""
    try:
        main = (root / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        main = ""
    return sorted(_subfolders(root / "snapshots"), key=lambda path: (path.name == main, _changed(path)), reverse=True)


def remove(repo: str, files: Iterable[str], commit: str = "") -> int:
    """Remove files of a repository, and what is empty then; gives the bytes that were freed.

    A blob that another name still leads to stays, and so does one that lies in a store which
    several repositories share.

    Args:
        repo: `owner/name`.
        files: Paths in it.
        commit: In which revision; in all of them by default.

    Raises:
        OSError: something cannot be removed.
    """
    root, found = repo_folder(repo), pointers(repo, files, commit)
    blobs = _blobs_of(root, found)
    for pointer in found:
        if pointer.is_symlink():
            pointer.unlink(missing_ok=True)
    n_freed = sum(unlink(blob) for blob in blobs)
    _prune(root)
    return n_freed


def n_freed_without(repo: str, files: Iterable[str]) -> int:
    """Bytes that `remove` would free."""
    return sum(n_freed_without_file(blob) for blob in _blobs_of(repo_folder(repo), pointers(repo, files)))


def pointers(repo: str, files: Iterable[str], commit: str = "") -> list[Path]:
    """Where files of a repository are found, in one revision or in all of them."""
    files = tuple(files)
    wanted = [snapshot for snapshot in snapshots(repo_folder(repo)) if commit in {"", snapshot.name}]
    found = [snapshot / file for snapshot in wanted for file in files]
    return [pointer for pointer in found if pointer.is_symlink() or pointer.exists()]


def _blobs_of(root: Path, found: Iterable[Path]) -> set[Path]:
    """The files in a repository's folder that hold what is found at some places and nowhere else in it."""
    found = set(found)
    blobs = {_target(pointer) if pointer.is_symlink() else pointer for pointer in found}
    kept = {_target(link) for link in _links(root / "snapshots") if link not in found}
    return {blob for blob in blobs - kept if blob.is_relative_to(root)}


def _target(link: Path) -> Path:
    """What a link of a snapshot leads to."""
    return Path(os.path.normpath(link.parent / link.readlink()))


def unfinished() -> list[tuple[str, Path, int]]:
    """What downloads left that did not end: (repository, file, bytes). Only what is ours."""
    found = []
    for root in _subfolders(folder()):
        for path in sorted([*root.glob(f"blobs/*{_PARTIAL}"), *root.glob(f"blobs/*{_DAMAGED}")]):
            try:
                found.append((_repo_of(root), path, path.stat().st_size))
            except OSError:
                continue
    return found


def remove_unfinished() -> int:
    """Remove what `unfinished` tells, except what is being fetched now; gives the bytes that were freed.

    Raises:
        OSError: something cannot be removed.
    """
    return sum(_remove_unless_fetched(path) for _, path, _ in unfinished())


def remove_partials(repo: str, blobs: Iterable[str]) -> int:
    """Remove what is here of some files that are not whole, except what is being fetched now; gives the bytes freed.

    Args:
        repo: `owner/name`.
        blobs: What the cache calls the bytes of these files.

    Raises:
        OSError: something cannot be removed.
    """
    wanted = set(blobs)
    return sum(
        _remove_unless_fetched(path) for owner, path, _ in unfinished() if owner == repo and _blob_of(path) in wanted
    )


def _remove_unless_fetched(path: Path) -> int:
    """Remove a file that is not whole, if no program fetches it; gives the bytes that were freed."""
    from filelock import FileLock, Timeout  # the lock of huggingface_hub, which brings the package

    lock = folder() / ".locks" / path.parent.parent.name / f"{_blob_of(path)}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            n_freed = unlink(path)
    except Timeout:
        return 0
    _prune(path.parent.parent)
    return n_freed


def _blob_of(path: Path) -> str:
    """What the bytes will be called when they are whole, of a file that is not."""
    return path.name.removesuffix(_PARTIAL).removesuffix(_DAMAGED)


def unlink(path: Path) -> int:
    """Remove a file; gives the bytes that are free now, none when it was a link or has another name."""
    n_freed = n_freed_without_file(path)
    path.unlink(missing_ok=True)
    return n_freed


def n_freed_without_file(path: Path) -> int:
    """Bytes that removing one file would free."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 else 0


def _links(top: Path) -> Iterator[Path]:
    """All links below a folder."""
    for place, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = Path(place, name)
            if path.is_symlink():
                yield path


def _prune(root: Path) -> None:
    """Remove empty folders of a repository, references to snapshots that are gone, and it itself when nothing is left.

    While a file of it is fetched, or waits to be, empty folders stay: one is for that file.
    """
    if not any((root / "blobs").glob("*.incomplete")):
        _remove_empty(root / "snapshots")
    there = {snapshot.name for snapshot in _subfolders(root / "snapshots")}
    for reference in list((root / "refs").rglob("*")):
        if reference.is_file() and reference.read_text(encoding="utf-8").strip() not in there:
            reference.unlink()
    if not there and not any((root / "blobs").glob("*")):
        shutil.rmtree(root)
        shutil.rmtree(folder() / ".locks" / root.name, ignore_errors=True)


def _remove_empty(top: Path) -> None:
    """Remove the folders below a folder that hold nothing."""
    for place, folders, _ in os.walk(top, topdown=False):
        for name in folders:
            with suppress(OSError):
                Path(place, name).rmdir()  # only an empty one can be


def hash_of(path: Path) -> str:
    """`sha256:...` of a file in the cache, from the name of the blob that it links to; empty when unknown."""
    try:
        blob = PurePosixPath(path.readlink()).name
    except OSError:
        return ""
    return f"sha256:{blob}" if len(blob) == 64 and set(blob) <= set("0123456789abcdef") else ""


def _ggufs(top: Path, depth: int, inside: str = "") -> Iterator[str]:
    """Paths of GGUF files below a folder, relative to it, with `/` between."""
    try:
        entries = sorted(os.scandir(top), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if names.is_model(entry.name):
            yield inside + entry.name
        elif depth and _is_folder(entry):
            yield from _ggufs(top / entry.name, depth - 1, f"{inside}{entry.name}/")


def _subfolders(top: Path) -> list[Path]:
    """The folders in a folder; none when it cannot be read."""
    try:
        return [Path(entry.path) for entry in os.scandir(top) if _is_folder(entry)]
    except OSError:
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder itself, not a link to one."""
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _changed(path: Path) -> float:
    """When a folder was last changed, as a time stamp; 0 when it cannot be told."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
