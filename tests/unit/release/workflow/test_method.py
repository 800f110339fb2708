"""A rollback says how it gets its version to users, and why in that way."""

from __future__ import annotations

import dataclasses
import time
from types import SimpleNamespace

import pytest

from deploykit.ledger.interface import WARM, StepState
from deploykit.model import Labels
from deploykit.release.reporting.reporter import Stages
from deploykit.release.reporting.text import clock
from deploykit.release.workflow import rollback as module
from deploykit.release.workflow.method import rollback_method
from deploykit.release.workflow.report import make_report
from deploykit.targets.interface import Instance, InstanceState
from tests.shared.reporters import SilentReporter


def instance(name: str, state: InstanceState = InstanceState.RUNNING) -> Instance:
    release, process, replica = name.split("-")
    labels = Labels(app="shop", environment="local", release=release, version="1.2.3", digest="", anchor="")
    return Instance(
        name=name,
        labels=labels,
        process=process,
        replica=int(replica),
        state=state,
        host="127.0.0.1",
        port=1,
        started_at=0.0,
    )


@pytest.fixture
def method(environment, released, spec, monkeypatch):
    """How a rollback to r1, of two instances, would go while these run."""
    record = released("1.2.3", spec=spec.as_json())

    def of(*instances):
        monkeypatch.setattr(environment, "target", SimpleNamespace(instances=lambda: instances))
        return str(rollback_method(environment, record, spec))

    return of


def test_a_version_that_still_runs_gets_the_traffic(method, ledger):
    both = instance("r1-web-0"), instance("r1-web-1"), instance("r2-web-0")
    assert method(*both) == "traffic switch: 1.2.3 still runs"
    due = time.time() + 3_600
    ledger.add_timer(WARM, "r1", due, {"instances": ["r1-web-0", "r1-web-1"]})
    ledger.add_timer("report", "r1", due + 99_999, {})
    assert method(*both) == f"traffic switch: 1.2.3 still runs (warm until {clock(due)})"


def test_a_version_that_is_gone_is_started_first(method):
    gone = "from its artefact: 1.2.3 does not run any more; it is started first"
    assert method(instance("r2-web-0"), instance("r1-web-0", InstanceState.EXITED)) == gone


def test_of_a_version_that_runs_in_part_the_rest_is_started_first(method):
    wanted = "from its artefact: 1 of 2 instances of 1.2.3 still run; the others are started first"
    assert method(instance("r1-web-0"), instance("r1-web-1", InstanceState.EXITED)) == wanted


def test_the_ledger_and_the_report_have_it(environment, ledger, released, spec, monkeypatch):
    wanted = released("1.2.3", spec=spec.as_json())
    record = released("1.2.3", kind="rollback", outcome="running")
    held = ledger.acquire("ann", "rollback", lease=60)
    monkeypatch.setattr(environment, "hosting", SimpleNamespace(keep=lambda _digest: None))
    monkeypatch.setattr(module, "recorded_version", lambda *_args, **_options: None)
    monkeypatch.setattr(module, "roll_out", lambda *_args, **_options: None)
    run = SimpleNamespace(environment=environment, stages=Stages(SilentReporter()), token=held.token)
    for _ in range(2):  # the second time it is resumed, and what was found first stands
        module.roll_back(module.Attempt(run=run, record=record), wanted)
    (step,) = [step for step in ledger.steps(record.id) if step.name == "target"]
    assert step.state is StepState.DONE
    why = "1.2.3 does not run any more; it is started first"
    assert dict(step.action) == {"release": "r1", "method": "from its artefact", "why": why}
    report = make_report(environment, run.stages, record, None)
    assert report.as_json()["method"] == f"from its artefact: {why}"
    assert make_report(environment, run.stages, dataclasses.replace(record, kind="release"), None).method == ""
