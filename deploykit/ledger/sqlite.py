"""A ledger's database in a file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import sys
import time
from typing import TYPE_CHECKING, Any

from deploykit.ledger.database import Connection, Database
from deploykit.ledger.errors import folder_error
from deploykit.model import DeploykitError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SqliteDatabase"]


class SqliteDatabase(Database):
    is_sqlite = True
    dialect = "sqlite"

    def __init__(self, path: Path, busy_seconds: float) -> None:
        path = path.expanduser().absolute()
        super().__init__(str(path), sqlite3.Error)
        self._busy_seconds = busy_seconds
        _make_private(path)

    def connect(self) -> Connection:
        # The driver's own habit of opening transactions is off: `BEGIN` is ours. One thread at a time has a connection.
        driver = sqlite3.connect(self.where, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False)
        try:
            self._write_ahead(driver)
            driver.execute("PRAGMA synchronous=FULL")
            driver.execute("PRAGMA foreign_keys=ON")
            if sys.platform == "darwin":
                driver.execute("PRAGMA fullfsync=ON")  # fsync there stops at the disk's own cache
        except BaseException:  # whatever it was: nobody else knows of the connection
            driver.close()
            raise
        return Connection(driver, placeholder="?")

    def for_alembic(self) -> Any:
        return self.connect().driver

    def _begin_read(self, connection: Connection, *, snapshot: bool) -> None:  # noqa: ARG002 - always a snapshot
        connection.run("BEGIN")

    def _begin_write(self, connection: Connection, *, flush: bool) -> None:
        # A writer takes the write lock at once and waits for it there: upgraded later, it could only fail.
        connection.run(f"PRAGMA synchronous={'FULL' if flush else 'NORMAL'}")
        connection.run("BEGIN IMMEDIATE")

    def _undo(self, connection: Connection) -> None:
        if connection.driver.in_transaction:  # SQLite undoes by itself on a full disk, say
            connection.run("ROLLBACK")

    def _write_ahead(self, driver: sqlite3.Connection) -> None:
        """Turn WAL on, which stays in the file. SQLite does not wait for locks there, so this does."""
        if driver.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
            return
        deadline = time.monotonic() + self._busy_seconds
        while True:
            try:
                mode = driver.execute("PRAGMA journal_mode=WAL").fetchone()[0]
                break
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)  # SQLite has no event for this, and its own timeout does not apply here
        if mode != "wal":
            msg = (
                f"The ledger {self.where} can't be kept there: that file system has no shared memory for SQLite's log."
            )
            raise DeploykitError(msg, next_step="keep it on a local disk (DEPLOYKIT_STATE_DIR), or in PostgreSQL")


def _make_private(path: Path) -> None:
    """The file 0600, and its folder 0700 where it is made here; SQLite gives `-wal` and `-shm` the file's mode.

    An existing folder is left as it is: others may have business in it. The file is never opened and closed when it is
    there already, for that would drop the locks that this process holds on it
    (https://www.sqlite.org/howtocorrupt.html).
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        mode = path.stat().st_mode
    except OSError as error:
        raise folder_error(error, str(path)) from error
    if not stat.S_ISREG(mode):
        raise UsageError(
            f"The ledger {path} can't be opened: that is not a file.", next_step="give the ledger the path of a file"
        )
    if mode & 0o077:
        with contextlib.suppress(PermissionError):  # somebody else's file: theirs to close
            path.chmod(0o600)
