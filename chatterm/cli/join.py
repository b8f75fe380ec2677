"""Where the rooms are joined: which store, which engine, which model a command works with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatterm import paths, settings
from chatterm.errors import ModelNotFound
from chatterm.text import line

if TYPE_CHECKING:
    from chatterm.address import Address
    from chatterm.downloads import Downloads
    from chatterm.engine.base import Engine
    from chatterm.library import Library
    from chatterm.settings import Settings
    from chatterm.store import Store

HOW_TO_GET_ONE = "Fetch one with `chatterm models pull REPO`, or name a file with --model FILE."


def load_settings() -> Settings:
    """The user's settings.

    Raises:
        SettingsError: the file cannot be used.
    """
    return settings.load(paths.settings_file())


async def open_store() -> Store:
    """The user's conversations."""
    from chatterm.store import Store

    return await Store.open(paths.store_file())


def make_engine(chosen: Settings) -> Engine:
    """The engine that runs llama.cpp on this machine or asks a server; its worker starts when it is first needed."""
    from chatterm.engine.either import EitherEngine
    from chatterm.engine.local import LocalEngine
    from chatterm.engine.remote import RemoteEngine

    return EitherEngine(LocalEngine(), RemoteEngine(chosen.servers))


def make_library(chosen: Settings) -> Library:
    """The models that are on this machine and on servers."""
    from chatterm.hub import trash
    from chatterm.library import Library

    trash.bring_back_left()
    return Library(chosen)


def make_downloads() -> Downloads:
    """The queue of downloads that all chatterms of this user share."""
    from chatterm.downloads import Downloads

    return Downloads()


def default_model(chosen: Settings, named: str | None) -> Address:
    """The model a command uses: the one that was named, else the one in the settings, else the only one.

    With none but the tutor that is the tutor; it does not take the place of several others, though.

    Raises:
        ModelNotFound: there is none, or more than one to choose from.
    """
    library = make_library(chosen)
    if name := named or chosen.chat.model:
        return library.find(name)
    models = library.others()
    if len(models) <= 1:
        if (path := library.only_one()) is not None:
            return path
        raise ModelNotFound("There is no model on this machine yet.", HOW_TO_GET_ONE)
    names = ", ".join(sorted(line(model.name) for model in models)[:5])
    raise ModelNotFound(
        f"There are {len(models)} models on this machine ({names}{', ...' if len(models) > 5 else ''}).",
        "Say which one with --model NAME, or choose one for good in the app's settings.",
    )
