"""Columns made from others: renamed, of another type, split, merged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..column_copy import Copy, copy_columns
from ..model import Change, Refused, Steps
from ..sql import quote
from .registry import declares, make, planner, type_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..schema_reader import SchemaReader


@declares
def expand_rename_column(
    table: str, column: str, to: str, *, schema: str | None = None, change: str = "", default: str = ""
) -> Change:
    """Rename a column: `to` is added and kept in sync, contract drops `column`."""
    return make("rename_column", table, schema, change, column, to, column=column, to=to, default=default)


@planner("rename_column")
def _rename(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    column, to = relation.column(option["column"]), option["to"]
    copy = Copy(
        old=(column.name,),
        new={to: column.type},
        up={to: quote(column.name)},
        down={column.name: quote(to)},
        defaults=_default(option, to),
    )
    return copy_columns(change.key, relation, copy, reader.parts(relation))


@declares
def expand_change_type(  # noqa: PLR0913 - by keyword
    table: str,
    column: str,
    type_: Any,
    *,
    to: str = "",
    up: str = "",
    down: str = "",
    nullable: bool = False,
    default: str = "",
    schema: str | None = None,
    change: str = "",
) -> Change:
    """Change a column's type: a new column `to` (`<column>_2`) of that type; the model keeps its attribute's name.

    `up` computes the new value from the old column, `down` the reverse: SQL over the column's name, casts by default.
    """
    options = {
        "type": type_name(type_),
        "to": to or f"{column}_2",
        "up": up,
        "down": down,
        "nullable": nullable,
        "default": default,
    }
    return make("change_type", table, schema, change, column, column=column, **options)


@planner("change_type")
def _change_type(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    column, to = relation.column(option["column"]), option["to"]
    copy = Copy(
        old=(column.name,),
        new={to: option["type"]},
        up={to: option.get("up") or f"{quote(column.name)}::{option['type']}"},
        down={column.name: option.get("down") or f"{quote(to)}::{column.type}"},
        nullable=(to,) if option.get("nullable") else (),
        defaults=_default(option, to),
    )
    return copy_columns(change.key, relation, copy, reader.parts(relation))


def _default(option: Mapping[str, Any], to: str) -> dict[str, str]:
    return {to: option["default"]} if "default" in option else {}


@declares
def expand_split_column(  # noqa: PLR0913 - by keyword
    table: str,
    column: str,
    into: Mapping[str, Any],
    *,
    up: Mapping[str, str],
    down: str,
    required: Sequence[str] = (),
    schema: str | None = None,
    change: str = "",
) -> Change:
    """Split a column: `into` has the new types by name, `up` an expression for each, `down` the old value."""
    new = {name: type_name(type_) for name, type_ in into.items()}
    return make(
        "split_column",
        table,
        schema,
        change,
        column,
        column=column,
        into=new,
        up=dict(up),
        down=down,
        required=list(required),
    )


@planner("split_column")
def _split(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    _all_given(option["into"], option["up"])
    copy = Copy(
        old=(option["column"],),
        new=option["into"],
        up=option["up"],
        down={option["column"]: option["down"]},
        required=tuple(option.get("required", ())),
    )
    return copy_columns(change.key, relation, copy, reader.parts(relation))


@declares
def expand_merge_columns(  # noqa: PLR0913 - by keyword
    table: str,
    columns: Sequence[str],
    into: str,
    type_: Any,
    *,
    up: str,
    down: Mapping[str, str],
    nullable: bool = True,
    schema: str | None = None,
    change: str = "",
) -> Change:
    """Merge columns into one: `up` computes its value, `down` has an expression for each old column."""
    options = {
        "columns": list(columns),
        "into": into,
        "type": type_name(type_),
        "up": up,
        "down": dict(down),
        "required": not nullable,
    }
    return make("merge_columns", table, schema, change, into, **options)


@planner("merge_columns")
def _merge(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    _all_given(option["columns"], option["down"])
    copy = Copy(
        old=tuple(option["columns"]),
        new={option["into"]: option["type"]},
        up={option["into"]: option["up"]},
        down=option["down"],
        required=(option["into"],) if option.get("required") else (),
    )
    return copy_columns(change.key, relation, copy, reader.parts(relation))


def _all_given(names: Any, expressions: Mapping[str, str]) -> None:
    if missing := sorted(set(names) - set(expressions)):
        raise Refused(f"there is no expression for {', '.join(missing)}", "give one for each column")
