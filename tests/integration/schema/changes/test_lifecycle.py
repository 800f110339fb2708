"""Every operation through its whole life and back from each stage, while both versions of the application write."""

from __future__ import annotations

import pytest
from changed_database import Case, changed_database
from schema_cases import CASES
from schema_held import no_long_lock

pytestmark = pytest.mark.timeout(120)
EVERYWHERE = {
    "change_type",
    "set_not_null_filled",
    "split_table",
    "change_key_serial",
}
"""Those that the servers do most differently: these go every way on both, always."""


def served(way: int):
    """Each operation on the servers that have it; without `--every-case` on one of them, and another one for the next
    way.
    """
    params = []
    for index, case in enumerate(CASES):
        for version in case.versions:
            sampled = case.name in EVERYWHERE or version == case.versions[(index + way) % len(case.versions)]
            marks = () if sampled else pytest.mark.every_case
            params.append(pytest.param(version, case, id=f"{version}-{case.name}", marks=marks))
    return pytest.mark.parametrize(("database", "case"), params, indirect=["database"])


@served(0)
def test_back_before_anything_is_filled(database, case: Case):
    with changed_database(database, case) as found:
        before = found.definition()
        change = case.declare()
        if not case.quiet:
            found.start_old()
        found.runner.expand(change)
        found.start_new()
        found.settle()
        found.stop_new()
        found.runner.undo(change.key)
        if case.quiet:
            found.start_old()
        found.settle()
        found.stop_old()
        found.check(case.old)
        assert found.definition() == before


@served(1)
def test_back_after_the_rows_are_there(database, case: Case):
    with changed_database(database, case) as found:
        before = found.definition()
        change = case.declare()
        if not case.quiet:
            found.start_old()
        found.runner.expand(change)
        found.start_new()
        found.runner.fill(change.key)
        found.settle()
        assert found.runner.known(change.key).phase == "filled"
        found.stop_new()
        if not case.quiet:
            found.stop_old()
        found.check(*([case.old, case.new] if case.new else [case.old]))
        found.start_old()
        found.runner.undo(change.key)
        found.settle()
        found.stop_old()
        found.check(case.old)
        assert found.definition() == before


@served(0)
def test_to_the_end_and_back_twice_without_a_lock_for_long(database, case: Case):
    with changed_database(database, case) as found, no_long_lock(found):
        before = found.definition()
        change = case.declare()
        if not case.quiet:
            found.start_old()
        found.runner.expand(change)
        found.start_new()
        found.runner.fill(change.key)
        found.settle()
        found.stop_old()
        found.runner.contract(change.key, override="the test")
        assert found.runner.known(change.key).phase == "contracted"
        found.settle()
        found.stop_new()
        after = case.new or case.old
        if after.read:
            found.check(after)
        if not case.reopens:
            return
        for _ in range(2):
            found.start_new()
            found.runner.reopen(change.key)
            if not case.lost:
                found.start_old()
                found.settle()
                found.runner.verify(change.key)
                found.stop_old()
                found.stop_new()
                found.check(*([case.old, case.new] if case.new else [case.old]))
            else:
                found.settle()
                found.stop_new()
                found.runner.verify(change.key)
            found.runner.contract(change.key, override="the test")
        found.runner.reopen(change.key)
        found.runner.undo(change.key)
        found.start_old()
        found.settle()
        found.stop_old()
        if not case.lost:
            found.check(case.old)
        assert found.definition() == before
