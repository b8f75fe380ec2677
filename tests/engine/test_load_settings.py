"""Promises about what is set for loading: the template of one's own, locked memory, other machines."""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.engines import ask, loaded
from support.tiny_models import CHAIN_TEMPLATE, CHATML, write_model

from chatterm.engine.local import LocalEngine
from chatterm.engine.worker.rpc import RpcServers

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHOUTS = "{% for m in messages %}{{ 'HEAR ' + m['content'] }}{% endfor %}{{ '<|im_sep|>' }}"


@pytest.fixture(scope="module")
def advised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose file recommends settings, one of them nonsense."""
    advice = {"temp": 0.6, "top_k": 20, "top_p": 7.5, "penalty_repeat": 1.05}
    return write_model(
        tmp_path_factory.mktemp("models") / "advised.gguf",
        metadata={f"general.sampling.{key}": value for key, value in advice.items()},
    )


async def test_what_the_file_recommends_is_told(engine: LocalEngine, advised: Path, rambler: Path) -> None:
    model = (await loaded(engine, advised)).model
    assert model.recommended == {"temperature": 0.6, "top_k": 20, "repeat_penalty": 1.05}
    assert (await loaded(engine, rambler)).model.recommended == {}


@pytest.mark.parametrize("is_file", [False, True])
async def test_a_template_of_ones_own_is_used(
    engine: LocalEngine, says: Callable[..., Path], tmp_path: Path, is_file: bool
) -> None:
    file = tmp_path / "shouts.jinja"
    file.write_text(SHOUTS)
    event = await loaded(engine, says("ok"), template=str(file) if is_file else SHOUTS)
    assert (event.model.template, event.notes) == ("settings", ())
    prompted = (await ask(engine, "the cat")).prompted
    pieces = await engine.tokenize("HEAR the cat")
    assert list(prompted.token_ids)[: len(pieces)] == [piece.id for piece in pieces]
    assert prompted.template == "settings"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for m in messages %}", "Unexpected end of template"),
        ("{{ 'moin' }}", "it leaves out the question"),
        ("nowhere.jinja", "nowhere.jinja cannot be read: No such file"),
        ("long.jinja", "long.jinja is too long"),
        ("binary.jinja", "binary.jinja is not UTF-8 text"),
        ("empty.jinja", "empty.jinja is empty"),
        ("~no-such-user/mine", "~no-such-user/mine cannot be read: No such file"),
    ],
)
async def test_a_template_that_does_not_work_is_said_and_the_models_own_is_used(
    engine: LocalEngine, says: Callable[..., Path], tmp_path: Path, template: str, reason: str
) -> None:
    (tmp_path / "long.jinja").write_bytes(b"x" * 2_000_000)
    (tmp_path / "binary.jinja").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty.jinja").write_bytes(b"\n")
    chosen = str(tmp_path / template) if template.endswith(".jinja") else template
    event = await loaded(engine, says("ok", template=CHAIN_TEMPLATE), template=chosen)
    assert event.model.template == "model"
    (note,) = event.notes
    assert note.startswith("The chat template in the settings does not work (")
    assert reason in note
    assert (await ask(engine, "Say it.")).text == "ok"


async def test_a_model_without_a_template_gets_one(engine: LocalEngine, tmp_path: Path) -> None:
    base = write_model(tmp_path / "base.gguf", template=None, chatml=False)
    assert not (await loaded(engine, base)).model.is_chat
    model = (await loaded(engine, base, template=CHATML)).model
    assert (model.is_chat, model.template) == (True, "settings")


@pytest.mark.parametrize("mmap", [True, False])
async def test_a_model_that_is_locked_in_memory_answers(
    engine: LocalEngine, says: Callable[..., Path], mmap: bool
) -> None:
    event = await loaded(engine, says("ok"), mlock=True, mmap=mmap)
    assert (await ask(engine, "Say it.")).text == "ok"
    locked = sum(
        int(line.split()[1])
        for line in Path(f"/proc/{engine.pid}/status").read_text().splitlines()
        if line.startswith("VmLck")
    )
    assert locked or any("lock so much memory" in note for note in event.notes)


async def test_without_rpc_in_the_build_its_servers_are_left_out_and_that_is_said(
    own_engine: LocalEngine, says: Callable[..., Path]
) -> None:
    assert not (await own_engine.report()).has_rpc
    event = await loaded(own_engine, says("ok"), rpc_servers=("127.0.0.1:9",))
    (note,) = event.notes
    assert "has no RPC" in note
    assert "docs/gpu.md" in note
    assert (await ask(own_engine, "Say it.")).text == "ok"


async def test_other_rpc_servers_are_taken_by_a_new_process(own_engine: LocalEngine, says: Callable[..., Path]) -> None:
    await loaded(own_engine, says("ok"))
    before = own_engine.pid
    await loaded(own_engine, says("ok"), rpc_servers=("127.0.0.1:9",))
    assert own_engine.pid != before, "llama.cpp forgets no server"


class Ggml:
    """ggml with an RPC backend, as far as it is asked; it answers like the library's functions."""

    def __init__(self) -> None:
        self.added: list[bytes] = []
        self.registered: list[int] = []
        self._add = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p)(self._take)

    def _take(self, server: bytes) -> int:
        self.added.append(server)
        return 77

    def ggml_backend_reg_by_name(self, name: bytes) -> int | None:
        return 5 if name == b"RPC" else None

    def ggml_backend_reg_get_proc_address(self, backend: int, name: bytes) -> int | None:
        assert backend == 5
        return ctypes.cast(self._add, ctypes.c_void_p).value if name == b"ggml_backend_rpc_add_server" else None

    def ggml_backend_register(self, devices: int) -> None:
        self.registered.append(devices)


@pytest.fixture
def server() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


async def test_each_server_that_answers_becomes_devices_once(server: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        nobody = f"127.0.0.1:{gone.getsockname()[1]}"
    ggml = Ggml()
    servers = RpcServers(ggml)
    assert servers.use((server, nobody, server)) == [f"The RPC server {nobody} does not answer, so it is left out."]
    assert servers.use((server,)) == []
    assert (ggml.added, ggml.registered) == ([server.encode()], [77])
