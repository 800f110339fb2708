"""PostgreSQL's types and expressions in SQLite's words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..changes.sql import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["column_list", "default_clause", "sqlite_sql", "sqlite_type", "text_literal"]

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
    """Return the type that SQLAlchemy would use there; a type that SQLite lacks, such as an enumeration, is text."""
    plain = " ".join(text.lower().split())
    for pattern, made in _TYPES:
        if found := re.fullmatch(pattern, plain):
            return found.expand(made) if "\\" in made else made
    return "VARCHAR"


def sqlite_sql(expression: str) -> str:
    """Translate PostgreSQL's `x::type` and `now()` into SQLite's SQL, where that is simple."""
    text = re.sub(r"\bnow\(\)", "CURRENT_TIMESTAMP", expression, flags=re.IGNORECASE)
    return re.sub(
        r"(\"[^\"]+\"|'(?:[^']|'')*'|[\w.]+)::([a-z_]+(?: precision| varying)?(?:\([\d, ]+\))?)",
        lambda found: f"CAST({found[1]} AS {sqlite_type(found[2])})",
        text,
    )


def text_literal(value: str) -> str:
    """Return the text as a literal; SQLite has no E'…'."""
    return "'" + value.replace("'", "''") + "'"


def default_clause(expression: str) -> str:
    return f"DEFAULT ({sqlite_sql(expression)})"


def column_list(columns: Sequence[str]) -> str:
    return ", ".join(map(quote, columns))
