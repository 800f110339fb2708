"""`invoke rollback`: give the traffic back to an earlier version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.model import ReleaseOutcome
from deploykit.release.database.changes import refuse_past_contract
from deploykit.release.environment.running import ledger_is_lost
from deploykit.release.environment.tree_data import tell_what_stays_behind
from deploykit.release.environment.versions import recorded_version
from deploykit.release.housekeeping.foreign import reject_foreign_instances
from deploykit.release.version.recorded import rollback_target, spec_of
from deploykit.release.workflow.attempt import Attempt, begin, recorded
from deploykit.release.workflow.method import rollback_method
from deploykit.release.workflow.recovery import recorded_target, report_undone, undo
from deploykit.release.workflow.run import Run, do_what_is_due, exclusive
from deploykit.release.workflow.stages import roll_out

if TYPE_CHECKING:
    from deploykit.model import ReleaseRecord
    from deploykit.release.environment import Environment
    from deploykit.release.reporting.reporter import ReleaseReport, Reporter

__all__ = ["roll_back", "rollback"]


def rollback(
    environment: Environment, reporter: Reporter, to: str = "", *, ends_process: bool = False
) -> ReleaseReport:
    """Give the traffic back to the version before, or to `to` (a version or a release's id).

    A release that has not ended is undone first; without `to` that is all. Raises as `release` does.
    """
    with exclusive(environment, reporter, "rollback", ends_process=ends_process) as run:
        _restore_lost_ledger(run)
        do_what_is_due(run, events=False)  # in an incident nobody waits for a board that does not answer
        unfinished = environment.ledger.unfinished()
        if unfinished is not None and unfinished.kind == "rollback" and not to:
            # Who types it again after a kill wants the version that was asked for, not the one that was left.
            run.stages.note(f"{unfinished.id}, rollback to {unfinished.version}, had not ended: it is finished")
            with recorded(run, unfinished) as attempt:
                roll_back(attempt, recorded_target(environment, attempt.journal))
            return attempt.report
        if unfinished is not None:
            undone = undo(run, unfinished)
            if not undone.past_verdict:
                if not to:
                    return report_undone(run, undone)
                run.stages.note(f"{undone.record.id} was undone; it had not ended")
        reject_foreign_instances(environment, unknown=False)
        wanted = rollback_target(environment.ledger, environment.name, to, environment.paths.values)
        refuse_past_contract(environment, wanted, warn=run.stages.warn)
        left = environment.ledger.live()
        record = begin(
            run, "rollback", version=wanted.version, digest=wanted.digest, commit=wanted.commit, tree=wanted.tree
        )
        with recorded(run, record) as attempt:
            roll_back(attempt, wanted)
            if attempt.record.outcome is ReleaseOutcome.DONE:
                # Only now: asking an engine takes a while, and until the switch users would wait for it.
                tell_what_stays_behind(environment, left, wanted, run.stages.warn)
        return attempt.report


def roll_back(attempt: Attempt, wanted: ReleaseRecord) -> None:
    """Roll the version of the release `wanted` out. It was judged when it was released, and is not judged again."""
    if attempt.journal.done("target") is None:
        spec = spec_of(attempt.environment.ledger, wanted, attempt.environment.name)
        method = rollback_method(attempt.environment, wanted, spec)
        attempt.journal.once("target", {"release": wanted.id, "method": method.name, "why": method.why}, dict)
        attempt.stages.note(str(method))
    attempt.environment.hosting.keep(wanted.digest)
    version = recorded_version(attempt.environment, wanted, warn=attempt.stages.warn)
    roll_out(attempt, version, judged=False)


def _restore_lost_ledger(run: Run) -> None:
    """In an incident a lost ledger must not be in the way.

    A release is refused instead: the ledger may be somebody else's.
    """
    if not ledger_is_lost(run.environment):
        return
    from deploykit.release.housekeeping.adopt import adopt, adopt_lines

    for line in adopt_lines(adopt(run.environment, token=run.token), run.environment.name):
        run.stages.note(line)
