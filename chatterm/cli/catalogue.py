"""`chatterm models search` and `files`: what the Hugging Face Hub has, and what of it fits this machine."""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatterm.cli.terminal import aligned, argument, fail, say, write_json
from chatterm.errors import ChattermError, SettingsError
from chatterm.text import amount, line

if TYPE_CHECKING:
    from chatterm.fit import Fit
    from chatterm.gguf import GgufHeader
    from chatterm.hub.catalogue import Found, OfferedModel

_UNITS = {"M": 1_000_000, "B": 1_000_000_000, "T": 1_000_000_000_000}


class Order(StrEnum):
    """By what repositories can be sorted."""

    DOWNLOADS = "downloads"
    LIKES = "likes"
    TRENDING = "trending"
    MODIFIED = "modified"


def _parameters(text: str) -> int:
    """A number of parameters as people write it.

    Example: "7B" -> 7_000_000_000; "0.5b" -> 500_000_000
    """
    if not text:
        return 0
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)\s*([MBT])", text.strip().upper())
    if not found:
        raise typer.BadParameter("Write it as 500M, 1.5B or 70B.")
    return round(float(found[1]) * _UNITS[found[2]])


def search(
    words: Annotated[list[str] | None, typer.Argument(help="What the name holds, or OWNER/NAME.")] = None,
    sort: Annotated[Order, typer.Option("--sort", help="What comes first.")] = Order.DOWNLOADS,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="How many at most.")] = 20,
    at_least: Annotated[str, typer.Option("--min", help="Parameters at least, such as 1B.")] = "",
    at_most: Annotated[str, typer.Option("--max", help="Parameters at most, such as 8B.")] = "",
    architecture: Annotated[str, typer.Option("--architecture", help="Such as llama or qwen3.")] = "",
    licence: Annotated[str, typer.Option("--licence", "--license", help="Such as apache-2.0 or mit.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Search the Hugging Face Hub for repositories with models in GGUF format."""
    from chatterm.hub import catalogue

    asked = " ".join(map(argument, words or ()))
    query = catalogue.Query(asked, sort.value, architecture, licence, _parameters(at_least), _parameters(at_most))
    try:
        found = catalogue.search(query, limit)
    except ChattermError as error:
        raise fail(error) from error
    if json:
        for each in found:
            write_json(each)
        return
    head = ("REPOSITORY", "SIZE", "KIND", "DOWNLOADS", "LIKES", "CHANGED", "LICENCE", "")
    _print([head, *map(_found_row, found)] if found else [])
    if not found:
        say("Nothing on the Hub matches. Try fewer or other words.")
    else:
        say(f"See what one holds with `chatterm models files {line(found[0].repo)}`.")


def files(
    repo: Annotated[str, typer.Argument(help="OWNER/NAME on the Hugging Face Hub, or its address.")],
    revision: Annotated[str, typer.Option("--revision", help="A branch, tag or commit; else main.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """List the models that a repository holds, and whether each fits into the memory that is free now."""
    from chatterm.hub import catalogue

    try:
        models = catalogue.models_in(argument(repo), revision)
    except ChattermError as error:
        raise fail(error) from error
    fits, trouble = _fits(models)
    if json:
        for model in models:
            write_json(_record(model, fits.get(model.files)))
        return
    rows = [_model_row(model, fits.get(model.files)) for model in models]
    _print([("NAME", "QUANT", "SIZE", "HERE", "VERDICT", "WHAT IT MEANS"), *rows] if rows else [])
    if trouble is not None:
        say(f"Where there is a ?, whether it fits cannot be told: {trouble.message} {trouble.remedy}")
    if not models:
        say(f"{line(repo)} holds no GGUF file. Look for a repository of the same model whose name ends in -GGUF.")
        raise typer.Exit(1)
    _say_how_to_pull(models, fits)


def _fits(models: list[OfferedModel]) -> tuple[dict[tuple[str, ...], Fit], ChattermError | None]:
    """Whether models fit, by their files, and what was in the way of telling it of some.

    Of each kind one header is read: the others differ in the types of their weights only.
    """
    from chatterm.fit import fit, free_memory
    from chatterm.hub import catalogue

    load, free = _load_options(), free_memory()
    headers: dict[str, GgufHeader | None] = {}
    trouble: ChattermError | None = None
    for model in models:
        if model.kind not in headers:
            try:
                headers[model.kind] = catalogue.header_of(model)
            except ChattermError as error:
                headers[model.kind], trouble = None, error
    known = [(model, header) for model in models if (header := headers[model.kind]) is not None]
    return {model.files: fit(header, model.size_bytes, load, free) for model, header in known}, trouble


def _load_options() -> Any:
    """How models are loaded here."""
    from chatterm.cli.join import load_settings
    from chatterm.settings import Settings

    try:
        return load_settings().load
    except SettingsError as error:
        say(f"chatterm: {error}")
        return Settings().load


def _say_how_to_pull(models: list[OfferedModel], fits: dict[tuple[str, ...], Fit]) -> None:
    """The command that fetches one of them: the usual quantization where it fits, else the largest that does."""
    from chatterm.hub.repository import PREFERRED

    fitting = [model for model in models if model.files in fits and fits[model.files].verdict == "fits"]
    usual = [model for model in fitting if model.quantization == PREFERRED]
    chosen = (usual or fitting)[-1:]
    for model in chosen:
        say(f"Fetch one with `chatterm models pull {line(model.repo)} {line(model.quantization or model.files[0])}`.")
    if fits and not chosen:
        say("None of them fits into the memory that is free now: look for a smaller model.")


def _record(model: OfferedModel, found: Fit | None) -> dict[str, Any]:
    """A model and its verdict, for JSON."""
    import msgspec

    return {**msgspec.to_builtins(model), "fit": found}


def _found_row(found: Found) -> tuple[str, ...]:
    """What is said of a repository."""
    return (
        found.repo,
        _short(found.n_parameters) if found.n_parameters else "-",
        found.architecture or "-",
        _short(found.n_downloads),
        _short(found.n_likes),
        found.modified or "-",
        found.licence or "-",
        "gated" if found.is_gated else "",
    )


def _model_row(model: OfferedModel, found: Fit | None) -> tuple[str, ...]:
    """What is said of a model."""
    return (
        model.name,
        model.quantization or "-",
        amount(model.size_bytes),
        "yes" if model.is_here else "-",
        found.verdict.value if found else "?",
        model.meaning,
    )


def _short(n: int) -> str:
    """A number as a table has room for it.

    Example: 7_615_616_512 -> "7.6B"; 12_345 -> "12k"
    """
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:.1f}{unit}" if n < 10 * size else f"{n / size:.0f}{unit}"
    return str(n)


def _print(rows: list[tuple[str, ...]]) -> None:
    """Rows as aligned columns; nothing where there are none."""
    for row in aligned(rows) if rows else ():
        sys.stdout.write(f"{row}\n")
