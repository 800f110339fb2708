"""Tables and keys on SQLite, and operations that it lacks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..changes.model import Change, Refused
from ..changes.sql import quote
from .plan import Plan, TableReader, plans, relaxing
from .shape import Shape, column_name
from .sql import column_list, sqlite_sql, sqlite_type

if TYPE_CHECKING:
    from collections.abc import Mapping


@plans("rename_table")
def _rename_table(change: Change, reader: TableReader) -> Plan:
    old, new = reader.shape(change.table).name, change.options["to"]
    view, gone = f"CREATE VIEW {quote(old)} AS SELECT * FROM {quote(new)}", f"DROP VIEW {quote(old)}"
    return Plan(
        expand=[["rename", old, new], ["sql", view, gone]],
        contract=[["sql", gone, view]],
        notes=[f"{old} can be read until contract, and not written"],
    )


@plans("drop_table")
def _drop_table(change: Change, reader: TableReader) -> Plan:
    name = reader.shape(change.table).name
    return Plan(contract=[["drop", name]], lost=f"the rows of {name}")


@plans("execute")
def _execute(change: Change, _: TableReader) -> Plan:
    def listed(name: str) -> list[str]:
        found = change.options.get(name, [])
        return [found] if isinstance(found, str) else list(found)

    return Plan(
        expand=[["fill", sql] for sql in listed("expand")],
        contract=[["fill", sql] for sql in listed("contract")],
        undo=listed("undo"),
        reopen=listed("reopen"),
    )


@plans("attach_partition", "detach_partition", "add_exclusion", "add_enum_value")
def _nothing(change: Change, _: TableReader) -> Plan:
    lacks = {
        "add_exclusion": "exclusion constraints",
        "add_enum_value": "enumerations: a CHECK that lists the values is changed by op.expand_drop_constraint "
        "and op.expand_add_check",
    }
    return Plan(notes=[f"nothing is done: SQLite has no {lacks.get(change.kind, 'partitions')}"])


@plans("split_table")
def _split_table(change: Change, reader: TableReader) -> Plan:
    shape, option = reader.shape(change.table), change.options
    to, key, own = option["to"], option["key"], _primary_key(shape)
    columns = option["columns"]
    items = [
        f"{quote(key)} {shape.column(own).type} PRIMARY KEY REFERENCES {quote(shape.name)} ({quote(own)}) ON "
        "DELETE CASCADE",
        *(shape.column(name).without("primary key").sql() for name in columns),
    ]
    filled = (
        f"INSERT INTO {quote(to)} ({column_list([key, *columns])}) SELECT {column_list([own, *columns])} FROM "
        f"{quote(shape.name)}"
    )
    relaxed = [edit for name in columns for edit in relaxing(shape, name)]
    back = [
        f"UPDATE {quote(shape.name)} SET {quote(name)} = (SELECT {quote(to)}.{quote(name)} FROM {quote(to)} "
        f"WHERE {quote(to)}.{quote(key)} = {quote(shape.name)}.{quote(own)}) "
        f"WHERE EXISTS (SELECT 1 FROM {quote(to)} WHERE {quote(to)}.{quote(key)} = {quote(shape.name)}.{quote(own)})"
        for name in columns
    ]
    return Plan(
        expand=[
            ["sql", f"CREATE TABLE {quote(to)} ({', '.join(items)})", f"DROP TABLE {quote(to)}"],
            ["fill", filled],
            *([["table", shape.name, relaxed]] if relaxed else []),
        ],
        contract=[["table", shape.name, [["drop", name] for name in columns]]],
        undo=[*back, *_filled(change, shape.name)],
        reopen=[*back, *_filled(change, shape.name)],
    )


def _filled(change: Change, table: str) -> list[str]:
    fill = change.options.get("fill", {})
    given = fill if isinstance(fill, dict) else {change.options["column"]: fill}
    return [
        f"UPDATE {quote(table)} SET {quote(name)} = {sqlite_sql(sql)} WHERE {quote(name)} IS NULL"
        for name, sql in given.items()
        if sql
    ]


@plans("move_column")
def _move_column(change: Change, reader: TableReader) -> Plan:
    shape, option = reader.shape(change.table), change.options
    other = reader.shape(option["to"])
    column, name = option["column"], option.get("name") or option["column"]
    here, there = quote(shape.name), quote(other.name)
    together = " AND ".join(f"{here}.{quote(a)} = {there}.{quote(b)}" for a, b in option["on"].items())
    text = shape.column(column).without("not null", "primary key").renamed({column: name}).sql()
    back = [
        f"UPDATE {here} SET {quote(column)} = (SELECT {there}.{quote(name)} FROM {there} WHERE {together}) "
        f"WHERE EXISTS (SELECT 1 FROM {there} WHERE {together})",
        *_filled(change, shape.name),
    ]
    relaxed = relaxing(shape, column)
    return Plan(
        expand=[
            ["table", other.name, [["add", text]]],
            [
                "fill",
                f"UPDATE {there} SET {quote(name)} = (SELECT {here}.{quote(column)} FROM {here} WHERE {together})",
            ],
            *([["table", shape.name, relaxed]] if relaxed else []),
        ],
        contract=[["table", shape.name, [["drop", column]]]],
        undo=back,
        reopen=back,
    )


def _primary_key(shape: Shape) -> str:
    """Return the primary key. Raises Refused unless it is one column."""
    for name in shape.columns():
        if shape.column(name).has("primary key"):
            return name
    for item in shape.items:
        if not column_name(item) and (found := re.search(r"PRIMARY\s+KEY\s*\(([^,()]*)\)", item, re.IGNORECASE)):
            return found[1].strip().strip('"`[]')
    raise Refused(f"{shape.name} has no primary key of one column", "declare it by other operations")


@plans("change_key")
def _change_key(change: Change, reader: TableReader) -> Plan:
    """Make the new key the key at once, here and in referring tables: a SQLite table can't have two."""
    shape, option = reader.shape(change.table), change.options
    column, to = option["column"], option["to"]
    if _primary_key(shape) != column:
        raise Refused(f"{column} is not the primary key of {shape.name}", "for another column: op.expand_change_type")
    plan = Plan()
    # INTEGER and nothing else makes a column the row's number, which SQLite hands out.
    _move_key(
        plan, shape, column, to, "INTEGER" if "INT" in option["type"].upper() else sqlite_type(option["type"]), {}
    )
    for table, referring, referred in reader.incoming(shape.name):
        if referred == column:
            other = reader.shape(table)
            new = option.get("references", {}).get(f"{table}.{referring}") or f"{referring}_2"
            _move_key(plan, other, referring, new, other.column(referring).type, {column: to})
    return plan


def _move_key(plan: Plan, shape: Shape, old: str, new: str, type_: str, more: Mapping[str, str]) -> None:
    text = shape.column(old)
    follows = text.renamed({old: new, **more})
    made = type(text)(new, type_, follows.clauses).sql()
    left = text.without("not null", "primary key", "references", "unique", "default").sql()
    plan.expand.append(
        ["table", shape.name, [["set", old, left], ["add", made, quote(old)], ["point", {old: new, **more}]]]
    )
    plan.contract.append(["table", shape.name, [["drop", old]]])
    back = f"UPDATE {quote(shape.name)} SET {quote(old)} = {quote(new)}"
    plan.undo.append(f"{back} WHERE {quote(old)} IS NULL")
    plan.reopen.append(back)
