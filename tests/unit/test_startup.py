"""Start-up is a budget: what every `invoke --list` and `nox -l` pays for imports next to nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache

import pytest

HEAVY = ("pydantic", "pydantic_core", "sqlalchemy", "alembic", "rich", "httpx2", "packaging", "psycopg", "asyncio")


@cache
def imported(*statements: str) -> list[str]:
    """The names of all modules that a fresh interpreter has after these statements."""
    program = "\n".join([*statements, "import json, sys", "print(json.dumps(sorted(sys.modules)))"])
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "statements",
    [
        ("import deploykit",),
        ("import deploykit.sessions",),
        ("import deploykit.tasks",),
        ("from deploykit.tasks import collection", "collection()"),
        ("import deploykit.tasks.program",),
    ],
    ids="; ".join,
)
def test_importing_the_kits_faces_imports_nothing_heavy(statements):
    modules = imported(*statements)
    assert statements[0].split()[1] in modules
    already = {"asyncio"} if "asyncio" in imported("import invoke") else set()
    assert [name for name in HEAVY if name in modules and name not in already] == []


def test_listing_the_tasks_imports_no_stage_of_a_release():
    modules = imported("from deploykit.tasks import collection", "collection()")
    ours = [name for name in modules if name.startswith("deploykit.")]
    allowed = ("deploykit.tasks", "deploykit.model", "deploykit._version")
    assert [name for name in ours if not name.startswith(allowed)] == []


def test_registering_the_sessions_adds_little_to_nox_itself():
    bare = set(imported("import nox"))
    ours = set(imported("import nox", "from deploykit import sessions", "sessions.register()"))
    added = {name.partition(".")[0] for name in ours - bare}
    assert added <= {"deploykit", "__future__"}, added
