"""Which theme the app wears: the chosen one, else the one that suits the terminal; theme files as they change."""

from __future__ import annotations

from contextlib import suppress

from textual.app import App

from chatterm import paths
from chatterm.errors import ThemeError
from chatterm.ui import themes


class Looks:
    """Makes theme files known to an app and puts one on."""

    def __init__(self, app: App[None], is_dark: bool | None) -> None:
        self._app = app
        self.automatic = themes.automatic(is_dark)
        """The theme that suits the terminal's background."""
        self.names: list[str] = []
        """All themes that come from files."""
        self.problems: list[str] = []
        """What is wrong with files that cannot be used."""
        self._watch = themes.ThemeWatch()

    def register_first(self, name: str) -> None:
        """Make the theme that is needed first known, without a look at the others."""
        for folder in (paths.user_themes_folder(), paths.shipped_themes_folder()):
            with suppress(ThemeError):  # said when all are read
                self._app.register_theme(themes.read_theme(folder / f"{name or self.automatic}.toml"))
                return

    def register_all(self) -> None:
        """Make the theme files known, and keep what is wrong with the others."""
        found, errors = themes.load_themes()
        self.names = [theme.name for theme in found]
        self.problems = [str(error) for error in errors]
        for theme in found:
            self._app.register_theme(theme)

    def wear(self, name: str) -> None:
        """Look like this; empty is as the terminal's background is."""
        wanted = name or self.automatic
        if wanted in self._app.available_themes:
            self._app.theme = wanted
        elif self.names:  # else it may be known in a moment
            self.problems.append(f"There is no theme “{wanted}”.")
            self._app.theme = self.automatic

    def look_again(self) -> None:
        """Take over theme files that were saved since the last look."""
        if self._watch.changed():
            self.register_all()
            self.tell_problems()
            self._app.refresh_css(animate=False)

    def tell_problems(self) -> None:
        """Say what is wrong with theme files."""
        for problem in self.problems:
            self._app.notify(problem, title="Theme not used", severity="warning", timeout=12, markup=False)
