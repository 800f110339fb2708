"""Backfills and comparisons: one pass over the ranges, by one or several workers, that may be killed and resumed.

Where nearly every row of a table is written, a batch is two transactions. The first writes every other row at random
(by a hash of its place), the second writes the rest. PostgreSQL prunes each page in between, so the second finds room
on the same page: heap-only updates, and no new index entries. Measured on a full table: half the growth, and a tenth
less time. See docs/decisions/0006-a-backfill-in-halves.md.
"""

from __future__ import annotations

import contextlib
import json
import queue
import random
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..changes.model import Backfill, Comparison
from ..changes.sql import literal, quote, table_name
from .ddl import SHORTER, Blocked, holders
from .ranges import Key, Range, batch_end, key_of, open_ranges, plan_ranges, predicate, relation_text
from .session import RETRIED, Session, in_search_path, state_of
from .state import SCHEMA, State

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from .throttle import Pace, Throttle

__all__ = ["BatchRunner", "Progress"]

_SMALLEST = 200
_TELL_SECONDS = 2.0
_DENSE = 0.9
_SHOWN = 20
"""The most mismatches that are stored for a range, with their keys."""


@dataclass
class Progress:
    """The progress of one pass, in rows. `total` is PostgreSQL's estimate."""

    title: str
    total: int
    seen: int = 0
    changed: int = 0
    started: float = field(default_factory=time.monotonic)

    def sentence(self) -> str:
        seconds = max(time.monotonic() - self.started, 0.001)
        rate = self.seen / seconds
        share = min(100 * self.seen / self.total, 100.0) if self.total else 100.0
        left = max(self.total - self.seen, 0) / rate if rate else 0.0
        return (
            f"{self.title}: {self.seen:,} of about {self.total:,} rows ({share:.0f} %), {rate:,.0f} rows/s, "
            f"{left:.0f} s left"
        )


class BatchRunner:
    """Runs one backfill or comparison of a change's program, batch by batch."""

    def __init__(  # noqa: PLR0913 - by keyword
        self,
        session: Session,
        *,
        key: str,
        program: str,
        number: int,
        step: Backfill | Comparison,
        pace: Pace,
        throttle: Throttle,
        limits: tuple[float, float],
        search_path: str,
        tell: Callable[[str], None],
        connect: Callable[[], AbstractContextManager[Session]] | None = None,
    ) -> None:
        self.session, self.state = session, State(session)
        self.key, self.program, self.number, self.step = key, program, number, step
        self.pace, self.throttle, self.tell, self.connect = pace, throttle, tell, connect
        self.lock_seconds, self.total_seconds = limits
        self.search_path = in_search_path(search_path)
        self.progress = Progress(step.title, 0)
        self._keys: dict[str, Key] = {}
        self._halved: dict[str, bool] = {}
        self._mutex = threading.Lock()
        self._told = time.monotonic()
        self._failed: list[BaseException] = []

    def run(self) -> Progress:
        """Process the ranges that are not done.

        Raises Blocked when a row stays locked, and any other error of the database.
        """
        where = f"key = {literal(self.key)} AND program = {literal(self.program)} AND number = {self.number}"
        if not self.session.value(f"SELECT EXISTS (SELECT FROM {SCHEMA}.range WHERE {where})"):
            self._plan()
        self.progress.total = int(self.session.value(f"SELECT total FROM {SCHEMA}.step WHERE {where}") or 0)
        before = self.session.rows(
            f"SELECT coalesce(sum(seen), 0), coalesce(sum(rows), 0) FROM {SCHEMA}.range WHERE {where}"
        )[0]
        self.progress.seen, self.progress.changed = (int(value) for value in before)
        parts: queue.SimpleQueue[tuple[Range, float]] = queue.SimpleQueue()
        ranges = open_ranges(self.session, self.key, self.program, self.number)
        for part in ranges:
            if str(part.table) not in self._keys:
                # Types are written as the batches will read them.
                with self.session.transaction(self.search_path):
                    self._keys[str(part.table)] = key_of(self.session, part.table)
                self._halved[str(part.table)] = self._in_halves(part)
            parts.put((part, 0.0))
        more = min(self.pace.workers, max(len(ranges), 1)) - 1 if self.connect is not None else 0
        threads = [
            threading.Thread(target=self._worker, args=(parts,), name=f"backfill {n}", daemon=True)
            for n in range(1, more + 1)
        ]
        for thread in threads:
            thread.start()
        try:
            self._work(self.session, parts)
        except BaseException as error:
            self._failed.append(error)  # the others stop, too
            raise
        finally:
            for thread in threads:
                thread.join()
        if self._failed:
            raise self._failed[0]
        self.tell(self.progress.sentence())
        return self.progress

    def _plan(self) -> None:
        planned = plan_ranges(self.session, self.step.table)
        total = self.session.value(
            "SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint FROM "
            f"pg_partition_tree(to_regclass({literal(table_name(self.step.table))})) t "
            "JOIN pg_class c ON c.oid = t.relid WHERE t.isleaf"
        )
        total = total or self.session.value(
            "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = "
            f"to_regclass({literal(table_name(self.step.table))})"
        )
        with self.session.transaction():
            if isinstance(self.step, Comparison):
                self.session.run(
                    f"DELETE FROM {SCHEMA}.mismatch WHERE key = {literal(self.key)} AND number = {self.number}"
                )
            for part, (leaf, lower, upper) in enumerate(planned):
                values = (self.key, self.program, self.number, part, relation_text(leaf), lower, upper)
                self.session.run(
                    f"INSERT INTO {SCHEMA}.range (key, program, number, part, relation, lower, upper) VALUES "
                    f"({', '.join(map(literal, values))})"
                )
            self.session.run(
                f"UPDATE {SCHEMA}.step SET total = {int(total or 0)} "
                f"WHERE key = {literal(self.key)} AND program = {literal(self.program)} AND number = {self.number}"
            )

    def _worker(self, parts: queue.SimpleQueue[tuple[Range, float]]) -> None:
        """Run a further worker on its own connection. If none can be opened, the others do its part."""
        assert self.connect is not None  # noqa: S101  # nosec B101 - `run` asked
        from sqlalchemy.exc import DBAPIError

        try:
            with contextlib.ExitStack() as stack:
                try:
                    session = stack.enter_context(self.connect())
                except (DBAPIError, OSError) as error:
                    reason = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
                    self.tell(f"{self.step.title}: one worker less, since it can't connect: {reason[-1]}")
                    return
                self._work(session, parts)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self._failed.append(error)

    def _work(self, session: Session, parts: queue.SimpleQueue[tuple[Range, float]]) -> None:
        """Process ranges until none is left. One with a locked row goes to the end of the queue."""
        state, size, stuck, dense = State(session), 1000, 0.0, False
        while not self._failed:
            try:
                part, since = parts.get_nowait()
            except queue.Empty:
                return
            after = part.cursor or part.lower
            try:
                while not self._failed:
                    began = time.monotonic()
                    end, last = batch_end(session, part, self._keys[str(part.table)], after, size, dense=dense)
                    first = 0
                    if dense and self._halved[str(part.table)]:
                        first = self._half(session, part, after, end)
                        self.throttle.rest(session, state, time.monotonic() - began)
                        began = time.monotonic()
                    changed = self._batch(session, part, after, end, size, last=last)
                    worked = time.monotonic() - began
                    changed += first
                    after, stuck = end, 0.0
                    if not last:  # which is not full, and says nothing
                        dense = changed >= size * _DENSE
                    self._note(size if not last else changed, changed)
                    size = int(
                        min(max(size * min(max(self.pace.batch / worked, 0.5), 2.0), _SMALLEST), self.pace.largest)
                    )
                    since = 0.0
                    if last:
                        break
                    self.throttle.rest(session, state, worked)
            except Exception as error:
                if state_of(error) not in RETRIED:
                    raise
                since = since or time.monotonic()
                stuck = stuck or time.monotonic()
                found = holders(session, [part.table])
                if time.monotonic() - since > self.total_seconds:
                    raise Blocked(f"{self.step.title}: a row stays locked", found) from error
                self.tell(f"{self.step.title}: a row is locked, trying again; {'; '.join(found)}")
                size = max(size // 4, 1)
                parts.put((replace(part, cursor=after), since))
                time.sleep(random.uniform(0.05, 0.3))  # noqa: S311 - jitter

    def _note(self, seen: int, changed: int) -> None:
        with self._mutex:
            self.progress.seen += seen
            self.progress.changed += changed
            if time.monotonic() - self._told > _TELL_SECONDS:
                self._told = time.monotonic()
                self.tell(self.progress.sentence())

    def _in_halves(self, part: Range) -> bool:
        """Whether two halves pay off: no index has the written columns, and a written row needs no second write."""
        step = self.step
        if not isinstance(step, Backfill) or step.statement or step.needing == "TRUE":
            return False
        names = ", ".join(literal(name) for name, _ in step.assignments)
        return not self.session.value(
            "SELECT EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid "
            f"WHERE i.indrelid = {literal(table_name(part.table))}::regclass AND a.attname IN ({names}) AND "
            "(a.attnum = ANY (i.indkey) "
            "OR EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid "
            "AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum)))"
        )

    def _half(self, session: Session, part: Range, after: tuple[str, ...], end: tuple[str, ...]) -> int:
        """Write every other row of the batch and leave the cursor, since the rest follows. Returns the rows written."""
        assert isinstance(self.step, Backfill)  # noqa: S101  # nosec B101 - for the type checker
        rows = f"{predicate(self._keys[str(part.table)], after, end)} AND hashtid(source.ctid) & 1 = 0"
        return self._write(session, self.step, part, rows, lambda written: f"rows = rows + {written}")

    def _batch(
        self, session: Session, part: Range, after: tuple[str, ...], end: tuple[str, ...], size: int, *, last: bool
    ) -> int:
        """Process the rows of the batch and move the cursor in the same transaction.

        Returns the rows written or compared.
        """
        rows = predicate(self._keys[str(part.table)], after, end)
        cursor = f"cursor = {literal(_json(end))}, done = {'TRUE' if last else 'FALSE'}"
        if isinstance(self.step, Comparison):
            return self._compare(session, part, rows, cursor, self._where(part))

        def counted(written: int) -> str:
            return f"{cursor}, rows = rows + {written}, seen = seen + {written if last else size}"

        return self._write(session, self.step, part, rows, counted)

    def _where(self, part: Range) -> str:
        return (
            f"key = {literal(self.key)} AND program = {literal(self.program)} AND number = {self.number} AND part "
            f"= {part.part}"
        )

    def _write(self, session: Session, step: Backfill, part: Range, rows: str, counted: Callable[[int], str]) -> int:
        """Write the rows, and the `counted` figures of them, in one transaction."""
        # The row's holder may wait for what `before` has locked.
        patience = self.lock_seconds * (SHORTER if step.before else 1.0)
        began = (
            "BEGIN",
            f"SET LOCAL lock_timeout = '{int(patience * 1000)}ms'",
            f"SET LOCAL {self.search_path}",
            f"SET LOCAL deploykit.sync = {literal(step.key)}",
            # A crash of the server may revert the last batches, rows and cursor alike, so no commit waits for the disk.
            "SET LOCAL synchronous_commit = off",
            *((step.before,) if step.before else ()),
        )
        with session.ended_by_hand():
            session.run_all(began)
            written = max(session.run(self._statement(step, part, rows)), 0)
            session.run_all((f"UPDATE {SCHEMA}.range SET {counted(written)} WHERE {self._where(part)}", "COMMIT"))
        return written

    def _statement(self, step: Backfill, part: Range, rows: str) -> str:
        if step.statement:
            # The placeholder's table is the partition that the range is of.
            return step.statement.replace(
                f"{table_name(step.table)} source", f"{table_name(part.table)} source"
            ).replace("{batch}", rows)
        sets = ", ".join(f"{quote(name)} = {expression}" for name, expression in step.assignments)
        return f"UPDATE {table_name(part.table)} source SET {sets} WHERE {rows} AND ({step.needing})"

    def _compare(self, session: Session, part: Range, rows: str, cursor: str, where: str) -> int:
        step = self.step
        assert isinstance(step, Comparison)  # noqa: S101  # nosec B101 - for the type checker
        source = f"{table_name(part.table)} source"
        with session.transaction(self.search_path):
            seen, bad, left, right = session.rows(
                f"SELECT count(*), count(*) FILTER (WHERE ({step.agree}) IS NOT TRUE), "
                f"coalesce(sum(hashtextextended({step.left}, 0)), 0)::text, "
                f"coalesce(sum(hashtextextended({step.right}, 0)), 0)::text "
                f"FROM {source} WHERE {rows}"
            )[0]
            if bad:
                shown = self._keys[str(part.table)].text()
                session.run(
                    f"INSERT INTO {SCHEMA}.mismatch SELECT {literal(self.key)}, {self.number}, {shown}, "
                    f"{step.left}, {step.right} "
                    f"FROM {source} WHERE ({rows}) AND ({step.agree}) IS NOT TRUE LIMIT {_SHOWN}"
                )
            session.run(
                f"UPDATE {SCHEMA}.range SET {cursor}, seen = seen + {seen}, bad = bad + {bad}, checksums = "
                f"{literal(f'{left} {right}')} WHERE {where}"
            )
        return int(seen)


def _json(values: tuple[str, ...]) -> str:
    return json.dumps(list(values))
