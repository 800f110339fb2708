"""One app in one environment, in a database that may hold many: queries and transactions that never look further."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from deploykit.ledger.journal import Journal
from deploykit.ledger.queries import Query, select

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deploykit.ledger.database import Connection, Database
    from deploykit.ledger.tables import Table

__all__ = ["Scoped"]


class Scoped:
    """What all parts of the SQL ledger share. `clock` as in `deploykit.ledger.sql.open_ledger`."""

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
        order: Sequence[str] = (),
        limit: int | None = None,
        **where: Any,
    ) -> Query:
        """As `queries.select`, within the scope."""
        known = {**self._scope, **where}
        return select(table, known, columns=columns, present=present, order=order, limit=limit)
