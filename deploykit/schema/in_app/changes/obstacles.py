"""What a change of columns refuses, since it can't carry it over: by the name of each object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .model import Refused
from .sql import names_in, quote

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from .catalog import Relation

__all__ = [
    "reject_dependents",
    "reject_other_columns",
    "reject_readers",
    "reject_row_security",
    "reject_uncopied",
]


def reject_dependents(relations: Iterable[Relation], columns: Collection[str]) -> None:
    """Raise Refused when something needs one of the columns and would not follow it."""
    for relation in relations:
        for item in relation.dependents:
            if item.column in columns:
                raise Refused(
                    f"{item.what} needs {relation.table}.{item.column}, and would not follow it to another column",
                    "change or drop it in an earlier revision, and make it again for the new column afterwards",
                )


def reject_readers(relation: Relation, columns: Collection[str], new: Collection[str], *, keys: bool) -> None:
    """Raise Refused when a view reads one of the columns, or a foreign key refers to it.

    `keys`: the caller brings the foreign keys along.
    """
    table = relation.table
    for view, read in relation.views.items():
        if used := sorted(set(read) & set(columns)):
            raise Refused(
                f"the view {view} reads {table}.{used[0]}, which would be dropped",
                f"replace the view {view} by one that reads {', '.join(new)} in a revision of its own, or drop it",
            )
    for incoming in () if keys else relation.incoming:
        if set(incoming.referred) & set(columns):
            raise Refused(
                f"{incoming.table} refers to {table}.{', '.join(incoming.referred)} by {incoming.name}",
                "declare it by op.expand_change_key, which brings the references along",
            )


def reject_uncopied(relation: Relation, columns: Collection[str], *, keys: bool) -> None:
    """Raise Refused for constraints and sequences of the columns that a copy can't have meanwhile.

    `keys`: the caller brings the sequence along.
    """
    for item in relation.constraints_on(columns, "up"):
        if item.deferral:
            raise Refused(
                f"the constraint {item.name} of {relation.table} is{item.deferral}, and the index of the new column "
                "would be checked at once, for old writers too",
                "make it NOT DEFERRABLE first, if no version defers it",
            )
    for column in () if keys else map(relation.column, columns):
        if column.sequence and not column.identity:
            raise Refused(
                f"the sequence {column.sequence} belongs to {relation.table}.{column.name}, and would be dropped with "
                "it",
                f"let it stand by itself first: ALTER SEQUENCE {column.sequence} OWNED BY NONE",
            )


def reject_other_columns(relation: Relation, expressions: Mapping[str, str], columns: Collection[str]) -> None:
    """Raise Refused for an expression that reads a column which is no part of the change."""
    for target, expression in expressions.items():
        for name in names_in(expression, relation.columns):
            if name not in columns:
                raise Refused(
                    f"the expression for {target} reads {relation.table}.{name}, and a write to that would not reach "
                    f"{target}",
                    f"leave {name} out of it, or add a column by op.expand_add_column(…, generated=…)",
                )


def reject_row_security(relation: Relation, target: str, *, secured: bool) -> None:
    """Raise Refused when the columns move from a table with row security to one without it."""
    if relation.row_security and not secured:
        raise Refused(
            f"{relation.table} has row security, and {target} has none: everyone who may read that would see all rows",
            f"make {target} with its policies in an earlier revision (ALTER TABLE {quote(target)} ENABLE ROW LEVEL "
            "SECURITY), and move the columns by op.expand_move_column",
        )
