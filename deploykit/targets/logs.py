"""Reading the log files that the supervisor writes and rotates (copy to `<log>.1`, truncate)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

__all__ = ["Follower", "follow", "prune", "rotated_log", "tail"]

_BLOCK = 65_536
_STEP_SECONDS = 0.05


def rotated_log(log: Path) -> Path:
    """Where a rotation puts what the log held before."""
    return log.with_name(f"{log.name}.1")


def tail(log: Path, lines: int) -> tuple[str, ...]:
    """The last `lines` lines, reaching into what was rotated away if need be; empty when there is no log."""
    found = _last(log, lines)
    if len(found) < lines:
        found = (*_last(rotated_log(log), lines - len(found)), *found)
    return found


def _last(log: Path, lines: int) -> tuple[str, ...]:
    if lines <= 0:
        return ()
    try:
        with log.open("rb") as file:
            position = file.seek(0, 2)
            text = b""
            while position and text.count(b"\n") <= lines:
                step = min(_BLOCK, position)
                position -= step
                file.seek(position)
                text = file.read(step) + text
    except OSError:
        return ()
    whole = text.split(b"\n")
    if not whole[-1]:
        whole.pop()
    return tuple(_decode(line) for line in whole[-lines:])


def _decode(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r")


class Follower:
    """Hands out the lines that a log gets, across rotations. Starts at `position` bytes, or at the end (None)."""

    def __init__(self, log: Path, *, position: int | None = None) -> None:
        self._log = log
        self._rest = b""
        self._rotation = _identity(rotated_log(log))
        self._position = _size(log) if position is None else position

    def lines(self, *, last: bool = False) -> list[str]:
        """The whole lines that came since the last call; with `last` also one that has no end yet."""
        data = b""
        rotation = _identity(rotated_log(self._log))
        if rotation != self._rotation or _size(self._log) < self._position:
            if rotation != self._rotation:
                data = _read(rotated_log(self._log), self._position)[0]
            self._rotation, self._position = rotation, 0
        fresh, self._position = _read(self._log, self._position)
        *whole, self._rest = (self._rest + data + fresh).split(b"\n")
        if last and self._rest:
            whole.append(self._rest)
            self._rest = b""
        return [_decode(line) for line in whole]


def _read(log: Path, position: int) -> tuple[bytes, int]:
    """The lines after `position`, and the position after it."""
    try:
        with log.open("rb") as file:
            file.seek(position)
            data = file.read()
            return data, file.tell()
    except OSError:
        return b"", position


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError:
        return 0


def _identity(log: Path) -> tuple[int, int]:
    try:
        found = log.stat()
    except OSError:
        return (0, 0)
    return (found.st_ino, found.st_mtime_ns)


def follow(logs: Mapping[str, Path], *, sleep: Callable[[float], None] = time.sleep) -> Iterator[tuple[str, str]]:
    """(name, line) for what the logs get from the time of this call on, until the caller stops."""
    followers = {name: Follower(log) for name, log in logs.items()}

    def lines() -> Iterator[tuple[str, str]]:
        while True:
            waited = True
            for name, follower in followers.items():
                for line in follower.lines():
                    waited = False
                    yield name, line
            if waited:
                sleep(_STEP_SECONDS)

    return lines()


def prune(folder: Path, *, used: set[str], keep: int) -> None:
    """Remove the oldest logs of `folder` that aren't in `used` (file names), but for the newest `keep` of them."""
    try:
        unused = [(log.stat().st_mtime, log) for log in folder.glob("*.log") if log.name not in used]
    except OSError:
        return
    for _, log in sorted(unused, reverse=True)[keep:]:
        log.unlink(missing_ok=True)
        rotated_log(log).unlink(missing_ok=True)
