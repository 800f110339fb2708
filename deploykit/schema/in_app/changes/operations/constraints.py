"""Changes of constraints: CHECK, foreign key, UNIQUE, primary key, exclusion.

A constraint binds old writers too, so it is made at contract. `phase="expand"` says that the old version already
satisfies it. Until then violating rows are counted and shown.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..blocks import alter, build_index, drop_index, has_constraint, not_null, unless, use_index, validated
from ..catalog import Relation, column_list
from ..model import Block, Change, Comparison, Refused, Step, Steps, Table
from ..sql import bind, literal, name_for, quote, rename_in, table_name
from .registry import declares, make, planner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..schema_reader import SchemaReader

_MOST_ROWS = 10_000
"""The most rows for an exclusion constraint. PostgreSQL builds it under a full lock, some 50 ms for so many."""


def _phase(phase: str) -> str:
    if phase not in {"expand", "contract"}:
        raise Refused(
            f"a constraint is made in the phase expand or contract, not {phase!r}",
            "leave `phase` out: contract is safe",
        )
    return phase


def _placed(change: Change, table: Table, steps: Sequence[Step], compare: Sequence[Comparison], drop: Block) -> Steps:
    """Return the steps in the phase that the change asks for."""
    if change.options["phase"] == "expand":
        return Steps(fill=(*steps, *compare), undo=(drop,), tables=(table,))
    return Steps(fill=tuple(compare), contract=tuple(steps), reopen=(drop,), tables=(table,))


def _drop(table: Table, name: str) -> Block:
    return Block((alter(table, f"DROP CONSTRAINT IF EXISTS {quote(name)}"),), title=f"drop {name}")


@declares
def expand_add_check(
    table: str, name: str, condition: str, *, phase: str = "contract", schema: str | None = None, change: str = ""
) -> Change:
    """Add a CHECK: not valid at first, then validated while writers go on."""
    return make("add_check", table, schema, change, name, name=name, condition=condition, phase=_phase(phase))


@planner("add_check")
def _add_check(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    table, name, condition = relation.table, option["name"], option["condition"]
    _fresh(relation, name)
    held = bind(condition, relation.columns, "source")
    # A CHECK lets NULL pass.
    compare = Comparison(
        table, f"(({held}) IS NOT FALSE)", "'this row'", literal(condition), title=f"look for rows against {name}"
    )
    return _placed(change, table, validated(table, name, f"CHECK ({condition})"), [compare], _drop(table, name))


@declares
def expand_add_foreign_key(  # noqa: PLR0913 - by keyword
    table: str,
    name: str,
    columns: Sequence[str],
    refers: str,
    referred: Sequence[str],
    *,
    on_delete: str = "",
    on_update: str = "",
    index: bool = True,
    phase: str = "contract",
    schema: str | None = None,
    refers_schema: str | None = None,
    change: str = "",
) -> Change:
    """Add a foreign key, not valid at first; with `index`, also the index on its columns if it is missing."""
    options = {
        "columns": list(columns),
        "refers": refers,
        "referred": list(referred),
        "on_delete": on_delete,
        "on_update": on_update,
    }
    more = {"index": index, "phase": _phase(phase), "refers_schema": refers_schema}
    return make("add_foreign_key", table, schema, change, name, name=name, **options, **more)


@planner("add_foreign_key")
def _add_foreign_key(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    table, name, columns = relation.table, option["name"], option["columns"]
    _fresh(relation, name)
    other = reader.named(option["refers"], option.get("refers_schema", ""))
    for column in columns:
        relation.column(column)
    for column in option["referred"]:
        other.column(column)
    definition = (
        f"FOREIGN KEY ({column_list(columns)}) REFERENCES {table_name(other.table)} ({column_list(option['referred'])})"
    )
    definition += f" ON DELETE {option['on_delete']}" if "on_delete" in option else ""
    definition += f" ON UPDATE {option['on_update']}" if "on_update" in option else ""
    same = " AND ".join(f"o.{quote(b)} = source.{quote(a)}" for a, b in zip(columns, option["referred"], strict=True))
    empty = " OR ".join(f"source.{quote(column)} IS NULL" for column in columns)
    shown = ", ".join(f"source.{quote(column)}::text" for column in columns)
    compare = Comparison(
        table,
        f"({empty} OR EXISTS (SELECT FROM {table_name(other.table)} o WHERE {same}))",
        f"concat_ws(', ', {shown})",
        "'no such row'",
        title=f"look for rows against {name}",
    )
    indexed = any(item.plain and item.columns and set(item.columns) >= set(columns) for item in relation.indexes)
    first: tuple[Step, ...] = ()
    undo: list[Step] = []
    if option.get("index") and not indexed:
        index = name_for("ix", table.name, *columns)
        first = build_index(relation, index, f"({column_list(columns)})", parts=reader.parts(relation))
        undo = [drop_index(table.schema, index, partitioned=relation.partitioned)]
    steps = _placed(change, table, validated(table, name, definition), [compare], _drop(table, name))
    return replace(steps, fill=(*first, *steps.fill), undo=(*steps.undo, *undo), tables=(table, other.table))


@declares
def expand_add_unique(
    table: str,
    name: str,
    columns: Sequence[str],
    *,
    phase: str = "contract",
    schema: str | None = None,
    change: str = "",
) -> Change:
    """Add a UNIQUE constraint: its index is built concurrently, then the constraint takes it over."""
    return make("add_unique", table, schema, change, name, name=name, columns=list(columns), phase=_phase(phase))


@planner("add_unique")
def _add_unique(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    table, name, columns = relation.table, option["name"], option["columns"]
    _fresh(relation, name)
    for column in columns:
        relation.column(column)
    steps = build_index(relation, name, f"({column_list(columns)})", unique=True, parts=reader.parts(relation))
    if relation.partitioned:
        end: tuple[Step, ...] = ()
        drop = drop_index(table.schema, name, partitioned=True)
    else:
        end = (Block((use_index(table, name, name, "UNIQUE"),), title=f"make {name} a constraint"),)
        drop = Block(
            (
                alter(table, f"DROP CONSTRAINT IF EXISTS {quote(name)}"),
                f"DROP INDEX IF EXISTS {quote(table.schema)}.{quote(name)}",
            ),
            title=f"drop {name}",
        )
    return _placed(change, table, (*steps, *end), [_twice(relation, columns, name)], drop)


def _twice(relation: Relation, columns: Sequence[str], name: str) -> Comparison:
    """Compare for duplicates: rows whose values another row has as well. The ctid and the partition identify a row."""
    same = " AND ".join(f"o.{quote(column)} = source.{quote(column)}" for column in columns)
    shown = ", ".join(f"source.{quote(column)}::text" for column in columns)
    other = (
        f"SELECT FROM {table_name(relation.table)} o WHERE {same} AND (o.ctid, o.tableoid) IS DISTINCT FROM "
        "(source.ctid, source.tableoid)"
    )
    return Comparison(
        relation.table,
        f"NOT EXISTS ({other})",
        f"concat_ws(', ', {shown})",
        "'is there twice'",
        title=f"look for rows against {name}",
    )


@declares
def expand_add_primary_key(
    table: str, name: str, columns: Sequence[str], *, schema: str | None = None, change: str = ""
) -> Change:
    """Add a primary key: a unique index, built concurrently, NOT NULL by a valid CHECK, then the constraint."""
    return make("add_primary_key", table, schema, change, name, name=name, columns=list(columns), phase="contract")


@planner("add_primary_key")
def _add_primary_key(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    table, name, columns = relation.table, option["name"], option["columns"]
    if relation.primary_key:
        raise Refused(
            f"{table} has the primary key {', '.join(relation.primary_key)}", "declare it by op.expand_change_key"
        )
    if relation.partitioned:
        raise Refused(
            f"{table} is partitioned, and PostgreSQL makes no primary key of an index there",
            "add a unique index instead",
        )
    steps: list[Step] = []
    ends: list[str] = []
    loosen: list[str] = []
    for column in columns:
        if not relation.column(column).not_null:
            sure, last = not_null(table, column)
            steps += sure
            ends += last
            loosen.append(alter(table, f"ALTER COLUMN {quote(column)} DROP NOT NULL"))
    steps += build_index(relation, name, f"({column_list(columns)})", unique=True)
    steps.append(Block((*ends, use_index(table, name, name, "PRIMARY KEY")), title=f"make {name} the primary key"))
    drop = Block((alter(table, f"DROP CONSTRAINT IF EXISTS {quote(name)}"), *loosen), title=f"drop {name}")
    empty = " AND ".join(f"source.{quote(column)} IS NOT NULL" for column in columns)
    filled = Comparison(table, f"({empty})", "'NULL'", "'a key is never NULL'", title="look for NULL in the key")
    return _placed(change, table, steps, [filled, _twice(relation, columns, name)], drop)


@declares
def expand_add_exclusion(
    table: str, name: str, definition: str, *, phase: str = "contract", schema: str | None = None, change: str = ""
) -> Change:
    """Add an exclusion constraint: `definition` follows EXCLUDE, such as `USING gist (room WITH =, during WITH &&)`.

    PostgreSQL can't build one concurrently, so it is refused for a table of more than 10,000 rows.
    """
    return make("add_exclusion", table, schema, change, name, name=name, definition=definition, phase=_phase(phase))


@planner("add_exclusion")
def _add_exclusion(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    table, name = relation.table, option["name"]
    _fresh(relation, name)
    many = reader.ask.rows(f"SELECT count(*) FROM (SELECT FROM {table_name(table)} LIMIT {_MOST_ROWS + 1}) x")[0][0]
    if many > _MOST_ROWS:
        raise Refused(
            f"{table} has more than {_MOST_ROWS} rows, and building an exclusion constraint blocks all writers",
            "make a new table with the constraint and move the rows by op.expand_split_table, or check it by a trigger",
        )
    add = unless(
        has_constraint(table, name), alter(table, f"ADD CONSTRAINT {quote(name)} EXCLUDE {option['definition']}")
    )
    return _placed(change, table, (Block((add,), title=f"add {name}"),), [], _drop(table, name))


def _fresh(relation: Relation, name: str) -> None:
    if relation.constraint(name) is not None:
        raise Refused(f"{relation.table} already has a constraint {name}", "choose another name")


@declares
def expand_drop_constraint(
    table: str, name: str, *, phase: str = "contract", schema: str | None = None, change: str = ""
) -> Change:
    """Drop a constraint at contract, since an old version may rely on it.

    `phase="expand"` drops it at once, for a new version that must violate it.
    """
    return make("drop_constraint", table, schema, change, name, name=name, phase=_phase(phase))


@planner("drop_constraint")
def _drop_constraint(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    table, name = relation.table, option["name"]
    found = relation.constraint(name)
    if found is None:
        raise Refused(
            f"{table} has no constraint {name}", "it has: " + ", ".join(item.name for item in relation.constraints)
        )
    if found.kind == "u":
        index = next(item for item in relation.indexes if item.constraint == name)
        back = (
            *build_index(relation, index.name, index.tail, unique=True),
            Block((use_index(table, name, index.name, "UNIQUE", found.deferral),), title=f"add {name}"),
        )
    elif found.kind in "cf":
        back = validated(table, name, rename_in(found.definition, {}).removesuffix(" NOT VALID"))
    else:
        raise Refused(
            f"{name} is a key or an exclusion of {table}", "declare it by op.expand_change_key, or by op.expand_execute"
        )
    drop = (_drop(table, name),)
    if option["phase"] == "expand":
        return Steps(expand=drop, undo=tuple(back), tables=(table,))
    return Steps(contract=drop, reopen=tuple(back), tables=(table,))
