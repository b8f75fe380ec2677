"""Finds models on the Hub: searches, lists what a repository holds, reads the headers of files that are not here.

What the Hub answers is read entry by entry: what is missing or of another kind than expected is left
out. Nothing here imports huggingface_hub before the Hub is asked.
"""

from __future__ import annotations

import re
import time
import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec

from chatterm import quantizations
from chatterm.errors import HubError, RepoNotFound
from chatterm.gguf import GgufHeader
from chatterm.hub import cache, names
from chatterm.hub.client import Hub, Page, endpoint
from chatterm.hub.repository import RemoteFile, is_repo, joined, parse
from chatterm.text import line

Sort = Literal["downloads", "likes", "trending", "modified"]

_SORTS = {"downloads": "downloads", "likes": "likes", "trending": "trendingScore", "modified": "lastModified"}
_FACTS = ["downloads", "likes", "lastModified", "gated", "tags", "gguf"]
_PAGE = 100
"""Entries that the Hub gives at once."""
_MAX_PAGES = 5
"""How many pages are looked through for entries that a filter lets pass."""
_LONGEST_TEXT = 120
_LARGEST = 1 << 60
_BILLION = 1_000_000_000
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_FRACTIONS = {1 / 16: "a sixteenth of", 1 / 8: "an eighth of", 1 / 6: "a sixth of", 1 / 5: "a fifth of"}
_FRACTIONS |= {1 / 4: "a quarter of", 1 / 3: "a third of", 0.4: "two fifths of", 1 / 2: "half"}
_FRACTIONS |= {0.6: "three fifths of", 2 / 3: "two thirds of", 3 / 4: "three quarters of", 0.85: "nearly"}
_RECOMMENDED = Path(__file__).with_name("recommended.toml")


class Query(msgspec.Struct, frozen=True):
    """What is searched for."""

    words: str = ""
    """As the Hub searches names; OWNER/NAME or an address finds that repository first."""
    sort: Sort = "downloads"
    architecture: str = ""
    """As GGUF headers call it, "llama"; empty for all."""
    licence: str = ""
    """As the Hub's tags call it, "apache-2.0"; empty for all."""
    min_parameters: int = 0
    max_parameters: int = 0
    """0 is no limit."""


class Found(msgspec.Struct, frozen=True):
    """A repository with GGUF files. All of it is untrusted text from the network, each on one line."""

    repo: str
    n_downloads: int = 0
    """In the last 30 days."""
    n_likes: int = 0
    modified: str = ""
    """The day of the last change, "2026-11-27"."""
    architecture: str = ""
    n_parameters: int = 0
    n_ctx_train: int = 0
    licence: str = ""
    is_gated: bool = False
    """Whether conditions have to be accepted, with an account, before it can be fetched."""
    base_model: str = ""
    """The repository of which these are quantizations."""


class OfferedModel(msgspec.Struct, frozen=True):
    """One model file of a repository, all parts of a split one together."""

    repo: str
    commit: str
    name: str
    """As people say it: the file's name without folder, ending and numbering."""
    quantization: str
    """"Q4_K_M"; empty where the name tells none."""
    meaning: str
    """What the quantization means to somebody who has to choose."""
    files: tuple[str, ...]
    """Paths in the repository, the file to load first."""
    size_bytes: int
    """Of all of them."""
    is_here: bool = False
    """Whether it is on this disk already."""
    kind: str = ""
    """The name without the quantization. Models of one kind have the same header but for their weights'
    types, so that the header of the smallest tells what all of them need."""


class RecommendedModel(msgspec.Struct, frozen=True):
    """An entry of the list that comes with chatterm."""

    repo: str
    quantization: str
    needs_bytes: int
    """Free memory that it wants, roughly."""
    good_for: str
    licence: str

    @property
    def name(self) -> str:
        """As people say it.

        Example: "Qwen/Qwen3-4B-GGUF" -> "Qwen3-4B"
        """
        return self.repo.partition("/")[2].removesuffix("-GGUF")


def search(query: Query, limit: int = 50, *, deadline_seconds: float = 30.0) -> list[Found]:
    """Repositories with GGUF files that match; blocks.

    One that the words name exactly comes first, whatever the filters. Where there is none of that name with
    GGUF files, repositories with its name come, which are quantizations of it as a rule.

    Args:
        query: What is searched for.
        limit: The most that are wanted.
        deadline_seconds: How long the Hub may take for each of its answers; no page is turned later than that.

    Raises:
        HubError: as `Hub` tells.
    """
    hub = Hub(deadline_seconds)
    repo = _named(query.words)
    if repo:
        found = [*_exactly(hub, repo), *_matches(hub, query, repo, limit)]
        found = found or _matches(hub, query, repo.partition("/")[2], limit)
    else:
        found = _matches(hub, query, query.words.strip(), limit)
    return list({each.repo: each for each in found}.values())[:limit]  # pages can overlap


def about(repo: str) -> Found:
    """What the Hub tells of a repository, whether or not it holds GGUF files; blocks.

    Args:
        repo: OWNER/NAME, or an address of it.

    Raises:
        HubError: as `Hub` tells.
    """
    hub = Hub()
    found = _found(_entry(hub, parse(repo).repo))
    if found is None:
        raise hub.not_a_hub()
    return found


def models_in(repo: str, revision: str = "") -> list[OfferedModel]:
    """The models that a repository holds, smallest first; blocks.

    No projectors for pictures, no calibration data, no split models with a missing part.

    Args:
        repo: OWNER/NAME, or an address of it.
        revision: A branch, tag or commit; empty takes the address's, or `main`.

    Raises:
        HubError: as `Hub` tells.
    """
    wish = parse(repo)
    repository = Hub().repository(wish.repo, revision or wish.revision or "main")
    models = [
        _offered(repository.repo, repository.commit, parts)
        for parts in joined(repository.files)
        if all(names.is_safe(part.path) for part in parts)
    ]
    models.sort(key=lambda model: (model.size_bytes, model.files))
    return [msgspec.structs.replace(model, meaning=_compared(model, models)) for model in models]


def header_of(model: OfferedModel) -> GgufHeader:
    """The header of a file on the Hub, read with a few range requests; blocks. Kept for this run of the program.

    Raises:
        HubError: as `Hub` tells.
        ModelUnreadable: it is no GGUF.
    """
    from chatterm.hub.remote_header import remote_header  # late: it imports httpx2

    return remote_header(endpoint(), model.repo, model.commit, model.files[0])


def recommended() -> tuple[str, tuple[RecommendedModel, ...]]:
    """The day on which the list was made, and its entries, smallest first.

    The Hub has the last word on what there is: an entry can be gone or renamed since.
    """
    content = tomllib.loads(_RECOMMENDED.read_text(encoding="utf-8"))
    return content["made"], tuple(msgspec.convert(content["model"], list[RecommendedModel]))


def _named(words: str) -> str:
    """The repository that words name as a whole; empty where they do not."""
    try:
        return parse(words).repo
    except RepoNotFound:
        return ""


def _exactly(hub: Hub, repo: str) -> list[Found]:
    """A repository by its name, if there is one with GGUF files."""
    try:
        entry = _entry(hub, repo)
    except RepoNotFound:
        return []
    found = _found(entry)
    return [found] if found is not None and "gguf" in _texts(entry.get("tags")) else []


def _entry(hub: Hub, repo: str) -> Any:
    """What the Hub answers about one repository."""
    return hub.page(f"/api/models/{repo}", {"expand": _FACTS}, repo).content


def _matches(hub: Hub, query: Query, words: str, limit: int) -> list[Found]:
    """What the Hub finds and the filters let pass, from as many pages as are needed and sensible."""
    path, parameters = "/api/models", _parameters(query, words, limit)
    ends = time.monotonic() + hub.deadline_seconds
    found: list[Found] = []
    for _ in range(_MAX_PAGES):
        try:
            page = _entries(hub, path, parameters)
        except HubError:
            if found:  # rather some than none
                break
            raise
        found += [each for each in map(_found, page.content) if each is not None and _passes(each, query)]
        if len(found) >= limit or not page.next or time.monotonic() > ends:
            break
        path, parameters = page.next, {}  # it carries its own
    return found[:limit]


def _entries(hub: Hub, path: str, parameters: dict[str, Any]) -> Page:
    """A page of what the Hub finds."""
    try:
        page = hub.page(path, parameters)
    except RepoNotFound as error:  # a mirror that has no search
        raise hub.not_a_hub() from error
    if not isinstance(page.content, list):
        raise hub.not_a_hub()
    return page


def _parameters(query: Query, words: str, limit: int) -> dict[str, Any]:
    """A query as the Hub wants it. What the Hub cannot filter, or only roughly, is filtered here once more."""
    tags = ["gguf", *([f"license:{query.licence}"] if query.licence else [])]
    is_filtered_here = query.architecture or query.min_parameters or query.max_parameters
    parameters: dict[str, Any] = {
        "filter": tags,
        "sort": _SORTS[query.sort],
        "limit": _PAGE if is_filtered_here else min(limit, _PAGE),
        "expand": _FACTS,
    }
    if words:
        parameters["search"] = words
    if query.min_parameters or query.max_parameters:
        least, most = query.min_parameters // _BILLION, -(-query.max_parameters // _BILLION)
        parameters["num_parameters"] = (f"min:{least}B" if least else "min:0") + (f",max:{most}B" if most else "")
    return parameters


def _passes(found: Found, query: Query) -> bool:
    """Whether a repository is one that the filters ask for; one of unknown size is not."""
    if query.architecture and found.architecture.casefold() != query.architecture.casefold():
        return False
    if query.licence and found.licence.casefold() != query.licence.casefold():
        return False
    if not query.min_parameters and not query.max_parameters:
        return True
    return found.n_parameters > 0 and query.min_parameters <= found.n_parameters <= (query.max_parameters or _LARGEST)


def _found(entry: Any) -> Found | None:
    """A repository as the Hub tells of it; None where it has no proper name."""
    if not isinstance(entry, dict) or not is_repo(repo := _text(entry.get("id"))):
        return None
    header = entry.get("gguf")
    header = header if isinstance(header, dict) else {}
    tags = _texts(entry.get("tags"))
    day = _text(entry.get("lastModified"))[:10]
    return Found(
        repo=repo,
        n_downloads=_whole(entry.get("downloads")),
        n_likes=_whole(entry.get("likes")),
        modified=day if _DAY.fullmatch(day) else "",
        architecture=_text(header.get("architecture")),
        n_parameters=_whole(header.get("total")),
        n_ctx_train=_whole(header.get("context_length")),
        licence=_tagged("license:", tags),
        is_gated=entry.get("gated") in ("auto", "manual", True),
        base_model=_tagged("base_model:", [tag for tag in tags if tag.count(":") == 1]),
    )


def _tagged(start: str, tags: list[str]) -> str:
    """What the first tag of a sort says."""
    return next((tag.removeprefix(start) for tag in tags if tag.startswith(start)), "")


def _text(value: Any) -> str:
    """A short text of the Hub on one line; empty where it is none."""
    return line(value[:_LONGEST_TEXT]) if isinstance(value, str) else ""


def _texts(value: Any) -> list[str]:
    """The texts in a list."""
    return [_text(each) for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _whole(value: Any) -> int:
    """A number of the Hub that can be one of things; 0 where it is none."""
    return value if type(value) is int and 0 <= value <= _LARGEST else 0


def _offered(repo: str, commit: str, parts: tuple[RemoteFile, ...]) -> OfferedModel:
    """A model from its files."""
    name = names.title(parts[0].path)
    quantization = quantizations.named_in(name)
    return OfferedModel(
        repo=repo,
        commit=commit,
        name=name,
        quantization=quantization,
        meaning=quantizations.meaning(quantization),
        files=tuple(part.path for part in parts),
        size_bytes=sum(part.size_bytes for part in parts),
        is_here=_is_here(repo, parts),
        kind=quantizations.without(name),
    )


def _is_here(repo: str, parts: tuple[RemoteFile, ...]) -> bool:
    """Whether the cache has all parts in one revision, each as long as it is on the Hub."""
    return any(
        all(_size_of(snapshot / part.path) == part.size_bytes for part in parts)
        for snapshot in cache.snapshots(cache.repo_folder(repo))
    )


def _size_of(path: Path) -> int:
    """How long a file is; -1 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _compared(model: OfferedModel, models: list[OfferedModel]) -> str:
    """What a quantization means, with its size against the 16-bit file of the same kind, else the largest."""
    alike = [each for each in models if each.kind == model.kind and each.quantization]
    whole = [each for each in alike if each.quantization in {"BF16", "F16"}] or alike
    largest = max(whole, key=lambda each: each.size_bytes, default=model)
    if not model.quantization or not largest.size_bytes or model.size_bytes > 0.9 * largest.size_bytes:
        return model.meaning
    share = model.size_bytes / largest.size_bytes
    fraction = min(_FRACTIONS, key=lambda each: abs(each - share))
    size = f"about {_FRACTIONS[fraction]} the size of {largest.quantization}"
    return f"{model.meaning}; {size}" if model.meaning else size
