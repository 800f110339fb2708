"""Alembic's operations as plain data: kind, table, column, and what decides about safety."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Dialect


def describe(operation: Any, dialect: Dialect) -> list[dict[str, Any]] | None:
    """Describe an operation, in its order; None for one that is not Alembic's own.

    An entry with `statement` is SQL that is still to be classified.
    """
    from alembic.operations import ops

    if (ours := _declared(operation)) is not None:
        return ours
    table = {"table": getattr(operation, "table_name", None), "schema": getattr(operation, "schema", None)}
    rules: tuple[tuple[type[Any], Callable[[Any], list[dict[str, Any]]]], ...] = (
        (ops.ExecuteSQLOp, lambda op: [{"statement": op.sqltext}]),
        (ops.BulkInsertOp, lambda op: [{"kind": "data", "table": op.table.name, "schema": op.table.schema}]),
        (ops.CreateTableOp, lambda op: [{"kind": "create_table", **table, "if_not_exists": _guarded(op)}]),
        (ops.AlterColumnOp, lambda op: _alter_column(op, table, dialect)),
        (ops.AddColumnOp, lambda op: [{"kind": "add_column", **table, **_column(op.column, dialect)}]),
        (ops.DropColumnOp, lambda op: [{"kind": "drop_column", **table, "column": op.column_name}]),
        (ops.DropTableOp, lambda _: [{"kind": "drop_table", **table}]),
        (ops.RenameTableOp, lambda op: [{"kind": "rename_table", **table, "to": op.new_table_name}]),
        (ops.CreateIndexOp, lambda _: [{"kind": "create_index", **table}]),
        (ops.DropIndexOp, lambda _: [{"kind": "drop_index", **table}]),
        (ops.DropConstraintOp, lambda _: [{"kind": "drop_constraint", **table}]),
        (ops.CreateForeignKeyOp, lambda op: [{"kind": "add_constraint", "table": op.source_table, "schema": None}]),
        (ops.AddConstraintOp, lambda _: [{"kind": "add_constraint", **table}]),
        (ops.CreateTableCommentOp, lambda _: [{"kind": "comment", **table}]),
        (ops.DropTableCommentOp, lambda _: [{"kind": "comment", **table}]),
    )
    return next((rule(operation) for cls, rule in rules if isinstance(operation, cls)), None)


def _declared(operation: Any) -> list[dict[str, Any]] | None:
    """Describe the kit's own operations. An expand is safe for the running version; contract has its own gate."""
    change, key, name = getattr(operation, "change", None), getattr(operation, "key", None), type(operation).__name__
    if name == "ExpandOp" and change is not None:
        return [
            {"kind": "expand", "table": change.table, "schema": change.schema, "change": dataclasses.asdict(change)}
        ]
    if name in {"ContractOp", "UndoOp", "ReopenOp"} and isinstance(key, str):
        return [{"kind": name.removesuffix("Op").lower(), "table": None, "schema": None, "key": key}]
    return None


def _guarded(operation: Any) -> bool:
    return bool(getattr(operation, "if_not_exists", False))  # since Alembic 1.13.3


def _column(column: Any, dialect: Dialect) -> dict[str, Any]:
    serial = (
        column.primary_key
        and column.autoincrement is not False
        and type_text(column.type, dialect).startswith(("INT", "BIGINT", "SMALLINT"))
    )
    default = column.server_default is not None or column.computed is not None or column.identity is not None
    return {
        "column": column.name,
        "nullable": bool(column.nullable),
        "default": bool(default or serial),
        "type": type_text(column.type, dialect),
    }


def _alter_column(operation: Any, table: dict[str, Any], dialect: Dialect) -> list[dict[str, Any]]:
    column = {**table, "column": operation.column_name}
    found: list[dict[str, Any]] = []
    if operation.modify_type is not None:
        existing = operation.existing_type
        found.append(
            {
                "kind": "alter_type",
                **column,
                "type": type_text(operation.modify_type, dialect),
                "existing_type": type_text(existing, dialect) if existing is not None else None,
            }
        )
    if operation.modify_server_default is not False:
        dropped = operation.modify_server_default is None
        found.append(
            {"kind": "drop_default" if dropped else "set_default", **column, "nullable": operation.existing_nullable}
        )
    if operation.modify_nullable is not None:
        found.append({"kind": "drop_not_null" if operation.modify_nullable else "set_not_null", **column})
    if operation.modify_name is not None and operation.modify_name != operation.column_name:
        found.append({"kind": "rename_column", **column, "to": operation.modify_name})
    if operation.modify_comment is not False:
        found.append({"kind": "comment", **column})
    return found or [{"kind": "other", **column}]


def type_text(type_: Any, dialect: Dialect) -> str:
    """Return the type as the database writes it, such as `VARCHAR(20)`."""
    from sqlalchemy.types import to_instance

    try:
        return str(to_instance(type_).compile(dialect=dialect))
    except Exception:  # noqa: BLE001 - a type of the application, which may raise anything
        return repr(type_)
