"""Names without a schema: looked up once, at expand, as the application's connection does; then they stay the same."""

from __future__ import annotations

import contextlib

import psycopg
import pytest
from changed_database import Case, Shape, changed_database

from deploykit.schema.in_app.changes.model import Refused, Table
from deploykit.schema.in_app.changes.operations.registry import DECLARATIONS as DECLARE
from deploykit.schema.in_app.changes.planning import plan
from deploykit.schema.in_app.changes.schema_reader import SchemaReader

pytestmark = pytest.mark.timeout(60)
PATH = "app, public"
ONE = """
CREATE TYPE {0}.mood AS ENUM ('sad', '{0}');
CREATE FUNCTION {0}.cents(v int) RETURNS numeric IMMUTABLE LANGUAGE sql AS $$ SELECT {1} * v $$;
CREATE TABLE {0}.p (id int PRIMARY KEY);
INSERT INTO {0}.p SELECT generate_series(1, 9);
CREATE TABLE {0}.t (id serial PRIMARY KEY, price int REFERENCES {0}.p, m {0}.mood, note text);
CREATE INDEX ix_price ON {0}.t (price);
"""
BOTH = "CREATE SCHEMA app;" + ONE.format("public", 10) + ONE.format("app", 100)
ROWS = Shape("INSERT INTO app.t (price) VALUES (%(v)s) RETURNING id", "", "")
COLUMNS = (
    "SELECT table_schema, column_name FROM information_schema.columns WHERE table_name = '{}' "
    "AND column_name NOT IN ('id', 'note') ORDER BY 1, 2"
)


@contextlib.contextmanager
def twice(fresh, change, path: str = PATH):
    """The table in two schemas, rows in that of the application, and a runner on a connection with the path."""
    with (
        fresh() as url,
        changed_database(url, Case("", BOTH, lambda: change, ROWS), seed=3) as found,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        connection.execute("INSERT INTO public.t (price) VALUES (1)")
        found.runner.session.run(f"SET search_path = {path}")
        yield found, connection


def test_the_search_path_says_which_table_is_meant_and_the_other_is_left_alone(fresh_18):
    change = DECLARE["rename_column"]("t", "price", "cost", change="c")
    with twice(fresh_18, change) as (found, connection):
        found.runner.expand(change)
        found.runner.fill("c")
        assert found.runner.known("c").steps.tables == (Table("t", "app"),)
        found.runner.contract("c", "the test")
        there = [("app", "cost"), ("app", "m"), ("public", "m"), ("public", "price")]
        assert connection.execute(COLUMNS.format("t")).fetchall() == there


@pytest.mark.parametrize("later", ["public", "public, app", "''"])
def test_a_search_path_that_changes_after_expand_changes_nothing(fresh_18, later):
    change = DECLARE["change_type"](
        "t", "price", "int", up="cents(price)::int / 100", down="(cost * 100) / cents(1)::int", to="cost", change="c"
    )
    mood = DECLARE["rename_column"]("t", "m", "feeling", change="m")
    with twice(fresh_18, change) as (found, connection):
        found.runner.expand(change)
        found.runner.expand(mood)
        found.runner.session.run(f"SET search_path = {later}")
        # A writer with another path than the application's has the same functions called.
        connection.execute("SET search_path = public")
        connection.execute("INSERT INTO app.t (price, m) VALUES (4, 'app')")
        for key in ("c", "m"):
            found.runner.fill(key)
            found.runner.verify(key)
            found.runner.contract(key, "the test")
        there = [("app", "cost"), ("app", "feeling"), ("public", "m"), ("public", "price")]
        assert connection.execute(COLUMNS.format("t")).fetchall() == there
        assert connection.execute("SELECT cost, feeling::text FROM app.t ORDER BY id").fetchall() == [
            (1, None),
            (2, None),
            (3, None),
            (4, "app"),
        ]
        references = (
            "SELECT confrelid::regclass::text FROM pg_constraint WHERE conrelid = 'app.t'::regclass AND contype = 'f'"
        )
        assert connection.execute(references).fetchall() == [("app.p",)]
        for key in ("c", "m"):
            found.runner.reopen(key)
            found.runner.undo(key)
        there = [("app", "m"), ("app", "price"), ("public", "m"), ("public", "price")]
        assert connection.execute(COLUMNS.format("t")).fetchall() == there
        assert connection.execute(references).fetchall() == [("app.p",)]
        typed = (
            "SELECT udt_schema::text FROM information_schema.columns WHERE table_schema = 'app' AND column_name = 'm'"
        )
        assert connection.execute(typed).fetchall() == [("app",)]
        assert found.runner.session.value("SHOW search_path") == {"''": '""'}.get(later, later)


def test_sql_of_ones_own_means_the_same_tables_at_contract(fresh_18):
    change = DECLARE["execute"](
        "c", table="t", expand="ALTER TABLE t ADD COLUMN x int", contract="ALTER TABLE t DROP COLUMN price"
    )
    with twice(fresh_18, change) as (found, connection):
        found.runner.expand(change)
        found.runner.fill("c")
        found.runner.session.run("SET search_path = public")
        found.runner.contract("c", "the test")
        there = [("app", "m"), ("app", "x"), ("public", "m"), ("public", "price")]
        assert connection.execute(COLUMNS.format("t")).fetchall() == there


def test_a_schema_that_is_given_counts(fresh_18):
    change = DECLARE["rename_column"]("t", "price", "cost", schema="public", change="c")
    with twice(fresh_18, change) as (found, connection):
        found.runner.expand(change)
        there = [("app", "m"), ("app", "price"), ("public", "cost"), ("public", "m"), ("public", "price")]
        assert connection.execute(COLUMNS.format("t")).fetchall() == there


def test_what_a_declaration_names_besides_its_table_is_looked_up_alike(fresh_18):
    key = DECLARE["add_foreign_key"]("t", "fk", ["id"], "p", ["id"], change="c")
    moved = DECLARE["move_column"]("t", "price", "p", on={"id": "id"}, change="c")
    with twice(fresh_18, key) as (found, _):
        reader = SchemaReader(found.runner.session)
        assert plan(key, reader).tables == (Table("t", "app"), Table("p", "app"))
        assert plan(moved, reader).tables == (Table("t", "app"), Table("p", "app"))


def test_a_name_that_the_application_would_find_elsewhere_is_refused_for_a_new_table(fresh_18):
    """The new table would be public.p, and the application goes on to read app.p."""
    with twice(fresh_18, None, "public, app") as (found, connection):
        connection.execute("DROP TABLE public.p CASCADE")
        for change in (DECLARE["rename_table"]("t", "p"), DECLARE["split_table"]("t", ["note"], "p")):
            with pytest.raises(Refused, match=r"there is already a app\.p"):
                plan(change, SchemaReader(found.runner.session))


def test_a_table_outside_the_search_path_is_not_found(fresh_18):
    with twice(fresh_18, None, "public") as (found, connection):
        connection.execute("DROP TABLE public.t")
        with pytest.raises(Refused, match="no table t in the search_path of this connection") as refused:
            plan(DECLARE["drop_column"]("t", "price"), SchemaReader(found.runner.session))
        assert "schema='…'" in refused.value.next_step


def test_columns_that_refer_to_a_key_are_named_as_the_connection_finds_them(fresh_18):
    with twice(fresh_18, None) as (found, _):
        reader = SchemaReader(found.runner.session)
        for name in ("t.price", "app.t.price"):
            steps = plan(DECLARE["change_key"]("p", "id", references={name: "p_id"}, change="c"), reader)
            assert any('"p_id"' in text for step in steps.expand for text in step.statements)
        with pytest.raises(Refused, match=r"t\.m does not refer to app\.p") as refused:
            plan(DECLARE["change_key"]("p", "id", references={"t.m": "p_id"}), reader)
        assert "app.t.price" in refused.value.next_step
