"""Output of tasks: lines for people, objects for programs, and what happens when the reader has gone.

What is printed goes through `model.printable`: nothing from outside is a command to a terminal.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "AS_LOGGED",
    "BROKEN_PIPE",
    "print_annotations",
    "print_json",
    "print_lines",
    "say",
    "silence_broken_streams",
]

AS_LOGGED = "\t\\"
"""What stays of log lines and SQL: their tabs, and backslashes as they are."""
BROKEN_PIPE = 141
"""The exit code that a shell reports for a program ended by SIGPIPE."""


def print_lines(lines: Iterable[str], stream: TextIO) -> None:
    """Print lines for people. A closed pipe or a lost terminal discards them, and the work goes on.

    So `| head` does not stop a release.
    """
    from deploykit.model.printable import printed

    _write([printed(line) for line in lines], stream)


def print_annotations(lines: Iterable[str], stream: TextIO) -> None:
    """Print those of the lines that are annotations for GitHub, as a gate's process has made them."""
    from deploykit.model.printable import is_harmless

    _write([line for line in lines if line.startswith(("::error ", "::warning ")) and is_harmless(line)], stream)


def _write(lines: Iterable[str], stream: TextIO) -> None:
    try:
        stream.write("".join(f"{line}\n" for line in lines))  # in one write: other threads may print, too
        stream.flush()
    except OSError:
        silence_broken_streams()


def say(*lines: str, stream: TextIO | None = None, keep: str = "") -> None:
    """Print lines for people, to standard output. Raises BrokenPipeError when nobody reads them any more.

    Each is one line, whatever is in it; `keep` are control characters that stay, such as the tabs of a log.
    """
    from deploykit.model.printable import printed

    stream = stream or sys.stdout
    stream.write("".join(f"{printed(line, keep=keep)}\n" for line in lines))
    stream.flush()


def silence_broken_streams() -> None:
    """Redirect each broken standard stream to /dev/null; otherwise Python complains when it exits."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def print_json(value: Any) -> None:
    """Print one object to standard output, and nothing else."""
    # JSON has an escape for every other character that is no ASCII or that controls something.
    sys.stdout.write(json.dumps(value, indent=2, default=str).replace("\x7f", "\\u007f") + "\n")
    sys.stdout.flush()
