from __future__ import annotations

import pytest

from deploykit.schema.in_app.statements import classify


def kinds(sql: str) -> list[tuple[str, str | None]]:
    return [(item["kind"], item.get("table")) for item in classify(sql)]


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        ("", []),
        ("  -- DROP TABLE a\n /* DROP /* nested */ TABLE b */ ;;", []),
        ("DROP TABLE a", [("drop_table", "a")]),
        ('drop table if exists only_a, "B ""c""" cascade;', [("drop_table", "only_a"), ("drop_table", 'B "c"')]),
        ("DROP MATERIALIZED VIEW v", [("drop_view", "v")]),
        ("DROP SCHEMA s CASCADE", [("drop_schema", "s")]),
        ("DROP INDEX CONCURRENTLY IF EXISTS i", [("drop_index", "i")]),
        ("DROP FUNCTION f", [("drop_object", "f")]),
        ("DROP TYPE t CASCADE", [("unknown", None)]),
        ("DROP OWNED BY x", [("unknown", None)]),
        ("TRUNCATE TABLE ONLY a, b", [("truncate", "a"), ("truncate", "b")]),
        ("RENAME TABLE a TO b, c TO d", [("rename_table", "a"), ("rename_table", "c")]),
        ("CREATE TEMP TABLE a (x int)", [("create_table", "a")]),
        ("CREATE TABLE public.a AS SELECT 1", [("create_table", "a")]),
        ("CREATE UNIQUE INDEX CONCURRENTLY i ON ONLY a (x)", [("create_index", "a")]),
        ("CREATE INDEX ON a (x)", [("create_index", "a")]),
        ("CREATE OR REPLACE FUNCTION f() RETURNS int AS $x$ BEGIN; DROP TABLE a; END $x$", [("create_object", None)]),
        ("CREATE EXTENSION IF NOT EXISTS citext", [("create_object", None)]),
        ("CREATE SCHEMA s CREATE TABLE t (x int)", [("unknown", None)]),
        ("CREATE SOMETHING new", [("unknown", None)]),
        ("INSERT INTO a VALUES ('; DROP TABLE b')", [("data", None)]),
        ("WITH x AS (SELECT 1) UPDATE a SET b = 1", [("data", None)]),
        ("WITH x AS (SELECT 1) SELECT * FROM x", [("other", None)]),
        ("SELECT setval('s', max(id)) FROM a", [("other", None)]),
        ("SELECT drop_everything()", [("unknown", None)]),
        ('SELECT "odd"()', [("unknown", None)]),
        ("SELECT 1 INTO a", [("unknown", None)]),
        ("CALL f()", [("unknown", None)]),
        ("REVOKE ALL ON a FROM b", [("unknown", None)]),
        ("DO $$ BEGIN CREATE TYPE m AS ENUM ('a'); END $$", [("other", None)]),
        ("DO $$ BEGIN EXECUTE 'DR' || 'OP TABLE a'; END $$", [("unknown", None)]),
        ("DO LANGUAGE plpgsql 'begin drop table a; end'", [("unknown", None)]),
        ("DO", [("unknown", None)]),
        ("SET lock_timeout = '1s'; COMMENT ON TABLE a IS 'x'", [("other", None), ("other", None)]),
        ("ALTER TYPE m ADD VALUE 'x'", [("other", "m")]),
        ("ALTER TYPE m RENAME VALUE 'x' TO 'y'", [("rename_object", "m")]),
        ("ALTER TYPE m DROP ATTRIBUTE x", [("unknown", None)]),
        ("ALTER DOMAIN d ADD CHECK (x > 1)", [("unknown", None)]),
        ("ALTER VIEW v RENAME TO w", [("rename_table", "v")]),
        ("ALTER INDEX i RENAME TO j", [("other", "i")]),
        ("ALTER LANGUAGE x OWNER TO y", [("unknown", None)]),
        ("ALTER TABLE a OWNER TO me, VALIDATE CONSTRAINT c", [("other", "a"), ("other", "a")]),
        ("ALTER TABLE a DETACH PARTITION b", [("unknown", None)]),
        ("ALTER TABLE a", [("unknown", None)]),
        ("ALTER TABLE", [("unknown", None)]),
        ("ALTER TABLE a SET SCHEMA b", [("rename_table", "a")]),
        ("ALTER TABLE a RENAME TO b", [("rename_table", "a")]),
        ("ALTER TABLE a RENAME CONSTRAINT b TO c", [("other", "a")]),
        ("ALTER TABLE a RENAME b", [("unknown", None)]),
        ("ALTER TABLE a ALTER CONSTRAINT c DEFERRABLE", [("other", "a")]),
        ("ALTER TABLE a ADD CONSTRAINT c CHECK (x > 0) NOT VALID", [("add_constraint", "a")]),
        ("ALTER TABLE a DROP CONSTRAINT c", [("drop_constraint", "a")]),
        ("ALTER TABLE a ALTER b SET STATISTICS 5", [("other", "a")]),
        ("ALTER TABLE a ALTER b FROB", [("unknown", None)]),
    ],
)  # fmt: skip
def test_a_statement_is_told_by_its_words(sql, wanted):
    assert kinds(sql) == wanted


@pytest.mark.parametrize(
    ("action", "wanted"),
    [
        ("DROP COLUMN IF EXISTS b CASCADE", {"kind": "drop_column", "column": "b"}),
        ("DROP b", {"kind": "drop_column", "column": "b"}),
        ('RENAME "B" TO c', {"kind": "rename_column", "column": "B", "to": "c"}),
        ("RENAME COLUMN b TO c", {"kind": "rename_column", "column": "b", "to": "c"}),
        ("ALTER COLUMN b SET DATA TYPE varchar(20) USING b::text", {"kind": "alter_type", "column": "b", "type": "VARCHAR(20)", "existing_type": None}),
        ("ALTER b TYPE double precision", {"kind": "alter_type", "column": "b", "type": "DOUBLE PRECISION", "existing_type": None}),
        ("ALTER b SET NOT NULL", {"kind": "set_not_null", "column": "b"}),
        ("ALTER b DROP NOT NULL", {"kind": "drop_not_null", "column": "b"}),
        ("ALTER b SET DEFAULT 3", {"kind": "set_default", "column": "b", "nullable": None}),
        ("ALTER b DROP DEFAULT", {"kind": "drop_default", "column": "b", "nullable": None}),
        ("ADD COLUMN IF NOT EXISTS b int NOT NULL", {"kind": "add_column", "column": "b", "nullable": False, "default": False, "type": "INT"}),
        ("ADD b numeric(3, 2) DEFAULT 1 NOT NULL", {"kind": "add_column", "column": "b", "nullable": False, "default": True, "type": "NUMERIC"}),
        ("ADD b int NOT NULL DEFAULT NULL", {"kind": "add_column", "column": "b", "nullable": False, "default": False, "type": "INT"}),
        ("ADD b bigserial", {"kind": "add_column", "column": "b", "nullable": False, "default": True, "type": "BIGSERIAL"}),
        ("ADD b int CHECK (b IS NOT NULL)", {"kind": "add_column", "column": "b", "nullable": True, "default": False, "type": "INT"}),
        ("ADD b int GENERATED BY DEFAULT AS IDENTITY NOT NULL", {"kind": "add_column", "column": "b", "nullable": False, "default": True, "type": "INT"}),
        ("MODIFY COLUMN b int", {"kind": "alter_type", "column": "b", "type": "", "existing_type": None}),
    ],
)  # fmt: skip
def test_an_action_of_alter_table_is_described_with_its_column(action, wanted):
    assert classify(f"ALTER TABLE IF EXISTS ONLY s.a {action}") == [{"table": "a", "schema": "s", **wanted}]


def test_several_actions_come_in_their_order():
    found = classify("ALTER TABLE a ADD x numeric(3, 2), DROP y, CHANGE b c int, CHANGE d d int")
    assert [item["kind"] for item in found] == [
        "add_column",
        "drop_column",
        "rename_column",
        "alter_type",
        "alter_type",
    ]


def test_an_unknown_statement_shows_its_words_but_no_values():
    assert classify("GRUNT 'secret', $$hidden$$, E'x\\'y', 5")[0]["sql"] == "GRUNT '…' , '…' , '…' , 5"
    assert len(classify("GRUNT " + "x " * 300)[0]["sql"]) == 201


def test_what_never_ends_is_read_to_the_end():
    assert kinds("DO $$ DROP TABLE a") == [("unknown", None)]
    assert kinds("/* DROP TABLE a") == []
    assert kinds("DROP TABLE a /* x") == [("drop_table", "a")]
