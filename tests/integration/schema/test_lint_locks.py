"""The locks that the lint claims, beside those that PostgreSQL takes."""

from __future__ import annotations

import os

import psycopg
import pytest

from deploykit.gates.tools import managed_tool
from deploykit.schema.lint.actions import actions
from deploykit.schema.lint.catalog import Catalog
from deploykit.schema.lint.parser import read_texts
from deploykit.schema.lint.rule_context import RuleContext
from deploykit.schema.lint.values import STRENGTH

SCHEMA = """
CREATE TABLE customers (id bigint PRIMARY KEY);
CREATE TABLE orders (id bigint PRIMARY KEY, note text, amount numeric(10, 2), name varchar(20), customer_id bigint);
CREATE INDEX ix ON orders (note);
CREATE UNIQUE INDEX ux ON orders (name);
ALTER TABLE orders ADD CONSTRAINT late CHECK (amount > 0) NOT VALID;
CREATE TABLE parts (id bigint, day date) PARTITION BY RANGE (day);
CREATE TABLE part PARTITION OF parts FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE loose (id bigint, day date);
CREATE MATERIALIZED VIEW sums AS SELECT 1 AS one;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER old BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION nothing();
"""
STATEMENTS = (
    "ALTER TABLE orders ADD COLUMN a text",
    "ALTER TABLE orders ADD COLUMN a bigint REFERENCES customers",
    "ALTER TABLE orders DROP COLUMN note",
    "ALTER TABLE orders ALTER COLUMN name TYPE text",
    "ALTER TABLE orders ALTER COLUMN note SET NOT NULL",
    "ALTER TABLE orders ALTER COLUMN id SET DEFAULT 1",
    "ALTER TABLE orders ALTER COLUMN note SET STATISTICS 10",
    "ALTER TABLE orders ADD CONSTRAINT c CHECK (amount > 1) NOT VALID",
    "ALTER TABLE orders ADD CONSTRAINT f FOREIGN KEY (customer_id) REFERENCES customers",
    "ALTER TABLE orders ADD CONSTRAINT f FOREIGN KEY (customer_id) REFERENCES customers NOT VALID",
    "ALTER TABLE orders ADD UNIQUE (customer_id)",
    "ALTER TABLE orders ADD CONSTRAINT u UNIQUE USING INDEX ux",
    "ALTER TABLE orders VALIDATE CONSTRAINT late",
    "ALTER TABLE orders DROP CONSTRAINT late",
    "ALTER TABLE orders RENAME COLUMN note TO remark",
    "ALTER TABLE orders RENAME TO sales",
    "ALTER TABLE orders SET (fillfactor = 80)",
    "ALTER TABLE orders DISABLE TRIGGER old",
    "ALTER TABLE parts DETACH PARTITION part",
    "ALTER TABLE parts ATTACH PARTITION loose FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
    "CREATE POLICY mine ON orders USING (true)",
    "CREATE RULE never AS ON DELETE TO orders DO INSTEAD NOTHING",
    "CREATE INDEX iy ON orders (amount)",
    "CREATE TABLE lines (order_id bigint REFERENCES orders)",
    "CREATE TRIGGER young BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION nothing()",
    "DROP TRIGGER old ON orders",
    "DROP TABLE orders",
    "TRUNCATE orders",
    "CLUSTER orders USING ix",
    "REINDEX TABLE orders",
    "REFRESH MATERIALIZED VIEW sums",
    "LOCK TABLE orders IN SHARE ROW EXCLUSIVE MODE",
    "COMMENT ON TABLE orders IS 'all of them'",
    "UPDATE orders SET note = 'x'",
    "DELETE FROM orders",
)


@pytest.fixture(scope="module")
def claims():
    reader = managed_tool("pglast", environment=os.environ) / "bin" / "python"
    read, _ = read_texts(STATEMENTS, reader)
    return {sql: actions(text.statements[0]) for sql, text in zip(STATEMENTS, read, strict=True)}


@pytest.fixture(scope="module")
def connection(server_18):
    with server_18.database() as url, psycopg.connect(url) as found:
        found.execute(SCHEMA)
        found.commit()
        yield found


@pytest.mark.parametrize("sql", STATEMENTS)
def test_the_lint_claims_the_locks_that_postgresql_takes(claims, connection, sql):
    claimed = {table[1]: mode for action in claims[sql] for table, mode in action.locks}
    tables = [row[0] for row in connection.execute("SELECT oid FROM pg_class WHERE relkind IN ('r', 'p', 'm')")]
    names = dict(connection.execute("SELECT relname, oid FROM pg_class WHERE relkind IN ('r', 'p', 'm')").fetchall())
    try:
        connection.execute(sql)
        held: dict[str, set[str]] = {}
        for relation, mode in connection.execute(
            "SELECT relation, mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation = ANY (%s)", [tables]
        ):
            held.setdefault(next(name for name, oid in names.items() if oid == relation), set()).add(mode)
    finally:
        connection.rollback()
    assert claimed
    for table, mode in claimed.items():
        assert max(held.get(table, {""}), key=strength) == mode, (table, held)
    strong = {
        table for table, modes in held.items() if max(map(strength, modes)) > strength("ShareUpdateExclusiveLock")
    }
    assert strong <= claimed.keys()


def strength(mode):
    return STRENGTH.index(mode)


@pytest.mark.parametrize("sql", ["ALTER TABLE lines DROP CONSTRAINT f", "DROP TABLE lines"])
def test_what_the_schema_says_about_locks_is_what_postgresql_takes(connection, sql):
    reader = managed_tool("pglast", environment=os.environ) / "bin" / "python"
    make = "CREATE TABLE lines (order_id bigint, CONSTRAINT f FOREIGN KEY (order_id) REFERENCES orders)"
    (made, taken), _ = read_texts([make, sql], reader)
    context = RuleContext(catalog=Catalog(), version=18)
    context.after(*actions(made.statements[0]))
    context.catalog.begin_change()
    connection.execute(make)
    connection.commit()
    try:
        connection.execute(sql)
        held = connection.execute(
            "SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'orders'::regclass"
        ).fetchall()
        connection.rollback()
    finally:
        connection.execute("DROP TABLE IF EXISTS lines")
        connection.commit()
    claimed = dict(context.strong(*actions(taken.statements[0])))
    assert claimed["", "orders"] == max((mode for (mode,) in held), key=strength) == "AccessExclusiveLock"
