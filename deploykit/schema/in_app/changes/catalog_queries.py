"""The queries that read a table from PostgreSQL's catalog. They change nothing."""

from __future__ import annotations

from .catalog import Column, Constraint, Grant, Index, Relation, Statistics
from .dependents import Asking, read_dependents
from .model import Refused, Table
from .sql import literal, table_name

__all__ = ["Asking", "find_relation", "read_relation", "server_version"]

_SETTINGS = (
    "CASE WHEN coalesce(a.attstattarget, -1) >= 0 THEN format('SET STATISTICS %s', a.attstattarget) END, "
    "'SET (' || array_to_string(a.attoptions, ', ') || ')', "
    "CASE WHEN a.attstorage <> t.typstorage THEN 'SET STORAGE ' || CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' "
    "THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END END, "
    "CASE a.attcompression WHEN 'p' THEN 'SET COMPRESSION pglz' WHEN 'l' THEN 'SET COMPRESSION lz4' END"
)


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
    kind, owner, rows, parent_schema, parent, bound, secured = ask.rows(
        "SELECT c.relkind::text, pg_get_userbyid(c.relowner), c.reltuples::bigint, n.nspname, p.relname, "
        "pg_get_expr(c.relpartbound, c.oid), c.relrowsecurity "
        "FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid AND c.relispartition "
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
        dependents=read_dependents(ask, oid),
        row_security=secured,
        publications=_publications(ask, table),
    )


def _columns(ask: Asking, oid: int) -> dict[str, Column]:
    rows = ask.rows(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, coalesce(pg_get_expr(d.adbin, "
        "d.adrelid), ''), "
        "a.attidentity::text, a.attgenerated::text, coalesce(pg_get_serial_sequence(c.oid::regclass::text, "
        "a.attname), ''), "
        "coalesce(col_description(a.attrelid, a.attnum), ''), "
        "coalesce((SELECT format('%I.%I', n.nspname, l.collname) FROM pg_collation l JOIN pg_namespace n ON n.oid = "
        "l.collnamespace WHERE l.oid = a.attcollation AND l.oid <> t.typcollation), ''), "
        f"ARRAY(SELECT x FROM unnest(ARRAY[{_SETTINGS}]) x WHERE x IS NOT NULL), "
        # Enums, ranges, arrays and rows have PostgreSQL's own operators, wherever the type is.
        "CASE WHEN b.typtype = 'b' AND b.typcategory <> 'A' AND s.nspname <> 'pg_catalog' THEN quote_ident(s.nspname) "
        "ELSE '' END "
        "FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid "
        "JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END "
        "JOIN pg_namespace s ON s.oid = b.typnamespace "
        "LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum "
        f"WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    )
    grants = _column_grants(ask, oid)
    return {row[0]: Column(*(*row[:8], grants.get(row[0], ()), row[8], tuple(row[9]), row[10])) for row in rows}


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
        "s.stxexprs IS NOT NULL, coalesce(s.stxstattarget, -1)::int "
        "FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace "
        f"WHERE s.stxrelid = {oid} ORDER BY s.stxname"
    )
    return tuple(Statistics(row[0], row[1], row[2], row[3], tuple(row[4]), row[5], row[6]) for row in rows)


def _triggers(ask: Asking, oid: int) -> tuple[str, ...]:
    """Return the triggers BEFORE INSERT or UPDATE of each row, of the table and its partitions, without the kit's."""
    # pg_trigger.tgtype is a sum: 1 FOR EACH ROW, 2 BEFORE, 4 INSERT, 16 UPDATE.
    rows = ask.rows(
        "SELECT DISTINCT t.tgname FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n "
        "ON n.oid = p.pronamespace "
        f"WHERE (t.tgrelid = {oid} OR t.tgrelid IN (SELECT relid FROM pg_partition_tree({oid}))) "
        "AND NOT t.tgisinternal AND t.tgtype & 3 = 3 AND t.tgtype & 20 > 0 AND n.nspname <> 'deploykit' ORDER BY 1"
    )
    return tuple(row[0] for row in rows)


def _indexes(ask: Asking, oid: int) -> tuple[Index, ...]:
    # Expressions and predicates are in pg_depend as well, so an index on lower(name) is found by the column name.
    rows = ask.rows(
        "SELECT c.relname, n.nspname, pg_get_indexdef(i.indexrelid), "
        "ARRAY(SELECT DISTINCT a.attname::text FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid "
        "AND a.attnum = d.refobjsubid "
        f"WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.refobjid = {oid} "
        f"UNION SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = {oid} AND a.attnum = ANY(i.indkey)), "
        "i.indisunique, i.indisprimary, coalesce(k.conname, ''), i.indisvalid, i.indpred IS NULL AND "
        "i.indexprs IS NULL, "
        "concat_ws(', ', CASE WHEN obj_description(c.oid, 'pg_class') IS NOT NULL THEN 'its comment' END, CASE WHEN "
        "c.reltablespace <> 0 THEN 'its tablespace' END, CASE WHEN i.indisclustered THEN 'the mark of CLUSTER' END) "
        "FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
        "LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x') AND "
        "k.conrelid = i.indrelid "
        f"WHERE i.indrelid = {oid} ORDER BY c.relname"
    )
    return tuple(Index(row[0], row[1], row[2], tuple(row[3]), *row[4:10]) for row in rows)


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


def _publications(ask: Asking, table: Table) -> tuple[str, ...]:
    rows = ask.rows(
        f"SELECT DISTINCT pubname FROM pg_publication_tables WHERE schemaname = {literal(table.schema)} "
        f"AND tablename = {literal(table.name)} ORDER BY 1"
    )
    return tuple(row[0] for row in rows)


def _partition_key(ask: Asking, oid: int) -> tuple[str, ...]:
    rows = ask.rows(
        "SELECT a.attname::text FROM pg_partitioned_table p JOIN pg_attribute a ON a.attrelid = p.partrelid "
        "AND a.attnum = ANY(p.partattrs) "
        f"WHERE p.partrelid = {oid}"
    )
    return tuple(row[0] for row in rows)
