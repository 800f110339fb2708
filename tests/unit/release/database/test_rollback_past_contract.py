"""When a rollback asks the database whether the version's shape of the schema is still there; that it then refuses is
an integration test (test_schema_changes.py).
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from deploykit.ledger.interface import StepState
from deploykit.model import DeploykitError
from deploykit.release.database import changes


@pytest.fixture
def step(ledger):
    def write(record, name, result):
        held = ledger.acquire("tests", "a step", lease=60)
        ledger.result(ledger.intend(record.id, name, {}, token=held.token), StepState.DONE, result)
        ledger.unlock("tests", held.token)

    return write


@pytest.fixture
def migrating(spec):
    return replace(spec, database=replace(spec.database, migrations="migrations")).as_json()


@pytest.fixture
def asked(ledger, monkeypatch):
    """Whether a rollback to the record asks, and what it says when it gets no answer."""

    def ask(wanted):
        def unreachable(*_):
            raise DeploykitError("the database does not answer")

        monkeypatch.setattr(changes, "recorded_version", lambda *_: None)
        monkeypatch.setattr(changes, "_run", unreachable)
        told = []
        changes.refuse_past_contract(SimpleNamespace(ledger=ledger, name="local"), wanted, warn=told.append)
        return told

    return ask


def test_nothing_is_asked_where_no_release_noted_a_change(released, migrating, asked, step):
    before = released("1", spec=migrating)
    step(released("2", spec=migrating), "migrate", {"changes": []})
    assert asked(before) == []


def test_a_change_that_was_noted_is_asked_about_and_an_incident_goes_on(released, migrating, asked, step):
    before = released("1", spec=migrating)
    step(released("2", spec=migrating), "migrate", {"changes": ["price"]})
    assert asked(before) == [
        "whether 1 survives what was contracted since could not be asked: the database does not answer"
    ]


def test_a_version_from_long_ago_is_asked_about(released, migrating, asked, step):
    """The release that noted the change is no longer among those that are looked at."""
    before = released("1", spec=migrating)
    step(released("2", spec=migrating), "migrate", {"changes": ["price"]})
    for number in range(3, 30):
        released(str(number), spec=migrating)
    assert asked(before) != []


def test_a_record_that_was_made_anew_does_not_say_so_the_database_is_asked(released, migrating, asked, step):
    before = released("1", spec=migrating)
    step(released("2", spec=migrating), "adopt", {})
    assert asked(before) != []


def test_without_migrations_nothing_is_asked(released, spec, asked):
    before = released("1", spec=spec.as_json())
    for number in range(2, 30):
        released(str(number), spec=spec.as_json())
    assert asked(before) == []
