"""Themes are readable, and a bad file is named and stops nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.color import Color
from textual.theme import Theme
from textual.widgets import Static

from chatterm import paths
from chatterm.errors import ThemeError
from chatterm.ui import themes
from chatterm.ui.widgets.reading.look import SYNTAX

SHIPPED = sorted(paths.shipped_themes_folder().glob("*.toml"))


def luminance(colour: Color) -> float:
    """Relative luminance (WCAG 2.2)."""

    def linear(channel: float) -> float:
        return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(channel) for channel in colour.normalized)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(text: Color, behind: Color) -> float:
    """Contrast ratio (WCAG 2.2), 1 to 21."""
    light, dark = sorted((luminance(text), luminance(behind)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def variables(theme: Theme) -> dict[str, str]:
    return {**theme.to_color_system().generate(), **theme.variables}


def on(value: str, behind: Color) -> Color:
    """A variable's colour as it is seen on a background: "auto 60%" and see-through ones are mixed with it."""
    colour, _, alpha = value.partition(" ")
    share = int(alpha[:-1]) / 100 if alpha else 1.0
    seen = behind.get_contrast_text(1.0) if colour == "auto" else Color.parse(colour)
    return behind.blend(seen.with_alpha(1.0), share * seen.a, alpha=1.0)


def user_theme(content: str, name: str = "mine.toml") -> Path:
    path = paths.ensure(paths.user_themes_folder()) / name
    path.write_text(content, encoding="utf-8")
    return path


def only_error(content: str) -> str:
    path = user_theme(content)
    loaded, errors = themes.load_themes()
    assert len(loaded) == len(SHIPPED), "the others must be there all the same"
    assert len(errors) == 1
    assert str(path) in errors[0].message
    return errors[0].message.removeprefix(f"{path}: ")


def test_shipped_are_dark_and_light_and_high_contrast():
    loaded, errors = themes.load_themes()
    assert not errors
    names = {theme.name for theme in loaded}
    assert len([theme for theme in loaded if theme.dark]) >= 2
    assert len([theme for theme in loaded if not theme.dark]) >= 2
    assert {"high-contrast-dark", "high-contrast-light"} <= names
    by_name = {theme.name: theme for theme in loaded}
    assert by_name[themes.automatic(True)].dark
    assert by_name[themes.automatic(None)].dark
    assert not by_name[themes.automatic(False)].dark


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_text_can_be_read(path: Path):
    theme = themes.read_theme(path)
    named = variables(theme)
    body = 7.0 if "high-contrast" in theme.name else 4.5
    accents = [f"text-{name}" for name in ("primary", "secondary", "accent", "success", "warning", "error")]
    accents += ["primary", "secondary", "accent", "success", "warning", "error"]
    accents += [f"syntax-{key}" for key in themes.SYNTAX if key != "comment"]
    accents += [f"glass-{key}" for key in themes.GLASS]
    for ground in ("background", "surface", "panel"):
        behind = Color.parse(named[ground])
        for name in ("foreground", "text", *accents):
            assert contrast(on(named[name], behind), behind) >= body, f"{name} on {ground}"
        for name in ("text-muted", "foreground-muted", "syntax-comment"):
            assert contrast(on(named[name], behind), behind) >= max(3.0, body - 2.5), f"{name} on {ground}"
    cursor = Color.parse(named["block-cursor-background"])
    assert contrast(on(named["block-cursor-foreground"], cursor), cursor) >= 4.5


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
async def test_style_sheets_can_use_every_variable(path: Path):
    class Shown(App[None]):
        CSS = "Static { color: $syntax-keyword; background: $panel; border: solid $border-blurred; }"

        def get_theme_variable_defaults(self) -> dict[str, str]:
            return themes.derived(self.current_theme)

        def compose(self) -> ComposeResult:
            yield Static("text")

    app = Shown()
    async with app.run_test() as pilot:
        theme = themes.read_theme(path)
        app.register_theme(theme)
        app.theme = theme.name
        await pilot.pause()
        shown = app.query_one(Static)
        assert shown.styles.color == Color.parse(theme.variables["syntax-keyword"])
        app.theme = "textual-light"
        await pilot.pause()
        assert shown.styles.color == Color.parse(themes.derived(app.current_theme)["syntax-keyword"])


def test_users_own_theme_is_offered_and_replaces_a_shipped_one():
    user_theme('primary = "#ff8800"\n[syntax]\nkeyword = "#123456"\ntype = "rebeccapurple"\n')
    user_theme('name = "paper"\nprimary = "#ff8800"\ndark = false\n', "other.toml")
    loaded, errors = themes.load_themes()
    assert not errors
    by_name = {theme.name: theme for theme in loaded}
    assert by_name["mine"].variables["syntax-keyword"] == "#123456"
    assert by_name["mine"].variables["syntax-name"] == "#FF8800"
    assert by_name["mine"].variables["syntax-type"] == "#663399", "a colour's name is as good as its number"
    assert by_name["paper"].primary == "#ff8800"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("dark = true\n", "primary"),
        ('primary = "#8ab4f8"\ncolour = "red"\n', "colour"),
        ('primary = "#8ab4f8"\ndark = "yes"\n', "dark: expected `bool`, got `str`."),
        ('primary = "bluish"\n', 'primary: "bluish" is not a colour; write it like "#8ab4f8".'),
        ('primary = "#8ab4f8"\nbackground = "#00000080"\n', "background: "),
        ('primary = "ansi_red"\n', "primary: "),
        ('primary = "#8ab4f8"\ntext_alpha = 3\n', "text_alpha: "),
        ('primary = "#8ab4f8"\nname = "[b]x"\n', "name: "),
        ('primary = "#8ab4f8"\nname = "a\\u001b[2Jb"\n', "name: "),
        ('primary = "#8ab4f8"\nname = ""\n', "name: "),
        ('primary = "#8ab4f8"\n[variables]\nborder = "} Screen {"\n', "variables.border: "),
        ('primary = "#8ab4f8"\n[variables]\ntext = "auto 140%"\n', "variables.text: "),
        ('primary = "#8ab4f8"\n[variables]\nlink-style = "fat"\n', "variables.link-style: "),
        ('primary = "#8ab4f8"\n[variables]\nboredr = "red"\n', "variables.boredr: "),
        ('primary = "#8ab4f8"\n[syntax]\nkeywrod = "red"\n', "syntax.keywrod: there is no such colour"),
        ('primary = "#8ab4f8"\n[glass]\ncertain = "soft"\n', "glass.certain: "),
    ],
)
def test_bad_file_is_named_with_key_and_reason(content: str, named: str):
    message = only_error(content)
    assert named in message
    assert "\x1b" not in message


def test_every_colour_of_code_in_the_transcript_can_be_set():
    assert set(themes.SYNTAX) == set(SYNTAX)


def test_broken_toml_is_named_with_its_line():
    assert "line 2" in only_error('primary = "#8ab4f8"\ndark = = true\n')


def test_file_that_is_not_text_is_named():
    paths.ensure(paths.user_themes_folder()).joinpath("mine.toml").write_bytes(b"\xff\xfe\x00")
    _, errors = themes.load_themes()
    assert "cannot be read" in errors[0].message


def test_missing_file_raises_ours(tmp_path: Path):
    with pytest.raises(ThemeError, match="cannot be read"):
        themes.read_theme(tmp_path / "nothing.toml")


def test_example_in_the_manual_is_a_theme():
    manual = Path(__file__).resolve().parents[2] / "docs" / "themes.md"
    user_theme(manual.read_text(encoding="utf-8").split("```")[1].removeprefix("toml\n"))
    loaded, errors = themes.load_themes()
    assert not errors
    assert "dusk" in {theme.name for theme in loaded}


def test_watch_tells_each_save_once():
    watch = themes.ThemeWatch()
    assert not watch.changed()
    path = user_theme('primary = "#ff8800"\n')
    assert watch.changed()
    assert not watch.changed()
    path.write_text('primary = "#ff8801"\n')
    os.utime(path, ns=(1, 1))
    assert watch.changed()
    path.unlink()
    assert watch.changed()
    assert not watch.changed()
