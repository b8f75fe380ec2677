"""Promises of `chatterm chats`, `doctor`, and of the command as a whole."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support.command import DEADLINE_SECONDS, environment, run

from chatterm import paths
from chatterm.conversation import ReplyRecord, TurnState
from chatterm.store import Store


def save_a_conversation(question: str, answer: str) -> int:
    async def save() -> int:
        store = await Store.open(paths.store_file())
        conversation = await store.create("A title")
        asked = await store.add_question(conversation.id, None, question)
        record = ReplyRecord(model_name="Tiny")
        reply = await store.begin_reply(conversation.id, asked.id, record)
        await store.finish_reply(reply.id, TurnState.FINISHED, answer, "", record)
        await store.set_head(conversation.id, reply.id)
        await store.close()
        return conversation.id

    return asyncio.run(save())


def test_chats_are_listed_and_shown() -> None:
    number = save_a_conversation("Why is the sky blue?", "Since *short* waves scatter more.")
    listed = run("chats", "list")
    assert listed.returncode == 0, listed.stderr
    assert str(number) in listed.stdout
    assert "A title" in listed.stdout
    shown = run("chats", "show", str(number))
    assert shown.stdout == (
        "# A title\n\n## You\n\nWhy is the sky blue?\n\n## Tiny\n\nSince *short* waves scatter more.\n"
    )


def test_chats_as_json_are_one_object_a_line() -> None:
    number = save_a_conversation("One?", "Two.")
    (listed,) = [json.loads(line) for line in run("chats", "list", "--json").stdout.splitlines()]
    assert (listed["id"], listed["title"]) == (number, "A title")
    conversation, question, answer = map(json.loads, run("chats", "show", str(number), "--json").stdout.splitlines())
    assert conversation["head_id"] == answer["id"]
    assert (question["text"], answer["text"], answer["record"]["model_name"]) == ("One?", "Two.", "Tiny")


def test_a_conversation_that_is_not_there_is_an_error() -> None:
    done = run("chats", "show", "4711")
    assert done.returncode == 1
    assert "4711" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_names_what_is_here() -> None:
    done = run("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("llama-cpp-python 0.3.36", "CPU", "memory", "conversations", "models"):
        assert word in done.stdout


def test_doctor_names_a_broken_settings_file_and_ends_with_1() -> None:
    path = paths.settings_file()
    paths.ensure(path.parent)
    path.write_text("[sampling]\ntemperature = 'warm'\n")
    done = run("doctor", "--json")
    assert done.returncode == 1
    (problem,) = [line for line in map(json.loads, done.stdout.splitlines()) if line["is_problem"]]
    assert problem["topic"] == "settings"
    assert "sampling.temperature" in problem["text"]


@pytest.mark.parametrize("is_own", [True, False])
def test_doctor_names_a_folder_that_may_not_be_entered_and_how_to_open_it(is_own: bool) -> None:
    user = 65534 if os.geteuid() == 0 else None  # the superuser may enter everywhere
    if (
        user is not None
        and subprocess.run([sys.executable, "-c", "import chatterm"], user=user, check=False).returncode
    ):
        pytest.skip("nobody else may run this Python")
    if user is None and not is_own:
        pytest.skip("only the superuser can give a folder away")
    with TemporaryDirectory() as top:
        Path(top).chmod(0o755)
        data = Path(top, "data")
        data.mkdir(mode=0)
        if user is not None and is_own:
            os.chown(data, user, -1)
        done = subprocess.run(
            [sys.executable, "-m", "chatterm", "doctor", "--json"],
            capture_output=True,
            text=True,
            env=environment(CHATTERM_DATA_HOME=str(data)),
            user=user,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
    assert done.returncode == 1, done.stderr
    told = [*map(json.loads, done.stdout.splitlines())]
    assert told[-1]["topic"] == "models", done.stderr
    (found,) = [each for each in told if each["topic"] == "conversations"]
    assert found["text"] == f"{data} cannot be written."
    assert found["remedy"] == (f"chmod u+rwx '{data}'" if is_own else f"sudo chown -R \"$USER\" '{data}'")


def test_doctor_names_a_models_folder_that_is_none() -> None:
    paths.ensure(paths.settings_file().parent)
    paths.settings_file().write_text('[models]\nfolders = ["~no-such-user", "$CHATTERM_CONFIG_HOME"]\n')
    done = run("doctor", "--json")
    assert done.returncode == 1, done.stderr
    (problem,) = [each for each in map(json.loads, done.stdout.splitlines()) if each["is_problem"]]
    assert problem["text"] == "~no-such-user is no folder."


def test_doctor_names_the_command_that_mends_llama(tmp_path: Path) -> None:
    broken = tmp_path / "llama_cpp"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('libllama.so: cannot open shared object file')")
    done = run("doctor", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "pip install" in done.stdout
    assert "llama-cpp-python==0.3.36" in done.stdout


def test_doctor_names_the_command_that_brings_in_a_gpu(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA T4 (UUID: GPU-1)'\n")
    program.chmod(0o755)
    done = run("doctor", PATH=f"{tmp_path}:{os.environ['PATH']}")
    if re.search(r"device +(integrated )?GPU", done.stdout):
        pytest.skip("this build of llama.cpp uses a GPU already")
    assert done.returncode == 0, "that a GPU lies idle is nothing that is broken"
    assert "NVIDIA T4 was seen" in done.stdout
    assert 'CMAKE_ARGS="-DGGML_CUDA=on"' in done.stdout
    assert "--no-binary llama-cpp-python llama-cpp-python==0.3.36" in done.stdout


def test_doctor_says_which_library_is_used_where_another_one_is_named() -> None:
    folder = Path(str(find_spec("llama_cpp").submodule_search_locations[0])) / "lib"  # type: ignore[union-attr,index]
    done = run("doctor", LLAMA_CPP_LIB_PATH=str(folder))
    assert done.returncode == 0, done.stdout
    assert f"loaded from {folder}/libllama" in done.stdout
    assert "LLAMA_CPP_LIB_PATH" in done.stdout


def test_doctor_names_a_folder_that_holds_no_library(tmp_path: Path) -> None:
    done = run("doctor", LLAMA_CPP_LIB_PATH=str(tmp_path))
    assert done.returncode == 1
    assert f"LLAMA_CPP_LIB_PATH names {tmp_path}: unset it" in done.stdout


def test_doctor_says_that_rpc_servers_are_left_out_by_a_build_without_rpc() -> None:
    paths.ensure(paths.settings_file().parent)
    paths.settings_file().write_text('[load]\nrpc_servers = ["127.0.0.1:9"]\n')
    done = run("doctor")
    assert done.returncode == 1
    assert "this build of llama.cpp has no RPC" in done.stdout


def test_version_and_help_answer() -> None:
    assert run("--version").stdout.startswith("chatterm 0.")
    assert run("ask", "--version").returncode == 2
    for command in ((), ("ask",), ("models",), ("models", "pull"), ("chats",), ("doctor",)):
        done = run(*command, "--help")
        assert done.returncode == 0, done.stderr
        assert "Usage" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "x", "ask", "hi"), "put it behind the command: chatterm ask --model"),
        (("-m", "x", "explain", "hi"), "put it behind the command: chatterm explain --model"),
        (("--continue", "ask", "hi"), "--continue: it is for the app"),
        (("-m", "x", "models", "list"), "--model: it is for the app"),
    ],
)
def test_an_option_of_the_app_before_a_command_is_wrong_usage(arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_help_of_ask_explains_temperature() -> None:
    done = run("ask", "--help", COLUMNS="200")
    assert "--temperature" in done.stdout
    assert "Low is predictable" in done.stdout
