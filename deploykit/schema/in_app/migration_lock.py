"""One migration at a time on a database: an advisory lock on PostgreSQL."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from .alembic_environment import MigrationError, say, with_connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import URL, Connection

__all__ = ["LOCK", "only_one_migration"]

LOCK = int.from_bytes(b"deployki", "big")
"""The key of the advisory lock: one migration at a time in a database, whatever the application."""
_POLL_SECONDS = 0.1


@contextlib.contextmanager
def only_one_migration(url: URL, wait: float) -> Iterator[None]:
    """Hold the advisory lock on PostgreSQL; other databases have no suitable one.

    Raises MigrationError past `wait` seconds. The lock has its own connection in autocommit, and is polled for. An open
    transaction, or a statement that waits, would hold a snapshot. CREATE INDEX CONCURRENTLY would wait for that, and
    deadlock. It lives in a thread, so that it works the same with an asynchronous driver.
    """
    if url.get_backend_name() != "postgresql":
        yield
        return
    taken, done = threading.Event(), threading.Event()
    failure: list[BaseException] = []

    def hold(connection: Connection) -> None:
        _take(connection, wait)
        taken.set()
        done.wait()

    def thread() -> None:
        try:
            with_connection(url, hold, autocommit=True)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            failure.append(error)
        finally:
            taken.set()

    holder = threading.Thread(target=thread, name="migration lock", daemon=True)
    holder.start()
    taken.wait()
    if failure:
        raise failure[0]
    try:
        yield
    finally:
        done.set()
        holder.join(10)


def _take(connection: Connection, wait: float) -> None:
    from sqlalchemy import text

    connection.execute(text("SET application_name = 'deploykit migrations'"))
    deadline = time.monotonic() + wait
    reported = False
    while not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK}).scalar():
        if time.monotonic() >= deadline:
            raise MigrationError(
                "lock",
                f"another migration still runs on this database ({_holder(connection)}), after {wait:g} s of waiting",
            )
        if not reported:
            say(f"another migration runs on this database ({_holder(connection)}): waiting up to {wait:g} s")
            reported = True
        time.sleep(_POLL_SECONDS)


def _holder(connection: Connection) -> str:
    from sqlalchemy import text

    row = connection.execute(
        text(
            "SELECT a.pid, a.backend_start::timestamp(0) FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
            "WHERE l.locktype = 'advisory' AND l.granted AND l.classid = :high AND l.objid = :low AND l.objsubid = 1 "
            "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ),
        {"high": LOCK >> 32, "low": LOCK & 0xFFFFFFFF},
    ).first()
    return f"process {row[0]}, since {row[1]}" if row else "it has just ended"
