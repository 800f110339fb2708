"""A database and its transactions, whatever its kind. Every error of the driver is raised as one of the kit's."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from deploykit.ledger.errors import translate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from deploykit.ledger.queries import Query

__all__ = ["Connection", "Database"]


class Connection:
    """One connection of a driver (DB-API 2.0), within a transaction.

    `placeholder` stands for a bound value in its SQL.
    """

    def __init__(self, driver: Any, *, placeholder: str) -> None:
        self.driver = driver
        self._placeholder = placeholder

    def run(self, query: Query | str) -> Any:
        """The driver's cursor."""
        if isinstance(query, str):
            return self.driver.execute(query)
        if not query.values:
            return self.driver.execute(query.text)
        return self.driver.execute(query.text.replace("?", self._placeholder), query.values)

    def rows(self, query: Query) -> list[dict[str, Any]]:
        with contextlib.closing(self.run(query)) as cursor:
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def first(self, query: Query) -> dict[str, Any] | None:
        """The first row. What is not fetched of a query keeps SQLite from forgetting what it saw, so its cursor is
        closed.
        """
        with contextlib.closing(self.run(query)) as cursor:
            names = [column[0] for column in cursor.description]
            row = cursor.fetchone()
        return None if row is None else dict(zip(names, row, strict=True))

    def value(self, query: Query | str) -> Any:
        """The first column of the first row; None where there is no row."""
        with contextlib.closing(self.run(query)) as cursor:
            row = cursor.fetchone()
        return None if row is None else row[0]

    def locking(self, query: Query) -> Query:
        """The rows of a query, kept from other writers until the transaction ends.

        SQLite's write lock does that already.
        """
        return query

    def stream(self, query: Query) -> Iterator[Mapping[str, Any]]:
        """The rows one by one, so that a long chain need not fit into memory."""
        with contextlib.closing(self.run(query)) as cursor:
            names = [column[0] for column in cursor.description]
            for row in cursor:
                yield dict(zip(names, row, strict=True))


class Database(ABC):
    """Transactions on one database. Safe to share between threads: each transaction has a connection of its own."""

    is_sqlite: ClassVar[bool]
    dialect: ClassVar[str]
    """SQLAlchemy's name of it, for Alembic."""

    def __init__(self, where: str, errors: type[Exception]) -> None:
        self.where = where
        self._errors = errors
        self._idle: list[Connection] = []
        self._closed = 0
        self._guard = threading.Lock()

    @contextlib.contextmanager
    def read(self, *, snapshot: bool = False) -> Iterator[Connection]:
        """A transaction that writes nothing; with `snapshot`, all its queries see the same moment."""
        with (
            self.translated_errors(),
            self._transaction(lambda connection: self._begin_read(connection, snapshot=snapshot)) as it,
        ):
            yield it

    @contextlib.contextmanager
    def write(self, *, flush: bool = True) -> Iterator[Connection]:
        """A transaction that is durable once the block is left without an error, and undone otherwise.

        Without `flush` a power cut may forget it until the next one with `flush` is committed, which makes all before
        it durable, too: the log has one order. It is there for everybody at once, and no killed process forgets it.
        """
        with (
            self.translated_errors(),
            self._transaction(lambda connection: self._begin_write(connection, flush=flush)) as it,
        ):
            yield it

    @contextlib.contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Translate the driver's errors within the block."""
        try:
            yield
        except self._errors as error:
            raise translate(error, self.where) from error
        except UnicodeDecodeError as error:
            # SQLite's own message quotes what is damaged, and Python can't read it.
            damaged = sqlite3.DatabaseError("the file holds text that is not UTF-8")
            damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise translate(damaged, self.where) from error

    def close(self) -> None:
        """Close the open connections. Another transaction opens a new one."""
        with self._guard:
            idle, self._idle = self._idle, []
            self._closed += 1
        for connection in idle:
            connection.driver.close()

    @abstractmethod
    def connect(self) -> Connection:
        """A new connection. Only `run` begins transactions on it."""

    @abstractmethod
    def for_alembic(self) -> Any:
        """A new connection of the driver, for Alembic to begin and to end transactions on."""

    @abstractmethod
    def _begin_read(self, connection: Connection, *, snapshot: bool) -> None: ...

    @abstractmethod
    def _begin_write(self, connection: Connection, *, flush: bool) -> None: ...

    @abstractmethod
    def _undo(self, connection: Connection) -> None:
        """Roll back, if a transaction is open."""

    def _is_alive(self, connection: Connection) -> bool:
        """Whether an idle connection is still usable. A server may have closed it; a file can't."""
        return connection.driver is not None

    @contextlib.contextmanager
    def _transaction(self, begin: Callable[[Connection], None]) -> Iterator[Connection]:
        closed = self._closed
        connection = self._take_connection()
        try:
            begin(connection)
            yield connection
            connection.run("COMMIT")
        except BaseException:  # a cancellation, too: whatever it was, nothing of the transaction may stay
            try:
                self._undo(connection)
            except self._errors:
                closed = -1  # the connection is unusable; the first error is the one to report
            raise
        finally:
            self._return_connection(connection, closed)

    def _take_connection(self) -> Connection:
        while True:
            with self._guard:
                if not self._idle:
                    break
                connection = self._idle.pop()
            if self._is_alive(connection):
                return connection
            connection.driver.close()
        return self.connect()

    def _return_connection(self, connection: Connection, closed: int) -> None:
        with self._guard:
            if closed == self._closed:
                self._idle.append(connection)
                return
        with contextlib.suppress(self._errors):
            connection.driver.close()
