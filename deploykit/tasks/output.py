"""Output of tasks: lines for people, objects for programs, and what happens when the reader has gone."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BROKEN_PIPE", "print_json", "print_lines", "silence_broken_streams"]

BROKEN_PIPE = 141
"""The exit code that a shell reports for a program ended by SIGPIPE."""


def print_lines(lines: Iterable[str], stream: TextIO) -> None:
    """Print lines for people. A closed pipe or a lost terminal discards them, and the work goes on.

    So `| head` does not stop a release.
    """
    try:
        stream.write("".join(f"{line}\n" for line in lines))  # in one write: other threads may print, too
        stream.flush()
    except OSError:
        silence_broken_streams()


def silence_broken_streams() -> None:
    """Redirect each broken standard stream to /dev/null; otherwise Python complains when it exits."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def print_json(value: Any) -> None:
    """Print one object to standard output, and nothing else."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")
    sys.stdout.flush()
