"""Requests that came together: what a busy page or an outage of a moment does to many at once is one observation.

A slot begins with a request and has all that begin within the next tenth of a second, of both versions. So a burst
after a pause is never cut in two. Requests belong to the moment when they *began*: by their end, the slow ones of each
burst would be slots of their own, in which everything is slow.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["SLOT_SECONDS", "OpenSlots", "Record", "Requests", "Slot"]

SLOT_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Record:
    """One answered request. `seconds` is when it began, on any one clock; `ms` how long it took.

    `candidate`: the version that is judged answered it; else the stable one. Raises ValueError when `seconds` is no
    moment.
    """

    seconds: float
    candidate: bool
    error: bool
    ms: float
    database_error: bool = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.seconds):
            raise ValueError(f"a request began at a moment, which {self.seconds} is not")


@dataclass(frozen=True, kw_only=True)
class Requests:
    """What one version answered in one slot; a latency for each request, errors included.

    Raises ValueError for more errors than requests and for latencies that are no length of time.
    """

    latencies_ms: Sequence[float] = ()
    errors: int = 0
    database_errors: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.errors <= len(self.latencies_ms) or self.database_errors < 0:
            raise ValueError(f"{self.errors} errors of {len(self.latencies_ms)} requests")
        if not all(math.isfinite(ms) and ms >= 0 for ms in self.latencies_ms):
            raise ValueError("a latency is a finite number of milliseconds, 0 or more")

    @property
    def requests(self) -> int:
        return len(self.latencies_ms)


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One observation. `probe`: these are the kit's own labelled requests to the candidate.

    Raises ValueError for probes of the stable version: nobody compares versions by them.
    """

    candidate: Requests = field(default_factory=Requests)
    stable: Requests = field(default_factory=Requests)
    probe: bool = False

    def __post_init__(self) -> None:
        if self.probe and self.stable.requests:
            raise ValueError("probes go to the version that is judged, and to no other")


@dataclass(frozen=True, kw_only=True)
class OpenSlots:
    """Requests that are not in a slot yet. Immutable: `take` returns what is open afterwards.

    `probe`: all of them are probes. Users' requests are cut into slots apart from those. `seconds`: the length of a
    slot; longer where failures come in clumps that last longer.
    """

    waiting: tuple[Record, ...] = ()
    closed_until: float = -math.inf
    probe: bool = False
    seconds: float = SLOT_SECONDS

    def take(self, records: Iterable[Record], *, until: float) -> tuple[OpenSlots, tuple[Slot, ...]]:
        """Add records, in any order, and close the slots that ended before `until`.

        `until` is so long ago that nearly all requests which began before it are answered, such as now less two
        seconds. One that is answered later still counts, in the next slot that closes. `until` infinite: no more come.
        """
        records = sorted((*self.waiting, *records), key=_began)
        start = bisect_left(records, self.closed_until, key=_began)
        late, closed_until, slots = records[:start], self.closed_until, []
        while start < len(records) and records[start].seconds + self.seconds <= until:
            closed_until = records[start].seconds + self.seconds
            end = bisect_left(records, closed_until, lo=start, key=_began)
            slots.append(self._slot([*late, *records[start:end]]))
            late, start = [], end
        if late and until == math.inf:
            slots.append(self._slot(late))
            late = []
        return replace(self, waiting=(*late, *records[start:]), closed_until=closed_until), tuple(slots)

    def _slot(self, records: Sequence[Record]) -> Slot:
        return Slot(
            candidate=_requests([record for record in records if record.candidate]),
            stable=_requests([record for record in records if not record.candidate]),
            probe=self.probe,
        )


def _began(record: Record) -> float:
    return record.seconds


def _requests(records: Sequence[Record]) -> Requests:
    return Requests(
        latencies_ms=tuple(record.ms for record in records),
        errors=sum(record.error for record in records),
        database_errors=sum(record.database_error for record in records),
    )
