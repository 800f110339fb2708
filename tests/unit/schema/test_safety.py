from __future__ import annotations

import pytest

from deploykit.schema.in_app.statements import classify
from deploykit.schema.inspection import Inspection
from deploykit.schema.safety import is_widening, unknown_lines, unsafe_operations


def inspection(*revisions: list[dict], unknown: str | None = None) -> Inspection:
    return Inspection.from_json(
        {
            "pending": [
                {"revision": f"r{number}", "message": "m", "path": "p.py", "operations": operations, "unknown": unknown}
                for number, operations in enumerate(revisions)
            ]
        }
    )


def unsafe(*statements: str) -> list[tuple[str, str]]:
    found = unsafe_operations(inspection(*([*classify(sql)] for sql in statements)))
    return [(item.revision, item.operation) for item in found]


@pytest.mark.parametrize(
    ("statement", "operation"),
    [
        ("DROP TABLE a", "drop_table"),
        ("ALTER TABLE a DROP b", "drop_column"),
        ("ALTER TABLE a RENAME TO b", "rename_table"),
        ("ALTER TABLE a RENAME b TO c", "rename_column"),
        ("ALTER TABLE a ALTER b TYPE int", "alter_type"),
        ("ALTER TABLE a ALTER b SET NOT NULL", "set_not_null"),
        ("ALTER TABLE a ADD b int NOT NULL", "add_column"),
        ("DROP VIEW a", "drop_view"),
        ("DROP SCHEMA a", "drop_schema"),
        ("TRUNCATE a", "truncate"),
        ("ALTER TYPE a RENAME TO b", "rename_object"),
    ],
)
def test_what_the_running_version_uses_is_refused_with_a_reason_and_a_safe_way(statement, operation):
    (found,) = unsafe_operations(inspection(classify(statement)))
    assert (found.revision, found.operation, found.table) == ("r0", operation, "a")
    assert "the running version" in found.why
    assert "{" not in found.why + found.rewrite
    assert len(found.rewrite) > 20


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE a (x int)",
        "ALTER TABLE a ADD b int",
        "ALTER TABLE a ADD b int NOT NULL DEFAULT 1",
        "ALTER TABLE a ALTER b DROP NOT NULL",
        "ALTER TABLE a ALTER b SET DEFAULT 1",
        "ALTER TABLE a ALTER b DROP DEFAULT",
        "CREATE INDEX i ON a (b)",
        "ALTER TABLE a ADD CONSTRAINT c UNIQUE (b)",
        "UPDATE a SET b = 1",
    ],
)
def test_what_the_running_version_does_not_notice_is_allowed(statement):
    assert unsafe(statement) == []


def test_what_the_pending_revisions_make_they_may_change():
    assert (
        unsafe(
            "CREATE TABLE a (b int)",
            "ALTER TABLE public.a DROP b, ADD c int NOT NULL, RENAME TO d",
            "ALTER TABLE d ALTER c TYPE text; DROP TABLE d",
            "ALTER TABLE old ADD x int; ALTER TABLE old RENAME x TO y; ALTER TABLE old ALTER y TYPE text; ALTER TABLE"
            " old DROP y",
        )
        == []
    )


def test_a_table_that_may_have_been_there_is_not_free():
    assert unsafe("CREATE TABLE IF NOT EXISTS a (b int)", "DROP TABLE a") == [("r1", "drop_table")]
    assert unsafe("CREATE TABLE other.a (b int)", "DROP TABLE a") == [("r1", "drop_table")]


def test_a_new_column_must_let_the_running_version_insert_without_it():
    assert unsafe("ALTER TABLE a ADD b int", "ALTER TABLE a ALTER b SET NOT NULL") == [("r1", "set_not_null")]
    assert unsafe("ALTER TABLE a ADD b int DEFAULT 1", "ALTER TABLE a ALTER b SET NOT NULL") == []
    assert unsafe("ALTER TABLE a ADD b int NOT NULL DEFAULT 1", "ALTER TABLE a ALTER b DROP DEFAULT") == [
        ("r1", "drop_default")
    ]
    assert unsafe("ALTER TABLE a ADD b int DEFAULT 1", "ALTER TABLE a ALTER b DROP DEFAULT") == []
    assert unsafe("ALTER TABLE a ADD b int NOT NULL", "ALTER TABLE a ALTER b DROP NOT NULL") == [("r0", "add_column")]
    assert unsafe("ALTER TABLE a ADD b int", "ALTER TABLE a DROP b", "ALTER TABLE a DROP b") == [("r2", "drop_column")]


def test_a_default_that_inserts_rely_on_may_not_go():
    operation = {"kind": "drop_default", "table": "a", "column": "b", "nullable": False}
    assert [item.operation for item in unsafe_operations(inspection([operation]))] == ["drop_default"]


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("VARCHAR(10)", "VARCHAR(20)", True),
        ("character varying(10)", "TEXT", True),
        ("VARCHAR", "TEXT", True),
        ("TEXT", "VARCHAR", True),
        ("VARCHAR(20)", "VARCHAR(10)", False),
        ("TEXT", "VARCHAR(10)", False),
        ("NUMERIC(5, 2)", "NUMERIC(7,2)", True),
        ("NUMERIC(5)", "DECIMAL(7)", True),
        ("NUMERIC(5, 2)", "NUMERIC(7, 3)", False),
        ("NUMERIC(5, 2)", "NUMERIC", True),
        ("NUMERIC", "NUMERIC(5)", False),
        ("INTEGER", "BIGINT", False),
        ("INTEGER", "INTEGER", True),
        ("", "TEXT", False),
        ("VARCHAR(5)", "NUMERIC", False),
    ],
)
def test_a_type_that_holds_all_of_the_old_without_a_rewrite_is_a_widening(old, new, wanted):
    assert is_widening(old, new) is wanted
    operation = {"kind": "alter_type", "table": "a", "column": "b", "type": new, "existing_type": old or None}
    assert bool(unsafe_operations(inspection([operation]))) is not wanted


def test_a_revision_that_cannot_be_judged_is_named():
    found = inspection([], unknown="it reads from the database (rows of a result)")
    assert unknown_lines(found.unknown) == ("r0 (m) in p.py: it reads from the database (rows of a result)",)
    assert unsafe_operations(found) == ()
    assert unsafe_operations(Inspection()) == ()
