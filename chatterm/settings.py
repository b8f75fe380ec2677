"""Settings: one declaration gives the file, the form, the command line's flags and the defaults.

Each record below is a section of the user's `settings.toml`; each field carries its bounds, title
and help, from which the settings panel is built in one loop (`fields_of`). What the app remembers
by itself (window state, last conversation) is not here but in the store.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta

from chatterm import paths
from chatterm.errors import SettingsError

TemplateValue = bool | int | float | str
Stage = Literal["penalties", "top_k", "typical", "top_p", "min_p", "temperature"]
STAGES: tuple[Stage, ...] = get_args(Stage)
CacheType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]
AUTOMATIC_CTX = 8192
"""The largest context window that is chosen without being asked for, tokens."""


def _about(title: str, help: str, step: float | None = None, zero: str = "", **bounds: Any) -> Meta:
    """Bounds, title and help of a field; `zero` says what its special value means."""
    return Meta(title=title, description=help, extra={"step": step, "special": zero}, **bounds)


class Sampling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a token is drawn from the model's distribution. Counts from the next reply on."""

    temperature: Annotated[
        float,
        _about(
            "Temperature",
            "Low is predictable, high is creative, too high is incoherent. At 0 the likeliest token is always taken.",
            0.05,
            ge=0.0,
            le=3.0,
        ),
    ] = 0.8
    top_k: Annotated[
        int, _about("Top-k", "Only the k likeliest tokens may be drawn. 0 leaves all in.", 1, "all", ge=0, le=1000)
    ] = 40
    top_p: Annotated[
        float,
        _about(
            "Top-p",
            "Only the likeliest tokens that together reach this probability. 1 leaves all in.",
            0.01,
            ge=0.0,
            le=1.0,
        ),
    ] = 0.95
    min_p: Annotated[
        float,
        _about(
            "Min-p",
            "Drops tokens that are less likely than this share of the likeliest one. 0 drops none.",
            0.01,
            ge=0.0,
            le=1.0,
        ),
    ] = 0.05
    typical_p: Annotated[
        float,
        _about("Typical-p", "Keeps tokens that are about as surprising as usual. 1 keeps all.", 0.01, ge=0.0, le=1.0),
    ] = 1.0
    repeat_penalty: Annotated[
        float,
        _about(
            "Repeat penalty",
            "Makes tokens that were just used less likely. 1 is off; above 1.3 text suffers.",
            0.05,
            ge=0.5,
            le=2.0,
        ),
    ] = 1.0
    repeat_last_n: Annotated[
        int, _about("Penalty window", "How many of the last tokens the penalties look at. 0 is off.", 16, ge=0, le=8192)
    ] = 64
    frequency_penalty: Annotated[
        float,
        _about("Frequency penalty", "Makes a token less likely each time it was used. 0 is off.", 0.1, ge=-2.0, le=2.0),
    ] = 0.0
    presence_penalty: Annotated[
        float,
        _about(
            "Presence penalty", "Makes a token less likely once it was used at all. 0 is off.", 0.1, ge=-2.0, le=2.0
        ),
    ] = 0.0
    seed: Annotated[
        int,
        _about(
            "Seed",
            "The same seed and settings draw the same tokens. -1 takes a new one for each reply.",
            1,
            "random",
            ge=-1,
            le=2**32 - 2,
        ),
    ] = -1
    max_tokens: Annotated[
        int,
        _about(
            "Longest reply", "Stops after so many tokens. 0 lets the model decide.", 64, "no limit", ge=0, le=1_000_000
        ),
    ] = 0
    stop: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        _about("Stop strings", "The reply ends before any of these texts."),
    ] = ()
    order: Annotated[
        tuple[Stage, ...],
        _about("Order of stages", "In which order the stages cut the distribution; one left out is off."),
    ] = STAGES

    def __post_init__(self) -> None:
        if len(set(self.order)) < len(self.order):
            raise ValueError("`order` names a stage twice")


class LoadOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a model is loaded. A change counts when it is loaded again."""

    n_ctx: Annotated[
        int,
        _about(
            "Context window",
            "How many tokens the model can look back on; more takes more memory. 0 is as much as fits, at most 8,192.",
            1024,
            "automatic",
            ge=0,
            le=2**24,
        ),
    ] = 0
    n_threads: Annotated[
        int,
        _about(
            "Threads",
            "Processor cores to compute on. 0 measures what is quickest while it writes.",
            1,
            "automatic",
            ge=0,
            le=512,
        ),
    ] = 0
    n_gpu_layers: Annotated[
        int,
        _about(
            "GPU layers",
            "How many layers go to the GPU, if there is one. -1 is as many as it has room for.",
            1,
            "automatic",
            ge=-1,
            le=1000,
        ),
    ] = -1
    n_batch: Annotated[int, _about("Batch", "How many prompt tokens are read at once.", 64, ge=1, le=8192)] = 512
    flash_attention: Annotated[
        Literal["auto", "on", "off"],
        _about("Flash attention", "Computes attention with less memory, where the model allows it."),
    ] = "auto"
    cache_type_k: Annotated[
        CacheType, _about("KV cache, keys", "Smaller types let a longer context fit, at some loss.")
    ] = "f16"
    cache_type_v: Annotated[
        CacheType,
        _about("KV cache, values", "Smaller types let a longer context fit; other than f16 needs flash attention."),
    ] = "f16"
    mmap: Annotated[
        bool,
        _about("Map the file", "Read weights from the file as they are needed, instead of copying all of them first."),
    ] = True
    mlock: Annotated[
        bool,
        _about(
            "Lock in memory", "Keep the weights from being swapped out, where the system lets chatterm lock so much."
        ),
    ] = False
    keep_loaded: Annotated[
        bool,
        _about(
            "Keep loaded",
            "Keep the model in memory while another one answers, as long as there is room: then it is back at once,"
            " and remembers the conversation. Not on a GPU.",
        ),
    ] = False
    template: Annotated[
        str,
        _about("Chat template", "Jinja text, or a file that holds it; used instead of the one that the model carries."),
    ] = ""
    rpc_servers: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^([^\s:/\[\]]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$")], ...],
        _about(
            "RPC servers",
            "HOST:PORT of llama.cpp's rpc-server on machines that take a part of the layers. Experts only: there is no"
            " password and no encryption, and a server that is lost ends the model's process.",
        ),
    ] = ()


class ChatSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a conversation starts with."""

    model: Annotated[
        str, _about("Model", "The GGUF file, or SERVER:MODEL, that answers until another one is chosen.")
    ] = ""
    system_prompt: Annotated[str, _about("System prompt", "What the model is told before the conversation begins.")] = (
        ""
    )
    template_variables: Annotated[
        dict[str, TemplateValue],
        _about("Template variables", "Given to the model's chat template, such as enable_thinking = false."),
    ] = {}


class LookSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the app looks."""

    theme: Annotated[
        str, _about("Theme", "Which colours are used; with none chosen, dark or light ones as the terminal has.")
    ] = ""


class ModelsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where models are looked for besides the Hugging Face cache."""

    folders: Annotated[tuple[str, ...], _about("Model folders", "GGUF files in these folders are offered, too.")] = ()


PresetName = Literal[
    "llama-server", "vllm", "ollama", "lmstudio",
    "openai", "gemini", "anthropic", "mistral", "xai", "groq", "together", "openrouter",
]  # fmt: skip
PRESET_NAMES: tuple[PresetName, ...] = get_args(PresetName)


class ServerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A server that speaks OpenAI's protocol; its models are named SERVER:MODEL. Its key is never in this file."""

    preset: PresetName | Literal[""] = ""
    """What kind of server it is; by default that of its name, else only what all of them have in common."""
    base_url: str = ""
    """Where it is, such as "http://127.0.0.1:8080/v1"; by default the preset's."""
    key_env: str = ""
    """The environment variable that holds its key; by default the preset's."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that the user can choose; each field is a section of the file."""

    chat: ChatSettings = ChatSettings()
    sampling: Sampling = Sampling()
    load: LoadOptions = LoadOptions()
    look: LookSettings = LookSettings()
    models: ModelsSettings = ModelsSettings()
    keys: dict[str, str] = {}
    """Keys of one's own: action = "key" (or "key,key"), as the help page names the actions."""
    servers: dict[str, ServerSettings] = {}
    """Servers to chat with, by the name that stands before the colon in SERVER:MODEL."""
    for_model: dict[str, dict[str, Any]] = {}
    """Settings of one model, by what `layers.key_of` calls it: shaped like the file, only what is said there."""
    stated: frozenset[str] = frozenset()
    """Sampling settings that the file states although they are at their defaults; `load` notes it, no file holds it."""

    def __post_init__(self) -> None:
        for name, server in self.servers.items():
            if reason := _wrong_with(name, server):
                raise ValueError(f"servers.{name}: {reason}")
        for name, values in self.for_model.items():
            if reason := _wrong_for_model(values):
                raise ValueError(f"for_model.{name}: {reason}")

    def merged(self, changes: Mapping[str, Any]) -> Settings:
        """These settings with some values changed, checked.

        Args:
            changes: Shaped like the file, only what differs: `{"sampling": {"temperature": 0.2}}`.
                None takes a value out, so that its default counts again.

        Raises:
            SettingsError: a value is out of its bounds or unknown; names the key.
        """
        merged = merge(msgspec.to_builtins(self), changes)
        taken_out = {name for name, value in changes.get("sampling", {}).items() if value is None}
        merged["stated"] = self.stated - taken_out
        try:
            return msgspec.convert(merged, Settings)
        except msgspec.ValidationError as error:
            raise SettingsError(*_explain(error)) from error

    def merged_as_far_as_valid(self, changes: Mapping[str, Any]) -> Settings:
        """These settings with changes from another time; what is not valid any more is left out."""
        with suppress(SettingsError):
            return self.merged(changes)
        settings = self
        for section, values in changes.items():
            for name, value in values.items() if isinstance(values, Mapping) else ():
                with suppress(SettingsError):
                    settings = settings.merged({section: {name: value}})
        return settings


class _ModelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What can be set for one model; only to check it, since what was not said must stay unsaid."""

    chat: ChatSettings = ChatSettings()
    sampling: Sampling = Sampling()
    load: LoadOptions = LoadOptions()


class Field(msgspec.Struct, frozen=True):
    """One setting, as a form or a command line needs it."""

    section: str
    name: str
    title: str
    help: str
    kind: Literal["number", "integer", "switch", "choice", "text", "list", "table"]
    default: Any
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()
    special: str = ""
    """What the value at the lower bound means, where it is not a number: "automatic", "random"."""


def _wrong_with(name: str, server: ServerSettings) -> str:
    """Why a server cannot be used; repeats no values, since a key may stand in the wrong place."""
    from urllib.parse import urlsplit  # late: there may be no server

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        return "the name of a server is made of letters, digits, dots, - and _"
    if not (server.preset or server.base_url or name in PRESET_NAMES):
        return "it needs a preset or a base_url"
    try:
        url = urlsplit(server.base_url)
        is_plain = not server.base_url or (url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0)
    except ValueError:
        is_plain = False
    if not is_plain:
        return "base_url is no address; write it like http://127.0.0.1:8080/v1"
    if url.username is not None or url.query or url.fragment:
        return "base_url must hold no password, ? or #"
    if server.key_env and not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", server.key_env):
        return "key_env takes the name of an environment variable, not the key itself"
    return ""


def _wrong_for_model(values: Mapping[str, Any]) -> str:
    """Why settings of one model cannot be used."""
    try:
        settings = msgspec.convert(values, _ModelSettings)
    except msgspec.ValidationError as error:
        return _explain(error)[0].rstrip(".")
    return "chat.model: a model cannot name another one" if settings.chat.model else ""


_RECORDS = {
    "chat": ChatSettings,
    "sampling": Sampling,
    "load": LoadOptions,
    "look": LookSettings,
    "models": ModelsSettings,
}


def about(section: str) -> str:
    """What a section of `Settings` is for, in a sentence or two."""
    return (_RECORDS[section].__doc__ or "").strip()


@cache
def fields_of(section: str) -> tuple[Field, ...]:
    """The fields of a section of `Settings`, in their order.

    Example: fields_of("sampling")[0].name -> "temperature"
    """
    from msgspec import inspect  # late: only forms and flags ask

    record = _RECORDS[section]
    described = inspect.type_info(record)
    assert isinstance(described, inspect.StructType)
    declared = get_type_hints(record)  # msgspec sorts the values of a choice; here they are as written
    return tuple(_field(section, field, get_args(declared[field.name]), inspect) for field in described.fields)


def _field(section: str, field: Any, values: tuple[Any, ...], inspect: Any) -> Field:
    """A form field from what msgspec knows about a record's field."""
    meta, kind = field.type, field.type
    extra: dict[str, Any] = {}
    json_schema: dict[str, Any] = {}
    if isinstance(meta, inspect.Metadata):
        extra, json_schema, kind = meta.extra or {}, meta.extra_json_schema or {}, meta.type
    name: Any = {
        inspect.FloatType: "number",
        inspect.IntType: "integer",
        inspect.BoolType: "switch",
        inspect.LiteralType: "choice",
        inspect.StrType: "text",
        inspect.DictType: "table",
    }.get(type(kind), "list")
    return Field(
        section=section,
        name=field.name,
        title=json_schema.get("title", field.name),
        help=json_schema.get("description", ""),
        kind=name,
        default=field.default if field.default is not msgspec.NODEFAULT else field.default_factory(),
        minimum=getattr(kind, "ge", None),
        maximum=getattr(kind, "le", None),
        step=extra.get("step"),
        choices=values if name == "choice" else (),
        special=extra.get("special", ""),
    )


def check(field: Field, value: Any) -> str:
    """Why a value cannot stand in a field, as a sentence; empty when it can."""
    try:
        Settings().merged({field.section: {field.name: value}})
    except SettingsError as error:
        reason = error.message.split(": ", 1)[-1]
        return f"{reason[0].upper()}{reason[1:]}"
    return ""


def load(path: Path) -> Settings:
    """The settings in a file; the defaults when there is none.

    Raises:
        SettingsError: the file cannot be read or used. It is left as it is.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{path} is not UTF-8 text.", "The defaults are used; mend the file, it was not changed."
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError(f"{path} cannot be read: {reason}.", "The defaults are used until it can.") from error
    import tomllib  # late: there may be no file

    try:
        return _read(tomllib.loads(content))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            f"{path} is not valid TOML: {error}.", "The defaults are used; mend the file, it was not changed."
        ) from error
    except msgspec.ValidationError as error:
        what, _ = _explain(error)
        raise SettingsError(f"{path}: {what}", "The defaults are used; mend the file, it was not changed.") from error


def _read(table: dict[str, Any]) -> Settings:
    """Settings from the file's table, with a note of what it states although it need not.

    Raises:
        msgspec.ValidationError: a value is refused.
    """
    if "stated" in table:
        raise msgspec.ValidationError("Object contains unknown field `stated`")
    settings = msgspec.convert(table, Settings)
    given, usual = table.get("sampling", {}), msgspec.to_builtins(Sampling())
    return msgspec.structs.replace(
        settings, stated=frozenset(name for name, value in given.items() if value == _plain(usual[name]))
    )


def _plain(value: Any) -> Any:
    """A value as TOML gives it."""
    return list(value) if isinstance(value, tuple) else value


def save(path: Path, changes: Mapping[str, Any]) -> Settings:
    """Write changed values into the user's file, keeping its comments and order.

    Args:
        changes: Shaped like the file. None takes a value out of the file; so does its default, except where
            a model may recommend another one.

    Returns:
        All settings as they are in the file now.

    Raises:
        SettingsError: a value is refused, or the file cannot be read or written; nothing was changed.
    """
    import tomlkit  # late: only saving needs it

    settings = load(path).merged(changes)
    document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
    now, default = msgspec.to_builtins(settings), msgspec.to_builtins(Settings())
    for section, values in changes.items():
        if section == "for_model":
            _lay_into(document, section, values, now[section])
            continue
        for name, change in values.items():
            value = now[section].get(name)
            is_usual = value == default[section].get(name) and (change is None or section != "sampling")
            if value is None or is_usual:
                document.get(section, {}).pop(name, None)
            else:
                document.setdefault(section, tomlkit.table())[name] = value
    try:
        paths.replace(path, tomlkit.dumps(document))
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written: {error}.", "The change counts until chatterm is closed."
        ) from error
    return _read(document.unwrap())


def _lay_into(table: Any, name: str, changes: Any, now: Any) -> None:
    """Write what was changed into a table of a TOML document, table by table; an empty one is taken out."""
    if now is None or (isinstance(changes, Mapping) and not now):
        table.pop(name, None)
    elif not isinstance(changes, Mapping):
        table[name] = now
    else:
        import tomlkit  # late: only saving needs it

        inner = table.setdefault(name, tomlkit.table())
        for key, change in changes.items():
            _lay_into(inner, key, change, now.get(key))
        if not inner:
            del table[name]


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested tables, the second one over the first, free tables (keys, variables) too; None takes out.

    Example: merge({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": None}}) -> {"a": {"b": 3}}
    """
    merged = dict(base)
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            old = merged.get(key)
            merged[key] = merge(old if isinstance(old, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def _explain(error: msgspec.ValidationError) -> tuple[str, str]:
    """msgspec's message as ours: ("sampling.temperature: expected a number of at most 3.0.", what to do)."""
    reason, _, where = str(error).partition(" - at ")
    key = where.strip("`").removeprefix("$").removeprefix(".")
    if reason.startswith("for_model."):
        return reason if reason.endswith("?") else f"{reason}.", "Mend it or take it out."
    if reason.startswith("servers."):
        return f"{reason}.", "Mend it; docs/servers.md tells what a server needs."
    if key.startswith("servers") and re.search("`(.*(key|token|secret).*)`", reason, re.IGNORECASE):
        return "Keys of servers do not belong into this file.", "Take it out, and run `chatterm models key SERVER`."
    if key.startswith("servers") and reason.startswith("Invalid enum value"):
        return f"{key}: there is no such preset.", f"Take one of {', '.join(PRESET_NAMES)}."
    if unknown := re.fullmatch("Object contains unknown field `(.*)`", reason):
        import difflib  # late: only a mistake needs it

        key = f"{key}.{unknown[1]}".strip(".")
        close = difflib.get_close_matches(unknown[1], _names(), 1)
        meant = f"; did you mean {close[0]}?" if close else "."
        return f"{key}: there is no such setting{meant}", "Mend the name or take it out."
    return f"{key or 'settings'}: {_in_words(reason)}.", "Choose a value that is allowed."


def _names() -> list[str]:
    """All that can stand on the left in the file."""
    sections = msgspec.to_builtins(Settings())
    del sections["stated"]
    own = (*ServerSettings.__struct_fields__, *(name for values in sections.values() for name in values))
    return [*sections, *own]


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


_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
}
