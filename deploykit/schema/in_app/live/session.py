"""One connection in autocommit, with explicit transactions.

They are explicit since each has its own limits: SET LOCAL, which also works behind a pooler in transaction mode.
Statements that PostgreSQL refuses in a transaction run on the same connection.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.engine import Connection

__all__ = ["CONNECTION_LOST", "FIXED_PATH", "RETRIED", "Session", "in_search_path", "state_of"]

RETRIED = {"55P03", "40P01", "40001"}
"""lock_not_available, deadlock_detected, serialization_failure: nothing was done, and a retry may work."""
FIXED_PATH = "search_path = pg_catalog, pg_temp"
"""PostgreSQL's own names alone. pg_temp would be looked into first if it was not named last."""
CONNECTION_LOST = ("08", "57P")
_SEVERAL_AT_ONCE = {"psycopg", "psycopg2"}


class Session:
    """Runs SQL on `connection`, which is in autocommit already."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def run(self, sql: str) -> int:
        """Execute a statement and return how many rows it touched, -1 when that is not known."""
        result = self._connection.exec_driver_sql(sql, execution_options={"no_parameters": True})
        count = result.rowcount
        result.close()
        return int(count)

    def rows(self, sql: str) -> Sequence[Sequence[Any]]:
        return self._connection.exec_driver_sql(sql, execution_options={"no_parameters": True}).fetchall()

    def value(self, sql: str) -> Any:
        found = self.rows(sql)
        return found[0][0] if found else None

    def run_all(self, statements: Sequence[str]) -> None:
        """Execute statements in order; in one message, if the driver can send several at once."""
        if self._connection.dialect.driver in _SEVERAL_AT_ONCE:
            self.run("; ".join(statements))
            return
        for statement in statements:
            self.run(statement)

    @contextlib.contextmanager
    def ended_by_hand(self) -> Iterator[None]:
        """Roll back on any exception; for a block that begins and commits by itself."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(Exception):  # the connection may be what failed
                self.run("ROLLBACK")
            raise

    @contextlib.contextmanager
    def transaction(self, *settings: str) -> Iterator[None]:
        """Commit at the end, roll back on any exception. `settings` are such as `lock_timeout = '500ms'`."""
        self.run("BEGIN")
        try:
            for setting in settings:
                self.run(f"SET LOCAL {setting}")
            yield
            self.run("COMMIT")
        except BaseException:
            # The connection may be what failed.
            with contextlib.suppress(Exception):
                self.run("ROLLBACK")
            raise


def in_search_path(search_path: str) -> str:
    """Return the setting, for a transaction or a session. Nobody's temporary objects stand for those of a schema."""
    return f"search_path = {search_path}, pg_temp" if search_path else FIXED_PATH


def state_of(error: BaseException) -> str:
    """Return the SQLSTATE; empty when there is none. A lost connection is `08006`, whatever the driver reports."""
    original = getattr(error, "orig", None) or error
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    if state is None and original.args and isinstance(original.args[0], dict):
        state = original.args[0].get("C")  # pg8000
    if getattr(error, "connection_invalidated", False):
        return "08006"
    if state is None and type(original).__name__ in {
        "OperationalError",
        "InterfaceError",
        "ConnectionDoesNotExistError",
    }:
        return "08006"
    return str(state or "")
