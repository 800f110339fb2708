"""The registry of operations: the declaration and the planner of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..model import Change, Refused, Steps
from ..sql import name_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..schema_reader import SchemaReader

__all__ = ["DECLARATIONS", "PLANNERS", "declares", "make", "planner", "type_name"]

PLANNERS: dict[str, Callable[[Change, SchemaReader], Steps]] = {}
DECLARATIONS: dict[str, Callable[..., Change]] = {}
"""`op.expand_<kind>` by kind."""


def planner(kind: str) -> Callable[[Callable[[Change, SchemaReader], Steps]], Callable[[Change, SchemaReader], Steps]]:
    def register(function: Callable[[Change, SchemaReader], Steps]) -> Callable[[Change, SchemaReader], Steps]:
        PLANNERS[kind] = function
        return function

    return register


def declares(function: Callable[..., Change]) -> Callable[..., Change]:
    DECLARATIONS[function.__name__.removeprefix("expand_")] = function
    return function


def make(kind: str, table: str, schema: str | None, change: str, *parts: str, **options: Any) -> Change:
    """Return the change; its key is the given one, else made of table, parts and kind. Raises Refused for a bad key."""
    key = change or name_for(table, *parts, kind)
    if not key.replace("_", "").isalnum() or not key.isascii():
        raise Refused(f"the name of a change has letters, digits and _ only: {key!r}", "give one: change='…'")
    return Change(
        key,
        kind,
        table,
        schema or "",
        {name: value for name, value in options.items() if value not in (None, "", {}, [])},
    )


def type_name(type_: Any) -> str:
    """Return the type as PostgreSQL writes it; a text stays unchanged."""
    if isinstance(type_, str):
        return type_
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.types import to_instance

    return str(to_instance(type_).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
