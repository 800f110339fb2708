"""SQLite keeps any type in any column; the check survives what it finds there, and names it."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from deploykit.ledger.sql import open_ledger

INFINITY = float("inf")


@pytest.fixture
def ledger(where):
    made = open_ledger(where, app="shop", environment="staging")
    held = made.acquire("ann", "release", lease=60)
    made.begin(version="1", digest="", commit="", tree="", actor="ann", kind="release", previous="", token=held.token)
    made.add_timer("warm", "r1", 5, {"x": 1})
    yield made
    made.close()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("at", INFINITY),
        ("at", "soon"),
        ("at", b"\x00"),
        ("sequence", "two"),
        ("sequence", 2.5),
        ("payload", b"\xff\xfe"),
        ("payload", "null"),
        ("payload", "{"),
        ("payload", "[" * 100_000),
        ("payload", '{"version": NaN}'),
        ("kind", b"release.begun"),
        ("kind", "lock.taken"),
        ("release", "r2"),
        ("previous", 7),
        ("hash", b""),
        ("hash", ""),
    ],
)
def test_an_entry_of_the_wrong_type_is_a_problem_and_no_accident(ledger, tamper, column, value):
    tamper(f"UPDATE deploykit_entries SET {column} = ? WHERE sequence = 2", (value,))
    assert ledger.check() != []


@pytest.mark.parametrize("sequence", [1, 3])
def test_a_text_that_is_not_utf_8_is_found_among_the_others(ledger, tamper, sequence):
    tamper("UPDATE deploykit_entries SET payload = CAST(X'7b22ff227d' AS TEXT) WHERE sequence = ?", (sequence,))
    assert any(f"entry {sequence} " in problem.message for problem in ledger.check())
    assert ledger.holder().owner == "ann", "the connection reads as ever afterwards"


@pytest.mark.parametrize(("column", "value"), [("expires_at", INFINITY), ("heartbeat_at", "x"), ("token", 1.5)])
def test_a_lease_of_the_wrong_type_is_a_problem(ledger, tamper, column, value):
    tamper(f"UPDATE deploykit_locks SET {column} = ?", (value,))
    assert ledger.check() != []


def test_an_integer_in_a_float_s_place_is_what_it_looks_like(ledger, tamper):
    """SQLite itself turns it into the float that the column wants, so nothing was changed."""
    tamper("UPDATE deploykit_timers SET due_at = 5")
    assert ledger.check() == []


def test_every_problem_is_named_and_not_the_first_alone(ledger, tamper):
    tamper("UPDATE deploykit_entries SET at = at + 1 WHERE sequence = 1")
    tamper("UPDATE deploykit_releases SET version = '9', actor = 'eve'")
    tamper("DELETE FROM deploykit_timers")
    messages = " ".join(problem.message for problem in ledger.check())
    for said in ("entry 1 (lock.taken) was changed", "version '9'", "actor 'eve'", "lacks the row 3"):
        assert said in messages


def test_an_entry_about_a_row_that_was_never_made_is_named(ledger, tamper):
    tamper("UPDATE deploykit_entries SET kind = 'release.amended' WHERE sequence = 2")
    assert any("which no entry before it made" in problem.message for problem in ledger.check())


def test_a_damaged_index_is_found(ledger, where):
    """The rows are right and the answers would be wrong: only SQLite's own check sees that."""
    ledger.close()
    with contextlib.closing(sqlite3.connect(where)) as connection, connection:
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, 'sequence)', 'started_at)') WHERE name ="
            " 'deploykit_releases_order'"
        )
    assert any("the file is damaged" in problem.message for problem in ledger.check())


@pytest.mark.parametrize(
    ("table", "column"),
    [("locks", "expires_at"), ("releases", "outcome"), ("entries", "payload"), ("chains", "hash"), ("timers", "kind")],
)
def test_a_column_that_has_another_name_in_the_file_is_found_and_not_read_as_its_own_name(ledger, where, table, column):
    """One bit of the file is enough. SQLite reads a name in quotes that it does not know as a text."""
    ledger.close()
    with contextlib.closing(sqlite3.connect(where)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE name = ?",
            (column, "x" + column[1:], f"deploykit_{table}"),
        )
    again = open_ledger(where, app="shop", environment="staging")
    try:
        assert any("can't be read to its end" in problem.message for problem in again.check())
    finally:
        again.close()
