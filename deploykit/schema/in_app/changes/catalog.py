"""A table as PostgreSQL's catalog describes it: columns, indexes, constraints and dependent objects."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .model import Refused, Table
from .sql import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .dependents import Dependent

__all__ = ["Column", "Constraint", "Grant", "Index", "Relation", "Statistics", "column_list"]

_DEFERRAL = re.compile(r" DEFERRABLE(?: INITIALLY DEFERRED)?(?= NOT VALID$|$)")
_NOT_COMPARABLE = {"json", "xml", "point", "line", "lseg", "box", "path", "polygon", "circle"}
"""Types whose equality is missing or unexpected; their texts are compared instead."""


@dataclass(frozen=True, order=True)
class Grant:
    """A privilege on one column. `role` is quoted for SQL; `grantable` means WITH GRANT OPTION."""

    role: str
    grantable: bool
    privilege: str


@dataclass(frozen=True)
class Column:
    """A column. `default` is its expression (empty: none), `identity` is '', 'a' or 'd', `generated` is '', 's' or 'v'.

    `grants` are those on the column itself; those on the table apply as well. `collation` is SQL, empty for the type's
    own. `settings` are the actions of ALTER COLUMN that set what is not the default: statistics, storage, compression.
    `operators` is the schema, quoted, of the operators of a type that is not PostgreSQL's own (an extension's).
    """

    name: str
    type: str
    not_null: bool
    default: str
    identity: str
    generated: str
    sequence: str
    comment: str
    grants: tuple[Grant, ...] = ()
    collation: str = ""
    settings: tuple[str, ...] = ()
    operators: str = ""

    @property
    def compared_as_text(self) -> bool:
        """Whether its `=` is missing or not PostgreSQL's own."""
        return bool(self.operators) or not self.comparable

    @property
    def declared(self) -> str:
        """Return the type with its collation."""
        return f"{self.type} COLLATE {self.collation}" if self.collation else self.type

    @property
    def comparable(self) -> bool:
        return self.type.split("(")[0] not in _NOT_COMPARABLE


@dataclass(frozen=True)
class Index:
    """An index. `definition` is PostgreSQL's own; `tail` is what follows the table's name in it (USING …).

    `besides` says what it has that is no part of it: a comment, a tablespace, the mark of CLUSTER.
    """

    name: str
    schema: str
    definition: str
    columns: tuple[str, ...]
    unique: bool
    primary: bool
    constraint: str
    valid: bool
    plain: bool
    besides: str = ""

    @property
    def tail(self) -> str:
        return "USING " + self.definition.partition(" USING ")[2]


@dataclass(frozen=True)
class Constraint:
    """A constraint. `kind` is PostgreSQL's letter: p, u, c, f, x or n.

    `table` is the table that has it, `refers` the one that a foreign key references.
    """

    name: str
    kind: str
    definition: str
    columns: tuple[str, ...]
    table: Table
    refers: Table | None
    referred: tuple[str, ...]

    @property
    def deferral(self) -> str:
        """Return ` DEFERRABLE` and what follows; empty when it is checked at once."""
        found = _DEFERRAL.search(self.definition)
        return found.group() if found else ""


@dataclass(frozen=True)
class Statistics:
    """An object of CREATE STATISTICS: `kinds` and `tail` are the texts before and after its ON.

    `target` is its own statistics target, -1 for none.
    """

    name: str
    schema: str
    kinds: str
    tail: str
    columns: tuple[str, ...]
    expressions: bool
    target: int = -1


@dataclass(frozen=True)
class Relation:
    """A table as it is now. `rows` is PostgreSQL's estimate, -1 when it has none.

    `triggers` are the names of the application's that run before a row is inserted or updated, also on partitions.
    """

    table: Table
    kind: str
    owner: str
    rows: int
    columns: dict[str, Column]
    indexes: tuple[Index, ...]
    constraints: tuple[Constraint, ...]
    incoming: tuple[Constraint, ...]
    views: dict[str, tuple[str, ...]] = field(default_factory=dict)
    grants: tuple[tuple[str, str], ...] = ()
    partition_key: tuple[str, ...] = ()
    parent: Table | None = None
    bound: str = ""
    statistics: tuple[Statistics, ...] = ()
    triggers: tuple[str, ...] = ()
    dependents: tuple[Dependent, ...] = ()
    row_security: bool = False
    publications: tuple[str, ...] = ()

    @property
    def partitioned(self) -> bool:
        return self.kind == "p"

    @property
    def primary_key(self) -> tuple[str, ...]:
        return next((item.columns for item in self.constraints if item.kind == "p"), ())

    def column(self, name: str) -> Column:
        try:
            return self.columns[name]
        except KeyError:
            known = ", ".join(self.columns)
            raise Refused(f"the table {self.table} has no column {name}", f"it has: {known}") from None

    def free(self, name: str) -> None:
        """Raise Refused when the table already has a column of this name."""
        if name in self.columns:
            raise Refused(f"the table {self.table} already has a column {name}", "choose another name for the new one")

    def constraint(self, name: str) -> Constraint | None:
        return next((item for item in self.constraints if item.name == name), None)

    def indexes_on(self, columns: Iterable[str]) -> tuple[Index, ...]:
        wanted = set(columns)
        return tuple(item for item in self.indexes if wanted & set(item.columns))

    def statistics_on(self, columns: Iterable[str]) -> tuple[Statistics, ...]:
        wanted = set(columns)
        return tuple(item for item in self.statistics if wanted & set(item.columns))

    def constraints_on(self, columns: Iterable[str], kinds: str) -> tuple[Constraint, ...]:
        wanted = set(columns)
        return tuple(item for item in self.constraints if item.kind in kinds and wanted & set(item.columns))


def column_list(columns: Iterable[str]) -> str:
    return ", ".join(quote(name) for name in columns)
