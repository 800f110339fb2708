"""Whatever is changed behind a ledger's back, `check` finds it: any field, any byte of the file that can still be
read.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deploykit.ledger.interface import StepState
from deploykit.ledger.sql import open_ledger
from deploykit.model import DeploykitError, Evidence, Outcome, ReleaseOutcome, Verdict

TABLES = ("entries", "chains", "releases", "steps", "evidence", "timers", "locks")


class Clock:
    now = 1_800_000_000.0

    def __call__(self):
        Clock.now += 0.25
        return Clock.now


def opened(path):
    return open_ledger(path, app="shop", environment="staging", clock=Clock())


@pytest.fixture(scope="module")
def image():
    """The file of a ledger with something in every table; tests change copies of it."""
    with tempfile.TemporaryDirectory(prefix="dk-") as folder:
        path = Path(folder) / "ledger.sqlite3"
        ledger = opened(path)
        previous = ""
        for number in range(3):
            held = ledger.acquire("ann", f"release {number}", lease=60)
            made = ledger.begin(
                version=f"1.{number}",
                digest="sha256:1",
                commit="c",
                tree="t",
                actor="ann",
                kind="release",
                previous=previous,
                token=held.token,
            )
            step = ledger.intend(made.id, "start", {"port": 8000 + number}, token=held.token)
            ledger.result(step, StepState.DONE, {"pid": 4711})
            ledger.set_live(made.id)
            seen = Evidence(looked_at=3, unit="files", tool="ruff", tool_version="1.0")
            ledger.add_evidence(
                Verdict(gate="lint", outcome=Outcome.PASSED, evidence=seen, tree=f"t{number}").as_json()
            )
            ledger.add_timer("warm", made.id, 100.0 + number, {"instance": number})
            ledger.heartbeat("ann", held.token, lease=60)
            if number < 2:
                ledger.finish(made.id, ReleaseOutcome.DONE)
                ledger.unlock("ann", held.token)
            previous = made.id
        ledger.close()
        yield path


@contextlib.contextmanager
def copied(image, *, at=0, bits=0):
    """A copy, with `bits` of the byte at `at` turned."""
    with tempfile.TemporaryDirectory(prefix="dk-") as folder:
        path = Path(folder) / "ledger.sqlite3"
        content = bytearray(image.read_bytes())
        content[at % len(content)] ^= bits
        path.write_bytes(content)
        yield path


def fields(image):
    """Every (table, rowid, column, value) there is."""
    with copied(image) as path, contextlib.closing(sqlite3.connect(path)) as connection:
        for table in TABLES:
            rows = connection.execute(f"SELECT rowid, * FROM deploykit_{table}")
            names = [column[0] for column in rows.description]
            for row in rows.fetchall():
                for name, value in zip(names[1:], row[1:], strict=True):
                    yield table, row[0], name, value


def tampered(path, sql, parameters):
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("DROP TRIGGER deploykit_entries_no_update")
        connection.execute("DROP TRIGGER deploykit_entries_no_delete")
        connection.execute(sql, parameters)


def problems(path):
    ledger = opened(path)
    try:
        return ledger.check()
    finally:
        ledger.close()


def test_the_untouched_ledger_is_sound(image):
    with copied(image) as path:
        assert problems(path) == []


def changed(value, draw):
    """Another value than `value`: of its own type with one thing different, or of any type at all."""
    if isinstance(value, str) and value and draw(st.booleans()):
        at = draw(st.integers(0, len(value) - 1))
        letter = draw(st.characters(codec="utf-8", exclude_characters=value[at] + "\0"))
        return value[:at] + letter + value[at + 1 :]
    if isinstance(value, int | float) and draw(st.booleans()):
        return value + draw(st.sampled_from([1, -1, 0.25]))
    return draw(
        st.one_of(
            st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
            st.integers(-(2**40), 2**40),
            st.floats(allow_nan=False),
            st.binary(max_size=4),
        )
    )


@settings(max_examples=60)
@given(data=st.data())
def test_any_changed_field_is_found(image, data):
    table, rowid, name, value = data.draw(st.sampled_from(list(fields(image))), label="field")
    new = changed(value, data.draw)
    with copied(image) as path:
        try:
            tampered(path, f'UPDATE deploykit_{table} SET "{name}" = ? WHERE rowid = ?', (new, rowid))
        except sqlite3.IntegrityError:
            return  # the row would take another's place: SQLite itself refuses
        with contextlib.closing(sqlite3.connect(path)) as connection:
            query = f'SELECT "{name}" FROM deploykit_{table} WHERE rowid = ?'
            ((stored,),) = connection.execute(query, (rowid,)).fetchall()
        # SQLite may have turned 5 into '5' or 5.0, as the column wants it.
        same = repr(stored) == repr(value)
        assert (problems(path) == []) is same, f"{value!r} became {stored!r}"


@pytest.mark.parametrize("table", TABLES)
def test_any_removed_row_is_found(image, table):
    for rowid in sorted({row for name, row, *_ in fields(image) if name == table}):
        with copied(image) as path:
            tampered(path, f"DELETE FROM deploykit_{table} WHERE rowid = ?", (rowid,))
            assert problems(path) != [], (table, rowid)


@pytest.mark.parametrize("table", [table for table in TABLES if table not in {"chains", "locks"}])
def test_any_row_put_in_twice_is_found(image, table):
    key = "id" if table == "releases" else "sequence"
    copy = f"INSERT INTO deploykit_{table} SELECT * FROM moved"
    for rowid in sorted({row for name, row, *_ in fields(image) if name == table}):
        with copied(image) as path:
            tampered(path, f"CREATE TABLE moved AS SELECT * FROM deploykit_{table} WHERE rowid = ?", (rowid,))
            with contextlib.closing(sqlite3.connect(path)) as connection, connection:
                connection.execute(f"UPDATE moved SET {key} = 777")
                connection.execute(copy)
                connection.execute("DROP TABLE moved")
            assert problems(path) != [], (table, rowid)


def readable(path):
    """All that a reader of the ledger could see at one moment."""
    Clock.now = 1_800_000_010.0
    ledger = opened(path)
    try:
        return repr(
            (
                ledger.entries(limit=1000),
                ledger.releases(limit=1000),
                ledger.live(),
                ledger.unfinished(),
                [ledger.steps(f"r{number}") for number in range(1, 5)],
                [ledger.evidence("lint", f"t{number}") for number in range(4)],
                ledger.timers(),
                ledger.holder(),
                ledger.head(),
            )
        )
    finally:
        ledger.close()


@settings(max_examples=60)
@example(at=182644, bits=128)
@given(at=st.integers(0, 2**20), bits=st.integers(1, 255))
def test_a_changed_byte_of_the_file_is_found_or_changes_nothing_that_can_be_read(image, at, bits):
    with copied(image) as path:
        before = readable(path)
    with copied(image, at=at, bits=bits) as path:
        try:
            found = problems(path)
        except DeploykitError:
            return  # told, if not by entry
        assert found or readable(path) == before
