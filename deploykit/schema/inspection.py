"""The result of an inspection of migrations, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Head", "Inspection", "Operation", "Revision"]


@dataclass(frozen=True, kw_only=True)
class Head:
    """A revision that no other follows. `labels` are the labels of its branch."""

    revision: str
    message: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation of a revision. `detail` has what its kind needs: `nullable`, `default`, `type`, `to`, …

    The kinds are those of Alembic's operations: create_table, drop_table, rename_table, truncate, add_column,
    drop_column, rename_column, alter_type.

    Of constraints and indexes: set_not_null, drop_not_null, set_default, drop_default, create_index, drop_index,
    add_constraint, drop_constraint.

    Of other objects: drop_view, drop_schema, create_object, drop_object, rename_object, comment, data, other, unknown.
    """

    kind: str
    table: str = ""
    schema: str = ""
    column: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Operation:
        own = {"kind", "table", "schema", "column"}
        return cls(
            kind=value["kind"],
            table=value.get("table") or "",
            schema=value.get("schema") or "",
            column=value.get("column") or "",
            detail={name: item for name, item in value.items() if name not in own},
        )


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A pending revision. `unknown` says why its operations may be incomplete; empty when they are complete."""

    revision: str
    message: str
    path: str
    operations: tuple[Operation, ...]
    unknown: str = ""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The heads, the current and the pending revisions.

    `current` and `pending` are None when the database was not read: its URL was not given, or `error` says why.
    `branches` has the heads of each branch label (the empty label: no label). `missing` are revisions that the database
    has and this version lacks: a later version migrated it. `error_kind` is alembic, migrations, revisions, variable or
    database.
    """

    heads: tuple[Head, ...] = ()
    branches: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dialect: str = ""
    current: tuple[str, ...] | None = None
    missing: tuple[str, ...] = ()
    pending: tuple[Revision, ...] | None = None
    changes: bool = False
    """Whether the database's ledger has declared changes."""
    error: str = ""
    error_kind: str = ""

    @property
    def crowded(self) -> Mapping[str, tuple[str, ...]]:
        """The branches with more than one head: two revisions follow the same one, and need a merge."""
        return {label: heads for label, heads in self.branches.items() if len(heads) > 1}

    @property
    def unknown(self) -> tuple[Revision, ...]:
        """The pending revisions whose safety can't be judged."""
        return tuple(revision for revision in self.pending or () if revision.unknown)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Inspection:
        error = value.get("error") or {}
        current, pending = value.get("current"), value.get("pending")
        return cls(
            heads=tuple(
                Head(revision=head["revision"], message=head["message"] or "", labels=tuple(head["labels"]))
                for head in value.get("heads", ())
            ),
            branches={label: tuple(heads) for label, heads in value.get("branches", {}).items()},
            dialect=value.get("dialect", ""),
            current=None if current is None else tuple(current),
            missing=tuple(value.get("missing", ())),
            pending=None if pending is None else tuple(_revision(item) for item in pending),
            changes=bool(value.get("changes", False)),
            error=error.get("message", ""),
            error_kind=error.get("kind", ""),
        )


def _revision(value: Mapping[str, Any]) -> Revision:
    return Revision(
        revision=value["revision"],
        message=value["message"] or "",
        path=value["path"],
        operations=tuple(Operation.from_json(item) for item in value["operations"]),
        unknown=value.get("unknown") or "",
    )
