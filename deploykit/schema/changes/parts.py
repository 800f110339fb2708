"""The words a declared change is spelled in: blocks of SQL by phase, what to backfill, what to compare.

The parts are values: `operations` make them, the runner in `deploykit.schema.live` performs them, `db.plan` prints them. Nothing
here touches a database.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["SYNC_OFF", "SYNC_SETTING", "Backfill", "Block", "Comparison", "Index", "Phase", "Steps", "Table"]

# A connection whose setting says so is not answered by the sync triggers: the backfill writes both sides itself.
SYNC_SETTING = "deploykit.sync"
SYNC_OFF = "off"


class Phase(StrEnum):
    """When a block may run: before any new code (`expand`), or when no old code can come back (`contract`)."""

    EXPAND = "expand"
    CONTRACT = "contract"


@dataclass(frozen=True)
class Table:
    """A table's name as the catalog has it, unquoted. No schema: the first one of the search path."""

    name: str
    schema: str | None = None


@dataclass(frozen=True)
class Index:
    """An index that a statement outside a transaction builds, so that its invalid remains are found and dropped first."""

    name: str
    schema: str | None = None


@dataclass(frozen=True)
class Block:
    """Statements that appear together or not at all.

    `alone` is for the one statement that PostgreSQL refuses in a transaction (CREATE INDEX CONCURRENTLY, DETACH … CONCURRENTLY);
    such a block has exactly one. Each statement must be safe to run again (IF NOT EXISTS, CREATE OR REPLACE), since a process
    may be killed after it was committed and before that was written down. `scans` says that a statement reads the whole
    table under a weak lock (VALIDATE): it gets no statement_timeout.
    """

    statements: tuple[str, ...]
    alone: bool = False
    builds: Index | None = None
    scans: bool = False
    title: str = ""


@dataclass(frozen=True)
class Backfill:
    """Rows to be brought up to date: `UPDATE table SET column = expression … WHERE needing`, in batches.

    `assignments` are (column's name, SQL expression over the row's own columns). `needing` is the SQL predicate of rows that still
    need it ("TRUE" for all); it keeps a repeated batch from writing twice. For another table's rows to be made (split table),
    `statement` is used instead: an INSERT … SELECT … ON CONFLICT with the placeholder `{batch}` where the predicate for
    the batch's key range goes, over the alias `source`.
    """

    table: Table
    assignments: tuple[tuple[str, str], ...] = ()
    needing: str = "TRUE"
    statement: str = ""


@dataclass(frozen=True)
class Comparison:
    """What must be equal, row by row, before anything is contracted.

    `left` and `right` are SQL expressions over one row of `table` (alias `source`); they are compared by IS NOT DISTINCT FROM, and
    their checksums by key range. `right` may be a scalar sub-query on another table. `only` limits which rows count.
    """

    table: Table
    left: str
    right: str
    only: str = "TRUE"


@dataclass(frozen=True)
class Steps:
    """What one declared change comes to on one server. Any part may be empty.

    expand:    everything additive, with the two-way sync, while the old version runs
    backfills: after expand; the sync covers what is written meanwhile
    settle:    additive too, but only possible once the data is there (VALIDATE, indexes on the new column)
    compare:   what is verified
    contract:  what ends the old shape
    undo:      the way back from any point before contract, all of it repeatable
    reopen:    the way back after contract, where there is one: makes the old shape again, synced and empty
    refill:    the backfills of the way back
    irreversible: why there is no way back after contract (empty when there is one)
    """

    expand: tuple[Block, ...] = ()
    backfills: tuple[Backfill, ...] = ()
    settle: tuple[Block, ...] = ()
    compare: tuple[Comparison, ...] = ()
    contract: tuple[Block, ...] = ()
    undo: tuple[Block, ...] = ()
    reopen: tuple[Block, ...] = ()
    refill: tuple[Backfill, ...] = ()
    irreversible: str = ""
    tables: tuple[Table, ...] = field(default=())
