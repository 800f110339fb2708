"""Model changes as declarations: Alembic's operations on existing tables become `op.expand_*` and `op.contract`.

A rename looks like a drop and an add, so the model declares it: `info={"renamed_from": "name"}` on the new column or
table. A renamed column of another type becomes a change of type.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .alembic_operations import operation
from .changes.operations.columns import needs_contract
from .changes.operations.registry import DECLARATIONS, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .changes.model import Change

__all__ = ["RENAMED", "Split", "split"]

RENAMED = "renamed_from"


@dataclass
class Split:
    """The result: operations for the expand revision, and keys for the contract revision.

    `moved` lists the model columns that are now stored under another name: (table, old, new).
    """

    expand: list[Any] = field(default_factory=list)
    contract: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    moved: list[tuple[str, str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def declare(self, kind: str, *arguments: Any, **options: Any) -> Change:
        change = DECLARATIONS[kind](*arguments, **options)
        self.expand.append(operation("expand", change))
        self.keys.append(change.key)
        if needs_contract(change):
            self.contract.append(change.key)
        return change


def split(operations: Sequence[Any], metadata: Any) -> Split:
    """Convert Alembic's operations, in their order."""
    from alembic.operations import ops

    flat = list(_flat(operations))
    new_tables = {item.table_name for item in flat if isinstance(item, ops.CreateTableOp)}
    renamed = {
        item.info[RENAMED]: item.table_name
        for item in flat
        if isinstance(item, ops.CreateTableOp) and RENAMED in (item.info or {})
    }
    found = Split()
    taken: set[int] = set()
    for old, new in renamed.items():
        taken |= {id(item) for item in flat if _table_of(item) in {old, new}}
        found.declare("rename_table", old, new)
    _take_renamed_columns(flat, taken, found)
    for item in flat:
        if id(item) in taken:
            continue
        handler = next((make for kind, make in _handlers() if isinstance(item, kind)), None)
        if _table_of(item) in new_tables or handler is None:
            found.expand.append(item)  # no version uses it yet
            continue
        handler(found, item, metadata)
    return found


def _flat(operations: Sequence[Any]) -> Any:
    for item in operations:
        if hasattr(item, "ops"):
            yield from _flat(item.ops)
        else:
            yield item


def _table_of(item: Any) -> str:
    return str(getattr(item, "table_name", None) or getattr(item, "source_table", None) or "")


def _take_renamed_columns(flat: Sequence[Any], taken: set[int], found: Split) -> None:
    from alembic.operations import ops

    for item in flat:
        if not isinstance(item, ops.AddColumnOp):
            continue
        # A column that `db.revision` has renamed itself needs no declaration: `price_2` follows `price`.
        old = item.column.info.get(RENAMED) or item.column.name.removesuffix("_2")
        dropped = next(
            (
                other
                for other in flat
                if old
                and isinstance(other, ops.DropColumnOp)
                and (other.table_name, other.column_name) == (item.table_name, old)
            ),
            None,
        )
        if dropped is None:
            continue
        taken |= {id(item), id(dropped)}
        before = getattr(dropped._reverse, "column", None)  # noqa: SLF001 - what Alembic would add again
        if before is not None and type_name(before.type) != type_name(item.column.type):
            found.declare(
                "change_type",
                item.table_name,
                old,
                item.column.type,
                to=item.column.name,
                nullable=_looser(before, item.column),
                schema=item.schema,
            )
        else:
            found.declare("rename_column", item.table_name, old, item.column.name, schema=item.schema)
        taken |= _following(flat, item.table_name, old, item.column.name)


def _following(flat: Sequence[Any], table: str, old: str, new: str) -> set[int]:
    """Return the indexes and constraints of that one column, old and new: they follow the column by themselves."""
    from alembic.operations import ops

    here = [other for other in flat if _table_of(other) == table]
    going = [
        other
        for other in here
        if isinstance(other, ops.DropIndexOp | ops.DropConstraintOp) and _columns_of(other) == [old]
    ]
    kinds = [type(other._reverse) for other in going]  # noqa: SLF001 - what Alembic would make again
    coming = []
    for other in here:
        if _columns_of(other) == [new] and type(other) in kinds:
            kinds.remove(type(other))
            coming.append(other)
    return {id(other) for other in (*going, *coming)}


def _looser(before: Any, after: Any) -> bool:
    return bool(after.nullable and not before.nullable)


def _columns_of(item: Any) -> list[str]:
    from alembic.operations import ops

    if isinstance(item, ops.DropIndexOp | ops.DropConstraintOp) and item._reverse is not None:  # noqa: SLF001
        return _columns_of(item._reverse)  # noqa: SLF001
    if isinstance(item, ops.CreateIndexOp | ops.CreateUniqueConstraintOp):
        return [str(getattr(column, "name", column)) for column in item.columns]
    if isinstance(item, ops.CreateForeignKeyOp):
        return list(item.local_cols)
    return []


def _handlers() -> tuple[tuple[type[Any], Callable[[Split, Any, Any], None]], ...]:
    from alembic.operations import ops

    return (
        (ops.AddColumnOp, _add_column),
        (ops.DropColumnOp, _drop_column),
        (ops.AlterColumnOp, _alter_column),
        (ops.CreateIndexOp, _create_index),
        (ops.DropIndexOp, lambda found, op, _: _declared(found, "drop_index", op, op.index_name)),
        (ops.CreateUniqueConstraintOp, _unique),
        (ops.CreateForeignKeyOp, _foreign_key),
        (
            ops.CreateCheckConstraintOp,
            lambda found, op, _: _declared(found, "add_check", op, op.constraint_name, str(op.condition)),
        ),
        (ops.DropConstraintOp, lambda found, op, _: _declared(found, "drop_constraint", op, op.constraint_name)),
        (ops.DropTableOp, lambda found, op, _: _declared(found, "drop_table", op)),
    )


def _declared(found: Split, kind: str, op: Any, *arguments: Any, **options: Any) -> None:
    found.declare(kind, op.table_name, *arguments, schema=op.schema, **options)


def _unique(found: Split, op: Any, _: Any) -> None:
    columns = [str(column) for column in op.columns]
    name = op.constraint_name or f"uq_{op.table_name}_{'_'.join(columns)}"
    name, columns = _moved(found, op.table_name, name, columns)
    # No version writes the new columns yet, so nothing can violate it.
    new = {(item.table_name, item.column.name) for item in found.expand if hasattr(item, "column")}
    fresh = all((op.table_name, column) in new for column in columns)
    found.declare(
        "add_unique",
        op.table_name,
        name,
        columns,
        phase="expand" if fresh else "contract",
        schema=op.schema,
    )


def _add_column(found: Split, op: Any, _: Any) -> None:
    column = op.column
    # In SQLAlchemy a generated column's expression and an identity are the server's default, too.
    own = column.computed is not None or column.identity is not None
    default = "" if own else _default(column.server_default)
    if column.computed is not None:
        found.declare(
            "add_column",
            op.table_name,
            column.name,
            column.type,
            generated=str(column.computed.sqltext),
            schema=op.schema,
        )
    elif column.identity is not None:
        found.declare("add_column", op.table_name, column.name, column.type, identity=True, schema=op.schema)
    elif column.nullable and not default:
        found.expand.append(op)  # nothing of the old shape minds it
    elif default or column.nullable:
        found.declare(
            "add_column",
            op.table_name,
            column.name,
            column.type,
            nullable=bool(column.nullable),
            default=default,
            schema=op.schema,
        )
    else:
        found.declare(
            "add_column",
            op.table_name,
            column.name,
            column.type,
            nullable=False,
            fill="",
            schema=op.schema,
        )
        found.notes.append(
            f"{op.table_name}.{column.name} may not be NULL: write into `fill` what rows get that are there, "
            "and those of the old version"
        )


def _drop_column(found: Split, op: Any, _: Any) -> None:
    before = getattr(op._reverse, "column", None)  # noqa: SLF001 - what Alembic would add again
    if before is not None and not before.nullable and before.server_default is None:
        found.notes.append(
            f"{op.table_name}.{op.column_name} may not be NULL: write into `fill` what the old version finds in "
            "rows of the new one"
        )
    found.declare("drop_column", op.table_name, op.column_name, schema=op.schema)


def _alter_column(found: Split, op: Any, _: Any) -> None:
    where = {"schema": op.schema}
    if op.modify_type is not None:
        new = f"{op.column_name}_2"
        nullable = bool(op.modify_nullable)
        change = found.declare(
            "change_type", op.table_name, op.column_name, op.modify_type, to=new, nullable=nullable, **where
        )
        found.moved.append((op.table_name, op.column_name, new))
        found.notes.append(f"{change.key}: look at `up` and `down`, where a cast is not what is meant")
        return
    if op.modify_nullable is False:
        found.declare("set_not_null", op.table_name, op.column_name, fill="", **where)
        found.notes.append(
            f"{op.table_name}.{op.column_name}: give `fill` where old rows, or the old version, have NULL there"
        )
    elif op.modify_nullable is True:
        found.declare("drop_not_null", op.table_name, op.column_name, **where)
    if op.modify_server_default is not False:
        default = _default(op.modify_server_default) or None
        found.declare("change_default", op.table_name, op.column_name, default, **where)
    if op.modify_comment is not False:
        found.expand.append(op)


def _create_index(found: Split, op: Any, _: Any) -> None:
    columns = [str(column) if isinstance(column, str) else _expression(column) for column in op.columns]
    options = {key.removeprefix("postgresql_"): value for key, value in op.kw.items() if key.startswith("postgresql_")}
    where = options.get("where")
    name, columns = _moved(found, op.table_name, op.index_name, columns)
    found.declare(
        "create_index",
        op.table_name,
        name,
        columns,
        unique=bool(op.unique),
        using=options.get("using") or "btree",
        where=_text(where) if where is not None else "",
        include=[str(getattr(item, "name", item)) for item in options.get("include") or ()],
        schema=op.schema,
    )


def _moved(found: Split, table: str, name: str, columns: list[str]) -> tuple[str, list[str]]:
    """Return name and columns of an index or constraint on a renamed column.

    SQLAlchemy derives the name from the column.
    """
    for where, old, new in found.moved:
        if where == table and old in columns:
            name = f"{name.removesuffix(old)}{new}" if name.endswith(old) else name
            columns = [new if column == old else column for column in columns]
    return name, columns


def _expression(element: Any) -> str:
    """Return a column's name, or an expression as PostgreSQL's CREATE INDEX wants it."""
    from sqlalchemy.sql.elements import ColumnClause

    return str(element.name) if isinstance(element, ColumnClause) else _text(element.self_group())


def _text(element: Any) -> str:
    """Return the SQL with its values inlined, and without the table's name."""
    from sqlalchemy.dialects import postgresql

    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    return str(element.compile(dialect=dialect, compile_kwargs={"literal_binds": True, "include_table": False}))


def _foreign_key(found: Split, op: Any, _: Any) -> None:
    name = op.constraint_name or f"fk_{op.source_table}_{'_'.join(op.local_cols)}"
    found.declare(
        "add_foreign_key",
        op.source_table,
        name,
        list(op.local_cols),
        op.referent_table,
        list(op.remote_cols),
        on_delete=op.kw.get("ondelete") or "",
        on_update=op.kw.get("onupdate") or "",
        schema=op.kw.get("source_schema"),
    )


def _default(default: Any) -> str:
    """Return the server default as SQL; empty when there is none."""
    argument = getattr(default, "arg", default)
    if argument is None or argument is False:
        return ""
    if isinstance(argument, str):
        return "'" + argument.replace("'", "''") + "'"
    return _text(argument)
