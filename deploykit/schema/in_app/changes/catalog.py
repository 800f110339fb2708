"""A table as PostgreSQL's catalog describes it: columns, indexes, constraints and dependent objects. Read only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from .model import Refused, Table
from .sql import literal, quote, table_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "Asking",
    "Column",
    "Constraint",
    "Grant",
    "Index",
    "Relation",
    "Statistics",
    "Trigger",
    "read_relation",
    "server_version",
]

_NOT_COMPARABLE = {"json", "xml", "point", "line", "lseg", "box", "path", "polygon", "circle"}
"""Types whose equality is missing or unexpected; their texts are compared instead."""


class Asking(Protocol):
    """Anything that answers a query with its rows."""

    def rows(self, sql: str) -> Sequence[Sequence[Any]]: ...


@dataclass(frozen=True, order=True)
class Grant:
    """A privilege on one column. `role` is quoted for SQL; `grantable` means WITH GRANT OPTION."""

    role: str
    grantable: bool
    privilege: str


@dataclass(frozen=True)
class Column:
    """A column. `default` is its expression (empty: none), `identity` is '', 'a' or 'd', `generated` is '', 's' or 'v'.

    `grants` are those on the column itself; those on the table apply as well.
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

    @property
    def comparable(self) -> bool:
        return self.type.split("(")[0] not in _NOT_COMPARABLE


@dataclass(frozen=True)
class Index:
    """An index. `definition` is PostgreSQL's own; `tail` is what follows the table's name in it (USING …)."""

    name: str
    schema: str
    definition: str
    columns: tuple[str, ...]
    unique: bool
    primary: bool
    constraint: str
    valid: bool
    plain: bool

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


@dataclass(frozen=True)
class Statistics:
    """An object of CREATE STATISTICS: `kinds` and `tail` are the texts before and after its ON."""

    name: str
    schema: str
    kinds: str
    tail: str
    columns: tuple[str, ...]
    expressions: bool


@dataclass(frozen=True)
class Trigger:
    """A trigger of the application that runs for each row before it is written; `source` is its function's text."""

    name: str
    source: str


@dataclass(frozen=True)
class Relation:
    """A table as it is now. `rows` is PostgreSQL's estimate, -1 when it has none."""

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
    triggers: tuple[Trigger, ...] = ()

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


def server_version(ask: Asking) -> int:
    """Return the server's version as a number: 150004 for 15.4."""
    return int(ask.rows("SELECT current_setting('server_version_num')")[0][0])


def find_relation(ask: Asking, table: Table) -> int | None:
    found = ask.rows(f"SELECT to_regclass({literal(table_name(table))})::oid")[0][0]
    return None if found is None else int(found)


def read_relation(ask: Asking, table: Table) -> Relation:
    """Read one table from the catalog. Raises Refused when it does not exist."""
    oid = find_relation(ask, table)
    if oid is None:
        raise Refused(f"there is no table {table}", "check its name and schema, or make it in an earlier revision")
    kind, owner, rows, parent_schema, parent, bound = ask.rows(
        "SELECT c.relkind::text, pg_get_userbyid(c.relowner), c.reltuples::bigint, n.nspname, p.relname, "
        "pg_get_expr(c.relpartbound, c.oid) FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid AND "
        "c.relispartition "
        "LEFT JOIN pg_class p ON p.oid = i.inhparent LEFT JOIN pg_namespace n ON n.oid = p.relnamespace WHERE "
        f"c.oid = {oid}"
    )[0]
    if kind not in {"r", "p"}:
        raise Refused(f"{table} is no table", "a change is declared for a table")
    return Relation(
        table=table,
        kind=kind,
        owner=owner,
        rows=int(rows),
        columns=_columns(ask, oid),
        indexes=_indexes(ask, oid),
        constraints=_constraints(ask, f"conrelid = {oid}"),
        incoming=_constraints(ask, f"confrelid = {oid} AND conparentid = 0"),
        views=_views(ask, oid),
        grants=_grants(ask, oid),
        partition_key=_partition_key(ask, oid),
        parent=None if parent is None else Table(parent, parent_schema),
        bound=bound or "",
        statistics=_statistics(ask, oid),
        triggers=_triggers(ask, oid),
    )


def _columns(ask: Asking, oid: int) -> dict[str, Column]:
    rows = ask.rows(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, coalesce(pg_get_expr(d.adbin, "
        "d.adrelid), ''), "
        "a.attidentity::text, a.attgenerated::text, coalesce(pg_get_serial_sequence(c.oid::regclass::text, "
        "a.attname), ''), "
        "coalesce(col_description(a.attrelid, a.attnum), '') "
        "FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = "
        "a.attrelid AND d.adnum = a.attnum "
        f"WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    )
    grants = _column_grants(ask, oid)
    return {row[0]: Column(*(*row, grants.get(row[0], ()))) for row in rows}


def _column_grants(ask: Asking, oid: int) -> dict[str, tuple[Grant, ...]]:
    """Return the grants by column, without the owner's own."""
    rows = ask.rows(
        "SELECT a.attname, CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) "
        "END, x.is_grantable, x.privilege_type "
        "FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid, aclexplode(a.attacl) x "
        f"WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped AND x.grantee <> c.relowner"
    )
    found: dict[str, set[Grant]] = {}
    for name, *grant in rows:
        found.setdefault(name, set()).add(Grant(*grant))
    return {name: tuple(sorted(grants)) for name, grants in found.items()}


def _statistics(ask: Asking, oid: int) -> tuple[Statistics, ...]:
    name = "quote_ident(n.nspname) || '.' || quote_ident(s.stxname)"
    rows = ask.rows(
        "SELECT s.stxname, n.nspname, "
        f"split_part(substr(pg_get_statisticsobjdef(s.oid), length('CREATE STATISTICS ' || {name}) + 1), ' ON ', 1), "
        "pg_get_statisticsobjdef_columns(s.oid), "
        "ARRAY(SELECT DISTINCT a.attname::text FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid "
        "AND a.attnum = d.refobjsubid "
        "WHERE d.classid = 'pg_statistic_ext'::regclass AND d.objid = s.oid AND d.refclassid = "
        f"'pg_class'::regclass AND d.refobjid = {oid}), "
        "s.stxexprs IS NOT NULL FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace "
        f"WHERE s.stxrelid = {oid} ORDER BY s.stxname"
    )
    return tuple(Statistics(row[0], row[1], row[2], row[3], tuple(row[4]), row[5]) for row in rows)


def _triggers(ask: Asking, oid: int) -> tuple[Trigger, ...]:
    """Return the triggers BEFORE INSERT or UPDATE of each row, of the table and its partitions, without the kit's."""
    # pg_trigger.tgtype is a sum: 1 FOR EACH ROW, 2 BEFORE, 4 INSERT, 16 UPDATE.
    rows = ask.rows(
        "SELECT DISTINCT t.tgname, p.prosrc FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n "
        "ON n.oid = p.pronamespace "
        f"WHERE (t.tgrelid = {oid} OR t.tgrelid IN (SELECT relid FROM pg_partition_tree({oid}))) "
        "AND NOT t.tgisinternal AND t.tgtype & 3 = 3 AND t.tgtype & 20 > 0 AND n.nspname <> 'deploykit' ORDER BY 1"
    )
    return tuple(Trigger(row[0], row[1]) for row in rows)


def _indexes(ask: Asking, oid: int) -> tuple[Index, ...]:
    # Expressions and predicates are in pg_depend as well, so an index on lower(name) is found by the column name.
    rows = ask.rows(
        "SELECT c.relname, n.nspname, pg_get_indexdef(i.indexrelid), "
        "ARRAY(SELECT DISTINCT a.attname::text FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid "
        "AND a.attnum = d.refobjsubid "
        f"WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.refobjid = {oid} "
        f"UNION SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = {oid} AND a.attnum = ANY(i.indkey)), "
        "i.indisunique, i.indisprimary, coalesce(k.conname, ''), i.indisvalid, i.indpred IS NULL AND "
        "i.indexprs IS NULL "
        "FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
        "LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x') AND "
        "k.conrelid = i.indrelid "
        f"WHERE i.indrelid = {oid} ORDER BY c.relname"
    )
    return tuple(Index(row[0], row[1], row[2], tuple(row[3]), *row[4:9]) for row in rows)


def _constraints(ask: Asking, where: str) -> tuple[Constraint, ...]:
    rows = ask.rows(
        "SELECT k.conname, k.contype::text, pg_get_constraintdef(k.oid), "
        "ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(n, o) JOIN pg_attribute a ON "
        "a.attrelid = k.conrelid AND a.attnum = u.n ORDER BY u.o), "
        "n.nspname, c.relname, rn.nspname, r.relname, "
        "ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u(n, o) JOIN pg_attribute a ON "
        "a.attrelid = k.confrelid AND a.attnum = u.n ORDER BY u.o) "
        "FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
        "LEFT JOIN pg_class r ON r.oid = k.confrelid LEFT JOIN pg_namespace rn ON rn.oid = r.relnamespace "
        f"WHERE {where} ORDER BY k.conname"
    )
    return tuple(
        Constraint(
            name=row[0],
            kind=row[1],
            definition=row[2],
            columns=tuple(row[3]),
            table=Table(row[5], row[4]),
            refers=None if row[7] is None else Table(row[7], row[6]),
            referred=tuple(row[8]),
        )
        for row in rows
    )


def _views(ask: Asking, oid: int) -> dict[str, tuple[str, ...]]:
    """Return views (and rules) by name, with the columns of the table that they read."""
    rows = ask.rows(
        "SELECT v.oid::regclass::text, array_agg(DISTINCT a.attname::text) FROM pg_depend d JOIN pg_rewrite w "
        "ON w.oid = d.objid "
        "JOIN pg_class v ON v.oid = w.ev_class JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = "
        "d.refobjsubid "
        "WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = "
        f"{oid} AND v.oid <> {oid} GROUP BY 1"
    )
    return {row[0]: tuple(row[1]) for row in rows}


def _grants(ask: Asking, oid: int) -> tuple[tuple[str, str], ...]:
    """Return (role quoted for SQL, privilege) pairs, without the owner's own."""
    rows = ask.rows(
        "SELECT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END, "
        "x.privilege_type "
        f"FROM pg_class c, aclexplode(c.relacl) x WHERE c.oid = {oid} AND x.grantee <> c.relowner "
        "AND x.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE', 'REFERENCES', 'TRIGGER', 'TRUNCATE') "
        "ORDER BY 1, 2"
    )
    return tuple((row[0], row[1]) for row in rows)


def _partition_key(ask: Asking, oid: int) -> tuple[str, ...]:
    rows = ask.rows(
        "SELECT a.attname::text FROM pg_partitioned_table p JOIN pg_attribute a ON a.attrelid = p.partrelid "
        "AND a.attnum = ANY(p.partattrs) "
        f"WHERE p.partrelid = {oid}"
    )
    return tuple(row[0] for row in rows)


def column_list(columns: Iterable[str]) -> str:
    return ", ".join(quote(name) for name in columns)
