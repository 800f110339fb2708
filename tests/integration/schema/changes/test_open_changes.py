"""Two open changes that meet on one column would diverge: the second is refused, by the name of the first."""

from __future__ import annotations

import contextlib

import psycopg
import pytest
from changed_database import Case, Shape, changed_database

from deploykit.schema.in_app.changes.model import Refused
from deploykit.schema.in_app.changes.operations.registry import DECLARATIONS as DECLARE
from deploykit.schema.in_app.live.gate import OVERRIDE

pytestmark = pytest.mark.timeout(60)
TABLES = """
CREATE TABLE p (id int PRIMARY KEY, other int); INSERT INTO p SELECT generate_series(1, 9);
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE TABLE t (id serial PRIMARY KEY, price int CHECK (price > 0), title text, name text, "index" text, m mood, p_id int REFERENCES p);
CREATE TABLE u (id int PRIMARY KEY REFERENCES t, note text, m mood);
CREATE INDEX ix_price ON t (price);
"""
RENAME = DECLARE["rename_column"]("t", "price", "cost", change="first")
GENERATED = DECLARE["add_column"]("t", "twice", "int", generated="price * 2", change="first")
FILLED = DECLARE["add_column"]("t", "extra", "int", nullable=False, fill="price * 2", change="first")
ENUM = DECLARE["change_enum"]("t", "m", ["bad", "glad"], mapping={"sad": "bad"}, change="first")
KEY = DECLARE["change_key"]("p", "id", change="first")


@contextlib.contextmanager
def changing(fresh, *, rows: int = 2):
    shape = Shape("INSERT INTO t (price) VALUES (%(v)s) RETURNING id", "", "")
    with fresh() as url, changed_database(url, Case("", TABLES, lambda: None, shape), seed=rows) as found:
        found.runner.url = url
        yield found.runner


def one(kind: str, *arguments, **options):
    return DECLARE[kind](*arguments, **options, change="second")


MEETINGS = {
    "the old column is copied again": (RENAME, one("change_type", "t", "price", "bigint", to="p2"), "t.price"),
    "the new column is copied on": (RENAME, one("rename_column", "t", "cost", "amount"), "t.cost"),
    "the new column is filled": (RENAME, one("set_not_null", "t", "cost", fill="0"), "t.cost"),
    "a column is computed from the new one": (
        RENAME,
        one("add_column", "t", "x", "int", generated="cost * 2"),
        "t.cost",
    ),
    "a column is filled from the old one": (
        RENAME,
        one("add_column", "t", "x", "int", nullable=False, fill="price"),
        "t.price",
    ),
    "the old column gets an index": (RENAME, one("create_index", "t", "ix", ["price"]), "t.price"),
    "the old column gets a check": (RENAME, one("add_check", "t", "ck", "price < 900"), "t.price"),
    "the old column loses a check": (RENAME, one("drop_constraint", "t", "t_price_check"), "t.price"),
    "the old column loses an index": (RENAME, one("drop_index", "t", "ix_price"), "t.price"),
    "the old column is moved": (RENAME, one("move_column", "t", "price", "u", on={"id": "id"}), "t.price"),
    "sql of one's own names it": (RENAME, one("execute", "x", table="t", expand="UPDATE t SET price = 1"), "t.price"),
    "a computed column's source goes": (GENERATED, RENAME, "t.price"),
    "a column that others are filled from goes": (FILLED, RENAME, "t.price"),
    "the table is renamed": (RENAME, one("rename_table", "t", "things"), "the table t"),
    "the table is dropped": (RENAME, one("drop_table", "t"), "the table t"),
    "its values get one more": (ENUM, one("add_enum_value", "u", "m", "great"), "t.m"),
    "a key and what refers to it": (KEY, one("rename_column", "t", "p_id", "parent"), "t.p_id"),
    "a key gets another reference": (KEY, one("add_foreign_key", "t", "fk", ["id"], "p", ["id"]), "p.id"),
}


@pytest.mark.parametrize("name", MEETINGS)
def test_the_second_is_refused_by_the_name_of_the_first(changing_once, name):
    first, second, where = MEETINGS[name]
    if second is RENAME:
        second = DECLARE["rename_column"]("t", "price", "cost", change="second")
    runner = changing_once
    runner.expand(first)
    try:
        with pytest.raises(Refused) as refused:
            runner.expand(second)
        assert str(refused.value).startswith(f"second meets first on {where}, which is expanded: ")
        assert refused.value.next_step.endswith("abandon it: invoke db.undo --change first")
        assert runner.state.get("second") is None
    finally:
        runner.undo("first")


@pytest.fixture(scope="module")
def changing_once(server_18):
    """One database for all: whatever is expanded is undone."""
    with changing(server_18.database) as runner:
        yield runner


APART = {
    "a column by the name of an option": (
        DECLARE["rename_column"]("t", "name", "full_name", change="first"),
        one("create_index", "t", "name", ["title"]),
    ),
    "another column": (RENAME, one("rename_column", "t", "title", "headline")),
    "an index on the new column": (RENAME, one("create_index", "t", "ix", ["cost"])),
    "a check of the new column": (RENAME, one("add_check", "t", "ck", "cost > 0")),
    "a reference of a new column": (FILLED, one("add_foreign_key", "t", "fk", ["extra"], "p", ["id"])),
    "a default and a NOT NULL": (
        DECLARE["change_default"]("t", "title", "'x'", change="first"),
        one("set_not_null", "t", "title", fill="'x'"),
    ),
    "two indexes": (
        DECLARE["create_index"]("t", "ix1", ["title"], change="first"),
        one("create_index", "t", "ix2", ["title"]),
    ),
    "a column of another table": (RENAME, one("rename_column", "u", "note", "remark")),
}


@pytest.mark.parametrize("name", APART)
def test_changes_that_cant_affect_each_other_go_side_by_side(changing_once, name):
    first, second = APART[name]
    changing_once.expand(first)
    changing_once.expand(second)
    changing_once.undo("second")
    changing_once.undo("first")


def test_after_the_contract_of_the_first_the_second_goes_on(fresh_18):
    second = one("rename_column", "t", "cost", "amount")
    with changing(fresh_18) as runner:
        runner.expand(RENAME)
        runner.fill("first")
        with pytest.raises(Refused) as refused:
            runner.expand(second)
        assert refused.value.next_step.startswith("finish first first (invoke db.contract), or abandon it")
        runner.contract("first", "the test")
        runner.expand(second)
        # The way back of the first goes by that of the second.
        with pytest.raises(Refused, match=r"first meets second on t\.cost, which is expanded"):
            runner.undo("first")
        runner.fill("second")
        runner.contract("second", "the test")
        with pytest.raises(Refused, match=r"first meets second on t\.cost, which is contracted") as refused:
            runner.undo("first")
        assert refused.value.next_step == "undo second first: invoke db.undo --change second"
        runner.undo("second")
        runner.undo("first")


def test_what_is_built_on_a_new_column_keeps_it(fresh_18):
    with changing(fresh_18) as runner:
        runner.expand(RENAME)
        runner.expand(one("add_check", "t", "ck", "cost > 0"))
        with pytest.raises(Refused, match=r"first meets second on t\.cost"):
            runner.undo("first")
        runner.undo("second")
        runner.undo("first")


def test_a_database_that_others_are_connected_to_is_being_made_if_that_is_said(fresh_18, monkeypatch):
    """As in a test that has a pool open already."""
    with changing(fresh_18, rows=0) as runner, psycopg.connect(runner.url):
        runner.begin(RENAME)
        with pytest.raises(Refused, match="second meets first"):
            runner.begin(one("rename_column", "t", "cost", "amount"))
        monkeypatch.setenv(OVERRIDE, "a test's database")
        runner.begin(one("rename_column", "t", "cost", "amount"))
        assert [runner.known(key).phase for key in ("first", "second")] == ["contracted", "filled"]


def test_in_a_database_that_is_being_made_each_contract_comes_before_the_next_change(fresh_18):
    with changing(fresh_18, rows=0) as runner:
        runner.begin(RENAME)
        runner.begin(one("rename_column", "t", "cost", "amount"))
        assert [runner.known(key).phase for key in ("first", "second")] == ["contracted", "filled"]
        runner.reopen("first")
        assert [runner.known(key).phase for key in ("first", "second")] == ["filled", "undone"]
