"""The application's own BEFORE triggers: what they write is kept in step, and they see what was written to either side."""

from __future__ import annotations

import contextlib

import psycopg
import pytest
from changed_database import Case, Shape, changed_database
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploykit.schema.in_app.changes.model import Refused
from deploykit.schema.in_app.changes.operations.registry import DECLARATIONS as DECLARE

pytestmark = pytest.mark.timeout(60)
POSTS = "CREATE TABLE t (id serial PRIMARY KEY, title text, slug text DEFAULT 'none', note text);"
SLUG = """
CREATE FUNCTION slugged() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.slug := lower(NEW.title); RETURN NEW; END $$;
CREATE TRIGGER {name} BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION slugged();
"""
NO_WRITER = Shape("INSERT INTO t (title) VALUES ('T' || %(v)s) RETURNING id", "", "")
CLAMP = """
CREATE FUNCTION clamped() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.price := least(NEW.price, 50); RETURN NEW; END $$;
CREATE TRIGGER clamp BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION clamped();
"""


@contextlib.contextmanager
def expanded(fresh, setup: str, change, *, rows: int = 3, after: str = ""):
    """The table with some rows, then `after`, then the change; nothing is filled yet."""
    with (
        fresh() as url,
        changed_database(url, Case("", setup, lambda: change, NO_WRITER), seed=rows) as found,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        if after:
            connection.execute(after)
        found.runner.expand(change)
        yield found, connection


def all_rows(connection, columns: str, table: str = "t") -> list[tuple]:
    return connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1").fetchall()


RENAME_SLUG = DECLARE["rename_column"]("t", "slug", "permalink", change="c")


@pytest.mark.parametrize("name", ["a_slug", "zzz_slug"])
def test_a_column_that_a_trigger_sets_is_kept_in_step(fresh_18, name):
    with expanded(fresh_18, POSTS + SLUG.format(name=name), RENAME_SLUG) as (
        found,
        connection,
    ):
        connection.execute("UPDATE t SET title = 'By An Update' WHERE id = 1")
        connection.execute("INSERT INTO t (title) VALUES ('By An Insert')")
        assert all_rows(connection, "id, slug, permalink") == [
            (1, "by an update", "by an update"),
            (2, "t2", None),
            (3, "t3", None),
            (4, "by an insert", "by an insert"),
        ]
        found.runner.fill("c")
        assert connection.execute("SELECT count(*) FROM t WHERE slug IS DISTINCT FROM permalink").fetchone() == (0,)


def test_a_trigger_wins_over_the_default_that_a_mapping_makes_a_value_of(fresh_18):
    change = DECLARE["change_type"](
        "t",
        "slug",
        "varchar(40)",
        up="coalesce(slug, '')::varchar(40)",
        down="permalink",
        to="permalink",
        change="c",
    )
    with expanded(fresh_18, POSTS + SLUG.format(name="slug"), change, rows=0) as (
        _,
        connection,
    ):
        connection.execute("INSERT INTO t (title) VALUES ('Old')")
        connection.execute("INSERT INTO t (title, permalink) VALUES ('New', 'mine')")
        assert all_rows(connection, "title, slug, permalink") == [
            ("New", "new", "new"),
            ("Old", "old", "old"),
        ]


def test_a_trigger_that_is_replaced_meanwhile_may_set_the_new_column(fresh_18):
    with expanded(fresh_18, POSTS + SLUG.format(name="slug"), RENAME_SLUG) as (found, connection):
        found.runner.fill("c")
        connection.execute(
            "CREATE OR REPLACE FUNCTION slugged() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.permalink := lower(NEW.title); RETURN NEW; END $$"
        )
        connection.execute("INSERT INTO t (title) VALUES ('Four')")
        connection.execute("UPDATE t SET slug = 'mine', title = 'Two' WHERE id = 2")
        connection.execute("UPDATE t SET title = 'Three' WHERE id = 3")
        assert all_rows(connection, "id, slug, permalink") == [
            (1, "t1", "t1"),
            (2, "two", "two"),
            (3, "three", "three"),
            (4, "four", "four"),
        ]


@pytest.mark.parametrize("name", ["a_slug", "zzz_slug"])
def test_a_trigger_sees_what_was_written_to_either_side(fresh_18, name):
    change = DECLARE["rename_column"]("t", "title", "headline", change="c")
    with expanded(fresh_18, POSTS + SLUG.format(name=name), change, rows=1) as (
        found,
        connection,
    ):
        connection.execute("UPDATE t SET headline = 'New Writer' WHERE id = 1")
        connection.execute("INSERT INTO t (headline) VALUES ('Another')")
        connection.execute("UPDATE t SET title = 'Old Writer' WHERE id = 2")
        assert all_rows(connection, "id, title, headline, slug") == [
            (1, "New Writer", "New Writer", "new writer"),
            (2, "Old Writer", "Old Writer", "old writer"),
        ]
        found.runner.fill("c")


def test_a_row_that_a_trigger_changes_while_it_is_filled_is_kept_in_step(fresh_18):
    """The rows are older than the trigger, which changes them as soon as anything writes them."""
    with expanded(fresh_18, POSTS, RENAME_SLUG, after=SLUG.format(name="slug")) as (
        found,
        connection,
    ):
        found.runner.fill("c")
        assert all_rows(connection, "slug, permalink") == [(f"t{n}", f"t{n}") for n in (1, 2, 3)]


WRITES = st.lists(
    st.tuples(
        st.sampled_from(["title", "slug", "permalink", "note"]),
        st.integers(0, 2),
        st.sampled_from("aBC"),
    ),
    max_size=10,
)


@pytest.fixture
def posts(fresh_18):
    with expanded(fresh_18, POSTS + SLUG.format(name="zzz_slug"), RENAME_SLUG) as (
        _,
        connection,
    ):
        yield connection


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=WRITES)
def test_both_sides_and_the_trigger_agree_after_any_writes(posts, writes):
    posts.execute("TRUNCATE t")
    for column, key, value in writes:
        put = (
            f"INSERT INTO t (id, {column}) VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET {column} = excluded.{column}"
        )
        posts.execute(put, [key, value])
        written = all_rows(posts, "title, slug, permalink")
        assert written
        assert all(slug == permalink == (title and title.lower()) for title, slug, permalink in written), written


def test_a_column_that_is_computed_or_filled_by_the_kit_follows_a_trigger(fresh_18):
    priced = "CREATE TABLE t (id serial PRIMARY KEY, title text, price int);" + CLAMP
    twice = DECLARE["add_column"]("t", "twice", "int", generated="price * 2", change="c")
    with expanded(fresh_18, priced, twice, rows=0) as (_, connection):
        connection.execute("INSERT INTO t (price) VALUES (80)")
        connection.execute(
            "CREATE OR REPLACE FUNCTION clamped() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.price := 7; RETURN NEW; END $$"
        )
        assert all_rows(connection, "price, twice") == [(50, 100)]
        connection.execute("UPDATE t SET title = 'x'")
        assert all_rows(connection, "price, twice") == [(7, 14)]
    filled = DECLARE["set_not_null"]("t", "slug", fill="'?'", change="c")
    emptied = SLUG.format(name="slug").replace("lower(NEW.title)", "NULL")
    with expanded(fresh_18, POSTS + emptied, filled, rows=0) as (_, connection):
        connection.execute("INSERT INTO t (title) VALUES ('x')")
        connection.execute("UPDATE t SET title = 'y'")
        assert all_rows(connection, "title, slug") == [("y", "?")]


MOVES = {
    "move_column": (
        "CREATE TABLE o (t_id int PRIMARY KEY REFERENCES t);",
        DECLARE["move_column"]("t", "price", "o", on={"id": "t_id"}, change="c"),
    ),
    "split_table": ("", DECLARE["split_table"]("t", ["price"], "o", change="c")),
}


@pytest.mark.parametrize("kind", MOVES)
def test_tables_are_kept_in_step_although_a_trigger_sets_the_column(fresh_18, kind):
    more, change = MOVES[kind]
    setup = "CREATE TABLE t (id serial PRIMARY KEY, title text, price int DEFAULT 9);" + CLAMP + more
    with expanded(fresh_18, setup, change, rows=2) as (found, connection):
        if kind == "move_column":
            connection.execute("INSERT INTO o (t_id) SELECT id FROM t")
        found.runner.fill("c")
        agree = "SELECT t.id, t.price, o.price FROM t JOIN o ON o.t_id = t.id ORDER BY 1"
        connection.execute("UPDATE o SET price = 80 WHERE t_id = 1")
        assert connection.execute(agree).fetchall() == [(1, 50, 50), (2, 9, 9)]
        # The SET list has another column; the trigger changes the price.
        connection.execute(
            "CREATE OR REPLACE FUNCTION clamped() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.price := 3; RETURN NEW; END $$"
        )
        connection.execute("UPDATE t SET title = 'x' WHERE id = 2")
        assert connection.execute(agree).fetchall() == [(1, 50, 50), (2, 3, 3)]
        found.runner.verify("c")


def test_a_trigger_that_writes_the_row_again_afterwards_has_the_last_word(fresh_18):
    again = """
    CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN UPDATE t SET price = NEW.price + 1 WHERE id = NEW.id AND NEW.price < 20; RETURN NULL; END $$;
    CREATE TRIGGER again AFTER UPDATE ON t FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION again();
    """
    more, change = MOVES["split_table"]
    setup = "CREATE TABLE t (id serial PRIMARY KEY, title text, price int DEFAULT 9);" + again + more
    with expanded(fresh_18, setup, change, rows=1) as (found, connection):
        found.runner.fill("c")
        connection.execute("UPDATE t SET price = 10")
        assert connection.execute("SELECT t.price, o.price FROM t, o").fetchall() == [(11, 11)]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("~~last", RENAME_SLUG),
        ("ähnlich", DECLARE["set_not_null"]("t", "slug", fill="'x'", change="c")),
        (" first", DECLARE["split_table"]("t", ["slug"], "o")),
        ("~~last", DECLARE["add_column"]("t", "x", "text", generated="slug || 'x'", change="c")),
    ],
)
def test_a_trigger_that_fires_before_or_after_the_kits_is_refused_by_name(fresh_18, name, change):
    with (
        pytest.raises(Refused, match=f"the trigger {name} of t fires before or after") as refused,
        expanded(fresh_18, POSTS + SLUG.format(name=f'"{name}"'), change, rows=0),
    ):
        pass
    assert f'ALTER TRIGGER "{name}" ON "public"."t" RENAME TO' in refused.value.next_step


def test_the_triggers_vanish_with_the_change_and_come_back(fresh_18):
    with expanded(fresh_18, POSTS + SLUG.format(name="slug"), RENAME_SLUG) as (
        found,
        connection,
    ):
        names = "SELECT tgname::text FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"
        kits = [
            ("!deploykit_c_i",),
            ("!deploykit_c_u",),
            ("slug",),
            ("~deploykit_c_i",),
            ("~deploykit_c_u",),
        ]
        assert sorted(connection.execute(names).fetchall()) == sorted(kits)
        found.runner.undo("c")
        assert connection.execute(names).fetchall() == [("slug",)]
        assert connection.execute("SELECT count(*) FROM pg_proc WHERE proname LIKE 'sync%'").fetchone() == (0,)
