"""The end of one chain, inside a write transaction: the only place that writes entries and projections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploykit.ledger import rows
from deploykit.ledger.canonical import clean, dumps, entry_hash, plain
from deploykit.ledger.interface import Entry
from deploykit.ledger.projections import Change, DeleteRow, InsertRow, derive
from deploykit.ledger.queries import Query, delete, insert, select, update
from deploykit.ledger.tables import CHAINS, ENTRIES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deploykit.ledger.database import Connection

__all__ = ["Journal"]

_FIRST = "INSERT INTO deploykit_chains (app, environment, sequence, hash) VALUES (?, ?, 0, '') ON CONFLICT DO NOTHING"


class Journal:
    """Appends to the chain of one app in one environment. Making one waits for every other writer of that chain."""

    def __init__(
        self, connection: Connection, *, app: str, environment: str, clock: Callable[[Connection], float]
    ) -> None:
        self.connection = connection
        self._scope: dict[str, Any] = {"app": app, "environment": environment}
        self._sequence, self._hash = self._locked_end()
        self.now = clock(connection)  # asked only now, since waiting may have taken a while

    def _locked_end(self) -> tuple[int, str]:
        end = self.connection.locking(select(CHAINS, self._scope))
        row = self.connection.first(end)
        if row is None:
            self.connection.run(Query(_FIRST, list(self._scope.values())))
            (row,) = self.connection.rows(end)
        return rows.chain_end(row)

    def continue_from(self, sequence: int, head: str) -> None:
        """Set the end of the chain, for one whose own is not that of its newest entry."""
        self._sequence, self._hash = max(self._sequence, sequence), head

    def append(self, kind: str, payload: Mapping[str, Any], *, release: str = "") -> Entry:
        """Write one entry and what it changes. Raises TypeError when `payload` is not JSON."""
        fields: dict[str, Any] = {
            "sequence": self._sequence + 1,
            "at": self.now,
            "kind": kind,
            "release": clean(release),
            "previous": self._hash,
        }
        content = plain(payload)
        text = dumps(content)
        own = entry_hash(**self._scope, **fields, payload=text)
        self.connection.run(insert(ENTRIES, {**self._scope, **fields, "payload": text, "hash": own}))
        self.connection.run(update(CHAINS, {"sequence": fields["sequence"], "hash": own}, self._scope))
        entry = Entry(**fields, payload=content, hash=own)
        for change in derive(entry):
            self._apply(change)
        self._sequence, self._hash = entry.sequence, own
        return entry

    def _apply(self, change: Change) -> None:
        match change:
            case InsertRow(table, key, values):
                self.connection.run(insert(table, {**self._scope, **key, **values}))
            case DeleteRow(table, key):
                self.connection.run(delete(table, {**self._scope, **key}))
            case _ if change.values:
                self.connection.run(update(change.table, change.values, {**self._scope, **change.key}))
