"""The end of one chain, inside a write transaction: the only place that writes entries and projections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from deploykit.ledger.canonical import clean, dumps, entry_hash, plain
from deploykit.ledger.interface import Entry
from deploykit.ledger.projections import Drop, Put, derive
from deploykit.ledger.tables import CHAINS, ENTRIES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deploykit.ledger.projections import Change

__all__ = ["Journal"]

_FIRST = sa.text(
    "INSERT INTO deploykit_chains (app, environment, sequence, hash) VALUES (:app, :environment, 0, '') ON CONFLICT DO NOTHING"
)


class Journal:
    """Appends to the chain of one app in one environment. Making one waits for every other writer of that chain."""

    def __init__(
        self, connection: sa.Connection, *, app: str, environment: str, clock: Callable[[sa.Connection], float]
    ) -> None:
        self.connection = connection
        self._scope: dict[str, Any] = {"app": app, "environment": environment}
        self._sequence, self._hash = self._locked_end()
        self.now = clock(connection)  # asked only now, since waiting may have taken a while

    def _locked_end(self) -> tuple[int, str]:
        end = (
            sa.select(CHAINS.c.sequence, CHAINS.c.hash).where(*self._is(CHAINS, {})).with_for_update()
        )  # SQLite has no FOR UPDATE and needs none: its write lock is taken
        row = self.connection.execute(end).one_or_none()
        if row is None:
            self.connection.execute(_FIRST, self._scope)
            row = self.connection.execute(end).one()
        return row.sequence, row.hash

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
        self.connection.execute(sa.insert(ENTRIES).values(**self._scope, **fields, payload=text, hash=own))
        self.connection.execute(
            sa.update(CHAINS).where(*self._is(CHAINS, {})).values(sequence=fields["sequence"], hash=own)
        )
        entry = Entry(**fields, payload=content, hash=own)
        for change in derive(entry):
            self._apply(change)
        self._sequence, self._hash = entry.sequence, own
        return entry

    def _apply(self, change: Change) -> None:
        match change:
            case Put(table, key, values):
                self.connection.execute(sa.insert(table).values(**self._scope, **key, **values))
            case Drop(table, key):
                self.connection.execute(sa.delete(table).where(*self._is(table, key)))
            case _:
                self.connection.execute(
                    sa.update(change.table).where(*self._is(change.table, change.key)).values(**change.values)
                )

    def _is(self, table: sa.Table, key: Mapping[str, Any]) -> list[sa.ColumnElement[bool]]:
        return [table.c[name] == value for name, value in (self._scope | dict(key)).items()]
