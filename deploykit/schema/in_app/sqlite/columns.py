"""Columns on SQLite: copies of others, NOT NULL and defaults, added and dropped ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..changes.model import Change, Refused
from ..changes.sql import quote
from .plan import Action, Plan, TableReader, plans, relaxing
from .shape import ColumnText, Shape, column_name, names
from .sql import default_clause, sqlite_sql, sqlite_type, text_literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def _copy(  # noqa: PLR0913 - by keyword
    shape: Shape,
    *,
    old: Sequence[str],
    new: Mapping[str, str],
    up: Mapping[str, str],
    down: Mapping[str, str],
    required: Sequence[str] = (),
    pointed: bool = False,
) -> Plan:
    """Plan copies of columns.

    `new` has the columns' texts by name; `pointed`: constraints and indexes follow the one column.
    """
    table = quote(shape.name)
    for column in old:
        if any(
            column_name(item) == "" and names(item, column) and item.upper().startswith("PRIMARY")
            for item in shape.items
        ):
            raise Refused(f"{column} is a key of {shape.name}", "declare it by op.expand_change_key")
    expand: list[Action] = [["add", text, sqlite_sql(up[name])] for name, text in new.items()]
    for column in old:
        expand += relaxing(shape, column)
    contract: list[Action] = [["point", {old[0]: next(iter(new))}]] if pointed else []
    contract += [["drop", column] for column in old]
    contract += [["set", name, f"{new[name]} NOT NULL"] for name in required]
    back = [name for name in old if name in down]
    return Plan(
        expand=[["table", shape.name, expand]],
        contract=[["table", shape.name, contract]],
        undo=[
            f"UPDATE {table} SET {quote(name)} = {sqlite_sql(down[name])} WHERE {quote(name)} IS NULL" for name in back
        ],
        reopen=[f"UPDATE {table} SET {quote(name)} = {sqlite_sql(down[name])}" for name in back],
        lost="" if len(back) == len(old) else f"the values of {', '.join(set(old) - set(back))}",
    )


def _successor(text: ColumnText, to: str, type_: str, default: str) -> str:
    """Return the text of a column that replaces another."""
    kept = text.without("not null", "null", "primary key", "generated", "default").renamed({text.name: to})
    given = default_clause(default) if default else text.clause("default") if type_ == text.type else ""
    made = type(text)(to, type_, kept.clauses)
    return made.sql(given)


@plans("rename_column", "change_type")
def _one_to_one(change: Change, reader: TableReader) -> Plan:
    shape, option = reader.shape(change.table), change.options
    column, to = option["column"], option["to"]
    text = shape.column(column)
    type_ = sqlite_type(option["type"]) if "type" in option else text.type
    return _copy(
        shape,
        old=[column],
        new={to: _successor(text, to, type_, option.get("default", ""))},
        up={to: option.get("up") or quote(column)},
        down={column: option.get("down") or quote(to)},
        required=[to] if text.has("not null") and not option.get("nullable") else [],
        pointed=True,
    )


@plans("change_enum")
def _change_enum(change: Change, reader: TableReader) -> Plan:
    shape, option = reader.shape(change.table), change.options
    column, to = option["column"], option["to"]
    text = shape.column(column)

    def mapped(name: str, mapping: Mapping[str, str]) -> str:
        cases = " ".join(f"WHEN {text_literal(was)} THEN {text_literal(is_)}" for was, is_ in mapping.items())
        return f"CASE {quote(name)} {cases} ELSE {quote(name)} END" if cases else quote(name)

    back = option.get("back") or {is_: was for was, is_ in option.get("mapping", {}).items()}
    plan = _copy(
        shape,
        old=[column],
        new={to: f"{quote(to)} VARCHAR"},
        up={to: mapped(column, option.get("mapping", {}))},
        down={column: mapped(to, back)},
        required=[to] if text.has("not null") else [],
        pointed=True,
    )
    listed = [item for item in shape.items if not column_name(item) and "CHECK" in item.upper() and names(item, column)]
    if listed:
        # It lists the old values.
        plan.contract[0][2] = [["remove", item] for item in listed] + plan.contract[0][2]
        plan.notes.append(f"the CHECK on {column} is not carried over")
    return plan


@plans("split_column")
def _split(change: Change, reader: TableReader) -> Plan:
    option = change.options
    return _copy(
        reader.shape(change.table),
        old=[option["column"]],
        new={name: f"{quote(name)} {sqlite_type(type_)}" for name, type_ in option["into"].items()},
        up=option["up"],
        down={option["column"]: option["down"]} if option.get("down") else {},
        required=option.get("required", []),
    )


@plans("merge_columns")
def _merge(change: Change, reader: TableReader) -> Plan:
    option = change.options
    return _copy(
        reader.shape(change.table),
        old=option["columns"],
        new={option["into"]: f"{quote(option['into'])} {sqlite_type(option['type'])}"},
        up={option["into"]: option["up"]},
        down=option.get("down", {}),
        required=[option["into"]] if option.get("required") else [],
    )


@plans("set_not_null")
def _set_not_null(change: Change, reader: TableReader) -> Plan:
    shape, column = reader.shape(change.table), change.options["column"]
    text = shape.column(column)
    fills = []
    if fill := change.options.get("fill"):
        fills = [
            [
                "fill",
                f"UPDATE {quote(shape.name)} SET {quote(column)} = {sqlite_sql(fill)} WHERE {quote(column)} IS NULL",
            ]
        ]
    required = text.without("null").sql("NOT NULL")
    return Plan(expand=list(fills), contract=[*fills, ["table", shape.name, [["set", column, required]]]])


@plans("drop_not_null")
def _drop_not_null(change: Change, reader: TableReader) -> Plan:
    shape, column = reader.shape(change.table), change.options["column"]
    text = shape.column(column)
    fill = change.options.get("fill", "")
    undo = f"UPDATE {quote(shape.name)} SET {quote(column)} = {sqlite_sql(fill)} WHERE {quote(column)} IS NULL"
    return Plan(
        expand=[["table", shape.name, [["set", column, text.without("not null").sql()]]]], undo=[undo] if fill else []
    )


@plans("change_default")
def _change_default(change: Change, reader: TableReader) -> Plan:
    shape, column = reader.shape(change.table), change.options["column"]
    text, default = shape.column(column).without("default"), change.options.get("default", "")
    return Plan(expand=[["table", shape.name, [["set", column, text.sql(default_clause(default) if default else "")]]]])


@plans("add_column")
def _add_column(change: Change, reader: TableReader) -> Plan:
    shape, option = reader.shape(change.table), change.options
    column, default, fill = option["column"], option.get("default", ""), option.get("fill", "")
    if option.get("identity"):
        raise Refused(
            "SQLite numbers its primary key only", "give the column a default, or leave it to the application"
        )
    text = f"{quote(column)} {sqlite_type(option['type'])}"
    if generated := option.get("generated"):
        text += f" GENERATED ALWAYS AS ({sqlite_sql(generated)}) {'VIRTUAL' if option.get('virtual') else 'STORED'}"
    if default:
        text += f" {default_clause(default)}"
    required = option.get("required") and not generated
    if required and default:
        text, required = f"{text} NOT NULL", False
    value = fill or default
    plan = Plan(expand=[["table", shape.name, [["add", text, sqlite_sql(value) if value else ""]]]])
    if required:
        if fill:
            plan.contract.append(
                [
                    "fill",
                    f"UPDATE {quote(shape.name)} SET {quote(column)} = {sqlite_sql(fill)} WHERE "
                    f"{quote(column)} IS NULL",
                ]
            )
        plan.contract.append(["table", shape.name, [["set", column, f"{text} NOT NULL"]]])
    return plan


@plans("drop_column")
def _drop_column(change: Change, reader: TableReader) -> Plan:
    shape, column, fill = reader.shape(change.table), change.options["column"], change.options.get("fill", "")
    update = f"UPDATE {quote(shape.name)} SET {quote(column)} = {sqlite_sql(fill)} WHERE {quote(column)} IS NULL"
    relaxed = relaxing(shape, column)
    return Plan(
        expand=[["table", shape.name, relaxed]] if relaxed else [],
        contract=[["table", shape.name, [["drop", column]]]],
        undo=[update] if fill else [],
        reopen=[update] if fill else [],
        lost=f"the values of {column}",
    )
