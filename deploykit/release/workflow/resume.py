"""`invoke release --resume`: finish a release or rollback whose process was killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.model import ReleaseOutcome, UsageError
from deploykit.release.environment.versions import present_sources
from deploykit.release.execution.journal import ReleaseJournal
from deploykit.release.workflow.attempt import Attempt, recorded
from deploykit.release.workflow.recovery import recorded_target
from deploykit.release.workflow.release import deliver
from deploykit.release.workflow.rollback import roll_back
from deploykit.release.workflow.run import do_what_is_due, exclusive
from deploykit.release.workflow.stages import reject_built_elsewhere

if TYPE_CHECKING:
    from deploykit.release.environment import Environment
    from deploykit.release.reporting.reporter import ReleaseReport, Reporter
    from deploykit.release.version.sources import Sources

__all__ = ["resume"]


def resume(environment: Environment, reporter: Reporter, *, ends_process: bool = False) -> ReleaseReport:
    """Finish what was left unfinished, from where its journal is. Raises UsageError when nothing was,
    or when it was built on another machine.
    """
    with exclusive(environment, reporter, "release --resume", ends_process=ends_process) as run:
        do_what_is_due(run)
        record = environment.ledger.unfinished()
        if record is None:
            raise UsageError(
                f"there is nothing to resume: no release to {environment.name} was left unfinished",
                next_step=f"invoke status --env {environment.name}",
            )
        if (built := ReleaseJournal(environment.ledger, record.id, run.token).done("build")) is not None:
            reject_built_elsewhere(environment, record.id, str(built.result["digest"]))  # it stays unfinished
        run.stages.note(f"resuming {record.id}, {record.kind} of {record.version}")
        with recorded(run, record) as attempt:
            if record.kind == "rollback":
                roll_back(attempt, recorded_target(environment, attempt.journal))
            else:
                deliver(attempt, _sources_to_build(attempt))
        return attempt.report


def _sources_to_build(attempt: Attempt) -> Sources | None:
    """The sources, where they were not built yet.

    Raises UsageError when the tree has changed since the release began.
    """
    if attempt.journal.done("build") is not None:
        return None
    sources, record = present_sources(attempt.environment), attempt.record
    if sources.tree.tree == record.tree:
        return sources
    attempt.end(ReleaseOutcome.CANCELLED, "killed before its artefact was built; the tree has changed since")
    raise UsageError(
        f"{record.id} can't be resumed: it was killed before its artefact was built, and the tree has changed since",
        details=["nothing had been started; it is closed in the ledger"],
        next_step=f"invoke release --env {attempt.environment.name}",
    )
