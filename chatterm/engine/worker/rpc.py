"""Other machines as devices of llama.cpp: its RPC backend, where the build has it.

A server that is lost ends this process: ggml aborts then. There is no password and no encryption.
"""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

_PATIENCE_SECONDS = 5.0
"""How long a server may take to be reached, before llama.cpp is told of it and would wait for minutes."""


class RpcServers:
    """The servers that llama.cpp knows; it forgets none while the process lives."""

    def __init__(self, ggml: Any) -> None:
        """Add none yet.

        Args:
            ggml: The library, with its functions for backends declared.
        """
        self._ggml = ggml
        self._added: set[str] = set()

    @property
    def is_known(self) -> bool:
        """Whether this build of llama.cpp has the backend."""
        return bool(self._ggml.ggml_backend_reg_by_name(b"RPC"))

    def use(self, wanted: Sequence[str]) -> list[str]:
        """Add servers, as HOST:PORT; gives what could not be done, in sentences for the user."""
        if not wanted:
            return []
        if not self.is_known:
            return [
                "This build of llama.cpp has no RPC, so the RPC servers in the settings are left out"
                " (docs/gpu.md tells how to build one that has it)."
            ]
        return [
            f"The RPC server {server} does not answer, so it is left out."
            for server in dict.fromkeys(wanted)
            if server not in self._added and not self._add(server)
        ]

    def _add(self, server: str) -> bool:
        """Make the devices of a server devices of llama.cpp; False when it is not there."""
        if not _answers(server):
            return False
        backend = self._ggml.ggml_backend_reg_by_name(b"RPC")
        address = self._ggml.ggml_backend_reg_get_proc_address(backend, b"ggml_backend_rpc_add_server")
        if not address:
            return False
        add = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p)(address)
        devices = add(server.encode())
        if not devices:
            return False
        self._ggml.ggml_backend_register(devices)
        self._added.add(server)
        return True


def _answers(server: str) -> bool:
    """Whether somebody listens there."""
    host, _, port = server.rpartition(":")
    with suppress(OSError, OverflowError), socket.create_connection((host.strip("[]"), int(port)), _PATIENCE_SECONDS):
        return True
    return False
