"""Constraints and indexes on SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..changes.sql import quote
from .plan import Action, Plan, TableReader, plans
from .shape import names
from .sql import column_list, sqlite_sql

if TYPE_CHECKING:
    from ..changes.model import Change


def _in_phase(change: Change, *actions: Action) -> Plan:
    return Plan(expand=list(actions)) if change.options.get("phase") == "expand" else Plan(contract=list(actions))


@plans("add_check", "add_unique", "add_primary_key")
def _add_constraint(change: Change, reader: TableReader) -> Plan:
    shape, option = reader.shape(change.table), change.options
    body = {
        "add_check": lambda: f"CHECK ({sqlite_sql(option['condition'])})",
        "add_unique": lambda: f"UNIQUE ({column_list(option['columns'])})",
        "add_primary_key": lambda: f"PRIMARY KEY ({column_list(option['columns'])})",
    }[change.kind]()
    return _in_phase(change, ["table", shape.name, [["add", f"CONSTRAINT {quote(option['name'])} {body}"]]])


@plans("add_foreign_key")
def _add_foreign_key(change: Change, reader: TableReader) -> Plan:
    shape, option = reader.shape(change.table), change.options
    text = (
        f"CONSTRAINT {quote(option['name'])} FOREIGN KEY ({column_list(option['columns'])}) REFERENCES "
        f"{quote(option['refers'])} ({column_list(option['referred'])})"
    )
    for what in ("on_delete", "on_update"):
        if option.get(what):
            text += f" {what.replace('_', ' ').upper()} {option[what]}"
    actions: list[Action] = [["table", shape.name, [["add", text]]]]
    first = option["columns"][0]
    if option.get("index") and not any(names(sql, first) for sql in shape.indexes):
        name = quote(f"ix_{shape.name}_{'_'.join(option['columns'])}")
        actions.append(
            [
                "sql",
                f"CREATE INDEX {name} ON {quote(shape.name)} ({column_list(option['columns'])})",
                f"DROP INDEX {name}",
            ]
        )
    return _in_phase(change, *actions)


@plans("drop_constraint")
def _drop_constraint(change: Change, reader: TableReader) -> Plan:
    shape = reader.shape(change.table)
    return _in_phase(change, ["table", shape.name, [["remove", shape.constraint(change.options["name"])]]])


@plans("create_index")
def _create_index(change: Change, reader: TableReader) -> Plan:
    shape, option = reader.shape(change.table), change.options
    parts = ", ".join(quote(item) if item in shape.columns() else sqlite_sql(item) for item in option["on"])
    where = f" WHERE {sqlite_sql(option['where'])}" if option.get("where") else ""
    unique, name = "UNIQUE " if option.get("unique") else "", quote(option["name"])
    return Plan(
        expand=[["sql", f"CREATE {unique}INDEX {name} ON {quote(shape.name)} ({parts}){where}", f"DROP INDEX {name}"]]
    )


@plans("drop_index")
def _drop_index(change: Change, reader: TableReader) -> Plan:
    name = change.options["name"]
    return Plan(contract=[["sql", f"DROP INDEX {quote(name)}", reader.shape(change.table).index(name)]])


@plans("rebuild_index")
def _rebuild_index(change: Change, reader: TableReader) -> Plan:
    reader.shape(change.table).index(change.options["name"])
    return Plan(expand=[["fill", f"REINDEX {quote(change.options['name'])}"]])
