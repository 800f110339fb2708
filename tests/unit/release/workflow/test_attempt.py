"""What is recorded and reported of a release, however its block ends."""

from __future__ import annotations

import pytest

from deploykit.ledger.interface import StaleToken
from deploykit.model import DeploykitError
from deploykit.model.errors import Cancelled
from deploykit.release.reporting.reporter import Stages
from deploykit.release.workflow.attempt import begin, recorded
from deploykit.release.workflow.run import Run
from tests.shared.reporters import SilentReporter


@pytest.fixture
def run(environment, ledger):
    held = ledger.acquire("tests", "a release", lease=60)
    stages = Stages(SilentReporter(), check=environment.cancellation.check)
    yield Run(environment=environment, stages=stages, token=held.token)
    ledger.unlock("tests", held.token)


@pytest.fixture
def record(run):
    return begin(run, "release", version="1.0.0", digest="", commit="c" * 40, tree="t" * 40)


def test_a_cancellation_before_its_first_stage_is_recorded(run, record, ledger):
    run.environment.cancellation.cancel("cancelled by SIGTERM")
    with recorded(run, record) as attempt, run.stages.stage("build"):
        pytest.fail("the stage began")
    assert (attempt.report.outcome, attempt.report.exit_code) == ("cancelled", 1)
    assert attempt.report.reason == ledger.release(record.id).reason == "cancelled by SIGTERM"


@pytest.mark.parametrize(
    ("error", "outcome", "code", "reason"),
    [
        (DeploykitError("no engine answers", next_step="start it"), "failed", 1, "no engine answers"),
        (OSError(28, "No space left on device"), "failed", 1, "OSError: [Errno 28] No space left on device"),
        (StaleToken("the lock was taken"), "unfinished", 1, "the lock was taken"),
    ],
)
def test_a_failure_is_recorded_and_reported_not_raised(run, record, ledger, error, outcome, code, reason):
    with recorded(run, record) as attempt:
        raise error
    assert (attempt.report.outcome, attempt.report.exit_code, attempt.report.reason) == (outcome, code, reason)
    assert ledger.release(record.id).outcome.value == ("running" if outcome == "unfinished" else "failed")


def test_a_cleanup_that_fails_does_not_hide_the_cancellation(run, record):
    run.environment.cancellation.cancel("cancelled by Ctrl-C")
    with recorded(run, record) as attempt:
        try:
            run.environment.cancellation.check()
        finally:
            raise KeyError("a cleanup")
    assert (attempt.report.outcome, attempt.report.reason) == ("cancelled", "cancelled by Ctrl-C")


def test_a_mistake_of_the_kit_is_raised_and_left_for_the_next_command(run, record, ledger):
    with pytest.raises(KeyError), recorded(run, record):
        raise KeyError("a mistake")
    assert ledger.unfinished().id == record.id


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DeploykitError("The ledger is busy.", next_step="try again"), "The ledger is busy."),
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device"),
        (Cancelled("cancelled by Ctrl-C"), "cancelled by Ctrl-C"),
    ],
)
def test_what_stops_it_in_the_middle_of_its_rollout_leaves_it_unfinished(run, record, ledger, error, reason):
    """Nothing was undone, so it has neither failed nor was it cancelled: users get as much of it as the journal says."""
    with recorded(run, record) as attempt:
        attempt.journal.once("rollout", {"candidate": ["r1-web-0"]}, dict)
        raise error
    assert (attempt.report.outcome, attempt.report.exit_code, attempt.report.reason) == ("unfinished", 1, reason)
    assert attempt.report.next_step == "invoke release --env local --resume"
    assert ledger.unfinished().id == record.id
