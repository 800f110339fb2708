"""What each change does to which columns, and where two changes would meet.

Two open changes on one column diverge: the programs of each are planned for the column as it was, and the triggers of
one neither see nor wait for what those of the other write.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .model import Table, Use
from .sql import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .catalog import Relation
    from .model import Change
    from .schema_reader import SchemaReader

__all__ = ["EVERY", "built_on", "meeting", "mentioned", "stays", "uses"]

EVERY = "*"
"""In place of a column: all of the table's."""
_WORD = re.compile(r"\w+")
_NO_COLUMNS = {"name", "phase", "type", "using"}
"""Options that name something else."""


def mentioned(value: Any, names: Iterable[str]) -> list[str]:
    """Return the names that are a word of some text in the value: a list, a mapping, or SQL. Rather one too many."""
    words = set(_WORD.findall(str(value))) | set(_WORD.findall(str(value).lower()))
    return [name for name in names if set(_WORD.findall(name)) <= words]


@dataclass(frozen=True)
class _Subject:
    """A change, with its table: the parent where it is a partition."""

    change: Change
    reader: SchemaReader
    relation: Relation
    table: Table

    @property
    def option(self) -> Mapping[str, Any]:
        return self.change.options

    def on(self, how: str, columns: Iterable[str]) -> list[Use]:
        return [Use(self.table, column, how) for column in columns]

    def named(self) -> list[str]:
        """Return the columns that the declaration names anywhere in lists, mappings and SQL."""
        texts = [value for option, value in self.option.items() if option not in _NO_COLUMNS]
        return mentioned(texts, self.relation.columns)

    def other(self, name: str, schema: str) -> Table:
        return _root(self.reader, self.reader.named(name, schema))


def uses(change: Change, reader: SchemaReader) -> tuple[Use, ...]:
    """Return what the change does to the columns of its tables."""
    relation = reader.of(change)
    subject = _Subject(change, reader, relation, _root(reader, relation))
    if change.kind in _BY_OPTION:
        return tuple(
            use
            for how, option in _BY_OPTION[change.kind]
            for use in subject.on(how, _names(change.options.get(option, ())))
        )
    return tuple(_BY_KIND.get(change.kind, _objects)(subject))


_BY_OPTION = {
    "rename_column": (("drop", "column"), ("add", "to")),
    "change_type": (("drop", "column"), ("add", "to")),
    "change_enum": (("drop", "column"), ("add", "to")),
    "split_column": (("drop", "column"), ("add", "into")),
    "merge_columns": (("drop", "columns"), ("add", "into")),
    "drop_column": (("drop", "column"),),
    "drop_not_null": (("null", "column"),),
    "change_default": (("default", "column"),),
}
"""By kind, what it does to the columns that an option names."""


def _names(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _root(reader: SchemaReader, relation: Relation) -> Table:
    while relation.parent is not None:
        relation = reader.relation(relation.parent)
    return relation.table


def _objects(of: _Subject) -> list[Use]:
    return of.on("object", of.named())


def _add_column(of: _Subject) -> list[Use]:
    return of.on("add", [of.option["column"]]) + of.on("sync", of.named())


def _set_not_null(of: _Subject) -> list[Use]:
    return of.on("null", [of.option["column"]]) + (of.on("sync", of.named()) if of.option.get("fill") else [])


def _add_primary_key(of: _Subject) -> list[Use]:
    return _objects(of) + of.on("null", of.option["columns"])


def _add_foreign_key(of: _Subject) -> list[Use]:
    other = of.other(of.option["refers"], of.option.get("refers_schema", ""))
    return of.on("object", of.option["columns"]) + [Use(other, column, "object") for column in of.option["referred"]]


def _object_there(of: _Subject) -> list[Use]:
    columns = [
        *(item.columns for item in of.relation.constraints if item.name == of.option["name"]),
        *(item.columns for item in of.relation.indexes if item.name == of.option["name"]),
    ]
    return of.on("object", dict.fromkeys(column for each in columns for column in each))


def _add_enum_value(of: _Subject) -> list[Use]:
    """Return every column of the type, in all tables: the new value may be written to each."""
    rows = of.reader.ask.rows(
        "SELECT c.relname, n.nspname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN "
        "pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE a.atttypid = to_regtype({literal(of.relation.column(of.option['column']).type)})::oid AND "
        "c.relkind IN ('r', 'p') AND NOT c.relispartition AND NOT a.attisdropped ORDER BY 1, 2, 3"
    )
    return [Use(Table(row[0], row[1]), row[2], "object") for row in rows]


def _rename_table(of: _Subject) -> list[Use]:
    return [*of.on("drop", [EVERY]), Use(Table(of.option["to"], of.table.schema), EVERY, "drop")]


def _drop_table(of: _Subject) -> list[Use]:
    return of.on("drop", [EVERY])


def _attach_partition(of: _Subject) -> list[Use]:
    return [*of.on("object", [EVERY]), Use(of.other(of.option["partition"], of.change.schema), EVERY, "drop")]


def _detach_partition(of: _Subject) -> list[Use]:
    return of.on("object", [EVERY])


def _split_table(of: _Subject) -> list[Use]:
    moved = of.on("drop", of.option["columns"]) + of.on("object", of.relation.primary_key)
    return [*moved, Use(Table(of.option["to"], of.table.schema), EVERY, "add")]


def _move_column(of: _Subject) -> list[Use]:
    other = of.other(of.option["to"], of.change.schema)
    moved = of.on("drop", [of.option["column"]]) + of.on("object", of.option["on"])
    joined = [Use(other, column, "object") for column in of.option["on"].values()]
    return [*moved, Use(other, of.option["name"], "add"), *joined]


def _change_key(of: _Subject) -> list[Use]:
    """Return the key, and the columns that refer to it."""
    there = [
        Use(_root(of.reader, of.reader.relation(item.table)), item.columns[0], "drop") for item in of.relation.incoming
    ]
    return [*of.on("drop", [of.option["column"]]), *of.on("add", [of.option["to"]]), *there]


def _execute(of: _Subject) -> list[Use]:
    """Return the columns that the SQL names, whatever it does to them; all of them if it names none."""
    return of.on("drop", of.named() or [EVERY])


_BY_KIND: dict[str, Callable[[_Subject], list[Use]]] = {
    "add_column": _add_column,
    "set_not_null": _set_not_null,
    "add_primary_key": _add_primary_key,
    "add_foreign_key": _add_foreign_key,
    "drop_constraint": _object_there,
    "drop_index": _object_there,
    "rebuild_index": _object_there,
    "add_enum_value": _add_enum_value,
    "rename_table": _rename_table,
    "drop_table": _drop_table,
    "attach_partition": _attach_partition,
    "detach_partition": _detach_partition,
    "split_table": _split_table,
    "move_column": _move_column,
    "change_key": _change_key,
    "execute": _execute,
}
"""All other kinds make an index or a constraint on the columns that they name."""


def stays(change: Change) -> bool:
    """Whether the change's triggers stay for good: it is never done."""
    return change.kind == "add_column" and bool(change.options.get("generated")) and not change.options.get("virtual")


def meeting(one: Iterable[Use], others: Iterable[Use]) -> Use | None:
    """Return where two changes would affect each other, if they do."""
    theirs = list(others)
    return next((use for use in one if any(_meet(use, other) for other in theirs)), None)


def _meet(one: Use, other: Use) -> bool:
    if not _same_place(one, other):
        return False
    hows = {one.how, other.how}
    if "drop" in hows:
        return True
    # Constraints are compared again at contract, and an index minds no value.
    return "object" not in hows and (len(hows) == 1 or "add" in hows)


def built_on(one: Iterable[Use], others: Iterable[Use]) -> Use | None:
    """Return what another change has built on a column that the first one has made, if there is anything."""
    theirs = list(others)
    return next(
        (use for use in one if use.how == "add" and any(_same_place(use, other) for other in theirs)),
        None,
    )


def _same_place(one: Use, other: Use) -> bool:
    return one.table == other.table and (one.column == other.column or EVERY in {one.column, other.column})
