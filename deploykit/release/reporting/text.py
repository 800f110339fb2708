"""Small helpers for what people read."""

from __future__ import annotations

import shutil
import textwrap
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ago", "clock", "columns", "filled", "requests_on", "times", "width"]

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def ago(seconds: float, *, suffix: str = " ago") -> str:
    """A span of time in its largest unit: `3 min ago`."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}{suffix}"
    return "just now" if suffix else "0 s"


def clock(at: float) -> str:
    """A moment, in seconds since the epoch: `14:05 UTC`, with its day where that is not today's."""
    moment = datetime.fromtimestamp(at, UTC)
    today = datetime.now(UTC).date()
    return f"{moment:%H:%M} UTC" if moment.date() == today else f"{moment:%Y-%m-%d %H:%M} UTC"


def requests_on(counts: Mapping[str, int]) -> str:
    """How many requests instances are answering: `3 requests on r1-web-0 and r1-web-1`."""
    number = sum(counts.values())
    return f"{number} {'request' if number == 1 else 'requests'} on {' and '.join(sorted(counts))}"


def times(number: int) -> str:
    """How often: `once`, `7 times`."""
    return "once" if number == 1 else f"{number} times"


def width(stream: TextIO) -> int:
    """Columns to fill: those of the terminal, 80 in a pipe."""
    return max(40, shutil.get_terminal_size((80, 24)).columns) if stream.isatty() else 80


def filled(text: str, limit: int, *, first: str = "", rest: str = "") -> list[str]:
    """The text in lines of at most `limit` columns, `first` before the first line and `rest` before the others.

    Words are never broken: a digest, a path or a URL that is longer than the line stays whole.
    """
    lines = textwrap.wrap(
        text, limit, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
    return lines or [first.rstrip()]


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], stream: TextIO) -> list[str]:
    """Rows under their heads. Where the terminal is too narrow, the widest column is cut in its middle."""
    limit = width(stream)
    widths = [max(len(row[index]) for row in (head, *rows)) for index in range(len(head))]
    while sum(widths) + 2 * (len(widths) - 1) > limit and max(widths) > 9:
        widths[widths.index(max(widths))] -= 1

    def cut(cell: str, width: int) -> str:
        if len(cell) <= width:
            return cell.ljust(width)
        left = (width - 1) // 2
        return cell[:left] + "…" + cell[len(cell) - (width - 1 - left) :]

    return [
        "  ".join(cut(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    ]
