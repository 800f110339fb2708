"""`invoke maintenance.on` and `.off`, on an edge of values and a real ledger."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from deploykit.ledger.interface import LockHeld
from deploykit.model import DeploykitError, UsageError
from deploykit.release.housekeeping import maintenance
from deploykit.release.housekeeping.maintenance import set_maintenance

NOON = 1_800_000_000.0


class Edge:
    def __init__(self):
        self.runs, self.since, self.serving = True, None, True

    def running(self):
        return self.runs

    def servers(self):
        return [SimpleNamespace(weight=100 if self.serving else 0, up=True)]

    def maintenance_since(self):
        return self.since

    def set_maintenance(self, *, enabled):
        self.since = NOON if enabled else None


@pytest.fixture
def edge(environment, monkeypatch):
    environment.edge = Edge()
    monkeypatch.setenv("DEPLOYKIT_ACTOR", "ann")
    monkeypatch.setattr(maintenance, "time", SimpleNamespace(time=lambda: NOON + 700))
    return environment.edge


def test_it_goes_on_and_off_and_the_ledger_has_who_and_for_how_long(environment, edge, ledger):
    on = set_maintenance(environment, enabled=True)
    assert (edge.since, on.changed, on.next_step) == (NOON, True, "invoke maintenance.off --env local")
    assert on.sentence == "users of local get the maintenance page from now on"
    off = set_maintenance(environment, enabled=False)
    assert (edge.since, off.seconds) == (None, 700)
    assert off.sentence == "users of local get the app again, after 11 min of maintenance"
    assert [(each.actor, each.enabled, each.seconds) for each in ledger.maintenance()] == [
        ("ann", False, 700),
        ("ann", True, None),
    ]
    assert ledger.holder() is None


def test_what_is_so_already_is_left_alone_and_said(environment, edge, ledger):
    assert set_maintenance(environment, enabled=False).sentence == "users of local get the app: maintenance is not on"
    set_maintenance(environment, enabled=True)
    again = set_maintenance(environment, enabled=True)
    assert (again.changed, again.since) == (False, NOON)
    assert "since 2027-01-15 08:00 UTC already" in again.sentence
    assert len(ledger.maintenance()) == 1


@pytest.mark.parametrize("enabled", [True, False])
def test_without_an_edge_it_is_refused(environment, edge, ledger, enabled):
    edge.runs = False
    with pytest.raises(UsageError, match="the edge of local does not run") as raised:
        set_maintenance(environment, enabled=enabled)
    assert raised.value.next_step == "invoke release --env local"
    assert ledger.maintenance() == []


def test_the_app_is_not_shown_while_nothing_of_it_takes_requests(environment, edge, ledger):
    set_maintenance(environment, enabled=True)
    edge.serving = False
    with pytest.raises(UsageError, match="no version takes requests in local"):
        set_maintenance(environment, enabled=False)
    assert edge.since == NOON


def test_while_somebody_changes_the_environment_it_is_refused(environment, edge, ledger):
    ledger.acquire("ann (by hand)", "a release", lease=60)
    with pytest.raises(LockHeld):
        set_maintenance(environment, enabled=True)
    assert edge.since is None


def test_a_ledger_that_does_not_hold_is_not_written_on(environment, edge, monkeypatch):
    monkeypatch.setattr("deploykit.release.environment.trust.ledger_problems", lambda _: ["entry 3: was changed"])
    with pytest.raises(DeploykitError, match="does not hold"):
        set_maintenance(environment, enabled=True)
    assert edge.since is None
