"""The chat template that the user has chosen in place of the model's own: Jinja text, or a file that holds it."""

from __future__ import annotations

import re

from chatterm import paths
from chatterm.engine.worker.template import ChatTemplate, Specials
from chatterm.text import line

_LARGEST_BYTES = 1 << 20


def chosen_template(chosen: str, own: str | None, vocabulary: Specials, notes: list[str]) -> ChatTemplate:
    """The chosen template; the model's own where none was chosen, or where it does not work, which is noted.

    Args:
        chosen: As it stands in the settings; "" for none.
        own: The one that the model carries.
        notes: Where it is written down what is wrong.
    """
    if chosen.strip():
        try:
            template = ChatTemplate(_source(chosen), vocabulary, name="settings")
        except OSError as error:
            defect = f"{line(chosen)} cannot be read: {line(error.strerror or str(error))}"
        except ValueError as error:
            defect = f"{line(chosen)} {error}"
        else:
            if not template.defect:
                return template
            defect = line(template.defect).rstrip(".")
        notes.append(f"The chat template in the settings does not work ({defect}), so the model's own is used.")
    return ChatTemplate(own, vocabulary)


def _source(chosen: str) -> str:
    """Jinja as it is written in the settings, or in the file that they name.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is no text of a sensible length; says so, without its name.
    """
    if re.search(r"\{[{%#]|\n", chosen.strip()):
        return chosen
    with paths.expanded(chosen.strip()).open("rb") as file:
        content = file.read(_LARGEST_BYTES + 1)
    if len(content) > _LARGEST_BYTES:
        raise ValueError("is too long for a template")
    try:
        source = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError("is not UTF-8 text") from error
    if not source.strip():
        raise ValueError("is empty")
    return source
