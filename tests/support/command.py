"""Runs the `chatterm` command as a shell would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

DEADLINE_SECONDS = 120


def environment(**changes: str) -> dict[str, str]:
    """The test's environment, its folders included."""
    return {**os.environ, "PYTHONUNBUFFERED": "1", **changes}


def run(*arguments: str | Path, stdin: str = "", **changes: str) -> subprocess.CompletedProcess[str]:
    """The finished command, with what it wrote."""
    return subprocess.run(
        [sys.executable, "-m", "chatterm", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        env=environment(**changes),
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def events(*arguments: str | Path, stdin: str = "") -> list[dict[str, Any]]:
    """The events of `chatterm ask --json`."""
    done = run("ask", "--json", *arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
