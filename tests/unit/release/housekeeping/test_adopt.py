"""A lost ledger that is restored: who is taken for live, and what is refused.

The real engine and edge: tests/integration/release/test_docker.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from deploykit.edge.interface import Server, ServerState
from deploykit.ledger.sql import open_ledger
from deploykit.model import DeploykitError, Labels, ReleaseOutcome, UsageError
from deploykit.release.environment.running import ledger_is_lost, running_releases
from deploykit.release.housekeeping.adopt import adopt, adopt_lines
from deploykit.release.version.instances import SPEC_NOTE
from deploykit.release.version.released import Released, keep_released
from deploykit.release.version.spec import ReleaseSpec
from deploykit.settings.paths import StatePaths
from deploykit.targets.interface import Instance, InstanceState

SPEC = (
    '{"app":"shop","environment":"staging","argv":["serve"],"health":"/h","smoke":[],"replicas":1,"start_timeout":1,'
    '"drain_timeout":1,"stop_timeout":1,"warm_for":60,"thresholds":{"error_rate":0.1,"p95_ms":1,"requests":1},"watch":[],'
    '"database":{"kind":"none","source":"","variable":"","driver":"","migrations":"","timeout":1},"variables":{}}'
)


def instance(release, *, replica=0, state=InstanceState.RUNNING, notes=None):
    labels = Labels(
        app="shop",
        environment="staging",
        release=release,
        version=f"1.{release[1:]}",
        digest="sha256:a",
        anchor="ab" * 32,
    )
    return Instance(
        name=f"{release}-web-{replica}",
        labels=labels,
        process="web",
        replica=replica,
        state=state,
        host="127.0.0.1",
        port=1,
        started_at=float(release[1:]),
        notes={SPEC_NOTE: SPEC} if notes is None else notes,
    )


@dataclass
class RunningInstances:
    """A target and an edge that only tell what a test says; the ledger is real."""

    ledger: object
    paths: StatePaths
    running: list = field(default_factory=list)
    weights: dict = field(default_factory=dict)
    edge_runs: bool = True

    @property
    def environment(self):
        servers = [
            ServerState(
                server=Server(name=name, host="127.0.0.1", port=1, release=name.split("-")[0]),
                weight=weight,
                in_flight=0,
                up=True,
            )
            for name, weight in self.weights.items()
        ]
        return SimpleNamespace(
            app="shop",
            name="staging",
            repository=None,
            ledger=self.ledger,
            paths=self.paths,
            target=SimpleNamespace(instances=lambda: self.running, repositories=list),
            edge=SimpleNamespace(running=lambda: self.edge_runs, servers=lambda: servers),
        )

    def adopt(self):
        held = self.ledger.acquire("ann", "adopt", lease=60)
        try:
            return adopt(self.environment, token=held.token)
        finally:
            self.ledger.unlock("ann", held.token)


@pytest.fixture
def running(tmp_path):
    ledger = open_ledger(tmp_path / "ledger.sqlite3", app="shop", environment="staging")
    yield RunningInstances(ledger, StatePaths(tmp_path, "shop", "staging"))
    ledger.close()


def test_who_has_the_traffic_is_live_and_the_others_are_warm(running):
    running.running = [instance("r9"), instance("r7", replica=0), instance("r7", replica=1), instance("r4")]
    running.weights = {"r9-web-0": 0, "r7-web-0": 100, "r7-web-1": 100, "r4-web-0": 0}
    assert ledger_is_lost(running.environment)
    adopted = running.adopt()
    assert (adopted.live, adopted.version, adopted.others, adopted.assumed) == ("r7", "1.7", ("r4", "r9"), ())
    assert not ledger_is_lost(running.environment)
    live = running.ledger.live()
    assert (live.id, live.previous, live.outcome) == ("r7", "r9", ReleaseOutcome.DONE)
    assert [running.ledger.release(other).previous for other in adopted.others] == ["", ""]
    assert "who released it is not known" in live.reason
    assert sorted(timer.release for timer in running.ledger.timers()) == ["r4", "r9"]
    assert [step.name for step in running.ledger.steps("r7")] == ["adopt", "plan"]
    assert running.ledger.check(["ab" * 32]) == []
    assert "also running: r4, r9" in adopt_lines(adopted, "staging")[0]


def test_what_this_machine_keeps_goes_before_a_label(running):
    spec = ReleaseSpec.from_json({**json.loads(SPEC), "argv": ["ours"]})
    keep_released(running.paths.released, "r1", Released(spec=spec, digest="sha256:a"))
    keep_released(running.paths.released, "r2", Released(spec=spec, digest="sha256:another"))
    running.running = [instance("r1"), instance("r2")]
    running.weights = {"r1-web-0": 100}
    running.adopt()
    planned = {release: running.ledger.steps(release)[-1].action["argv"] for release in ("r1", "r2")}
    assert planned == {"r1": ["ours"], "r2": ["serve"]}


def test_what_runs_alone_is_live_though_the_edge_is_gone(running):
    running.running, running.edge_runs = [instance("r3"), instance("r2", state=InstanceState.EXITED)], False
    assert running.adopt().live == "r3"
    assert [record.id for record in running.ledger.releases()] == ["r3"]


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({"r1-web-0": 50, "r2-web-0": 50}, "the traffic of staging is shared by 2 releases"),
        ({"r1-web-0": 0, "r2-web-0": 0}, "the edge sends users to none of them"),
        ({}, "the edge sends users to none of them"),
    ],
)
def test_where_it_can_not_be_told_nothing_is_written(running, weights, says):
    running.running, running.weights = [instance("r1"), instance("r2")], weights
    with pytest.raises(DeploykitError, match=says) as caught:
        running.adopt()
    assert len(caught.value.details) == 2
    assert list(running.ledger.releases()) == []


@pytest.mark.parametrize("notes", [{}, {SPEC_NOTE: "{"}, {SPEC_NOTE: '{"app": "shop"}'}, {SPEC_NOTE: "[]"}])
def test_without_a_note_and_without_settings_nobody_knows_how_it_is_run(running, notes):
    running.running = [instance("r1", notes=notes)]
    assert running_releases(running.environment)[0].spec is None
    with pytest.raises(DeploykitError, match="does not say how it is run"):
        running.adopt()
    assert list(running.ledger.releases()) == []


def test_a_record_that_has_releases_is_not_lost(running):
    running.running = [instance("r1")]
    running.adopt()
    with pytest.raises(UsageError, match="is not lost"):
        running.adopt()


def test_nothing_that_runs_is_nothing_to_adopt(running):
    assert not ledger_is_lost(running.environment)
    with pytest.raises(UsageError, match="nothing of shop runs"):
        running.adopt()
