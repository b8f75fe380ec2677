"""The system's own clipboard tools, for terminals that do not take a copy from a program (OSC 52)."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from contextlib import suppress

SECONDS_TO_COPY = 3.0


def tool() -> list[str]:
    """The command that copies what it reads; empty where there is none, or over SSH, where it is another machine's."""
    if "SSH_CONNECTION" in os.environ:
        return []
    candidates: list[list[str]] = []
    if sys.platform == "darwin":
        candidates.append(["pbcopy"])
    if "WAYLAND_DISPLAY" in os.environ:
        candidates.append(["wl-copy"])
    if "DISPLAY" in os.environ:
        candidates += [["xclip", "-selection", "clipboard"], ["xsel", "--input", "--clipboard"]]
    if "WSL_DISTRO_NAME" in os.environ:
        candidates.append(["clip.exe"])
    return next((command for command in candidates if shutil.which(command[0])), [])


async def copy_natively(text: str) -> bool:
    """Whether a tool took the text."""
    if not (command := tool()):
        return False
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return False
    try:
        await asyncio.wait_for(process.communicate(text.encode()), SECONDS_TO_COPY)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        return False
    return process.returncode == 0
