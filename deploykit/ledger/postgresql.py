"""A ledger's database on a server of PostgreSQL."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from deploykit.ledger.database import Connection, Database
from deploykit.model import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import psycopg

    from deploykit.ledger.queries import Query

__all__ = ["PostgresqlDatabase"]

_PASSWORD = re.compile(r"(?<=://)([^/?#@:]*):.*@")
"""To the last `@`: a password that was not written as a URL wants it may hold any character, and is hidden all the
same.
"""
_QUERY_PASSWORD = re.compile(r"([?&](?:ssl)?password=)[^&#]*")
_NO_PORT = re.compile(r"[^0-9,]")
_AT_ONCE = 500


class PostgresqlDatabase(Database):
    is_sqlite = False
    dialect = "postgresql+psycopg"

    def __init__(self, url: str, busy_seconds: float) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise UsageError(
                "A ledger in PostgreSQL needs psycopg, which is not installed.",
                next_step="pip install 'psycopg[binary]'",
            ) from error
        try:
            parsed = psycopg.conninfo.conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            parsed = None
        # libpq would print an invalid port, which may be a part of a password.
        if parsed is None or _NO_PORT.search(str(parsed.get("port") or "")):
            # The URL isn't shown, for it may hold a password.
            raise UsageError("The ledger's URL can't be read.", next_step="write it as postgresql://user@host/database")
        super().__init__(_QUERY_PASSWORD.sub(r"\1***", _PASSWORD.sub(r"\1:***@", url)), psycopg.Error)
        self._url = url
        self._busy_milliseconds = int(busy_seconds * 1000)

    def connect(self) -> Connection:
        # Transactions are begun and ended by `run`, as SQLite's are.
        return _Connection(self._driver(autocommit=True), placeholder="%s")

    def for_alembic(self) -> Any:
        return self._driver(autocommit=False)

    def _driver(self, *, autocommit: bool) -> psycopg.Connection[Any]:
        import psycopg

        driver = psycopg.connect(self._url, autocommit=True, connect_timeout=10)
        try:
            # A bound on waiting for other writers, and no commit that a crash of the server could forget.
            driver.execute(
                "SELECT set_config('lock_timeout', %s, false), CASE current_setting('synchronous_commit') WHEN 'off'"
                " THEN set_config('synchronous_commit', 'on', false) END",
                [str(self._busy_milliseconds)],
            )
            driver.autocommit = autocommit
        except BaseException:  # whatever it was: nobody else knows of the connection
            driver.close()
            raise
        return driver

    def _begin_read(self, connection: Connection, *, snapshot: bool) -> None:
        connection.run(f"BEGIN ISOLATION LEVEL {'REPEATABLE READ' if snapshot else 'READ COMMITTED'}")

    def _begin_write(self, connection: Connection, *, flush: bool) -> None:
        connection.run("BEGIN ISOLATION LEVEL READ COMMITTED")
        if not flush:
            connection.run("SET LOCAL synchronous_commit TO off")

    def _undo(self, connection: Connection) -> None:
        connection.run("ROLLBACK")

    def _is_alive(self, connection: Connection) -> bool:
        try:
            connection.run("SELECT 1")
        except self._errors:
            return False
        return True


class _Connection(Connection):
    def locking(self, query: Query) -> Query:
        return query._replace(text=f"{query.text} FOR UPDATE")

    def stream(self, query: Query) -> Iterator[Mapping[str, Any]]:
        # A cursor of the server's: the other kind has it send all rows at once.
        with self.driver.cursor(name="deploykit") as cursor:
            cursor.itersize = _AT_ONCE
            cursor.execute(query.text.replace("?", self._placeholder), query.values)
            names = [column.name for column in cursor.description]
            for row in cursor:
                yield dict(zip(names, row, strict=True))
