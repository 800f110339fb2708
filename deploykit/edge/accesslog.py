"""HAProxy's log of requests: one compact line each, no paths, no queries, nothing about persons.

The proxy writes the lines into the supervisor's log file, by a pipe to `cat`, so no Python runs per request. The
supervisor rotates that file by copy and truncate (`haproxy.log` → `haproxy.log.1`), which keeps the inode: a place in
it is therefore named by the CRC of the file's first line, which starts with a time in milliseconds, and an offset.

HAProxy never waits for its log: a thread that finds another one writing tries some 200 times, then drops its line
(fd.c, fd_write_frag_line; `DroppedLogs` of `show info` counts them). Those are a few in a thousand where every core is
busy, whatever the request got, so shares and percentiles stay what they are.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.edge.interface import Answer, Mark, Traffic

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

__all__ = [
    "LOG_FORMAT",
    "Line",
    "answers_of",
    "earlier_mark",
    "mark_of",
    "parse_line",
    "read_lines",
    "traffic_of",
]

_TAG = "dk1"
LOG_FORMAT = f"{_TAG} %[date(0,ms)] %b %s %ST %Tw %Tc %Tr %Ta %ts %HM %[var(txn.database)]"
"""Tag, epoch ms, backend, server, status, queue, connect, response and total times (ms), who ended it, method,
1 for a database error."""

_FIELDS = 12
_CLIENT = ("C", "c")
"""First letter of the termination state: the client aborted (C) or timed out (c). HAProxy manual, 8.5."""
_NORMAL_END = ("-", "L", "D")
"""Ended normally; answered by the proxy itself on purpose; killed by an administrator."""


@dataclass(frozen=True, slots=True)
class Line:
    """One request. `ms` is what the application took: queue, connection and first byte of the answer.

    The time in which a slow client takes its answer is not the version's, so the total is only used when no
    answer came. `client_left`: it ended by the client, so it says nothing about the version.

    `time_ms` is when it ended, since HAProxy evaluates `date` as it logs. `began_ms` is when its first byte came: %Ta
    is the time from there to the end, without %Ti, in which a connection that was kept alive is idle. HAProxy manual,
    8.4.
    """

    time_ms: int
    began_ms: int
    backend: str
    server: str
    status: int
    ms: int
    error: bool
    client_left: bool
    database_error: bool


def parse_line(text: str) -> Line | None:
    """None for what is not a request's line (HAProxy's own messages, a line cut by the rotation)."""
    fields = text.split(" ")
    if len(fields) != _FIELDS or fields[0] != _TAG:
        return None
    try:
        time_ms, status, queue, connect, response, total = (int(fields[i].lstrip("+")) for i in (1, 4, 5, 6, 7, 8))
    except ValueError:
        return None
    client_left = fields[9].startswith(_CLIENT) and status < 500
    return Line(
        time_ms=time_ms,
        began_ms=time_ms - max(total, 0),
        backend=fields[2],
        server=fields[3],
        status=status,
        ms=max(queue, 0) + max(connect, 0) + response if response >= 0 else total,
        error=not client_left and (status >= 500 or status < 100 or not fields[9].startswith(_NORMAL_END)),
        client_left=client_left,
        database_error=fields[11] == "1",
    )


def mark_of(log: Path, now_ms: int) -> Mark:
    """The present end of the log."""
    try:
        with log.open("rb") as file:
            head = _first_line_crc(file.readline())
            return Mark({"head": head, "offset": file.seek(0, 2) if head else 0, "time_ms": now_ms})
    except FileNotFoundError:
        return earlier_mark(now_ms)


def earlier_mark(time_ms: int) -> Mark:
    """A moment in the past, of which no place in the log is known."""
    return Mark({"head": 0, "offset": 0, "time_ms": time_ms})


def _first_line_crc(line: bytes) -> int:
    return zlib.crc32(line) if line.endswith(b"\n") else 0


def read_lines(log: Path, since: Mark) -> tuple[list[Line], Mark]:
    """The requests after the mark, oldest first, out of the log and its rotated copies; and the mark after them.

    Of the file that the mark names only what is new is read.
    """
    wanted = since.value
    until = since
    parts: list[bytes] = []
    for path in (log, *(log.with_name(f"{log.name}.{number}") for number in range(1, 10))):
        try:
            with path.open("rb") as file:
                head = _first_line_crc(file.readline())
                known = bool(wanted["head"]) and head == wanted["head"]
                begins_at = file.seek(wanted["offset"] if known else 0)
                # A line that is still being written is left for the next time.
                data, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            break
        parts.append(data + newline)
        if head and until is since:
            until = Mark({**wanted, "head": head, "offset": begins_at + len(parts[-1])})
        if known or _begins_before(data, wanted["time_ms"]):
            break
    lines = [
        line
        for data in reversed(parts)
        for text in data.decode("utf-8", "replace").splitlines()
        if (line := parse_line(text)) is not None and line.time_ms >= wanted["time_ms"]
    ]
    return lines, until


def _begins_before(data: bytes, time_ms: int) -> bool:
    """Whether the file's first request came before that time."""
    for raw in data.splitlines():
        if (line := parse_line(raw.decode("utf-8", "replace"))) is not None:
            return line.time_ms < time_ms
    return False


def answers_of(lines: Iterable[Line], backends: Collection[str], releases: Mapping[str, str]) -> list[Answer]:
    """The users' requests in some backends, without those that their client gave up; `releases` by server."""
    return [
        Answer(
            release=releases.get(line.server, ""),
            began=line.began_ms / 1000,
            ms=float(line.ms),
            error=line.error,
            database_error=line.database_error,
        )
        for line in lines
        if not line.client_left and line.backend in backends
    ]


def traffic_of(answers: Iterable[Answer], release: str) -> Traffic:
    """The sum of one release's answers."""
    own = [answer for answer in answers if answer.release == release]
    return Traffic(
        requests=len(own),
        errors=sum(answer.error for answer in own),
        latencies_ms=[answer.ms for answer in own],
        database_errors=sum(answer.database_error for answer in own),
    )
