"""What `invoke rollback` says of an unfinished release that it undid."""

from __future__ import annotations

import pytest

from deploykit.ledger.interface import StepState
from deploykit.model import DeploykitError
from deploykit.release.execution.runner import RolloutRunner
from deploykit.release.workflow.rollback import rollback
from deploykit.rollout import begin
from tests.shared.reporters import SilentReporter
from tests.shared.rollouts import plan_of


@pytest.fixture
def undo(environment, ledger, released, spec, monkeypatch):
    """`undo(failure)` rolls back a first release that was killed after it had begun to start; `failure` of undoing
    it.
    """

    def attempt(failure: DeploykitError | None):
        record = released("1.0", outcome="running", spec=spec.as_json())
        held = ledger.acquire("tests", "a rollback", lease=60)
        plan = plan_of([f"{record.id}-web-0"])
        ledger.result(ledger.intend(record.id, "rollout", plan.as_json(), token=held.token), StepState.DONE, {})
        ledger.unlock("tests", held.token)
        monkeypatch.setattr(RolloutRunner, "undo", lambda *_: (begin(plan), failure))
        return rollback(environment, SilentReporter())

    return attempt


def test_what_was_undone_in_whole_is_told_as_done(undo):
    report = undo(None)
    assert (report.exit_code, report.outcome, report.warnings) == (0, "undone", ())


def test_what_could_not_be_undone_is_told_with_what_ends_it(undo):
    report = undo(DeploykitError("close failed: the engine does not answer"))
    assert report.exit_code == 1
    assert "not all of it could be undone: close failed: the engine does not answer" in report.reason
    assert report.next_step == "invoke down --env local"
