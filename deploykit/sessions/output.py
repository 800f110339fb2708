"""What sessions and hooks print: lines without control characters from outside."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

from deploykit.gates.report import wants_color
from deploykit.model.printable import printed, with_colours

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["in_colour", "print_tool_line", "say"]


def in_colour() -> bool:
    return wants_color(os.environ, is_terminal=sys.stdout.isatty())


def say(lines: Iterable[str], *, stream: TextIO | None = None) -> None:
    stream = stream or sys.stdout
    stream.write("".join(f"{printed(line)}\n" for line in lines))
    stream.flush()


def print_tool_line(line: str) -> None:
    """Print a line of a tool as it comes. Its colours stay on a terminal that gets colour, and nothing else does."""
    shown = with_colours(line) if in_colour() and sys.stdout.isatty() else printed(line, keep="\t")
    sys.stdout.write(f"{shown}\n")
    sys.stdout.flush()
