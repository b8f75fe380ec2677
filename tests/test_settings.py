"""Settings: checked, kept as the user wrote them, and never lost to a mistake in the file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest
from support.small_disk import mounted

from chatterm import settings
from chatterm.errors import SettingsError
from chatterm.settings import Settings, fields_of

SECTIONS = [name for name in get_type_hints(Settings) if name not in {"keys", "servers", "for_model", "stated"}]

COMMENTED = """\
# my settings
[sampling]
temperature = 0.2  # calm
top_k = 20

[chat]
system_prompt = "Be brief."
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config" / "settings.toml"


def written(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def test_without_a_file_the_defaults_count(path: Path):
    assert settings.load(path) == Settings()
    assert not path.parent.exists(), "reading makes nothing"


def test_what_is_saved_is_loaded(path: Path):
    changes: dict[str, Any] = {
        "chat": {
            "model": "/models/ä b.gguf",
            "system_prompt": 'Two\nlines, "quoted" \\ and 😀.',
            "template_variables": {"enable_thinking": False, "depth": 3, "style": "plain", "share": 0.5},
        },
        "sampling": {"temperature": 0.3, "stop": ["\n\n", "User:", "\t"], "order": ["top_k", "temperature"]},
        "load": {"n_ctx": 4096, "cache_type_k": "q8_0", "mmap": False},
        "look": {"theme": "paper"},
        "models": {"folders": ["/models", "~/more"]},
        "keys": {"stop": "ctrl+x"},
    }
    saved = settings.save(path, changes)
    assert saved == Settings().merged(changes) == settings.load(path)
    assert saved.sampling.order == ("top_k", "temperature")


def test_saving_keeps_comments_and_order(path: Path):
    written(path, COMMENTED)
    settings.save(path, {"sampling": {"temperature": 0.9}, "look": {"theme": "mist"}})
    content = path.read_text()
    assert content.startswith("# my settings\n[sampling]\ntemperature = 0.9")
    assert "# calm" in content
    assert content.index("[sampling]") < content.index("[chat]") < content.index("[look]")
    assert settings.load(path).sampling.top_k == 20


def test_value_that_is_the_default_again_leaves_the_file(path: Path):
    written(path, COMMENTED)
    settings.save(path, {"sampling": {"top_k": None}, "chat": {"system_prompt": ""}})
    content = path.read_text()
    assert "top_k" not in content
    assert "system_prompt" not in content
    assert "temperature = 0.2  # calm" in content


def test_a_sampling_setting_that_was_chosen_stays_in_the_file_although_it_is_the_default(path: Path):
    """A model may recommend another one."""
    written(path, COMMENTED)
    saved = settings.save(path, {"sampling": {"top_k": 40}})
    assert "top_k = 40" in path.read_text()
    assert saved.stated == settings.load(path).stated == {"top_k"}
    assert saved.merged({"sampling": {"top_k": None}}).stated == frozenset()
    assert settings.save(path, {"sampling": {"top_k": None}}).stated == frozenset()


def test_settings_of_one_model_are_kept_as_they_were_written(path: Path):
    written(path, '[for_model."a.gguf".load]\nn_ctx = 4096  # much\n')
    saved = settings.save(path, {"for_model": {"a.gguf": {"sampling": {"temperature": 0.8}}}})
    assert saved == settings.load(path)
    assert saved.for_model == {"a.gguf": {"load": {"n_ctx": 4096}, "sampling": {"temperature": 0.8}}}
    assert "# much" in path.read_text()
    settings.save(path, {"for_model": {"a.gguf": {"sampling": {"temperature": None}}}})
    assert settings.load(path).for_model == {"a.gguf": {"load": {"n_ctx": 4096}}}
    assert settings.save(path, {"for_model": {"a.gguf": {"load": {"n_ctx": None}}}}) == Settings()
    assert settings.load(path) == Settings()
    assert "for_model" not in path.read_text()


@pytest.mark.parametrize(
    "name", ["owner/name:Q4_K_M", 'say "hi"', "ollama:qwen3:4b", "a\nb\x1b[0m", "ä 😀.gguf", "a.b", "[x]"]
)
def test_models_may_be_called_anything(path: Path, name: str):
    changes: dict[str, Any] = {"for_model": {name: {"chat": {"template_variables": {"a": 1}}, "load": {"mlock": True}}}}
    assert settings.save(path, changes).for_model == changes["for_model"] == settings.load(path).for_model


def test_template_variable_of_a_model_can_be_taken_out(path: Path):
    settings.save(path, {"for_model": {"a": {"chat": {"template_variables": {"x": 1, "y": 2}}}}})
    saved = settings.save(path, {"for_model": {"a": {"chat": {"template_variables": {"x": None, "z": 3}}}}})
    assert saved.for_model == {"a": {"chat": {"template_variables": {"y": 2, "z": 3}}}} == settings.load(path).for_model


def test_what_was_edited_meanwhile_is_kept(path: Path):
    written(path, COMMENTED)
    settings.load(path)
    written(path, COMMENTED.replace("top_k = 20", "top_k = 21\nmin_p = 0.1"))
    saved = settings.save(path, {"sampling": {"temperature": 0.5}})
    assert (saved.sampling.top_k, saved.sampling.min_p, saved.sampling.temperature) == (21, 0.1, 0.5)


def test_template_variable_can_be_taken_out(path: Path):
    settings.save(path, {"chat": {"template_variables": {"a": 1, "b": 2}}})
    saved = settings.save(path, {"chat": {"template_variables": {"a": None, "c": 3}}})
    assert saved.chat.template_variables == {"b": 2, "c": 3}
    assert settings.load(path) == saved
    settings.save(path, {"chat": {"template_variables": {"b": None, "c": None}}})
    assert settings.load(path) == Settings()


def test_link_into_somebodys_dotfiles_stays_one(path: Path, tmp_path: Path):
    target = written(tmp_path / "dotfiles" / "chatterm.toml", COMMENTED)
    target.chmod(0o640)
    path.parent.mkdir(parents=True)
    path.symlink_to(target)
    settings.save(path, {"sampling": {"temperature": 0.7}})
    assert path.is_symlink()
    assert "0.7" in target.read_text()
    assert target.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in target.parent.iterdir()] == ["chatterm.toml"], "nothing is left beside it"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("[sampling]\ntemperature = = 1\n", "line 2"),
        ("[sampling]\ntemperature = 9\n", "sampling.temperature: expected a number of at most 3.0."),
        ("[sampling]\ntemperature = nan\n", "sampling.temperature: "),
        ("[sampling]\ntop_k = 4.5\n", "sampling.top_k: expected a whole number, not a fraction."),
        ("[sampling]\ntemprature = 1\n", "sampling.temprature: there is no such setting; did you mean temperature?"),
        ("[smapling]\n", "smapling: there is no such setting; did you mean sampling?"),
        ('[sampling]\norder = ["top_k", "top_k"]\n', "names a stage twice"),
        ('[sampling]\nstop = [""]\n', "sampling.stop[0]: expected a text that is not empty."),
        ('[load]\ncache_type_k = "q9"\n', "load.cache_type_k: there is no choice 'q9'."),
        ("[chat]\ntemplate_variables = {a = [1]}\n", "chat.template_variables"),
        ("sampling = 3\n", "sampling: expected a table, not a whole number."),
        ("[servers.mine]\n", "servers.mine: it needs a preset or a base_url."),
        ('[servers."a:b"]\npreset = "vllm"\n', "servers.a:b: the name of a server is made of letters"),
        ('[servers.mine]\npreset = "vlm"\n', "servers[...].preset: there is no such preset."),
        ('[servers.mine]\nbase_url = "ftp://a.test"\n', "servers.mine: base_url is no address"),
        ('[servers.mine]\nbase_url = "http://[a"\n', "servers.mine: base_url is no address"),
        ('[servers.mine]\nbase_url = "http://a.test?key=x"\n', "servers.mine: base_url must hold no password, ? or #"),
        ("stated = ['top_k']\n", "stated: there is no such setting"),
        ('[load]\nrpc_servers = ["10.0.0.2"]\n', "load.rpc_servers[0]: expected HOST:PORT."),
        ('[load]\nrpc_servers = ["http://10.0.0.2:80"]\n', "load.rpc_servers[0]: expected HOST:PORT."),
        (
            '[for_model."a:b".sampling]\ntop_k = -1\n',
            "for_model.a:b: sampling.top_k: expected a whole number of at least 0.",
        ),
        (
            "[for_model.a.sampling]\ntopk = 1\n",
            "for_model.a: sampling.topk: there is no such setting; did you mean top_k?",
        ),
        ("[for_model.a.look]\ntheme = 'x'\n", "for_model.a: look: there is no such setting"),
        ("[for_model.a.chat]\nmodel = 'x'\n", "for_model.a: chat.model: a model cannot name another one."),
        ("[for_model]\na = 3\n", "for_model[...]: expected a table, not a whole number."),
        ('[servers.mine]\nbaseurl = "http://a.test"\n', "there is no such setting; did you mean base_url?"),
    ],
)
def test_file_that_cannot_be_used_says_why_and_is_not_changed(path: Path, content: str, named: str):
    written(path, content)
    with pytest.raises(SettingsError) as raised:
        settings.load(path)
    assert str(path) in raised.value.message
    assert named in raised.value.message
    with pytest.raises(SettingsError):
        settings.save(path, {"sampling": {"top_k": 7}})
    assert path.read_text() == content


@pytest.mark.parametrize(
    "content",
    [
        '[servers.openai]\nkey = "sk-secret"\n',
        '[servers.openai]\napi_key = "sk-secret"\n',
        '[servers.openai]\nkey_env = "sk-secret"\n',
        '[servers.openai]\npreset = "sk-secret"\n',
        '[servers.openai]\nbase_url = "https://me:sk-secret@a.test/v1"\n',
    ],
)
def test_a_key_in_the_file_is_refused_and_not_repeated(path: Path, content: str):
    written(path, content)
    with pytest.raises(SettingsError) as raised:
        settings.load(path)
    assert "sk-secret" not in str(raised.value)
    assert "openai" in str(raised.value) or "servers" in str(raised.value)


def test_a_server_is_added_beside_what_is_there(path: Path):
    written(path, COMMENTED)
    settings.save(path, {"servers": {"openai": {"preset": "openai"}}})
    assert path.read_text() == COMMENTED + '\n[servers.openai]\npreset = "openai"\n'
    assert settings.load(path).servers["openai"].preset == "openai"


def test_file_that_is_not_text_is_not_changed(path: Path):
    path.parent.mkdir()
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="not UTF-8 text"):
        settings.save(path, {"sampling": {"top_k": 7}})
    assert path.read_bytes() == b"\xff\xfe\x00"


def test_refused_value_changes_nothing(path: Path):
    written(path, COMMENTED)
    with pytest.raises(SettingsError, match="at least 0"):
        settings.save(path, {"sampling": {"top_k": 7, "temperature": -1}})
    assert path.read_text() == COMMENTED


def test_on_a_full_disk_the_old_file_stays(path: Path):
    with mounted(path.parent, size_kilobytes=64) as disk:
        path.write_text(COMMENTED)
        disk.fill()
        with pytest.raises(SettingsError, match="cannot be written"):
            settings.save(path, {"sampling": {"top_k": 7}})
        disk.clear()
        assert path.read_text() == COMMENTED
        assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_folder_that_cannot_be_written_is_said():
    with pytest.raises(SettingsError, match="cannot be written"):
        settings.save(Path("/proc/chatterm/settings.toml"), {"sampling": {"top_k": 7}})


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_read_only_folder_is_said(path: Path):
    written(path, COMMENTED).parent.chmod(0o500)
    try:
        with pytest.raises(SettingsError, match="cannot be written"):
            settings.save(path, {"sampling": {"top_k": 7}})
    finally:
        path.parent.chmod(0o700)


@pytest.mark.parametrize("section", SECTIONS)
def test_form_knows_every_setting(section: str):
    values = msgspec.to_builtins(Settings())[section]
    fields = fields_of(section)
    assert [field.name for field in fields] == list(values)
    for field in fields:
        assert msgspec.to_builtins(field.default) == values[field.name]
        assert field.title
        assert field.help.endswith(".")
        assert settings.check(field, field.default) == ""
        if field.kind in ("number", "integer"):
            assert field.minimum is not None
            assert field.maximum is not None
            assert field.step
            assert settings.check(field, field.minimum) == ""
            assert settings.check(field, field.minimum - 1).startswith("Expected ")


def test_choices_come_in_the_order_in_which_they_are_declared():
    fields = {field.name: field for field in fields_of("load")}
    assert fields["flash_attention"].choices == ("auto", "on", "off")
    assert fields["cache_type_k"].choices[0] == "f32"


def test_changes_do_not_reach_back_into_the_defaults():
    Settings().merged({"chat": {"template_variables": {"a": 1}}})
    assert Settings().chat.template_variables == {}


def test_reading_settings_needs_little():
    heavy = "import sys, chatterm.settings; print(*({'tomlkit', 'textual', 'rich', 'difflib'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", heavy], text=True).split() == []
