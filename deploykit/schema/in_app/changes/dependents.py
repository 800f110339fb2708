"""What needs a column and does not follow it to another one: read from the catalog, under PostgreSQL's own names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Asking", "Dependent", "read_dependents"]


class Asking(Protocol):
    """Anything that answers a query with its rows."""

    def rows(self, sql: str) -> Sequence[Sequence[Any]]: ...


@dataclass(frozen=True)
class Dependent:
    """`what` is such as `policy p on table t`."""

    what: str
    column: str


_BY_CATALOG = """
SELECT pg_describe_object(d.classid, d.objid, d.objsubid), a.attname
FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = {oid} AND d.refobjsubid > 0 AND d.deptype IN ('n', 'a')
AND d.classid NOT IN ('pg_constraint'::regclass, 'pg_statistic_ext'::regclass)
AND NOT (d.classid = 'pg_class'::regclass AND d.objsubid = 0)
AND NOT EXISTS (SELECT FROM pg_attrdef f WHERE d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
  AND f.adrelid = d.refobjid AND f.adnum = d.refobjsubid)
AND NOT EXISTS (SELECT FROM pg_rewrite w WHERE d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
  AND w.ev_class <> {oid})
AND NOT EXISTS (SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
  JOIN pg_namespace n ON n.oid = p.pronamespace
  WHERE d.classid = 'pg_trigger'::regclass AND t.oid = d.objid AND (t.tgisinternal OR n.nspname = 'deploykit'))"""
"""Policies, rules, triggers (UPDATE OF, WHEN), publications, generated columns, functions with a SQL body.

Without what follows a column: indexes, constraints, statistics, its own default. Views have a message of their own.
"""
_OTHERS = """
SELECT format('the replica identity of the table (index %s)', c.relname), a.attname
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = {oid} AND i.indisreplident
UNION ALL
SELECT format('the security label of %s', l.provider), a.attname
FROM pg_seclabel l JOIN pg_attribute a ON a.attrelid = l.objoid AND a.attnum = l.objsubid
WHERE l.classoid = 'pg_class'::regclass AND l.objoid = {oid}
UNION ALL
SELECT format('the table %s, which inherits it and whose rows no trigger of this one sees,', c.oid::regclass), a.attname
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid AND NOT c.relispartition
JOIN pg_attribute a ON a.attrelid = i.inhparent
WHERE i.inhparent = {oid} AND a.attnum > 0 AND NOT a.attisdropped"""


def read_dependents(ask: Asking, oid: int) -> tuple[Dependent, ...]:
    """Return what needs a column of the table, and would not follow it to another one."""
    rows = ask.rows(f"{_BY_CATALOG.format(oid=oid)}\nUNION ALL {_OTHERS.format(oid=oid)}\nORDER BY 1, 2")
    return tuple(Dependent(row[0], row[1]) for row in rows)
