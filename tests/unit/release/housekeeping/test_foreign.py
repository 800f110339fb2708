"""Instances whose release is another one in this ledger, or in none of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from deploykit.model import UsageError
from deploykit.release.housekeeping.foreign import reject_foreign_instances


def runs(environment, release, digest):
    labels = SimpleNamespace(release=release, digest=digest, version="9.9.9")
    environment.target = SimpleNamespace(instances=lambda: [SimpleNamespace(name=f"{release}-web-0", labels=labels)])


def test_what_the_ledger_has_released_is_its_own(environment, released):
    released("1.0.0")
    runs(environment, "r1", "sha256:1.0.0")
    reject_foreign_instances(environment)


@pytest.mark.parametrize("unknown", [True, False])
def test_a_release_with_another_artefact_here_is_another_ledgers(environment, released, unknown):
    released("1.0.0")
    runs(environment, "r1", "sha256:9.9.9")
    with pytest.raises(UsageError, match="was released with another ledger than this one$") as caught:
        reject_foreign_instances(environment, unknown=unknown)
    assert caught.value.details[0] == "r1-web-0: version 9.9.9"


def test_a_release_that_is_not_here_is_another_ledgers_where_that_is_asked(environment, released):
    released("1.0.0")
    runs(environment, "r7", "sha256:9.9.9")
    with pytest.raises(UsageError, match="was released with another ledger than this one$"):
        reject_foreign_instances(environment)
    reject_foreign_instances(environment, unknown=False)


def test_beside_an_empty_ledger_the_way_back_is_named(environment):
    runs(environment, "r1", "sha256:9.9.9")
    with pytest.raises(UsageError, match="which is empty") as caught:
        reject_foreign_instances(environment)
    assert "invoke ledger.adopt --env local" in caught.value.next_step
