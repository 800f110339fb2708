"""The plan of a declared change on SQLite: plain DDL, with the rows copied at once.

After `expand` the new version works, and the old columns keep their values; `contract` drops them. The two shapes are
not kept in sync: on a developer's machine one version runs at a time. A way back fills the old shape from the new one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..changes.model import Change
    from .shape import Shape

__all__ = ["PLANS", "Action", "Plan", "TableReader", "plans", "relaxing"]

Action = list[Any]
"""One action of a plan, by its first item.

It is `["table", name, edits]`, `["sql", statement, inverse]`, `["fill", statement]`, `["rename", old, new]` or
`["drop", table]`.
"""


class TableReader(Protocol):
    """The tables of a database, as planners read them."""

    def shape(self, table: str) -> Shape:
        """Return the table's shape. Raises Refused when there is no such table."""
        ...

    def incoming(self, table: str) -> Sequence[tuple[str, str, str]]:
        """Return (table, column, referenced column) of each single-column foreign key that references the table."""
        ...


@dataclass
class Plan:
    """The actions of a change.

    `undo` runs before the inverse of `expand`, `reopen` after the inverse of `contract`: statements that fill the old
    shape.
    """

    expand: list[Action] = field(default_factory=list)
    contract: list[Action] = field(default_factory=list)
    undo: list[str] = field(default_factory=list)
    reopen: list[str] = field(default_factory=list)
    lost: str = ""
    notes: list[str] = field(default_factory=list)


PLANS: dict[str, Callable[[Change, TableReader], Plan]] = {}


def plans(*kinds: str) -> Callable[[Callable[[Change, TableReader], Plan]], Callable[[Change, TableReader], Plan]]:
    def register(function: Callable[[Change, TableReader], Plan]) -> Callable[[Change, TableReader], Plan]:
        PLANS.update(dict.fromkeys(kinds, function))
        return function

    return register


def relaxing(shape: Shape, column: str) -> list[Action]:
    """Return the edits that let a version insert that does not know the column."""
    text = shape.column(column)
    if not text.has("not null") or text.has("default") or text.has("primary key"):
        return []
    return [["set", column, text.without("not null").sql()]]
