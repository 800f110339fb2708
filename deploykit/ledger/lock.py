"""The lock of an environment: owner, reason, lease, and a fencing token that only ever grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.ledger import rows
from deploykit.ledger.canonical import clean
from deploykit.ledger.interface import Held, LockHeld, StaleToken
from deploykit.ledger.projections import seal
from deploykit.ledger.queries import update
from deploykit.ledger.scoped import Scoped
from deploykit.ledger.tables import LOCKS

if TYPE_CHECKING:
    from deploykit.ledger.database import Connection

__all__ = ["SqlLock"]


class SqlLock(Scoped):
    """The lock's part of the ledger. The token is the sequence of the entry that took the lock, so it can't repeat."""

    def acquire(self, owner: str, reason: str, *, lease: float) -> Held:
        with self._write() as journal:
            known = self._lock(journal.connection)
            if known is not None and known.expires_at > journal.now:
                raise LockHeld(known, self.environment)
            over = None
            if known is not None:
                over = {"owner": known.owner, "token": known.token, "expired_at": known.expires_at}
            payload = {"owner": owner, "reason": reason, "lease": float(lease), "over": over}
            return self._demand(journal.connection, journal.append("lock.taken", payload).sequence)

    def holder(self) -> Held | None:
        with self._database.read() as connection:
            known = self._lock(connection)
            if known is None or known.expires_at <= self._now(connection):
                return None
            return known

    def heartbeat(self, owner: str, token: int, *, lease: float) -> None:
        with self._write() as journal:
            known = self._demand(journal.connection, token, owner)
            # Clocks go back at times; what was promised until then still holds.
            expires_at = max(known.expires_at, journal.now + lease)
            values = {
                "heartbeat_at": journal.now,
                "expires_at": expires_at,
                "seal": seal(token, journal.now, expires_at),
            }
            journal.connection.run(update(LOCKS, values, self._scope))

    def unlock(self, owner: str, token: int) -> None:
        with self._write() as journal:
            self._demand(journal.connection, token, owner)
            journal.append("lock.released", {"owner": owner, "token": token})

    def break_lock(self, by: str, reason: str) -> Held | None:
        with self._write() as journal:
            known = self._lock(journal.connection)
            if known is not None:
                payload = {"by": by, "reason": reason, "owner": known.owner, "token": known.token}
                journal.append("lock.broken", payload)
            return known

    def _lock(self, connection: Connection) -> Held | None:
        row = connection.first(self._ask(LOCKS))
        return None if row is None else rows.held(row)

    def _demand(self, connection: Connection, token: int, owner: str | None = None) -> Held:
        """The lock, if `token` (and `owner`) is still its own. A lease that ran out is no harm while nobody took over."""
        known = self._lock(connection)
        if known is not None and token == known.token and (owner is None or clean(owner) == known.owner):
            return known
        msg = f"The lock on {self.environment} was lost: "
        msg += "it was given back or broken." if known is None else f"{known.owner} has it now ({known.reason})."
        raise StaleToken(msg, next_step=f"invoke status --env {self.environment}")
