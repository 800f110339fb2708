"""The values that rules work on: what a statement does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["STRENGTH", "Action", "Column", "Constraint", "Key", "Mode", "key", "shown", "stronger"]

Key = tuple[str, str]
"""Schema and name; the schema `public` is the empty one."""

Mode = str
"""A table lock as `pg_locks` names it. https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES"""

STRENGTH = (
    "",
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
"""The modes, from none to the one that excludes all others."""


def stronger(one: Mode, other: Mode) -> bool:
    """Whether the first lock excludes more than the second."""
    return STRENGTH.index(one) > STRENGTH.index(other)


def key(schema: str | None, name: str) -> Key:
    return ("" if schema in {None, "public"} else str(schema), name)


def shown(table: Key) -> str:
    return ".".join(filter(None, table))


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """A constraint. `kind` is check, foreign, unique, primary, exclusion or not-null.

    `valid` is False for NOT VALID; `index` is that of USING INDEX. `not_null` are the columns that a CHECK keeps from
    being NULL.
    """

    kind: str
    name: str = ""
    columns: tuple[str, ...] = ()
    valid: bool = True
    index: str = ""
    target: Key | None = None
    not_null: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column. `default` is empty, `constant` or `volatile`; `length` is its type's limit; `constraints` its own."""

    name: str
    type: str
    length: int = 0
    not_null: bool = False
    default: str = ""
    serial: bool = False
    identity: bool = False
    stored: bool = False
    primary: bool = False
    constraints: tuple[Constraint, ...] = ()

    @property
    def type_text(self) -> str:
        return f"{self.type}({self.length})" if self.length else self.type


@dataclass(frozen=True, kw_only=True)
class Action:
    """One thing that a statement does to one table (or other object) `on`. `locks` are the table locks that it takes.

    `scans`: the table is read or written whole while the strongest of them is held. `also` has what else its kind
    needs.
    """

    kind: str
    on: Key = ("", "")
    column: str = ""
    name: str = ""
    columns: tuple[Column, ...] = ()
    constraint: Constraint | None = None
    concurrent: bool = False
    guarded: bool = False
    scans: bool = False
    locks: tuple[tuple[Key, Mode], ...] = ()
    also: Mapping[str, Any] = field(default_factory=dict)

    @property
    def definition(self) -> Column:
        """The column of an `add_column`."""
        return self.columns[0]

    @property
    def lock(self) -> Mode:
        """The strongest lock on its own table."""
        modes = [mode for table, mode in self.locks if table == self.on]
        return max(modes, key=STRENGTH.index, default="")
