"""The lock of an environment: owner, reason, lease, and a fencing token that only ever grows."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from deploykit.ledger import rows
from deploykit.ledger.canonical import clean
from deploykit.ledger.interface import Held, LockHeld, StaleToken
from deploykit.ledger.journal import Journal
from deploykit.ledger.projections import seal
from deploykit.ledger.queries import Query, select, update
from deploykit.ledger.tables import LOCKS, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deploykit.ledger.database import Connection, Database

__all__ = ["SqlLock"]


class SqlLock:
    """One app in one environment, in a database that may hold many: its lock, and queries and transactions that never
    look further. The token is the sequence of the entry that took the lock, so it can't repeat. `clock` as in
    `sql.open_ledger`.
    """

    def __init__(
        self, database: Database, *, app: str, environment: str, clock: Callable[[], float] | None = None
    ) -> None:
        self.app = app
        self.environment = environment
        self._scope: dict[str, Any] = {"app": app, "environment": environment}
        self._database = database
        self._clock = clock or (time.time if database.is_sqlite else None)

    @contextlib.contextmanager
    def _write(self, *, flush: bool = True) -> Iterator[Journal]:
        with self._database.write(flush=flush) as connection:
            yield Journal(connection, app=self.app, environment=self.environment, clock=self._now)

    def _now(self, connection: Connection) -> float:
        if self._clock is not None:
            return float(self._clock())
        return float(connection.value("SELECT extract(epoch FROM clock_timestamp())::float8"))

    def _ask(
        self,
        table: Table,
        *,
        columns: Sequence[str] = (),
        present: str = "",
        after: tuple[str, Any] | None = None,
        order: Sequence[str] = (),
        limit: int | None = None,
        **where: Any,
    ) -> Query:
        """As `queries.select`, within the scope."""
        known = {**self._scope, **where}
        return select(table, known, columns=columns, present=present, after=after, order=order, limit=limit)

    def acquire(self, owner: str, reason: str, *, lease: float) -> Held:
        """Take the lock for `lease` seconds; `token` of the answer is greater than any handed out before.

        A lock whose lease ran out is taken over, which the ledger shows. Raises LockHeld when somebody has it,
        the same owner included: one owner may be two processes.
        """
        with self._write() as journal:
            known = self._lock(journal.connection)
            if known is not None and known.expires_at > journal.now:
                raise LockHeld(known, self.environment)
            over = None
            if known is not None:
                over = {"owner": known.owner, "token": known.token, "expired_at": known.expires_at}
            payload = {"owner": owner, "reason": reason, "lease": float(lease), "over": over}
            return self._require(journal.connection, journal.append("lock.taken", payload).sequence)

    def holder(self) -> Held | None:
        """Who has the lock; None when nobody has, or when its lease ran out."""
        with self._database.read() as connection:
            known = self._lock(connection)
            if known is None or known.expires_at <= self._now(connection):
                return None
            return known

    def heartbeat(self, owner: str, token: int, *, lease: float) -> None:
        """Prolong the lease to `lease` seconds from now. Raises StaleToken when the lock was lost."""
        with self._write() as journal:
            known = self._require(journal.connection, token, owner)
            # Clocks go back at times; what was promised until then still holds.
            expires_at = max(known.expires_at, journal.now + lease)
            values = {
                "heartbeat_at": journal.now,
                "expires_at": expires_at,
                "seal": seal(token, journal.now, expires_at),
            }
            journal.connection.run(update(LOCKS, values, self._scope))

    def unlock(self, owner: str, token: int) -> None:
        """Give the lock back. Raises StaleToken when it was lost before."""
        with self._write() as journal:
            self._require(journal.connection, token, owner)
            journal.append("lock.released", {"owner": owner, "token": token})

    def break_lock(self, by: str, reason: str) -> Held | None:
        """Take the lock from its holder and write that into the ledger; None when nobody has it."""
        with self._write() as journal:
            known = self._lock(journal.connection)
            if known is not None:
                payload = {"by": by, "reason": reason, "owner": known.owner, "token": known.token}
                journal.append("lock.broken", payload)
            return known

    def _lock(self, connection: Connection) -> Held | None:
        row = connection.first(self._ask(LOCKS))
        return None if row is None else rows.held(row)

    def _require(self, connection: Connection, token: int, owner: str | None = None) -> Held:
        """The lock, if `token` (and `owner`) is still its own.

        A lease that ran out is no harm while nobody took over.
        """
        known = self._lock(connection)
        if known is not None and token == known.token and (owner is None or clean(owner) == known.owner):
            return known
        msg = f"The lock on {self.environment} was lost: "
        msg += "it was given back or broken." if known is None else f"{known.owner} has it now ({known.reason})."
        raise StaleToken(msg, next_step=f"invoke status --env {self.environment}")
