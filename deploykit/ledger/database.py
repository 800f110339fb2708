"""A database and its transactions: SQLite in a file, or PostgreSQL by URL. Every error comes out translated."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from deploykit.ledger.faults import folder_fault, translate
from deploykit.model import DeploykitError, UsageError
from deploykit.process import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Database", "open_database"]

_IMMEDIATE = "deploykit_immediate"
_FLUSH = "deploykit_flush"


class Database:
    """Transactions on one database. Safe to share between threads: each transaction has a connection of its own.

    No cancellation tears a transaction: left open by one, it would keep this very process from recording what was undone.
    """

    def __init__(self, engine: sa.Engine, where: str) -> None:
        self.engine = engine
        self.where = where

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextlib.contextmanager
    def read(self, *, snapshot: bool = False) -> Iterator[sa.Connection]:
        """A transaction that writes nothing; with `snapshot`, all its queries see the same moment."""
        with uninterrupted(), self._translated(), self.engine.connect() as connection:
            if snapshot and not self.is_sqlite:  # SQLite's always do
                connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextlib.contextmanager
    def write(self, *, flush: bool = True) -> Iterator[sa.Connection]:
        """A transaction that is durable once the block is left without an error, and undone otherwise.

        Without `flush` a power cut may forget it until the next one with `flush` is committed, which makes all before it
        durable, too: the log has one order. It is there for everybody at once, and no killed process forgets it.
        """
        with uninterrupted(), self._translated(), self.engine.connect() as connection:
            connection.execution_options(**{_IMMEDIATE: True, _FLUSH: flush})
            with connection.begin():
                if not flush and not self.is_sqlite:
                    connection.exec_driver_sql("SET LOCAL synchronous_commit TO off")
                yield connection

    def close(self) -> None:
        self.engine.dispose()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise translate(error, self.where) from error
        except UnicodeDecodeError as error:
            # SQLite's own message quotes what is damaged, and Python can't read it.
            damaged = sqlite3.DatabaseError("the file holds text that is not UTF-8")
            damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise translate(damaged, self.where) from error


def open_database(where: str | os.PathLike[str], *, busy_seconds: float) -> Database:
    """Connects to nothing yet, but makes SQLite's file. `where` is a path, or an SQLAlchemy URL.

    Raises UsageError on a URL that can't be used, DeploykitError when the file can't be made.
    """
    text = os.fspath(where)
    if "://" not in text:
        return _sqlite(Path(text), busy_seconds)
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError):
        msg = "The ledger's URL can't be read."  # and isn't shown, for it may hold a password
        raise UsageError(msg, next_step="write it as postgresql://user@host/database") from None
    if url.get_backend_name() == "sqlite":
        if not url.database or url.database == ":memory:":
            msg = "A ledger in memory would be forgotten at once."
            raise UsageError(msg, next_step="give the ledger a path")
        return _sqlite(Path(url.database), busy_seconds)
    if url.get_backend_name() in {"postgresql", "postgres"}:
        return _postgresql(url, busy_seconds)
    msg = f"The ledger can't be kept in {url.get_backend_name()}: only SQLite and PostgreSQL can hold it."
    raise UsageError(msg, next_step="give the ledger a path, or a URL like postgresql://user@host/database")


def _sqlite(path: Path, busy_seconds: float) -> Database:
    path = path.expanduser().absolute()
    _make_private(path)
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)), connect_args={"timeout": busy_seconds}, poolclass=sa.QueuePool
    )

    @sa.event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: object) -> None:
        # The driver's own habit of opening transactions is off: `BEGIN` is ours, and the same on all of 2.0 and 2.1.
        connection.isolation_level = None
        _write_ahead(connection, busy_seconds, str(path))
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        if sys.platform == "darwin":
            connection.execute("PRAGMA fullfsync=ON")  # fsync there stops at the disk's own cache

    @sa.event.listens_for(engine, "begin")
    def _begun(connection: sa.Connection) -> None:
        # A writer takes the write lock at once and waits for it there: upgraded later, it could only fail.
        options = connection.get_execution_options()
        if options.get(_IMMEDIATE, False):
            connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if options[_FLUSH] else 'NORMAL'}")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql("BEGIN")

    return Database(engine, str(path))


def _make_private(path: Path) -> None:
    """The file 0600, and its folder 0700 where it is made here; SQLite gives `-wal` and `-shm` the file's mode.

    An existing folder is left as it is: others may have business in it. The file is never opened and closed when it is
    there already, for that would drop the locks that this process holds on it (https://www.sqlite.org/howtocorrupt.html).
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        mode = path.stat().st_mode
    except OSError as error:
        raise folder_fault(error, str(path)) from error
    if not stat.S_ISREG(mode):
        msg = f"The ledger {path} can't be opened: that is not a file."
        raise UsageError(msg, next_step="give the ledger the path of a file")
    if mode & 0o077:
        with contextlib.suppress(PermissionError):  # somebody else's file: theirs to close
            path.chmod(0o600)


def _write_ahead(connection: sqlite3.Connection, busy_seconds: float, where: str) -> None:
    """Turn WAL on, which stays in the file. SQLite does not wait for locks there, so this does."""
    if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
        return
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    if mode != "wal":
        msg = f"The ledger {where} can't be kept there: that file system has no shared memory for SQLite's log."
        raise DeploykitError(msg, next_step="keep it on a local disk (DEPLOYKIT_STATE_DIR), or in PostgreSQL")


def _postgresql(url: sa.URL, busy_seconds: float) -> Database:
    url = url.set(drivername="postgresql+psycopg")
    where = url.set(drivername="postgresql").render_as_string(hide_password=True)
    try:
        engine = sa.create_engine(
            url, pool_pre_ping=True, isolation_level="READ COMMITTED", connect_args={"connect_timeout": 10}
        )
    except ImportError as error:
        msg = "A ledger in PostgreSQL needs psycopg, which is not installed."
        raise UsageError(msg, next_step="pip install 'psycopg[binary]'") from error

    @sa.event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: object) -> None:
        # A bound on waiting for other writers, and no commit that a crash of the server could forget.
        connection.execute(
            "SELECT set_config('lock_timeout', %s, false),"
            " CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END",
            [str(int(busy_seconds * 1000))],
        )
        connection.commit()

    return Database(engine, where)
