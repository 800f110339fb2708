"""What a new column has like the old one: privileges, comment, collation, statistics target, storage, compression."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from .blocks import comment, grant, settings
from .catalog import Column
from .model import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .catalog import Relation

__all__ = ["new_attributes", "new_column", "old_attributes"]

_COLLATE = re.compile(r"\s+COLLATE\s+(.+)$", re.IGNORECASE)
_TEXT = re.compile(r"(?:text|character|varchar|char|bpchar|name)\b", re.IGNORECASE)
_STORED = re.compile(
    r"(?:text|character|varchar|char|bpchar|bytea|jsonb?|xml|numeric|decimal|tsvector)\b|.*\[\]$", re.IGNORECASE
)
"""Types whose storage and compression can be set: TOAST may hold their values."""


def new_column(relation: Relation, old: Sequence[str], new: Mapping[str, str], name: str) -> Column:
    """Return the new column `name` of those in `new`, which has the types.

    Raises Refused when an old one has a collation of its own and the new type does not say which it has.
    """
    type_, collation = new[name], ""
    if said := _COLLATE.search(type_):
        type_, collation = type_[: said.start()], said.group(1)
    for column in () if said else map(relation.column, old):
        if column.collation and len(old) == len(new) == 1 and type_ == column.type:
            collation = column.collation
        elif column.collation and _TEXT.match(type_):
            raise Refused(
                f"{relation.table}.{column.name} has the collation {column.collation}, which {name} would not have",
                f"name one in its type: {type_} COLLATE {column.collation}",
            )
    return Column(name, type_, False, "", "", "", "", "", collation=collation)


def new_attributes(
    relations: Sequence[Relation], old: Sequence[str], new: Mapping[str, str], name: str
) -> tuple[str, ...]:
    """Give the new column what the old ones have: on the table, and on each of its partitions."""
    follows = len(old) == len(new) == 1
    return tuple(
        text
        for relation in relations
        for columns in ([relation.column(column) for column in old],)
        for text in (
            *grant(relation.table, name, columns),
            *comment(relation.table, name, columns),
            *(settings(relation.table, name, _fitting(columns[0], new[name])) if follows else ()),
        )
    )


def _fitting(column: Column, type_: str) -> Column:
    """Return the column with the settings that one of the other type can have, too."""
    if type_ == column.type or _STORED.match(type_):
        return column
    return replace(column, settings=tuple(item for item in column.settings if item.startswith("SET STATISTICS")))


def old_attributes(relations: Sequence[Relation], name: str) -> tuple[str, ...]:
    """Give the old column `name` what it had, when it comes back."""
    return tuple(
        text
        for relation in relations
        for column in (relation.column(name),)
        for text in (
            *grant(relation.table, name, [column]),
            *comment(relation.table, name, [column]),
            *settings(relation.table, name, column),
        )
    )
