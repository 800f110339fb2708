from __future__ import annotations

import pytest

from deploykit.model import DeploykitError, UsageError
from deploykit.release.version.recorded import rollback_target, spec_of


def test_it_goes_to_the_release_before_the_live_one(ledger, released):
    released("1.0.0")
    released("2.0.0")
    assert rollback_target(ledger, "local", "").version == "1.0.0"


def test_failures_in_between_are_no_release_to_go_to(ledger, released):
    released("1.0.0")
    released("2.0.0")
    released("3.0.0", outcome="failed")
    assert rollback_target(ledger, "local", "").version == "1.0.0"
    with pytest.raises(UsageError, match=r"no good release '3\.0\.0'") as caught:
        rollback_target(ledger, "local", "3.0.0")
    assert caught.value.details == ("there are: 2.0.0, 1.0.0",)
    assert caught.value.next_step == "invoke history --env local"


@pytest.mark.parametrize("to", ["1.0.0", "r1"])
def test_it_goes_to_a_version_or_to_a_release_by_its_name(ledger, released, to):
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        released(version)
    assert rollback_target(ledger, "local", to).id == "r1"


def test_of_one_version_released_twice_the_newest_counts(ledger, released):
    for version in ("1.0.0", "1.0.0", "2.0.0"):
        released(version)
    assert rollback_target(ledger, "local", "1.0.0").id == "r2"


@pytest.mark.parametrize("to", ["2.0.0", "r2"])
def test_what_is_live_already_is_no_target(ledger, released, to):
    released("1.0.0")
    released("2.0.0")
    with pytest.raises(UsageError, match="is what is live in local already"):
        rollback_target(ledger, "local", to)


@pytest.mark.parametrize("to", ["", "1.0.0"])
def test_without_anything_live_there_is_nothing_to_roll_back(ledger, released, to):
    released("1.0.0", outcome="failed")
    with pytest.raises(UsageError, match="nothing is live in local"):
        rollback_target(ledger, "local", to)


def test_from_the_first_release_there_is_nothing_to_roll_back_to(ledger, released):
    released("1.0.0")
    with pytest.raises(UsageError, match=r"1\.0\.0 \(r1\) is the first release in local"):
        rollback_target(ledger, "local", "")


def test_how_a_version_is_run_stands_in_its_journal(ledger, released, spec):
    assert spec_of(ledger, released("1.0.0", spec=spec.as_json()), "local") == spec


def test_a_release_that_was_killed_before_that_says_so(ledger, released):
    record = released("1.0.0")
    with pytest.raises(DeploykitError, match="the ledger does not have how r1 is run"):
        spec_of(ledger, record, "local")
