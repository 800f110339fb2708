from __future__ import annotations

from pathlib import Path

import pytest

from deploykit.model import DeploykitError, Secret, UsageError
from deploykit.release.version.recorded import rollback_target, spec_of
from deploykit.release.version.values import store_values

VALUES = Path("/nowhere")
"""No variables are kept."""


def test_it_goes_to_the_release_before_the_live_one(ledger, released):
    released("1.0.0")
    released("2.0.0")
    assert rollback_target(ledger, "local", "", VALUES).version == "1.0.0"


def test_failures_in_between_are_no_release_to_go_to(ledger, released):
    released("1.0.0")
    released("2.0.0")
    released("3.0.0", outcome="failed")
    assert rollback_target(ledger, "local", "", VALUES).version == "1.0.0"
    with pytest.raises(UsageError, match=r"no good release '3\.0\.0'") as caught:
        rollback_target(ledger, "local", "3.0.0", VALUES)
    assert caught.value.details == ("there are: 2.0.0, 1.0.0",)
    assert caught.value.next_step == "invoke history --env local"


@pytest.mark.parametrize("to", ["1.0.0", "r1"])
def test_it_goes_to_a_version_or_to_a_release_by_its_name(ledger, released, to):
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        released(version)
    assert rollback_target(ledger, "local", to, VALUES).id == "r1"


def test_of_one_version_released_twice_the_newest_counts(ledger, released):
    for version in ("1.0.0", "1.0.0", "2.0.0"):
        released(version)
    assert rollback_target(ledger, "local", "1.0.0", VALUES).id == "r2"


@pytest.mark.parametrize("to", ["2.0.0", "r2"])
def test_what_is_live_already_is_no_target(ledger, released, to):
    released("1.0.0")
    released("2.0.0")
    with pytest.raises(UsageError, match="is what is live in local already"):
        rollback_target(ledger, "local", to, VALUES)


@pytest.mark.parametrize("to", ["", "1.0.0"])
def test_without_anything_live_there_is_nothing_to_roll_back(ledger, released, to):
    released("1.0.0", outcome="failed")
    with pytest.raises(UsageError, match="nothing is live in local"):
        rollback_target(ledger, "local", to, VALUES)


def test_from_the_first_release_there_is_nothing_to_roll_back_to(ledger, released):
    released("1.0.0")
    with pytest.raises(UsageError, match=r"1\.0\.0 \(r1\) is the first release in local"):
        rollback_target(ledger, "local", "", VALUES)


def test_how_a_version_is_run_stands_in_its_journal(ledger, released, spec):
    assert spec_of(ledger, released("1.0.0", spec=spec.as_json()), "local") == spec


def test_a_release_that_was_killed_before_that_says_so(ledger, released):
    record = released("1.0.0")
    with pytest.raises(DeploykitError, match="the ledger does not have how r1 is run"):
        spec_of(ledger, record, "local")


def test_a_version_that_was_released_again_is_no_release_to_go_back_to(ledger, released):
    for version in ("1.0.0", "2.0.0", "2.0.0", "2.0.0"):
        released(version)
    assert rollback_target(ledger, "local", "", VALUES).version == "1.0.0"


def test_a_release_of_the_same_version_with_other_variables_is_one(ledger, released, tmp_path):
    released("1.0.0")
    for number, word in ((2, "wren"), (3, "finch"), (4, "finch")):
        assert released("2.0.0").id == f"r{number}"
        store_values(tmp_path, f"r{number}", {"TOKEN": Secret(word)})
    assert rollback_target(ledger, "local", "", tmp_path).id == "r2"
    assert rollback_target(ledger, "local", "r2", tmp_path).id == "r2"


def test_a_release_of_the_same_version_that_is_run_in_another_way_is_one(ledger, released, spec):
    from dataclasses import replace

    released("1.0.0", spec=spec.as_json())
    released("1.0.0", spec=replace(spec, replicas=5).as_json())
    assert rollback_target(ledger, "local", "", VALUES).id == "r1"


def test_where_all_releases_are_the_same_there_is_nothing_to_roll_back_to(ledger, released):
    released("1.0.0")
    released("1.0.0")
    with pytest.raises(UsageError, match="every release in local so far is the same as what is live"):
        rollback_target(ledger, "local", "", VALUES)
