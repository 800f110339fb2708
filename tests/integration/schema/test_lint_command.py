"""`invoke db.lint` as it is typed: exit codes, and one object on standard output."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.fixture
def invoke(tmp_path):
    (tmp_path / "tasks.py").write_text("from deploykit.tasks import collection\n\nnamespace = collection()\n")
    (tmp_path / "pyproject.toml").write_text('[tool.deploykit]\napp = "shop"\n')
    (tmp_path / "bad.sql").write_text("SET lock_timeout = '1s'; SET statement_timeout = '9s';\nDROP TABLE orders;\n")
    (tmp_path / "good.sql").write_text("CREATE TABLE orders (note text);\n")
    (tmp_path / "broken.sql").write_text("CREATE TABEL orders (note text);\n")

    def run(*words):
        argv = [sys.executable, "-m", "invoke", *words]
        return subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False)

    return run


@pytest.mark.parametrize(
    ("file", "code", "outcome"),
    [
        ("good.sql", 0, "passed"),
        ("bad.sql", 1, "findings"),
        ("broken.sql", 2, "inconclusive"),
        ("none.sql", 3, "usage error"),
    ],
)
def test_the_exit_code_says_the_outcome_and_json_is_one_object(invoke, file, code, outcome):
    done = invoke("db.lint", "--sql", file, "--json")
    assert done.returncode == code, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["gate"], answer["outcome"]) == ("migrations", outcome)
    assert [finding["rule"] for finding in answer["findings"]] == (["ban-drop-table"] if code == 1 else [])


def test_a_repository_without_migrations_is_inconclusive(invoke):
    done = invoke("gate", "migrations")
    assert done.returncode == 2
    assert "there are no migrations to look at" in done.stdout
