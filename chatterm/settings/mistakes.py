"""What is wrong with a value, in our words: msgspec's messages without its types and signs.

Knows no values and no record; which names there are is told by the caller.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import msgspec

from chatterm.errors import SettingsError
from chatterm.settings.servers import PRESET_NAMES

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
}


def refusal(error: msgspec.ValidationError, names: Collection[str]) -> SettingsError:
    """What msgspec refused, as our error, which says where and why: "load.n_ctx: expected a whole number, not a text".

    Args:
        error: Of the conversion of a table to settings.
        names: All that can stand on the left in the file; one of them may have been meant.
    """
    reason, _, where = str(error).partition(" - at ")
    key = where.strip("`").removeprefix("$").removeprefix(".")
    if reason.startswith("for_model."):
        return SettingsError(reason if reason.endswith("?") else f"{reason}.", "Mend it or take it out.")
    if reason.startswith("servers."):
        return SettingsError(f"{reason}.", "Mend it; docs/servers.md tells what a server needs.")
    if key.startswith("servers") and re.search("`(.*(key|token|secret).*)`", reason, re.IGNORECASE):
        return SettingsError(
            "Keys of servers do not belong into this file.",
            "Take it out, and run `chatterm models key SERVER`.",
        )
    if key.startswith("servers") and reason.startswith("Invalid enum value"):
        return SettingsError(f"{key}: there is no such preset.", f"Take one of {', '.join(PRESET_NAMES)}.")
    if unknown := re.fullmatch("Object contains unknown field `(.*)`", reason):
        return no_such_setting(key, unknown[1], names)
    return SettingsError(f"{key or 'settings'}: {_in_words(reason)}.", "Choose a value that is allowed.")


def no_such_setting(table: str, name: str, names: Collection[str]) -> SettingsError:
    """That a table ("" for the whole file) has no such name, with the one that was probably meant."""
    import difflib  # late: only a mistake needs it

    close = difflib.get_close_matches(name, names, 1)
    meant = f"; did you mean {close[0]}?" if close else "."
    return SettingsError(
        f"{f'{table}.{name}'.strip('.')}: there is no such setting{meant}", "Mend the name or take it out."
    )


def _in_words(reason: str) -> str:
    """msgspec's reason without its types: "expected a whole number, not a text"."""
    if found := re.fullmatch("Expected `(int|float)` ([<>])= (.*)", reason):
        kind, sign, bound = found.groups()
        return f"expected {_KINDS[kind]} of at {'least' if sign == '>' else 'most'} {bound}"
    if reason == "Expected `str` of length >= 1":
        return "expected a text that is not empty"
    if reason.startswith("Expected `str` matching regex"):
        return "expected HOST:PORT"
    if found := re.fullmatch("Expected `(.*)`, got `(.*)`", reason):
        expected = " or ".join(_KINDS.get(kind, kind) for kind in found[1].split(" | "))
        return f"expected {expected}, not {'a fraction' if found[2] == 'float' else _KINDS.get(found[2], found[2])}"
    if found := re.fullmatch("Invalid enum value (.*)", reason, re.DOTALL):
        return f"there is no choice {found[1]}"
    return f"{reason[0].lower()}{reason[1:].rstrip('.')}"
