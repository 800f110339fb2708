"""One release or rollback in the ledger, from its beginning to its outcome and its report."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from deploykit.ledger.interface import StaleToken
from deploykit.model import DeploykitError, ReleaseOutcome
from deploykit.model.errors import Cancelled
from deploykit.release.environment.owner import actor
from deploykit.release.execution.journal import ReleaseJournal
from deploykit.release.housekeeping.board_events import report_start, report_to_board
from deploykit.release.workflow.report import make_report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploykit.model import ReleaseRecord
    from deploykit.process.cancellation import Cancellation
    from deploykit.release.environment import Environment
    from deploykit.release.reporting.reporter import ReleaseReport, Stages
    from deploykit.release.workflow.run import Run
    from deploykit.rollout import State

__all__ = ["Attempt", "begin", "recorded"]


@dataclass(kw_only=True)
class Attempt:
    """A release or rollback while it runs. `failure` is why its rollout failed; `report` is there once it has ended."""

    run: Run
    record: ReleaseRecord
    failure: DeploykitError | None = None
    report: ReleaseReport = field(init=False)

    @property
    def environment(self) -> Environment:
        return self.run.environment

    @property
    def stages(self) -> Stages:
        return self.run.stages

    @property
    def journal(self) -> ReleaseJournal:
        return ReleaseJournal(self.environment.ledger, self.record.id, self.run.token)

    def end(self, outcome: ReleaseOutcome, reason: str) -> None:
        """Write the outcome into the ledger."""
        self.record = self.environment.ledger.finish(self.record.id, outcome, reason)

    def end_with(self, state: State) -> None:
        """Write the outcome of its rollout into the ledger, and of what a rollback went back from."""
        if state.past_verdict:
            if self.record.kind == "rollback":
                self._mark_rolled_back()
            self.end(ReleaseOutcome.DONE, state.reason)
        else:
            self.end(ReleaseOutcome.CANCELLED if state.cancelled else ReleaseOutcome.FAILED, state.reason)

    def _mark_rolled_back(self) -> None:
        ledger = self.environment.ledger
        previous = ledger.release(self.record.previous) if self.record.previous else None
        if previous is not None and previous.outcome is ReleaseOutcome.DONE:
            ledger.finish(previous.id, ReleaseOutcome.ROLLED_BACK, f"rolled back by {self.record.id}")


def begin(run: Run, kind: str, *, version: str, digest: str, commit: str, tree: str) -> ReleaseRecord:
    """Begin a release or rollback (`kind`) in the ledger."""
    ledger = run.environment.ledger
    live = ledger.live()
    return ledger.begin(
        version=version,
        digest=digest,
        commit=commit,
        tree=tree,
        actor=actor(),
        kind=kind,
        previous=live.id if live is not None else "",
        token=run.token,
    )


@contextmanager
def recorded(run: Run, record: ReleaseRecord) -> Iterator[Attempt]:
    """Run the block as that release. Whatever happens in it is recorded first, then in `attempt.report`; it is not
    raised. A rollout that began and could not be ended stays unfinished.

    What is raised all the same is a mistake of the kit; what it left behind is settled by the next command.
    """
    attempt = Attempt(run=run, record=record)
    environment, cancellation = run.environment, run.environment.cancellation
    report_start(environment, record)
    try:
        try:
            yield attempt
        finally:
            cancellation.mask()  # the rest has to be recorded and reported in any case
        attempt.report = _report(attempt, attempt.failure, reason=attempt.record.reason)
    except StaleToken as error:
        # Not ours to end any more: it stays unfinished, and the next command that gets the lock settles it first.
        attempt.report = replace(_report(attempt, error, reason=error.message), outcome="unfinished")
        return
    except (Cancelled, Exception) as error:  # noqa: BLE001 - `_outcome_of` raises what it does not foresee again
        outcome, failure, reason = _outcome_of(error, cancellation)
        attempt.record = environment.ledger.release(record.id) or record
        if attempt.record.outcome is ReleaseOutcome.RUNNING:
            if attempt.journal.done("rollout") is not None:
                attempt.report = _unfinished(attempt, failure, reason)
                return
            attempt.end(outcome, reason)
        attempt.report = _report(attempt, failure, reason=reason)
    report_to_board(environment, attempt.report, run.stages.warn)


def _outcome_of(error: BaseException, cancellation: Cancellation) -> tuple[ReleaseOutcome, DeploykitError | None, str]:
    """How a release ends that was stopped by `error`, what is reported, and why. Raises a mistake of the kit."""
    if isinstance(error, Cancelled):
        return ReleaseOutcome.CANCELLED, None, error.reason
    if isinstance(error, DeploykitError):
        return ReleaseOutcome.FAILED, error, error.message
    # A cleanup that failed and hid the cancellation; or a full disk, say.
    if cancellation.reason:
        return ReleaseOutcome.CANCELLED, None, cancellation.reason
    if isinstance(error, OSError):
        return ReleaseOutcome.FAILED, None, f"{type(error).__name__}: {error}"
    raise error


def _unfinished(attempt: Attempt, error: DeploykitError | None, reason: str) -> ReleaseReport:
    """The report of a release whose rollout began and could not be ended, in either way.

    What users get is as far as its journal says, so it is no failure and no success: the next command settles it.
    """
    told = DeploykitError(
        reason,
        details=[*error.details, error.next_step] if error is not None else [],
        next_step=f"invoke release --env {attempt.environment.name} --resume",
    )
    return replace(_report(attempt, told, reason=reason), outcome="unfinished")


def _report(attempt: Attempt, error: DeploykitError | None, *, reason: str) -> ReleaseReport:
    return make_report(attempt.environment, attempt.stages, attempt.record, error, reason=reason)
