from __future__ import annotations

import json

import pytest

from deploykit.model import DeploykitError
from deploykit.schema.runner import inspect_command, parse, parse_upgrade, upgrade_command


def test_the_commands_name_the_applications_python_tree_and_variable(tmp_path):
    argv = inspect_command("/env/bin/python", "migrations", tmp_path, variable="DB")
    assert argv[0] == "/env/bin/python"
    assert argv[2:] == ("inspect", "--tree", str(tmp_path), "--migrations", "migrations", "--variable", "DB")
    argv = upgrade_command("/env/bin/python", "alembic.ini", tmp_path, wait=5, lock_timeout=0.5)
    assert argv[-4:] == ("--wait", "5", "--lock-timeout", "0.5")


def test_the_answer_is_found_among_what_the_application_printed():
    answer = {
        "heads": [{"revision": "a", "labels": ["x"], "message": None}],
        "branches": {"x": ["a", "b"], "": ["c"]},
        "dialect": "sqlite",
        "current": [],
        "missing": ["z"],
        "error": None,
        "pending": [
            {
                "revision": "a",
                "message": None,
                "path": "a.py",
                "unknown": None,
                "operations": [
                    {
                        "kind": "add_column",
                        "table": "t",
                        "schema": None,
                        "column": "c",
                        "nullable": True,
                        "default": False,
                    }
                ],
            }
        ],
    }
    found = parse(
        [
            "loading settings",
            "@deploykit " + json.dumps(answer),
            "bye",
        ]
    )
    assert found.crowded == {"x": ("a", "b")}
    assert (found.current, found.missing, found.error) == ((), ("z",), "")
    assert found.pending is not None
    (operation,) = found.pending[0].operations
    assert (operation.table, operation.schema, operation.detail["nullable"]) == ("t", "", True)


def test_a_program_that_died_before_its_answer_is_an_error_with_its_last_lines():
    with pytest.raises(DeploykitError, match="could not be looked at") as raised:
        parse("one\n\ntwo\n")
    assert raised.value.details == ("one", "two")
    with pytest.raises(DeploykitError, match="did not run to their end"):
        parse_upgrade("")


def test_an_error_of_an_upgrade_is_a_sentence_with_its_details():
    found = parse_upgrade(
        '@deploykit {"applied": ["a"], "seconds": 1.5, "error": {"kind": "revision", "revision": "b", "title": "add",'
        ' "message": "no such table", "sql": "DROP TABLE x", "where": "b.py:3", "blockers": ["a transaction open for 9'
        ' s"]}}'
    )
    assert found.error == "revision b (add) failed: no such table"
    assert found.details == ("SQL: DROP TABLE x", "at: b.py:3", "a transaction open for 9 s")
    assert (found.applied, found.seconds, found.revision) == (("a",), 1.5, "b")
    found = parse_upgrade('@deploykit {"error": {"kind": "environment", "message": "KeyError"}}')
    assert found.error == "the migration environment failed: KeyError"
    found = parse_upgrade('@deploykit {"error": {"kind": "lock", "message": "another migration still runs"}}')
    assert found.error == "another migration still runs"
    assert parse_upgrade('@deploykit {"applied": [], "seconds": 0, "error": null}').error == ""
