"""What a form edits, without a form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chatterm import settings as rules
from chatterm.events import ModelInfo
from chatterm.settings import Field, LoadOptions, Settings, fields_of
from chatterm.ui import form, written
from chatterm.ui.form import THINKING, Draft, SettingsResult

SETTINGS = Settings().merged({"sampling": {"temperature": 0.5, "top_k": 10}, "look": {"theme": "paper"}})
OVERRIDES = {"sampling": {"temperature": 0.2}, "chat": {"template_variables": {"style": "brief"}}}


def field(name: str, section: str = "sampling") -> Field:
    return next(each for each in fields_of(section) if each.name == name)


def test_untouched_fields_show_what_counts_in_the_scope():
    draft = Draft(SETTINGS, OVERRIDES, "conversation")
    assert draft.value(field("temperature")) == 0.2
    draft.scope = "default"
    assert draft.value(field("temperature")) == 0.5
    assert draft.note(field("temperature")) == "This conversation has a value of its own."
    assert draft.note(field("top_k")) == ""
    assert draft.changes() == {}


def test_touched_fields_stay_when_the_scope_changes():
    draft = Draft(SETTINGS, OVERRIDES, "conversation")
    draft.edit(field("temperature"), 0.9)
    draft.scope = "default"
    assert draft.value(field("temperature")) == 0.9
    assert draft.changes() == {"sampling": {"temperature": 0.9}}


def test_default_is_the_users_for_a_conversation_and_ours_for_the_default():
    draft = Draft(SETTINGS, OVERRIDES, "conversation")
    assert draft.default(field("temperature")) == 0.5
    assert draft.mark(field("temperature")) == "only here"
    assert draft.mark(field("top_k")) == ""
    assert draft.default(field("theme", "look")) == "", "looks belong to no conversation"
    assert draft.mark(field("theme", "look")) == "changed"
    draft.scope = "default"
    assert draft.default(field("temperature")) == 0.8
    assert draft.mark(field("top_k")) == "changed"


def test_a_value_put_back_is_no_change():
    draft = Draft(SETTINGS, {}, "default")
    draft.edit(field("order"), ("top_k",))
    draft.edit(field("stop"), ("a",))
    draft.edit(field("order"), Settings().sampling.order)
    assert draft.changes() == {"sampling": {"stop": ["a"]}}


def test_variable_that_was_taken_out_is_none():
    draft = Draft(SETTINGS, OVERRIDES, "conversation")
    draft.edit(field("template_variables", "chat"), {"other": 1})
    changes = draft.changes()
    assert changes == {"chat": {"template_variables": {"other": 1}}}, "all that differs from the default"
    default = SETTINGS.merged({"chat": {"template_variables": {"kept": 1, "gone": 2}}})
    draft = Draft(default, {}, "conversation")
    draft.edit(field("template_variables", "chat"), {"kept": 1, "new": 3})
    changes = draft.changes()
    assert changes == {"chat": {"template_variables": {"new": 3, "gone": None}}}
    assert default.merged(changes).chat.template_variables == {"kept": 1, "new": 3}


def test_thinking_is_a_field_of_its_own_where_the_model_can():
    assert THINKING not in Draft(SETTINGS, {}, "default").fields("chat")
    overrides = {"chat": {"template_variables": {"enable_thinking": False, "style": "brief"}}}
    draft = Draft(SETTINGS, overrides, "conversation", can_think=True)
    assert THINKING in draft.fields("chat")
    assert draft.value(THINKING) is False
    assert draft.value(field("template_variables", "chat")) == {"style": "brief"}
    draft.edit(THINKING, None)
    draft.edit(field("template_variables", "chat"), {"style": "long"})
    assert draft.changes() == {"chat": {"template_variables": {"style": "long"}}}
    draft.edit(field("template_variables", "chat"), {})
    assert draft.changes() == {"chat": {"template_variables": None}}, "nothing is left that differs"
    draft.edit(THINKING, True)
    assert draft.changes() == {"chat": {"template_variables": {"enable_thinking": True}}}


def test_thinking_in_the_default_is_taken_out_by_name():
    default = SETTINGS.merged({"chat": {"template_variables": {"enable_thinking": False, "style": "brief"}}})
    for scope in ("conversation", "default"):
        draft = Draft(default, {}, scope, can_think=True)  # type: ignore[arg-type]
        draft.edit(THINKING, None)
        assert draft.changes() == {"chat": {"template_variables": {"enable_thinking": None}}}
        assert default.merged(draft.changes()).chat.template_variables == {"style": "brief"}


def test_conversation_goes_back_to_the_default_whatever_that_will_be():
    draft = Draft(SETTINGS, OVERRIDES, "conversation")
    draft.edit(field("temperature"), 0.5)
    assert draft.changes() == {"sampling": {"temperature": None}}


def test_overrides_from_another_time_are_taken_as_far_as_they_are_valid():
    draft = Draft(SETTINGS, {"sampling": {"temperature": 99, "top_k": 3, "gone": 1}, "old": {"x": 1}}, "conversation")
    assert draft.value(field("temperature")) == 0.5
    assert draft.value(field("top_k")) == 3


ADVISED = ModelInfo("/models/a.gguf", "A", recommended={"temperature": 0.6, "top_k": 20, "min_p": 0.1})
OF_MODEL = SETTINGS.merged({"for_model": {"a.gguf": {"sampling": {"min_p": 0.2}, "load": {"n_ctx": 2048}}}})


def test_this_model_shows_what_counts_for_it_and_where_it_comes_from():
    draft = Draft(Settings().merged({"for_model": OF_MODEL.for_model}), {}, "model", model=ADVISED)
    assert (draft.value(field("temperature")), draft.source(field("temperature"))) == (0.6, "from the model file")
    assert (draft.value(field("min_p")), draft.mark(field("min_p"))) == (0.2, "for this model")
    assert (draft.default(field("min_p")), draft.source(field("min_p"))) == (0.1, "from the model file")
    assert (draft.value(field("n_ctx", "load")), draft.default(field("n_ctx", "load"))) == (2048, 0)
    assert (draft.value(field("top_p")), draft.source(field("top_p")), draft.mark(field("top_p"))) == (0.95, "", "")


def test_a_conversation_says_what_it_has_from_the_model():
    draft = Draft(OF_MODEL, {"sampling": {"min_p": 0.3}}, "conversation", model=ADVISED)
    assert (draft.value(field("min_p")), draft.mark(field("min_p"))) == (0.3, "only here")
    assert (draft.default(field("min_p")), draft.source(field("min_p"))) == (0.2, "for this model")
    assert (draft.value(field("temperature")), draft.source(field("temperature"))) == (0.5, ""), "the user chose it"
    assert draft.source(field("n_ctx", "load")) == "for this model"
    draft.scope = "model"
    assert draft.note(field("min_p")) == "This conversation has a value of its own."
    assert draft.note(field("n_ctx", "load")) == ""


def test_the_default_says_what_counts_in_its_place():
    draft = Draft(OF_MODEL, {}, "default", model=ADVISED)
    assert draft.note(field("min_p")) == "The model that answers has a value of its own."
    assert draft.note(field("temperature")) == "", "it was chosen"
    draft = Draft(Settings(), {}, "default", model=ADVISED)
    assert draft.value(field("temperature")) == 0.8
    assert (
        draft.note(field("temperature"))
        == "Until you choose a value here, 0.60 counts, which the model file recommends."
    )


def test_changes_for_this_model_go_into_its_own_table():
    draft = Draft(OF_MODEL, {}, "model", model=ADVISED)
    draft.edit(field("top_p"), 0.5)
    draft.reset(field("min_p"))
    draft.edit(field("model", "chat"), "/models/b.gguf")
    draft.edit(field("theme", "look"), "mist")
    result = SettingsResult(draft.changes(), "model", draft.model_key)
    assert result.overrides == {"chat": {"model": "/models/b.gguf"}}, "which model answers is nothing that a model has"
    assert result.defaults == {
        "look": {"theme": "mist"},
        "for_model": {"a.gguf": {"sampling": {"top_p": 0.5, "min_p": None}}},
    }
    assert OF_MODEL.merged(result.defaults).for_model == {
        "a.gguf": {"sampling": {"top_p": 0.5}, "load": {"n_ctx": 2048}}
    }


def test_variables_of_a_model_are_those_that_differ_from_the_default():
    settings = SETTINGS.merged(
        {
            "chat": {"template_variables": {"kept": 1}},
            "for_model": {"a.gguf": {"chat": {"template_variables": {"gone": 1, "enable_thinking": False}}}},
        }
    )
    draft = Draft(settings, {}, "model", can_think=True, model=ADVISED)
    assert (draft.value(THINKING), draft.mark(THINKING)) == (False, "for this model")
    draft.edit(field("template_variables", "chat"), {"kept": 1, "new": 2})
    changes = draft.changes()
    assert changes == {"chat": {"template_variables": {"gone": None, "enable_thinking": False, "new": 2}}}
    of_model = settings.merged({"for_model": {"a.gguf": changes}}).for_model["a.gguf"]
    assert of_model == {"chat": {"template_variables": {"enable_thinking": False, "new": 2}}}


def test_a_value_that_was_stated_although_it_is_the_default_can_be_given_up(tmp_path: Path):
    path = tmp_path / "settings.toml"
    path.write_text("[sampling]\ntop_k = 40\n")
    draft = Draft(rules.load(path), {}, "default", model=ADVISED)
    assert draft.note(field("top_k")) == ""
    draft.reset(field("top_k"))
    draft.reset(field("top_p"))
    assert draft.changes() == {"sampling": {"top_k": None}}


def test_what_was_reset_shows_what_counts_in_each_scope():
    draft = Draft(OF_MODEL, {"sampling": {"min_p": 0.3}}, "conversation", model=ADVISED)
    draft.reset(field("min_p"))
    assert (draft.value(field("min_p")), draft.changes()) == (0.2, {"sampling": {"min_p": None}})
    draft.scope = "model"
    assert (draft.value(field("min_p")), draft.changes()) == (0.1, {"sampling": {"min_p": None}})


def test_what_was_chosen_automatically_is_said_where_it_was():
    model = ModelInfo("m", "M", n_ctx=8192, n_threads=3, n_layers=28, flash_attention=True)
    words = form.chosen_automatically(model, LoadOptions())
    assert words == {"n_ctx": "8,192", "n_threads": "3", "n_gpu_layers": "no GPU", "flash_attention": "on"}
    chosen = LoadOptions(n_ctx=8192, n_threads=3, n_gpu_layers=0, flash_attention="on")
    assert form.chosen_automatically(model, chosen) == {}
    assert form.chosen_automatically(None, LoadOptions()) == {}
    assert form.chosen_automatically(ModelInfo("", "a:b", host="b.test", n_ctx=5), LoadOptions()) == {}


@pytest.mark.parametrize("text", ["10.0.0.2:50052\n[::1]:50052\n\nhost.lan:1", ""])
def test_servers_are_written_one_a_line(text: str):
    assert written.endpoints(text) == tuple(text.split())


@pytest.mark.parametrize("line", ["10.0.0.2", "http://a:80", "a b:1", "a:port", ":1"])
def test_refused_server_says_in_which_line(line: str):
    with pytest.raises(ValueError, match="Line 2: write it like"):
        written.endpoints(f"good.lan:1\n{line}")


def test_looks_and_folders_never_belong_to_a_conversation():
    changes = {"sampling": {"top_k": 3}, "look": {"theme": "mist"}, "models": {"folders": ["/m"]}}
    here = SettingsResult(changes, "conversation")
    assert here.overrides == {"sampling": {"top_k": 3}}
    assert here.defaults == {"look": {"theme": "mist"}, "models": {"folders": ["/m"]}}
    assert SettingsResult(changes, "default").defaults == changes
    assert SettingsResult(changes, "default").overrides == {}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("temperature", "0.25", 0.25),
        ("temperature", "0,25", 0.25),
        ("temperature", ".5", 0.5),
        ("temperature", "3", 3.0),
        ("frequency_penalty", "-1.5", -1.5),
        ("max_tokens", "1,000", 1000),
        ("max_tokens", "10_000", 10000),
        ("seed", "4294967294", 4294967294),
    ],
)
def test_numbers_are_read_as_people_write_them(name: str, text: str, value: float):
    assert written.number(field(name), text) == value


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("temperature", "3.01", "Type a number from 0 to 3."),
        ("temperature", "-0.1", "Type a number from 0 to 3."),
        ("temperature", "nan", "Type a number from 0 to 3."),
        ("temperature", "-", "Type a number from 0 to 3."),
        ("top_k", "4.5", "Type a whole number from 0 to 1,000."),
        ("top_k", "", "Type a whole number from 0 to 1,000."),
        ("seed", "4294967295", "Type a whole number from -1 to 4,294,967,294."),
    ],
)
def test_refused_numbers_say_what_can_be_typed(name: str, text: str, reason: str):
    with pytest.raises(ValueError, match="Type") as raised:
        written.number(field(name), text)
    assert str(raised.value) == reason


@pytest.mark.parametrize(
    ("section", "name", "value", "words"),
    [
        ("sampling", "seed", -1, "random"),
        ("sampling", "top_k", 0, "all"),
        ("sampling", "max_tokens", 0, "no limit"),
        ("load", "n_ctx", 0, "automatic"),
        ("load", "n_gpu_layers", -1, "automatic"),
        ("load", "n_ctx", 131072, "131,072"),
        ("sampling", "temperature", 0.8, "0.80"),
        ("sampling", "temperature", 0.123, "0.123"),
        ("sampling", "temperature", 0.0, "0.00"),
        ("sampling", "presence_penalty", 0.0, "0.0"),
    ],
)
def test_numbers_are_shown_in_words_where_they_are_special(section: str, name: str, value: float, words: str):
    assert written.shown(field(name, section), value) == words


def test_temperature_goes_from_predictable_to_incoherent():
    words = [written.temperature_word(step / 20) for step in range(61)]
    assert list(dict.fromkeys(words)) == [
        "the likeliest",
        "predictable",
        "balanced",
        "creative",
        "wild",
        "incoherent",
    ]


@pytest.mark.parametrize(
    "texts", [(), ("User:",), ("\n\n", "\t", "a\\nb", "\\"), ("é 😀", " x "), ("\x1b[0m", "\x00", "\u2028")]
)
def test_stop_strings_come_back_as_they_were(texts: tuple[str, ...]):
    text = written.escaped(texts)
    assert written.unescaped(text) == texts
    assert all(character.isprintable() for character in text.replace("\n", ""))


@pytest.mark.parametrize(("text", "named"), [("ok\n\\q", "Line 2"), ("end\\", "Line 1"), ("\\u12", "Line 1")])
def test_unknown_escape_is_refused_with_its_line(text: str, named: str):
    with pytest.raises(ValueError, match=named):
        written.unescaped(text)


@pytest.mark.parametrize(
    "variables",
    [{}, {"enable_thinking": False}, {"n": 3, "x": 0.5, "s": 'say "no"\n\\ \x7f é 😀', "empty": ""}, {"big": 1e30}],
)
def test_template_variables_come_back_as_they_were(variables: dict[str, Any]):
    assert written.variables(written.assignments(variables)) == variables


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("thinking", "Line 1: write it like enable_thinking = false."),
        ("a = 1\nb c = 2", "Line 2: write it like"),
        ("a = 1\na = 2", "Line 2: a is there already."),
        ("a = False", "Line 1: write it small: a = false."),
        ("a = brief", 'Line 1: after "=" comes true, false, a number, or a text in quotes.'),
        ("a = [1]", 'Line 1: after "="'),
        ("a = 2024-01-01", 'Line 1: after "="'),
        ("a =", 'Line 1: after "="'),
    ],
)
def test_refused_variables_say_which_line_and_why(text: str, reason: str):
    with pytest.raises(ValueError, match="Line") as raised:
        written.variables(text)
    assert str(raised.value).startswith(reason)
