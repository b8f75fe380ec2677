"""What the user can choose: one declaration gives the file, the form, the command line's flags and the defaults.

`records` and `servers` declare each setting, `settings` makes one checked whole of them, `fields` tells a form
what can be set, `file` reads and writes it, and `mistakes` says what is wrong with a value. What the app remembers
by itself (window state, last conversation) is not here but in the store.
"""

from chatterm.settings.fields import Field, about, check, fields_of
from chatterm.settings.file import load, save
from chatterm.settings.records import (
    AUTOMATIC_CTX,
    STAGES,
    CacheType,
    ChatSettings,
    LoadOptions,
    LookSettings,
    ModelsSettings,
    Sampling,
    Stage,
    TemplateValue,
)
from chatterm.settings.servers import PRESET_NAMES, PresetName, ServerSettings
from chatterm.settings.settings import Settings, merge

__all__ = [
    "AUTOMATIC_CTX",
    "PRESET_NAMES",
    "STAGES",
    "CacheType",
    "ChatSettings",
    "Field",
    "LoadOptions",
    "LookSettings",
    "ModelsSettings",
    "PresetName",
    "Sampling",
    "ServerSettings",
    "Settings",
    "Stage",
    "TemplateValue",
    "about",
    "check",
    "fields_of",
    "load",
    "merge",
    "save",
]
