"""Every operation through its whole life and back from each stage, while both versions of the application write."""

from __future__ import annotations

import os

import pytest
from schema_cases import CASES
from schema_world import Case, world

pytestmark = pytest.mark.timeout(120)
EVERY = bool(os.environ.get("DK_EVERY_CASE"))


def served(*versions: int):
    """Each operation on the servers that have it; the shorter ways back on 18, and on 15 with DK_EVERY_CASE=1."""
    pairs = [(version, case) for version in versions for case in CASES if version in case.versions]
    ids = [f"{version}-{case.name}" for version, case in pairs]
    return pytest.mark.parametrize(("database", "case"), pairs, ids=ids, indirect=["database"])


SHORTER = served(15, 18) if EVERY else served(18)
WHOLE = served(15, 18)


@SHORTER
def test_back_before_anything_is_filled(database, case: Case):
    with world(database, case) as found:
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


@SHORTER
def test_back_after_the_rows_are_there(database, case: Case):
    with world(database, case) as found:
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


@WHOLE
def test_to_the_end_and_back_twice(database, case: Case):
    with world(database, case) as found:
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
