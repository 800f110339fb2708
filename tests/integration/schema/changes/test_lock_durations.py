"""How long the locks that keep readers or writers out are held, seen in pg_locks by a session that does nothing
else.
"""

from __future__ import annotations

import psycopg
import pytest
from changed_database import changed_database
from schema_cases import CASES
from schema_held import LONGEST, Sampler, hold, life, of_probe, too_long

from deploykit.schema.in_app.changes.operations.registry import DECLARATIONS
from deploykit.schema.in_app.live.ddl import Blocked, Limits

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("database", [18], indirect=True)
def test_locks_of_a_change_are_seen(database):
    """Otherwise none that is too long would be."""
    case = next(case for case in CASES if case.name == "change_type")
    with changed_database(database, case) as found:
        with Sampler(database) as sampler:
            life(found, case.declare())
        seen = [item for item in sampler.held if (item.relation, item.mode) == ("t", "AccessExclusiveLock")]
        assert len(seen) >= 2, sampler.held
        assert {item.mode for item in sampler.held} <= {"AccessExclusiveLock", "ShareRowExclusiveLock"}, sampler.held


@pytest.mark.parametrize("mode", ["ACCESS EXCLUSIVE", "EXCLUSIVE", "SHARE ROW EXCLUSIVE", "SHARE"])
@pytest.mark.parametrize("database", [15, 18], indirect=True)
def test_a_lock_that_is_held_for_long_is_told(database, mode: str):
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE probe ()")
    with Sampler(database) as sampler:
        hold(database, 700, mode)
        hold(database, 200, mode)
    (first, long), (_, short) = of_probe(sampler)
    assert first.upper().startswith(mode.replace(" ", ""))
    assert 600 < long < 3000
    assert short < LONGEST, "two locks, one after the other, were taken for one"
    assert len(too_long(sampler)) == 1


@pytest.mark.parametrize("database", [15, 18], indirect=True)
def test_a_lock_whose_transaction_is_just_ending_is_no_other_one(database):
    """For an instant it is still there, and its transaction has no number any more."""
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE probe ()")
        connection.commit()
        with Sampler(database) as sampler:
            for _ in range(5000):
                connection.execute("LOCK TABLE probe IN ACCESS EXCLUSIVE MODE")
                connection.rollback()
    assert len(sampler.held) > 20
    assert [item for item in sampler.held if item.transaction.endswith("/0")] == []


@pytest.mark.parametrize("database", [18], indirect=True)
def test_weak_locks_are_none(database):
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE probe ()")
    with Sampler(database) as sampler:
        for mode in ("ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE"):
            hold(database, 30, mode)
    assert sampler.held == []


@pytest.mark.parametrize("database", [18], indirect=True)
def test_a_lock_is_given_back_soon_when_the_next_is_not_to_be_had(database):
    """A foreign key locks two tables: the first is not kept for the whole time that the second may be waited for."""
    case = next(case for case in CASES if case.name == "add_foreign_key")
    with changed_database(database, case, seed=20) as found, psycopg.connect(database) as other:
        change = case.declare()
        found.runner.expand(change)
        found.runner.fill(change.key)
        found.runner.limits = Limits(lock=0.4, total=0.2)
        other.execute("INSERT INTO p DEFAULT VALUES")
        with Sampler(database) as sampler, pytest.raises(Blocked):
            found.runner.contract(change.key, "the test")
        held = [item.least for item in sampler.held if item.relation == "t"]
        assert held
        assert max(held) < 300


@pytest.mark.parametrize("program", ["undo", "contract"])
@pytest.mark.parametrize("name", ["change_type_partitioned", "set_not_null_partitioned"])
@pytest.mark.parametrize("database", [15, 18], indirect=True)
def test_partitions_are_not_locked_before_their_parent(database, name: str, program: str):
    """DROP TRIGGER would: then a writer that has the parent waits for the partition, and the change for the parent."""
    case = next(case for case in CASES if case.name == "change_type_partitioned")
    with changed_database(database, case, seed=20) as found, psycopg.connect(database) as other:
        if name == "set_not_null_partitioned":
            other.execute("ALTER TABLE t ALTER price DROP NOT NULL")
            other.commit()
            change = DECLARATIONS["set_not_null"]("t", "price", fill="-1", change="c")
        else:
            change = case.declare()
        found.runner.expand(change)
        found.runner.fill(change.key)
        found.runner.limits = Limits(lock=0.3, total=0.1)
        other.execute("LOCK TABLE ONLY t IN ROW EXCLUSIVE MODE")
        with Sampler(database) as sampler, pytest.raises(Blocked):
            found.runner.contract(change.key, "the test") if program == "contract" else found.runner.undo(change.key)
        assert [item for item in sampler.held if item.least > 100] == []


@pytest.mark.parametrize("database", [18], indirect=True)
def test_a_backfill_that_waits_for_a_row_does_not_keep_the_new_writers_waiting(database):
    """Who has the row may be waiting for the backfill's own lock."""
    case = next(case for case in CASES if case.name == "split_table")
    with changed_database(database, case, seed=20) as found, psycopg.connect(database) as other:
        change = case.declare()
        found.runner.expand(change)
        found.runner.limits = Limits(lock=0.4, total=0.3)
        other.execute("SELECT FROM t LIMIT 1 FOR UPDATE")
        with Sampler(database) as sampler, pytest.raises(Blocked):
            found.runner.fill(change.key)
        held = [item.least for item in sampler.held if item.relation.startswith("gate")]
        assert held
        assert max(held) < 300
