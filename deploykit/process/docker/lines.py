"""Lines out of the pieces in which an engine sends output."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["LineReader", "timed_lines"]


class LineReader:
    """Puts pieces of bytes together to lines; `last` gives what has no end yet."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[str]:
        *whole, self._rest = (self._rest + piece).split(b"\n")
        return [_decode(line) for line in whole]

    def last(self) -> list[str]:
        rest, self._rest = self._rest, b""
        return [_decode(rest)] if rest else []


def _decode(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r")


def timed_lines(pieces: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """(time, line) of a log that was asked for with timestamps; times are RFC 3339 and sort as text."""
    reader = LineReader()
    for piece in pieces:
        yield from (_split(line) for line in reader.feed(piece))
    yield from (_split(line) for line in reader.last())


def _split(line: str) -> tuple[str, str]:
    time, _, text = line.partition(" ")
    return time, text
