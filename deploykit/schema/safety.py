"""Whether the running version survives the pending migrations, which are applied while it still serves.

It refuses drop, rename, change of type and NOT NULL on a table that existed before. The pending revisions may change
their own objects freely, since no version uses them yet.

It allows changes of type that lose nothing and rewrite no table: a longer VARCHAR, VARCHAR to TEXT, a NUMERIC with more
digits and the same scale (https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-NOTES).
Constraints and indexes, added or dropped, are no part of this check.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from deploykit.schema.inspection import Inspection, Operation, Revision

__all__ = ["Unsafe", "is_widening", "unsafe_operations"]

_LATER = "stop using it in this release, and {what} in a later one, when no release that uses it can come back"
_COPY = (
    "add a new {thing}, write to both, copy the old rows over, read from the new one, and drop the old "
    "one in a later release"
)
_REWRITES = {
    "drop_table": _LATER.format(what="drop the table"),
    "drop_view": _LATER.format(what="drop the view"),
    "drop_schema": _LATER.format(what="drop the schema"),
    "drop_column": _LATER.format(what="drop the column"),
    "truncate": "delete in a later release, when no running version reads these rows",
    "rename_table": "make a view with the new name, move all reads and writes to it, and rename in a later release",
    "rename_column": _COPY.format(thing="column"),
    "rename_object": _COPY.format(thing="one"),
    "alter_type": _COPY.format(thing="column of the new type"),
    "set_not_null": "write the column in this release, fill the empty rows, and set NOT NULL in a later one",
    "add_column": "add it with a server default, or nullable, and set NOT NULL in a later release",
    "drop_default": "keep the server default in this release, and drop it in a later one, when every version "
    "writes the column",
}
_REASONS = {
    "drop_table": "the running version reads and writes {table}",
    "drop_view": "the running version may read {table}",
    "drop_schema": "the running version may use what is in {table}",
    "drop_column": "the running version reads or writes {table}.{column}",
    "truncate": "the running version would find {table} empty, and no rollback brings the rows back",
    "rename_table": "the running version knows {table} by its old name",
    "rename_column": "the running version knows {table}.{column} by its old name",
    "rename_object": "the running version knows {table} by its old name",
    "alter_type": "the running version reads and writes {table}.{column} as its old type, and the table is "
    "locked while it is rewritten",
    "set_not_null": "the running version may still write {table}.{column} as NULL",
    "add_column": "the running version inserts into {table} without {column}, which has no server default",
    "drop_default": "the running version inserts into {table} without {column}, which may not be NULL",
}
_CHARACTERS = re.compile(r"(?:VARCHAR|CHARACTER VARYING)(?:\((\d+)\))?|TEXT")
_NUMERIC = re.compile(r"(?:NUMERIC|DECIMAL)(?:\((\d+)(?:,\s*(\d+))?\))?")


@dataclass(frozen=True, kw_only=True)
class Unsafe:
    """An operation that the running version would not survive. `rewrite` is the safe way, in a sentence."""

    revision: str
    table: str
    operation: str
    why: str
    rewrite: str
    path: str = ""


def unsafe_operations(inspection: Inspection) -> tuple[Unsafe, ...]:
    """Return the operations that must not run while the present version serves.

    `inspection.unknown` has those that can't be judged.
    """
    pending = _Pending()
    return tuple(unsafe for revision in inspection.pending or () for unsafe in pending.judge(revision))


class _Pending:
    """What the pending revisions have made up to a point: tables, and columns on tables that existed before."""

    def __init__(self) -> None:
        self.tables: set[tuple[str, str]] = set()
        self.columns: dict[tuple[str, str, str], tuple[bool, bool]] = {}  # nullable, has a server default

    def judge(self, revision: Revision) -> Iterator[Unsafe]:
        for operation in revision.operations:
            if not self._is_safe(operation):
                names = {"table": operation.table, "column": operation.column}
                yield Unsafe(
                    revision=revision.revision,
                    table=operation.table,
                    operation=operation.kind,
                    why=_REASONS[operation.kind].format(**names),
                    rewrite=_REWRITES[operation.kind],
                    path=revision.path,
                )

    def _is_safe(self, operation: Operation) -> bool:
        table = _key(operation.schema, operation.table)
        # With IF NOT EXISTS a table may have been there before.
        if operation.kind == "create_table" and not operation.detail.get("if_not_exists"):
            self.tables.add(table)
        if table in self.tables:
            if operation.kind == "rename_table":
                self.tables.add(_key(operation.schema, operation.detail["to"]))
            return True
        column = (*table, operation.column)
        if operation.column and column in self.columns:
            return self._is_safe_on_new_column(operation, column)
        return self._is_safe_on_old_table(operation, column)

    def _is_safe_on_old_table(self, operation: Operation, column: tuple[str, str, str]) -> bool:
        detail = operation.detail
        if operation.kind == "add_column":
            nullable, default = bool(detail["nullable"]), bool(detail["default"])
            self.columns[column] = (nullable, default)
            return nullable or default
        if operation.kind == "alter_type":
            return is_widening(detail.get("existing_type") or "", detail["type"])
        if operation.kind == "drop_default":
            return detail.get("nullable") is not False
        return operation.kind not in _REWRITES

    def _is_safe_on_new_column(self, operation: Operation, column: tuple[str, str, str]) -> bool:
        """Whether the operation is safe on a new column, which the running version's inserts omit."""
        nullable, default = self.columns[column]
        if operation.kind == "rename_column":
            self.columns[(*column[:2], operation.detail["to"])] = self.columns.pop(column)
        elif operation.kind == "drop_column":
            del self.columns[column]
        elif operation.kind in {"set_not_null", "drop_not_null"}:
            nullable = operation.kind == "drop_not_null"
            self.columns[column] = (nullable, default)
            return nullable or default
        elif operation.kind in {"set_default", "drop_default"}:
            default = operation.kind == "set_default"
            self.columns[column] = (nullable, default)
            return nullable or default
        return True


def _key(schema: str, table: str) -> tuple[str, str]:
    return ("" if schema == "public" else schema, table)


def is_widening(old: str, new: str) -> bool:
    """Whether the new type has every value of the old one, and PostgreSQL changes it without rewriting the table."""
    old, new = _spaced(old), _spaced(new)
    if not old or not new:
        return False
    if old == new:
        return True
    before, after = _CHARACTERS.fullmatch(old), _CHARACTERS.fullmatch(new)
    if before and after:
        return _holds(after[1], before[1])
    before, after = _NUMERIC.fullmatch(old), _NUMERIC.fullmatch(new)
    if before and after:
        same_scale = (before[2] or "0") == (after[2] or "0") and before[1] is not None
        return after[1] is None or (same_scale and _holds(after[1], before[1]))
    return False


def _holds(new: str | None, old: str | None) -> bool:
    """Whether one limit includes another; None is no limit."""
    return new is None or (old is not None and int(new) >= int(old))


def _spaced(text: str) -> str:
    return re.sub(r"\s*([(),])\s*", r"\1", " ".join(text.upper().split()))


def unknown_lines(revisions: Iterable[Revision]) -> tuple[str, ...]:
    """Return a line for each revision that can't be judged, for people."""
    return tuple(f"{item.revision} ({item.message}) in {item.path}: {item.unknown}" for item in revisions)
