"""One app in one environment, in a database that may hold many: queries and transactions that never look further."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from deploykit.ledger.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deploykit.ledger.database import Database

__all__ = ["Scoped"]


class Scoped:
    """What all parts of the SQL ledger share. `clock` as in `deploykit.ledger.sql.open_ledger`."""

    def __init__(
        self, database: Database, *, app: str, environment: str, clock: Callable[[], float] | None = None
    ) -> None:
        self.app = app
        self.environment = environment
        self._database = database
        self._clock = clock or (time.time if database.is_sqlite else None)

    @contextlib.contextmanager
    def _write(self, *, flush: bool = True) -> Iterator[Journal]:
        with self._database.write(flush=flush) as connection:
            yield Journal(connection, app=self.app, environment=self.environment, clock=self._now)

    def _now(self, connection: sa.Connection) -> float:
        if self._clock is not None:
            return float(self._clock())
        return float(connection.scalar(sa.text("SELECT extract(epoch FROM clock_timestamp())::float8")) or 0.0)

    def _is(self, table: sa.Table, **where: Any) -> list[sa.ColumnElement[bool]]:
        scope: dict[str, Any] = {"app": self.app, "environment": self.environment}
        return [table.c[name] == value for name, value in (scope | where).items()]

    def _ask(self, table: sa.Table, *, columns: Sequence[Any] = (), **where: Any) -> sa.Select[Any]:
        return sa.select(*(columns or [table])).select_from(table).where(*self._is(table, **where))
