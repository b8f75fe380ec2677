"""Which model shall answer: the one to begin with, one that is named, or one that the user picks.

What a name means, the library knows; how loading goes, `model_notice` says.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from textual.app import App

from chatterm import tutor
from chatterm.errors import ModelNotFound
from chatterm.text import line

if TYPE_CHECKING:
    from chatterm.address import Address
    from chatterm.library import Library
    from chatterm.ui.screens.chat import ChatScreen


class ModelChoice:
    """Finds models for the chat screen, which loads them."""

    def __init__(self, app: App[Any], screen: ChatScreen, library: Library) -> None:
        """Nothing is chosen yet.

        Args:
            app: Shows screens and notices.
            screen: Loads what is chosen.
            library: The models.
        """
        self._app, self._screen, self._library = app, screen, library

    async def load_first(self, wanted: str) -> None:
        """Load the model to begin with, or tell how to come to one.

        Args:
            wanted: A name that was asked for on the command line; empty for none.
        """
        if self._screen.chat.model is not None:
            self._screen.status.tell(activity="ready")
            return
        models, address = self._screen.models, await self._first(wanted)
        if address is None:
            models.offer([model.name for model in await asyncio.to_thread(self._library.local_models)])
            return
        if tutor.is_tutor(address):
            models.n_others = len(await asyncio.to_thread(self._library.others))
        models.load(address, is_pick=bool(wanted))

    async def _first(self, wanted: str) -> Address | None:
        """The model that was asked for, that the conversation has, was picked last, is set, or is the only one."""
        chat, address = self._screen.chat, None
        named, default = wanted or chat.own_model, chat.settings.chat.model
        picked = await self._screen.memory.last_model()
        try:
            address = await asyncio.to_thread(self._library.first, named, picked, default)
        except ModelNotFound as error:
            self._screen.show_error(error)
        if picked is not None and not named and address != picked and not tutor.is_tutor(picked):
            self._app.notify(
                f"{line(str(picked))} is not there any more.",
                title="Another model than last",
                severity="warning",
                markup=False,
            )
        return address

    async def load_named(self, name: str, *, is_pick: bool = False) -> None:
        """Load the model that a conversation or the settings name, or say that it is not there.

        Args:
            name: Where it is empty, the model that was asked for last is loaded again.
            is_pick: Whether the next start begins with it, too.
        """
        if not name:
            self._screen.models.load_again()
            return
        try:
            address = await asyncio.to_thread(self._library.find, name)
        except ModelNotFound as error:
            self._app.notify(str(error), title=error.title, severity="error", timeout=15, markup=False)
        else:
            self._screen.models.load(address, is_pick=is_pick)

    async def ask(self, title: str = "Choose a model") -> Address | None:
        """The model that the user picks; None where there is nothing to pick for, or nothing was."""
        chat = self._screen.state.chat
        if chat is None or self._screen.state.closing or self._app.screen is not self._screen:
            return None
        from chatterm.ui.screens.model_picker import ModelPicker  # late: not needed for the first paint

        current = chat.model.address if chat.model else ""
        library = self._library
        return await self._app.push_screen_wait(
            ModelPicker(library.local_models, current, library.remote_models, title=title, can_get_more=True)
        )
