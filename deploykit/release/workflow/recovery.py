"""A release that was left unfinished by a killed process: undone, or finished when it was past its verdict."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deploykit.model import DeploykitError, ReleaseOutcome, ReleaseRecord, UsageError
from deploykit.release.execution.plan import recorded_plan
from deploykit.release.housekeeping.board_events import report_to_board
from deploykit.release.version.instances import GoneArtifact, RunnableVersion
from deploykit.release.version.recorded import rollback_target, spec_of
from deploykit.release.version.spec import without_commands
from deploykit.release.version.values import read_values
from deploykit.release.workflow.attempt import Attempt
from deploykit.release.workflow.report import make_report
from deploykit.release.workflow.stages import runner_of

if TYPE_CHECKING:
    from deploykit.release.environment import Environment
    from deploykit.release.execution.journal import ReleaseJournal
    from deploykit.release.reporting.reporter import ReleaseReport
    from deploykit.release.workflow.run import Run

__all__ = ["Undone", "recorded_target", "report_undone", "settle_unfinished", "undo"]


@dataclass(frozen=True, kw_only=True)
class Undone:
    """A release that had not ended, as it is now. `failure`: what of it could not be undone."""

    record: ReleaseRecord
    past_verdict: bool = False
    failure: DeploykitError | None = None


def settle_unfinished(run: Run) -> None:
    """Undo, or finish, what was left unfinished in the environment."""
    unfinished = run.environment.ledger.unfinished()
    if unfinished is not None:
        run.stages.note(f"{unfinished.id} ({unfinished.version}) was left unfinished: it is settled first")
        undo(run, unfinished)


def undo(run: Run, record: ReleaseRecord) -> Undone:
    """Undo a release whose process was killed, or finish it when it was past its verdict."""
    attempt = Attempt(run=run, record=record)
    environment, journal, stages = run.environment, attempt.journal, run.stages
    step = journal.done("rollout")
    if step is None:
        attempt.end(ReleaseOutcome.CANCELLED, "its process was killed before anything was started")
        return Undone(record=attempt.record)
    with stages.stage("recover") as note:
        environment.cancellation.mask()
        serving = recorded_target(environment, journal) if record.kind == "rollback" else record
        version = RunnableVersion(
            release=serving.id,
            # Nothing of it is started or tried any more: the ledger's word is enough for its names and times.
            spec=without_commands(spec_of(environment.ledger, serving, environment.name)),
            artifact=GoneArtifact(digest=serving.digest, version=serving.version),
            values=read_values(environment.paths.values, serving.id),
        )
        runner = runner_of(run, journal, version)
        state, failure = runner.undo(recorded_plan(step, environment.name), "its process was killed")
        environment.cancellation.unmask()
        note.append(f"{record.id} was {'finished' if state.past_verdict else 'undone'}")
    if failure is not None:
        stages.warn(f"not all of {record.id} could be undone: {failure.message}")
    attempt.end_with(state)
    return Undone(record=attempt.record, past_verdict=state.past_verdict, failure=failure)


def recorded_target(environment: Environment, journal: ReleaseJournal) -> ReleaseRecord:
    """The release that an unfinished rollback goes to. Raises DeploykitError when the ledger does not have it."""
    ledger = environment.ledger
    step = journal.done("target")
    if step is not None:
        return _record(environment, str(step.action["release"]))
    # Killed before that was written. The rollback has the version that was meant, and nothing has changed since.
    meant = _record(environment, journal.release)
    values = environment.paths.values
    with contextlib.suppress(UsageError):
        before = rollback_target(ledger, environment.name, "", values)
        if before.digest == meant.digest:
            return before
    return rollback_target(ledger, environment.name, meant.version, values)


def report_undone(run: Run, undone: Undone) -> ReleaseReport:
    """The report of a rollback that had only to undo what had not ended: the live version has the traffic."""
    environment, record, failure = run.environment, undone.record, undone.failure
    live = environment.ledger.live()
    if failure is not None:
        # Where nothing is live, what was left may hold the port and answer nobody.
        command = "status" if live is not None else "down"
        error = DeploykitError(
            f"{record.id} had not ended, and not all of it could be undone: {failure.message}",
            details=failure.details,
            next_step=f"invoke {command} --env {environment.name}",
        )
        report = make_report(environment, run.stages, record, error, reason=error.message)
        report_to_board(environment, report, run.stages.warn)
        return report
    reason = f"{record.id} ({record.version}) had not ended and was undone"
    report = make_report(environment, run.stages, live or record, None, reason=reason)
    of_undone = make_report(environment, run.stages, record, None, reason=record.reason)
    report_to_board(environment, of_undone, run.stages.warn)
    report = replace(report, outcome="undone", exit_code=0)
    return report if live is not None else replace(report, version="", digest="")


def _record(environment: Environment, release: str) -> ReleaseRecord:
    record = environment.ledger.release(release)
    if record is None:
        raise DeploykitError(
            f"the ledger has no release {release!r}", next_step=f"invoke history --env {environment.name}"
        )
    return record
