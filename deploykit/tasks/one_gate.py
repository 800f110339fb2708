"""`python -m deploykit.tasks.one_gate NAME ROOT`: one gate of `invoke ci` in a process of its own; prints its verdict.

What it prints is the verdict as JSON, on standard output. A process for each gate keeps their threads, workers and
signals apart.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["main"]


def main(words: list[str]) -> int:
    from deploykit.artifacts.git import tree_of
    from deploykit.gates.run import run_gate

    signal.signal(signal.SIGTERM, _stop)
    name, root = words[0], Path(words[1])
    verdict = run_gate(name, root, tree=lambda: tree_of(root))
    sys.stdout.write(json.dumps(verdict.as_json()) + "\n")
    return verdict.outcome.exit_code


def _stop(_number: int, _frame: FrameType | None) -> None:
    # An exception, so that what the gate has started is ended with it; once is enough.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
