"""The programs of a change, step by step. Each step is noted before and after, so a killed run can be resumed."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..changes.model import Backfill, Block, Change, Comparison, Refused, Step
from ..changes.planning import plan
from ..changes.schema_reader import SchemaReader
from ..changes.sql import literal
from ..changes.uses import meeting
from .backfill import BatchRunner
from .creators import named_in, reject_other_creators, search_path_of
from .ddl import Limits, perform
from .gate import OVERRIDE, Gate, is_empty, is_fresh, knowing
from .open_changes import open_dependents, open_meetings, reject_meeting
from .state import SCHEMA, Known, State, checksum
from .throttle import Pace, Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from .session import Session

__all__ = ["RUN", "Mismatches", "Runner", "only_one"]

RUN = uuid.uuid4().hex
"""An id of this process. It may contract at once what it expanded itself, in a database that is being created."""
_KEY = int.from_bytes(b"dkchange", "big") >> 1
_FROM = {
    "expand": {"planned", "expanding"},
    "fill": {"expanded", "filling"},
    "contract": {"filled", "contracting"},
    "undo": {"planned", "expanding", "expanded", "filling", "filled", "undoing"},
    "reopen": {"contracted", "reopening"},
}
_DURING = {
    "expand": "expanding",
    "fill": "filling",
    "contract": "contracting",
    "undo": "undoing",
    "reopen": "reopening",
}
_AFTER = {"expand": "expanded", "fill": "filled", "contract": "contracted", "undo": "undone", "reopen": "filled"}
_NEXT = {
    "planned": "invoke db.expand",
    "expanding": "invoke db.expand",
    "expanded": "invoke db.backfill",
    "filling": "invoke db.backfill",
    "filled": "invoke db.contract",
    "contracting": "invoke db.contract",
    "contracted": "nothing: it is done",
    "undoing": "invoke db.undo",
    "undone": "invoke db.expand",
    "reopening": "invoke db.undo",
}


class Mismatches(Refused):
    """Rows that don't agree; `rows` are (key, old, new) of the first of them."""

    def __init__(self, message: str, rows: Sequence[Sequence[Any]]) -> None:
        super().__init__(message, "fix these rows, or the declaration's expressions, then: invoke db.verify")
        self.rows = [tuple(row) for row in rows]


@dataclass
class Runner:
    """Runs the programs of changes on one database.

    `connect` opens further sessions for several workers; `tell` gets progress messages.
    """

    session: Session
    tell: Callable[[str], None]
    limits: Limits = field(default_factory=Limits)
    pace: Pace = field(default_factory=Pace)
    connect: Callable[[], AbstractContextManager[Session]] | None = None
    before_step: Callable[[str, str, int], None] | None = None

    def __post_init__(self) -> None:
        self.state = State(self.session)

    def declare(self, change: Change, revision: str = "") -> Known:
        """Plan and expand the change, unless that is done. Raises Refused when another declaration has its name."""
        reject_other_creators(self.session, [*search_path_of(self.session), *filter(None, [change.schema])])
        self.state.prepare()
        known = self.state.get(change.key)
        if known is not None and known.phase not in {"planned", "undone"}:
            if known.checksum != checksum(change):
                raise Refused(
                    f"the change {change.key} was declared otherwise when it was expanded, so its revision was "
                    "edited since",
                    "undo it by: invoke db.undo, or give the new declaration another name: change='…'",
                )
            return known
        reader = SchemaReader(self.session)
        steps = plan(change, reader)
        for other, _ in open_meetings(change.key, steps.uses, self.state.all()):
            # Revisions of years in a database that is being made: each contract was run before the next change.
            if other.phase == "filled" and other.steps.contract and self._is_being_made(other, RUN):
                self.contract(other.key)
                reader = SchemaReader(self.session)
                steps = plan(change, reader)
        reject_meeting(change.key, open_meetings(change.key, steps.uses, self.state.all()))
        self.state.declare(change, steps, reader.search_path, revision, RUN)
        found = self.state.get(change.key)
        assert found is not None  # noqa: S101  # nosec B101 - it was written a moment ago
        return found

    def expand(self, change: Change, revision: str = "") -> Known:
        known = self.declare(change, revision)
        if known.phase in {"planned", "expanding"}:
            self.perform(known, "expand")
        return self.known(change.key)

    def begin(self, change: Change, revision: str = "") -> Known:
        """Expand; if there are no rows yet, also run all later steps: indexes and constraints."""
        known = self.expand(change, revision)
        return self.fill(change.key) if known.phase == "expanded" and is_empty(self.session, known) else known

    def known(self, key: str) -> Known:
        known = self.state.get(key) if self.state.exists else None
        if known is None:
            names = ", ".join(item.key for item in self.state.all()) or "none"
            raise Refused(f"this database knows no change {key}", f"it knows: {names}")
        schemas = [*named_in(known.search_path), *(table.schema for table in known.steps.tables)]
        reject_other_creators(self.session, schemas)
        return known

    def fill(self, key: str) -> Known:
        """Fill the rows, run the steps that need them, then compare. Raises Mismatches when rows don't agree."""
        known = self.known(key)
        if known.phase in {"expanded", "filling"}:
            self.perform(known, "fill")
            known = self.known(key)
        if known.phase == "filled" and known.times["verified_at"] is None:
            self.verify(key)
        return self.known(key)

    def verify(self, key: str) -> None:
        """Compare all rows again. Raises Mismatches when some don't agree."""
        known = self.known(key)
        if known.phase != "filled":
            raise Refused(f"{key} is {known.phase}, so its rows can't be compared", _NEXT[known.phase])
        self.session.run(self.state.verified_sql(key, held=False))
        if bad := self._compare(known):
            raise self._mismatches(key, bad)
        self.session.run(self.state.verified_sql(key, held=True))

    def _compare(self, known: Known, *, resume: bool = False) -> int:
        """Compare all rows and return how many don't agree. `resume` goes on with what a killed run has compared."""
        steps = [(number, step) for number, step in enumerate(known.steps.fill) if isinstance(step, Comparison)]
        if not (resume and self.state.half_compared(known.key, len(steps))):
            for statement in self.state.forget_steps(known.key, "verify"):
                self.session.run(statement)
        for number, step in steps:
            self._walk(known, "verify", number, step)
        return self.state.mismatched(known.key)

    def _mismatches(self, key: str, bad: int) -> Mismatches:
        rows = self.session.rows(
            f"SELECT row_key, old, new FROM {SCHEMA}.mismatch WHERE key = {literal(key)} ORDER BY number, "
            "row_key LIMIT 20"
        )
        return Mismatches(f"{bad:,} rows of {key} don't agree", rows)

    def contract(self, key: str, override: str = "") -> Known:
        """Drop the old shape. Raises Refused with every reason against it."""
        known = self.known(key)
        if known.phase == "contracted":
            return known
        if known.phase == "expanded" and self._empty(known):
            self.fill(key)
            known = self.known(key)
        if known.phase != "contracting":
            against = Gate(self.session, self.state).open(known, run=RUN, override=override)
            if against:
                raise Refused(
                    f"{key} may not be contracted: {against[0]}" + "".join(f"\n  and: {item}" for item in against[1:]),
                    "wait for that, or say why not: invoke db.contract --override 'reason'",
                )
        if known.phase == "filled" or "done" not in self.state.done(key, "contract").values():
            self._compare_again(known)
            self.state.event(key, "contract", override)
        self.perform(self.known(key), "contract")
        return self.known(key)

    def _compare_again(self, known: Known) -> None:
        """Compare all rows before anything is dropped: much may have been written since they were filled.

        Raises Refused with the keys of rows that differ. No override lets these through.
        """
        bad = self._compare(known, resume=True)
        if not bad:
            self.session.run(self.state.verified_sql(known.key, held=True))
            return
        self.session.run(self.state.differs_sql(known.key))
        rows = self.session.rows(
            f"SELECT number, row_key FROM {SCHEMA}.mismatch WHERE key = {literal(known.key)} ORDER BY 1, 2 LIMIT 20"
        )
        shown = ", ".join(f"{known.steps.fill[number].table} {key}" for number, key in rows)
        more = f" and {bad - len(rows):,} more" if bad > len(rows) else ""
        raise Refused(
            f"rows of {known.key} that differ: {bad:,} ({shown}{more}); nothing was dropped",
            "invoke db.verify shows their values; fix them, then: invoke db.contract",
        )

    def _empty(self, known: Known) -> bool:
        """Whether filling takes no time: there is nothing to fill, or there are no rows."""
        return not known.steps.fill or is_fresh(self.session, known, RUN)

    def undo(self, key: str, reason: str = "", override: str = "") -> Known:
        """Return to the old shape from any point; after contract by `reopen` first, where that is possible.

        The new shape stays while a release that reads it runs. Then it raises Refused, unless `override` has a reason.
        After a contract the old shape is already restored by then, so that the release can be rolled back.
        """
        known = self.known(key)
        if known.phase == "undone":
            return known
        if known.phase == "contracting":
            raise Refused(f"{key} is being contracted, which has to be finished first", "invoke db.contract")
        if known.phase in {"contracted", "reopening"}:
            self.reopen(key, reason)
            known = self.known(key)
        override = override or os.environ.get(OVERRIDE, "").strip()
        if not override and (readers := knowing(self.session, key)):
            raise Refused(
                f"the new shape of {key} stays, since a version that reads it still runs: {', '.join(readers)}",
                "roll back first (the old shape is there): invoke rollback; then run it again, or give a "
                "reason: --override '…'",
            )
        reject_meeting(key, open_dependents(known, self.state.all()))
        self.state.event(key, "undo", f"{reason} {override}".strip())
        self.perform(known, "undo")
        return self.known(key)

    def reopen(self, key: str, reason: str = "") -> Known:
        known = self.known(key)
        if known.steps.lost and not known.steps.reopen:
            raise Refused(
                f"{key} can't come back: it would lack {known.steps.lost}",
                "restore it from a backup taken before its contract",
            )
        if known.phase == "contracted":
            self._reject_later(known)
        if known.phase == "contracted" and known.steps.lost:
            self.tell(f"{key} comes back without {known.steps.lost}")
        self.state.event(key, "reopen", reason)
        self.perform(known, "reopen")
        return self.known(key)

    def _is_being_made(self, known: Known, run: str) -> bool:
        """Whether nothing is in the database yet; with a reason in the environment, others may be connected."""
        return is_fresh(self.session, known, run, alone=not os.environ.get(OVERRIDE, "").strip())

    def _reject_later(self, known: Known) -> None:
        """Raise Refused when a later change took what this one has made, unless nothing is in the database yet."""
        others = self.state.all()
        later = [
            (other, use)
            for other in others
            if other.phase == "contracted"
            and other.times["expanded_at"] > known.times["expanded_at"]
            and (use := meeting(known.steps.uses, other.steps.uses)) is not None
        ]
        found = [*open_meetings(known.key, known.steps.uses, others), *later]
        for other, _ in found:
            if other.phase == "filled" and self._is_being_made(other, other.run):
                self.undo(other.key)
        reject_meeting(known.key, [(other, use) for other, use in found if self.known(other.key).phase != "undone"])

    def perform(self, known: Known, program: str) -> None:
        """Begin the program, or resume it."""
        if known.phase not in _FROM[program]:
            raise Refused(f"{known.key} is {known.phase}: {program} does not come after that", _NEXT[known.phase])
        steps = known.steps.program(program)
        if known.phase != _DURING[program]:
            with self.session.transaction():
                for statement in self.state.forget_steps(known.key, program):
                    self.session.run(statement)
                self.session.run(self.state.phase_sql(known.key, _DURING[program]))
        done = self.state.done(known.key, program)
        last = len(steps) - 1
        finish = self.state.phase_sql(known.key, _AFTER[program])
        for number, step in enumerate(steps):
            if done.get(number) == "done":
                continue
            if self.before_step is not None:
                self.before_step(known.key, program, number)
            self._step(known, program, number, step, finish if number == last else "")
        if self.state.get(known.key).phase != _AFTER[program]:  # type: ignore[union-attr]  # it is there
            self.session.run(finish)

    def _step(self, known: Known, program: str, number: int, step: Step, finish: str) -> None:
        if isinstance(step, Comparison):
            # Compared when all is there; see `fill`.
            self.session.run(self.state.begin_sql(known.key, program, number))
            self.session.run(self.state.end_sql(known.key, program, number))
            return
        if isinstance(step, Backfill):
            self._walk(known, program, number, step)
            return
        self._block(known, program, number, step, finish)

    def _block(self, known: Known, program: str, number: int, block: Block, finish: str) -> None:
        begin = self.state.begin_sql(known.key, program, number)

        def after(held: float, tries: int) -> list[str]:
            end = self.state.end_sql(known.key, program, number, held_ms=round(held, 2), attempts=tries)
            return [end, finish] if finish else [end]

        # Written down first where it can't be part of the block's own transaction.
        if block.alone or block.only_if:
            self.session.run(begin)
        began = time.monotonic()
        tables = known.steps.tables
        perform(
            self.session,
            block,
            tables,
            limits=self.limits,
            search_path=known.search_path,
            before=() if block.alone or block.only_if else (begin,),
            after=after,
            tell=self.tell,
        )
        self.tell(f"{known.key}: {block.title} ({time.monotonic() - began:.2f} s)")

    def _walk(self, known: Known, program: str, number: int, step: Backfill | Comparison) -> None:
        self.session.run(self.state.begin_sql(known.key, program, number))
        walk = BatchRunner(
            self.session,
            key=known.key,
            program=program,
            number=number,
            step=step,
            pace=self.pace,
            throttle=Throttle(self.pace, self.tell),
            limits=(self.limits.lock, self.limits.total),
            search_path=known.search_path,
            tell=lambda line: self.tell(f"{known.key}: {line}"),
            connect=self.connect,
        )
        progress = walk.run()
        self.session.run(
            self.state.end_sql(known.key, program, number, rows=progress.changed, note=progress.sentence())
        )


@contextlib.contextmanager
def only_one(session: Session, wait: float, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock that admits one process at a time to the changes of a database. Raises Refused past `wait` seconds.

    The lock is the session's, outside any transaction: an open one would hold a snapshot that CREATE INDEX CONCURRENTLY
    waits for. A killed process keeps it until its last statement has ended.
    """
    deadline, reported = time.monotonic() + wait, False
    while not session.value(f"SELECT pg_try_advisory_lock({_KEY})"):
        if time.monotonic() > deadline:
            raise Refused(
                "another process works on the changes of this database",
                "wait until it has ended: invoke db.status shows how far it is",
            )
        if not reported:
            tell("another process works on the changes of this database: waiting")
            reported = True
        time.sleep(0.1)
    try:
        yield
    finally:
        with contextlib.suppress(Exception):  # the connection may be gone, and the lock with it
            session.run(f"SELECT pg_advisory_unlock({_KEY})")
