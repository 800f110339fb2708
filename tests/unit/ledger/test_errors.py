"""What can go wrong with a file, and what a person is told."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from deploykit.ledger.database import Connection
from deploykit.ledger.interface import StepState
from deploykit.ledger.sql import open_ledger
from deploykit.model import DeploykitError, UsageError


def opened(where, **options):
    return open_ledger(where, app="shop", environment="staging", **options)


@pytest.fixture
def ledger(where):
    made = opened(where)
    yield made
    made.close()


def told(caught, where):
    """Every error names the path and a next step, and shows no traceback's words."""
    assert str(where) in str(caught.value)
    assert caught.value.next_step
    assert "sqlalchemy" not in f"{caught.value} {caught.value.details}".lower()


def test_the_file_is_for_its_owner_alone(ledger, where):
    ledger.acquire("ann", "release", lease=5)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in where.parent.iterdir()}
    assert modes == {f"{where.name}{suffix}": 0o600 for suffix in ("", "-wal", "-shm")}
    assert stat.S_IMODE(where.parent.stat().st_mode) == 0o700


def test_a_file_that_others_could_read_is_closed_to_them(ledger, where):
    ledger.close()
    where.chmod(0o644)
    opened(where).close()
    assert stat.S_IMODE(where.stat().st_mode) == 0o600


def test_a_folder_that_was_there_keeps_its_mode(tmp_path):
    tmp_path.chmod(0o755)
    opened(tmp_path / "ledger.sqlite3").close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_the_file_is_set_up_to_lose_nothing(ledger):
    with ledger._database.read() as connection:
        pragmas = {
            name: connection.value(f"PRAGMA {name}")
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 15000}


def test_only_results_leave_it_to_the_next_write_to_be_flushed(ledger, monkeypatch):
    token = ledger.acquire("ann", "release", lease=60).token
    record = ledger.begin(
        version="1", digest="", commit="c", tree="t", actor="ann", kind="release", previous="", token=token
    )
    flushed = {}
    run = Connection.run

    for kind, act in (
        ("intend", lambda: ledger.intend(record.id, "build", {}, token=token)),
        ("result", lambda: ledger.result(ledger.steps(record.id)[-1].sequence, StepState.DONE, {})),
        ("heartbeat", lambda: ledger.heartbeat("ann", token, lease=60)),
    ):

        def listened(connection, query, kind=kind):
            if query == "COMMIT":
                flushed[kind] = run(connection, "PRAGMA synchronous").fetchone()[0]
            return run(connection, query)

        with monkeypatch.context() as patched:
            patched.setattr(Connection, "run", listened)
            act()
    assert flushed == {"intend": 2, "result": 1, "heartbeat": 2}  # 2 is FULL, 1 NORMAL


def test_a_sqlite_url_is_a_path_as_it_stands(tmp_path):
    where = tmp_path / "100%25 full" / "ledger.sqlite3"
    made = opened(f"sqlite:///{where}")
    made.acquire("ann", "release", lease=5)
    made.close()
    assert where.exists()


def test_a_file_that_is_no_database_is_named_and_left_alone(where):
    where.parent.mkdir()
    where.write_text("this is not a database at all, " * 100)
    before = where.read_bytes()
    with pytest.raises(DeploykitError, match="is not a database") as caught:
        opened(where)
    told(caught, where)
    assert where.read_bytes() == before


def test_somebody_else_s_database_is_left_alone(where):
    where.parent.mkdir()
    connection = sqlite3.connect(where)
    connection.execute("CREATE TABLE customers (id INTEGER)")
    connection.close()
    with pytest.raises(UsageError, match=r"not a ledger \(it holds customers\)") as caught:
        opened(where)
    told(caught, where)
    connection = sqlite3.connect(where)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("customers",)]
    connection.close()


def test_a_folder_in_the_file_s_place_is_named(where):
    where.mkdir(parents=True)
    with pytest.raises(UsageError, match="not a file") as caught:
        opened(where)
    told(caught, where)


def test_a_file_in_the_folder_s_place_is_named(where):
    where.parent.write_text("")
    with pytest.raises(DeploykitError, match="can't be opened") as caught:
        opened(where)
    told(caught, where)


_AS_SOMEBODY = """
import os, sys, tempfile
from deploykit.ledger.interface import StepState
from deploykit.ledger.sql import open_ledger
from deploykit.ledger.database import Connection
from deploykit.model import DeploykitError
with tempfile.TemporaryDirectory() as folder:  # loads all that is needed, while it can be read
    open_ledger(f"{folder}/ledger.sqlite3", app="shop", environment="staging").close()
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
try:
    ledger = open_ledger(sys.argv[1], app="shop", environment="staging")
    ledger.acquire("ann", "release", lease=5)
except DeploykitError as error:
    print(error, "|", error.next_step)
else:
    sys.exit("it could be written")
"""


def as_somebody(where):
    """Open and write it as a user whom the file system does not let do everything."""
    done = subprocess.run(
        [sys.executable, "-c", _AS_SOMEBODY, where], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def open_folder():
    """A folder that every user may enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="dk-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_folder_that_may_not_be_written_is_named(open_folder):
    open_folder.chmod(0o555)
    output = as_somebody(open_folder / "ledger.sqlite3")
    assert f"{open_folder}/ledger.sqlite3 can't be opened: Permission denied" in output
    assert "write access to its folder" in output


def test_a_file_that_may_only_be_read_is_named(open_folder):
    where = open_folder / "ledger.sqlite3"
    opened(where).close()
    for path in open_folder.iterdir():
        path.chmod(0o444)
    open_folder.chmod(0o555)
    output = as_somebody(where)
    assert f"The ledger {where} can't be" in output
    assert "write access" in output


def test_a_full_disk_is_told_as_such_and_harms_nothing(ledger, where):
    ledger.acquire("ann", "release", lease=5)
    head = ledger.head()

    with ledger._database.read() as connection:  # the one that the next transaction gets
        # SQLite answers SQLITE_FULL by the same road whether the disk or this limit stops it.
        connection.run(f"PRAGMA max_page_count={connection.value('PRAGMA page_count')}")
    with pytest.raises(DeploykitError, match="disk is full") as caught:
        ledger.add_timer("warm", "", 1, {"text": "x" * 1_000_000})
    told(caught, where)
    ledger.close()
    assert ledger.check([head]) == []


def test_a_truncated_file_is_damaged_and_never_a_traceback(ledger, where):
    ledger.acquire("ann", "release", lease=5)
    ledger.close()
    os.truncate(where, where.stat().st_size // 2)
    with pytest.raises(DeploykitError, match="damaged") as caught:
        opened(where).check()
    told(caught, where)


def test_a_row_that_should_not_be_there_is_told_with_the_command_that_looks_into_it(ledger, tamper, where):
    ledger.acquire("ann", "release", lease=5)
    tamper("UPDATE deploykit_chains SET sequence = 0")
    with pytest.raises(DeploykitError, match="contradicts itself") as caught:
        ledger.break_lock("bob", "gone")
    told(caught, where)
    assert "history --check" in caught.value.next_step


def test_a_lost_table_is_an_error_with_its_cause(ledger, tamper, where):
    tamper("DROP TABLE deploykit_timers")
    with pytest.raises(DeploykitError, match="answered with an error") as caught:
        ledger.timers()
    told(caught, where)
    assert "no such table" in caught.value.details[0]


@pytest.mark.parametrize(
    ("table", "column", "value", "ask"),
    [
        ("releases", "outcome", "splendid", lambda ledger: ledger.releases()),
        ("releases", "version", b"\xff", lambda ledger: ledger.release("r1")),
        ("releases", "started_at", "yesterday", lambda ledger: ledger.live()),
        ("steps", "action", "{", lambda ledger: ledger.steps("r1")),
        ("steps", "result", "[]", lambda ledger: ledger.steps("r1")),
        ("steps", "state", "", lambda ledger: ledger.steps("r1")),
        ("timers", "payload", "null", lambda ledger: ledger.timers()),
        ("timers", "due_at", "soon", lambda ledger: ledger.timers()),
        ("locks", "owner", b"\xff", lambda ledger: ledger.holder()),
        ("entries", "payload", "", lambda ledger: ledger.entries()),
        ("chains", "hash", b"\xff", lambda ledger: ledger.remove_timer(7)),
    ],
)
def test_a_row_that_something_else_has_changed_is_refused_in_a_sentence(ledger, tamper, table, column, value, ask):
    held = ledger.acquire("ann", "release", lease=60)
    words = dict.fromkeys(("version", "digest", "commit", "tree", "actor", "previous"), "")
    record = ledger.begin(**words, kind="release", token=held.token)
    ledger.intend(record.id, "plan", {}, token=held.token)
    ledger.set_live(record.id)
    ledger.add_timer("warm", record.id, 1.0, {})
    ask(ledger)
    tamper("PRAGMA ignore_check_constraints = ON")
    tamper(f"UPDATE deploykit_{table} SET {column} = ?", (value,))
    with pytest.raises(DeploykitError, match=f"the ledger can't be read: {column} is not as it was written") as caught:
        ask(ledger)
    assert "invoke history --check" in caught.value.next_step
