"""The few kinds of statement that the ledger needs, the same for SQLite and PostgreSQL.

Names of tables and columns come from `tables` alone and are quoted; every value is bound. Written out here rather than
by SQLAlchemy, whose import is a third of what a command such as `invoke status` takes: see docs/decisions/0007.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deploykit.ledger.tables import Table

__all__ = ["Query", "delete", "insert", "select", "update"]


class Query(NamedTuple):
    """`text` has a `?` for each of `values`, and no other `?` or `%`."""

    text: str
    values: Sequence[Any] = ()


def select(  # noqa: PLR0913 - the clauses of one SELECT, by keyword
    table: Table,
    where: Mapping[str, Any],
    *,
    columns: Sequence[str] = (),
    present: str = "",
    after: tuple[str, Any] | None = None,
    order: Sequence[str] = (),
    limit: int | None = None,
) -> Query:
    """The rows in which each column of `where` has its value, `present` any value, and the column of `after` a greater
    one; all columns where none are named.

    `order` names columns; one with a `-` before it goes from the greatest to the least.
    """
    conditions, values = _conditions(table, where)
    if present:
        conditions += f" AND {_read(table, present)} IS NOT NULL"
    if after is not None:
        conditions += f" AND {_read(table, after[0])} > ?"
        values = [*values, after[1]]
    names = ", ".join(_read(table, column) for column in columns or table.names)
    text = f"SELECT {names} FROM {table.name} WHERE {conditions}"  # noqa: S608  # nosec B608 - values bound
    if order:
        text += " ORDER BY " + ", ".join(
            f"{_read(table, column.lstrip('-'))}{' DESC' if column.startswith('-') else ''}" for column in order
        )
    if limit is not None:
        text += " LIMIT ?"
        values = [*values, limit]
    return Query(text, values)


def insert(table: Table, values: Mapping[str, Any]) -> Query:
    names = ", ".join(_name(table, column) for column in values)
    marks = ", ".join("?" for _ in values)
    return Query(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", list(values.values()))  # noqa: S608  # nosec B608


def update(table: Table, values: Mapping[str, Any], where: Mapping[str, Any]) -> Query:
    news = ", ".join(f"{_name(table, column)} = ?" for column in values)
    conditions, known = _conditions(table, where)
    return Query(f"UPDATE {table.name} SET {news} WHERE {conditions}", [*values.values(), *known])  # noqa: S608  # nosec B608


def delete(table: Table, where: Mapping[str, Any]) -> Query:
    conditions, known = _conditions(table, where)
    return Query(f"DELETE FROM {table.name} WHERE {conditions}", known)  # noqa: S608  # nosec B608


def _conditions(table: Table, where: Mapping[str, Any]) -> tuple[str, list[Any]]:
    return " AND ".join(f"{_read(table, column)} = ?" for column in where), list(where.values())


def _read(table: Table, column: str) -> str:
    """A column whose value is asked for, with its table before it.

    SQLite takes a name in quotes that the table in the file does not have for a text, and answers with that
    (https://sqlite.org/quirks.html#dblquote): not a name that says of which table it is.
    """
    return f"{table.name}.{_name(table, column)}"


def _name(table: Table, column: str) -> str:
    """Quoted: `commit` is a word of SQL."""
    if column not in table.names:
        raise KeyError(f"{table.name} has no column {column}")
    return f'"{column}"'
