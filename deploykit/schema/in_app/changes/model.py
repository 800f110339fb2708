"""The model of a declared change: blocks of SQL, backfills, comparisons, and the programs made of them.

They are values: `operations` make them, `live` performs them, `db.plan` prints them. At expand a change's programs are
stored as JSON in the application's database. So undo and contract do what was planned then, whatever the kit's version.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "PROGRAMS",
    "SYNC_SETTING",
    "Backfill",
    "Block",
    "Change",
    "Comparison",
    "Refused",
    "Step",
    "Steps",
    "Table",
    "Use",
    "steps_from_json",
    "steps_to_json",
]

SYNC_SETTING = "deploykit.sync"
"""Setting with a change's key: that change's triggers then ignore the session. The backfill writes both sides itself.
"""
SHAPE_SETTING = "deploykit.shape"
"""Setting with the keys of the changes whose new shape a session writes, each between commas.

With it triggers know what they otherwise infer.
"""
PROGRAMS = ("expand", "fill", "contract", "undo", "reopen")


class Refused(Exception):
    """A change can't be made this way; `next_step` says what to write instead."""

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.next_step = next_step


@dataclass(frozen=True)
class Table:
    """A table's name and schema as the catalog has them, unquoted."""

    name: str
    schema: str

    def __str__(self) -> str:
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Use:
    """What a change does to a column; `*` stands for every column of the table.

    - `drop`: it goes at contract, or gets another name.
    - `add`: the change makes it.
    - `sync`: triggers of the change read or write it.
    - `default`, `null`: the change sets its default, or whether it may be NULL.
    - `object`: the change makes or drops an index or a constraint on it.
    """

    table: Table
    column: str
    how: str


@dataclass(frozen=True)
class Block:
    """Statements that take effect together or not at all.

    - `alone` marks a statement that PostgreSQL refuses in a transaction (CREATE INDEX CONCURRENTLY, DETACH …
      CONCURRENTLY). Such a block has exactly one statement. It must be repeatable: a process may be killed after its
      commit, before the ledger notes it.
    - `builds` is the index ([schema, name]) whose invalid remains are dropped first.
    - `scans`: a statement reads the whole table under a weak lock (VALIDATE), so it gets no statement_timeout.
    - `only_if` is a query with one truth value; when it is false, the block is already done.
    """

    statements: tuple[str, ...]
    title: str = ""
    alone: bool = False
    builds: tuple[str, str] | None = None
    scans: bool = False
    only_if: str = ""


@dataclass(frozen=True)
class Backfill:
    """Rows to update in batches: `UPDATE table SET column = expression … WHERE needing`.

    - `assignments` are (column, SQL over the row's own columns).
    - `needing` is the SQL predicate of rows that still need it.
    - `key` is the change whose triggers stay silent; empty: they fire.
    - `statement` replaces the UPDATE when rows of another table are written. It has `{batch}` in place of the batch's
      predicate, on the table under the alias `source`.
    - `before` runs first in each batch.
    """

    table: Table
    assignments: tuple[tuple[str, str], ...] = ()
    needing: str = "TRUE"
    key: str = ""
    statement: str = ""
    before: str = ""
    title: str = ""


@dataclass(frozen=True)
class Comparison:
    """What must hold in each row before contract.

    `agree` is an SQL predicate over one row of `table` (alias `source`). `left` and `right` are shown for rows where it
    is not true, and their checksums are kept by range.
    """

    table: Table
    agree: str
    left: str
    right: str
    title: str = ""


Step = Block | Backfill | Comparison


@dataclass(frozen=True)
class Steps:
    """The programs of one declared change on one server. Any of them may be empty.

    - `expand`: additive, with the two-way sync, while the old version runs.
    - `fill`: the rows, then what needs them (VALIDATE, indexes), then the comparison.
    - `contract`: drops the old shape.
    - `undo`: the way back from any point before contract.
    - `reopen`: the way back after contract: restores the old shape, in sync and filled.
    - `lost`: what no way back restores after contract (empty: nothing is lost).
    - `uses`: what the programs do to which columns.
    """

    expand: tuple[Step, ...] = ()
    fill: tuple[Step, ...] = ()
    contract: tuple[Step, ...] = ()
    undo: tuple[Step, ...] = ()
    reopen: tuple[Step, ...] = ()
    lost: str = ""
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    uses: tuple[Use, ...] = ()

    def program(self, name: str) -> tuple[Step, ...]:
        found: tuple[Step, ...] = getattr(self, name)
        return found

    def comparisons(self) -> Iterator[Comparison]:
        return (step for step in self.fill if isinstance(step, Comparison))


@dataclass(frozen=True)
class Change:
    """A declaration. `options` are the arguments of its operation, as plain JSON values.

    Without a `schema` the table is looked up at expand as the connection does it, by its search_path.
    """

    key: str
    kind: str
    table: str
    schema: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Change:
        return cls(**json.loads(text))


_KINDS: dict[str, type[Any]] = {"block": Block, "backfill": Backfill, "comparison": Comparison}


def steps_to_json(steps: Steps) -> str:
    def one(step: Step) -> dict[str, Any]:
        return {"is": type(step).__name__.lower(), **dataclasses.asdict(step)}

    return json.dumps(
        {
            **{name: [one(step) for step in steps.program(name)] for name in PROGRAMS},
            "lost": steps.lost,
            "tables": [dataclasses.asdict(table) for table in steps.tables],
            "notes": list(steps.notes),
            "uses": [dataclasses.asdict(use) for use in steps.uses],
        },
        sort_keys=True,
    )


def steps_from_json(text: str) -> Steps:
    value = json.loads(text)

    def one(item: dict[str, Any]) -> Step:
        kind = _KINDS[item.pop("is")]
        for name, entry in item.items():
            if name == "table":
                item[name] = Table(**entry)
            elif isinstance(entry, list):
                item[name] = tuple(tuple(inner) if isinstance(inner, list) else inner for inner in entry)
        made: Step = kind(**item)
        return made

    return Steps(
        **{name: tuple(one(item) for item in value[name]) for name in PROGRAMS},
        lost=value["lost"],
        tables=tuple(Table(**item) for item in value["tables"]),
        notes=tuple(value["notes"]),
        uses=tuple(Use(**{**item, "table": Table(**item["table"])}) for item in value["uses"]),
    )
