"""The process that runs llama.cpp, started by `engine.local`: python -m chatterm.engine.worker.

Standard input carries questions, standard output answers. Both are moved to descriptors of their
own before anything else is loaded: whatever C code prints afterwards goes where standard error
goes, which is a log file.
"""

from __future__ import annotations

import os
import signal


def main() -> None:
    """Answer questions until standard input ends."""
    questions, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    os.environ["GGML_NO_BACKTRACE"] = "1"  # or ggml starts a debugger when it aborts
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from chatterm.engine.worker.loop import Worker  # late: what it imports may print

    Worker(questions, answers).run()


if __name__ == "__main__":
    main()
