"""Changes of indexes: create, drop and rebuild, all concurrently. The remains of a killed build are dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..blocks import build_index, drop_index
from ..model import Block, Change, Refused, Steps
from ..sql import quote
from .registry import declares, make, planner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..catalog import Index, Relation
    from ..schema_reader import SchemaReader


@declares
def expand_create_index(  # noqa: PLR0913 - by keyword
    table: str,
    name: str,
    on: Sequence[str],
    *,
    unique: bool = False,
    using: str = "btree",
    where: str = "",
    include: Sequence[str] = (),
    schema: str | None = None,
    change: str = "",
) -> Change:
    """Build an index concurrently. `on` are columns or expressions in parentheses, with their options (`name DESC`)."""
    options = {"on": list(on), "unique": unique, "using": using, "where": where, "include": list(include)}
    return make("create_index", table, schema, change, name, name=name, **options)


@planner("create_index")
def _create(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    parts = [quote(item) if item in relation.columns else item for item in option["on"]]
    tail = f"USING {option['using']} ({', '.join(parts)})"
    if include := option.get("include"):
        tail += f" INCLUDE ({', '.join(map(quote, include))})"
    if where := option.get("where"):
        tail += f" WHERE {where}"
    found = next((item for item in relation.indexes if item.name == option["name"]), None)
    if found is not None and found.valid:
        raise Refused(f"{relation.table} already has an index {option['name']}", "choose another name")
    unique = option.get("unique", False)
    return Steps(
        fill=build_index(relation, option["name"], tail, unique=unique, parts=reader.parts(relation)),
        undo=(drop_index(relation.table.schema, option["name"], partitioned=relation.partitioned),),
        tables=(relation.table,),
    )


def _index(relation: Relation, name: str) -> Index:
    found = next((item for item in relation.indexes if item.name == name), None)
    if found is None:
        raise Refused(
            f"{relation.table} has no index {name}", "it has: " + ", ".join(item.name for item in relation.indexes)
        )
    return found


@declares
def expand_drop_index(table: str, name: str, *, schema: str | None = None, change: str = "") -> Change:
    """Drop an index when no old version needs it for its speed."""
    return make("drop_index", table, schema, change, name, name=name)


@planner("drop_index")
def _drop(change: Change, reader: SchemaReader) -> Steps:
    relation = reader.of(change)
    index = _index(relation, change.options["name"])
    if index.constraint:
        raise Refused(
            f"the constraint {index.constraint} uses the index {index.name}",
            "declare it by op.expand_drop_constraint",
        )
    return Steps(
        contract=(drop_index(index.schema, index.name, partitioned=relation.partitioned),),
        reopen=build_index(relation, index.name, index.tail, unique=index.unique, parts=reader.parts(relation)),
        tables=(relation.table,),
    )


@declares
def expand_rebuild_index(table: str, name: str, *, schema: str | None = None, change: str = "") -> Change:
    """Rebuild a bloated or damaged index concurrently (REINDEX CONCURRENTLY)."""
    return make("rebuild_index", table, schema, change, name, name=name)


@planner("rebuild_index")
def _rebuild(change: Change, reader: SchemaReader) -> Steps:
    relation = reader.of(change)
    index = _index(relation, change.options["name"])
    full = f"{quote(index.schema)}.{quote(index.name)}"
    # PostgreSQL builds the new one under a name of its own; what a killed build leaves has that name.
    return Steps(
        fill=(
            Block(
                (f"REINDEX INDEX CONCURRENTLY {full}",),
                title=f"rebuild the index {index.name}",
                alone=True,
                builds=(index.schema, f"{index.name}_ccnew"),
            ),
        ),
        tables=(relation.table,),
    )
