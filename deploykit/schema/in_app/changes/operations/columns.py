"""Changes that add and drop columns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..blocks import DOLLAR, alter, fill_null, not_null
from ..catalog import Column
from ..column_attributes import old_attributes
from ..model import Backfill, Block, Change, Comparison, Refused, Steps, Table
from ..obstacles import reject_dependents
from ..sql import bind, literal, name_for, names_in, quote, table_name
from ..sync import drop_sync, fill_sync, function, function_name, install, reject_other_order
from .registry import declares, make, planner, type_name

if TYPE_CHECKING:
    from ..schema_reader import SchemaReader


@declares
def expand_add_column(  # noqa: PLR0913 - by keyword
    table: str,
    column: str,
    type_: Any,
    *,
    nullable: bool = True,
    default: str = "",
    fill: str = "",
    generated: str = "",
    virtual: bool = False,
    identity: bool = False,
    schema: str | None = None,
    change: str = "",
) -> Change:
    """Add a column. `default` and `fill` are SQL: for rows that omit it, and for existing rows.

    A constant default costs nothing. A volatile one (random(), clock_timestamp()) is set after the column exists, and
    old rows are filled in batches. `generated` computes the column from others, by a trigger, since PostgreSQL would
    rewrite the table. With `virtual` it is computed when read (PostgreSQL 18). `identity` numbers old rows in batches.
    """
    options = {
        "type": type_name(type_),
        "required": not nullable,
        "default": default,
        "fill": fill,
        "generated": generated,
    }
    return make(
        "add_column", table, schema, change, column, column=column, virtual=virtual, identity=identity, **options
    )


_CONSTANT = re.compile(
    r"(?:-?\d+(?:\.\d+)?|true|false|null|(?:[eE])?'(?:[^'\\]|'')*')(?:::[\w\s\"\[\](),]+)?", re.IGNORECASE
)
_STABLE = {"now()", "current_timestamp", "current_date", "localtimestamp"}


def is_cheap(default: str) -> bool:
    """Whether PostgreSQL adds a column with that default without writing rows: a constant or the transaction's time."""
    return bool(_CONSTANT.fullmatch(default.strip())) or default.strip().lower() in _STABLE


_NEVER = {"create_index", "rebuild_index", "drop_not_null", "add_enum_value", "attach_partition"}


def needs_contract(change: Change) -> bool:
    """Whether the declaration leaves an old shape to contract. A needless contract does nothing."""
    option = change.options
    if change.kind == "add_column":
        plain = option.get("identity") or option.get("generated") or not option.get("required")
        return not plain and (bool(option.get("fill")) or not is_cheap(option.get("default", "")))
    if change.kind == "execute":
        return bool(option.get("contract"))
    return change.kind not in _NEVER and option.get("phase") != "expand"


@planner("add_column")
def _add_column(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    relation.free(option["column"])
    if option.get("identity"):
        return _add_identity(change, relation.table)
    if option.get("generated"):
        return _add_generated(change, reader)
    table, name = relation.table, option["column"]
    default, fill, required = option.get("default", ""), option.get("fill", ""), option.get("required", False)
    undo = (Block((alter(table, f"DROP COLUMN IF EXISTS {quote(name)}"),), title=f"drop {name}"),)
    added = f"ADD COLUMN IF NOT EXISTS {quote(name)} {option['type']}"
    if required and not (default or fill):
        raise Refused(
            f"{table}.{name} may not be NULL, and rows that old writers make would have no value",
            "give a default, or `fill` for the rows that are there and for old writers",
        )
    cheap = bool(default) and is_cheap(default)
    if not default and not fill:
        return Steps(expand=(Block((alter(table, added),), title=f"add {name}"),), undo=undo, tables=(table,))
    if cheap and not fill:
        made = alter(table, f"{added} DEFAULT {default}{' NOT NULL' if required else ''}")
        return Steps(expand=(Block((made,), title=f"add {name}"),), undo=undo, tables=(table,))
    column = Column(name, option["type"], False, "", "", "", "", "")
    fill = fill or default
    statements = [alter(table, added)]
    if default:
        # In a statement of its own: with ADD COLUMN it would be computed for every row at once.
        statements.append(alter(table, f"ALTER COLUMN {quote(name)} SET DEFAULT {default}"))
        ended: tuple[str, ...] = ()
    else:
        statements += fill_sync(change.key, relation, column, fill, [*relation.columns, name]) if required else ()
        ended = drop_sync(change.key, relation) if required else ()
    sure, last = not_null(table, name) if required else ((), ())
    contract = (Block((*last, *ended), title=f"set {name} NOT NULL"),) if required else ()
    return Steps(
        expand=(Block(tuple(statements), title=f"add {name}"),),
        fill=(fill_null(table, name, fill, change.key), *sure),
        contract=contract,
        undo=(
            Block(
                (*drop_sync(change.key, relation), alter(table, f"DROP COLUMN IF EXISTS {quote(name)}")),
                title=f"drop {name}",
            ),
        ),
        reopen=(
            Block(
                (*(statements[1:] if ended else ()), alter(table, f"ALTER COLUMN {quote(name)} DROP NOT NULL")),
                title="allow NULL again",
            ),
        )
        if required
        else (),
        tables=(table,),
    )


def _add_generated(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    table, name, expression = relation.table, option["column"], option["generated"]
    undo = Block(
        (*drop_sync(change.key, relation), alter(table, f"DROP COLUMN IF EXISTS {quote(name)}")), title=f"drop {name}"
    )
    if option.get("virtual"):
        if reader.version < 180000:
            raise Refused(
                "virtual generated columns exist from PostgreSQL 18",
                "leave `virtual` out: a trigger then computes the column",
            )
        made = f"ADD COLUMN IF NOT EXISTS {quote(name)} {option['type']} GENERATED ALWAYS AS ({expression}) VIRTUAL"
        return Steps(expand=(Block((alter(table, made),), title=f"add {name}"),), undo=(undo,), tables=(table,))
    reject_other_order(relation)
    columns = list(relation.columns)
    target = f"NEW.{quote(name)}"
    value = bind(expression, columns, "NEW")
    body = f"BEGIN\n  {target} := {value};\n  RETURN NEW;\nEND"
    used = [*names_in(expression, columns), name]
    changed = " OR ".join(f"OLD.{quote(item)} IS DISTINCT FROM NEW.{quote(item)}" for item in used)
    # A trigger of the application may change the columns in a row that the backfill writes.
    when = "" if relation.triggers else None
    sync = install(change.key, table, function(function_name(change.key), body), changed, when=when)
    column = f"source.{quote(name)}"
    return Steps(
        expand=(
            Block(
                (alter(table, f"ADD COLUMN IF NOT EXISTS {quote(name)} {option['type']}"), *sync),
                title=f"add {name}, computed by a trigger",
            ),
        ),
        fill=(
            Backfill(
                table,
                ((name, expression),),
                f"{quote(name)} IS DISTINCT FROM ({expression})",
                change.key,
                title=f"fill {name}",
            ),
            Comparison(
                table,
                f"{column} IS NOT DISTINCT FROM ({bind(expression, columns, 'source')})",
                f"({bind(expression, columns, 'source')})::text",
                f"{column}::text",
                title=f"compare {name}",
            ),
        ),
        undo=(undo,),
        tables=(table,),
        notes=("the trigger stays for good: it is what computes the column",),
    )


def _add_identity(change: Change, table: Table) -> Steps:
    option = change.options
    name = option["column"]
    sequence = f"{quote(table.schema)}.{quote(name_for(table.name, name, 'seq', 'dk'))}"
    sure, last = not_null(table, name)
    column = quote(name)
    # The numbers continue where the sequence stopped. The table is locked, so no session can draw one in between.
    handed = (
        f"DO {DOLLAR} DECLARE next bigint; BEGIN IF to_regclass({literal(sequence)}) IS NOT NULL THEN SELECT "
        f"nextval({literal(sequence)}) INTO next; "
        f"EXECUTE format('ALTER TABLE %s ALTER COLUMN %I DROP DEFAULT', {literal(table_name(table))}, "
        f"{literal(name)}); "
        "EXECUTE format('ALTER TABLE %s ALTER COLUMN %I ADD GENERATED BY DEFAULT AS IDENTITY (START WITH %s)', "
        f"{literal(table_name(table))}, {literal(name)}, next); "
        f"DROP SEQUENCE {sequence}; END IF; END {DOLLAR}"
    )
    return Steps(
        expand=(
            Block(
                (
                    alter(table, f"ADD COLUMN IF NOT EXISTS {column} {option['type']}"),
                    f"CREATE SEQUENCE IF NOT EXISTS {sequence} AS {option['type']} OWNED BY "
                    f"{table_name(table)}.{column}",
                    alter(table, f"ALTER COLUMN {column} SET DEFAULT nextval({literal(sequence)})"),
                ),
                title=f"add {name} with a sequence",
            ),
        ),
        fill=(
            fill_null(table, name, f"nextval({literal(sequence)})", change.key),
            *sure,
            Block((last[0], handed, last[1]), title=f"make {name} an identity column"),
        ),
        undo=(
            Block(
                (alter(table, f"DROP COLUMN IF EXISTS {column}"), f"DROP SEQUENCE IF EXISTS {sequence}"),
                title=f"drop {name}",
            ),
        ),
        tables=(table,),
    )


@declares
def expand_drop_column(
    table: str, column: str, *, fill: str = "", schema: str | None = None, change: str = ""
) -> Change:
    """Drop a column when no version reads it any more.

    `fill` is the value that an old version finds in rows of a new one. It is required for a NOT NULL column without a
    default.
    """
    return make("drop_column", table, schema, change, column, column=column, fill=fill)


@planner("drop_column")
def _drop_column(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    table, column = relation.table, relation.column(option["column"])
    fill = option.get("fill", "")
    _refuse_drop(change, reader)
    reject_dependents([relation, *reader.parts(relation)], [column.name])
    before: list[str] = []
    after: list[str] = []
    if column.not_null and not (column.default or column.identity or column.generated):
        if not fill:
            raise Refused(
                f"{table}.{column.name} may not be NULL and has no default, so inserts of the new version would fail",
                "give `fill`: what an old version finds in rows that the new one wrote",
            )
        before.append(alter(table, f"ALTER COLUMN {quote(column.name)} SET DEFAULT {fill}"))
        after.append(alter(table, f"ALTER COLUMN {quote(column.name)} DROP DEFAULT"))
    default = fill or column.default
    again = f"ADD COLUMN IF NOT EXISTS {quote(column.name)} {column.declared}"
    if default:
        again += f" DEFAULT {default}" + (" NOT NULL" if column.not_null else "")
    attributes = old_attributes([relation, *reader.parts(relation)], column.name)
    return Steps(
        expand=(Block(tuple(before), title=f"let {column.name} be left out"),) if before else (),
        contract=(Block((alter(table, f"DROP COLUMN IF EXISTS {quote(column.name)}"),), title=f"drop {column.name}"),),
        undo=(Block(tuple(after), title="take the default away"),) if after else (),
        reopen=()
        if column.generated or column.identity or column.sequence
        else (Block((alter(table, again), *attributes), title=f"add {column.name} again, without its values"),),
        lost=f"the values of {table}.{column.name}",
        tables=(table,),
        notes=tuple(f"the index {item.name} goes with it" for item in relation.indexes_on([column.name])),
    )


def _refuse_drop(change: Change, reader: SchemaReader) -> None:
    relation, name = reader.of(change), change.options["column"]
    for view, columns in relation.views.items():
        if name in columns:
            raise Refused(f"the view {view} reads {relation.table}.{name}", f"replace the view {view} first")
    for incoming in relation.incoming:
        if name in incoming.referred:
            raise Refused(
                f"{incoming.table} refers to {relation.table}.{name}",
                f"drop {incoming.name} by a change of its own first",
            )
    if name in relation.partition_key:
        raise Refused(f"the table is partitioned by {name}", "move the rows to a new table instead")
