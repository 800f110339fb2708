"""Ranges of a table's key, each with a stored cursor, so that no row is processed twice.

Upper bounds are fixed at the start: the sync takes care of later rows, and a pass that follows inserts would never end.
The bounds of a batch are found by LIMIT, since ids have gaps.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..changes.catalog_queries import find_relation
from ..changes.model import Table
from ..changes.sql import literal, quote, table_name
from .state import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .session import Session

__all__ = ["Key", "Range", "batch_end", "key_of", "open_ranges", "plan_ranges", "predicate"]

_SEGMENTS = 16
_ROWS_OF_A_RANGE = 20_000
"""The least size of a range: the last batch of each is not full."""
_ANALYZED = (
    "SELECT s.n_mod_since_analyze <= 0.1 * c.reltuples FROM pg_stat_all_tables s JOIN pg_class c ON c.oid = s.relid "
    "WHERE s.relid = {table}::regclass AND c.reltuples > 0 AND greatest(s.last_analyze, s.last_autoanalyze) IS NOT NULL"
    " AND pg_relation_size(c.oid) <= 1.1 * c.relpages * current_setting('block_size')::bigint"
)
"""Statistics are fresh while less than a tenth was written since, and the table grew by less than a tenth.

From there on autovacuum would analyze (autovacuum_analyze_scale_factor). The size is asked, too, since a session
reports what it wrote up to a minute later (PostgreSQL's manual, The Cumulative Statistics System).
"""


@dataclass(frozen=True)
class Key:
    """The order of the rows: columns with their types; without any, the place in the file (ctid)."""

    columns: tuple[tuple[str, str], ...]

    @property
    def counted(self) -> bool:
        return len(self.columns) == 1 and self.columns[0][1] in {"smallint", "integer", "bigint"}

    def names(self, count: int | None = None) -> str:
        return ", ".join(f"source.{quote(name)}" for name, _ in self.columns[:count])

    def row(self, values: Sequence[str]) -> str:
        return ", ".join(f"{literal(value)}::{type_}" for value, (_, type_) in zip(values, self.columns, strict=False))

    def text(self) -> str:
        """Return one row's key, as people read it."""
        if not self.columns:
            return "source.ctid::text"
        return f"concat_ws(', ', {', '.join(f'source.{quote(name)}::text' for name, _ in self.columns)})"


@dataclass(frozen=True)
class Range:
    """A part of a table: after `lower` (or `cursor`, once it has begun), up to `upper`. An empty value is no bound."""

    number: int
    part: int
    table: Table
    lower: tuple[str, ...]
    upper: tuple[str, ...]
    cursor: tuple[str, ...]


def key_of(session: Session, table: Table) -> Key:
    """Return the primary key, else the columns of a unique index without NULL, else an empty key."""
    rows = session.rows(
        "SELECT i.indexrelid, a.attname, format_type(a.atttypid, a.atttypmod), i.indisprimary FROM pg_index i "
        "JOIN LATERAL unnest(i.indkey) WITH ORDINALITY k(n, o) ON k.o <= i.indnkeyatts "
        "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n "
        f"WHERE i.indrelid = {literal(table_name(table))}::regclass AND i.indisunique AND i.indisvalid AND "
        "i.indpred IS NULL AND i.indexprs IS NULL "
        "AND NOT EXISTS (SELECT FROM unnest(i.indkey) x JOIN pg_attribute b ON b.attrelid = i.indrelid AND "
        "b.attnum = x WHERE NOT b.attnotnull) "
        "ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid, k.o"
    )
    if not rows:
        return Key(())
    return Key(tuple((row[1], row[2]) for row in rows if row[0] == rows[0][0]))


def plan_ranges(session: Session, table: Table, segments: int = _SEGMENTS) -> list[tuple[Table, str, str]]:
    """Return (leaf table, lower, upper) for all present rows.

    The bounds come from the statistics' histogram, so ANALYZE runs first unless these are fresh.
    """
    found: list[tuple[Table, str, str]] = []
    for leaf in _leaves(session, table):
        if not session.value(_ANALYZED.format(table=literal(table_name(leaf)))):
            session.run(f"ANALYZE {table_name(leaf)}")
        key = key_of(session, leaf)
        if key.columns:
            found += [(leaf, *bounds) for bounds in _by_key(session, leaf, key, segments)]
        else:
            pages = session.value(
                f"SELECT pg_relation_size({literal(table_name(leaf))}::regclass) / current_setting('block_size')::int"
            )
            found += [(leaf, "", json.dumps([str(pages)]))] if pages else []
    return found


def _leaves(session: Session, table: Table) -> list[Table]:
    if find_relation(session, table) is None:
        return []
    rows = session.rows(
        f"SELECT n.nspname, c.relname FROM pg_partition_tree({literal(table_name(table))}::regclass) t JOIN "
        "pg_class c ON c.oid = t.relid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE t.isleaf ORDER BY c.relname"
    )
    return [Table(row[1], row[0]) for row in rows] or [table]


def _by_key(session: Session, leaf: Table, key: Key, segments: int) -> list[tuple[str, str]]:
    shown = ", ".join(f"source.{quote(name)}::text" for name, _ in key.columns)
    order = ", ".join(f"source.{quote(name)} DESC" for name, _ in key.columns)
    last = session.rows(f"SELECT {shown} FROM {table_name(leaf)} source ORDER BY {order} LIMIT 1")
    if not last:
        return []
    upper = json.dumps(list(last[0]))
    many = session.value(f"SELECT reltuples::bigint FROM pg_class WHERE oid = {literal(table_name(leaf))}::regclass")
    cuts: list[str] = []
    segments = min(segments, int(many) // _ROWS_OF_A_RANGE)
    if segments > 1:
        bounds = session.value(
            "SELECT histogram_bounds::text::text[] FROM pg_stats "
            f"WHERE schemaname = {literal(leaf.schema)} AND tablename = {literal(leaf.name)} AND attname = "
            f"{literal(key.columns[0][0])}"
        )
        inner = list(bounds or ())[1:-1]
        step = max(len(inner) // segments, 1)
        cuts = inner[step - 1 :: step][: segments - 1]
    lows = ["", *(json.dumps([cut]) for cut in cuts)]
    highs = [*(json.dumps([cut]) for cut in cuts), upper]
    return list(zip(lows, highs, strict=True))


def open_ranges(session: Session, key: str, program: str, number: int) -> list[Range]:
    """Return the ranges that are not done."""
    rows = session.rows(
        f"SELECT part, relation, lower, upper, cursor FROM {SCHEMA}.range "
        f"WHERE key = {literal(key)} AND program = {literal(program)} AND number = {number} AND NOT done ORDER BY part"
    )

    def values(text: str) -> tuple[str, ...]:
        return tuple(json.loads(text)) if text else ()

    return [
        Range(number, int(row[0]), Table(*reversed(json.loads(row[1]))), values(row[2]), values(row[3]), values(row[4]))
        for row in rows
    ]


def relation_text(table: Table) -> str:
    return json.dumps([table.schema, table.name])


def predicate(key: Key, after: Sequence[str], upto: Sequence[str]) -> str:
    """Return the predicate of the rows after one key and up to another, of the alias `source`."""
    if not key.columns:
        low, high = (after[0] if after else "0"), upto[0]
        return f"source.ctid >= '({low},0)'::tid AND source.ctid < '({high},0)'::tid"
    parts = []
    if after:
        parts.append(f"({key.names(len(after))}) > ({key.row(after)})")
    if upto:
        parts.append(f"({key.names(len(upto))}) <= ({key.row(upto)})")
    return " AND ".join(parts) or "TRUE"


def batch_end(
    session: Session, part: Range, key: Key, after: Sequence[str], size: int, *, dense: bool = False
) -> tuple[tuple[str, ...], bool]:
    """Return where a batch of about `size` rows ends, and whether it is the range's last.

    `dense`: the batch before had a row for nearly every number of its range, so the end is computed instead of read.
    """
    if dense and after and part.upper and key.counted:
        end = int(after[0]) + size
        return ((str(end),), False) if end < int(part.upper[0]) else (part.upper, True)
    if not key.columns:
        # Some sixty rows on a page; the number of pages is known without reading.
        low = int(after[0]) if after else 0
        high = min(low + max(size // 60, 1), int(part.upper[0]))
        return (str(high),), high >= int(part.upper[0])
    shown = ", ".join(f"source.{quote(name)}::text" for name, _ in key.columns)
    found = session.rows(
        f"SELECT {shown} FROM {table_name(part.table)} source WHERE {predicate(key, after, part.upper)} "
        f"ORDER BY {key.names()} OFFSET {size - 1} LIMIT 1"
    )
    return (tuple(found[0]), False) if found else (part.upper, True)
