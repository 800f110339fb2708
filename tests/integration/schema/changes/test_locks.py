"""What stands in the way of a change: who holds a lock, a deadlock, a lost connection, two at once."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from changed_database import changed_database
from schema_cases import CASES

from deploykit.schema.in_app.changes.model import Block, Refused, Table
from deploykit.schema.in_app.live.ddl import Blocked, Limits, perform
from deploykit.schema.in_app.live.runner import only_one
from deploykit.schema.in_app.live.session import state_of

pytestmark = pytest.mark.timeout(120)
BY_NAME = {case.name: case for case in CASES}


@contextlib.contextmanager
def holding(url: str, *statements: str):
    """A transaction that stays open for the block."""
    with psycopg.connect(url, application_name="a long report") as connection:
        for statement in statements:
            connection.execute(statement)
        yield connection
        if not connection.closed:
            connection.rollback()


def test_a_blocker_is_named_waited_for_and_holds_up_nobody_else(database, every_case):
    seconds = 30.0 if every_case else 3.0  # the third try in vain is told
    with changed_database(database, BY_NAME["change_type"]) as found:
        found.start_old()
        found.settle()
        blocker = threading.Event()

        def hold() -> None:
            with holding(database, "SELECT * FROM t LIMIT 1"):
                blocker.set()
                time.sleep(seconds)

        thread = threading.Thread(target=hold, daemon=True)
        thread.start()
        blocker.wait(10)
        before = sum(writer.done for writer in found.old)
        found.runner.expand(BY_NAME["change_type"].declare())
        done = sum(writer.done for writer in found.old) - before
        thread.join(seconds + 10)
        found.stop_old()
        assert done > 50, "the writers stood still behind the change"
        assert any("a long report" in line for line in found.said), found.said


def test_who_waits_in_vain_gives_up_and_nothing_is_half_done(database):
    with changed_database(database, BY_NAME["change_type"]) as found:
        before = found.definition()
        found.runner.limits = Limits(lock=0.1, total=1.0)
        with holding(database, "SELECT * FROM t LIMIT 1"), pytest.raises(Blocked) as blocked:
            found.runner.expand(BY_NAME["change_type"].declare())
        assert any("a long report" in line for line in blocked.value.lines)
        assert found.definition() == before
        assert found.runner.expand(BY_NAME["change_type"].declare()).phase == "expanded"


def test_nobody_is_ended_unless_asked(database):
    with changed_database(database, BY_NAME["change_type"]) as found:
        found.runner.limits = Limits(lock=0.1, total=30.0, cancel=1.0)
        with holding(database, "SELECT * FROM t LIMIT 1") as idle:
            time.sleep(1.1)
            found.runner.expand(BY_NAME["change_type"].declare())
            with pytest.raises(psycopg.OperationalError):
                idle.execute("SELECT 1")
        assert any("ended process" in line for line in found.said)


def test_in_a_deadlock_the_change_gives_way(database):
    """A transaction has what the change wants second, and wants what the change has: its statement must not be the
    one to die.
    """
    case = BY_NAME["add_foreign_key"]
    with changed_database(database, case) as found:
        change = case.declare()
        found.runner.expand(change)
        found.runner.fill(change.key)
        failed: list[str] = []
        inserted, ended = threading.Event(), threading.Event()

        def transaction() -> None:
            with psycopg.connect(database) as connection:
                while not ended.is_set():
                    try:
                        connection.execute("INSERT INTO p DEFAULT VALUES")
                        inserted.set()
                        time.sleep(0.05)
                        connection.execute("INSERT INTO t (note, price) VALUES ('x', 1)")
                        connection.commit()
                    except psycopg.Error as error:
                        failed.append(str(error))
                        connection.rollback()

        threads = [threading.Thread(target=transaction, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        inserted.wait(5)
        found.runner.contract(change.key, "the test")
        ended.set()
        for thread in threads:
            thread.join(10)
        assert failed == []
        assert found.runner.known(change.key).phase == "contracted"


def test_tables_that_the_application_takes_in_its_own_order_are_had(database):
    """A foreign key locks the referring table first, the application's transactions the other: at every moment some
    of them have it.
    """
    case = BY_NAME["change_key_serial"]
    with changed_database(database, case, seed=20) as found:
        change = case.declare()
        found.runner.limits = Limits(lock=0.4, total=15.0)
        found.runner.expand(change)
        failed: list[str] = []
        ended = threading.Event()

        def transactions() -> None:
            with psycopg.connect(database) as connection:
                while not ended.is_set():
                    try:
                        key = connection.execute("INSERT INTO t (note, price) VALUES ('n', 1) RETURNING id").fetchone()[
                            0
                        ]
                        time.sleep(0.05)
                        connection.execute("INSERT INTO r (t_id) VALUES (%s)", [key])
                        connection.commit()
                    except psycopg.Error as error:
                        failed.append(str(error))
                        connection.rollback()

        threads = [threading.Thread(target=transactions, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            found.runner.fill(change.key)
        finally:
            ended.set()
            for thread in threads:
                thread.join(10)
        assert failed == []
        assert found.runner.known(change.key).phase == "filled"


def test_numbers_drawn_while_the_key_is_handed_back_are_not_given_twice(database):
    """The way back waits for a transaction that draws on meanwhile: the old column's numbers begin behind all of
    them.
    """
    case = BY_NAME["change_key_identity"]
    with changed_database(database, case, seed=20) as found, psycopg.connect(database) as other:
        change = case.declare()
        found.runner.expand(change)
        found.runner.fill(change.key)
        found.runner.contract(change.key, "the test")
        insert = "INSERT INTO t (note, price) VALUES ('n', 1)"

        def draw_on() -> None:
            with psycopg.connect(database, autocommit=True) as looking:
                deadline = time.monotonic() + 10
                while (
                    time.monotonic() < deadline
                    and not looking.execute(
                        "SELECT FROM pg_locks WHERE relation = 't'::regclass AND NOT granted"
                    ).fetchall()
                ):
                    time.sleep(0.001)
            other.execute(f"{insert}; {insert}; {insert}")
            other.commit()

        thread = threading.Thread(target=draw_on, daemon=True)

        def meanwhile(_key: str, program: str, number: int) -> None:
            title = found.runner.known(change.key).steps.program(program)[number].title
            if title.startswith("number rows"):
                other.execute(insert)
                thread.start()

        found.runner.before_step = meanwhile
        found.runner.reopen(change.key)
        thread.join(20)
        with psycopg.connect(database, autocommit=True) as connection:
            for _ in range(5):
                connection.execute(insert)
            assert connection.execute("SELECT count(*), count(DISTINCT id), count(id_2) FROM t").fetchone() == (29,) * 3


def test_a_row_locked_at_the_start_of_the_table_stops_only_itself(database):
    """In pgroll it aborts the whole migration.

    Here the rest of the rows is done meanwhile, and the row when it is free. The rest are two of three ranges, some
    40,700 rows: of the row's own range a half is done first, if the row is not in that half.
    """
    case = BY_NAME["change_type"]
    with changed_database(database, case) as found:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("INSERT INTO t (note, price) SELECT 'x', g FROM generate_series(1, 60000) g")
        change = case.declare()
        found.runner.expand(change)
        seen: list[int] = []

        def watch_and_free(locked: psycopg.Connection) -> None:
            with psycopg.connect(database, autocommit=True) as looking:
                deadline = time.monotonic() + 90
                while time.monotonic() < deadline:
                    count = looking.execute("SELECT count(*) FROM t WHERE price_2 IS NOT NULL").fetchone()[0]
                    seen.append(count)
                    if count > 40_000:
                        break
                    time.sleep(0.05)
            locked.rollback()

        with psycopg.connect(database) as locked:
            locked.execute("SELECT * FROM t WHERE id = (SELECT min(id) FROM t) FOR UPDATE")
            thread = threading.Thread(target=watch_and_free, args=(locked,), daemon=True)
            thread.start()
            found.runner.fill(change.key)
            thread.join(30)
        assert max(seen) > 40_000, "the other rows waited for the locked one"
        with psycopg.connect(database) as connection:
            assert connection.execute(
                "SELECT count(*) FROM t WHERE price_2 IS DISTINCT FROM price / 100.0"
            ).fetchone() == (0,)


def test_an_invalid_index_of_a_killed_build_is_built_anew(database):
    case = BY_NAME["create_index"]
    with changed_database(database, case) as found:
        write = "UPDATE t SET note = 'z' WHERE id = (SELECT min(id) FROM t)"
        with holding(database, write), psycopg.connect(database, autocommit=True) as connection:
            # What a cancelled build leaves.
            connection.execute("SET statement_timeout = '500ms'")
            with pytest.raises(psycopg.errors.QueryCanceled):
                connection.execute("CREATE INDEX CONCURRENTLY ix_new ON t (price)")
        with psycopg.connect(database, autocommit=True) as connection:
            assert connection.execute(
                "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_new'::regclass"
            ).fetchone() == (False,)
        change = case.declare()
        found.runner.expand(change)
        found.runner.fill(change.key)
        with psycopg.connect(database, autocommit=True) as connection:
            row = connection.execute(
                "SELECT indisvalid, pg_get_indexdef(indexrelid) FROM pg_index WHERE indexrelid = 'ix_new'::regclass"
            ).fetchone()
        assert row[0] is True
        assert "WHERE (price > 10)" in row[1]


def test_a_cut_connection_is_told_as_one_and_goes_on_from_where_it_was(database):
    case = BY_NAME["change_type"]
    with changed_database(database, case) as found:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("INSERT INTO t (note, price) SELECT 'x', g FROM generate_series(1, 40000) g")
        change = case.declare()
        found.runner.expand(change)
        cut = threading.Event()

        def cutter(*_: object) -> None:
            if not cut.is_set():
                cut.set()
                with psycopg.connect(database, autocommit=True) as connection:
                    connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND"
                        " datname = current_database()"
                    )

        found.runner.before_step = lambda _key, _program, number: cutter() if number == 1 else None
        with pytest.raises(Exception) as raised:
            found.runner.fill(change.key)
        assert state_of(raised.value).startswith(("08", "57P"))
    with second_runner(database, case) as runner:
        assert runner.fill(change.key).phase == "filled"


@contextlib.contextmanager
def second_runner(url, case):
    from sqlalchemy import create_engine, pool

    from deploykit.schema.in_app.live.runner import Runner
    from deploykit.schema.in_app.live.session import Session

    engine = create_engine(
        url.replace("postgresql://", "postgresql+psycopg://"), poolclass=pool.NullPool, isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        yield Runner(Session(connection), lambda _line: None)


def test_two_at_once_are_told_apart(database):
    case = BY_NAME["change_type"]
    with changed_database(database, case) as found, second_runner(database, case) as other:
        with only_one(found.runner.session, 1.0, lambda _line: None):
            said: list[str] = []
            with pytest.raises(Refused, match="another process works"), only_one(other.session, 0.3, said.append):
                pass
            assert any("waiting" in line for line in said)
        with only_one(other.session, 0.3, lambda _line: None):
            pass


@pytest.fixture
def eager_autovacuum(database):
    """A launcher that looks every second, as long as the test takes."""

    def tell(*statements: str) -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            for statement in (*statements, "SELECT pg_reload_conf()"):
                connection.execute(statement)

    tell("ALTER SYSTEM SET autovacuum_naptime = '1s'")
    yield
    tell("ALTER SYSTEM RESET autovacuum_naptime")


AT_T = (
    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'autovacuum worker' AND query LIKE 'autovacuum: %public.t%'"
)


def send_autovacuum(connection: psycopg.Connection) -> set[tuple[int, ...]]:
    """To the table t, where it would be for a minute; the worker that came."""
    connection.execute(
        "ALTER TABLE t SET (autovacuum_vacuum_cost_delay = 50, autovacuum_vacuum_cost_limit = 1, "
        "autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0)"
    )
    connection.execute("INSERT INTO t (note, price) SELECT repeat('x', 200), g FROM generate_series(1, 60000) g")
    connection.execute("DELETE FROM t WHERE id % 2 = 0 AND length(note) > 100")
    deadline = time.monotonic() + 60
    while not (workers := connection.execute(AT_T).fetchall()):
        assert time.monotonic() < deadline, "no autovacuum came"
        time.sleep(0.05)
    return set(workers)


def test_an_autovacuum_makes_way(database, eager_autovacuum):
    """A worker gives way to who waits for it, and to nobody with a short limit."""
    case = BY_NAME["change_type"]
    with changed_database(database, case) as found, psycopg.connect(database, autocommit=True) as connection:
        workers = send_autovacuum(connection)
        change = case.declare()
        found.start_old()
        found.runner.expand(change)
        assert found.runner.known(change.key).phase == "expanded"
        assert not workers & set(connection.execute(AT_T).fetchall()), "it is still there: it was not met"
        found.runner.fill(change.key)
        found.stop_old()
        found.runner.contract(change.key, "the test")
        assert found.runner.known(change.key).phase == "contracted"


def test_an_autovacuum_is_not_waited_for_with_another_lock_held(database, eager_autovacuum):
    """Its time would be long enough for a writer, who has the one table and wants the other, to find a deadlock and
    be ended.
    """
    theirs = (
        "SELECT count(*) FROM pg_locks WHERE relation = 'p'::regclass AND mode = 'AccessExclusiveLock' AND granted "
        "AND pid <> pg_backend_pid()"
    )
    block = Block(("ALTER TABLE p ADD COLUMN one integer", "ALTER TABLE t ADD COLUMN two integer"))
    limits = Limits(total=30.0)
    with (
        changed_database(database, BY_NAME["add_foreign_key"]) as found,
        psycopg.connect(database, autocommit=True) as connection,
        psycopg.connect(database) as writer,
        ThreadPoolExecutor(1) as pool,
    ):
        workers = send_autovacuum(connection)
        writer.execute("INSERT INTO t (note, price) VALUES ('x', 1)")
        changed = pool.submit(
            perform,
            found.runner.session,
            block,
            (Table("p", "public"), Table("t", "public")),
            limits=limits,
            search_path="public",
            after=lambda _held, _tries: (),
            tell=found.said.append,
        )
        deadline = time.monotonic() + 20
        while writer.execute(theirs).fetchone() != (1,):
            assert time.monotonic() < deadline, "the change never had the first table"
            time.sleep(0.005)
        writer.execute("INSERT INTO p DEFAULT VALUES")
        writer.commit()
        changed.result(60)
        assert not workers & set(connection.execute(AT_T).fetchall()), "it is still there: it was not met"
        assert connection.execute("SELECT one FROM p LIMIT 1").fetchall() == [(None,)]
