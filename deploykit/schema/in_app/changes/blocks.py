"""Blocks shared by several operations: columns, constraints validated later, indexes built without blocking writers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .model import Backfill, Block, Refused, Step, Table
from .sql import literal, name_for, quote, table_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .catalog import Column, Relation, Statistics

__all__ = [
    "DOLLAR",
    "alter",
    "build_index",
    "comment",
    "drop_index",
    "grant",
    "has_constraint",
    "make_statistics",
    "not_null",
    "settings",
    "unless",
    "use_index",
    "validated",
]

DOLLAR = "$deploykit$"
"""Quotes of function bodies. An expression of the user's that contains them is refused."""


def alter(table: Table, *actions: str) -> str:
    return f"ALTER TABLE {table_name(table)} {', '.join(actions)}"


def unless(query: str, statement: str) -> str:
    """Return SQL that runs the statement only if the query finds nothing."""
    return f"DO {DOLLAR} BEGIN IF NOT EXISTS ({query}) THEN {statement}; END IF; END {DOLLAR}"


def has_constraint(table: Table, name: str) -> str:
    return (
        f"SELECT FROM pg_constraint WHERE conrelid = {literal(table_name(table))}::regclass AND conname = "
        f"{literal(name)}"
    )


def validated(table: Table, name: str, definition: str, *, what: str = "") -> tuple[Block, Block]:
    """Add a constraint in two transactions: the first reads no row, the second reads all and blocks no writer."""
    what = what or name
    add = unless(has_constraint(table, name), alter(table, f"ADD CONSTRAINT {quote(name)} {definition} NOT VALID"))
    return (
        Block((add,), title=f"add {what}, not yet validated"),
        Block((alter(table, f"VALIDATE CONSTRAINT {quote(name)}"),), title=f"validate {what}", scans=True),
    )


def not_null(table: Table, column: str) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    """Return the steps that prove the column has no NULL, and the statements that rely on it and read no row."""
    name = name_for("dk", table.name, column, "not_null")
    steps = validated(table, name, f"CHECK ({quote(column)} IS NOT NULL)", what=f"{column} IS NOT NULL")
    # PostgreSQL 12 and later: a valid CHECK spares SET NOT NULL its scan.
    end = (
        alter(table, f"ALTER COLUMN {quote(column)} SET NOT NULL"),
        alter(table, f"DROP CONSTRAINT IF EXISTS {quote(name)}"),
    )
    return steps, end


def build_index(
    relation: Relation, name: str, tail: str, *, unique: bool = False, parts: Sequence[Relation] = ()
) -> tuple[Step, ...]:
    """Build an index concurrently; on a partitioned table one for each partition, then the parent's.

    `tail` is what follows the table's name: `USING btree (a, b) WHERE …`.
    """
    kind = "UNIQUE INDEX" if unique else "INDEX"
    if not relation.partitioned:
        made = f"CREATE {kind} CONCURRENTLY IF NOT EXISTS {quote(name)} ON {table_name(relation.table)} {tail}"
        return (Block((made,), title=f"build the index {name}", alone=True, builds=(relation.table.schema, name)),)
    if any(part.partitioned for part in parts):
        raise Refused(
            f"{relation.table} has partitions that are partitioned themselves",
            "build the index on the lowest partitions first, each by a change of its own",
        )
    steps: list[Step] = []
    parent = f"{quote(relation.table.schema)}.{quote(name)}"
    attach: list[str] = [
        f"CREATE {kind} IF NOT EXISTS {quote(name)} ON ONLY {table_name(relation.table)} {tail}",
    ]
    for part in parts:
        same = (item.name for item in part.indexes if item.tail == tail and item.unique == unique)
        inner = next(same, name_for(part.table.name, name))
        made = f"CREATE {kind} CONCURRENTLY IF NOT EXISTS {quote(inner)} ON {table_name(part.table)} {tail}"
        steps.append(Block((made,), title=f"build the index {inner}", alone=True, builds=(part.table.schema, inner)))
        attach.append(f"ALTER INDEX {parent} ATTACH PARTITION {quote(part.table.schema)}.{quote(inner)}")
    steps.append(Block(tuple(attach), title=f"join the index {name}"))
    return tuple(steps)


def drop_index(schema: str, name: str, *, partitioned: bool = False) -> Block:
    """Drop an index. For partitioned tables there is no concurrent form, so it takes one short transaction."""
    full = f"{quote(schema)}.{quote(name)}"
    if partitioned:
        return Block((f"DROP INDEX IF EXISTS {full}",), title=f"drop the index {name}")
    return Block((f"DROP INDEX CONCURRENTLY IF EXISTS {full}",), title=f"drop the index {name}", alone=True)


def use_index(table: Table, name: str, index: str, kind: str, deferral: str = "") -> str:
    """Make an existing index a UNIQUE or PRIMARY KEY constraint; `deferral` is such as ` DEFERRABLE`."""
    made = f"ADD CONSTRAINT {quote(name)} {kind} USING INDEX {quote(index)}{deferral}"
    return unless(has_constraint(table, name), alter(table, made))


def grant(table: Table, name: str, columns: Sequence[Column]) -> tuple[str, ...]:
    """Grant on the column `name` what is granted on any of the columns."""
    found: dict[tuple[str, bool], list[str]] = {}
    for item in sorted({item for column in columns for item in column.grants}):
        found.setdefault((item.role, item.grantable), []).append(f"{item.privilege} ({quote(name)})")
    return tuple(
        f"GRANT {', '.join(privileges)} ON {table_name(table)} TO {role}{' WITH GRANT OPTION' if grantable else ''}"
        for (role, grantable), privileges in found.items()
    )


def comment(table: Table, name: str, columns: Sequence[Column]) -> tuple[str, ...]:
    """Give the column `name` the comments of the columns, each once."""
    text = "; ".join(dict.fromkeys(column.comment for column in columns if column.comment))
    return (f"COMMENT ON COLUMN {table_name(table)}.{quote(name)} IS {literal(text)}",) if text else ()


def settings(table: Table, name: str, like: Column) -> tuple[str, ...]:
    """Give the column `name` the statistics target, storage and compression that another one of its type has."""
    actions = ", ".join(f"ALTER COLUMN {quote(name)} {item}" for item in like.settings)
    # ONLY: a partition has settings of its own.
    return (f"ALTER TABLE ONLY {table_name(table)} {actions}",) if actions else ()


def make_statistics(table: Table, item: Statistics, name: str, tail: str) -> Block:
    full = f"{quote(item.schema)}.{quote(name)}"
    made = f"CREATE STATISTICS IF NOT EXISTS {full}{item.kinds} ON {tail} FROM {table_name(table)}"
    target = (f"ALTER STATISTICS {full} SET STATISTICS {item.target}",) if item.target >= 0 else ()
    return Block((made, *target), title=f"make the statistics {name}")


def fill_null(table: Table, column: str, expression: str, key: str) -> Backfill:
    return Backfill(
        table,
        ((column, expression),),
        needing=f"{quote(column)} IS NULL",
        key=key,
        title=f"fill {column} where it is NULL",
    )
