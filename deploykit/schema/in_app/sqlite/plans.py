"""What each declared change comes to on SQLite: plain DDL, with the rows copied at once.

After `expand` the new version works, and the old columns are still there as they were then; `contract` drops them. The two shapes are not
kept in step: on a developer's machine one version runs at a time. A way back fills the old shape from the new one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ..changes.sql import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..changes.model import Change
    from .shape import Shape

__all__ = [
    "PLANS",
    "Action",
    "Plan",
    "Reading",
    "column_list",
    "default_clause",
    "load",
    "make_plan",
    "plans",
    "relaxing",
    "sqlite_sql",
    "sqlite_type",
    "text_literal",
]

Action = list[Any]
"""`["table", name, edits]`, `["sql", statement, inverse]`, `["fill", statement]`, `["rename", old, new]`, `["drop", table]`."""


class Reading(Protocol):
    """What a plan asks of the database."""

    def shape(self, table: str) -> Shape:
        """Raises Refused when there is no such table."""
        ...

    def incoming(self, table: str) -> Sequence[tuple[str, str, str]]:
        """(table, column, referred column) of each foreign key of one column that refers to the table."""
        ...


@dataclass
class Plan:
    """`undo` runs before the inverse of `expand`, `reopen` after the inverse of `contract`: statements that fill the old shape."""

    expand: list[Action] = field(default_factory=list)
    contract: list[Action] = field(default_factory=list)
    undo: list[str] = field(default_factory=list)
    reopen: list[str] = field(default_factory=list)
    lost: str = ""
    notes: list[str] = field(default_factory=list)


PLANS: dict[str, Callable[[Change, Reading], Plan]] = {}


def load() -> None:
    """Have every module register its plans."""
    from . import columns, constraints, tables  # noqa: F401


def make_plan(change: Change, reading: Reading) -> Plan:
    """Raises Refused for what SQLite can't do."""
    load()
    return PLANS[change.kind](change, reading)


def plans(*kinds: str) -> Callable[[Callable[[Change, Reading], Plan]], Callable[[Change, Reading], Plan]]:
    def register(function: Callable[[Change, Reading], Plan]) -> Callable[[Change, Reading], Plan]:
        PLANS.update(dict.fromkeys(kinds, function))
        return function

    return register


_TYPES = (
    (r"(big|small)?(int(eger)?|serial)\d*", "INTEGER"),
    (r"(character varying|varchar)(\(\d+\))?", r"VARCHAR\2"),
    (r"(character|char|bpchar)(\(\d+\))?", r"CHAR\2"),
    (r"text|citext", "TEXT"),
    (r"bool(ean)?", "BOOLEAN"),
    (r"timestamp.*", "DATETIME"),
    (r"date", "DATE"),
    (r"time\b.*", "TIME"),
    (r"(numeric|decimal)(\(.*\))?", r"NUMERIC\2"),
    (r"real|double precision|float\d*", "FLOAT"),
    (r"uuid", "CHAR(32)"),
    (r"jsonb?", "JSON"),
    (r"bytea", "BLOB"),
)


def sqlite_type(text: str) -> str:
    """The type that SQLAlchemy would make there; what SQLite does not have, an enumeration say, is text."""
    plain = " ".join(text.lower().split())
    for pattern, made in _TYPES:
        if found := re.fullmatch(pattern, plain):
            return found.expand(made) if "\\" in made else made
    return "VARCHAR"


def sqlite_sql(expression: str) -> str:
    """PostgreSQL's `x::type` and `now()` in SQLite's words, where that is simple."""
    text = re.sub(r"\bnow\(\)", "CURRENT_TIMESTAMP", expression, flags=re.IGNORECASE)
    return re.sub(
        r"(\"[^\"]+\"|'(?:[^']|'')*'|[\w.]+)::([a-z_]+(?: precision| varying)?(?:\([\d, ]+\))?)",
        lambda found: f"CAST({found[1]} AS {sqlite_type(found[2])})",
        text,
    )


def text_literal(value: str) -> str:
    """SQLite has no E'…'."""
    return "'" + value.replace("'", "''") + "'"


def default_clause(expression: str) -> str:
    return f"DEFAULT ({sqlite_sql(expression)})"


def relaxing(shape: Shape, column: str) -> list[Action]:
    """So that a version that does not know the column can insert."""
    text = shape.column(column)
    if not text.has("not null") or text.has("default") or text.has("primary key"):
        return []
    return [["set", column, text.without("not null").sql()]]


def column_list(columns: Sequence[str]) -> str:
    return ", ".join(map(quote, columns))
