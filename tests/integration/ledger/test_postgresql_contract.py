"""A ledger in PostgreSQL keeps the contract."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import psycopg
import pytest

from deploykit.ledger.connect import open_database
from deploykit.ledger.sql import open_ledger
from deploykit.model import DeploykitError, UsageError

_PATH = Path(__file__).parents[1] / "contracts" / "ledger_contract.py"
_SPEC = importlib.util.spec_from_file_location("ledger_contract", _PATH)
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)


def cut(where, journal=None):
    """End every other connection to the server; then write to `journal`, if there is one."""
    with psycopg.connect(where) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    if journal is not None:
        journal.append("timer.added", {"kind": "warm", "due_at": 1.0, "payload": {}})


class TestPostgresql(_MODULE.LedgerContract):
    @pytest.fixture
    def where(self, postgresql):
        return postgresql

    @pytest.fixture
    def tamper(self, where):
        def _tamper(sql):
            with psycopg.connect(where) as connection:
                connection.execute("SET session_replication_role = replica")  # no triggers, no foreign keys
                connection.execute(sql)

        return _tamper

    def test_the_server_s_clock_decides_when_none_is_given(self, reopen, where):
        ledger = reopen(clock=None)
        with psycopg.connect(where) as connection:
            (before,) = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
        held = ledger.acquire("ann", "release", lease=60)
        assert before <= held.acquired_at < before + 60
        assert ledger.holder() == held

    def test_a_connection_that_was_cut_is_made_anew(self, ledger, where):
        ledger.acquire("ann", "release", lease=60)
        cut(where)
        assert ledger.holder().owner == "ann"

    def test_a_connection_cut_within_a_write_loses_the_write_and_says_so(self, ledger, where):
        with pytest.raises(DeploykitError, match="can't be reached") as caught, ledger._write() as journal:
            cut(where, journal)
        assert caught.value.next_step
        assert ledger.timers() == []
        assert ledger.check() == []

    def test_commits_are_durable_even_where_the_server_would_rather_be_fast(self, where):
        hasty = where.replace("options=", "options=-csynchronous_commit%3Doff%20")
        ledger = open_ledger(hasty, app="shop", environment="staging")
        with ledger._database.read() as connection:
            assert connection.value("SHOW synchronous_commit") == "on"
        ledger.close()

    def test_only_results_leave_it_to_the_next_write_to_be_flushed(self, ledger):
        for flush, said in ((False, "off"), (True, "on")):
            with ledger._write(flush=flush) as journal:
                assert journal.connection.value("SHOW synchronous_commit") == said


def test_a_server_that_is_not_there_is_named_without_the_password():
    with pytest.raises(DeploykitError, match="can't be reached") as caught:
        open_ledger("postgresql://ann:hunter2@127.0.0.1:9/team", app="shop", environment="staging")
    told = " ".join([str(caught.value), *caught.value.details, caught.value.next_step])
    assert "127.0.0.1" in told
    assert "hunter2" not in told
    assert "hunter2" not in repr(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://ann:hun:ter2@h:5/team", "postgresql://ann:***@h:5/team"),
        ("postgresql://ann:hun@ter2@h/team", "postgresql://ann:***@h/team"),  # pragma: allowlist secret
        (
            "postgres://ann@h/team?password=hunter2&sslmode=require",
            "postgresql://ann@h/team?password=***&sslmode=require",
        ),
        ("postgresql://ann@h1:1,h2:2/team", "postgresql://ann@h1:1,h2:2/team"),
        ("postgresql://ann:hunter2@/team?host=/run/postgresql", "postgresql://ann:***@/team?host=/run/postgresql"),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown):
    assert open_database(url, busy_seconds=1).where == shown


def test_a_database_that_is_not_there_is_named(server_18):
    with pytest.raises(DeploykitError) as caught:
        open_ledger(server_18.url.replace("/postgres?", "/nowhere?"), app="shop", environment="staging")
    assert "nowhere" in str(caught.value)
    assert any("does not exist" in line for line in caught.value.details)


def test_a_user_who_may_not_make_tables_is_told_so(postgresql):
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS guest")
        connection.execute("CREATE ROLE guest LOGIN")
        schema = connection.execute("SELECT current_schema()").fetchone()[0]
        connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO guest")
    with pytest.raises(DeploykitError, match="this user may not") as caught:
        open_ledger(postgresql.replace("postgres:@", "guest:@"), app="shop", environment="staging")
    assert "grant" in caught.value.next_step


@pytest.mark.parametrize(
    "url", ["mysql://u@h/d", "sqlite://", "postgresql://[::1", "nonsense://", "postgresql://ann:hun/ter2@h/team"]
)
def test_a_url_that_no_ledger_can_use_is_a_usage_error(url):
    with pytest.raises(UsageError) as caught:
        open_ledger(url, app="shop", environment="staging")
    assert caught.value.next_step
    assert "hun" not in f"{caught.value} {caught.value.details}"
