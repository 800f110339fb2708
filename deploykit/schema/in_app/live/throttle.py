"""When a backfill slows down: others wait for locks, replicas lag, the database is busy, or it is asked to."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .session import Session
    from .state import State

__all__ = ["Pace", "Throttle"]

_LOOK_SECONDS = 0.5
_REST_SECONDS = 0.25


@dataclass(frozen=True)
class Pace:
    """The pace of a backfill. None and empty values are not checked.

    - `batch`: the target time of a batch in seconds, which is how long others wait for its rows.
    - `speed`: the share of time that it works; at 0.25 it rests three times as long as it works.
    - `waiting`: how many statements may wait for locks.
    - `lag`: how many seconds of replay a replica may be behind.
    - `active`: how many sessions may be working.
    - `query`: a custom query; true or a positive number means wait.
    """

    batch: float = 0.05
    speed: float = 1.0
    waiting: int | None = 2
    lag: float | None = 10.0
    active: int | None = None
    query: str = ""
    workers: int = 1
    largest: int = 20_000


class Throttle:
    """Consulted between batches.

    Settings in the database (`backfill.paused`, `backfill.speed`) work from another terminal.
    """

    def __init__(self, pace: Pace, tell: Callable[[str], None]) -> None:
        self.pace = pace
        self._tell = tell
        self._next = 0.0
        self._speed = pace.speed
        self._said = ""

    def rest(self, session: Session, state: State, worked: float) -> None:
        """Sleep for the right time after a batch of `worked` seconds; return when the next one may start."""
        if time.monotonic() >= self._next:
            while why := self._why_not(session, state):
                if why != self._said:
                    self._tell(f"waiting: {why}")
                    self._said = why
                time.sleep(_REST_SECONDS)
            if self._said:
                self._tell("going on")
                self._said = ""
            self._next = time.monotonic() + _LOOK_SECONDS
        if self._speed < 1.0:
            time.sleep(worked * (1.0 / max(self._speed, 0.01) - 1.0))

    def _why_not(self, session: Session, state: State) -> str:
        settings = state.settings()
        self._speed = float(settings.get("backfill.speed", self.pace.speed))
        if settings.get("backfill.paused") == "yes":
            return "paused; go on by: invoke db.backfill --resume"
        waiting, lag, active = session.rows(
            "SELECT (SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()), "
            "(SELECT coalesce(max(extract(epoch FROM replay_lag)), 0)::float8 FROM pg_stat_replication), "
            "(SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND backend_type = 'client backend' "
            "AND pid <> pg_backend_pid())"
        )[0]
        if self.pace.waiting is not None and waiting > self.pace.waiting:
            return f"{waiting} statements wait for locks"
        if self.pace.lag is not None and lag > self.pace.lag:
            return f"a replica is {lag:.0f} s behind"
        if self.pace.active is not None and active > self.pace.active:
            return f"{active} sessions are working"
        if self.pace.query and (answer := session.value(self.pace.query)) and float(answer) > 0:
            return f"the query of the settings answers {answer}"
        return ""
