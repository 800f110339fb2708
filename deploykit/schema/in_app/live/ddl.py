"""Run a block with a limit for each wait and many tries, so that the application never queues behind it for long."""

from __future__ import annotations

import contextlib
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..changes.sql import literal, quote, table_name
from .session import RETRIED, Session, in_search_path, state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..changes.model import Block, Table

__all__ = ["SHORTER", "Blocked", "Limits", "holders", "long_transactions", "perform"]

_FIRST, _LONGEST = 0.05, 2.0
_OLD_SECONDS = 5
SHORTER = 0.25
"""The share of the wait that is spent while another lock is already held."""


@dataclass(frozen=True)
class Limits:
    """Limits in seconds.

    - `lock`: how long one try waits, and so how long others wait behind it. It stays below PostgreSQL's
      deadlock_timeout (1 s by default), so that this side gives up in a deadlock with the application.
    - `total`: all tries of a block together.
    - `statement`: a statement that reads no table.
    - `cancel`: after so long, end the sessions that still hold a lock (None: never).
    """

    lock: float = 0.4
    total: float = 300.0
    statement: float = 30.0
    cancel: float | None = None


class Blocked(Exception):
    """The lock was not granted in the time given; `lines` name its holders."""

    def __init__(self, message: str, lines: Sequence[str]) -> None:
        super().__init__(message)
        self.lines = tuple(lines)


def perform(  # noqa: PLR0913 - by keyword
    session: Session,
    block: Block,
    tables: Sequence[Table],
    *,
    limits: Limits,
    search_path: str,
    before: Sequence[str] = (),
    after: Callable[[float, int], Sequence[str]],
    tell: Callable[[str], None],
) -> None:
    """Run the block once, with the search_path. `after(milliseconds held, tries)` returns statements for the same
    transaction.

    Raises Blocked past the limit, and any error of the database that is not about a lock.
    """
    if block.only_if and not session.value(block.only_if):
        for statement in after(0.0, 0):
            session.run(statement)
        return
    for line in long_transactions(session, tables):
        tell(line)
    started, tries, pause = time.monotonic(), 0, _FIRST
    while True:
        tries += 1
        try:
            if block.alone:
                _alone(session, block, search_path, after, tries)
            else:
                _see_autovacuum_off(session, tables, limits)
                first = (*_other_order(session, block, tables, tries), *before)
                _together(session, block, search_path, first, after, tries, limits, _patience(tables, limits, tries))
        except Exception as error:
            if state_of(error) not in RETRIED:
                raise
            _got_none(session, block, tables, (time.monotonic() - started, tries), limits, tell, error)
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - so that two who wait don't meet again
            pause = min(pause * 1.6, _LONGEST)
        else:
            return


def _other_order(session: Session, block: Block, tables: Sequence[Table], tries: int) -> tuple[str, ...]:
    """Lock the tables beforehand on two of three tries: in reverse order, then in their own order.

    If the application locks them in another order than the block, each try ends in a deadlock with one of its sessions.
    With many sessions that would never end; in the application's own order, the try joins their queue. Both orders are
    tried, since the block's own is not known: a foreign key locks the referring table first.
    """
    if tries % 3 == 1 or block.scans or len(tables) < 2:
        return ()
    there = [
        table
        for table in (reversed(tables) if tries % 3 == 2 else tables)
        if session.value(
            f"SELECT relkind IN ('r', 'p') FROM pg_class WHERE oid = to_regclass({literal(table_name(table))})"
        )
    ]
    return tuple(f"LOCK TABLE {table_name(table)} IN SHARE ROW EXCLUSIVE MODE" for table in there)


def _got_none(  # noqa: PLR0913, PLR0917 - the parts of one try
    session: Session,
    block: Block,
    tables: Sequence[Table],
    spent: tuple[float, int],
    limits: Limits,
    tell: Callable[[str], None],
    error: Exception,
) -> None:
    """Handle a try that got no lock: report the holders, and raise Blocked past the limit.

    `spent` is (seconds, tries).
    """
    waited, tries = spent
    found = holders(session, tables)
    if waited > limits.total:
        raise Blocked(f"no lock in {waited:.0f} s and {tries} tries: {block.title}", found) from error
    if tries in {3, 10} or tries % 50 == 0:
        tell(f"{block.title}: try {tries} got no lock; {'; '.join(found) or 'who held it is gone'}")
    if limits.cancel is not None and waited > limits.cancel:
        _cancel(session, tables, tell)


def _together(  # noqa: PLR0913, PLR0917 - the parts of one try
    session: Session,
    block: Block,
    search_path: str,
    before: Sequence[str],
    after: Callable[[float, int], Sequence[str]],
    tries: int,
    limits: Limits,
    patience: float,
) -> None:
    settings = [f"lock_timeout = '{int(patience * 1000)}ms'"]
    settings.append(in_search_path(search_path))
    settings.append(f"statement_timeout = '{0 if block.scans else int(limits.statement * 1000)}ms'")
    with session.transaction(*settings):
        for statement in before:
            session.run(statement)
        began = time.perf_counter()
        for statement in block.statements:
            session.run(statement)
        for statement in after((time.perf_counter() - began) * 1000, tries):
            session.run(statement)


def _alone(
    session: Session, block: Block, search_path: str, after: Callable[[float, int], Sequence[str]], tries: int
) -> None:
    """Run a statement outside a transaction. It waits without a limit, under a lock that blocks no reader or writer."""
    # RESET would not bring back what env.py has set.
    usual = session.value("SELECT current_setting('search_path')")
    session.run("SET lock_timeout = 0")
    session.run("SET statement_timeout = 0")
    session.run(f"SET {in_search_path(search_path)}")
    began = time.perf_counter()
    try:
        if block.builds is not None:
            _drop_remains(session, *block.builds)
        session.run(block.statements[0])
    except Exception as error:
        # A deadlock or a cancelled wait leaves an invalid index: it goes before the next try.
        if block.builds is not None and state_of(error) in RETRIED:
            _drop_remains(session, *block.builds)
        raise
    finally:
        with contextlib.suppress(Exception):  # the connection may be what failed
            session.run("RESET lock_timeout")
            session.run("RESET statement_timeout")
            session.run(f"SELECT set_config('search_path', {literal(usual)}, false)")
    for statement in after((time.perf_counter() - began) * 1000, tries):
        session.run(statement)


def _drop_remains(session: Session, schema: str, name: str) -> None:
    """Drop the invalid remains of a killed CREATE INDEX CONCURRENTLY or REINDEX (name_ccnew, name_ccnew1 …)."""
    rows = session.rows(
        "SELECT n.nspname, c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace "
        "n ON n.oid = c.relnamespace "
        f"WHERE NOT i.indisvalid AND c.relkind = 'i' AND n.nspname = {literal(schema)} AND (c.relname = "
        f"{literal(name)} "
        f"OR ({literal(name)} LIKE '%\\_ccnew' AND c.relname ~ ('^' || {literal(name)} || '[0-9]*$')))"
    )
    for row in rows:
        session.run(f"DROP INDEX CONCURRENTLY IF EXISTS {quote(row[0])}.{quote(row[1])}")


def _patience(tables: Sequence[Table], limits: Limits, tries: int) -> float:
    """Return how many seconds this try waits for each lock.

    With several tables it may hold one while it waits for the next. So the first tries are short, and a deadlock ends
    soon. Each of the three orders has its turn before they get longer.
    """
    return limits.lock * (1.0 if len(tables) < 2 else min(1.0, SHORTER * ((tries + 2) // 3)))


def _see_autovacuum_off(session: Session, tables: Sequence[Table], limits: Limits) -> None:
    """Wait for an autovacuum, which yields only to a session that waits longer than deadlock_timeout.

    The wait uses a lock that blocks no reader or writer, and holds nothing else. Otherwise a writer that waits for it
    so long would detect a deadlock, and be the one that is ended.
    """
    found = session.rows(
        "SELECT DISTINCT l.relation::regclass::text FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE "
        "l.granted AND a.backend_type = 'autovacuum worker' "
        f"AND l.relation IN ({_oids(tables)}) AND a.query NOT LIKE '%to prevent wraparound%'"
    )
    if not found:
        return
    detected = session.value("SELECT setting::float8 / 1000 FROM pg_settings WHERE name = 'deadlock_timeout'")
    for (name,) in found:
        try:
            with session.transaction(f"lock_timeout = '{int((float(detected) + limits.lock) * 1000)}ms'"):
                session.run(f"LOCK TABLE ONLY {name} IN SHARE UPDATE EXCLUSIVE MODE")
        except Exception as error:
            if state_of(error) not in RETRIED:
                raise


def _oids(tables: Sequence[Table]) -> str:
    return ", ".join(f"to_regclass({literal(table_name(table))})::oid" for table in tables) or "NULL"


def long_transactions(session: Session, tables: Sequence[Table], seconds: int = _OLD_SECONDS) -> list[str]:
    """Describe transactions that hold a lock on the tables for long.

    The statement would wait for them, and all others behind it.
    """
    rows = session.rows(
        "SELECT DISTINCT a.pid, coalesce(nullif(a.application_name, ''), a.usename, '?'), a.state, "
        "extract(epoch FROM now() - a.xact_start)::int "
        "FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.granted AND l.relation IN "
        f"({_oids(tables)}) AND a.pid <> pg_backend_pid() "
        f"AND a.xact_start < now() - interval '{seconds} seconds' ORDER BY 4 DESC LIMIT 3"
    )
    return [
        f"a transaction is open for {row[3]} s on what is to be changed: process {row[0]}, {row[1]} ({row[2]})"
        for row in rows
    ]


def holders(session: Session, tables: Sequence[Table]) -> list[str]:
    """Describe the sessions that hold locks on the tables now."""
    rows = session.rows(
        "SELECT a.pid, coalesce(nullif(a.application_name, ''), a.backend_type), a.state, extract(epoch FROM "
        "now() - a.xact_start)::int, "
        "left(regexp_replace(a.query, '\\s+', ' ', 'g'), 60) "
        "FROM pg_stat_activity a WHERE a.pid <> pg_backend_pid() AND EXISTS (SELECT FROM pg_locks l WHERE "
        f"l.pid = a.pid AND l.granted AND l.relation IN ({_oids(tables)})) "
        "ORDER BY a.xact_start LIMIT 3"
    )
    return [f"process {row[0]}, {row[1]} ({row[2]}, for {row[3]} s): {row[4]}" for row in rows]


def _cancel(session: Session, tables: Sequence[Table], tell: Callable[[str], None]) -> None:
    rows = session.rows(
        "SELECT a.pid, CASE WHEN a.state LIKE 'idle%' THEN pg_terminate_backend(a.pid) ELSE "
        "pg_cancel_backend(a.pid) END FROM pg_stat_activity a "
        "WHERE a.pid <> pg_backend_pid() AND a.backend_type = 'client backend' AND a.xact_start < now() - "
        "interval '1 second' "
        f"AND EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.granted AND l.relation IN ({_oids(tables)}))"
    )
    for row in rows:
        tell(f"ended process {row[0]}, as asked")
