"""Set up a virtual environment with chatterm in it, saying all the while what is going on.

The one long step is llama-cpp-python: it comes as source and is compiled on this machine, for six
to ten minutes, once (pip keeps the result for the next environment). Needs only Python's standard
library. Usage: set_up.py FOLDER [--dev]
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LLAMA = next(
    line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("llama_cpp_python==")
)
BUILD_STEP = re.compile(r"\[\s*(\d+)/(\d+)\]")


def say(text: str) -> None:
    """A line of progress."""
    print(f"chatterm: {text}", flush=True)


class Counter:
    """Shows `done/total` of the compiler's steps: rewritten on a terminal, every tenth part elsewhere."""

    def __init__(self) -> None:
        self.tenth = -1
        self.started = time.monotonic()
        self.is_terminal = sys.stdout.isatty()

    def show(self, line: str) -> None:
        """Look for a step in a line of the build's output."""
        if not (found := BUILD_STEP.search(line)):
            return
        done, total = int(found[1]), int(found[2])
        minutes, seconds = divmod(int(time.monotonic() - self.started), 60)
        if self.is_terminal:
            print(
                f"\rchatterm: compiling llama.cpp, {done} of {total} files, {minutes}:{seconds:02} ", end="", flush=True
            )
        elif (tenth := done * 10 // total) > self.tenth:
            self.tenth = tenth
            say(f"compiling llama.cpp, {done} of {total} files, {minutes}:{seconds:02}")


def pip(folder: Path, *arguments: str, counter: Counter | None = None) -> None:
    """Run pip, its output going to a log; end with the log's tail when it fails."""
    log = folder / "set_up.log"
    command = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", *arguments]
    with log.open("a", encoding="utf-8") as out:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", cwd=ROOT
        )
        for line in process.stdout or ():
            out.write(line)
            if counter:
                counter.show(line)
    if counter and counter.is_terminal:
        print("\r\x1b[K", end="")
    if process.wait():
        print("".join(log.read_text(encoding="utf-8").splitlines(keepends=True)[-25:]), file=sys.stderr)
        sys.exit(f"chatterm: pip failed; the whole story is in {log}")


def has(folder: Path, requirement: str) -> bool:
    """Whether exactly this version is installed there."""
    name, _, wanted = requirement.partition("==")
    probe = f"from importlib.metadata import version; raise SystemExit(version({name!r}) != {wanted!r})"
    return not subprocess.run(
        [folder / "bin" / "python", "-c", probe], check=False, stderr=subprocess.DEVNULL
    ).returncode


def install_llama(folder: Path) -> None:
    """Compile and install llama.cpp's Python package."""
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        say(
            "no C++ compiler was found (c++, g++ or clang++); install one (Debian, Ubuntu: apt install g++) and try again."
        )
        sys.exit(1)
    say("llama.cpp comes as source and is compiled for this machine: six to ten minutes, once.")
    # Verbose, so that the compiler's steps can be counted.
    pip(folder, "install", "--verbose", "--constraint", "constraints.txt", LLAMA, counter=Counter())


def main() -> None:
    """Make the environment, or bring it up to date."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this runs before anything was checked
        sys.exit(
            f"chatterm needs Python 3.11 or newer; this is {sys.version.split()[0]}. Try: make PYTHON=python3.12 chat"
        )
    folder, is_dev = Path(sys.argv[1]), "--dev" in sys.argv[2:]
    if not (folder / "bin" / "pip").exists():  # which comes last, so one that was interrupted is made whole
        say(f"making a virtual environment in {folder}")
        venv.create(folder, with_pip=True)
    say("installing" + (" chatterm and what its tests need" if is_dev else " chatterm"))
    pip(folder, "install", "--quiet", "pip>=25.1")
    if not has(folder, LLAMA):
        install_llama(folder)
    groups = ["--group", "dev"] if is_dev else []
    pip(folder, "install", "--constraint", "constraints.txt", "--editable", ".", *groups)
    (folder / "ready").touch()
    if is_dev:
        (folder / "ready-dev").touch()
    say("ready")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nchatterm: interrupted; the same command goes on later.")
