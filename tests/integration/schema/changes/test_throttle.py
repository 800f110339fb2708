"""What a backfill waits for, what it goes on with, and how it is told from another terminal."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import psycopg
import pytest
from changed_database import changed_database
from schema_cases import CASES
from sqlalchemy import create_engine, pool

from deploykit.schema.in_app.changes.model import Table
from deploykit.schema.in_app.live.ranges import plan_ranges
from deploykit.schema.in_app.live.session import Session
from deploykit.schema.in_app.live.state import State
from deploykit.schema.in_app.live.throttle import Pace
from tests.shared.postgres import DEBIAN

pytestmark = pytest.mark.timeout(120)
CASE = next(case for case in CASES if case.name == "change_type")
ROWS = 60_000


@contextlib.contextmanager
def filling(url: str, pace: Pace, **more):
    """A backfill of 60,000 rows, begun in a thread of its own: (the database, how many rows are filled, its end)."""
    with changed_database(url, CASE) as found, psycopg.connect(url, autocommit=True) as looking:
        looking.execute(f"INSERT INTO t (note, price) SELECT 'x', g FROM generate_series(1, {ROWS}) g")
        change = CASE.declare()
        found.runner.pace = pace
        for name, value in more.items():
            setattr(found.runner, name, value)
        found.runner.expand(change)
        raised: list[BaseException] = []

        def fill() -> None:
            try:
                found.runner.fill(change.key)
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=fill, daemon=True)

        def filled() -> int:
            return looking.execute("SELECT count(*) FROM t WHERE price_2 IS NOT NULL").fetchone()[0]

        def ended() -> None:
            thread.join(60)
            assert not thread.is_alive(), found.said
            if raised:
                raise raised[0]
            assert looking.execute(
                "SELECT count(*) FROM t WHERE price_2 IS DISTINCT FROM price / 100.0"
            ).fetchone() == (0,)

        thread.start()
        yield found, filled, ended


def until(what, why: str) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline, why
        time.sleep(0.02)


def told(found, text: str):
    return lambda: any(text in line for line in found.said)


def stands_still(filled) -> None:
    before = filled()
    time.sleep(0.8)
    assert filled() == before < ROWS


@contextlib.contextmanager
def other_terminal(url: str):
    engine = create_engine(
        url.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT", poolclass=pool.NullPool
    )
    with engine.connect() as connection:
        yield State(Session(connection))


def test_it_is_paused_and_goes_on_from_another_terminal(database):
    with filling(database, Pace(speed=0.02, largest=400)) as (found, filled, ended), other_terminal(database) as state:
        until(lambda: filled() > 0, "nothing was begun")
        state.set(**{"backfill.paused": "yes"})
        until(told(found, "waiting: paused; go on by: invoke db.backfill --resume"), found.said)
        stands_still(filled)
        state.set(**{"backfill.paused": "no", "backfill.speed": "1"})
        ended()
        assert any("going on" in line for line in found.said)


@pytest.mark.parametrize(
    ("pace", "sentence"),
    [
        pytest.param({"active": 0, "waiting": None}, "sessions are working", id="active sessions"),
        pytest.param({"waiting": 0}, "statements wait for locks", id="lock waits"),
        pytest.param(
            {"query": "SELECT count(*) FROM orders_late"}, "the query of the settings answers 1", id="own query"
        ),
    ],
)
def test_it_waits_for_what_it_is_told_to_wait_for_and_goes_on_when_that_is_over(database, pace, sentence):
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("CREATE TABLE orders_late (); INSERT INTO orders_late DEFAULT VALUES; CREATE TABLE held (id int)")
        with contextlib.ExitStack() as stack:
            if "query" not in pace:
                # One session waits for a lock that another has: it is active, and waits.
                holder = stack.enter_context(psycopg.connect(database))
                holder.execute("LOCK TABLE held")
                waiter = psycopg.connect(database, autocommit=True)
                stack.callback(waiter.close)
                thread = threading.Thread(target=lambda: waiter.execute("SELECT * FROM held"), daemon=True)
                thread.start()
            with filling(database, Pace(largest=400, **pace)) as (found, filled, ended):
                until(told(found, sentence), found.said)
                stands_still(filled)
                if "query" in pace:
                    other.execute("DELETE FROM orders_late")
                else:
                    holder.rollback()
                    thread.join(10)
                ended()


@pytest.fixture
def standby(server_15):
    """A replica of Debian's server, with its log streamed; `(url)`."""
    folder = Path(tempfile.mkdtemp(prefix="dk-15r-", dir="/tmp"))
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres", "postgres")
    data, host = folder / "data", server_15.url.split("host=")[1]
    copy = ["-D", str(data), "-h", host, "-U", "postgres", "-R", "-c", "fast", "-X", "stream"]
    subprocess.run([*as_user, str(DEBIAN / "pg_basebackup"), *copy], check=True, capture_output=True, cwd=folder)
    data.chmod(0o700)
    options = [
        "-c",
        "listen_addresses=",
        "-c",
        f"unix_socket_directories={folder}",
        "-c",
        "wal_receiver_status_interval=1",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *as_user,
                str(DEBIAN / "postgres"),
                "-D",
                str(data),
                *options,
                "-c",
                "hot_standby=on",
                "-c",
                "max_connections=60",
            ],
            stdout=log,
            stderr=log,
            cwd=folder,
        )
    url = f"postgresql://postgres@/postgres?host={folder}"
    with psycopg.connect(server_15.url, autocommit=True) as primary:
        until(
            lambda: primary.execute("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'").fetchone()[0],
            (folder / "log").read_text(),
        )
    yield url
    process.send_signal(signal.SIGINT)  # a fast shutdown, also with connections
    process.wait(20)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("database", [15], indirect=True)
def test_it_waits_for_a_replica_that_stands_still(database, standby):
    with (
        psycopg.connect(standby, autocommit=True) as replica,
        filling(database, Pace(largest=400, speed=0.2, lag=1.0)) as (found, filled, ended),
    ):
        until(lambda: filled() > 0, "nothing was begun")
        replica.execute("SELECT pg_wal_replay_pause()")
        until(told(found, "a replica is"), found.said)
        stands_still(filled)
        replica.execute("SELECT pg_wal_replay_resume()")
        ended()


def test_a_further_worker_that_gets_no_connection_leaves_its_part_to_the_others(database):
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("DROP ROLE IF EXISTS dk_full; CREATE ROLE dk_full LOGIN CONNECTION LIMIT 0")
    url = database.replace("postgres:@", "dk_full@").replace("postgres@", "dk_full@")
    assert url != database

    @contextlib.contextmanager
    def connect():
        engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=pool.NullPool)
        with engine.connect() as connection:
            yield Session(connection)

    try:
        with filling(database, Pace(workers=3), connect=connect) as (found, _, ended):
            ended()
            fewer = [line for line in found.said if "fill price_2: one worker less" in line]
            assert len(fewer) == 2, found.said
            assert "too many connections for role" in fewer[0]
    finally:
        with psycopg.connect(database, autocommit=True) as admin:
            admin.execute("DROP ROLE dk_full")


def test_a_table_that_grew_in_a_session_that_has_not_reported_it_is_analyzed_first(database):
    """Otherwise one worker would do it alone: 900 rows by the statistics are one range."""
    with changed_database(database, CASE) as found, psycopg.connect(database, autocommit=True) as admin:
        admin.execute("ANALYZE t")
        admin.execute("SET track_counts = off")
        admin.execute(f"INSERT INTO t (note, price) SELECT 'x', g FROM generate_series(1, {ROWS}) g")
        assert len(plan_ranges(found.runner.session, Table("t", "public"))) > 1


def test_several_workers_do_it_together(database):
    @contextlib.contextmanager
    def connect():
        engine = create_engine(
            database.replace("postgresql://", "postgresql+psycopg://"),
            poolclass=pool.NullPool,
            isolation_level="AUTOCOMMIT",
        )
        with engine.connect() as connection:
            connection.exec_driver_sql("SET application_name = 'a further worker'")
            yield Session(connection)

    with filling(database, Pace(workers=3, speed=0.1, largest=1000), connect=connect) as (_, filled, ended):
        with psycopg.connect(database, autocommit=True) as looking:
            further = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'a further worker'"
            until(lambda: looking.execute(further).fetchone() == (2,), "they did not come")
        until(lambda: filled() > 0, "nothing was begun")
        ended()
