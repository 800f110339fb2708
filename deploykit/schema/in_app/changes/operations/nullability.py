"""What a column holds when a row omits it: NOT NULL set and dropped, and the default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..blocks import alter, fill_null, not_null
from ..model import Block, Change, Comparison, Refused, Step, Steps, Table
from ..sql import quote
from ..sync import drop_sync, fill_sync
from .registry import declares, make, planner

if TYPE_CHECKING:
    from ..schema_reader import SchemaReader


@declares
def expand_set_not_null(
    table: str, column: str, *, fill: str = "", schema: str | None = None, change: str = ""
) -> Change:
    """Forbid NULL. `fill` is the value for rows without one, also for those that old writers still insert."""
    return make("set_not_null", table, schema, change, column, column=column, fill=fill)


@planner("set_not_null")
def _set_not_null(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    table, column = relation.table, relation.column(option["column"])
    fill = option.get("fill", "")
    sure, last = not_null(table, column.name)
    compare = Comparison(
        table,
        f"source.{quote(column.name)} IS NOT NULL",
        f"source.{quote(column.name)}::text",
        "'NOT NULL'",
        title=f"look for NULL in {column.name}",
    )
    if not fill:
        # Who writes NULL now would fail, so nothing is enforced before contract.
        return Steps(
            fill=(compare,),
            contract=(*sure, Block(last, title=f"set {column.name} NOT NULL")),
            reopen=(
                Block((alter(table, f"ALTER COLUMN {quote(column.name)} DROP NOT NULL"),), title="allow NULL again"),
            ),
            undo=(Block((_no_check(table, column.name),), title="take the check away"),),
            tables=(table,),
        )
    sync = fill_sync(change.key, relation, column, fill, list(relation.columns))
    return Steps(
        expand=(Block(sync, title=f"fill {column.name} for writers that leave it out"),),
        fill=(fill_null(table, column.name, fill, change.key), *sure, compare),
        contract=(Block((*last, *drop_sync(change.key, relation)), title=f"set {column.name} NOT NULL"),),
        undo=(
            Block((*drop_sync(change.key, relation), _no_check(table, column.name)), title="take check and sync away"),
        ),
        reopen=(
            Block((*sync, alter(table, f"ALTER COLUMN {quote(column.name)} DROP NOT NULL")), title="allow NULL again"),
            sure[0],
            sure[1],
        ),
        tables=(table,),
    )


def _no_check(table: Table, column: str) -> str:
    return next(item for item in not_null(table, column)[1] if "DROP CONSTRAINT" in item)


@declares
def expand_drop_not_null(
    table: str, column: str, *, fill: str = "", schema: str | None = None, change: str = ""
) -> Change:
    """Allow NULL. `fill` is the value that the way back writes where new writers left NULL."""
    return make("drop_not_null", table, schema, change, column, column=column, fill=fill)


@planner("drop_not_null")
def _drop_not_null(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    table, column = relation.table, relation.column(option["column"])
    if column.name in relation.primary_key:
        raise Refused(f"{table}.{column.name} is part of the primary key", "a key is never NULL")
    fill = option.get("fill") or column.default
    sure, last = not_null(table, column.name)
    back: tuple[Step, ...] = (*sure, Block(last, title=f"set {column.name} NOT NULL"))
    if fill:
        sync = fill_sync(change.key, relation, column, fill, list(relation.columns))
        back = (
            Block(sync, title="fill it for writers that leave it NULL"),
            fill_null(table, column.name, fill, change.key),
            *sure,
            Block((*last, *drop_sync(change.key, relation)), title=f"set {column.name} NOT NULL"),
        )
    return Steps(
        expand=(
            Block(
                (alter(table, f"ALTER COLUMN {quote(column.name)} DROP NOT NULL"),),
                title=f"allow NULL in {column.name}",
            ),
        ),
        undo=back,
        reopen=(),
        tables=(table,),
        notes=() if fill else ("without `fill` the way back fails while a row has NULL",),
    )


@declares
def expand_change_default(
    table: str, column: str, default: str | None, *, schema: str | None = None, change: str = ""
) -> Change:
    """Change the default of a column: SQL, or None for no default. Existing rows stay as they are."""
    return make("change_default", table, schema, change, column, column=column, default=default)


@planner("change_default")
def _change_default(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    table, column = relation.table, relation.column(option["column"])

    def set_to(default: str) -> str:
        action = f"SET DEFAULT {default}" if default else "DROP DEFAULT"
        return alter(table, f"ALTER COLUMN {quote(column.name)} {action}")

    new, title = option.get("default", ""), f"change the default of {column.name}"
    steps = {"undo": (Block((set_to(column.default),), title=title),), "tables": (table,)}
    if not new and column.not_null:
        # Old writers still leave it out.
        return Steps(
            contract=(Block((set_to(""),), title=title),),
            reopen=(Block((set_to(column.default),), title=title),),
            tables=(table,),
        )
    return Steps(expand=(Block((set_to(new),), title=title),), **steps)  # type: ignore[arg-type]
