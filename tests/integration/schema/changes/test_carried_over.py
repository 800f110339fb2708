"""What a column has and what needs it: carried over to its successor, or refused at expand by its name."""

from __future__ import annotations

import contextlib

import psycopg
import pytest
from changed_database import Case, Shape, changed_database

from deploykit.schema.in_app.changes.model import Refused
from deploykit.schema.in_app.changes.operations.registry import DECLARATIONS as DECLARE
from deploykit.schema.in_app.changes.planning import plan
from deploykit.schema.in_app.changes.schema_reader import SchemaReader
from deploykit.schema.in_app.live.gate import in_sql

pytestmark = pytest.mark.timeout(60)
TABLES = """
CREATE TABLE p (id int PRIMARY KEY, name text COLLATE "C" UNIQUE); INSERT INTO p SELECT g, g::text FROM generate_series(1, 40) g;
CREATE TABLE t (id serial PRIMARY KEY, price int, name text, code int NOT NULL DEFAULT 1);
CREATE TABLE o (t_id int PRIMARY KEY REFERENCES t);
"""
ROWS = Shape("INSERT INTO t (price, name, code) VALUES (%(v)s, 'n' || %(v)s, %(v)s) RETURNING id", "", "")
TRIGGER = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
RENAME = DECLARE["rename_column"]("t", "price", "cost", change="c")
MOVE = DECLARE["move_column"]("t", "price", "o", on={"id": "t_id"}, change="c")
DROP = DECLARE["drop_column"]("t", "price", change="c")
SPLIT = DECLARE["split_table"]("t", ["price"], "n", change="c")
BY_NAME = {
    "policy p on table t": "CREATE POLICY p ON t USING (price > 0)",
    "rule r on table t": "CREATE RULE r AS ON UPDATE TO t WHERE NEW.price < 0 DO INSTEAD NOTHING",
    "trigger g on table t": TRIGGER + "CREATE TRIGGER g AFTER UPDATE OF price ON t FOR EACH ROW EXECUTE FUNCTION f()",
    "trigger w on table t": (
        TRIGGER + "CREATE TRIGGER w BEFORE UPDATE ON t FOR EACH ROW WHEN (NEW.price < 0) EXECUTE FUNCTION f()"
    ),
    "twice of table t": "ALTER TABLE t ADD COLUMN twice int GENERATED ALWAYS AS (price * 2) STORED",
    "in publication u": "CREATE PUBLICATION u FOR TABLE t (id, price)",
    "function total": "CREATE FUNCTION total() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT sum(price) FROM t; END",
    "index identity": "ALTER TABLE t ALTER price SET NOT NULL; CREATE UNIQUE INDEX identity ON t (price);"
    "ALTER TABLE t REPLICA IDENTITY USING INDEX identity",
    "the table heir, which inherits it": "CREATE TABLE heir () INHERITS (t)",
}


class Asked:
    """The catalog as one transaction sees it."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.rows = lambda sql: connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def planned(server_18):
    """`planned(sql, change)`: the plan after the SQL, which is rolled back."""
    with server_18.database() as url, psycopg.connect(url) as connection:
        connection.execute(TABLES)
        connection.commit()

        def make(sql: str, change):
            try:
                connection.execute(sql)
                return plan(change, SchemaReader(Asked(connection)))
            finally:
                connection.rollback()

        yield make


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("change", [RENAME, MOVE, DROP, SPLIT], ids=lambda change: change.kind)
def test_what_needs_the_column_is_refused_by_its_name(planned, name, change):
    with pytest.raises(Refused) as refused:
        planned(BY_NAME[name], change)
    assert name in str(refused.value)
    assert " needs t.price, and would not follow it" in str(refused.value)


def one(kind: str, *arguments, **options):
    return DECLARE[kind](*arguments, **options, change="c")


REFUSED = {
    "a constraint that is deferred": (
        "ALTER TABLE t ADD CONSTRAINT once UNIQUE (price) DEFERRABLE INITIALLY DEFERRED",
        RENAME,
        "the constraint once of t is DEFERRABLE INITIALLY DEFERRED",
    ),
    "a key that is deferred": (
        "ALTER TABLE t DROP CONSTRAINT t_pkey CASCADE; ALTER TABLE t ADD CONSTRAINT k PRIMARY KEY (id) DEFERRABLE",
        one("change_key", "t", "id"),
        "the constraint k of t is DEFERRABLE",
    ),
    "a sequence of the column": (
        "CREATE SEQUENCE numbers OWNED BY t.price; ALTER TABLE t ALTER price SET DEFAULT nextval('numbers')",
        RENAME,
        "the sequence public.numbers belongs to t.price",
    ),
    "a collation that a new type lacks": (
        'ALTER TABLE t ALTER name TYPE text COLLATE "C"',
        one("change_type", "t", "name", "varchar(40)"),
        't.name has the collation pg_catalog."C"',
    ),
    "a collation of one that is split": (
        'ALTER TABLE t ALTER name TYPE text COLLATE "C"',
        one("split_column", "t", "name", {"a": "text", "b": "text"}, up={"a": "name", "b": "''"}, down="a"),
        't.name has the collation pg_catalog."C"',
    ),
    "an expression that reads another column": (
        "",
        one("change_type", "t", "price", "bigint", up="price * code", down="price_2"),
        "the expression for price_2 reads t.code",
    ),
    "a security label of the column": (
        (
            "INSERT INTO pg_seclabel SELECT 't'::regclass, 'pg_class'::regclass, attnum, 'anon', 'MASKED' FROM pg_attribute "
            "WHERE attrelid = 't'::regclass AND attname = 'price'"
        ),
        RENAME,
        "the security label of anon needs t.price",
    ),
    "row security, and a new table": (
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        SPLIT,
        "t has row security, and n has none",
    ),
    "row security, and another table": (
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        MOVE,
        "t has row security, and o has none",
    ),
    "a published table that gets another name": (
        "CREATE PUBLICATION u FOR ALL TABLES",
        one("rename_table", "t", "things"),
        "t is in the publication u",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cant_be_carried_over_is_refused(planned, name):
    sql, change, sentence = REFUSED[name]
    with pytest.raises(Refused) as refused:
        planned(sql, change)
    assert str(refused.value).startswith(sentence)
    assert refused.value.next_step


def test_the_same_without_these_is_planned(planned):
    for change in (RENAME, MOVE, DROP, SPLIT, one("rename_table", "t", "things"), one("change_key", "t", "id")):
        assert planned("", change).contract


def test_what_an_index_has_besides_is_said(planned):
    sql = "CREATE INDEX ix ON t (price); COMMENT ON INDEX ix IS 'fast'; CLUSTER t USING ix"
    notes = planned(sql, RENAME).notes
    assert "the successor of the index ix lacks its comment, the mark of CLUSTER" in notes


def test_settings_of_a_column_that_is_split_are_said(planned):
    split = one("split_column", "t", "name", {"a": "text", "b": "text"}, up={"a": "name", "b": "''"}, down="a")
    notes = planned("ALTER TABLE t ALTER name SET STATISTICS 500", split).notes
    assert "t.name has SET STATISTICS 500, which a, b does not get" in notes


SET = """
ALTER TABLE t ALTER name TYPE text COLLATE "C", ALTER name SET STATISTICS 500, ALTER name SET (n_distinct = 7),
  ALTER name SET STORAGE EXTERNAL, ALTER name SET COMPRESSION pglz,
  ADD CONSTRAINT fk FOREIGN KEY (code) REFERENCES p ON DELETE SET DEFAULT (code) DEFERRABLE INITIALLY DEFERRED;
CREATE STATISTICS s ON id, name FROM t; ALTER STATISTICS s SET STATISTICS 70;
"""
ATTRIBUTES = """
SELECT attcollation::regcollation::text, attstattarget, attoptions, attstorage::text, attcompression::text
FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s
"""


@contextlib.contextmanager
def whole(fresh, change, setup: str = SET):
    with (
        fresh() as url,
        changed_database(url, Case("", TABLES + setup, lambda: change, ROWS, tables=("t", "o")), seed=5) as found,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        yield found, connection


CARRIED = {
    "rename_column": (DECLARE["rename_column"]("t", "name", "title", change="c"), ("t", "title")),
    "change_type": (
        DECLARE["change_type"]("t", "name", 'varchar(90) COLLATE "C"', to="title", change="c"),
        ("t", "title"),
    ),
    "move_column": (DECLARE["move_column"]("t", "name", "o", on={"id": "t_id"}, change="c"), ("o", "name")),
    "split_table": (DECLARE["split_table"]("t", ["name"], "n", change="c"), ("n", "name")),
}


@pytest.mark.parametrize("kind", CARRIED)
def test_collation_statistics_and_storage_go_along_and_come_back(fresh_18, kind):
    change, place = CARRIED[kind]
    setup = SET if kind in {"rename_column", "change_type"} else SET.partition("CREATE STATISTICS")[0]
    with whole(fresh_18, change, setup) as (found, connection):
        before = found.definition()
        had = connection.execute(ATTRIBUTES, ["t", "name"]).fetchone()
        assert had == ('"C"', 500, ["n_distinct=7"], "e", "p")
        found.runner.expand(change)
        found.runner.fill("c")
        found.runner.contract("c", "the test")
        assert connection.execute(ATTRIBUTES, place).fetchone() == had
        if kind == "rename_column":
            target = "SELECT stxname::text, stxstattarget FROM pg_statistic_ext"
            assert connection.execute(target).fetchall() == [("s_title", 70)]
        found.runner.reopen("c")
        found.runner.undo("c")
        assert found.definition() == before
        assert connection.execute(ATTRIBUTES, ["t", "name"]).fetchone() == had


def test_a_foreign_key_stays_deferred_and_its_action_follows_the_column(fresh_18):
    change = DECLARE["rename_column"]("t", "code", "number", change="c")
    with whole(fresh_18, change) as (found, connection):
        found.runner.expand(change)
        found.runner.fill("c")
        found.runner.contract("c", "the test")
        assert connection.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'f'"
        ).fetchall() == [
            ("FOREIGN KEY (number) REFERENCES p(id) ON DELETE SET DEFAULT (number) DEFERRABLE INITIALLY DEFERRED",)
        ]


def test_another_collation_is_compared_by_bytes(fresh_18):
    change = DECLARE["change_type"]("t", "name", 'text COLLATE "POSIX"', to="title", change="c")
    with whole(fresh_18, change) as (found, connection):
        found.runner.expand(change)
        found.runner.fill("c")
        connection.execute("UPDATE t SET title = 'ü' WHERE id = 1")
        found.runner.contract("c", "the test")


def test_a_deferred_constraint_that_was_dropped_comes_back_deferred(fresh_18):
    change = DECLARE["drop_constraint"]("t", "once", change="c")
    setup = "ALTER TABLE t ADD CONSTRAINT once UNIQUE (price) DEFERRABLE INITIALLY DEFERRED;"
    with whole(fresh_18, change, setup) as (found, _):
        before = found.definition()
        found.runner.expand(change)
        found.runner.fill("c")
        found.runner.contract("c", "the test")
        found.runner.reopen("c")
        found.runner.undo("c")
        assert found.definition() == before


SLUG = """
CREATE FUNCTION named() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := upper(NEW.name); RETURN NEW; END $$;
CREATE TRIGGER g BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION named();
"""


def test_a_trigger_whose_function_names_the_column_is_replaced_before_contract(fresh_18):
    change = DECLARE["rename_column"]("t", "name", "title", change="c")
    with whole(fresh_18, change, SLUG) as (found, connection):
        found.runner.expand(change)
        found.runner.fill("c")
        found.runner.state.set(soak="0")
        sentence = "the function named of the trigger g names t.name, which would be gone"
        with pytest.raises(Refused, match=sentence):
            found.runner.contract("c")
        with pytest.raises(psycopg.errors.RaiseException, match=sentence):
            connection.execute(in_sql("c"))
        connection.execute(
            "CREATE OR REPLACE FUNCTION named() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.title := upper(NEW.title); RETURN NEW; END $$"
        )
        found.runner.contract("c")
        connection.execute("INSERT INTO t (title) VALUES ('x')")
