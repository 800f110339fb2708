from __future__ import annotations

import contextlib
import sqlite3

import pytest


@pytest.fixture
def where(tmp_path):
    return tmp_path / "state" / "ledger.sqlite3"


@pytest.fixture
def tamper(where):
    """Run SQL behind the ledger's back, with its triggers and foreign keys out of the way."""

    def _tamper(sql, parameters=()):
        with contextlib.closing(sqlite3.connect(where)) as connection, connection:
            connection.execute("PRAGMA foreign_keys=OFF")
            for event in ("update", "delete"):
                connection.execute(f"DROP TRIGGER IF EXISTS deploykit_entries_no_{event}")
            connection.execute(sql, parameters)

    return _tamper
