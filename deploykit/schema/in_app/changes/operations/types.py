"""Changes of enumerations: add, rename, remove a value."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..column_copy import Copy, copy_columns
from ..model import Block, Change, Refused, Step, Steps
from ..sql import literal, quote
from .registry import declares, make, planner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..schema_reader import SchemaReader


@declares
def expand_add_enum_value(  # noqa: PLR0913 - by keyword
    table: str,
    column: str,
    value: str,
    *,
    before: str = "",
    after: str = "",
    schema: str | None = None,
    change: str = "",
) -> Change:
    """Add a value to a column's enumeration. PostgreSQL can't remove one, so the way back leaves it unused."""
    return make(
        "add_enum_value", table, schema, change, column, value, column=column, value=value, before=before, after=after
    )


@planner("add_enum_value")
def _add(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    type_, labels = _labels(reader, change)
    if option["value"] in labels:
        raise Refused(f"{type_} has the value {option['value']!r} already", "nothing is to be done")
    place = next((f" {word.upper()} {literal(option[word])}" for word in ("before", "after") if word in option), "")
    made = f"ALTER TYPE {type_} ADD VALUE IF NOT EXISTS {literal(option['value'])}{place}"
    return Steps(
        expand=(Block((made,), title=f"add the value {option['value']}"),),
        tables=(relation.table,),
        notes=(
            f"the way back leaves the value in {type_}: PostgreSQL can't take it away",
            "an old version may read the new value: see that it survives it",
        ),
    )


def _labels(reader: SchemaReader, change: Change) -> tuple[str, list[str]]:
    relation = reader.of(change)
    column = relation.column(change.options["column"])
    rows = reader.ask.rows(
        f"SELECT e.enumlabel FROM pg_enum e WHERE e.enumtypid = to_regtype({literal(column.type)})::oid ORDER "
        "BY e.enumsortorder"
    )
    if not rows:
        raise Refused(f"{relation.table}.{column.name} is {column.type}, no enumeration", "check the column's name")
    return column.type, [row[0] for row in rows]


@declares
def expand_change_enum(  # noqa: PLR0913 - by keyword
    table: str,
    column: str,
    values: Sequence[str],
    *,
    mapping: Mapping[str, str],
    back: Mapping[str, str] | None = None,
    to: str = "",
    type_name: str = "",
    schema: str | None = None,
    change: str = "",
) -> Change:
    """Rename or remove values: a new column of a new enumeration with `values`.

    `mapping` has the new value of each old one that the new type lacks. `back` is the reverse, for old versions; it is
    derived from `mapping` by default. All other values keep their name.
    """
    options = {
        "values": list(values),
        "mapping": dict(mapping),
        "back": dict(back or {}),
        "to": to or f"{column}_2",
        "type_name": type_name,
    }
    return make("change_enum", table, schema, change, column, column=column, **options)


@planner("change_enum")
def _change(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    old_type, labels = _labels(reader, change)
    column, to = option["column"], option["to"]
    values, mapping = option["values"], option.get("mapping", {})
    back = option.get("back") or {new: old for old, new in reversed(list(mapping.items()))}
    if lost := [label for label in labels if mapping.get(label, label) not in values]:
        raise Refused(f"nothing says what becomes of {', '.join(lost)}", "name it in `mapping`")
    if lost := [value for value in values if back.get(value, value) not in labels]:
        raise Refused(f"nothing says what an old version finds for {', '.join(lost)}", "name it in `back`")
    bare = option.get("type_name") or f"{old_type.split('.')[-1].strip(chr(34))}_2"
    full = f"{quote(relation.table.schema)}.{quote(bare)}"
    default = relation.column(column).default
    copy = Copy(
        old=(column,),
        new={to: full},
        up={to: _cases(column, labels, mapping, full)},
        down={column: _cases(to, values, back, old_type)},
        defaults={} if not default else {to: _default(reader, default, mapping, full)},
    )
    steps = copy_columns(change.key, relation, copy, reader.parts(relation))
    made = f"CREATE TYPE {full} AS ENUM ({', '.join(map(literal, values))})"
    (first,), (last,) = _blocks(steps.expand), _blocks(steps.undo)
    return replace(
        steps,
        expand=(replace(first, statements=(made, *first.statements)),),
        undo=(replace(last, statements=(*last.statements, f"DROP TYPE IF EXISTS {full}")),),
        notes=(*steps.notes, f"the old type {old_type} stays: other tables may use it"),
    )


def _blocks(program: Sequence[Step]) -> tuple[Block, ...]:
    return tuple(step for step in program if isinstance(step, Block))


def _cases(column: str, labels: Sequence[str], mapping: Mapping[str, str], type_: str) -> str:
    changed = " ".join(f"WHEN {literal(label)} THEN {literal(mapping[label])}" for label in labels if label in mapping)
    if not changed:
        return f"{quote(column)}::text::{type_}"
    return f"(CASE {quote(column)}::text {changed} ELSE {quote(column)}::text END)::{type_}"


def _default(reader: SchemaReader, default: str, mapping: Mapping[str, str], type_: str) -> str:
    value = reader.ask.rows(f"SELECT ({default})::text")[0][0]
    return f"{literal(mapping.get(value, value))}::{type_}"
